"""Music measures: pitch classes and onsets of known notes, librosa on real piano, and the scorer's contract."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from audiolm.audio import AudioClip
from evaluation.acoustics.music import mean_chroma, onset_times_s
from evaluation.discovery import discover_metrics
from evaluation.metrics import Outcome, ScoreInput, Skipped
from evaluation.metrics.music_consistency import METRIC
from evaluation.scorers import select_scorers

RATE = 16_000
PIECES = ("Brahms_Johannes_Piano_Sonata_No2_Op2_RhZqUE63B9g_mov_2", "Chopin_Polonaise-fantaisie_Op61_177qJoCI9Zw")


def played(times_s: np.ndarray, keys: np.ndarray, seconds: float) -> np.ndarray:
    """Decaying notes of six partials on MIDI ``keys``, with a little noise."""
    sound = 1e-4 * np.random.default_rng(0).standard_normal(int(seconds * RATE))
    for start_s, key in zip(times_s, keys, strict=True):
        first = int(start_s * RATE)
        time = np.arange(len(sound) - first) / RATE
        pitch_hz = 440.0 * 2 ** ((key - 69) / 12)
        note = sum(np.exp(-time * (2 + k)) * np.sin(2 * np.pi * pitch_hz * k * time) / k for k in range(1, 7))
        sound[first:] += 0.1 * note * np.minimum(time / 0.004, 1.0)
    return sound.astype(np.float32)


def melody(rate_hz: float, seed: int, keys: tuple[int, ...] = tuple(range(48, 84)), seconds: float = 6.0):
    rng = np.random.default_rng(seed)
    times = np.cumsum(rng.uniform(0.7, 1.3, int(2 * seconds * rate_hz)) / rate_hz)
    times = times[times < seconds - 0.3]
    chosen = rng.choice(keys, len(times))
    return played(times, chosen, seconds), times, chosen


@pytest.mark.parametrize("rate_hz", [1.0, 3.0, 5.0])
def test_onsets_are_those_that_were_played(rate_hz: float) -> None:
    sound, times, _ = melody(rate_hz, int(rate_hz))
    found = onset_times_s(sound, RATE)
    hits = sum(bool(np.any(np.abs(found - time) < 0.04)) for time in times)
    wrong = sum(not np.any(np.abs(times - time) < 0.04) for time in found)
    assert hits >= 0.9 * len(times) and wrong <= 0.1 * len(times)


@pytest.mark.parametrize("seed", [0, 1])
def test_chroma_follows_the_keys_that_were_played(seed: int) -> None:
    sound, _, keys = melody(3.0, seed)
    found = mean_chroma(sound, RATE)
    assert found is not None and np.linalg.norm(found) == pytest.approx(1.0)
    assert np.corrcoef(found, np.bincount(keys % 12, minlength=12))[0, 1] > 0.8


def test_chroma_knows_octaves_and_semitones_and_no_level() -> None:
    low, octave, semitone = (mean_chroma(played(np.zeros(1), np.array([key]), 1.0), RATE) for key in (57, 69, 58))
    assert low is not None and octave is not None and semitone is not None
    assert low.argmax() == octave.argmax() == 9 and semitone.argmax() == 10
    quiet = mean_chroma(0.05 * played(np.zeros(1), np.array([57]), 1.0), RATE)
    assert quiet is not None
    np.testing.assert_allclose(quiet, low, atol=1e-3)


def test_measures_agree_with_librosa_on_real_piano(corpus: Path) -> None:
    librosa = pytest.importorskip("librosa")
    for name in PIECES:
        sound = AudioClip.from_file(corpus / "piano" / f"{name}.flac").samples[: 10 * RATE]
        ours = mean_chroma(sound, RATE)
        theirs = librosa.feature.chroma_stft(y=sound, sr=RATE, n_fft=4096, hop_length=1024, tuning=0.0).mean(axis=1)
        assert ours is not None and np.corrcoef(ours, theirs)[0, 1] > 0.75
        onsets = onset_times_s(sound, RATE)
        detected = librosa.onset.onset_detect(y=sound, sr=RATE, units="time")
        assert len(onsets) >= 5
        assert np.mean([np.any(np.abs(detected - time) < 0.06) for time in onsets]) > 0.8


def numbers(outcome: Outcome) -> dict[str, float]:
    """The values of an outcome that has all of them."""
    assert isinstance(outcome, Mapping)
    return {name: float(value) for name, value in outcome.items() if not isinstance(value, Skipped)}


def item(clip: np.ndarray, prompt: np.ndarray | None) -> ScoreInput:
    heard = None if prompt is None else AudioClip.from_array(prompt, RATE)
    return ScoreInput(item_id="a", role="continuation", clip=AudioClip.from_array(clip, RATE), prompt=heard)


def test_the_same_music_is_consistent_and_other_music_is_not() -> None:
    c_major, f_sharp_major = (48, 52, 55, 60, 64, 67, 72), (54, 58, 61, 66, 70, 73, 78)
    prompt, *_ = melody(3.0, 0, c_major)
    score = METRIC.load("cpu")
    outcomes = score([item(melody(3.0, 1, c_major)[0], prompt), item(melody(6.0, 2, f_sharp_major)[0], prompt)])
    same, other = map(numbers, outcomes)
    assert same["chroma_correlation"] > 0.8 > 0.2 > other["chroma_correlation"]
    assert same["onset_rate_difference_octaves"] < 0.2
    assert other["onset_rate_difference_octaves"] == pytest.approx(1.0, abs=0.3)
    (itself,) = score([item(prompt, prompt)])
    assert itself == {"chroma_correlation": pytest.approx(1.0), "onset_rate_difference_octaves": 0.0}


def test_silence_and_stillness() -> None:
    prompt, *_ = melody(3.0, 0)
    silence = np.zeros(2 * RATE, np.float32)
    score = METRIC.load("cpu")
    for outcome, words in zip(
        score([item(silence, prompt), item(prompt, silence), item(prompt, None)]),
        ("the clip is silent", "the prompt is silent", "no prompt"),
        strict=True,
    ):
        assert isinstance(outcome, Skipped) and words in outcome.reason
    (still,) = score([item(0.1 * np.sin(2 * np.pi * 440 * np.arange(4 * RATE) / RATE), prompt)])
    assert numbers(still)["onset_rate_difference_octaves"] > 2.0  # a held tone has no onset
    assert len(onset_times_s(silence, RATE)) == 0


def test_it_runs_where_it_is_asked_for() -> None:
    table = discover_metrics()
    assert "music_consistency" in table
    assert "music_consistency" not in [state.metric.spec.name for state in select_scorers((), table=table)]
    assert [state.metric.spec.name for state in select_scorers(("music_consistency",), table=table)] == [
        "music_consistency"
    ]
