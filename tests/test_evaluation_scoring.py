"""The scoring loop: batching changes nothing, failures stay where they are, what is known is not computed again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from evaluation_fakes import FakeSystem, LevelMetric, deadly_scorers, write_prompts

from audiolm.audio import AudioClip
from detectors import Verdict
from evaluation.config import RunConfig
from evaluation.detector_scorer import DetectorScorer
from evaluation.engines import EngineOptions, open_engine
from evaluation.frames import read_scores
from evaluation.generation import generate_items
from evaluation.manifest import read_utterances
from evaluation.metrics import Noted, ScoreInput, Skipped
from evaluation.records import GenerationRecord
from evaluation.run_folder import RunFolder
from evaluation.score_work import Job, ScoreWork, plain
from evaluation.scorers import select_scorers
from evaluation.scoring import describe_measures, score_items
from evaluation.transcripts import read_transcripts

DIED = "the scorer's process was killed by SIGKILL on this item"
KEY = ["item_id", "scorer", "measure"]


@pytest.fixture
def run(tmp_path: Path) -> tuple[RunFolder, list[GenerationRecord]]:
    manifest = write_prompts(tmp_path / "prompts", speakers=3, each=3)
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    system = FakeSystem()
    config = RunConfig(prompts="x", seconds=1.0)
    records = generate_items(
        folder, read_utterances(manifest), config, system, system="fake", description=system.describe()
    )
    return folder, records


def score(folder: RunFolder, records, *metrics, **options) -> pd.DataFrame:
    frame = score_items(folder, records, metrics, run_id="r", **options)
    return frame.sort_values(KEY).reset_index(drop=True)


def test_scores_equal_a_direct_computation(run) -> None:
    folder, records = run
    frame = score(folder, records, LevelMetric(), LevelMetric(pair=True))
    record = next(r for r in records if r.item_id == "fake:codec:s1-1")
    reference = next(r for r in records if r.item_id == "fake:reference:s1-1")
    samples = AudioClip.from_file(folder.path / record.audio_path).samples.astype(np.float64)
    prompt = AudioClip.from_file(folder.path / reference.audio_path).samples.astype(np.float64)[: 3 * 16_000]
    values = frame[frame["item_id"] == record.item_id].set_index(["scorer", "measure"])["value"]
    assert values["level", "rms"] == pytest.approx(np.sqrt(np.mean(samples**2)), abs=1e-12)
    rest = samples[3 * 16_000 :]  # the prompt part is cut off for pair measures
    wanted = np.sqrt(np.mean(rest**2)) - np.sqrt(np.mean(prompt**2))
    assert values["level_pair", "rms"] == pytest.approx(wanted, abs=1e-12)
    assert ("level", "loud_share") not in values.index


def test_batch_size_order_and_shards_change_nothing(run, tmp_path: Path) -> None:
    folder, records = run
    base = score(folder, records, LevelMetric(batch_size=4))
    for number, (batch_size, shard, order) in enumerate(((1, 16, records), (64, 1, records), (3, 2, records[::-1]))):
        other = RunFolder(tmp_path / f"other{number}")
        other.path.mkdir()
        (other.path / "audio").symlink_to(folder.audio)
        again = score(other, order, LevelMetric(batch_size=batch_size), shard_utterances=shard)
        pd.testing.assert_frame_equal(base, again)


def test_batches_are_as_large_as_the_spec_says(run) -> None:
    folder, records = run
    metric = LevelMetric(batch_size=4)
    score(folder, records, metric)
    assert max(metric.batches) == 4 and sum(metric.batches) == 45


def test_only_the_failing_item_fails(run) -> None:
    folder, records = run
    frame = score(folder, records, LevelMetric(fail_on=":codec:s1-1"))
    failed = frame[frame["status"] == "failed"]
    assert set(failed["item_id"]) == {"fake:codec:s1-1"} and len(failed) == 3
    assert set(failed["reason"]) == {"RuntimeError: cannot score this"} and pd.isna(failed["value"]).all()
    assert (frame["status"] == "ok").sum() == len(frame) - 3


def test_a_skip_and_a_missing_clip_keep_their_reason(run) -> None:
    folder, records = run
    lost = replace(records[0], status="skipped", reason="too loud", audio_path="", content_sha256="")
    frame = score(folder, [lost, *records[1:]], LevelMetric(skip_on=":acoustic:s2-0"))
    reasons = frame[frame["status"] == "skipped"].groupby("item_id")["reason"].first()
    assert dict(reasons) == {"fake:acoustic:s2-0": "does not like it", lost.item_id: "no clip: too loud"}


def test_preconditions_are_checked_before_the_scorer_sees_the_item(run) -> None:
    folder, records = run
    metric = LevelMetric()
    metric.spec = replace(
        metric.spec, needs=frozenset({"transcript"}), min_duration_s=2.0, min_duration_source="a paper"
    )
    records = [replace(r, transcript=None) if r.utterance_id == "s0-0" else r for r in records]
    frame = score(folder, records, metric)
    reason = frame.drop_duplicates("item_id").set_index("item_id")["reason"]
    assert "needs a transcript" in reason["fake:codec:s0-0"] and reason["fake:codec:s0-1"] == ""
    assert "fake:codec:s0-0" not in metric.scored
    metric.spec = replace(metric.spec, needs=frozenset())
    reason = score(folder, records, metric).drop_duplicates("item_id").set_index("item_id")["reason"]
    assert "1.00 s, at least 2 s are needed (a paper)" in reason["fake:continuation:s0-1"]


def test_a_rerun_computes_only_what_changed(run) -> None:
    folder, records = run
    first = score(folder, records, LevelMetric(), LevelMetric(pair=True))
    again, pair = LevelMetric(), LevelMetric(pair=True)
    pd.testing.assert_frame_equal(first, score(folder, records, again, pair))
    assert again.scored == [] and pair.scored == []
    newer = LevelMetric(version="2")
    score(folder, records, newer)
    assert len(newer.scored) == 45
    changed = [replace(r, content_sha256="0" * 64) if r.item_id == "fake:reference:s0-0" else r for r in records]
    plain, pair = LevelMetric(), LevelMetric(pair=True)
    score(folder, changed, plain, pair)
    assert plain.scored == ["fake:reference:s0-0"]
    assert {name.split(":")[2] for name in pair.scored} == {"s0-0"} and len(pair.scored) == 5


def test_failures_are_tried_again_and_damaged_parts_are_computed_again(run) -> None:
    folder, records = run
    score(folder, records, LevelMetric(fail_on=":codec:s1-1"))
    healthy = LevelMetric()
    frame = score(folder, records, healthy)
    assert healthy.scored == ["fake:codec:s1-1"] and set(frame["status"]) == {"ok"}
    for part in folder.work("scores").glob("*.parquet"):
        part.write_bytes(part.read_bytes()[:-20])
    third = LevelMetric()
    pd.testing.assert_frame_equal(frame, score(folder, records, third))
    assert len(third.scored) == 45


def test_a_value_that_is_no_number_is_a_failure(run) -> None:
    folder, records = run
    metric = LevelMetric()
    metric._one = lambda item: {"rms": float("nan"), "loud": 1.0}  # type: ignore[method-assign]
    frame = score(folder, records, metric).drop_duplicates(["measure", "status"]).set_index("measure")
    assert frame.loc["rms", "reason"] == "the scorer gave nan for rms"
    assert frame.loc["total", "reason"] == "the scorer gave no total" and frame.loc["loud", "status"] == "ok"


def test_a_measure_may_be_skipped_alone_and_texts_are_kept_apart(run) -> None:
    folder, records = run
    metric = LevelMetric()
    values = {"rms": 0.5, "loud": Skipped("nothing to count"), "total": 1.0}
    texts = {"heard": "Words", "reference": "words of", "hypothesis": "words", "recogniser": "toy"}
    metric._one = lambda item: Noted(values, texts)  # type: ignore[method-assign,assignment]
    for _ in range(2):  # the second time from the store
        frame = score(folder, records, metric)
        cells = frame[frame["item_id"] == "fake:codec:s1-1"].set_index("measure")
        assert set(cells.index) == {"rms", "loud", "total"} and cells.loc["rms", "value"] == 0.5
        assert cells.loc["loud", "status"] == "skipped" and cells.loc["loud", "reason"] == "nothing to count"
        stored = {row.item_id: row for row in read_transcripts(folder.transcripts)}
        assert len(stored) == 45 and stored["fake:codec:s1-1"].recogniser == "toy"
        steps = [(step.operation, step.reference, step.heard) for step in stored["fake:codec:s1-1"].operations]
        assert steps == [("hit", "words", "words"), ("deletion", "of", "")]
        folder.transcripts.unlink()
    score(folder, records, LevelMetric(version="2"))
    assert not folder.transcripts.exists()


def test_a_scorer_that_needs_the_recording_gets_it_from_the_same_start(run) -> None:
    folder, records = run
    seen: dict[str, ScoreInput] = {}
    for needs in ({"recording"}, {"recording", "prompt"}):
        metric = LevelMetric(version=str(len(needs)))
        metric.spec = replace(metric.spec, needs=frozenset(needs), roles=("codec", "recorded"))
        metric._one = lambda item: seen.update({item.item_id: item}) or Skipped("seen")  # type: ignore[method-assign]
        score(folder, records, metric)
        item = seen["fake:codec:s1-1"]
        whole = AudioClip.from_file(folder.path / "audio/reference/s1-1.wav").samples
        start = 3 * 16_000 if "prompt" in needs else 0
        assert item.recording is not None and np.array_equal(item.recording.samples, whole[start:])
        assert len(item.clip.samples) == len(item.recording.samples)
    lost = [replace(r, audio_path="", status="failed", reason="gone") if r.role == "reference" else r for r in records]
    frame = score(folder, lost, metric)
    assert set(frame["status"]) == {"skipped"} and "needs the recording itself" in frame["reason"].iloc[0]


def test_the_table_on_disk_is_the_table_returned(run) -> None:
    folder, records = run
    frame = score(folder, records, LevelMetric())
    stored = read_scores(folder.scores).sort_values(KEY).reset_index(drop=True)
    pd.testing.assert_frame_equal(stored, frame, check_dtype=False)


class _Detector:
    name, sample_rate_hz, threshold_llr = "toy", 16_000, 0.5

    def judge(self, samples: np.ndarray, sample_rate_hz: int) -> Verdict:
        if len(samples) < 2 * sample_rate_hz:
            return Verdict(llr=None, reason="too short")
        return Verdict(llr=float(np.abs(samples).mean()))

    def describe(self):
        return {"weights": "abc"}


class _Entry:
    name = "toy"

    def load(self, path: str | None = None, device: str = "cpu") -> _Detector:
        return _Detector()


def test_a_detector_is_a_scorer_and_its_abstentions_are_skips(run) -> None:
    folder, records = run
    frame = score(folder, records, DetectorScorer(_Entry()))
    assert set(frame["scorer"]) == {"detector:toy"} and set(frame["measure"]) == {"llr", "flagged"}
    assert set(frame["role"]) == {"reference", "codec", "acoustic", "continuation"}
    short = frame[frame["role"] == "continuation"]
    assert set(short["status"]) == {"skipped"} and set(short["reason"]) == {"no opinion: too short"}
    judged = frame[(frame["role"] == "codec") & (frame["measure"] == "flagged")]
    assert set(judged["value"]) == {1.0}  # tones are quieter than the threshold


def test_choosing_scorers() -> None:
    table = {"level": LevelMetric(), "level_pair": LevelMetric(pair=True)}
    assert [s.metric.spec.name for s in select_scorers((), table=table)] == ["level", "level_pair"]
    assert [s.metric.spec.name for s in select_scorers(("level",), table=table)] == ["level"]
    with pytest.raises(ValueError, match="did you mean 'level_pair'"):
        select_scorers(("level_pairs",), table=table)
    missing = LevelMetric()
    missing.spec = replace(missing.spec, extra="asr")
    missing.status = lambda: ("missing", "needs whisper")  # type: ignore[method-assign]
    with pytest.raises(ValueError, match=r"needs whisper; install it with pip install 'audiolm-audit\[asr\]'"):
        select_scorers(("level",), table={"level": missing})
    assert select_scorers((), table={"level": missing})[0].status == "missing"


def test_measures_carry_everything_a_report_needs() -> None:
    entry = next(e for e in describe_measures([LevelMetric(pair=True).spec]) if e["measure"] == "loud_share")
    assert entry["scorer"] == "level_pair" and entry["numerator"] == "loud" and entry["protocol"]["needs"] == ["prompt"]


def test_several_processes_give_the_same_cells_and_a_dying_one_costs_its_item(run) -> None:
    folder, records = run
    metric = deadly_scorers("cpu")["level"]
    items = tuple(record for record in records if record.role == "codec")
    jobs = [Job(scorer="level", records=tuple(map(plain, part)), references={}) for part in (items[:4], items[4:])]
    work = ScoreWork(folder=str(folder.path), device="cpu", metrics=(metric,), scorers_from=deadly_scorers)
    shards = [(job,) for job in jobs]
    with open_engine(EngineOptions(workers=2)) as engine:
        found = [scored[0] for scored in engine.map(work, shards)]
    with open_engine(EngineOptions()) as engine:
        wanted = [scored[0] for scored in engine.map(replace(work, metrics=(LevelMetric(),)), shards)]
    for number in range(2):
        for record, cells, expected in zip(jobs[number].records, found[number], wanted[number], strict=True):
            if record.utterance_id == "s1-1":
                assert {(cell.status, cell.reason) for cell in cells} == {("failed", DIED)}
            else:
                assert cells == expected and cells[0].status == "ok"


def test_workers_must_be_a_positive_number(run) -> None:
    folder, records = run
    with pytest.raises(ValueError, match="workers is 0"):
        score(folder, records, LevelMetric(), workers=0)
