"""The main job: generate, score, summarise, report. Each step leaves a table, and each can be run again alone."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evaluation.aggregation import summarise
from evaluation.at_size import PARTS
from evaluation.comparisons import write_comparisons
from evaluation.config import RunConfig, digest_of
from evaluation.corpus_scoring import score_corpus
from evaluation.cost import cost_of, metered
from evaluation.detection_rates import HeldOut
from evaluation.discovery import discover_generators, pick
from evaluation.engines import EngineOptions, engine_of
from evaluation.frames import read_generations, read_scores
from evaluation.generation import generate_items
from evaluation.outside_files import refuse_foreign_names
from evaluation.own_evidence.detectors import all_detectors
from evaluation.planning import planned_facts
from evaluation.progress import Progress, silent
from evaluation.prompts_source import utterances_of
from evaluation.protocols import Generator
from evaluation.provenance import count_by_status, describe_machine, describe_prompts, package_versions, utc_now
from evaluation.records import GenerationRecord, Utterance
from evaluation.run_folder import RUN_SCHEMA_VERSION, RunFolder
from evaluation.run_lock import run_lock
from evaluation.scorers import ScorerState, corpus_metrics_of, metrics_of, select_scorers
from evaluation.scoring import score_items
from evaluation.selftest import accredit
from evaluation.whole_files import remove_leftovers

__all__ = ["AuditResult", "plan_audit", "report_run", "run_audit", "run_generation", "run_scoring"]

logger = logging.getLogger(__name__)

EXIT_OK, EXIT_FINDING = 0, 1
SHOWN_REASONS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditResult:
    """Where the report is, how grave its worst finding, whether that reaches the gate, and the exit code."""

    run_folder: Path
    report_path: Path
    findings_path: Path
    worst_severity: str
    gate_hit: bool

    @property
    def exit_code(self) -> int:
        return EXIT_FINDING if self.gate_hit else EXIT_OK


@dataclass(frozen=True, slots=True, kw_only=True)
class _Inputs:
    """What a run works on; ``generator`` is None for an outside system's files."""

    utterances: Sequence[Utterance]
    generator: Generator | None
    system: str
    description: Mapping[str, object]


def run_audit(
    config: RunConfig,
    out: str | Path,
    *,
    resume: bool = False,
    gate: str = "major",
    command: str = "",
    progress: Progress = silent,
    workers: int = 1,
    engine: EngineOptions | None = None,
    policy: str | Path | None = None,
    plan: str | Path | None = None,
) -> AuditResult:
    """Audio to report in the folder ``out``; ``workers`` above 1 generates and scores in that many processes, and
    ``engine`` says more than that.

    Raises:
        ValueError: bad input, a folder that is taken, a resume with other options, or nothing usable at all.
    """
    run, options = RunFolder(out), engine_of(workers, engine)
    run.refuse_taken(resume=resume)
    states = select_scorers(config.scorers, device=config.device)
    inputs = _inputs(config)
    with _opened(run, resume):
        records = _generate(run, config, inputs, command, progress, options)
        _score(run, records, states, config.device, progress, options)
        _summarise(run)
        run.update(status="complete", finished_utc=utc_now())
        return report_run(out, gate=gate, policy=policy, plan=plan)


def run_generation(
    config: RunConfig,
    out: str | Path,
    *,
    resume: bool = False,
    command: str = "",
    progress: Progress = silent,
    workers: int = 1,
    engine: EngineOptions | None = None,
) -> list[GenerationRecord]:
    """Only step 2: audio and ``generations.parquet`` in the folder ``out``."""
    run, options = RunFolder(out), engine_of(workers, engine)
    run.refuse_taken(resume=resume)
    inputs = _inputs(config)
    with _opened(run, resume):
        records = _generate(run, config, inputs, command, progress, options)
        run.update(status="generated", finished_utc=utc_now())
    return records


