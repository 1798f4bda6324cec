"""Which kind of sound a training clip is: finer than genuine or not, so that a network keeps the kinds apart.

Speech through our own codec is genuine and yet bears a codec's traces. With kinds as classes a network may learn those
traces as what they are, instead of learning to overlook whatever codecs leave behind.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

__all__ = ["BONA_FIDE_KINDS", "KINDS", "bona_fide_logit", "kind_of"]

KINDS = (
    "recording",
    "own_codec",
    "signal_vocoder",
    "rule_voice",
    "neural_codec",
    "neural_vocoder",
    "neural_voice",
    "own_model",
)
BONA_FIDE_KINDS = 2
"""The first so many of ``KINDS`` are genuine speech."""
_GENERATORS: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("griffin_lim", "lpc_vocoder", "cepstral_vocoder", "world", "phase_rebuilt"), "signal_vocoder"),
        **dict.fromkeys(("mel_inverted", "phase_blurred", "world_bent"), "signal_vocoder"),
        **dict.fromkeys(("harmonics_drawn", "rules_drawn"), "signal_vocoder"),
        **dict.fromkeys(("flite", "espeak", "festival", "festival_hts"), "rule_voice"),
        **dict.fromkeys(
            ("neural_codec", "neural_codec_stft", "neural_codec_staged", "neural_codec_24k", "codec_other_rate"),
            "neural_codec",
        ),
        **dict.fromkeys(("neural_vocoder", "neural_vocoder_staged", "neural_vocoder_nearest"), "neural_vocoder"),
        **dict.fromkeys(("hifigan", "hifigan_bent", "hifigan_chained"), "neural_vocoder"),
        **dict.fromkeys(("piper", "hibari", "kokoro"), "neural_voice"),
        **dict.fromkeys(("piper_bent", "hibari_bent", "kokoro_bent"), "neural_voice"),
    }
)


def kind_of(generator: str, condition: str) -> str:
    """Kind of a clip by its generator and condition; codecs that are not listed are neural ones."""
    if generator == "bona_fide":
        return "own_codec" if condition == "own_codec" else "recording"
    return "own_model" if generator.startswith("own_") else _GENERATORS.get(generator, "neural_codec")


def bona_fide_logit(logits: torch.Tensor) -> torch.Tensor:
    """Log odds of genuine speech, ``[batch]``, from one logit per kind ``[batch, kind]``."""
    import torch

    return torch.logsumexp(logits[:, :BONA_FIDE_KINDS], 1) - torch.logsumexp(logits[:, BONA_FIDE_KINDS:], 1)
