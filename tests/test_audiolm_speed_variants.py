"""Speed variants: pitch and length move together, stretches are cut from the whole, ids never meet."""

from __future__ import annotations

import numpy as np
import pytest

from audiolm.dataset import Recording
from audiolm.speed_variants import PlayedAt, at_speeds

RATE = 16_000


def tone(hz: float, seconds: float = 2.0) -> np.ndarray:
    return np.sin(2 * np.pi * hz * np.arange(int(seconds * RATE)) / RATE).astype(np.float32)


def peak_hz(samples: np.ndarray) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(spectrum.argmax()) * RATE / len(samples)


@pytest.mark.parametrize("speed", [0.87, 0.9, 1.1, 1.25])
def test_a_tone_played_faster_is_higher_and_shorter_by_the_same_factor(speed: float) -> None:
    played = PlayedAt(tone(400), speed)
    assert len(played) == int(2.0 * RATE / speed)
    assert peak_hz(played[:]) == pytest.approx(400 * speed, abs=1.0)
    assert np.abs(np.asarray(played)).max() == pytest.approx(1.0, abs=0.12)


@pytest.mark.parametrize("speed", [0.9, 1.1])
def test_a_stretch_is_that_stretch_of_the_whole(speed: float) -> None:
    noise = np.random.default_rng(0).standard_normal(20_000).astype(np.float32)
    played = PlayedAt(noise, speed)
    whole = played[:]
    for start, stop in ((0, 1), (0, 3_000), (5_001, 9_999), (len(played) - 300, len(played)), (7, 7)):
        np.testing.assert_array_equal(played[start:stop], whole[start:stop])


def test_every_recording_appears_once_per_speed_as_another_voice() -> None:
    recordings = [Recording(name, "anna", tone(300, 0.1)) for name in ("a", "b")]
    varied = at_speeds(recordings, (1.0, 0.9, 1.1))
    assert [item.utterance_id for item in varied] == ["a", "b", "a@0.90", "b@0.90", "a@1.10", "b@1.10"]
    assert varied[0] is recordings[0]
    assert {item.speaker_id for item in varied} == {"anna", "anna@0.90", "anna@1.10"}


@pytest.mark.parametrize(("speeds", "says"), [((), "at least one"), ((1.0, 1.001), "each once"), ((3.0,), "outside")])
def test_speeds_that_make_no_sense_are_refused(speeds: tuple[float, ...], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        at_speeds([], speeds)
