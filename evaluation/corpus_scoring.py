"""Measures of a whole run, after the items were scored: rows beside theirs, and numbers of sets in ``corpus.json``.

Results are kept by content as everything else: digest of the measure's version, the clips, and the system.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import pandas as pd

from evaluation.bootstrap import Interval
from evaluation.config import digest_of
from evaluation.corpus_metrics import CorpusMetric, CorpusResult, CorpusView, SetValue
from evaluation.frames import SCHEMA_VERSION, SCORE_SCHEMA, read_scores, write_scores
from evaluation.metrics import Skipped
from evaluation.protocols import Generator
from evaluation.records import GenerationRecord
from evaluation.run_folder import RunFolder, write_json
from evaluation.score_batches import item_measures
from evaluation.scorers import scorer_version
from evaluation.scoring import describe_measures

__all__ = ["CORPUS_NAME", "read_set_values", "score_corpus"]

CORPUS_NAME = "corpus.json"

logger = logging.getLogger(__name__)


def score_corpus(
    run: RunFolder,
    records: Sequence[GenerationRecord],
    metrics: Sequence[CorpusMetric],
    *,
    run_id: str,
    device: str = "cpu",
    seed: int = 0,
    load_system: Callable[[], Generator] | None = None,
) -> None:
    """Add the rows of ``metrics`` to ``scores.parquet`` and ``measures.json`` and write ``corpus.json``.

    A measure that raises leaves failed rows with its error, as a scorer does.
    """
    path = run.path / CORPUS_NAME
    if not metrics:
        path.unlink(missing_ok=True)
        return
    view = CorpusView(run=run, records=tuple(records), device=device, seed=seed, load_system=load_system)
    rows: list[dict[str, object]] = []
    kept: list[dict[str, Any]] = []
    for metric in metrics:
        name, version = metric.spec.name, scorer_version(metric)
        found = _result(metric, view, version)
        rows += _rows(metric, records, found, version, run_id)
        kept.append({"scorer": name, "version": version, "problem": found.get("problem", ""),
                     "sets": found["sets"], "curve": found["curve"]})  # fmt: skip
    frame = read_scores(run.scores)
    frame = pd.concat([frame, pd.DataFrame(rows, columns=SCORE_SCHEMA.names)], ignore_index=True) if rows else frame
    write_scores(run.scores, frame)
    entries = json.loads(run.measures.read_text(encoding="utf-8")) + describe_measures([m.spec for m in metrics])
    write_json(run.measures, sorted(entries, key=lambda entry: (str(entry["scorer"]), str(entry["measure"]))))
    write_json(path, kept)


def read_set_values(run: RunFolder) -> list[tuple[str, SetValue]]:
    """``(scorer, value)`` of every number in ``corpus.json``; none where the run has no such file."""
    path = run.path / CORPUS_NAME
    if not path.is_file():
        return []
    found = []
    for entry in json.loads(path.read_text(encoding="utf-8")):
        found += [(str(entry["scorer"]), _set_value(one)) for one in entry["sets"]]
    return found


def _result(metric: CorpusMetric, view: CorpusView, version: str) -> dict[str, Any]:
    """The measure's result as JSON values, from the store where its inputs were seen before."""
    clips = sorted((r.item_id, r.role, r.speaker_id, r.content_sha256, r.prompt_s) for r in view.records)
    info = view.run.read()
    key = digest_of([metric.spec.name, version, view.seed, info.get("fixed", {}), clips])
    path = view.run.work("corpus") / f"{key[:32]}.json"
    if path.is_file():
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            path.unlink()  # damaged: it is computed again
    try:
        result = metric.measure(view)
    except Exception as error:  # a plug-in may fail in any way; the run must outlive it
        logger.warning("%s failed: %s: %s", metric.spec.name, type(error).__name__, error)
        return {"items": {}, "sets": [], "curve": [], "problem": f"{type(error).__name__}: {error}"}
    value = _as_json(result)
    write_json(path, value)
    return value


def _as_json(result: CorpusResult) -> dict[str, Any]:
    items = {
        item: {name: {"skipped": v.reason} if isinstance(v, Skipped) else float(v) for name, v in values.items()}
        for item, values in result.items.items()
    }
    sets = []
    for one in result.sets:
        value = asdict(one)
        bounds = value.pop("interval")
        value |= {name: bounds[name] if math.isfinite(bounds[name]) else None for name in ("estimate", "low", "high")}
        sets.append(value | {"method": bounds["method"]})
    return {"items": items, "sets": sets, "curve": [dict(row) for row in result.curve]}


def _set_value(row: Mapping[str, Any]) -> SetValue:
    numbers = [math.nan if row[name] is None else float(row[name]) for name in ("estimate", "low", "high")]
    interval = Interval(*numbers, method=str(row["method"]))
    return SetValue(role=row["role"], measure=row["measure"], interval=interval, n_items=int(row["n_items"]),
                    n_speakers=int(row["n_speakers"]))  # fmt: skip


def _rows(
    metric: CorpusMetric, records: Sequence[GenerationRecord], found: Mapping[str, Any], version: str, run_id: str
) -> list[dict[str, object]]:
    """One row per item of the measure's roles and item measure."""
    spec, rows = metric.spec, []
    names = [name for name in item_measures(spec) if _of_items(spec, name)]
    for record in records:
        if record.role not in spec.roles:
            continue
        values = found["items"].get(record.item_id, {})
        for name in names:
            value, status, reason = _cell(record, values.get(name), found.get("problem", ""))
            rows.append({
                "schema_version": SCHEMA_VERSION, "run_id": run_id, "item_id": record.item_id,
                "utterance_id": record.utterance_id, "speaker_id": record.speaker_id, "system": record.system,
                "role": record.role, "scorer": spec.name, "measure": name, "value": value, "status": status,
                "reason": reason, "scorer_version": version,
            })  # fmt: skip
    return rows


def _of_items(spec: Any, name: str) -> bool:
    return next(m for m in spec.measures if m.name == name).aggregate != "set"


def _cell(record: GenerationRecord, value: object, problem: str) -> tuple[float, str, str]:
    if record.status != "ok":
        return math.nan, record.status, f"no clip: {record.reason}"
    if isinstance(value, Mapping):
        return math.nan, "skipped", str(value["skipped"]) or "the measure gave no reason"
    if isinstance(value, float) and math.isfinite(value):
        return value, "ok", ""
    return math.nan, "failed", problem or f"the measure gave {value}"
