"""Edits of both classes, and relatives of published networks, against sounds whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from detectors.kinds import KINDS, kind_of
from detectors.networks.mel_cnn import MelCnn, MelCnnConfig, widened
from evaluation.detector_bent import bent_model, can_bend
from evaluation.detector_edits import FURTHEST_SEMITONES, edited, edited_windows, laid_over, pitch_moved, vocoded
from evaluation.detector_windows import WindowSet

RATE_HZ, TONE_HZ = 16_000, 440.0


def _tone(duration_s: float = 2.0) -> np.ndarray:
    return np.sin(2 * np.pi * TONE_HZ * np.arange(int(duration_s * RATE_HZ)) / RATE_HZ).astype(np.float32)


def _pitch_hz(samples: np.ndarray) -> float:
    middle = samples[samples.size // 4 : -samples.size // 4]
    size = 1 << 18
    return float(np.argmax(np.abs(np.fft.rfft(middle * np.hanning(middle.size), size))) * RATE_HZ / size)


def _windows(count: int = 6) -> WindowSet:
    rng = np.random.default_rng(0)
    tone = _tone()
    samples = np.stack([np.round(tone * 9000 + rng.standard_normal(tone.size) * 200) for _ in range(count)])
    return WindowSet(
        samples=samples.astype(np.int16),
        kinds=np.arange(count) % 3,
        generators=np.asarray(["raw", "own_codec", "world"] * (count // 3)),
        speakers=np.asarray([f"speaker-{k}" for k in range(count)]),
    )


def test_pitch_moves_by_at_most_three_semitones_and_the_length_stays() -> None:
    moves = []
    for seed in range(12):
        made = pitch_moved(_tone(), np.random.default_rng(seed))
        assert made.size == 2 * RATE_HZ and np.isfinite(made).all()
        moves.append(12 * np.log2(_pitch_hz(made) / TONE_HZ))
    assert max(np.abs(moves)) < FURTHEST_SEMITONES + 0.3
    assert min(np.abs(moves)) > 0.3
    assert min(moves) < 0 < max(moves)


@pytest.mark.parametrize("slower", [0.8, 1.25])
def test_tempo_changes_and_the_pitch_stays(slower: float) -> None:
    for made in (vocoded(_tone(), slower, 1024, 256), laid_over(_tone(), slower, 640, 160)):
        assert abs(made.size - slower * 2 * RATE_HZ) <= 1
        assert abs(12 * np.log2(_pitch_hz(made) / TONE_HZ)) < 0.2
        assert np.std(made[4000:-4000]) > 0.3


def test_every_window_is_edited_once_and_its_label_stays() -> None:
    windows = _windows()
    made, again = edited_windows(windows, 3), edited_windows(windows, 3)
    assert made.samples.shape == windows.samples.shape and made.samples.dtype == np.int16
    assert np.array_equal(made.samples, again.samples)
    assert not np.array_equal(made.samples, edited_windows(windows, 4).samples)
    assert np.array_equal(made.kinds, windows.kinds) and np.array_equal(made.generators, windows.generators)
    assert all(np.any(before != after) for before, after in zip(windows.samples, made.samples, strict=True))


def test_edits_do_not_depend_on_the_class() -> None:
    windows = _windows()
    other = WindowSet(
        samples=windows.samples, kinds=windows.kinds[::-1], generators=windows.generators, speakers=windows.speakers
    )
    samples = windows.samples[0].astype(np.float32) / 32767.0
    first, second = (edited(samples, [], np.random.default_rng(5)) for _ in (windows, other))
    assert np.array_equal(first, second) and np.abs(first).max() <= 1.0


def test_a_widened_network_says_at_first_what_the_narrow_one_said() -> None:
    torch.manual_seed(0)
    narrow = MelCnn(MelCnnConfig(widths=(4, 6, 8), outputs=3)).eval()
    for block in narrow.blocks:
        if isinstance(block, torch.nn.BatchNorm2d):
            block.running_mean.normal_()  # pyright: ignore[reportOptionalMemberAccess]
    wide = widened(narrow.state_dict(), MelCnn(MelCnnConfig(widths=(4, 9, 14), outputs=3))).eval()
    features = torch.randn(5, 64, 80)
    with torch.inference_mode():
        assert torch.allclose(narrow.logits(features), wide.logits(features), atol=1e-5)
    trained = wide.logits(features).square().sum()
    trained.backward()
    assert wide.head.weight.grad is not None and wide.head.weight.grad[:, 8:14].abs().max() > 0


def test_a_folded_network_says_the_same_and_has_no_norms() -> None:
    torch.manual_seed(1)
    network = MelCnn(MelCnnConfig(widths=(4, 6, 8), outputs=3))
    network.logits(5.0 * torch.randn(20, 64, 80))  # moves the running means
    network.eval()
    quick, features = network.folded(), torch.randn(2, 64, 60)
    with torch.inference_mode():
        torch.testing.assert_close(quick.logits(features), network.logits(features), atol=1e-5, rtol=1e-4)
    assert sum(isinstance(layer, torch.nn.BatchNorm2d) for layer in quick.blocks) == 0
    assert sum(isinstance(layer, torch.nn.BatchNorm2d) for layer in network.blocks) == 3


def test_relatives_of_published_systems_have_kinds_of_their_family() -> None:
    for name in ("hifigan", "piper", "hibari", "kokoro", "world"):
        assert kind_of(f"{name}_bent", "raw") == kind_of(name, "raw")
        assert kind_of(name, "raw") in KINDS
    assert isinstance(can_bend("piper"), bool)


def test_bent_kernels_move_a_little_and_others_not_at_all() -> None:
    onnx = pytest.importorskip("onnx")
    rng = np.random.default_rng(0)
    kept, moved = rng.standard_normal((16, 16, 3)).astype(np.float32), rng.standard_normal((16, 16, 3))
    tensors = [onnx.numpy_helper.from_array(kept, "enc.weight")]
    tensors.append(onnx.numpy_helper.from_array(moved.astype(np.float32), "dec.weight"))
    graph = onnx.helper.make_graph([], "g", [], [], initializer=tensors)
    model = onnx.helper.make_model(graph).SerializeToString()
    found = onnx.load_from_string(bent_model(model, "dec.", 0.05, rng)).graph.initializer
    after = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in found}
    assert np.array_equal(after["enc.weight"], kept)
    change = np.std(after["dec.weight"] - moved) / np.std(moved)
    assert 0.02 < change < 0.15
