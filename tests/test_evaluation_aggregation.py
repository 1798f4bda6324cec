"""Summary numbers against closed forms, interval coverage by simulation, detection rates against known cases."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from evaluation import bootstrap
from evaluation.aggregation import summary_frame
from evaluation.bootstrap import Resampler
from evaluation.detection_rates import detection_summary
from evaluation.frames import SCHEMA_VERSION, SCORE_SCHEMA
from evaluation.records import GenerationRecord

MEAN = {"scorer": "s", "scorer_title": "S", "measure": "m", "title": "m", "meaning": "", "aggregate": "mean"}
RATIO = MEAN | {"measure": "wer", "aggregate": "ratio_of_sums", "numerator": "errors", "denominator": "words"}
PART = MEAN | {"measure": "errors", "aggregate": "none"}


def record(utterance: str, speaker: str, role: str, groups: Mapping[str, str] | None = None, origin: str = "human"):
    return GenerationRecord(
        item_id=f"sys:{role}:{utterance}", utterance_id=utterance, speaker_id=speaker, system="sys", role=role,
        seed=0, audio_path="a", sample_rate_hz=1, duration_s=1.0, prompt_s=0.0, transcript=None, groups=groups or {},
        origin=origin, wall_s=0.0, status="ok", reason="", content_sha256="", config_sha256="",
    )  # fmt: skip


def score_row(one: GenerationRecord, measure: str, value: float, scorer: str = "s", status: str = "ok"):
    values = (
        SCHEMA_VERSION, "r", one.item_id, one.utterance_id, one.speaker_id, one.system, one.role, scorer, measure,
        value, status, "" if status == "ok" else "because", "1",
    )  # fmt: skip
    return dict(zip(SCORE_SCHEMA.names, values, strict=True))


def summarised(records, rows, measures=(MEAN,)):
    frame, derived = summary_frame(pd.DataFrame(rows), records, measures, Resampler(seed=0))
    return frame.set_index(["scorer", "measure", "role", "group_by", "group"]), derived


def test_a_ratio_is_a_ratio_of_sums_and_parts_have_no_rows() -> None:
    records = [record(f"u{n}", f"s{n % 2}", "codec") for n in range(4)]
    errors, words = [1, 0, 0, 9], [10, 10, 10, 1]
    rows = [score_row(r, "errors", e) for r, e in zip(records, errors, strict=True)]
    rows += [score_row(r, "words", w) for r, w in zip(records, words, strict=True)]
    frame, _ = summarised(records, rows, (RATIO, PART))
    assert len(frame) == 1
    row = frame.loc[("s", "wer", "codec", "all", "")]
    assert row["estimate"] == pytest.approx(10 / 31) and row["n_items"] == 4 and row["n_speakers"] == 2


def test_what_is_not_ok_is_counted_and_left_out() -> None:
    records = [record(f"u{n}", f"s{n}", "codec") for n in range(5)]
    rows = [score_row(r, "m", float(n)) for n, r in enumerate(records[:3])]
    rows += [
        score_row(records[3], "m", math.nan, status="skipped"),
        score_row(records[4], "m", math.nan, status="failed"),
    ]
    row = summarised(records, rows)[0].loc[("s", "m", "codec", "all", "")]
    assert (row["estimate"], row["n_items"], row["n_skipped"], row["n_failed"]) == (1.0, 3, 1, 1)


def test_groups_hold_their_own_items_and_unknown_is_in_none() -> None:
    records = [
        record("a", "1", "codec", {"gender": "F"}),
        record("b", "2", "codec", {"gender": "M"}),
        record("c", "3", "codec"),
    ]
    frame, _ = summarised(records, [score_row(r, "m", v) for r, v in zip(records, (1.0, 2.0, 6.0), strict=True)])
    assert frame.loc[("s", "m", "codec", "gender", "F"), "estimate"] == 1.0
    assert frame.loc[("s", "m", "codec", "gender", "M"), "estimate"] == 2.0
    assert frame.loc[("s", "m", "codec", "all", ""), "estimate"] == 3.0 and len(frame) == 3


@pytest.mark.parametrize("speakers", [["one"] * 6, [""] * 6])
def test_fewer_than_two_known_speakers_give_no_interval(speakers: list[str]) -> None:
    records = [record(f"u{n}", speaker, "codec") for n, speaker in enumerate(speakers)]
    row = summarised(records, [score_row(r, "m", float(n)) for n, r in enumerate(records)])[0].iloc[0]
    assert math.isnan(row["ci_low"]) and math.isnan(row["ci_high"]) and row["estimate"] == 2.5
    assert "fewer than two speakers" in row["method"]


def test_nothing_usable_still_has_a_row() -> None:
    records = [record("u", "s", "codec")]
    row = summarised(records, [score_row(records[0], "m", math.nan, status="failed")])[0].iloc[0]
    assert math.isnan(row["estimate"]) and row["n_failed"] == 1 and row["n_items"] == 0


def test_the_continuation_is_paired_with_the_floor() -> None:
    entry = MEAN | {"protocol": {"needs": ["prompt"]}}
    records, rows = [], []
    for number in range(4):
        own, floor = (record(f"u{number}", f"s{number}", role) for role in ("continuation", "shuffled"))
        records += [own, floor]
        rows.append(score_row(own, "m", 10.0 * number + 1.0))
        rows.append(score_row(floor, "m", 10.0 * number, status="ok" if number else "ok"))
    frame, derived = summarised(records, rows, (entry,))
    row = frame.loc[("paired:s", "m", "continuation", "all", "")]
    assert (row["estimate"], row["ci_low"], row["ci_high"]) == (1.0, 1.0, 1.0)
    assert derived[0]["scorer"] == "paired:s" and derived[0]["aggregate"] == "paired_difference"


def test_one_plan_serves_all_measures_of_the_same_speakers() -> None:
    one, other = Resampler(seed=3), Resampler(seed=3)
    np.testing.assert_array_equal(one.plan(["a", "b", "c"]), other.plan(["a", "b", "c"]))
    assert (one.plan(["a", "b", "c"]).sum(axis=1) == 3).all()
    assert not np.array_equal(one.plan(["a", "b", "c"]), Resampler(seed=4).plan(["a", "b", "c"]))


def test_equal_speakers_give_the_student_interval() -> None:
    """With one item per speaker the interval is that of Student, up to Monte-Carlo error and the percentile's shape."""
    values = np.random.default_rng(1).normal(5.0, 2.0, 40)
    interval = Resampler(seed=0, replicates=20_000).ratio([f"{n:02}" for n in range(40)], values, np.ones(40))
    half = stats.t.ppf(0.975, 39) * values.std(ddof=1) / math.sqrt(40)
    assert interval.low == pytest.approx(values.mean() - half, abs=0.08 * half)
    assert interval.high == pytest.approx(values.mean() + half, abs=0.08 * half)


