"""Measures of a codec on held-out recordings while it trains: heard ones, and how its codes are used."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from torch import Tensor

from audiolm.codec.losses import MelLoss
from audiolm.codec.soundstream import SoundStream
from audiolm.codec.usage import code_usage
from audiolm.dataset import Recording

__all__ = ["validate_codec"]

SECONDS = 6


@torch.inference_mode()
def validate_codec(codec: SoundStream, recordings: list[Recording]) -> dict[str, float]:
    """Means over the first 6 s of each recording, at all levels: ``mel`` (log10 distance), ``stoi`` (0 to 1),
    ``si_sdr_db``; once quantised also ``code_usage`` (share) and ``code_entropy_bit``, means over levels."""
    rate = codec.config.sample_rate_hz
    device = codec.quantizer.codebooks.device
    mel_loss = MelLoss(rate).to(device)
    mel, intelligibility, sdr = [], [], []
    codes: list[Tensor] = []
    for item in recordings:
        samples = torch.from_numpy(item.samples[: SECONDS * rate])[None].to(device)
        output, quantized = codec(samples)
        mel.append(float(mel_loss(output, samples)))
        sdr.append(_si_sdr_db(output[0], samples[0]))
        intelligibility.append(_stoi(samples[0], output[0], rate))
        if quantized is not None:
            codes.append(quantized.codes[0])
    measures = {"mel": float(np.mean(mel)), "stoi": float(np.mean(intelligibility)), "si_sdr_db": float(np.mean(sdr))}
    measures = {name: value for name, value in measures.items() if not np.isnan(value)}
    if not codes:
        return measures
    usage = code_usage((item.cpu().numpy() for item in codes), codec.config.codebook_size)
    return measures | {"code_usage": usage.mean_share, "code_entropy_bit": usage.mean_entropy_bit}


def _stoi(clean: Tensor, processed: Tensor, rate: int) -> float:
    """Short-time objective intelligibility; a recording without half a second of sound gives about 0.

    NaN on a bare training machine without pystoi.
    """
    try:
        from pystoi import stoi
    except ImportError:
        return float("nan")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return float(stoi(clean.cpu().numpy(), processed.cpu().numpy(), rate))


def _si_sdr_db(output: Tensor, target: Tensor) -> float:
    """Scale-invariant signal-to-distortion ratio in dB."""
    scaled = target * (output @ target) / target.square().sum().clamp_min(1e-9)
    return float(10 * torch.log10(scaled.square().sum() / (output - scaled).square().sum().clamp_min(1e-9)))
