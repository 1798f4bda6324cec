"""Adjusted p-values, permutation tests, slices, differences of systems, sample sizes: closed forms and simulations."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from evaluation.bootstrap import Resampler
from evaluation.effect_planning import measured_spread, plan_effect, shipped_spreads
from evaluation.frames import SCHEMA_VERSION, SCORE_SCHEMA, write_scores
from evaluation.multiplicity import adjust
from evaluation.permutation import group_gap_p, sign_flip_p
from evaluation.records import GenerationRecord
from evaluation.run_folder import RUN_SCHEMA_VERSION, write_json
from evaluation.sample_size import Spread, minimum_detectable, power_factor, speakers_needed, spread_of
from evaluation.slices import slice_table
from evaluation.system_difference import compare_systems

MEASURE = {"scorer": "s", "measure": "m", "aggregate": "mean", "low": 0.0, "high": 1.0, "unit": "share"}


def test_adjusted_p_values_equal_scipys_and_the_hand_count() -> None:
    p = np.random.default_rng(0).random(20)
    np.testing.assert_allclose(adjust(p, "bh"), stats.false_discovery_control(p), atol=1e-12)
    np.testing.assert_allclose(adjust([0.01, 0.04, 0.03, float("nan")]), [0.03, 0.06, 0.06, float("nan")])
    with pytest.raises(ValueError, match="holm, bh"):
        adjust(p, "bonferroni")
    with pytest.raises(ValueError, match="outside 0 to 1"):
        adjust([1.5])


def test_sign_flips_are_exact_for_few_speakers_and_right_under_the_null() -> None:
    assert sign_flip_p(np.ones(5), np.random.default_rng(0)) == pytest.approx(2 / 32)
    assert math.isnan(sign_flip_p(np.ones(1), np.random.default_rng(0)))
    generator = np.random.default_rng(1)
    p = [sign_flip_p(generator.standard_normal(9), generator) for _ in range(300)]
    assert stats.kstest(p, "uniform").statistic < 0.1


def test_a_planted_gap_is_found_and_labels_at_random_are_not() -> None:
    generator = np.random.default_rng(2)
    below, inside = np.full(24, 10.0), np.arange(24) < 12
    noise = generator.standard_normal(24)
    assert group_gap_p(noise + 4.0 * inside, below, inside, generator) < 0.01
    p = [group_gap_p(generator.standard_normal(16), np.ones(16), np.arange(16) < 8, generator) for _ in range(100)]
    assert 0.3 < float(np.mean(p)) < 0.7 and float(np.mean(np.array(p) < 0.05)) < 0.15
    assert math.isnan(group_gap_p(noise, below, np.arange(24) < 1, generator))


def record(speaker: str, take: int, role: str, gender: str) -> GenerationRecord:
    name = f"{speaker}-{take}"
    return GenerationRecord(
        item_id=f"{name}/{role}", utterance_id=name, speaker_id=speaker, system="x", role=role, seed=0, audio_path="a",
        sample_rate_hz=16000, duration_s=1.0, prompt_s=0.0, transcript=None,
        groups=MappingProxyType({"gender": gender}),
        origin="human", wall_s=0.0, status="ok", reason="", content_sha256="", config_sha256="",
    )  # fmt: skip


def score_rows(records: list[GenerationRecord], value, version: str = "1", skip: str = "") -> pd.DataFrame:
    rows = []
    for one in records:
        skipped = one.item_id == skip
        rows.append({
            "schema_version": SCHEMA_VERSION, "run_id": "r", "item_id": one.item_id, "utterance_id": one.utterance_id,
            "speaker_id": one.speaker_id, "system": "x", "role": one.role, "scorer": "s", "measure": "m",
            "value": math.nan if skipped else value(one), "status": "skipped" if skipped else "ok",
            "reason": "silent" if skipped else "", "scorer_version": version,
        })  # fmt: skip
    return pd.DataFrame(rows, columns=SCORE_SCHEMA.names)


def people(count: int) -> list[GenerationRecord]:
    return [
        record(f"p{s}", take, role, "FM"[s % 2]) for s in range(count) for take in range(3)
        for role in ("reference", "continuation")
    ]  # fmt: skip


def test_a_slice_takes_the_recordings_own_gap_out() -> None:
    records = people(16)

    def value(one: GenerationRecord) -> float:
        # the judge dislikes F everywhere by 0.3; the system adds 0.1 to all
        own = int(one.speaker_id[1:]) % 7 * 0.01
        return 0.2 + own + 0.3 * (one.groups["gender"] == "F") + 0.1 * (one.role == "continuation")

    frame = slice_table(
        score_rows(records, value), records, [MEASURE], names=["s/m"], axes=["gender"], roles=["continuation"],
        resampler=Resampler(seed=0),
    )  # fmt: skip
    female = frame[frame["group"] == "F"].iloc[0]
    assert female["estimate"] - frame[frame["group"] == "M"].iloc[0]["estimate"] == pytest.approx(0.3, abs=0.03)
    assert female["excess"] == pytest.approx(0.1) and abs(female["gap"]) < 1e-9 and female["p_adjusted"] == 1.0
    assert female["status"] == "ok" and female["n_speakers"] == 8


def test_a_real_gap_is_found_and_a_small_cell_is_shown_as_too_few() -> None:
    records = [
        *people(16),
        *(record("q", take, role, "X") for take in range(3) for role in ("reference", "continuation")),
    ]
    generator = np.random.default_rng(0)
    noise = {one.item_id: 0.02 * generator.standard_normal() for one in records}

    def value(one: GenerationRecord) -> float:
        return 0.3 + noise[one.item_id] + 0.2 * (one.role == "continuation" and one.groups["gender"] == "F")

    frame = slice_table(
        score_rows(records, value, skip="q-0/continuation"), records, [MEASURE], names=["m"], axes=["gender"],
        roles=["continuation"], resampler=Resampler(seed=0),
    ).set_index("group")  # fmt: skip
    assert frame.loc["F", "gap"] == pytest.approx(0.2, abs=0.03) and frame.loc["F", "p_adjusted"] < 0.01
    small = frame.loc["X"]
    assert small["status"] == "too few" and math.isnan(small["p"]) and small["n_missing"] == 1
    with pytest.raises(ValueError, match="no utterance has a column 'accent'"):
        slice_table(
            score_rows(records, value), records, [MEASURE], names=["m"], axes=["accent"], roles=["continuation"],
            resampler=Resampler(seed=0),
        )  # fmt: skip


def write_run(folder: Path, scores: pd.DataFrame) -> Path:
    folder.mkdir()
    write_json(folder / "run.json", {"schema_version": RUN_SCHEMA_VERSION, "run_id": "r"})
    write_json(folder / "measures.json", [MEASURE])
    write_scores(folder / "scores.parquet", scores)
    return folder


def test_systems_differ_where_they_do_and_unlike_evaluators_are_refused(tmp_path: Path) -> None:
    records = people(10)
    generator = np.random.default_rng(3)
    noise = {one.item_id: 0.05 * generator.standard_normal() for one in records}
    old = write_run(tmp_path / "old", score_rows(records, lambda one: 0.5 + noise[one.item_id]))
    new = write_run(tmp_path / "new", score_rows(records, lambda one: 0.7 + 0.5 * noise[one.item_id],
                                                 skip="p0-0/continuation"))  # fmt: skip
    row = compare_systems(old, new).iloc[0]
    assert row["difference"] == pytest.approx(0.2, abs=0.03) and row["verdict"] == "differs" and row["sound"]
    assert row["low"] < 0.2 < row["high"] and row["n_missing"] == 1 and row["n_items"] == 29
    assert row["worst_case_low"] < row["difference"] < row["worst_case_high"]
    same = compare_systems(old, old).iloc[0]
    assert same["difference"] == 0.0 and same["verdict"] == "no difference"
    other = write_run(tmp_path / "other", score_rows(records, lambda one: 0.7, version="2+abc"))
    with pytest.raises(ValueError, match=r"s: 1 against 2\+abc.*--force"):
        compare_systems(old, other)
    assert compare_systems(old, other, force=True).iloc[0]["verdict"].startswith("unsound")


def test_spreads_and_sample_sizes_of_simulated_speakers(tmp_path: Path) -> None:
    generator = np.random.default_rng(4)
    speakers = np.repeat([f"p{i}" for i in range(400)], 8)
    values = np.repeat(generator.normal(0, 3.0, 400), 8) + generator.normal(0, 4.0, 3200)
    spread = spread_of(values, np.ones(3200), speakers)
    assert spread.between == pytest.approx(3.0, rel=0.1) and spread.within == pytest.approx(4.0, rel=0.05)
    n = speakers_needed(Spread(3.0, 4.0), 1.0, 8)
    sd = math.sqrt(9 + 16 / 8)
    assert power_factor(n) * sd / math.sqrt(n) <= 1.0 < power_factor(n - 1) * sd / math.sqrt(n - 1)
    draws = [generator.normal(1.0, sd, n) for _ in range(400)]
    found = np.mean(np.array([stats.ttest_1samp(draw, 0.0)[1] for draw in draws], dtype=float) < 0.05)
    assert found == pytest.approx(0.8, abs=0.07)
    sums = generator.normal(0, 2.0, 30)
    assert minimum_detectable(sums, np.ones(30)) == pytest.approx(
        power_factor(30) * float(np.std(sums, ddof=1)) / math.sqrt(30)
    )
    with pytest.raises(ValueError, match="above 0"):
        speakers_needed(Spread(1.0, 1.0), 0.0, 5)


def test_plans_by_measure_from_the_shipped_spreads_and_from_a_pilot(tmp_path: Path) -> None:
    plan = plan_effect("wer", 2.0)
    assert plan.unit == "points" and plan.speakers > plan_effect("wer", 4.0).speakers > 2
    assert plan.smallest_effect <= 2.0 and len(shipped_spreads()) >= 5
    with pytest.raises(ValueError, match="--pilot"):
        plan_effect("nonsense", 1.0)
    records = [record(f"p{s}", t, r, "F") for s in range(6) for t in range(3) for r in ("continuation", "shuffled")]
    value = {one.item_id: 0.1 * i for i, one in enumerate(records)}
    pilot = write_run(tmp_path / "pilot", score_rows(records, lambda one: value[one.item_id] ** 2))
    assert measured_spread(pilot, "s/m")["between"] > 0
    assert json.dumps(plan_effect("m", 5.0, pilot=pilot).speakers)
