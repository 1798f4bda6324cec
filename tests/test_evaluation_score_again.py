"""Scoring a run again: what leaves the tables is named and comes back with --add; what has no value says why."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from audiolm.audio import AudioClip, write_audio
from evaluation.audit import run_generation
from evaluation.cli import main
from evaluation.config import RunConfig
from evaluation.frames import read_scores, read_summary
from evaluation.oracles._sounds import voice
from evaluation.outside_files import FILES
from evaluation.run_folder import RunFolder
from evaluation.table_queries import numbers, rows_where


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """Two prompts of two speakers, continued by an outside system."""
    lines = ["utterance_id,audio_path,speaker_id"]
    for name, seconds in (("prompts", 4.0), ("vox", 2.0)):
        (tmp_path / name).mkdir()
        for number in range(2):
            hiss = 0.01 * np.random.default_rng(number + int(seconds)).normal(size=int(seconds * 16_000))
            sound = AudioClip.from_array((0.5 * voice(seconds=seconds)[: len(hiss)] + hiss).astype(np.float32), 16_000)
            write_audio(tmp_path / name / f"u{number}.wav", sound)
    lines += ["u0,u0.wav,a", "u1,u1.wav,b"]
    (tmp_path / "prompts" / "manifest.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    config = RunConfig(prompts=str(tmp_path / "prompts"), system=FILES, checkpoint=str(tmp_path / "vox"), prompt_s=1.5)
    run_generation(config, tmp_path / "run")
    return RunFolder(tmp_path / "run")


def test_named_scorers_replace_the_others_and_say_so_and_add_keeps_them(
    run: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    place = str(run.path)
    assert main(["score", place, "--scorers", "pitch", "--workers", "1"]) == 0
    assert "no longer" not in capsys.readouterr().out
    assert main(["score", place, "--scorers", "signal_quality", "--workers", "1"]) == 0
    assert "no longer in this run's tables: pitch;" in capsys.readouterr().out
    assert set(read_scores(run.scores)["scorer"]) == {"signal_quality"}
    assert main(["score", place, "--scorers", "pitch", "--add", "--workers", "1"]) == 0
    assert "no longer" not in capsys.readouterr().out
    assert set(read_scores(run.scores)["scorer"]) == {"signal_quality", "pitch"}
    assert main(["score", place, "--add"]) == 2
    assert "--add needs --scorers" in capsys.readouterr().err


def test_measures_without_a_value_keep_their_row_and_their_reason(
    run: RunFolder, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AUDIOLM_TRAINING", raising=False)
    place = str(run.path)
    assert main(["score", place, "--scorers", "distribution,nearest_training", "--workers", "1"]) == 0
    shown = capsys.readouterr().out
    assert "distribution: no value: needs 16 recordings and this run has 2" in shown
    assert "nearest_training: no value: the run's prompts are not held apart from training data" in shown
    summary = read_summary(run.summary)
    sets = rows_where(summary, scorer="distribution")
    assert {"frechet_mel", "kernel_voice", "coverage"} <= set(sets["measure"])
    assert np.isnan(numbers(sets, "estimate")).all()
    assert main(["table", place, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    frechet = next(row for row in rows if row["measure"] == "frechet_mel")
    assert frechet["estimate"] is None and "needs 16 recordings" in frechet["method"]


@pytest.mark.parametrize("limit", ["all", "0", "-3", "1.5"])
def test_a_limit_of_training_utterances_that_is_no_number_is_named(limit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from evaluation.corpus_metrics.nearest_training import CORPUS_METRIC

    monkeypatch.setenv("AUDIOLM_TRAINING_LIMIT", limit)
    with pytest.raises(ValueError, match="AUDIOLM_TRAINING_LIMIT is"):
        CORPUS_METRIC.status()
