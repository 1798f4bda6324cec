"""Recognisers: texts do not depend on order, missing weights are said, Whisper runs from a local file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from audiolm.audio import AudioClip, AudioError
from evaluation.asr import find_recogniser, transcribe
from evaluation.asr.pocketsphinx import PocketSphinx
from evaluation.asr.whisper import Whisper
from evaluation.metrics.word_error import METRIC, count_errors, normalise

RATE = 16_000


def babble(seed: int, seconds: float, gain: float) -> AudioClip:
    """Noise bursts with moving resonances: nonsense that the decoder takes for words."""
    generator = np.random.default_rng(seed)
    noise = generator.standard_normal(int(seconds * RATE))
    time = np.arange(len(noise)) / RATE
    tone = sum(np.sin(2 * np.pi * (110 + 10 * seed) * k * time) / k for k in range(1, 25))
    burst = 0.5 + 0.5 * np.sin(2 * np.pi * (2 + seed) * time)
    return AudioClip.from_array(gain * burst * (tone + 0.3 * noise), RATE)


@pytest.fixture(scope="module")
def decode():
    return PocketSphinx().load("cpu")


def test_texts_do_not_depend_on_what_was_decoded_before(decode) -> None:
    first, second = babble(1, 0.6, 0.3), babble(2, 0.5, 0.01)
    together = decode([first, second])
    assert decode([second, first]) == together[::-1]
    assert decode([first]) + decode([second]) == together
    assert PocketSphinx().load("cpu")([second]) == together[1:]


def test_real_speech_is_mostly_understood_in_any_order(decode, corpus: Path) -> None:
    folder = corpus / "speech" / "librispeech" / "19"
    clips = [AudioClip.from_file(folder / f"19-198-000{k}.flac", duration_s=2.9) for k in (0, 1)]
    texts = decode(clips)
    assert decode(clips[::-1]) == texts[::-1]
    counts = count_errors(normalise("THIS LITTLE WORK WAS FINISHED IN THE YEAR EIGHTEEN"), normalise(texts[1]))
    assert counts["errors"] < 0.7 * counts["words"]


def test_silence_gives_no_words_or_few(decode) -> None:
    (text,) = decode([AudioClip.from_array(np.zeros(RATE // 2, np.float32), RATE)])
    assert len(text.split()) <= 1


def test_a_wrong_rate_is_refused(decode) -> None:
    with pytest.raises(AudioError, match="16000 Hz"):
        decode([AudioClip.from_array(np.zeros(8000, np.float32), 8000)])


def test_the_environment_chooses_and_a_wrong_name_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("AUDIOLM_ASR", raising=False)
    assert find_recogniser().name == "pocketsphinx"
    monkeypatch.setenv("AUDIOLM_ASR", "whisper:tiny.en")
    monkeypatch.setenv("AUDIOLM_WHISPER_DIR", str(tmp_path))
    state, sentence = METRIC.status()
    assert state == "missing"
    assert str(tmp_path / "tiny.en.pt") in sentence and "AUDIOLM_WHISPER_DIR" in sentence
    with pytest.raises(ValueError, match="no weights"):
        METRIC.load("cpu")
    assert METRIC.fingerprint()["asr_model_sha256"] == "none"
    for name in ("kaldi", "whisper", "whisper:", "whisper:../../etc/passwd"):
        monkeypatch.setenv("AUDIOLM_ASR", name)
        with pytest.raises(ValueError, match="AUDIOLM_ASR"):
            find_recogniser()


def test_fingerprint_names_engine_settings_and_model() -> None:
    fingerprint = PocketSphinx().fingerprint()
    assert fingerprint["asr"].startswith("pocketsphinx ")
    assert len(fingerprint["asr_model_sha256"]) == 64
    assert PocketSphinx().fingerprint() == fingerprint


def test_whisper_runs_offline_from_a_weights_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A tiny Whisper with random weights goes through the whole path: file, status, decoding, same text twice."""
    model = pytest.importorskip("whisper.model")
    dims = model.ModelDimensions(80, 1500, 16, 2, 1, 51864, 448, 16, 2, 1)
    generator = torch.Generator().manual_seed(3)
    state = {
        name: torch.randn(tensor.shape, generator=generator) * 0.02 if tensor.is_floating_point() else tensor
        for name, tensor in model.Whisper(dims).state_dict().items()
    }
    torch.save({"dims": vars(dims), "model_state_dict": state}, tmp_path / "toy.en.pt")
    monkeypatch.setenv("AUDIOLM_WHISPER_DIR", str(tmp_path))
    assert Whisper("toy.en").status()[0] == "ready"
    clip = babble(1, 0.5, 0.1)
    first = transcribe([clip], recogniser="whisper:toy.en")
    assert transcribe([clip], recogniser="whisper:toy.en") == first
    assert isinstance(first[0], str)
    assert len(Whisper("toy.en").fingerprint()["asr_model_sha256"]) == 64


def test_whisper_hears_the_same_alone_and_among_others(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Blocks have one size, so neighbours, their number and their order change no text."""
    model = pytest.importorskip("whisper.model")
    dims = model.ModelDimensions(80, 1500, 16, 2, 1, 51864, 12, 16, 2, 1)
    state = {
        name: torch.randn(tensor.shape, generator=torch.Generator().manual_seed(4)) * 0.3
        if tensor.is_floating_point() and tensor.ndim > 1
        else tensor
        for name, tensor in model.Whisper(dims).state_dict().items()
    }
    torch.save({"dims": vars(dims), "model_state_dict": state}, tmp_path / "toy.en.pt")
    monkeypatch.setenv("AUDIOLM_WHISPER_DIR", str(tmp_path))
    decode = Whisper("toy.en").load("cpu")
    clips = [babble(seed, 0.3 + 0.1 * seed, 0.1) for seed in range(3)]
    together = decode(clips)
    assert together == [decode([clip])[0] for clip in clips]
    assert decode(clips[::-1]) == together[::-1]
