"""The compiled loops of the acoustic measures give what numpy and scipy give, to the last bit."""

import numpy as np
import pytest
from scipy.signal import sosfilt, sosfiltfilt

from evaluation.acoustics import f0, filters
from evaluation.acoustics.f0 import track_pitch
from evaluation.acoustics.filters import butterworth, filtered, filtered_bank, filtered_both_ways
from evaluation.acoustics.level import integrated_loudness_lufs
from evaluation.acoustics.reverberation import decay_time_s
from evaluation.acoustics.speaking_rate import syllables_per_s

pytest.importorskip("numba")
RATE_HZ = 16_000
BANDS = [butterworth(2, (hz / 2**0.5, hz * 2**0.5), "bandpass", RATE_HZ) for hz in (500.0, 1000.0, 2000.0)]
SECTIONS = {
    "one": butterworth(2, 8.0, "lowpass", RATE_HZ),
    "two": BANDS[0],
    "three": butterworth(6, 300.0, "highpass", RATE_HZ),
}


def _noise(count: int) -> np.ndarray:
    return np.random.default_rng(count).normal(0.0, 0.1, count)


def _voice(seconds: float = 2.0) -> np.ndarray:
    """A gliding pulse train that swells four times a second, in faint noise: voiced, with decays and syllables."""
    time = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    phase = 2 * np.pi * np.cumsum(110 + 30 * time) / RATE_HZ
    tone = sum(np.sin(k * phase) / k for k in range(1, 20))
    return (0.2 * tone * np.sin(np.pi * 4 * time) ** 4 + 1e-4 * _noise(len(time))).astype(np.float32)


@pytest.mark.parametrize("name", SECTIONS)
@pytest.mark.parametrize("count", [1, 40, 8_001])
def test_a_cascade_equals_scipys(name: str, count: int) -> None:
    sections, samples = SECTIONS[name], _noise(count)
    np.testing.assert_array_equal(filtered(sections, samples), sosfilt(sections, samples))
    if count > 30:
        np.testing.assert_array_equal(filtered_both_ways(sections, samples), sosfiltfilt(sections, samples))
    else:
        with pytest.raises(ValueError, match="padlen"):
            filtered_both_ways(sections, samples)


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_a_bank_equals_its_filters_one_by_one(count: int) -> None:
    samples = _noise(8_001)
    found = list(filtered_bank(BANDS[:count], samples))
    assert len(found) == count
    for sections, band in zip(BANDS, found, strict=False):
        np.testing.assert_array_equal(band, sosfilt(sections, samples))


def test_every_measure_has_the_same_value_without_numba(monkeypatch: pytest.MonkeyPatch) -> None:
    voice = _voice()

    def measured() -> list[object]:
        return [measure(voice, RATE_HZ) for measure in (integrated_loudness_lufs, decay_time_s, syllables_per_s)]

    with_numba, track = measured(), track_pitch(voice, RATE_HZ)
    assert None not in with_numba
    assert np.isfinite(track).sum() > 20
    monkeypatch.setattr(filters, "compiled_loops", lambda: None)
    monkeypatch.setattr(f0, "compiled_loops", lambda: None)
    assert measured() == with_numba
    np.testing.assert_array_equal(track_pitch(voice, RATE_HZ), track)
