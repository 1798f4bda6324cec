"""Speech-likeness on made signals: voicing, silences and loops of known length."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from audiolm.audio import AudioClip
from evaluation.acoustics.repetition import longest_loop_s, longest_run, longest_silence_s
from evaluation.metrics import ScoreInput
from evaluation.metrics.speech_likeness import METRIC, is_speech_like

RATE = 16_000


def syllables(seed: int, seconds: float) -> np.ndarray:
    """Harmonic bursts and noise bursts of changing pitch, colour and length: no two alike."""
    generator = np.random.default_rng(seed)
    pieces, total = [], 0
    while total < seconds * RATE:
        size = int(generator.uniform(0.08, 0.2) * RATE)
        time = np.arange(size) / RATE
        if generator.random() < 0.6:
            pitch = generator.uniform(90, 250)
            weights = generator.dirichlet(np.full(20, 0.3))
            piece = sum(w * np.sin(2 * np.pi * pitch * k * time) for k, w in enumerate(weights, start=1))
        else:
            spectrum = np.fft.rfft(generator.standard_normal(size))
            centre, width = generator.uniform(0.1, 0.9), generator.uniform(0.05, 0.3)
            shape = np.exp(-0.5 * np.square((np.linspace(0, 1, len(spectrum)) - centre) / width))
            piece = 0.1 * np.fft.irfft(spectrum * shape, size)
        pieces.append(np.hanning(size) * piece)
        total += size
    samples = np.concatenate(pieces)[: int(seconds * RATE)]
    return (0.3 * samples / np.abs(samples).max()).astype(np.float32)


def test_runs() -> None:
    flags = np.array([1, 1, 0, 1, 1, 1, 0], dtype=bool)
    assert longest_run(flags) == 3 and longest_run(~flags) == 1 and longest_run(np.zeros(4, bool)) == 0
    assert longest_run(flags, counted=np.array([1, 1, 1, 0, 1, 0, 1], dtype=bool)) == 2


def test_a_silence_is_as_long_as_it_was_made() -> None:
    sound = syllables(1, 1.5)
    for pause_s in (0.5, 1.7):
        clip = np.concatenate([sound, np.zeros(int(pause_s * RATE), np.float32), sound])
        assert longest_silence_s(clip, RATE) == pytest.approx(pause_s, abs=0.1)
    assert longest_silence_s(np.zeros(2 * RATE, np.float32), RATE) == 2.0
    quiet = 1e-3 * np.random.default_rng(0).standard_normal(RATE).astype(np.float32)  # 40 dB below, not digital zero
    assert longest_silence_s(np.concatenate([sound, quiet, sound]), RATE) == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("period_s", (0.3, 0.7, 1.3))
def test_a_loop_is_as_long_as_it_was_made(period_s: float) -> None:
    sound = syllables(2, period_s)
    clip = np.concatenate([syllables(3, 0.5), np.tile(sound, int(3.5 / period_s))])
    wanted = (int(3.5 / period_s) - 1) * period_s
    assert longest_loop_s(clip, RATE) == pytest.approx(wanted, abs=0.35)
    noise = 0.005 * np.random.default_rng(0).standard_normal(len(clip)).astype(np.float32)
    assert longest_loop_s(clip + noise, RATE) == pytest.approx(wanted, abs=0.35)


def test_what_does_not_come_again_is_no_loop() -> None:
    assert longest_loop_s(syllables(4, 4.0), RATE) < 0.7
    time = np.arange(3 * RATE) / RATE
    tone = (0.3 * np.sin(2 * np.pi * 200 * time)).astype(np.float32)
    assert longest_loop_s(tone, RATE) > 2.5  # a held tone repeats itself
    assert longest_loop_s(np.zeros(3 * RATE, np.float32), RATE) == 0.0
    assert longest_loop_s(np.zeros(200, np.float32), RATE) == 0.0


def test_a_loop_is_heard_through_its_pauses() -> None:
    word = np.concatenate([syllables(5, 0.6), np.zeros(int(0.3 * RATE), np.float32)])
    found = longest_loop_s(np.tile(word, 4), RATE)
    assert 1.2 < found < 2.2  # three repeats of 0.6 s of sound; the pauses do not count


def judged(samples: np.ndarray) -> dict[str, float]:
    item = ScoreInput(item_id="a", role="continuation", clip=AudioClip.from_array(samples, RATE))
    outcome = METRIC.load("cpu")([item])[0]
    assert isinstance(outcome, dict) and set(outcome) == {measure.name for measure in METRIC.spec.measures}
    return outcome  # type: ignore[return-value]


def test_the_verdict_needs_all_three() -> None:
    assert is_speech_like(0.4, 1.0, 1.0)
    assert not is_speech_like(0.02, 0.0, 0.0) and not is_speech_like(0.9, 0.0, 0.0)
    assert not is_speech_like(0.4, 1.1, 0.0) and not is_speech_like(0.4, 0.0, 1.1)


def test_failures_of_generation_are_told_from_speech(corpus: Path) -> None:
    speech = AudioClip.from_file(corpus / "speech/librispeech/19/19-198-0001.flac", duration_s=4.0).samples
    assert judged(speech)["speech_like"] == 1.0
    stuck = np.tile(speech[8_000:16_000], 8)
    assert judged(stuck)["speech_like"] == 0.0 and judged(stuck)["longest_loop_s"] > 2.0
    hole = speech.copy()
    hole[16_000:40_000] = 0.0
    assert judged(hole)["speech_like"] == 0.0 and judged(hole)["longest_silence_s"] > 1.4
    noise = 0.05 * np.random.default_rng(0).standard_normal(4 * RATE).astype(np.float32)
    assert judged(noise)["speech_like"] == 0.0 and judged(noise)["voiced_share"] < 0.05
    assert judged(np.zeros(4 * RATE, np.float32))["speech_like"] == 0.0
