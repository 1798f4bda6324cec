"""Tables are checked when written and when read; equal content gives equal bytes; one run per folder."""

from __future__ import annotations

import json
import multiprocessing
import os
import socket
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from evaluation.config import RunConfig
from evaluation.frames import SCORE_SCHEMA, SUMMARY_SCHEMA, read_scores, read_summary, write_scores, write_summary
from evaluation.run_folder import RunFolder, write_json
from evaluation.run_lock import LOCK_NAME, run_lock


def scores(**changes: object) -> pd.DataFrame:
    base = {
        "schema_version": 1, "run_id": "r", "item_id": ["b", "a"], "utterance_id": "u", "speaker_id": "s",
        "system": "x", "role": "codec",
        "scorer": "m", "measure": "v", "value": [1.0, 2.0], "status": "ok", "reason": "",
        "scorer_version": "1",
    }  # fmt: skip
    return pd.DataFrame(base | changes)


def test_equal_content_gives_equal_bytes_whatever_the_order(tmp_path: Path) -> None:
    write_scores(tmp_path / "a", scores())
    write_scores(tmp_path / "b", scores().iloc[::-1])
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert list(read_scores(tmp_path / "a")["item_id"]) == ["a", "b"]
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"status": "great"}, "status must be one of"),
        ({"value": [1.0, np.nan]}, "finite if and only if"),
        ({"status": ["ok", "failed"], "reason": ["", "why"]}, "finite if and only if"),
        ({"status": ["ok", "failed"], "value": [1.0, np.nan]}, "needs a reason"),
        ({"reason": "but"}, "has no reason"),
        ({"item_id": "a"}, "must be unique"),
        ({"extra": 1}, "unknown: extra"),
    ],
)
def test_a_score_frame_that_breaks_a_rule_is_refused(tmp_path: Path, changes: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        write_scores(tmp_path / "scores.parquet", scores(**changes))
    assert not (tmp_path / "scores.parquet").exists()


def test_reading_refuses_other_versions_columns_and_files(tmp_path: Path) -> None:
    path = tmp_path / "scores.parquet"
    with pytest.raises(ValueError, match="no such file"):
        read_scores(path)
    path.write_bytes(b"nonsense")
    with pytest.raises(ValueError, match="Parquet"):
        read_scores(path)
    scores().astype({"schema_version": "int64"}).to_parquet(path)
    with pytest.raises(ValueError, match="'schema_version' is int64, not int16"):
        read_scores(path)
    scores().drop(columns="role").to_parquet(path)
    with pytest.raises(ValueError, match="'schema_version'|'role'"):
        read_scores(path)
    write_scores(path, scores(schema_version=2))
    with pytest.raises(ValueError, match="schema version 2"):
        read_scores(path)


def test_a_missing_interval_survives_the_summary_table(tmp_path: Path) -> None:
    row = dict.fromkeys(SUMMARY_SCHEMA.names, "x") | dict.fromkeys(
        ["estimate", "ci_low", "ci_high", "confidence"], np.nan
    )
    row |= dict.fromkeys(["n_items", "n_speakers", "n_skipped", "n_failed"], 3)
    write_summary(tmp_path / "s.parquet", pd.DataFrame([row]))
    assert read_summary(tmp_path / "s.parquet")["ci_low"].isna().all()
    with pytest.raises(ValueError, match="unique"):
        write_summary(tmp_path / "s.parquet", pd.DataFrame([row, row]))


def test_the_score_columns_are_the_contract() -> None:
    contract = "schema_version run_id item_id utterance_id speaker_id system role scorer measure value status reason"
    assert SCORE_SCHEMA.names == [*contract.split(), "scorer_version"]


def test_json_with_a_nan_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(tmp_path / "x.json", {"a": float("nan")})


def _hold(folder: str, ready, done) -> None:
    with run_lock(Path(folder)):
        ready.set()
        done.wait(20)


def test_two_runs_do_not_share_a_folder(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    ready, done = context.Event(), context.Event()
    process = context.Process(target=_hold, args=(str(tmp_path), ready, done))
    process.start()
    assert ready.wait(20)
    with pytest.raises(ValueError, match=f"process {process.pid} .* is working there"), run_lock(tmp_path):
        pass
    process.kill()  # as kill -9: the lock file stays and its owner is gone
    process.join()
    assert (tmp_path / LOCK_NAME).exists()
    with run_lock(tmp_path):
        assert json.loads((tmp_path / LOCK_NAME).read_text())["pid"] == os.getpid()
    assert not list(tmp_path.iterdir())


def test_a_lock_of_a_reused_process_number_is_stale(tmp_path: Path) -> None:
    owner = {"pid": os.getpid(), "started": 1.0, "host": socket.gethostname()}
    (tmp_path / LOCK_NAME).write_text(json.dumps(owner))
    with run_lock(tmp_path):
        pass
    (tmp_path / LOCK_NAME).write_text("")
    with run_lock(tmp_path):
        pass
    (tmp_path / LOCK_NAME).write_text(json.dumps(owner | {"host": "another-machine"}))
    with pytest.raises(ValueError, match="another-machine.*delete"), run_lock(tmp_path):
        pass


def test_folders_that_are_taken_are_refused(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    run.refuse_taken(resume=False)
    assert not run.path.exists()
    run.path.mkdir()
    run.refuse_taken(resume=True)
    (run.path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="not empty.*--resume"):
        run.refuse_taken(resume=False)
    with pytest.raises(ValueError, match="no run.json"):
        run.refuse_taken(resume=True)
    with pytest.raises(ValueError, match="is a file"):
        RunFolder(run.path / "notes.txt").refuse_taken(resume=False)


def test_a_resume_with_other_options_names_them(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    config = RunConfig(prompts="p", seed=1)
    run.update(schema_version=1, config=config.as_dict(), fixed={"system_sha256": "a"})
    run.refuse_other_config(config, {"system_sha256": "a"})
    with pytest.raises(ValueError, match="seed was 1 and is now 2"):
        run.refuse_other_config(RunConfig(prompts="p", seed=2), {"system_sha256": "a"})
    with pytest.raises(ValueError, match="system_sha256 was 'a' and is now 'b'"):
        run.refuse_other_config(config, {"system_sha256": "b"})


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "either prompts"),
        ({"prompts": "a", "recorded": "b"}, "either prompts"),
        ({"prompts": "a", "seconds": 0.0}, "seconds is 0"),
        ({"prompts": "a", "seconds": float("nan")}, "seconds is nan"),
        ({"prompts": "a", "max_seconds": 3.5}, "prompt_s"),
        ({"prompts": "a", "seed": -1}, "seed is -1"),
        ({"prompts": "a", "limit": 0}, "limit is 0"),
    ],
)
def test_options_are_checked(options: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        RunConfig(**options)  # type: ignore[arg-type]
