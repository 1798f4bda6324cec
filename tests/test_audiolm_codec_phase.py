"""Phase from magnitudes, and the front end that codes magnitudes alone."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from audiolm.codec import CodecConfig, SoundStream
from audiolm.codec.magnitude import MagnitudeEncoder, magnitudes_of
from audiolm.codec.phase import PhaseReconstruction

RATE = 16_000
WINDOW = 64
STEP = WINDOW // 4


def magnitudes(samples: torch.Tensor, window: int = WINDOW) -> torch.Tensor:
    """By definition, one frame after the other; independent of the encoder's batched transform."""
    step = window // 4
    padded = np.pad(samples.numpy(), ((0, 0), (window - step, 0)))
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
    starts = range(0, padded.shape[1] - window + 1, step)
    frames = [np.abs(np.fft.rfft(padded[:, at : at + window] * hann, axis=1)) for at in starts]
    return torch.from_numpy(np.stack(frames, axis=2).astype(np.float32))


def chirp(seconds: float = 0.5) -> torch.Tensor:
    time = torch.arange(int(RATE * seconds)) / RATE
    swept = 0.4 * torch.sin(2 * math.pi * (300 * time + 500 * time.square()))
    return (swept + 0.2 * torch.sin(2 * math.pi * 2100 * time)).unsqueeze(0)


def convergence(output: torch.Tensor, wanted: torch.Tensor, window: int) -> float:
    """Distance of the magnitudes a signal has from those it should have, as a share of their norm."""
    return float((magnitudes(output, window) - wanted).norm() / wanted.norm())


def test_signal_has_the_magnitudes_it_was_asked_for() -> None:
    wanted = magnitudes(chirp(), 640)
    rebuilt = PhaseReconstruction(640)(wanted)
    random = torch.polar(wanted, 2 * math.pi * torch.rand(wanted.shape, generator=torch.Generator().manual_seed(0)))
    noise = torch.fft.irfft(random, n=640, dim=1)[:, :160].transpose(1, 2).reshape(1, -1)
    assert rebuilt.shape == chirp().shape
    assert convergence(rebuilt, wanted, 640) < 0.15
    assert convergence(noise, wanted, 640) > 0.3


def test_more_iterations_come_closer() -> None:
    wanted = magnitudes(chirp(), 640)
    far, near = (convergence(PhaseReconstruction(640, iterations=n)(wanted), wanted, 640) for n in (1, 8))
    assert near < far


@pytest.mark.parametrize("cut", [1, 3, 7, 50])
def test_any_chunking_gives_the_same_samples(cut: int) -> None:
    wanted = magnitudes(chirp(0.1))
    phase = PhaseReconstruction(WINDOW, look_ahead=2)
    state = phase.start(1, wanted)
    pieces = [phase.push(state, piece) for piece in wanted.split(cut, dim=2)] + [phase.finish(state)]
    assert torch.equal(torch.cat(pieces, dim=1)[:, phase.delay :], phase(wanted))


def test_samples_wait_for_no_more_than_the_stated_delay() -> None:
    wanted = magnitudes(chirp(0.1))
    phase = PhaseReconstruction(WINDOW, look_ahead=2)
    changed = wanted.clone()
    changed[:, :, 60:] = 3.0
    same = 60 * STEP - phase.delay
    first, second = phase(wanted), phase(changed)
    assert torch.equal(first[:, :same], second[:, :same])
    assert not torch.equal(first[:, : same + STEP], second[:, : same + STEP])


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_flat_frames_without_a_peak_stay_finite(value: float) -> None:
    rebuilt = PhaseReconstruction(WINDOW)(torch.full((2, WINDOW // 2 + 1, 9), value))
    assert torch.isfinite(rebuilt).all()
    assert (rebuilt == 0).all() if value == 0 else (rebuilt != 0).any()


def test_no_frames_give_no_samples() -> None:
    assert PhaseReconstruction(WINDOW)(torch.zeros(1, WINDOW // 2 + 1, 0)).shape == (1, 0)


def test_bad_geometry_is_refused() -> None:
    with pytest.raises(ValueError, match="multiple of 4"):
        PhaseReconstruction(66)
    with pytest.raises(ValueError, match="twice the hop"):
        CodecConfig(front_end="magnitude", window=1280)


def test_log_magnitudes_go_both_ways() -> None:
    config = CodecConfig(front_end="magnitude", strides=(2, 16), window=WINDOW, encoder_channels=(8, 8), latent_dim=4)
    encoder = MagnitudeEncoder(config)
    samples = chirp(0.1)
    assert torch.allclose(magnitudes_of(encoder.log_magnitudes(samples)), magnitudes(samples), atol=2e-4)


def test_codes_do_not_turn_with_the_sign_of_the_waveform() -> None:
    config = CodecConfig(
        front_end="magnitude",
        strides=(2, 16),
        window=WINDOW,
        encoder_channels=(8, 8),
        decoder_channels=(8, 8),
        latent_dim=4,
        n_levels=2,
        codebook_size=16,
    )
    codec = SoundStream(config).eval()
    generator = torch.Generator().manual_seed(0)
    codec.quantizer.initialise(torch.randn(64, 4, generator=generator), generator)
    samples = chirp(0.1)
    assert torch.equal(codec.encode(samples), codec.encode(-samples))
    assert codec.decode(codec.encode(samples)).shape == samples.shape