def run_scoring(
    run_folder: str | Path,
    *,
    scorers: Sequence[str] = (),
    device: str = "cpu",
    progress: Progress = silent,
    workers: int = 1,
    engine: EngineOptions | None = None,
) -> None:
    """Steps 3 and 4 on a folder that holds ``generations.parquet``; only what changed is computed."""
    run, options = RunFolder(run_folder), engine_of(workers, engine)
    if run.require().get("layout") == PARTS:
        raise ValueError(f"{run.path}: was made with --stream; stream it into a new folder with the scorers you want")
    states = select_scorers(scorers, device=device)
    with _locked(run):
        _score(run, read_generations(run.generations), states, device, progress, options)
        _summarise(run)
        run.update(status="complete", finished_utc=utc_now())


def report_run(
    run_folder: str | Path,
    *,
    gate: str = "major",
    policy: str | Path | None = None,
    plan: str | Path | None = None,
    clips: int | None = None,
) -> AuditResult:
    """Step 5: findings and report of a finished run; ``policy`` and ``plan`` are kept in its folder."""
    from reports import build_report

    more = {} if clips is None else {"clips": clips}
    result = build_report(
        Path(run_folder), gate=gate, policy=Path(policy) if policy else None, plan=Path(plan) if plan else None, **more
    )
    return AuditResult(
        run_folder=Path(run_folder),
        report_path=Path(result.report_path),
        findings_path=Path(result.findings_path),
        worst_severity=result.worst_severity,
        gate_hit=result.gate_hit,
    )


def plan_audit(
    config: RunConfig, out: str | Path, *, title: str = "", policy: str | Path | None = None,
    pilot: str | Path | None = None,
) -> tuple[Path, Mapping[str, Any]]:  # fmt: skip
    """What an audit with these options will rest on, written to ``out`` before anything is generated.

    Raises:
        ValueError: bad input, a folder that is taken, a policy or pilot that cannot be used.
    """
    from reports import write_plan

    inputs = _inputs(config)
    facts = {"made_utc": utc_now(), "title": title or f"Audit of {inputs.system}", **planned_facts(
        config, inputs.utterances, inputs.generator.roles if inputs.generator else ("recorded",)
    )}  # fmt: skip
    path, plan = write_plan(
        Path(out), facts, policy=Path(policy) if policy else None, pilot=Path(pilot) if pilot else None
    )
    return path, plan.model_dump()


@contextmanager
def _opened(run: RunFolder, resume: bool) -> Iterator[None]:
    run.refuse_taken(resume=resume)
    run.path.mkdir(parents=True, exist_ok=True)
    with _locked(run):
        yield


@contextmanager
def _locked(run: RunFolder) -> Iterator[None]:
    """Alone in the folder, after what an earlier process left half-written there is gone."""
    with run_lock(run.path):
        for folder in (run.path, *(run.path / "work").glob("*")):
            remove_leftovers(folder)
        yield


def _inputs(config: RunConfig) -> _Inputs:
    """Everything that may refuse the run, before its folder is touched."""
    utterances = utterances_of(config)
    generator, system, description = _system(config)
    refuse_foreign_names(generator, utterances)
    return _Inputs(utterances=utterances, generator=generator, system=system, description=description)


def _generate(
    run: RunFolder,
    config: RunConfig,
    inputs: _Inputs,
    command: str,
    progress: Progress,
    engine: EngineOptions,
) -> list[GenerationRecord]:
    utterances, generator, description = inputs.utterances, inputs.generator, inputs.description
    prompts = describe_prompts(config.prompts or config.recorded, utterances)
    fixed = {"prompts_sha256": prompts["sha256"], "system_sha256": digest_of(description)}
    run.refuse_other_config(config, fixed)
    config_dict = config.as_dict()
    run.update(
        schema_version=RUN_SCHEMA_VERSION,
        run_id=digest_of([config_dict, fixed])[:12],
        status="running",
        command=command,
        created_utc=run.read().get("created_utc", utc_now()),
        prompts=prompts | {"split": config.split, "limit": config.limit},
        system={
            "name": inputs.system,
            "checkpoint": config.checkpoint if generator else "",
            "description": dict(description),
            "sha256": fixed["system_sha256"],
        },
        config=config_dict,
        fixed=fixed,
        seeds={"run": config.seed, "bootstrap": config.seed},
        packages=package_versions(),
        machine=describe_machine(config.device),
    )
    known = _known_items(run)
    with _timed(run, "generate_s"), metered() as meter:
        records = generate_items(
            run,
            utterances,
            config,
            generator,
            system=inputs.system,
            description=description,
            progress=progress,
            engine=engine,
        )
    run.update(counts=dict(run.read().get("counts", {})) | {"generations": count_by_status(records)})
    fresh = [record.item_id for record in records if record.item_id not in known]
    if fresh:
        run.update(cost=cost_of(records, meter, fresh))
    _refuse_nothing_usable(run, utterances, records)
    return records


