"""An audit of recordings that flows: rows to shards to part files, and a summary from these. No clip is copied.

What a run in memory would write to ``scores.parquet`` stands in ``scores/part-*.parquet``, and so on. A part is
written whole or not at all and is the sign that its shard is done; ``--resume`` makes the missing ones.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from evaluation.at_size.scan import Scan, scan
from evaluation.at_size.sources import Source, source_of
from evaluation.at_size.storage import is_address
from evaluation.at_size.summary import StreamedSummary, summarise_parts
from evaluation.at_size.tables import parts_done, write_part
from evaluation.at_size.work import StreamRow, StreamWork
from evaluation.bootstrap import Resampler
from evaluation.config import RunConfig, digest_of
from evaluation.engines import EngineOptions, open_engine
from evaluation.frames import write_summary
from evaluation.metrics import Metric
from evaluation.progress import Progress, silent
from evaluation.provenance import describe_machine, package_versions, utc_now
from evaluation.run_folder import RUN_SCHEMA_VERSION, RunFolder, write_json
from evaluation.run_lock import run_lock
from evaluation.scorers import available_scorers, corpus_metrics_of, metrics_of, scorer_version, select_scorers
from evaluation.scoring import describe_measures
from evaluation.selftest import accredit

__all__ = ["PARTS", "StreamOptions", "run_streamed"]

logger = logging.getLogger(__name__)

PARTS = "parts"
"""``layout`` in ``run.json`` of a folder with part files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamOptions:
    """``shard_rows``: rows of a shard and so of a part. ``source`` and ``scorers_from`` are for sources and scorers
    that are not found by name; ``metrics`` then score in this process."""

    shard_rows: int = 256
    engine: EngineOptions = field(default_factory=EngineOptions)
    source: Source | None = None
    metrics: tuple[Metric, ...] | None = None
    scorers_from: Callable[[str], Mapping[str, Metric]] = available_scorers

    def __post_init__(self) -> None:
        if self.shard_rows < 1:
            raise ValueError(f"shard_rows is {self.shard_rows}; use at least 1")


def run_streamed(
    config: RunConfig,
    out: str | Path,
    options: StreamOptions | None = None,
    *,
    resume: bool = False,
    command: str = "",
    progress: Progress = silent,
) -> StreamedSummary:
    """Score the recordings of ``config.recorded`` into the folder ``out``, in memory that does not grow with them.

    Measures of whole sets, and error rates of detectors, need all items at once and are left out.

    Raises:
        ValueError: bad input, a folder that is taken, a resume with other options, or nothing usable at all.
    """
    options = options or StreamOptions()
    if not config.recorded:
        raise ValueError("a streamed run judges recordings as they are; name them with --system")
    run = RunFolder(out)
    run.refuse_taken(resume=resume)
    metrics, states = _metrics(config, options)
    source = options.source or source_of(config.recorded)
    with contextlib.ExitStack() as stack:
        ids = stack.enter_context(tempfile.TemporaryDirectory(prefix="audiolm-audit-ids-"))
        found = scan(source, Path(ids), split=config.split, limit=config.limit)  # may refuse, before the folder is made
        run.path.mkdir(parents=True, exist_ok=True)
        stack.enter_context(run_lock(run.path))
        versions = {metric.spec.name: scorer_version(metric) for metric in metrics}
        work = _begin(run, config, options, found, metrics, versions, command)
        run.update(evaluators=states)
        _score(run, work, found, options, progress)
        summary = _finish(run, metrics, config.seed)
        if not any(statuses.get("ok") for statuses in summary.items.values()):
            run.update(status="nothing usable", finished_utc=utc_now())
            raise ValueError(
                f"none of the {found.n_rows} recordings can be used; reasons stand in {run.path}/generations"
            )
        run.update(status="complete", finished_utc=utc_now())
        return summary


def _metrics(config: RunConfig, options: StreamOptions) -> tuple[list[Metric], list[dict[str, object]]]:
    if options.metrics is not None:
        return list(options.metrics), []
    states = select_scorers(config.scorers, device=config.device)
    for metric in corpus_metrics_of(states):
        logger.warning("%s is left out: it needs all recordings at once", metric.spec.name)
    metrics = metrics_of(states)
    return metrics, [state.as_dict() for state in states if state.metric in metrics or state.status == "missing"]


def _begin(
    run: RunFolder, config: RunConfig, options: StreamOptions, found: Scan, metrics: Sequence[Metric],
    versions: Mapping[str, str], command: str,
) -> StreamWork:  # fmt: skip
    """Write what the run is, or find that the folder holds another."""
    system = _name(config.recorded)
    description: dict[str, Any] = {"name": system, "kind": "files of an outside system"}
    fixed = {"prompts_sha256": found.sha256, "system_sha256": digest_of(description), "shard_rows": options.shard_rows,
             "scorer_versions": dict(versions), "layout": PARTS}  # fmt: skip
    run.refuse_other_config(config, fixed)
    run_id = digest_of([config.as_dict(), fixed])[:12]
    run.update(
        schema_version=RUN_SCHEMA_VERSION, run_id=run_id, status="running", layout=PARTS, command=command,
        created_utc=run.read().get("created_utc", utc_now()),
        prompts={"source": config.recorded, **found.facts, "split": config.split, "limit": config.limit},
        system={"name": system, "checkpoint": "", "description": description, "sha256": fixed["system_sha256"]},
        config=config.as_dict(), fixed=fixed, seeds={"run": config.seed, "bootstrap": config.seed},
        packages=package_versions(), machine=describe_machine(config.device),
    )  # fmt: skip
    write_json(run.measures, describe_measures([metric.spec for metric in metrics]))
    return StreamWork(
        reader=found.reader, config=config, system=system, system_sha256=str(fixed["system_sha256"]), run_id=run_id,
        versions=versions, groups=found.groups, metrics=tuple(metrics), scorers_from=options.scorers_from,
        item_limit_s=options.engine.item_limit_s,
    )  # fmt: skip


def _name(recorded: str) -> str:
    """The system's name: that of its folder or file, without pattern and suffix."""
    if not is_address(recorded) and "*" not in recorded:
        return Path(recorded).resolve().name
    path = PurePosixPath(recorded)
    return path.parent.name if "*" in path.name else path.name


def _score(run: RunFolder, work: StreamWork, found: Scan, options: StreamOptions, progress: Progress) -> None:
    done = set(parts_done(run))
    waiting: list[int] = []

    def missing(advance: Callable[[int], None]) -> Iterator[tuple[StreamRow, ...]]:
        rows = found.rows()
        for number in itertools.count():
            shard = tuple(itertools.islice(rows, options.shard_rows))
            if not shard:
                return
            if number in done:
                advance(len(shard))
                continue
            waiting.append(number)
            yield shard

    with progress("score", found.n_rows) as advance, open_engine(options.engine) as engine:
        for part in engine.map(work, missing(advance)):
            write_part(run, waiting.pop(0), part)
            advance(part.generations.num_rows)


def _finish(run: RunFolder, metrics: Sequence[Metric], seed: int) -> StreamedSummary:
    measures = describe_measures([metric.spec for metric in metrics])
    summary = summarise_parts(run, measures, Resampler(seed=seed))
    write_summary(run.summary, summary.frame)
    write_json(run.curves, {"det": []})
    accredit(run, [metric.spec.name for metric in metrics])
    unusable = sum(statuses.get("failed", 0) for statuses in summary.items.values())
    run.update(
        counts={"generations": summary.items, "scores": summary.scores},
        prompts=run.require()["prompts"] | {"n_problems": unusable},
    )
    return summary
