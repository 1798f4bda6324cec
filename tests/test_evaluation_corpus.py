"""Measures of a whole run through the harness, oracles and accreditation, and results imported from VERSA."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import evaluation.cost
import evaluation.selftest
from audiolm.audio import AudioClip
from evaluation.aggregation import summarise
from evaluation.bootstrap import Interval
from evaluation.config import RunConfig
from evaluation.corpus_metrics import CorpusResult, CorpusView, SetValue
from evaluation.corpus_metrics.likelihood_pairs import CORPUS_METRIC as PAIRS
from evaluation.corpus_metrics.nearest_training import CORPUS_METRIC as NEAREST
from evaluation.corpus_metrics.token_likelihood import CORPUS_METRIC as TOKENS
from evaluation.corpus_scoring import score_corpus
from evaluation.frames import read_scores, read_summary
from evaluation.generation import generate_items
from evaluation.manifest import read_utterances
from evaluation.metrics import Measure, MetricSpec, Skipped
from evaluation.oracles import Oracle
from evaluation.records import GenerationRecord
from evaluation.run_folder import RUN_SCHEMA_VERSION, RunFolder
from evaluation.scorers import select_scorers
from evaluation.scoring import score_items
from evaluation.selftest import NOT_ACCREDITED, accredit, find_oracles, run_oracles
from evaluation.system_difference import compare_systems
from evaluation.versa import import_versa
from tests.evaluation_fakes import RATE_HZ, FakeSystem, LevelMetric, write_manifest, write_prompts


class Knowing(FakeSystem):
    """Shows tokens (one per 40 ms, by level) and finds loud frames unlikely."""

    def token_nats(self, samples: np.ndarray) -> Mapping[str, np.ndarray]:
        frames = np.abs(samples[: len(samples) // 640 * 640]).reshape(-1, 640).mean(axis=1)
        return {"semantic": frames[None], "coarse": np.ones((4, len(frames)))}

    def semantic_tokens(self, samples: np.ndarray) -> np.ndarray:
        return np.round(200 * np.abs(samples[: len(samples) // 640 * 640]).reshape(-1, 640).max(axis=1)).astype(
            np.int64
        )


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunFolder, list[GenerationRecord]]:
    folder = tmp_path_factory.mktemp("corpus")
    manifest = write_prompts(folder / "prompts")
    run = RunFolder(folder / "run")
    run.path.mkdir()
    config = RunConfig(prompts=str(manifest), split="test", prompt_s=1.0, seconds=2.5)
    run.update(schema_version=RUN_SCHEMA_VERSION, run_id="r", config=config.as_dict(), seeds={"run": 0, "bootstrap": 0})
    utterances = read_utterances(manifest)
    records = generate_items(run, utterances, config, FakeSystem(), system="fake", description={})
    score_items(run, records, [LevelMetric()], run_id="r")
    return run, records


@dataclass
class Counting:
    """Gives a value per continuation and one number of the set; counts its calls."""

    calls: int = 0
    fails: bool = False
    spec: MetricSpec = field(default_factory=lambda: MetricSpec(
        name="counting", title="Counting", roles=("continuation",),
        measures=(
            Measure(name="order", title="o", unit="", direction="none", meaning="m", source="s"),
            Measure(name="whole", title="w", unit="", direction="none", meaning="m", source="s", aggregate="set"),
        ),
    ))  # fmt: skip

    def measure(self, view: CorpusView) -> CorpusResult:
        self.calls += 1
        if self.fails:
            raise RuntimeError("no such thing")
        records = view.of_role("continuation")
        items: dict[str, dict[str, float | Skipped]] = {r.item_id: {"order": float(i)} for i, r in enumerate(records)}
        items[records[0].item_id] = {"order": Skipped("the first has none")}
        whole = SetValue(role="continuation", measure="whole", interval=Interval(3.0, 1.0, 5.0, "by hand"), n_items=8,
                         n_speakers=4)  # fmt: skip
        return CorpusResult(items=items, sets=[whole])

    def status(self) -> tuple[str, str]:
        return "ready", ""

    def fingerprint(self) -> Mapping[str, str]:
        return {}


def test_corpus_measures_join_the_tables_and_are_kept_by_content(made) -> None:
    run, records = made
    metric = Counting()
    score_items(run, records, [LevelMetric()], run_id="r")
    score_corpus(run, records, [metric], run_id="r")
    frame = read_scores(run.scores)
    rows = frame[frame["scorer"] == "counting"]
    assert len(rows) == 12 and set(rows["measure"]) == {"order"}
    skipped = rows[rows["status"] == "skipped"]
    assert skipped["reason"].tolist() == ["the first has none"]
    summary = summarise(run, seed=0)
    whole = summary[summary["measure"] == "whole"].iloc[0]
    assert (whole["estimate"], whole["ci_low"], whole["ci_high"], whole["method"]) == (3.0, 1.0, 5.0, "by hand")
    order = summary[(summary["measure"] == "order") & (summary["group_by"] == "all")].iloc[0]
    assert order["n_items"] == 11 and order["n_skipped"] == 1 and order["n_speakers"] == 4
    score_items(run, records[::-1], [LevelMetric()], run_id="r")
    score_corpus(run, records[::-1], [metric], run_id="r")
    assert metric.calls == 1
    assert read_scores(run.scores).equals(frame)


def test_a_corpus_measure_that_fails_leaves_failed_rows_and_the_run_goes_on(made) -> None:
    run, records = made
    score_items(run, records, [LevelMetric()], run_id="r")
    metric = Counting(fails=True)
    metric.spec = MetricSpec(name="broken", title="b", roles=("continuation",), measures=metric.spec.measures)
    score_corpus(run, records, [metric], run_id="r")
    rows = read_scores(run.scores)
    rows = rows[rows["scorer"] == "broken"]
    assert set(rows["status"]) == {"failed"} and set(rows["reason"]) == {"RuntimeError: no such thing"}


def view_of(made, system: FakeSystem | None = None) -> CorpusView:
    run, records = made
    return CorpusView(
        run=run, records=records, device="cpu", seed=0, load_system=None if system is None else lambda: system
    )


def test_token_loss_is_the_systems_own(made) -> None:
    result = TOKENS.measure(view_of(made, Knowing()))
    record = next(r for r in made[1] if r.role == "reference")
    values = result.items[record.item_id]
    samples = AudioClip.from_file(made[0].path / record.audio_path).samples
    assert values["semantic_nats"] == pytest.approx(float(Knowing().token_nats(samples)["semantic"].sum()))
    assert values["coarse_nats"] == values["coarse_tokens"] and isinstance(values["fine_nats"], Skipped)
    without = TOKENS.measure(view_of(made, FakeSystem()))
    assert isinstance(without.items[record.item_id]["semantic_nats"], Skipped)


def test_pairs_are_scored_for_every_recording_and_say_what_is_missing(made) -> None:
    result = PAIRS.measure(view_of(made, Knowing()))
    assert len(result.items) == 12
    values = next(iter(result.items.values()))
    assert values["speaker_semantic"] in (0.0, 0.5, 1.0) and values["room_coarse"] == 0.5
    assert isinstance(values["room_fine"], Skipped) and isinstance(values["sentiment_semantic"], Skipped)
    bands = {value.measure: value.interval.estimate for value in result.sets}
    assert bands["room_chance_high"] == pytest.approx(9 / 12) and "sentiment_chance_low" not in bands
    again = PAIRS.measure(view_of((made[0], made[1][::-1]), Knowing()))
    assert again.items == result.items


def test_planted_copies_of_training_data_are_called_so(made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, records = made
    sources = [r for r in records if r.role == "continuation"]
    write_manifest(tmp_path, [{"utterance_id": "t", "audio_path": "t.wav", "speaker_id": "x"}])
    (tmp_path / "t.wav").write_bytes((run.path / sources[3].audio_path).read_bytes())
    monkeypatch.setenv("AUDIOLM_TRAINING", f"{tmp_path / 'manifest.csv'}:")
    values = NEAREST.measure(view_of(made, Knowing())).items
    copied = values[sources[3].item_id]
    assert copied["mel_distance_db"] == pytest.approx(0.0, abs=1e-2) and copied["nearer_than_unheard"] == 1.0
    assert copied["longer_run_than_unheard"] == 1.0
    monkeypatch.delenv("AUDIOLM_TRAINING")
    assert "training" in NEAREST.status()[1]


def test_all_names_every_scorer_of_speech() -> None:
    names = {state.metric.spec.name for state in select_scorers(("all",))}
    assert {
        "word_error",
        "likelihood_pairs",
        "acoustic_consistency_timbre",
    } <= names and "music_consistency" not in names
    assert "likelihood_pairs" not in {state.metric.spec.name for state in select_scorers(())}


def test_every_oracle_passes_here() -> None:
    rows = run_oracles()
    assert [row["name"] for row in rows if not row["met"]] == []
    assert len(rows) >= 30 and set(rows[0]) == {"scorer", "name", "value", "unit", "against", "ratio", "target", "met"}


def test_every_scorer_that_measures_sound_or_text_has_an_oracle() -> None:
    ready = [state.metric.spec.name for state in select_scorers(("all",)) if state.status != "missing"]
    names = {name for name in ready if not name.startswith("detector:")}
    covered = {oracle.scorer for oracle in find_oracles()}
    assert names - covered == set()


def test_a_failed_oracle_marks_the_measure_everywhere(made, monkeypatch: pytest.MonkeyPatch) -> None:
    run, records = made
    score_items(run, records, [LevelMetric()], run_id="r")
    wrong = Oracle(scorer="level", name="wrong", unit="", expected=1.0, tolerance=0.1, ask=lambda: 2.0)
    broken = Oracle(scorer="level", name="broken", unit="", expected=1.0, tolerance=0.1, ask=lambda: 1 / 0)
    monkeypatch.setattr(evaluation.selftest, "find_oracles", lambda scorers=None: [wrong, broken])
    rows = run_oracles()
    assert [row["met"] for row in rows] == [False, False] and [row["value"] for row in rows] == [2.0, None]
    assert accredit(run, ["level"], rows) == ["level"]
    titles = [entry["title"] for entry in json.loads(run.measures.read_text())]
    assert titles and all(title.endswith(NOT_ACCREDITED) for title in titles)
    assert accredit(run, ["level"], [dict(row, met=True) for row in rows]) == []
    assert not any(NOT_ACCREDITED in entry["title"] for entry in json.loads(run.measures.read_text()))
    assert json.loads((run.path / "selftests.json").read_text())[0]["scorer"] == "level"


def test_versas_lines_become_a_run_with_intervals(tmp_path: Path) -> None:
    manifest = write_prompts(tmp_path / "p", speakers=4, each=2)
    rows = [
        {"key": f"s{s}-{t}", "utmos": 3.0 + s, "text": "x", "w_wer_delete": 1, "w_wer_insert": 0, "w_wer_replace": s,
         "w_wer_equal": 8}
        for s in range(4) for t in range(2)
    ]  # fmt: skip
    rows[0]["utmos"] = float("nan")
    (tmp_path / "r.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    import_versa(tmp_path / "r.jsonl", tmp_path / "run", manifest=manifest)
    frame = read_summary(tmp_path / "run" / "summary.parquet")
    frame = frame[frame["group_by"] == "all"].set_index("measure")
    assert (
        frame.loc["utmos", "estimate"] == pytest.approx((3 + 8 + 10 + 12) / 7) and frame.loc["utmos", "n_failed"] == 1
    )
    assert frame.loc["w_wer", "estimate"] == pytest.approx((8 + 2 * 6) / (2 * (9 * 4 + 6)))
    assert np.isfinite(frame.loc["w_wer", "ci_low"]) and frame.loc["w_wer", "n_speakers"] == 4


def test_two_imports_are_compared_where_they_state_one_configuration(tmp_path: Path) -> None:
    manifest = write_prompts(tmp_path / "p", speakers=6, each=1)
    (tmp_path / "versa.yaml").write_text("- name: utmos\n")
    for name, more in (("a", 0.0), ("b", 1.0)):
        rows = [{"key": f"s{s}-0", "utmos": 3.0 + more + 0.01 * s} for s in range(6)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
        import_versa(tmp_path / f"{name}.jsonl", tmp_path / name, manifest=manifest, config=tmp_path / "versa.yaml")
        import_versa(tmp_path / f"{name}.jsonl", tmp_path / f"{name}-unstated")
    table = compare_systems(tmp_path / "a", tmp_path / "b")
    assert table["difference"].iloc[0] == pytest.approx(1.0) and table["verdict"].iloc[0] == "differs"
    with pytest.raises(ValueError, match=r"unstated.* against versa\+unstated.*--config"):
        compare_systems(tmp_path / "a-unstated", tmp_path / "b-unstated")
    forced = compare_systems(tmp_path / "a-unstated", tmp_path / "b", force=True)
    assert forced["n_speakers"].iloc[0] == 6, "speakers that one of the two runs knows"
    with pytest.raises(ValueError, match="cannot be read"):
        import_versa(tmp_path / "a.jsonl", tmp_path / "c", config=tmp_path / "missing.yaml")
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [("{}", "no field key"), ("nonsense", "is not JSON"), ('{"key": "a"}', "no line holds a number"),
     ("", "holds no line"),
     ('{"key": "a", "x": 1}\n{"key": "a", "x": 2}', "stands twice")],
)  # fmt: skip
def test_broken_lines_of_versa_are_refused(tmp_path: Path, text: str, complaint: str) -> None:
    (tmp_path / "r.jsonl").write_text(text)
    with pytest.raises(ValueError, match=complaint):
        import_versa(tmp_path / "r.jsonl", tmp_path / "run")
    assert not (tmp_path / "run").exists() and RATE_HZ


def test_cost_is_work_by_sound_and_says_where_energy_is_from(
    made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = made[1]
    (tmp_path / "intel-rapl:0").mkdir()
    counter = tmp_path / "intel-rapl:0" / "energy_uj"
    (tmp_path / "intel-rapl:0" / "max_energy_range_uj").write_text("1000000")
    counter.write_text("900000")
    monkeypatch.setattr(evaluation.cost, "POWERCAP", tmp_path)
    with evaluation.cost.metered() as meter:
        counter.write_text("400000")  # once round
    assert meter.energy_j == pytest.approx(0.5) and "counter" in meter.source
    fresh = [record.item_id for record in records]
    cost = evaluation.cost.cost_of(records, meter, fresh)
    done = [r for r in records if r.role == "continuation" and r.status == "ok"]
    factor = sum(r.wall_s for r in done) / sum(r.duration_s for r in done)
    assert cost["real_time_factor"]["continuation"] == pytest.approx(factor, abs=1e-4)
    assert (
        cost["energy_wh_per_minute"] == pytest.approx(0.5 / 3600 / (cost["generated_s"] / 60))
        and cost["peak_memory_mib"] > 10
    )
    monkeypatch.setattr(evaluation.cost, "POWERCAP", tmp_path / "none")
    with evaluation.cost.metered() as meter:
        pass
    assert meter.energy_j is None and "no energy counter" in meter.source
    data = SimpleNamespace(energy_consumed=0.002)
    tracker = SimpleNamespace(start=lambda: None, stop=lambda: None, final_emissions_data=data)
    monkeypatch.setattr(evaluation.cost, "find_spec", lambda name: name)
    monkeypatch.setattr(evaluation.cost, "_codecarbon", lambda: tracker)
    with evaluation.cost.metered() as meter:
        pass
    assert meter.energy_j == pytest.approx(7200.0) and "an estimate" in meter.source
    monkeypatch.setenv("AUDIOLM_ENERGY", "counter")
    with evaluation.cost.metered() as meter:
        pass
    assert meter.energy_j is None, "who asks for the counter gets no estimate"
    monkeypatch.undo()
    monkeypatch.setattr(evaluation.cost, "POWERCAP", tmp_path / "none")
    monkeypatch.setenv("AUDIOLM_ENERGY", "codecarbon")
    monkeypatch.setattr(evaluation.cost, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="audiolm-audit\\[energy\\]"), evaluation.cost.metered():
        pass