def _known_items(run: RunFolder) -> set[str]:
    """Items that an earlier call made."""
    return {record.item_id for record in read_generations(run.generations)} if run.generations.is_file() else set()


def _system(config: RunConfig) -> tuple[Generator | None, str, Mapping[str, object]]:
    if config.recorded:
        name = Path(config.recorded).resolve().name
        return None, name, {"name": name, "kind": "files of an outside system"}
    entry = pick(discover_generators(), config.system, "system")
    generator: Generator = entry.load(config.checkpoint, config.device)
    return generator, generator.name, dict(generator.describe())


def _refuse_nothing_usable(
    run: RunFolder, utterances: Sequence[Utterance], records: Sequence[GenerationRecord]
) -> None:
    if any(record.status == "ok" for record in records):
        return
    reasons = list(dict.fromkeys(record.reason for record in records))
    shown = "; ".join(reasons[:SHOWN_REASONS])
    more = (
        f"; and {len(reasons) - SHOWN_REASONS} more reasons in {run.generations}"
        if len(reasons) > SHOWN_REASONS
        else ""
    )
    run.update(status="nothing usable", finished_utc=utc_now())
    raise ValueError(f"none of the {len(utterances)} utterances can be used: {shown}{more}")


def _score(
    run: RunFolder,
    records: Sequence[GenerationRecord],
    states: Sequence[ScorerState],
    device: str,
    progress: Progress,
    engine: EngineOptions,
) -> None:
    for state in states:
        if state.status == "missing":
            logger.warning("%s is left out: %s", state.metric.spec.name, state.sentence)
    run.update(evaluators=[state.as_dict() for state in states])
    with _timed(run, "score_s"):
        run_id, info = str(run.require()["run_id"]), run.require()
        score_items(
            run,
            records,
            metrics_of(states),
            run_id=run_id,
            device=device,
            progress=progress,
            engine=engine,
        )
        score_corpus(
            run, records, corpus_metrics_of(states), run_id=run_id, device=device,
            seed=int(info["seeds"]["run"]), load_system=_system_loader(info, device),
        )  # fmt: skip
        accredit(run, [state.metric.spec.name for state in states if state.status != "missing"])
        frame = read_scores(run.scores)
    statuses = {str(name): int(count) for name, count in frame["status"].value_counts().sort_index().items()}
    run.update(counts=dict(run.read().get("counts", {})) | {"scores": statuses})


def _system_loader(info: Mapping[str, Any], device: str) -> Callable[[], Generator] | None:
    """How the system of a run is loaded again; None for an outside system's files."""
    config = info.get("config", {})
    if config.get("recorded") or not config.get("system"):
        return None
    return lambda: pick(discover_generators(), config["system"], "system").load(config["checkpoint"], device)


def _summarise(run: RunFolder) -> None:
    seed = int(run.require()["seeds"]["bootstrap"])
    with _timed(run, "summarise_s"):
        summarise(run, seed=seed, held_out=_held_out_scores)
        write_comparisons(run, seed=seed)


def _held_out_scores(detector: str) -> HeldOut:
    """A detector's shipped scores of held-out human speech; none where it ships none."""
    loaded = all_detectors()[detector].load(None, "cpu")
    reference_scores: Callable[[], HeldOut] | None = getattr(loaded, "reference_scores", None)
    return reference_scores() if reference_scores is not None else ()


@contextmanager
def _timed(run: RunFolder, name: str) -> Iterator[None]:
    started = time.perf_counter()
    yield
    times = dict(run.read().get("times", {}))
    run.update(times=times | {name: round(time.perf_counter() - started, 3)})
