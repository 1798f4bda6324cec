"""The table of a model: targets, rules against numbers worked out by hand, code usage against the codec's own count."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping

import numpy as np
import pandas as pd
import pytest
from evaluation_fakes import FakeEntry, FakeSystem, LevelMetric, write_prompts

import evaluation.audit
import evaluation.model_evaluation as model_evaluation
from audiolm.codec.usage import code_usage
from evaluation.bootstrap import Interval, Resampler
from evaluation.cli import main
from evaluation.frames import SUMMARY_SCHEMA
from evaluation.model_table import Finding, RowPlan, planned_rows, table_rows
from evaluation.model_table_codes import CodeCounts, codes_in_use, lowest_entropy_bit
from evaluation.model_table_rules import (
    codec_wer_rise,
    continuation_voice_position,
    detector_accuracy,
    generated_speech_like,
)
from evaluation.scorers import ScorerState

RESAMPLER = Resampler(seed=1, replicates=200)


def scores(*rows: tuple[str, str, str, str, float | None]) -> pd.DataFrame:
    """Rows ``(utterance, role, scorer, measure, value)``; the speaker is the utterance's first letter."""
    return pd.DataFrame(
        [
            {
                "item_id": f"x:{role}:{utterance}",
                "utterance_id": utterance,
                "speaker_id": utterance[0],
                "system": "x",
                "role": role,
                "scorer": scorer,
                "measure": measure,
                "value": math.nan if value is None else value,
                "status": "skipped" if value is None else "ok",
            }
            for utterance, role, scorer, measure, value in rows
        ]
    )


def found(value: Finding | str) -> Finding:
    assert isinstance(value, Finding), value
    return value


def word_rows(utterance: str, before: float, after: float | None, words: float):
    yield utterance, "reference", "word_error", "errors", before
    yield utterance, "reference", "word_error", "words", words
    yield utterance, "codec", "word_error", "errors", after


def test_rise_of_word_errors_is_a_ratio_of_sums_over_both_splits() -> None:
    test = scores(*word_rows("a1", 2, 5, 10), *word_rows("b1", 1, 1, 20), *word_rows("c1", 0, None, 50))
    dev = scores(*word_rows("d1", 0, 3, 30))
    rise = found(codec_wer_rise([test, dev], RESAMPLER))
    assert rise.interval.estimate == pytest.approx(6 / 60)  # the clip without a value is left out on both sides
    assert (rise.n_items, rise.n_speakers) == (3, 3) and rise.interval.low < 0.1 < rise.interval.high
    assert "no utterance" in str(codec_wer_rise([test.iloc[:0]], RESAMPLER))


def test_position_of_the_voice_between_floor_and_ceiling() -> None:
    rows: list[tuple[str, str, str, str, float | None]] = []
    for utterance, own, middle, other in (("a1", 0.9, 0.8, 0.5), ("b1", 0.8, 0.7, 0.4), ("c1", 0.85, 0.72, 0.45)):
        for role, value in (("reference", own), ("continuation", middle), ("shuffled", other)):
            rows.append((utterance, role, "speaker_similarity", "cosine", value))
    position = found(continuation_voice_position(scores(*rows), RESAMPLER))
    assert position.interval.estimate == pytest.approx((0.3 + 0.3 + 0.27) / (0.4 + 0.4 + 0.4))
    swapped = {"reference": "shuffled", "shuffled": "reference"}
    turned = [(name, swapped.get(role, role), scorer, measure, value) for name, role, scorer, measure, value in rows]
    assert "no nearer" in str(continuation_voice_position(scores(*turned), RESAMPLER))


def test_detector_accuracy_weighs_both_kinds_alike_and_takes_the_best() -> None:
    rows = []
    for number, name in enumerate("abcd"):
        rows += [(f"{name}{take}", "codec", "detector:good", "flagged", float(number == 0)) for take in range(3)]
        rows += [(f"{name}0", "continuation", "detector:good", "flagged", 1.0)]
        rows += [(f"{name}1", "continuation", "detector:good", "flagged", None)]
        rows += [(f"{name}0", role, "detector:bad", "flagged", 1.0) for role in ("codec", "continuation")]
    accuracy = found(detector_accuracy(scores(*rows), RESAMPLER))
    assert accuracy.interval.estimate == pytest.approx(0.5 * (0.75 + 1.0))
    assert accuracy.note.startswith("good, 4 of 20 clips without an opinion")
    assert "no detector" in str(detector_accuracy(scores(*rows[:3]), RESAMPLER))


def test_speech_like_clips_of_both_roles_count_alike() -> None:
    rows = [(f"{name}1", "continuation", "speech_likeness", "speech_like", 1.0) for name in "abc"]
    rows += [("a1", "unconditional", "speech_likeness", "speech_like", 0.0)]
    rows += [("a1", "reference", "speech_likeness", "speech_like", 0.0)]
    assert found(generated_speech_like(scores(*rows), RESAMPLER)).interval.estimate == 0.75


def test_code_usage_equals_the_codecs_own_count() -> None:
    generator = np.random.default_rng(0)
    clips = {f"{name}{take}": generator.integers(0, 12 + 4 * take, (3, 40)) for name in "abc" for take in range(2)}
    clips["a0"][2] = 5
    counts = CodeCounts(16)
    for name, codes in clips.items():
        counts.add(name[0], codes)
    theirs = code_usage(clips.values(), 16).levels
    used, entropy = codes_in_use(counts), lowest_entropy_bit(counts, RESAMPLER)
    assert used.interval.estimate == min(level.share for level in theirs) and math.isnan(used.interval.low)
    assert entropy.interval.estimate == pytest.approx(min(level.entropy_bit for level in theirs))
    assert entropy.n_speakers == 3 and entropy.n_items == 6 and "240 frames" in entropy.note
    with pytest.raises(ValueError, match="below 16"):
        counts.add("a", np.array([[16]]))
    with pytest.raises(ValueError, match="2 levels"):
        counts.add("d", np.zeros((2, 4), dtype=np.int64))
    with pytest.raises(ValueError, match="no codes"):
        CodeCounts(16).array()


