"""Discriminators, hinge losses, feature matching and the gradient balancer, against closed forms."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from audiolm.codec.adversarial import contest, discriminator_hinge, feature_matching, generator_hinge
from audiolm.codec.balancer import GradientBalancer
from audiolm.codec.discriminators import (
    Discriminator,
    DiscriminatorConfig,
    Judgement,
    nano_discriminator,
    paper_discriminator,
)

SMALL = DiscriminatorConfig(
    wave_scales=(1, 2), wave_channels=4, wave_max_channels=16, stft_channels=2, resolution_windows=(256,)
)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * 0.1


def small(seed: int = 0) -> Discriminator:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Discriminator(SMALL)


def judgement(*logits: list[float], features: list[list[Tensor]] | None = None) -> Judgement:
    return Judgement([torch.tensor([row]) for row in logits], features or [])


def test_hinges_match_hand_computed_values() -> None:
    bona_fide = judgement([2.0, 0.0], [-1.0])  # hinges 0, 1 -> 0.5 and 2
    decoded = judgement([-2.0, 0.5], [3.0])  # hinges 0, 1.5 -> 0.75 and 4
    assert float(discriminator_hinge(bona_fide, decoded)) == pytest.approx(((0.5 + 0.75) + (2 + 4)) / 2)
    assert float(generator_hinge(decoded)) == pytest.approx(((3 + 0.5) / 2 + 0) / 2)
    blind = judgement([0.0, 0.0], [0.0])
    assert float(discriminator_hinge(blind, blind)) == 2.0


def test_feature_matching_is_a_mean_of_layer_means_and_may_be_relative() -> None:
    truth = [[torch.full((1, 2, 4), 2.0)], [torch.full((1, 1, 3), -10.0)]]
    ours = [[torch.full((1, 2, 4), 3.0)], [torch.full((1, 1, 3), -5.0)]]
    a, b = judgement(features=truth), judgement(features=ours)
    assert float(feature_matching(a, b, relative=False)) == pytest.approx((1 + 5) / 2)
    assert float(feature_matching(a, b)) == pytest.approx((0.5 + 0.5) / 2)
    assert float(feature_matching(a, a)) == 0.0


def test_feature_matching_sends_no_gradient_to_the_recording() -> None:
    recording, decoded = noise(1, 4000).requires_grad_(), noise(1, 4000, seed=1).requires_grad_()
    model = small()
    feature_matching(model(recording), model(decoded)).backward()
    assert recording.grad is None
    assert decoded.grad is not None and float(decoded.grad.abs().sum()) > 0


def test_published_shapes() -> None:
    paper = paper_discriminator()
    assert (paper.wave_scales, paper.wave_channels, paper.wave_max_channels) == ((1, 2, 4), 16, 1024)
    assert (paper.stft_windows, paper.stft_channels) == ((1024,), 32)
    model = Discriminator(replace(paper, wave_max_channels=256, stft_channels=2))
    with torch.no_grad():
        result = model(noise(1, 16_384))
    assert [tuple(logits.shape) for logits in result.logits[:3]] == [(1, 64), (1, 33), (1, 17)]  # T / 4^4 per scale
    assert result.logits[3].shape == (1, 9)  # T / (256 x 2^3) and one: figure 4
    widths = [layer.shape[1] for layer in result.features[0]]
    assert widths == [16, 64, 256, 256, 256, 256]
    grouped = model.networks[0].get_submodule("layers.1")
    assert isinstance(grouped, nn.Conv1d) and (grouped.groups, grouped.stride, grouped.kernel_size) == (4, (4,), (41,))


@pytest.mark.parametrize("length", [1, 63, 640, 4001])
def test_any_length_is_judged_per_example(length: int) -> None:
    model = small().eval()
    samples = noise(3, length)
    with torch.no_grad():
        whole, single = model(samples), model(samples[1:2])
    for a, b in zip(whole.logits, single.logits, strict=True):
        assert a.shape[0] == 3
        assert torch.allclose(a[1:2], b, atol=1e-5)


def test_every_weight_is_real_and_gets_a_gradient() -> None:
    model = small()
    torch.stack([logits.square().sum() for logits in model(noise(2, 4000)).logits]).sum().backward()
    assert not any(p.is_complex() for p in (*model.parameters(), *model.buffers()))
    assert [n for n, p in model.named_parameters() if p.grad is None or not float(p.grad.abs().sum()) > 0] == []


def test_one_pass_gives_the_gradients_of_two_separate_ones() -> None:
    model, recording, decoded = small(), noise(2, 4000), noise(2, 4000, seed=1)
    judged = contest(model, recording, decoded)
    (ours,) = torch.autograd.grad(judged.adversarial + judged.features, judged.output, retain_graph=True)
    judged.discriminator.backward(inputs=list(model.parameters()))
    grads = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}

    model.zero_grad()
    leaf = decoded.clone().requires_grad_()
    fake = model(leaf)
    (generator_hinge(fake) + feature_matching(model(recording), fake)).backward()
    assert leaf.grad is not None and torch.allclose(ours, leaf.grad, atol=1e-6)
    model.zero_grad()
    discriminator_hinge(model(recording), model(decoded)).backward()
    for name, p in model.named_parameters():
        assert p.grad is not None and torch.allclose(grads[name], p.grad, atol=1e-5), name


def test_discriminator_learns_to_tell_tones_from_noise() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Discriminator(
            DiscriminatorConfig(wave_scales=(), stft_windows=(), resolution_windows=(256,), resolution_channels=4)
        )
    adam = torch.optim.Adam(model.parameters(), 5e-3, betas=(0.5, 0.9))
    time = torch.arange(2000) / 16_000
    pitch = 200 + 50 * torch.arange(4)[:, None]
    judged = []
    for step in range(40):
        judged.append(contest(model, 0.1 * torch.sin(6.2832 * pitch * time), noise(4, 2000, seed=step)))
        adam.zero_grad()
        judged[-1].discriminator.backward(inputs=list(model.parameters()))
        adam.step()
    assert float(judged[0].discriminator.detach()) == pytest.approx(2.0, abs=0.3)
    assert float(judged[-1].discriminator.detach()) < 0.7
    assert judged[-1].separation > 0.85


def test_no_network_odd_window_and_unequal_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="has no network"):
        DiscriminatorConfig(wave_scales=(), stft_windows=())
    with pytest.raises(ValueError, match="multiples of 64"):
        DiscriminatorConfig(stft_windows=(1000,))
    with pytest.raises(ValueError, match="differ in shape"):
        contest(small(), noise(1, 100), noise(1, 101))
    with pytest.raises(ValueError, match="at least one sample"):
        Discriminator(nano_discriminator())(torch.zeros(1, 0))


def test_balancer_gives_each_loss_its_share_whatever_its_scale() -> None:
    output = noise(4, 100).requires_grad_()
    a, b = noise(4, 100, seed=1), noise(4, 100, seed=2)
    balancer = GradientBalancer({"small": 1.0, "large": 3.0}, decay=0.9, total_norm=2.0)
    gradient, norms = balancer.gradient({"small": 1e-6 * (output * a).sum(), "large": 1e6 * (output * b).sum()}, output)
    norm_a, norm_b = a.norm(dim=1).mean(), b.norm(dim=1).mean()
    expected = 2.0 * (0.25 * a / norm_a + 0.75 * b / norm_b)
    assert torch.allclose(gradient, expected, rtol=1e-4, atol=1e-6)
    assert norms == pytest.approx({"small": 1e-6 * float(norm_a), "large": 1e6 * float(norm_b)}, rel=1e-5)


def test_balancer_averages_norms_over_steps_and_resumes_exactly() -> None:
    output = torch.ones(1, 1, requires_grad=True)
    balancer = GradientBalancer({"only": 2.0}, decay=0.5)
    first, _ = balancer.gradient({"only": (4.0 * output).sum()}, output)
    assert float(first) == pytest.approx(1.0)  # the average is unbiased from the start
    resumed = GradientBalancer({"only": 2.0}, decay=0.5)
    resumed.load_state_dict(load(save(balancer.state_dict())))
    second, _ = balancer.gradient({"only": (1.0 * output).sum()}, output)
    again, _ = resumed.gradient({"only": (1.0 * output).sum()}, output)
    assert float(second) == pytest.approx(1.0 / ((0.25 * 4 + 0.5 * 1) / 0.75))
    assert float(again) == float(second)


def test_balancer_refuses_unknown_losses_and_survives_zero_but_not_nan() -> None:
    output = torch.ones(1, 2, requires_grad=True)
    balancer = GradientBalancer({"mel": 1.0})
    with pytest.raises(ValueError, match="weights for .'mel'."):
        balancer.gradient({"adversarial": output.sum()}, output)
    silent, _ = balancer.gradient({"mel": (0.0 * output).sum()}, output)
    assert torch.equal(silent, torch.zeros(1, 2))
    before = balancer.state_dict()["mel"].clone()
    with pytest.raises(FloatingPointError, match="'mel'"):
        balancer.gradient({"mel": (float("nan") * output).sum()}, output)
    assert torch.equal(balancer.state_dict()["mel"], before)
    with pytest.raises(ValueError, match="above 0"):
        GradientBalancer({"mel": 0.0})
    with pytest.raises(ValueError, match="state holds losses"):
        balancer.load_state_dict({})
