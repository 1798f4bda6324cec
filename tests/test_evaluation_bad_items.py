"""Clips that no measure is made for: each keeps a row with a status and a reason, is counted, and is never a zero."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pandas as pd
import pytest

import evaluation.metrics.word_error as word_error
from audiolm.audio import AudioClip, write_audio
from evaluation.aggregation import summarise
from evaluation.discovery import discover_metrics
from evaluation.frames import write_generations, write_scores
from evaluation.oracles._sounds import voice
from evaluation.records import GenerationRecord
from evaluation.run_folder import RunFolder, write_json
from evaluation.scoring import score_items
from evaluation.system_difference import compare_systems

PROMPT_S = 1.5
SCORERS = ("acoustic_consistency", "acoustic_consistency_f0", "acoustic_consistency_timbre", "codec_quality", "seam",
           "signal_quality", "speaker_similarity", "speech_likeness", "word_error")  # fmt: skip


class Deaf:
    """A recogniser that hears nothing."""

    name = "deaf"

    def load(self, device: str):
        return lambda clips: ["" for _ in clips]

    def status(self) -> tuple[str, str]:
        return "ready", "hears nothing"

    def fingerprint(self) -> dict[str, str]:
        return {"asr": "deaf"}


def clip_of(kind: str) -> np.ndarray:
    return {"silent": np.zeros(32_000, np.float32), "short": voice(seconds=0.1)}.get(kind, voice(seconds=2.0))


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[RunFolder, list[GenerationRecord]]:
    """One speaker; a good utterance, a silent one, one of 100 ms, and one whose text is only marks."""
    monkeypatch.setattr(word_error, "find_recogniser", Deaf)
    (tmp_path / "run" / "audio").mkdir(parents=True)
    records = []
    for kind in ("good", "silent", "short", "marks"):
        for role in ("reference", "codec", "continuation"):
            sound = clip_of(kind) if role != "reference" else voice(seconds=2.0)
            whole = sound if role == "continuation" else np.concatenate([voice(seconds=PROMPT_S), sound])
            whole = 0.0 * whole if (kind, role) == ("silent", "codec") else whole
            path = f"audio/{kind}-{role}.wav"
            write_audio(tmp_path / "run" / path, AudioClip.from_array(whole, 16_000))
            records.append(GenerationRecord(
                item_id=f"{role}:{kind}", utterance_id=kind, speaker_id="only one", system="x", role=role, seed=0,
                audio_path=path, sample_rate_hz=16_000, duration_s=len(whole) / 16_000, prompt_s=PROMPT_S,
                transcript="?! ..." if kind == "marks" else "two words", groups=MappingProxyType({}), origin="human",
                wall_s=0.0, status="ok", reason="", content_sha256=f"{kind}{role}", config_sha256="",
            ))  # fmt: skip
    folder = RunFolder(tmp_path / "run")
    write_generations(folder.generations, records)
    write_json(folder.run_json, {"schema_version": 1, "run_id": "r"})
    return folder, records


def scored(folder: RunFolder, records: list[GenerationRecord]) -> pd.DataFrame:
    metrics = discover_metrics()
    return score_items(folder, records, [metrics[name] for name in SCORERS], run_id="r")


def test_every_item_has_a_row_with_a_value_or_a_reason(run) -> None:
    frame = scored(*run)
    assert set(frame["status"]) == {"ok", "skipped"}
    without = frame[frame["status"] != "ok"]
    assert "" not in set(without["reason"]) and np.isnan(np.asarray(without["value"], dtype=float)).all()
    per_scorer = frame.groupby(["scorer", "measure", "role"])["item_id"].nunique()
    assert set(per_scorer) == {4}, "no item is dropped"
    rows = frame.set_index(["item_id", "scorer", "measure"]).sort_index()
    for scorer in ("acoustic_consistency", "acoustic_consistency_f0", "seam", "speaker_similarity"):
        for item in ("continuation:silent", "continuation:short"):
            assert set(rows.loc[(item, scorer), "status"]) == {"skipped"}, (item, scorer)
    assert "silent" in rows.loc[("codec:silent", "codec_quality", "stoi"), "reason"]
    assert "0.10 s" in rows.loc[("continuation:short", "speaker_similarity", "cosine"), "reason"]
    assert "no words" in rows.loc[("codec:marks", "word_error", "errors"), "reason"]


def test_who_hears_nothing_counts_every_word_as_deleted(run) -> None:
    frame = scored(*run).set_index(["item_id", "measure"])
    assert frame.loc[("codec:good", "deletions"), "value"] == frame.loc[("codec:good", "words"), "value"] == 2.0
    assert frame.loc[("codec:good", "silence"), "value"] == 1.0


def test_one_speaker_has_estimates_and_no_interval(run) -> None:
    folder, records = run
    scored(folder, records)
    summary = summarise(folder, seed=0)
    known = summary[summary["estimate"].notna()]
    assert len(known) > 20 and np.isnan(np.asarray(known["ci_low"], dtype=float)).all()
    assert all("fewer than two speakers" in method for method in known["method"])
    wer = summary[(summary["measure"] == "wer") & (summary["role"] == "codec")].iloc[0]
    assert wer["estimate"] == 1.0 and wer["n_items"] == 3 and wer["n_skipped"] == 1


def test_equal_systems_differ_by_nothing_and_other_evaluators_are_refused(run, tmp_path: Path) -> None:
    folder, records = run
    frame = scored(folder, records)
    other = RunFolder(tmp_path / "other")
    other.path.mkdir()
    for source, target in ((folder.generations, other.generations), (folder.scores, other.scores),
                           (folder.measures, other.measures), (folder.run_json, other.run_json)):  # fmt: skip
        target.write_bytes(source.read_bytes())
    table = compare_systems(folder.path, other.path)
    assert (table["difference"] == 0.0).all() and table["low"].isna().all()
    missing = table[(table["measure"] == "accepted") & (table["role"] == "continuation")].iloc[0]
    assert missing["n_missing"] == 2 and (missing["worst_case_low"], missing["worst_case_high"]) == (-0.5, 0.5)
    old, new = str(frame["scorer_version"].iloc[0]), "9+another"
    changed = frame.assign(scorer_version=frame["scorer_version"].replace(old, new))
    write_scores(other.scores, changed)
    with pytest.raises(ValueError, match=r"--force") as caught:
        compare_systems(folder.path, other.path)
    assert old in str(caught.value) and new in str(caught.value)
    forced = compare_systems(folder.path, other.path, force=True)
    unsound = forced[~forced["sound"]]
    assert len(unsound) and all(verdict.startswith("unsound") for verdict in unsound["verdict"])


def test_an_item_that_failed_before_is_failed_in_every_measure(run) -> None:
    folder, records = run
    lost = [dataclasses.replace(r, status="failed", reason="out of memory") if r.item_id == "codec:good" else r
            for r in records]  # fmt: skip
    frame = scored(folder, lost)
    rows = frame[frame["item_id"] == "codec:good"]
    assert set(rows["status"]) == {"failed"} and all(math.isnan(value) for value in rows["value"])
    assert all("out of memory" in reason for reason in rows["reason"])
