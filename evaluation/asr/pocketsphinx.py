"""PocketSphinx: the embedded recogniser. Its wheel carries the US English model, so it works offline on two cores.

``pocketsphinx`` uses the language model of its wheel; ``pocketsphinx:librispeech`` one of read books that comes with
this package (a trigram of train-clean-100 transcripts, see ``build_language_model.py``), better and faster on such
speech, and of no use on other speech. Figures of the two are not comparable.

It is a recogniser of the 2000s: 28 % of words are wrong on LibriSpeech dev, 55 % on test-other. Read its figures
against the ``reference`` and ``codec`` roles of the same run, never against published word error rates.
"""

from __future__ import annotations

import hashlib
import lzma
import re
import tempfile
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from audiolm.audio import AudioClip, AudioError

__all__ = ["SETTINGS", "PocketSphinx"]

SAMPLE_RATE_HZ = 16_000
SETTINGS: Mapping[str, str | int | float | bool] = {"cmn": "batch"}
"""Beside this, the library's defaults. Word error rate on nine LibriSpeech dev utterances (304 words): defaults 28 %;
language weight 9 instead of 6.5: 45 %; beams 1e-64 / 1e-40: 26 % at twice the time."""
PRONUNCIATION = re.compile(r"\(\d+\)")
"""The decoder marks alternative pronunciations of a word as ``the(2)``."""


PRETRAINED = Path(__file__).parent / "pretrained"
DOMAINS: Mapping[str, str] = {"librispeech": "librispeech.lm.bin.xz"}
"""Language models of this package by the name after the colon."""


class PocketSphinx:
    """English, greedy, without any state between clips; ``domain`` names a language model of this package, or none."""

    def __init__(self, domain: str = "") -> None:
        if domain and domain not in DOMAINS:
            raise ValueError(f"AUDIOLM_ASR: no language model {domain!r}; use pocketsphinx:{', '.join(DOMAINS)}")
        self.name = f"pocketsphinx:{domain}" if domain else "pocketsphinx"
        self._model = PRETRAINED / DOMAINS[domain] if domain else None

    def load(self, device: str):
        """One decoder for all clips; ``device`` is ignored, it runs on the processor.

        Each clip goes in whole (``full_utt``), so its cepstral mean is its own and not a running one, and the front
        end is made anew before it (0.1 ms), since its noise tracker keeps what it learned from the last clip. Texts do
        not depend on what was decoded before.
        """
        from pocketsphinx import Decoder

        if self._model is None:
            decoder = Decoder(loglevel="FATAL", **SETTINGS)
        else:
            with tempfile.TemporaryDirectory() as folder:  # the library reads a language model from a file only
                unpacked = Path(folder) / self._model.stem
                unpacked.write_bytes(lzma.decompress(self._model.read_bytes()))
                decoder = Decoder(loglevel="FATAL", lm=str(unpacked), **SETTINGS)

        def transcribe(clips: Sequence[AudioClip]) -> list[str]:
            return [_decode(decoder, clip) for clip in clips]

        return transcribe

    def status(self) -> tuple[str, str]:
        if find_spec("pocketsphinx") is None:
            return "missing", "PocketSphinx is not installed; pip install pocketsphinx"
        if self._model is not None and not self._model.is_file():
            return "missing", f"{self._model}: not in this installation; install the package again"
        words = f", language model {self.name.partition(':')[2]}" if self._model is not None else ""
        return "ready", f"PocketSphinx {version('pocketsphinx')} with its US English model{words}"

    def fingerprint(self) -> Mapping[str, str]:
        try:
            installed = version("pocketsphinx")
        except PackageNotFoundError:
            return {"asr": "pocketsphinx not installed"}
        settings = ",".join(f"{name}={value}" for name, value in sorted(SETTINGS.items()))
        own = {} if self._model is None else {"asr_language_model": f"{self._model.name} {_sha256(self._model)}"}
        return {"asr": f"pocketsphinx {installed}", "asr_settings": settings, "asr_model_sha256": _model_digest()} | own


def _decode(decoder, clip: AudioClip) -> str:
    if clip.sample_rate_hz != SAMPLE_RATE_HZ:
        raise AudioError(f"PocketSphinx needs {SAMPLE_RATE_HZ} Hz, not {clip.sample_rate_hz} Hz; resample the clip")
    pcm = np.clip(np.round(clip.samples * 32767.0), -32768, 32767).astype(np.int16)
    decoder.reinit_feat()
    decoder.start_utt()
    decoder.process_raw(pcm.tobytes(), False, True)
    decoder.end_utt()
    hypothesis = decoder.hyp()
    return PRONUNCIATION.sub("", hypothesis.hypstr).strip() if hypothesis and hypothesis.hypstr else ""


@lru_cache(maxsize=4)
def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "missing"


@lru_cache(maxsize=1)
def _model_digest() -> str:
    from pocketsphinx import get_model_path

    digest = hashlib.sha256()
    folder = Path(get_model_path("en-us"))
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            digest.update(path.relative_to(folder).as_posix().encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()
