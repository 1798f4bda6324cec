"""Stage by stage: the waterfall, the family of tests with adjusted p-values, and the worst case of missing items."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import pytest
from report_run_folder import TinyRun, comparison

from reports import build_report
from reports.artefacts import MeasureInfo
from reports.comparisons import worst_case
from reports.estimates import Estimate
from reports.waterfall import Step, waterfall

ROWS = [
    comparison(),
    comparison(role="acoustic", against="codec", value=0.45, against_value=0.15, difference=0.3, p=0.001, p_holm=0.01),
    comparison(kind="group", axis="gender", group="female", role="acoustic", against="everybody else", p=None,
               p_holm=None, p_bh=None, low=None, high=None),
]  # fmt: skip


def page(folder: Path, rows: list[dict[str, object]] | None) -> str:
    run = TinyRun(folder)
    run.lose("audiolm:acoustic:utt-00", "failed", "the model crashed")
    path = run.write(audio=False)
    if rows is not None:
        (path / "comparisons.json").write_text(json.dumps(rows), encoding="utf-8")
    return Path(build_report(path).report_path).read_text(encoding="utf-8")


def test_the_report_shows_the_waterfall_and_adjusted_tests(tmp_path: Path) -> None:
    html = page(tmp_path / "run", ROWS)
    figure = re.search(r'<svg[^>]*aria-labelledby="fig-steps-word_error.*?</svg>', html, re.S)
    assert figure and figure[0].count("<rect") == 4
    assert "recording: 5.0" in figure[0] and "acoustic stages, from true semantic tokens: +30.0" in figure[0]
    assert "differs by itself, not among so many tests" in html and "no test: fewer than two speakers" in html
    assert "All tests of this run as one family" in html and "2 tests, adjusted together" in html


def test_without_comparisons_the_chapter_says_why_it_is_not_there(tmp_path: Path) -> None:
    html = page(tmp_path / "run", None)
    assert "fig-steps" not in html and "was scored before steps were kept" in html


def test_missing_items_are_counted_as_failed_in_the_worst_case(tmp_path: Path) -> None:
    html = page(tmp_path / "run", ROWS)
    assert "If every missing item counted as failed" in html
    share = MeasureInfo(scorer="s", measure="m", direction="higher", low=0.0, high=1.0)
    found = Estimate(estimate=0.9, n_items=8, n_skipped=1, n_failed=1)
    assert worst_case(share, found) == pytest.approx(0.72)
    rate = MeasureInfo(scorer="s", measure="m", direction="lower", aggregate="ratio_of_sums")
    assert worst_case(rate, found) == pytest.approx((0.9 * 8 + 2) / 10)
    assert math.isnan(worst_case(MeasureInfo(scorer="s", measure="m", direction="lower", low=0.0), found))
    nothing = Estimate(estimate=math.nan, n_items=0, n_failed=3)
    assert worst_case(share, nothing) == 0.0


def test_a_damaged_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"comparisons\.json: is no table of comparisons"):
        page(tmp_path / "run", [{"kind": "stage"}])


def test_bars_lie_on_one_axis_and_steps_join() -> None:
    svg = waterfall([Step("a", 0.0, 0.2, total=True), Step("b", 0.2, 0.6), Step("c", 0.0, 0.6, total=True)],
                    figure_id="f", title="t", unit="share")  # fmt: skip
    boxes = [(float(x), float(w)) for x, w in re.findall(r'<rect[^>]* x="([\d.]+)"[^>]* width="([\d.]+)"', svg)]
    assert boxes[0][0] + boxes[0][1] == pytest.approx(boxes[1][0], abs=0.2)
    assert boxes[1][0] + boxes[1][1] == pytest.approx(boxes[2][0] + boxes[2][1], abs=0.2)
    assert boxes[1][1] / boxes[0][1] == pytest.approx(2.0, abs=0.01)
