"""How much say each part has in a fusion, and on what the fusion is calibrated."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from detectors.assessment import ScoredClip
from detectors.calibration import Calibration
from detectors.fusion import fit_fusion
from detectors.labelled import LabelledClip
from evaluation.detector_fusion import BASE, anchored, fuse, operating_point
from evaluation.detector_windows import WindowSet

WIDE = Calibration(scale=1.0, offset=0.0, independent_bona=10_000, independent_synth=10_000)


def _held(rng: np.random.Generator) -> tuple[list[ScoredClip], np.ndarray, WindowSet, np.ndarray]:
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
    return items, np.asarray(rows), windows, np.asarray(rows) * 0.5


def test_a_share_moves_the_say_between_parts_and_leaves_each_calibration_alone():
    held = _held(np.random.default_rng(3))
    equal, _ = fuse(*held)
    same, _ = fuse(*held, [3.0, 3.0])
    doubled, _ = fuse(*held, [1.0, 2.0])
    assert equal == pytest.approx(same)
    assert doubled[1] / doubled[0] == pytest.approx(2.0 * equal[1] / equal[0])


def test_one_part_with_any_share_is_calibrated_like_itself_on_clips_and_half_as_many_windows():
    items, scores, windows, window_scores = _held(np.random.default_rng(4))
    weights, offset = fuse(items, scores[:, :1], windows, window_scores[:, :1], [7.0], 0.5)
    genuine = windows.is_bona_fide
    count = 20
    order = np.random.default_rng(0).permutation(40)[:count]
    rows = [np.concatenate([scores[mask, :1], window_scores[mask, :1][order]]) for mask in (genuine, ~genuine)]
    factor, shift = fit_fusion(*rows)
    again, further = fit_fusion(*(values * factor[0] + shift for values in rows))
    assert weights[0] == pytest.approx(factor[0] * again[0])
    assert offset == pytest.approx(shift * again[0] + further)


def test_the_operating_point_of_an_anchored_fusion_is_the_bayes_threshold():
    items, scores, _, _ = _held(np.random.default_rng(5))
    many = [replace(item, raw=float(value)) for item, value in zip(items * 4, np.tile(scores[:, 0], 4), strict=True)]
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
    low = [replace(item, raw=float(value) - 20.0) for item, value in zip(items, scores[:, 0], strict=True)]
    _, _, shift, source = anchored(low, low, WIDE)
    assert shift == 0.0 and source == BASE["threshold_source"]