def test_of_very_many_speakers_the_interval_is_the_limit_of_the_replicates(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    speakers, items = [f"{n:04}" for n in range(3_000)], rng.integers(1, 9, 3_000).astype(float)
    sums = items * rng.normal(2.0, 1.0, 3_000)
    drawn = Resampler(seed=0, replicates=4_000).ratio(speakers, sums, items)
    middle = Resampler(seed=0, replicates=50).statistic(speakers, 3_000, lambda draws: float(draws @ sums))
    monkeypatch.setattr(bootstrap, "MOST_PLANNED", 100)
    limit, resampler = Resampler(seed=0).ratio(speakers, sums, items), Resampler(seed=0, replicates=50)
    assert "limit" in limit.method and limit.estimate == drawn.estimate
    assert limit.high - limit.low == pytest.approx(drawn.high - drawn.low, rel=0.08)
    assert (limit.low + limit.high) / 2 == pytest.approx(
        (drawn.low + drawn.high) / 2, abs=0.1 * (drawn.high - drawn.low)
    )
    assert resampler.statistic(speakers, 3_000, lambda draws: float(draws @ sums)) == middle
    none = Resampler(seed=0).ratio(speakers, np.zeros(3_000), items, (0.0, 1.0))
    assert none.low == 0.0 and 0.0 < none.high < 0.01


def test_kept_plans_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "MOST_PLANNED", 10)
    resampler = Resampler(seed=0, replicates=5)
    first = resampler.plan([f"a{n}" for n in range(10)])
    for name in "bcd":
        resampler.plan([f"{name}{n}" for n in range(8)])
    assert sum(plan.shape[1] for plan in resampler._plans.values()) <= 20
    np.testing.assert_array_equal(resampler.plan([f"a{n}" for n in range(10)]), first)


