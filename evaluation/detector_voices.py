"""Synthetic speech from text, to train detectors on: flite, espeak-ng, festival and published neural voices, where they
are installed."""

from __future__ import annotations

import hashlib
import logging
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np

from audiolm.audio import AudioClip
from evaluation.detector_public import KOKORO_VOICES, NEURAL_PROGRAMS, installed, speak_neural

__all__ = ["VOICES", "Voice", "installed_voices", "speak"]

logger = logging.getLogger(__name__)
TIME_LIMIT_S = 60.0
PROGRAMS: Mapping[str, str] = MappingProxyType(
    {"flite": "flite", "espeak": "espeak-ng", "festival": "text2wave", "festival_hts": "text2wave"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Voice:
    """A voice of a speech program and the split it belongs to: voices are what speakers are for recordings."""

    program: str
    name: str
    split: str


def _espeak(names: Sequence[str], split: str) -> tuple[Voice, ...]:
    return tuple(Voice(program="espeak", name=name, split=split) for name in names)


VOICES: tuple[Voice, ...] = (
    Voice(program="flite", name="slt", split="train"),
    Voice(program="flite", name="kal16", split="train"),
    Voice(program="flite", name="rms", split="held"),
    Voice(program="flite", name="awb", split="test"),
    *_espeak(("en-us", "en-us+m1", "en-us+m3", "en-us+f2", "en-gb+m2", "en-gb+f1", "en-gb-scotland+m5"), "train"),
    *_espeak(("en-gb-x-rp+f3", "en-us+m4"), "held"),
    *_espeak(("en-029+f4", "en-gb-x-gbcwmd+m7", "en-us+f5"), "test"),
    Voice(program="festival", name="ked_diphone", split="train"),
    Voice(program="festival", name="kal_diphone", split="test"),
    Voice(program="festival_hts", name="cmu_us_slt_arctic_hts", split="train"),
    Voice(program="piper", name="joe", split="train"),
    Voice(program="hibari", name="us", split="train"),
    *(Voice(program="kokoro", name=name, split="train") for name in KOKORO_VOICES),
    Voice(program="kokoro", name="jf_nezumi", split="held"),
    Voice(program="kokoro", name="jf_tebukuro", split="test"),
)
"""flite's ``kal`` is left out: its 8 kHz would be a cue. Programs with one voice are in training only, since a voice
belongs to one split."""


def installed_voices() -> list[Voice]:
    """The voices whose program is on this machine; the missing programs are logged."""
    missing = [name for name, program in PROGRAMS.items() if shutil.which(program) is None]
    missing += [name for name in NEURAL_PROGRAMS if not installed(name)]
    if missing:
        logger.warning("not installed, hence not in the training data: %s", ", ".join(missing))
    return [voice for voice in VOICES if voice.program not in missing]


def speak(voice: Voice, text: str) -> AudioClip:
    """One sentence in one voice, at the program's own rate.

    Raises:
        ValueError: the program failed or wrote nothing.
    """
    if voice.program in NEURAL_PROGRAMS:
        seed = hashlib.sha256(f"{voice.name}/{text}".encode()).digest()[:8]
        return speak_neural(voice.program, voice.name, text, np.random.default_rng(list(seed)))
    with tempfile.TemporaryDirectory() as folder:
        target, source = Path(folder) / "speech.wav", Path(folder) / "text.txt"
        source.write_text(text.lower() + ".\n", encoding="ascii", errors="ignore")
        commands = {
            "flite": ["flite", "-voice", voice.name, "-f", str(source), "-o", str(target)],
            "espeak": ["espeak-ng", "-v", voice.name, "-f", str(source), "-w", str(target)],
            "festival": ["text2wave", "-eval", f"(voice_{voice.name})", "-o", str(target), str(source)],
        }
        commands["festival_hts"] = commands["festival"]
        done = subprocess.run(
            commands[voice.program], capture_output=True, text=True, timeout=TIME_LIMIT_S, check=False
        )
        if done.returncode != 0 or not target.exists():
            raise ValueError(f"{voice.program} could not speak as {voice.name}: {done.stderr.strip()[:200]}")
        clip = AudioClip.from_file(target)
        return AudioClip(clip.samples, clip.sample_rate_hz)
