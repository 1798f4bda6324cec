"""Configurations of small real parts, and the values that a fuzzer puts into them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

__all__ = ["patched", "small_parts"]

ODD_NUMBERS = (0, -1, 1, 2, 3, 7, 64, 255, 1_000, 65_535, 1 << 20, 1 << 31, 1 << 62, -(1 << 63), 10**400)
ODD_VALUES: tuple[object, ...] = (
    *ODD_NUMBERS, 0.0, -0.5, 1e300, None, True, False, "", "x" * 5_000, "\u0000", "\ud83d", "seanet", "magnitude",
    "spectral", "t5", "coarse", [], [1], [0], [0] * 300, [[1, 2]], [1 << 40], {}, {"a": 1},
)  # fmt: skip


SMALL: dict[str, Any] = {"layers": 1, "heads": 2, "dim": 8, "ff_dim": 8}


def small_parts() -> list[tuple[dict[str, object], dict[str, tuple[int, ...]]]]:
    """``config.json`` and shapes of small real parts: codec of each front end, tokenizer, each kind of stage."""
    import torch

    from audiolm.checkpoint import config_to_dict
    from audiolm.codec.config import CodecConfig
    from audiolm.codec.soundstream import SoundStream
    from audiolm.semantic.conformer import ConformerConfig
    from audiolm.semantic.quantizer import QuantizerConfig
    from audiolm.semantic.tokenizer import TokenizerConfig, W2vBertTokenizer
    from audiolm.semantic.w2v_bert import W2vBertConfig

    stack = ConformerConfig(dim=8, heads=2, layers=1, ff_factor=1)
    semantic = TokenizerConfig(
        model=W2vBertConfig(
            contrastive=stack, masked=stack, quantizer=QuantizerConfig(codes=4, target_dim=4), channels=2
        ),
        tap_layer=1,
        n_tokens=4,
    )
    narrow: dict[str, Any] = {"latent_dim": 4, "n_levels": 2, "codebook_size": 4}
    pairs: dict[str, Any] = {
        "encoder_channels": (2, 2),
        "decoder_channels": (2, 2),
        "encoder_units": (1, 1),
        "decoder_units": (1, 1),
    }
    codecs = [
        CodecConfig(channels=2, **narrow),
        CodecConfig(front_end="spectral", **narrow, **pairs),
        CodecConfig(front_end="magnitude", **narrow, **pairs),
    ]
    parts = []
    with torch.random.fork_rng():
        for config in codecs:
            parts.append(("codec", config_to_dict(config), SoundStream(config).state_dict()))
        parts.append(("semantic", config_to_dict(semantic), W2vBertTokenizer.untrained(semantic).state_dict()))
        parts += [(name, config_to_dict(stage.config), stage.state_dict()) for name, stage in small_stages().items()]

    return [
        ({"format": "audiolm", "format_version": 1, "part": part, "config": config, "record": {}},
         {name: tuple(tensor.shape) for name, tensor in state.items()})
        for part, config, state in parts
    ]  # fmt: skip


def small_stages() -> dict[str, Any]:
    """A stage of AudioLM, the parallel decoder and the delayed one, by the names of their parts."""
    from audiolm.delayed import DelayedConfig, DelayedStage
    from audiolm.parallel import ParallelConfig, ParallelStage
    from audiolm.semantic.conformer import ConformerConfig
    from audiolm.stages import Stage, StageConfig
    from audiolm.tokens import Layout
    from audiolm.transformer import TransformerConfig

    sizes: dict[str, Any] = {"n_semantic": 4, "n_coarse": 1, "n_levels": 2, "codebook_size": 4, "code_dim": 2}
    conformer = ConformerConfig(dim=8, heads=2, layers=1, ff_factor=1)
    return {
        "stage_coarse": Stage(
            StageConfig(
                layout=Layout(kind="coarse", n_semantic=4, n_coarse=1, n_fine=1, codebook_size=4),
                transformer=TransformerConfig(**SMALL),
                window=8,
            )
        ),
        "stage_parallel": ParallelStage(ParallelConfig(conformer=conformer, window=8, **sizes)),
        "stage_delayed": DelayedStage(DelayedConfig(transformer=TransformerConfig(**SMALL), window=8, **sizes)),
    }


def _leaves(value: object, path: tuple[object, ...] = ()) -> Iterator[tuple[object, ...]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield (*path, key)
            yield from _leaves(inner, (*path, key))
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield (*path, place)
            yield from _leaves(inner, (*path, place))


def patched(document: dict[str, object], patches: bytes) -> dict[str, object]:
    """``document`` with one leaf replaced per two bytes of ``patches``."""
    document = json.loads(json.dumps(document))
    for place, choice in zip(patches[::2], patches[1::2], strict=False):
        leaves = list(_leaves(document))
        *parents, last = leaves[place % len(leaves)]
        inside: object = document
        for key in parents:
            inside = inside[key]  # type: ignore[index]
        inside[last] = deepcopy(ODD_VALUES[choice % len(ODD_VALUES)])  # type: ignore[index]
    return document
