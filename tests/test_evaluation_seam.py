"""Seam test and speaker drift: false alarms at their rate, known jumps found and measured, windows in order."""

from __future__ import annotations

import numpy as np
import pytest

from audiolm.audio import AudioClip
from evaluation.acoustics.seam import TRACKS, find_seam
from evaluation.metrics import ScoreInput, Skipped
from evaluation.metrics.seam import METRIC
from evaluation.metrics.speaker_drift import METRIC as DRIFT
from evaluation.metrics.speaker_drift import window_cosines

RATE = 16_000


def speechlike(seed: int, seconds: float, noise: float = 1e-3) -> np.ndarray:
    """Coloured noise that swells and falls, with pauses, over a noise floor."""
    generator = np.random.default_rng(seed)
    size = int(seconds * RATE)
    spectrum = np.fft.rfft(generator.standard_normal(size))
    frequency = np.fft.rfftfreq(size, 1 / RATE)
    carrier = np.fft.irfft(spectrum / (1 + frequency / 800), size)
    marks = np.arange(0, size + 3200, 1600)
    envelope = np.interp(np.arange(size), marks, generator.uniform(0, 1, len(marks)) ** 6)
    sound = 0.2 * envelope * carrier / carrier.std()
    return (sound + noise * generator.standard_normal(size)).astype(np.float32)


def test_a_recording_cut_anywhere_has_a_seam_as_often_as_chance_says() -> None:
    p_values = []
    for seed in range(40):
        clip = speechlike(seed, 4.0)
        seam = find_seam(clip[: 2 * RATE], clip[2 * RATE :])
        assert seam is not None
        p_values.append(seam.p_value)
    assert np.sum(np.array(p_values) < 0.05) <= 7  # binomial: more has probability 0.0007
    assert 0.35 < np.mean(p_values) < 0.65


@pytest.mark.parametrize(("track", "jump_db"), (("level_db", -9.5), ("floor_db", 14.0), ("top_band_db", -20.0)))
def test_a_known_jump_is_found_and_measured(track: str, jump_db: float) -> None:
    before, after = speechlike(1, 3.0), speechlike(2, 3.0)
    if track == "level_db":
        after = after * 10 ** (jump_db / 20)
    elif track == "floor_db":
        after = after + 0.02 * np.random.default_rng(0).standard_normal(len(after)).astype(np.float32)
    else:
        spectrum = np.fft.rfft(after)
        spectrum[np.fft.rfftfreq(len(after), 1 / RATE) > 3500] *= 10 ** (jump_db / 20)
        after = np.fft.irfft(spectrum, len(after)).astype(np.float32)
    seam = find_seam(before, after)
    assert seam is not None and seam.p_value < 0.05
    found = seam.jumps_db[TRACKS.index(track)]
    if track == "floor_db":
        assert found > 5.0
    else:
        # A change of gain moves the floor as well, which varies less from block to block.
        assert found == pytest.approx(jump_db, abs=3.0) and seam.track in (track, "floor_db")


def test_the_same_clip_gives_the_same_p_value_and_sides_may_be_silent_or_short() -> None:
    before, after = speechlike(3, 3.0), speechlike(4, 2.0)
    assert find_seam(before, after) == find_seam(before, after)
    assert find_seam(before, np.zeros(RATE * 2, np.float32)) is None
    assert find_seam(before, after[: int(0.9 * RATE)]) is None
    far = np.concatenate([speechlike(5, 4.0), before])  # more than 3 s away from the boundary changes nothing
    assert find_seam(far[-3 * RATE :], after) == find_seam(far, after)


def test_the_scorer_gives_absolute_jumps() -> None:
    before, after = speechlike(1, 3.0), 0.3 * speechlike(2, 3.0)
    item = ScoreInput(
        item_id="a",
        role="continuation",
        clip=AudioClip.from_array(after, RATE),
        prompt=AudioClip.from_array(before, RATE),
    )
    outcome = METRIC.load("cpu")([item])[0]
    assert isinstance(outcome, dict) and set(outcome) == {measure.name for measure in METRIC.spec.measures}
    assert outcome["level_jump_db"] == pytest.approx(10.5, abs=3.0) and outcome["seam_found"] == 1.0


class _Encoder:
    """The direction of a clip's first two samples: the voice is whatever a test writes there."""

    def embed(self, clip: AudioClip) -> np.ndarray | None:
        vector = clip.samples[:2].astype(np.float32)
        return None if not vector.any() else vector / np.linalg.norm(vector)


def test_windows_follow_the_voice_and_pauses_are_left_out() -> None:
    samples = np.zeros(int(4.0 * RATE), np.float32)
    for number, angle in enumerate((0.0, 0.3, None, 0.9)):
        start = int(number * 0.8 * RATE)
        if angle is not None:
            samples[start : start + 2] = 0.5 * np.array([np.cos(angle), np.sin(angle)])
    clip = AudioClip.from_array(samples, RATE)
    times, cosines = window_cosines(_Encoder(), np.array([1.0, 0.0], np.float32), clip)
    assert times == pytest.approx([0.8, 1.6, 3.2]) and cosines == pytest.approx(np.cos([0.0, 0.3, 0.9]), abs=1e-6)


def test_drift_of_a_voice_that_leaves_is_negative(monkeypatch: pytest.MonkeyPatch) -> None:
    import evaluation.metrics.speaker_drift as module

    class Entry:
        def load(self, device: str) -> _Encoder:
            return _Encoder()

    monkeypatch.setattr(module, "find_encoder", Entry)
    samples = np.zeros(4 * RATE, np.float32)
    for number in range(4):
        cosine = 0.9 - 0.2 * number
        samples[int(number * 0.8 * RATE) :][:2] = 0.5 * np.array([cosine, np.sqrt(1 - cosine**2)])
    prompt = AudioClip.from_array(np.array([0.5, 0.0] * RATE, np.float32), RATE)
    item = ScoreInput(item_id="a", role="continuation", clip=AudioClip.from_array(samples, RATE), prompt=prompt)
    outcome = DRIFT.load("cpu")([item])[0]
    assert isinstance(outcome, dict)
    assert outcome["drift_per_s"] == pytest.approx(-0.25, abs=1e-5)  # 0.2 in 0.8 s
    assert (outcome["first_cosine"], outcome["last_cosine"]) == pytest.approx((0.9, 0.3), abs=1e-5)
    silent = ScoreInput(item_id="b", role="codec", clip=AudioClip(np.zeros(4 * RATE, np.float32), RATE), prompt=prompt)
    assert isinstance(DRIFT.load("cpu")([silent])[0], Skipped)