@pytest.mark.parametrize(
    ("plan", "value", "met"),
    [
        ({"at_least": 0.8}, (0.8, 0.5, 0.9), True),
        ({"at_least": 0.8}, (0.79, 0.5, 0.9), False),
        ({"at_most": 0.06}, (-0.01, -0.1, 0.1), True),
        ({"at_most": 0.06}, (0.07, 0.0, 0.1), False),
        ({"clear_above": 0.5}, (0.7, 0.51, 0.9), True),
        ({"clear_above": 0.5}, (0.7, 0.5, 0.9), False),
        ({"clear_above": 0.5}, (0.7, math.nan, math.nan), None),
        ({"at_most": 0.06}, (0.0, math.nan, math.nan), None),
        ({"at_least": 0.85, "exact": True}, (0.9, math.nan, math.nan), True),
        ({"interval": True}, (0.7, 0.6, 0.8), True),
        ({"interval": True}, (0.7, math.nan, math.nan), False),
        ({"at_least": 0.8}, (math.nan, math.nan, math.nan), None),
        ({}, (0.7, 0.6, 0.8), None),
    ],
)
def test_a_target_is_met_or_not(plan: Mapping[str, float], value: tuple[float, float, float], met: bool | None) -> None:
    row = RowPlan(name="a", title="A", measure="m", **plan)  # type: ignore[arg-type]
    assert row.met(Interval(*value, "")) is met and (row.target is None) == (not plan)


def test_the_table_has_every_planned_row_and_says_what_it_does_not_have() -> None:
    row = {"system": "x", "role": "codec", "group_by": "all", "group": "", "scorer": "codec_quality", "measure": "stoi"}
    row |= {"estimate": 0.9, "ci_low": 0.85, "ci_high": 0.93, "confidence": 0.95, "method": "m"}
    summary = pd.DataFrame([row | {"n_items": 9, "n_speakers": 3, "n_skipped": 1, "n_failed": 0}])
    assert set(summary.columns) == set(SUMMARY_SCHEMA.names)
    rise = Finding(interval=Interval(0.1, 0.05, 0.2, "m"), unit="words per word", n_items=4, n_speakers=2)
    rules = {"codec_wer_rise": lambda: rise, "abx_within_reduction": lambda: "no transcripts"}
    rows = {found.name: found for found in table_rows(summary, {("codec_quality", "stoi"): "STOI"}, rules)}
    assert list(rows) == [plan.name for plan in planned_rows()]
    assert rows["codec_stoi"].met is True and rows["codec_stoi"].note == "items without a value: 1"
    assert (rows["codec_stoi"].value, rows["codec_stoi"].low, rows["codec_stoi"].unit) == (0.9, 0.85, "STOI")
    assert rows["codec_wer_rise"].met is False and rows["codec_wer_rise"].target == "<= 0.06"
    assert rows["abx_within_reduction"].value is None and rows["abx_within_reduction"].note == "no transcripts"
    assert rows["detector_accuracy"].note == "left out of this evaluation" and rows["detector_accuracy"].met is None
    assert "no pesq_wb of codec" in rows["codec_pesq_wb"].note


class TokenSystem(FakeSystem):
    """A system that shows codes: one level, the same code throughout."""

    roles = ("codec", "codec-4", "acoustic", "continuation", "unconditional")
    codebook_size, n_semantic_tokens = 4, 8

    def codec_codes(self, samples: np.ndarray) -> np.ndarray:
        return np.full((1, len(samples) // 320), 2)


def test_the_verb_makes_a_run_with_every_role_and_prints_rows(tmp_path, monkeypatch, capsys) -> None:
    manifest = write_prompts(tmp_path / "prompts", speakers=3, each=1)
    states = [ScorerState(metric=LevelMetric(), status="ready", sentence="")]
    entry = FakeEntry(TokenSystem())
    monkeypatch.setattr(evaluation.audit, "discover_generators", lambda: {"audiolm": entry})
    monkeypatch.setattr(model_evaluation, "discover_generators", lambda: {"audiolm": entry})
    monkeypatch.setattr(evaluation.audit, "select_scorers", lambda names, device="cpu": states)
    out = tmp_path / "run"
    command = ["evaluate-model", "nano", "--data", str(manifest), "--split", "test", "--second-split", "train"]
    command += ["--out", str(out), "--seconds", "1", "--no-abx", "--workers", "1", "--json"]
    assert main(command) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert set(rows["codec_stoi"]) >= {
        "name", "value", "low", "high", "unit", "n_items", "n_speakers", "target", "met",
    }  # fmt: skip
    assert rows["codec_codes_in_use"]["value"] == 0.25 and rows["codec_codes_in_use"]["met"] is False
    assert rows["codec_entropy_bit"]["value"] == 0.0 and rows["codec_stoi"]["value"] is None
    made = {path.parent.name for path in out.glob("audio/*/*.wav")}
    assert made == {"reference", "codec", "codec-4", "acoustic", "continuation", "unconditional"}
    beside = {path.parent.name for path in (tmp_path / "run-train").glob("audio/*/*.wav")}
    assert beside == {"reference", "codec"}
    calls = entry.system.calls
    assert main([*command[:-1]]) == 0 and entry.system.calls == calls  # goes on from what is there
    assert "not met" in capsys.readouterr().out
