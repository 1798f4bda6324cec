"""The family of tests of a run: steps by hand, adjustment over all rows, few speakers, groups; and the table verb."""

from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from evaluation.aggregation import summarise
from evaluation.bootstrap import Resampler
from evaluation.cli import main
from evaluation.comparisons import COMPARISONS_NAME, compare_roles, write_comparisons
from evaluation.frames import SCHEMA_VERSION, SCORE_SCHEMA, write_generations, write_scores
from evaluation.multiplicity import adjust
from evaluation.records import GenerationRecord
from evaluation.run_folder import RunFolder, write_json

ROLES = ("reference", "codec", "acoustic", "continuation", "shuffled")
PART = {"scorer": "word_error", "scorer_title": "W", "title": "", "unit": "words", "direction": "lower", "meaning": "",
        "source": "", "low": 0.0, "high": None, "aggregate": "none", "numerator": "", "denominator": "",
        "protocol": {"needs": []}}  # fmt: skip
MEASURES = [
    PART | {"measure": "errors"},
    PART | {"measure": "words"},
    PART | {"measure": "wer", "unit": "ratio", "aggregate": "ratio_of_sums", "numerator": "errors",
            "denominator": "words"},
    PART | {"scorer": "speaker_similarity", "measure": "cosine", "unit": "cosine", "direction": "higher",
            "aggregate": "mean", "low": -1.0, "high": 1.0},
    PART | {"scorer": "signal", "measure": "level", "direction": "none", "aggregate": "mean", "low": None},
]  # fmt: skip


def record(number: int, role: str, speakers: int) -> GenerationRecord:
    speaker = number % speakers
    return GenerationRecord(
        item_id=f"{role}:{number}", utterance_id=f"u{number}", speaker_id=f"s{speaker}", system="x", role=role, seed=0,
        audio_path="a", sample_rate_hz=16_000, duration_s=1.0, prompt_s=0.5, transcript="a",
        groups={"gender": "FM"[speaker % 2]}, origin="human", wall_s=0.0, status="ok", reason="", content_sha256="",
        config_sha256="",
    )  # fmt: skip


def score(one: GenerationRecord, scorer: str, measure: str, value: float, status: str = "ok") -> dict[str, object]:
    values = (SCHEMA_VERSION, "r", one.item_id, one.utterance_id, one.speaker_id, one.system, one.role, scorer, measure,
              value, status, "" if status == "ok" else "because", "1")  # fmt: skip
    return dict(zip(SCORE_SCHEMA.names, values, strict=True))


def made_run(folder, *, speakers: int = 12, utterances: int = 24) -> tuple[RunFolder, pd.DataFrame]:
    generator, rows, records = np.random.default_rng(0), [], []
    cost = {"reference": 0.0, "codec": 0.0, "acoustic": 3.0}
    for number in range(utterances):
        base = generator.integers(0, 4)
        for role in ROLES:
            one = record(number, role, speakers)
            records.append(one)
            if role in cost:
                errors = base + cost[role] + (generator.integers(0, 2) if role == "acoustic" else 0)
                rows += [score(one, "word_error", "errors", float(errors)), score(one, "word_error", "words", 10.0)]
            shift = 0.3 if role == "shuffled" else 0.8
            rows.append(score(one, "speaker_similarity", "cosine", shift + 0.05 * generator.standard_normal()))
            rows.append(score(one, "signal", "level", generator.standard_normal()))
    run = RunFolder(folder)
    folder.mkdir(exist_ok=True)
    frame = pd.DataFrame(rows, columns=SCORE_SCHEMA.names)
    write_generations(run.generations, records)
    write_scores(run.scores, frame)
    write_json(run.measures, MEASURES)
    write_json(run.run_json, {"schema_version": 1, "run_id": "r", "evaluators": []})
    return run, frame


def test_steps_are_paired_ratios_and_their_sum_leads_from_start_to_end(tmp_path) -> None:
    run, frame = made_run(tmp_path / "run")
    rows = [one for one in write_comparisons(run, seed=0) if one.measure == "wer" and one.kind == "stage"]
    assert [(one.role, one.against) for one in rows] == [("codec", "reference"), ("acoustic", "codec")]
    sums = frame[frame["measure"] == "errors"].groupby("role")["value"].sum() / 240.0
    assert rows[0].difference == pytest.approx(0.0) and rows[0].p == 1.0
    assert rows[1].difference == pytest.approx(sums["acoustic"] - sums["codec"])
    assert rows[0].against_value + rows[0].difference + rows[1].difference == pytest.approx(sums["acoustic"])
    assert rows[1].p == pytest.approx(2 / 2**12), "all twelve speakers are worse: two of 2^12 sign patterns"


def test_p_values_are_adjusted_over_all_rows_and_kept(tmp_path) -> None:
    run, _ = made_run(tmp_path / "run")
    rows = write_comparisons(run, seed=0)
    p = np.array([one.p for one in rows])
    assert len(rows) >= 8 and {one.kind for one in rows} == {"stage", "floor", "group"}
    np.testing.assert_allclose([one.p_bh for one in rows], stats.false_discovery_control(p))
    np.testing.assert_allclose([one.p_holm for one in rows], adjust(p, "holm"))
    kept = json.loads((run.path / COMPARISONS_NAME).read_text(encoding="utf-8"))
    assert [row["p_holm"] for row in kept] == [one.p_holm for one in rows]
    floor = next(one for one in rows if one.kind == "floor")
    assert floor.difference == pytest.approx(0.5, abs=0.05) and floor.low > 0.4
    assert not [one for one in rows if one.measure == "level"], "a measure without a better has no test"


def test_one_speaker_gives_differences_without_a_test(tmp_path) -> None:
    run, _ = made_run(tmp_path / "run", speakers=1)
    rows = write_comparisons(run, seed=0)
    assert rows and all(math.isnan(one.p) and math.isnan(one.low) and one.n_speakers == 1 for one in rows)


def test_items_missing_on_a_side_take_no_part(tmp_path) -> None:
    run, frame = made_run(tmp_path / "run")
    frame.loc[(frame["role"] == "acoustic") & (frame["utterance_id"] == "u0"), ["status", "value"]] = ["failed", np.nan]
    found = {(o.measure, o.role): o for o in compare_roles(frame, MEASURES, Resampler(seed=0)) if o.kind == "stage"}
    assert found["wer", "acoustic"].n_items == 23 and found["cosine", "continuation"].n_items == 23
    assert found["wer", "codec"].n_items == 24


def test_the_table_verb_prints_every_measure_by_role(tmp_path, capsys) -> None:
    run, _ = made_run(tmp_path / "run")
    summarise(run, seed=0)
    assert main(["table", str(run.path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("| measure | unit | better | reference | codec | acoustic | continuation | shuffled |")
    wer = next(line for line in lines if "`word_error/wer`" in line)
    assert wer.count("|") == lines[0].count("|") and "| - |" in wer and "24 (12)" in wer
    assert main(["table", str(run.path), "--json", "--measures", "word_error/wer", "--roles", "codec"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["estimate"] == pytest.approx(float(wer.split("|")[5].split()[0]), abs=1e-3)
    assert main(["table", str(run.path), "--measures", "nothing"]) == 2
    assert "no measure has that name" in capsys.readouterr().err
    run.summary.unlink()
    assert main(["table", str(run.path)]) == 2 and "was not scored" in capsys.readouterr().err
