"""The main job with a cheap system and cheap scorers: kills, resume, reruns, runs without anything usable."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
from pathlib import Path

import pandas as pd
import pytest
import soundfile as sf
from evaluation_fakes import RATE_HZ, FakeEntry, FakeSystem, LevelMetric, tone, write_manifest, write_prompts

import evaluation.audit
from evaluation.audit import run_audit, run_generation, run_scoring
from evaluation.config import RunConfig
from evaluation.frames import read_generations, read_scores, read_summary
from evaluation.run_folder import RunFolder
from evaluation.scorers import ScorerState

TABLES = ("run.json", "generations.parquet", "scores.parquet", "measures.json", "summary.parquet", "curves.json")


class KillingMetric(LevelMetric):
    """Kills its process, as kill -9 does, once it has scored ``left`` items."""

    left = 10**9

    def _one(self, item):
        self.left -= 1
        if self.left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return super()._one(item)


def wire(monkeypatch: pytest.MonkeyPatch, system: FakeSystem, *metrics: LevelMetric, real_report: bool = False) -> None:
    states = [ScorerState(metric=metric, status="ready", sentence="") for metric in metrics]
    monkeypatch.setattr(evaluation.audit, "discover_generators", lambda: {"audiolm": FakeEntry(system)})
    monkeypatch.setattr(evaluation.audit, "select_scorers", lambda names, device="cpu": states)
    if not real_report:  # the report takes longer than everything before it
        monkeypatch.setattr(evaluation.audit, "report_run", lambda folder, gate, policy=None, plan=None: None)


@pytest.fixture(scope="module")
def prompts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_prompts(tmp_path_factory.mktemp("prompts"), speakers=4, each=6)


@pytest.fixture(scope="module")
def undisturbed(prompts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("undisturbed") / "run"
    with pytest.MonkeyPatch.context() as patch:
        wire(patch, FakeSystem(), KillingMetric(), LevelMetric(pair=True), real_report=True)
        assert run_audit(config(prompts), out).report_path == out / "report.html"
    return out


def config(prompts: Path, **options: object) -> RunConfig:
    return RunConfig(prompts=str(prompts), seconds=1.0, seed=7, **options)  # type: ignore[arg-type]


def test_a_run_leaves_every_file_of_the_contract(undisturbed: Path, prompts: Path) -> None:
    for name in (*TABLES, "findings.json", "report.html"):
        assert (undisturbed / name).stat().st_size > 0, name
    info = json.loads((undisturbed / "run.json").read_text())
    assert info["status"] == "complete" and info["schema_version"] == 1 and info["config"]["seed"] == 7
    assert info["prompts"]["origin"] == "human" and info["prompts"]["n_speakers"] == 4
    assert info["counts"]["generations"]["continuation"] == {"ok": 24}
    assert set(info["times"]) == {"generate_s", "score_s", "summarise_s"}
    assert [evaluator["name"] for evaluator in info["evaluators"]] == ["level", "level_pair"]
    summary = read_summary(undisturbed / "summary.parquet")
    assert set(summary["group_by"]) == {"all", "gender"} and "paired:level_pair" in set(summary["scorer"])
    assert summary["ci_low"].notna().all()


@pytest.mark.parametrize(("renders", "scores"), [(0, None), (4, None), (None, 0), (None, 90)])
def test_resume_after_a_kill_gives_the_table_of_an_undisturbed_run(
    renders: int | None,
    scores: int | None,
    prompts: Path,
    undisturbed: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "run"
    killing = KillingMetric()
    killing.left = 10**9 if scores is None else scores
    wire(monkeypatch, FakeSystem(renders_left=renders), killing, LevelMetric(pair=True))
    process = multiprocessing.get_context("fork").Process(target=run_audit, args=(config(prompts), out))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL and not (out / "summary.parquet").exists()

    system, metric = FakeSystem(), KillingMetric()
    wire(monkeypatch, system, metric, LevelMetric(pair=True))
    with pytest.raises(ValueError, match="--resume"):
        run_audit(config(prompts), out)
    run_audit(config(prompts), out, resume=True)
    pd.testing.assert_frame_equal(read_summary(out / "summary.parquet"), read_summary(undisturbed / "summary.parquet"))
    pd.testing.assert_frame_equal(read_scores(out / "scores.parquet"), read_scores(undisturbed / "scores.parquet"))
    assert (out / "summary.parquet").read_bytes() == (undisturbed / "summary.parquet").read_bytes()
    made_before_the_kill = {0: 0, 4: 1, None: 4}[renders]  # 4 shards of 6 utterances, 3 roles each
    assert system.calls == 3 * (4 - made_before_the_kill)
    assert len(metric.scored) == 120 - (scores or 0)  # shards of 1 utterance, 5 roles each


def test_resuming_a_finished_run_computes_nothing(
    prompts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wire(monkeypatch, FakeSystem(), LevelMetric())
    run_audit(config(prompts), tmp_path / "run")
    before = {name: (tmp_path / "run" / name).read_bytes() for name in TABLES[1:]}
    system, metric = FakeSystem(), LevelMetric()
    wire(monkeypatch, system, metric)
    run_audit(config(prompts), tmp_path / "run", resume=True)
    assert system.calls == 0 and metric.scored == []
    assert {name: (tmp_path / "run" / name).read_bytes() for name in TABLES[1:]} == before
    with pytest.raises(ValueError, match="limit was None and is now 3"):
        run_audit(config(prompts, limit=3), tmp_path / "run", resume=True)


def test_scoring_again_with_another_scorer_keeps_the_audio(
    prompts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wire(monkeypatch, FakeSystem(), LevelMetric())
    run_generation(config(prompts, limit=4), tmp_path / "run")
    assert not (tmp_path / "run" / "scores.parquet").exists()
    run_scoring(tmp_path / "run")
    assert set(read_scores(tmp_path / "run" / "scores.parquet")["scorer"]) == {"level"}
    with pytest.raises(ValueError, match="holds no run.json"):
        run_scoring(tmp_path)


def test_nothing_usable_says_so_and_keeps_the_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wire(monkeypatch, FakeSystem(), LevelMetric())
    rows = [{"utterance_id": f"u{number}", "audio_path": f"gone{number}.wav"} for number in range(5)]
    manifest = write_manifest(tmp_path, rows)
    with pytest.raises(ValueError, match=r"none of the 5 utterances .*gone0.wav.*row 3.*and 2 more reasons"):
        run_audit(config(manifest), tmp_path / "run")
    records = read_generations(tmp_path / "run" / "generations.parquet")
    assert len(records) == 25 and {record.status for record in records} == {"failed"}


def test_files_of_an_outside_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "theirs"
    folder.mkdir()
    for number in range(3):
        sf.write(folder / f"f{number}.wav", tone(2.0, 200 + number, rate_hz=22_050), 22_050)
    (folder / "broken.wav").write_text("no audio")
    wire(monkeypatch, FakeSystem(), LevelMetric(), LevelMetric(pair=True), real_report=True)
    out = tmp_path / "run"
    result = run_audit(RunConfig(recorded=str(folder)), out, gate="never")
    assert result.exit_code == 0 and result.report_path.is_file()
    records = {record.utterance_id: record for record in read_generations(out / "generations.parquet")}
    assert {record.role for record in records.values()} == {"recorded"} and records["broken"].status == "failed"
    assert records["f0"].sample_rate_hz == 22_050 and records["f0"].system == "theirs"
    summary = read_summary(out / "summary.parquet").set_index(["scorer", "measure"])
    assert summary.loc[("level", "rms"), "n_items"] == 3 and summary.loc[("level", "rms"), "n_failed"] == 1
    assert pd.isna(summary.loc[("level", "rms"), "ci_low"])
    assert "unknown speakers count as one" in summary.loc[("level", "rms"), "method"]
    assert summary.loc[("level_pair", "rms"), "n_skipped"] == 3


def test_bad_input_leaves_no_folder_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wire(monkeypatch, FakeSystem(), LevelMetric())
    with pytest.raises(ValueError, match="no such file or folder"):
        run_audit(config(tmp_path / "nowhere"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_run_folder_can_move(undisturbed: Path) -> None:
    """Nothing in the tables points outside the folder by an absolute path."""
    records = read_generations(RunFolder(undisturbed).generations)
    assert all(not Path(record.audio_path).is_absolute() for record in records)
    assert all((undisturbed / record.audio_path).is_file() for record in records)
    assert sf.info(undisturbed / records[0].audio_path).samplerate == RATE_HZ