def test_a_unanimous_share_is_no_certainty() -> None:
    """Four speakers without an error leave up to 1 - 0.025 ** (1 / 4) = 60 % open (Clopper and Pearson)."""
    none = Resampler(seed=0).ratio(list("abcd"), np.zeros(4), np.full(4, 5.0), (0.0, 1.0))
    every = Resampler(seed=0).ratio(list("abcd"), np.full(4, 5.0), np.full(4, 5.0), (0.0, 1.0))
    exact = stats.binomtest(0, 4).proportion_ci(0.95, method="exact")
    assert (none.low, none.high) == (0.0, pytest.approx(exact.high))
    assert (every.low, every.high) == (pytest.approx(1 - exact.high), 1.0)


def test_bounds_of_the_measure_hold() -> None:
    interval = Resampler(seed=0).ratio(["a", "b", "c"], np.array([0.0, 0.0, 1.0]), np.ones(3), (0.0, 1.0))
    assert interval.low == 0.0 and interval.high == 1.0


@pytest.mark.parametrize("n_speakers", [5, 10, 20])
def test_coverage_is_right_with_few_speakers(n_speakers: int) -> None:
    """Word errors of ``n_speakers`` x 15 utterances, 6 points spread between speakers (evaluation.md 0)."""
    rng = np.random.default_rng(n_speakers)
    trials, covered, truth, words = 600, 0, 0.15, 20
    speakers = [f"s{number:02}" for number in range(n_speakers)]
    resampler = Resampler(seed=0, replicates=400)
    for _ in range(trials):
        rates = np.clip(rng.normal(truth, 0.06, n_speakers), 0.0, 1.0)
        errors = rng.binomial(words, np.repeat(rates, 15)).reshape(n_speakers, 15).sum(axis=1)
        interval = resampler.ratio(speakers, errors.astype(float), np.full(n_speakers, 15.0 * words), (0.0, None))
        covered += interval.low <= truth <= interval.high
    assert 0.91 <= covered / trials <= 0.975


def detection(bona: Mapping[str, list[float]], made: Mapping[str, list[float]], origin: str = "human", held_out=None):
    records, rows = [], []
    for role, scores in (("codec", bona), ("continuation", made)):
        for speaker, values in scores.items():
            for number, value in enumerate(values):
                one = record(f"{speaker}{number}", speaker, role, origin=origin)
                records.append(one)
                rows.append(score_row(one, "llr", value, scorer="detector:toy"))
    return detection_summary(pd.DataFrame(rows), records, Resampler(seed=0), held_out)


def test_detection_rates_of_separated_and_of_equal_scores() -> None:
    speakers = [f"s{number}" for number in range(8)]
    apart = detection({s: [3.0, 4.0] for s in speakers}, {s: [-3.0, -4.0] for s in speakers})
    assert apart.curves[0]["eer"] == 0.0 and apart.curves[0]["bona_fide"] == "codec"
    same = detection({s: [1.0, 2.0] for s in speakers}, {s: [1.0, 2.0] for s in speakers})
    rows = {row["measure"]: row for row in same.rows}
    assert rows["eer"]["estimate"] == pytest.approx(0.5)
    assert rows["eer"]["n_items"] == 16 and rows["eer"]["n_speakers"] == 8 and rows["cllr"]["estimate"] > 1.0
    assert {entry["measure"] for entry in same.measures} == {"eer", "cllr"}
    assert len(same.curves[0]["p_miss"]) == len(same.curves[0]["p_false_alarm"]) == 3


def test_without_human_recordings_the_detectors_own_scores_serve() -> None:
    own = [
        {
            "speaker_id": f"h{n}",
            "condition": condition,
            "split": "test",
            "llr": 2.0 + n if condition == "codec" else 9.0,
        }
        for n in range(5)
        for condition in ("clean", "codec")
    ] + [{"speaker_id": "h9", "condition": "codec", "split": "test", "llr": None}]
    made = {f"s{n}": [-1.0] for n in range(4)}
    found = detection(made, made, origin="synthetic", held_out=lambda name: own)
    assert [curve["bona_fide"] for curve in found.curves] == ["held_out_codec", "held_out_clean"]
    assert found.curves[0]["n_bona_fide"] == 5 and found.curves[0]["eer"] == 0.0
    assert "held-out human speech" in found.curves[0]["bona_fide_source"]
    assert not detection(made, made, origin="synthetic").curves
