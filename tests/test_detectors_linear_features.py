"""Linear-frequency features: safeguards as in the mel ones, cepstra against scipy, time resolution."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.fft import dct

from detectors.linear_features import LFCC_SIZE, LINEAR_BANDS, WIDEBAND_BANDS, lfcc, log_linear, wideband

RATE_HZ = 16_000


def noise(batch: int = 2, seconds: float = 1.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    return 0.1 * torch.randn(batch, int(seconds * RATE_HZ), generator=generator)


@pytest.mark.parametrize(("features", "bands"), [(log_linear, LINEAR_BANDS), (wideband, WIDEBAND_BANDS)])
def test_level_and_a_fixed_equaliser_are_no_cue(features, bands):
    sound = noise()
    plain = features(sound)
    assert plain.shape[:2] == (2, bands) and plain.dtype == torch.float32
    torch.testing.assert_close(features(0.01 * sound), plain, atol=2e-3, rtol=0)
    assert plain.mean(dim=2).abs().max() < 1e-5


def test_a_tone_stands_in_the_band_of_its_frequency():
    time_s = torch.arange(RATE_HZ) / RATE_HZ
    burst = torch.sin(2 * torch.pi * 5_000 * time_s) * (time_s > 0.5) + 1e-3 * noise(1)[0]
    spread = log_linear(burst[None])[0].std(dim=1)
    assert abs(int(spread.argmax()) - round(5_000 / 7_600 * (LINEAR_BANDS + 1) - 1)) <= 1


def test_wideband_keeps_pulses_apart_that_ten_milliseconds_blur():
    pulses = torch.zeros(1, RATE_HZ)
    pulses[:, ::160] = 1.0
    assert wideband(pulses)[0].std(dim=1).mean() > 5 * log_linear(pulses)[0].std(dim=1).mean()


def test_cepstra_are_scipys_and_their_changes_the_slope_of_a_ramp():
    levels = log_linear(noise())
    cepstra = lfcc(levels)
    assert cepstra.shape == (2, LFCC_SIZE, levels.shape[2])
    expected = np.asarray(dct(levels.numpy(), type=2, norm="ortho", axis=1))[:, :20]
    np.testing.assert_allclose(cepstra[:, :20].numpy(), expected, atol=1e-5)
    ramp = torch.arange(30.0).expand(1, LINEAR_BANDS, 30) * 0.5
    slope = lfcc(ramp)[0, 20, 5:-5]
    torch.testing.assert_close(slope, torch.full_like(slope, 0.5 * LINEAR_BANDS**0.5), atol=1e-4, rtol=0)


def test_what_is_no_batch_of_windows_is_refused():
    for features in (log_linear, wideband):
        with pytest.raises(ValueError, match="windows have shape"):
            features(torch.zeros(16_000))
