"""How much say each part has in a fusion, and on what the fusion is calibrated."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from detectors.assessment import ScoredClip
from detectors.calibration import Calibration
from detectors.fusion import fit_fusion
from detectors.labelled import LabelledClip
from evaluation.detector_fusion import BASE, anchored, clip_scores, compact, fuse, operating_point
from evaluation.detector_windows import WindowSet

WIDE = Calibration(scale=1.0, offset=0.0, independent_bona=10_000, independent_synth=10_000)


def _held(rng: np.random.Generator) -> tuple[list[ScoredClip], list[np.ndarray], WindowSet, np.ndarray]:
    """40 clips and 40 windows of each class; part 0 tells the classes apart, part 1 a little less."""
    items, rows = [], []
    for index in range(80):
        genuine = index % 2 == 0
        clip = LabelledClip(
            samples=np.zeros(0, np.float32),
            generator="bona_fide" if genuine else "vocoder",
            speaker_id=f"s{index}",
            utterance_id=f"u{index}",
            split="held",
            condition="raw",
        )
        items.append(ScoredClip(clip=clip, duration_s=3.0, raw=float("nan"), reason=""))
        rows.append(rng.normal([1.0, 0.6] if genuine else [-1.0, -0.6], 1.0))
    kinds = np.arange(80) % 2 * 2
    windows = WindowSet(
        samples=np.zeros((1, 8), np.int16),
        kinds=kinds,
        generators=np.where(kinds < 2, "raw", "vocoder"),
        speakers=np.repeat("w", 80),
    )
    return items, [row[None] for row in rows], windows, np.asarray(rows) * 0.5


def test_a_share_moves_the_say_between_parts_and_leaves_each_calibration_alone():
    held = _held(np.random.default_rng(3))
    equal = fuse(*held).weights
    same = fuse(*held, [3.0, 3.0]).weights
    doubled = fuse(*held, [1.0, 2.0]).weights
    assert equal == pytest.approx(same)
    assert doubled[1] / doubled[0] == pytest.approx(2.0 * equal[1] / equal[0])


def test_one_part_with_any_share_is_calibrated_like_itself_on_clips_and_half_as_many_windows():
    items, scores, windows, window_scores = _held(np.random.default_rng(4))
    fused = fuse(items, [rows[:, :1] for rows in scores], windows, window_scores[:, :1], [7.0], 0.5)
    scores = clip_scores(scores)
    genuine = windows.is_bona_fide
    count = 20
    order = np.random.default_rng(0).permutation(40)[:count]
    rows = [np.concatenate([scores[mask, :1], window_scores[mask, :1][order]]) for mask in (genuine, ~genuine)]
    factor, shift = fit_fusion(*rows)
    again, further = fit_fusion(*(values * factor[0] + shift for values in rows))
    assert fused.weights[0] == pytest.approx(factor[0] * again[0])
    assert fused.offset == pytest.approx(shift * again[0] + further)


def test_a_part_with_a_ceiling_says_no_more_than_that_for_genuine_speech():
    items, scores, windows, window_scores = _held(np.random.default_rng(6))
    alone = fuse(items, [rows[:, 1:] for rows in scores], windows, window_scores[:, 1:])
    fused = fuse(items, scores, windows, window_scores, most=[np.inf, 0.4])
    assert np.isinf(fused.ceilings[0])
    assert float(alone(fused.ceilings[1:])) == pytest.approx(0.4, abs=0.02)  # calibrated once more, which moves little
    low, high, higher = fused(np.asarray([[0.5, -3.0], [0.5, fused.ceilings[1]], [0.5, 50.0]]))
    assert low < high == higher
    rows = np.asarray([[0.0, 50.0], [0.0, -3.0]])  # a ceiling holds in each window, not for their mean
    assert clip_scores([rows], fused)[0] == pytest.approx(float(fused(rows).mean()))


def test_a_clip_without_windows_has_no_score():
    found = clip_scores([np.zeros((0, 2)), np.asarray([[1.0, 2.0], [3.0, 4.0]])])
    assert np.isnan(found[0]).all() and found[1].tolist() == [2.0, 3.0]


def test_the_operating_point_of_an_anchored_fusion_is_the_bayes_threshold():
    items, scores, _, _ = _held(np.random.default_rng(5))
    many = [
        replace(item, raw=float(value))
        for item, value in zip(items * 4, np.tile(clip_scores(scores)[:, 0], 4), strict=True)
    ]
    before = operating_point(many, WIDE)["threshold_llr"]
    held, test, shift, source = anchored(many, many[:10], WIDE)
    bayes = BASE["threshold_llr"]
    assert shift == pytest.approx(min(0.0, bayes - before))
    assert [item.raw for item in held] == pytest.approx([item.raw + shift for item in many])
    assert [item.raw for item in test] == pytest.approx([item.raw + shift for item in many[:10]])
    assert operating_point(held, WIDE)["threshold_llr"] == pytest.approx(bayes, abs=1e-4)
    assert ("the ratio is moved" in source) == (shift < 0)


def test_a_fusion_that_is_bold_enough_stays_where_it_is():
    items, scores, _, _ = _held(np.random.default_rng(5))
    low = [replace(item, raw=float(value) - 20.0) for item, value in zip(items, clip_scores(scores)[:, 0], strict=True)]
    _, _, shift, source = anchored(low, low, WIDE)
    assert shift == 0.0 and source == BASE["threshold_source"]


def test_weights_of_a_part_are_written_in_half_precision_whatever_their_layout(tmp_path):
    kernel = torch.randn(4, 3, 3, 3, generator=torch.manual_seed(0)).to(memory_format=torch.channels_last)
    found = compact({"kernel": kernel, "bias": torch.ones(4)})
    save_file(found, str(tmp_path / "part.safetensors"))
    assert found["kernel"].dtype == torch.float16 and found["bias"].dtype == torch.float32
    assert torch.equal(load_file(str(tmp_path / "part.safetensors"))["kernel"], kernel.half())
