"""The model: SoundStream codec, semantic tokens, three language-model stages. Imports nothing else of ours.

Public names are imported when they are first used, so that ``import audiolm`` loads no numerical library.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from audiolm.checkpoint import CheckpointError
    from audiolm.codec import SoundStream
    from audiolm.codec.protocol import AcousticTokenizer
    from audiolm.delayed import DelayedConfig, DelayedStage
    from audiolm.model import AudioLM
    from audiolm.parallel import ParallelConfig, ParallelStage
    from audiolm.sampling import Recall, SamplingOptions, StageSampling, Unmasking
    from audiolm.semantic.tokenizer import SemanticTokenizer, W2vBertTokenizer
    from audiolm.stages import Stage, StageConfig

__all__ = [
    "AcousticTokenizer",
    "AudioLM",
    "CheckpointError",
    "DelayedConfig",
    "DelayedStage",
    "ParallelConfig",
    "ParallelStage",
    "Recall",
    "SamplingOptions",
    "SemanticTokenizer",
    "SoundStream",
    "Stage",
    "StageConfig",
    "StageSampling",
    "Unmasking",
    "W2vBertTokenizer",
]

_HOMES = {
    "AcousticTokenizer": "audiolm.codec.protocol",
    "AudioLM": "audiolm.model",
    "CheckpointError": "audiolm.checkpoint",
    "DelayedConfig": "audiolm.delayed",
    "DelayedStage": "audiolm.delayed",
    "ParallelConfig": "audiolm.parallel",
    "ParallelStage": "audiolm.parallel",
    "Recall": "audiolm.sampling",
    "SamplingOptions": "audiolm.sampling",
    "SemanticTokenizer": "audiolm.semantic.tokenizer",
    "SoundStream": "audiolm.codec",
    "Stage": "audiolm.stages",
    "StageConfig": "audiolm.stages",
    "StageSampling": "audiolm.sampling",
    "Unmasking": "audiolm.sampling",
    "W2vBertTokenizer": "audiolm.semantic.tokenizer",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'audiolm' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
