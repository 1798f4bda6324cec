"""The report reads the shortcut audit of a run: an unfair data set is called so, a fair one too."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from report_run_folder import TinyRun

from evaluation.shortcut_audit import run_shortcuts
from reports import build_report
from reports.artefacts import open_run


def probe(name: str, auc: float) -> dict[str, object]:
    bounds = {"low": auc - 0.1, "high": min(1.0, auc + 0.1)}
    return {"probe": name, "auc": auc, **bounds, "higher_means": "synthetic", "n_bona_fide": 9, "n_synthetic": 8}


def audit(role: str, auc: float) -> dict[str, object]:
    rows = [probe("file_length_s", auc), probe("peak", 0.52)]
    return {"bona_fide": "codec", "synthetic": role, "limit": 0.65, "probes": rows}


def test_an_unfair_set_is_called_unfair_with_table_and_figure(tmp_path: Path):
    run = TinyRun(tmp_path / "run")
    run.shortcuts = [audit("continuation", 0.93), audit("acoustic", 0.6)]
    page = build_report(run.write()).report_path.read_text("utf-8")
    assert page.count("this data set is unfair. file_length_s alone") == 1
    assert page.count("fair by these probes") == 1 and page.count("<summary>Shortcut audit: ") == 2
    assert "fig-shortcuts-0" in page and "fig-shortcuts-1" in page


def test_a_broken_audit_is_named(tmp_path: Path):
    run = TinyRun(tmp_path / "run")
    run.shortcuts = [{"synthetic": "continuation"}]
    with pytest.raises(ValueError, match="shortcut audit 0 lacks"):
        open_run(run.write())


@dataclass
class _Record:
    role: str
    audio_path: str
    speaker_id: str
    origin: str = "human"
    status: str = "ok"


def test_a_runs_clips_are_audited_by_role_and_a_run_without_people_is_not(tmp_path: Path):
    run = TinyRun(tmp_path / "run")
    folder = run.write()
    records = [
        _Record(str(item["role"]), str(item["audio_path"]), str(item["speaker_id"]))
        for item in run.items
        if item["status"] == "ok" and (folder / str(item["audio_path"])).is_file()
    ]
    found = run_shortcuts(folder, records, seed=0)  # type: ignore[arg-type]
    assert {one["bona_fide"] for one in found} == {"codec"} and "continuation" in {one["synthetic"] for one in found}
    assert all(0.5 <= row["auc"] <= 1.0 for one in found for row in one["probes"])
    for record in records:
        record.origin = "synthetic"
    assert run_shortcuts(folder, records, seed=0) == []  # type: ignore[arg-type]
