"""Fine statistics: what they must forget (level), and what they must see (a lost phase, a tone)."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from detectors.fine_features import BANDS, FINE_STATISTICS, TONES_HZ, fine_statistics
from detectors.fine_statistics import ALL_STATISTICS, all_statistics

RATE_HZ = 16_000
PHASES = slice(5 * BANDS, 12 * BANDS)


def pulses(seconds: float = 2.0, f0_hz: float = 120.0, seed: int = 0) -> torch.Tensor:
    """Pitch pulses with a little noise: every band has one common pulse."""
    rng = np.random.default_rng(seed)
    sound = 0.002 * rng.standard_normal(int(seconds * RATE_HZ))
    sound[np.arange(0, sound.size, RATE_HZ / f0_hz).astype(int)] += 1.0
    return torch.from_numpy(sound.astype(np.float32))[None]


def drawn_phase(sound: torch.Tensor, seed: int = 1) -> torch.Tensor:
    """Same long-time spectrum, every phase drawn."""
    spectrum = torch.fft.rfft(sound)
    angle = torch.from_numpy(np.random.default_rng(seed).uniform(-3.14, 3.14, tuple(spectrum.shape)).astype(np.float32))
    return torch.fft.irfft(torch.polar(spectrum.abs(), angle), sound.shape[1])


def test_level_is_forgotten():
    sound = pulses()
    one, two = fine_statistics(sound), fine_statistics(0.01 * sound)
    assert one.shape == (1, FINE_STATISTICS)
    np.testing.assert_allclose(one.numpy(), two.numpy(), atol=2e-3)


def test_a_batch_gives_what_each_window_gives():
    sounds = torch.cat([pulses(seed=0), drawn_phase(pulses(seed=2))])
    together = fine_statistics(sounds)
    np.testing.assert_allclose(together[1].numpy(), fine_statistics(sounds[1:])[0].numpy(), atol=1e-4)


def test_agreement_over_bins_falls_when_phase_is_drawn():
    # A pulse in the middle of a frame has phases that change evenly from bin to bin: their second difference is zero.
    sharp, lost = (
        fine_statistics(sound)[0, PHASES][:BANDS].mean()
        for sound in (pulses(f0_hz=60.0), drawn_phase(pulses(f0_hz=60.0)))
    )
    assert sharp > 0.9
    assert lost < 0.6


def test_a_tone_stands_at_its_own_place():
    time_s = np.arange(2 * RATE_HZ) / RATE_HZ
    noise = 0.01 * np.random.default_rng(3).standard_normal(time_s.size)
    plain = torch.from_numpy(noise.astype(np.float32))[None]
    tone = torch.from_numpy((noise + 0.05 * np.sin(2 * np.pi * 4_000.0 * time_s)).astype(np.float32))[None]
    change = (fine_statistics(tone) - fine_statistics(plain))[0, -len(TONES_HZ) :]
    assert TONES_HZ[int(change.argmax())] == 4_000.0
    assert change.max() > 2.0


def test_silence_and_short_windows_stay_finite():
    assert torch.isfinite(fine_statistics(torch.zeros(1, 2 * RATE_HZ))).all()
    assert torch.isfinite(fine_statistics(pulses(1.0))).all()
    with pytest.raises(ValueError, match="at least"):
        fine_statistics(torch.zeros(1, 100))


def test_all_statistics_are_both_kinds():
    found = all_statistics(pulses())
    assert found.shape == (1, ALL_STATISTICS)
    assert torch.equal(found[:, -FINE_STATISTICS:], fine_statistics(pulses()))
