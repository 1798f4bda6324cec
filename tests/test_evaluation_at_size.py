"""Runs that flow: the tables of a run in memory, whatever order, engine and source; a kill loses nothing."""

from __future__ import annotations

import csv
import io
import json
import tarfile
import tracemalloc
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile as sf
from benchmarks.simulated import CheapMetric, SimulatedSource
from benchmarks.simulated import write_manifest as write_simulated
from evaluation_fakes import LevelMetric, tone, write_manifest

from evaluation.at_size import StreamOptions, run_streamed
from evaluation.audit import _generate, _Inputs, _summarise
from evaluation.config import RunConfig
from evaluation.engines import EngineOptions
from evaluation.frames import read_generations, read_scores, read_summary
from evaluation.prompts_source import utterances_of
from evaluation.run_folder import RunFolder
from evaluation.scoring import score_items

KEY = ["item_id", "scorer", "measure"]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 clips of 5 speakers out of order, at several rates and depths, and every kind of bad row."""
    folder = tmp_path_factory.mktemp("corpus")
    draw, rows = np.random.default_rng(0), []
    for number in draw.permutation(40):
        rate, subtype = [(16_000, "PCM_16"), (8_000, "PCM_24"), (16_000, "FLOAT")][number % 3]
        name = f"u{number:02d}"
        sf.write(folder / f"{name}.wav", tone(0.4 + 0.01 * number, 150 + 9 * number, 0.1 + 0.02 * number, rate), rate,
                 subtype=subtype)  # fmt: skip
        rows.append({"utterance_id": name, "audio_path": f"{name}.wav", "transcript": f"words {number}",
                     "speaker_id": f"s{number % 5}", "gender": "FM"[number % 2], "accent": "x" if number < 9 else "",
                     "split": "test" if number % 4 else "dev"})  # fmt: skip
    (folder / "text.wav").write_text("no audio")
    rows[7] |= {"audio_path": "gone.wav"}
    rows[8] |= {"audio_path": "text.wav"}
    rows[9] |= {"utterance_id": rows[3]["utterance_id"]}
    rows[10] |= {"utterance_id": ""}
    rows[11] |= {"audio_path": "../outside.wav"}
    rows[12] |= {"speaker_id": ""}
    return write_manifest(folder, rows)


def in_memory(manifest: Path, out: Path, metrics: Sequence[LevelMetric], **options) -> RunFolder:
    """What ``audit --system`` does up to the summary."""
    run = RunFolder(out)
    run.path.mkdir()
    config = RunConfig(recorded=str(manifest), max_seconds=4.0, **options)
    inputs = _Inputs(utterances=utterances_of(config), generator=None, system=manifest.name,
                     description={"name": manifest.name, "kind": "files of an outside system"})  # fmt: skip
    records = _generate(run, config, inputs, "", *_quiet())
    score_items(run, records, metrics, run_id=str(run.require()["run_id"]))
    _summarise(run)
    return run


def _quiet():
    from evaluation.progress import silent

    return silent, EngineOptions()


def streamed(source: str | Path, out: Path, metrics: Sequence[LevelMetric], **options) -> RunFolder:
    config = RunConfig(recorded=str(source), max_seconds=4.0, **options)
    run_streamed(config, out, StreamOptions(shard_rows=7, metrics=tuple(metrics)))
    return RunFolder(out)


def scorers() -> list[LevelMetric]:
    return [LevelMetric(skip_on="u05", fail_on="u06"), LevelMetric(pair=True)]


def table(run: RunFolder) -> pd.DataFrame:
    return read_scores(run.scores).drop(columns="run_id").sort_values(KEY).reset_index(drop=True)


def assert_same(streamed_run: RunFolder, run: RunFolder, *, but: Sequence[str] = ("audio_path",)) -> None:
    pd.testing.assert_frame_equal(table(streamed_run), table(run))
    found, wanted = (pd.DataFrame([vars_of(one) for one in read_generations(r.generations)]).sort_values("item_id")
                     .reset_index(drop=True).drop(columns=[*but]) for r in (streamed_run, run))  # fmt: skip
    pd.testing.assert_frame_equal(found, wanted)
    pd.testing.assert_frame_equal(read_summary(streamed_run.summary), read_summary(run.summary), rtol=1e-12, atol=0)


def vars_of(record) -> dict:
    return {name: getattr(record, name) for name in record.__slots__} | {"groups": json.dumps(dict(record.groups))}


@pytest.mark.parametrize("options", [{}, {"split": "test"}, {"limit": 11}, {"split": "test", "limit": 6}])
def test_a_streamed_manifest_gives_the_tables_of_a_run_in_memory(corpus: Path, tmp_path: Path, options: dict) -> None:
    run = in_memory(corpus, tmp_path / "memory", scorers(), **options)
    assert_same(streamed(corpus, tmp_path / "streamed", scorers(), **options), run)
    assert len(read_generations(run.generations)) == options.get("limit", 30 if options else 40)


def test_order_of_rows_shards_and_a_kill_change_nothing(corpus: Path, tmp_path: Path) -> None:
    """Parts that are missing or half written are made again, and no other is."""
    whole = streamed(corpus, tmp_path / "whole", scorers())
    part = whole.scores.with_suffix("") / "part-00000002.parquet"
    wanted, before = table(whole), part.read_bytes()
    part.unlink()
    (part.parent / ".part-00000004.parquet.99.tmp").write_bytes(b"half")
    metric, other = scorers()
    config = RunConfig(recorded=str(corpus), max_seconds=4.0)
    options = StreamOptions(shard_rows=7, metrics=(metric, other))
    with pytest.raises(ValueError, match="--resume"):
        run_streamed(config, whole.path, options)
    run_streamed(config, whole.path, options, resume=True)
    assert part.read_bytes() == before and len(metric.scored) <= 7 and not list(part.parent.glob(".*"))
    pd.testing.assert_frame_equal(table(whole), wanted)
    with pytest.raises(ValueError, match="cannot be resumed, shard_rows was 7 and is now 8"):
        run_streamed(config, whole.path, StreamOptions(shard_rows=8, metrics=options.metrics), resume=True)
    finer = RunFolder(tmp_path / "finer")
    run_streamed(config, finer.path, StreamOptions(shard_rows=3, metrics=tuple(scorers())))
    pd.testing.assert_frame_equal(table(finer), wanted)


def test_a_folder_and_tars_give_what_a_manifest_gives(corpus: Path, tmp_path: Path) -> None:
    """Clips with a sidecar each, as a folder and as tar members; with a link, a nameless and a foreign member."""
    folder, rows = tmp_path / "clips", read_manifest(corpus)[13:25]
    (folder / "deep").mkdir(parents=True)
    for place, row in enumerate(rows):
        clip = (corpus.parent / row["audio_path"]).read_bytes()
        path = folder / ("deep" if place % 2 else "") / row["audio_path"]
        path.write_bytes(clip)
        path.with_suffix(".txt").write_text(row["transcript"])
    (folder / "twice.wav").write_bytes(clip)
    (folder / "twice.flac").write_bytes(b"no audio")
    run = in_memory(folder, tmp_path / "clips-run", scorers())
    assert_same(streamed(folder, tmp_path / "folder-run", scorers()), run)
    tars = tmp_path / "tars"
    tars.mkdir()
    for number in range(2):
        with tarfile.open(tars / f"shard-{number}.tar", "w") as tar:
            add(tar, "../../etc/passwd", b"x")
            link = tarfile.TarInfo("link.wav")
            link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
            tar.addfile(link)
            for row in rows[number::2]:
                key = row["utterance_id"]
                add(tar, f"{key}.json", json.dumps({**row, "path": "/etc/passwd"}).encode())
                add(tar, f"{key}.wav", (corpus.parent / row["audio_path"]).read_bytes())
    manifest = write_manifest(corpus.parent, rows, "some.csv")
    wanted = in_memory(manifest, tmp_path / "some-run", scorers())
    found = streamed(f"{tars}/*.tar", tmp_path / "tars-run", scorers())
    columns = ["utterance_id", "scorer", "measure", "value", "status"]
    for one, other in ((table(found), table(wanted)),):
        pd.testing.assert_frame_equal(*(frame.loc[:, columns].sort_values(by=columns[:3]).reset_index(drop=True)
                                        for frame in (one, other)))  # fmt: skip
    by_id = {one.utterance_id: one for one in read_generations(wanted.generations)}
    for one in read_generations(found.generations):
        other = by_id[one.utterance_id]
        assert (one.content_sha256, one.transcript, one.speaker_id, one.groups) == (
            other.content_sha256, other.transcript, other.speaker_id, other.groups)  # fmt: skip
        assert one.audio_path.endswith(f".tar::{one.utterance_id}.wav")


def read_manifest(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))


def test_a_manifest_at_an_address_is_read_through_fsspec(tmp_path: Path, corpus: Path) -> None:
    import fsspec

    rows = read_manifest(corpus)[13:19]
    system = fsspec.filesystem("memory")
    for row in rows:
        system.pipe(f"/clips/{row['audio_path']}", (corpus.parent / row["audio_path"]).read_bytes())
    rows += [rows[0] | {"utterance_id": "gone", "audio_path": "gone.wav"},
             rows[0] | {"utterance_id": "out", "audio_path": "../x.wav"}]  # fmt: skip
    system.pipe("/clips/list.jsonl", "\n".join(map(json.dumps, rows)).encode())
    found = streamed("memory://clips/list.jsonl", tmp_path / "address", scorers())
    manifest = write_manifest(corpus.parent, rows[:6], "six.csv")
    wanted = table(in_memory(manifest, tmp_path / "six-run", scorers()))
    rows_found = table(found)
    kept = rows_found[~rows_found["utterance_id"].isin(["gone", "out"])]
    np.testing.assert_array_equal(kept["value"], wanted["value"])
    reasons = {one.utterance_id: one.reason for one in read_generations(found.generations)}
    assert "memory://clips/gone.wav: cannot be fetched" in reasons["gone"]
    assert "leads outside the manifest's folder" in reasons["out"]


def test_bad_sources_are_refused(tmp_path: Path) -> None:
    packed = tmp_path / "packed.tar"
    packed.write_bytes(b"\x1f\x8b" + bytes(600))
    for number, (source, words) in enumerate(
        (
            (str(tmp_path / "none"), "no such file or folder"),
            (str(tmp_path / "none.tar"), "no such tar"),
            (str(packed), "not an uncompressed tar"),
            ("memory://nothing/here", "name a manifest"),
            ("nowhere://x/list.csv", "nowhere"),
        )
    ):
        with pytest.raises(ValueError, match=words):
            streamed(source, tmp_path / f"out{number}", scorers())


def test_the_engine_changes_no_byte(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scorers are found by name here, so a real one."""
    monkeypatch.setattr("evaluation.at_size.run.accredit", lambda run, scorers: [])
    config = RunConfig(recorded=str(corpus), max_seconds=4.0, scorers=("signal_quality",))
    for name in ("local", "processes"):
        options = StreamOptions(shard_rows=10, engine=EngineOptions(name=name, workers=1 + (name != "local")))
        run_streamed(config, tmp_path / name, options)
    for path in sorted((tmp_path / "local").rglob("*.parquet")):
        assert path.read_bytes() == (tmp_path / "processes" / path.relative_to(tmp_path / "local")).read_bytes()


def test_memory_and_work_do_not_grow_with_the_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three times the rows in the same memory: short form of ``tests/benchmarks/scale.py --parts memory``."""
    monkeypatch.setattr("evaluation.at_size.summary.ROWS", 500)
    monkeypatch.setattr("evaluation.at_size.duplicates.HELD", 4)
    peaks = []
    for rows in (50, 400, 1200):  # the first pays for what is imported and cached; 400 rows have every speaker
        manifest = write_simulated(tmp_path / f"{rows}.parquet", rows)
        source = SimulatedSource(name=str(manifest))
        options = StreamOptions(source=source, metrics=(CheapMetric(),), shard_rows=50)
        tracemalloc.start()
        found = run_streamed(RunConfig(recorded=str(manifest), max_seconds=4.0), tmp_path / f"run{rows}", options)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert found.items == {"recorded": {"ok": rows}} and found.scores == {"ok": 4 * rows}
    assert peaks[2] <= 1.2 * peaks[1]
