"""Results of VERSA become a run: its JSON lines get intervals, slices, comparisons and a report without a new score.

One line per clip: ``{"key": ..., "utmos": ..., "whisper_wer_delete": ...}``; numbers are measures, the rest is left out
and said. Speakers and groups come from a manifest with the same ids, since VERSA's lines hold none. Word errors that
VERSA gives as counts of hits, deletions, insertions and substitutions become a ratio of sums.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pandas as pd

from evaluation.aggregation import summarise
from evaluation.comparisons import write_comparisons
from evaluation.frames import SCHEMA_VERSION, SCORE_SCHEMA, write_generations, write_scores
from evaluation.manifest import read_utterances
from evaluation.provenance import describe_machine, package_versions, utc_now
from evaluation.records import GenerationRecord, Utterance
from evaluation.run_folder import RUN_SCHEMA_VERSION, RunFolder, write_json

__all__ = ["SCORER", "import_versa"]

SCORER = "versa"
KEYS = ("key", "utt_id", "utterance_id", "id")
COUNTS = ("delete", "insert", "replace", "equal")
"""Endings of VERSA's counts of word and character errors."""

logger = logging.getLogger(__name__)


def import_versa(
    lines: Path, out: str | Path, *, manifest: Path | None = None, system: str = "", config: Path | None = None,
    seed: int = 0,
) -> pd.DataFrame:  # fmt: skip
    """Read VERSA's results into the new run folder ``out`` and give its summary.

    ``config``: the file that told VERSA what to measure. Its digest is the evaluators' fingerprint: two imports with
    one configuration may be compared. The lines do not say how they were made, so without it no two may.

    Raises:
        ValueError: a line is no JSON object or has no key, a key stands twice, no line holds a number, the
            configuration cannot be read, or the folder is taken.
    """
    rows = _read(lines)
    run = RunFolder(out)
    run.refuse_taken(resume=False)
    people = {one.utterance_id: one for one in read_utterances(manifest)} if manifest else {}
    unknown = [key for key in rows if manifest and key not in people]
    if manifest and len(unknown) == len(rows):
        raise ValueError(f"{manifest}: has none of the {len(rows)} keys of {lines}; give the manifest of these clips")
    if unknown:
        logger.warning("%d of %d keys are not in %s; they have no speaker", len(unknown), len(rows), manifest)
    name = system or lines.stem
    names = sorted({field for row in rows.values() for field, value in row.items() if _is_number(value)})
    if not names:
        raise ValueError(f"{lines}: no line holds a number; give the JSON lines that VERSA wrote")
    records = [_record(key, name, people.get(key), row) for key, row in sorted(rows.items())]
    version = hashlib.sha256(lines.read_bytes()).hexdigest()[:12]
    evaluator = f"versa+config-{_config_digest(config)}" if config else f"versa+unstated-{version}"
    run.path.mkdir(parents=True, exist_ok=True)
    info = _info(lines, name, records, version, seed, manifest) | _evaluators(evaluator)
    write_json(run.run_json, info)
    write_generations(run.generations, records)
    write_json(run.measures, _measures(names))
    write_scores(run.scores, _scores(records, rows, names, info["run_id"], evaluator))
    frame = summarise(run, seed=seed)
    write_comparisons(run, seed=seed)
    run.update(status="complete", finished_utc=utc_now())
    return frame


def _read(lines: Path) -> dict[str, Mapping[str, Any]]:
    """Results by key, in the file's order."""
    try:
        text = lines.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{lines}: cannot be read ({error}); give the JSON lines that VERSA wrote") from error
    found: dict[str, Mapping[str, Any]] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{lines}, line {number}: is not JSON ({error}); correct or delete the line") from error
        key = next((str(row[name]) for name in KEYS if row.get(name)), "") if isinstance(row, dict) else ""
        if not key:
            raise ValueError(f"{lines}, line {number}: has no field {' or '.join(KEYS)}; every clip needs its key")
        if key in found:
            raise ValueError(f"{lines}, line {number}: key {key!r} stands twice; keep one line per clip")
        found[key] = {field: value for field, value in row.items() if field not in KEYS}
    if not found:
        raise ValueError(f"{lines}: holds no line; give the JSON lines that VERSA wrote")
    return found


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _record(key: str, system: str, person: Utterance | None, row: Mapping[str, Any]) -> GenerationRecord:
    return GenerationRecord(
        item_id=f"{key}/recorded", utterance_id=key, speaker_id=person.speaker_id if person else "", system=system,
        role="recorded", seed=0, audio_path="", sample_rate_hz=0,
        duration_s=float(person.duration_s or 0.0) if person else 0.0, prompt_s=0.0,
        transcript=person.transcript if person else None, groups=person.groups if person else MappingProxyType({}),
        origin="synthetic", wall_s=0.0, status="ok", reason="",
        content_sha256=hashlib.sha256(json.dumps([key, dict(row)], sort_keys=True).encode()).hexdigest(),
        config_sha256="", note="scored by VERSA; the clip itself is not in this run",
    )  # fmt: skip


def _measures(names: Sequence[str]) -> list[dict[str, Any]]:
    """An entry per field, and a ratio for every family of counts (``*_wer_delete`` and so on)."""
    families = sorted({n.rpartition("_")[0] for n in names if n.rpartition("_")[2] in COUNTS})
    families = [family for family in families if all(f"{family}_{end}" in names for end in COUNTS)]
    counts = {f"{family}_{end}" for family in families for end in COUNTS}
    common = {
        "unit": "", "direction": "none", "source": "VERSA, its own definition", "low": None, "high": None,
        "numerator": "", "denominator": "", "scorer": SCORER, "scorer_title": "Measured by VERSA",
        "protocol": {"needs": [], "roles": ["recorded"], "version": "import 1"},
    }  # fmt: skip
    entries = [
        common | {"measure": name, "title": name, "meaning": "as VERSA gives it",
                  "aggregate": "none" if name in counts else "mean"}
        for name in names
    ]  # fmt: skip
    for family in families:
        for part, meaning in (
            ("errors", "deletions, insertions and replacements"),
            ("total", "equal, deleted, replaced"),
        ):
            entries.append(common | {"measure": f"{family}_{part}", "title": f"{family} {part}", "meaning": meaning,
                                     "aggregate": "none"})  # fmt: skip
        entries.append(common | {
            "measure": family, "title": family, "unit": "ratio", "direction": "lower", "low": 0.0,
            "meaning": "errors by reference tokens, summed over clips", "aggregate": "ratio_of_sums",
            "numerator": f"{family}_errors", "denominator": f"{family}_total",
        })  # fmt: skip
    return sorted(entries, key=lambda entry: entry["measure"])


def _scores(
    records: Sequence[GenerationRecord], rows: Mapping[str, Mapping[str, Any]], names: Sequence[str], run_id: str,
    version: str,
) -> pd.DataFrame:  # fmt: skip
    families = [e["measure"] for e in _measures(names) if e["aggregate"] == "ratio_of_sums"]
    found = []
    for record in records:
        values = dict(rows[record.utterance_id])
        for family in families:
            counts = [values.get(f"{family}_{end}") for end in COUNTS]
            known = [float(count) for count in counts if _is_number(count)]  # type: ignore[arg-type]
            if len(known) == len(COUNTS):
                delete, insert, replace, equal = known
                values |= {f"{family}_errors": delete + insert + replace, f"{family}_total": delete + replace + equal}
        measures = [*names, *(f"{family}_{part}" for family in families for part in ("errors", "total"))]
        for name in measures:
            value = values.get(name)
            ok = _is_number(value) and math.isfinite(float(value))  # type: ignore[arg-type]
            found.append({
                "schema_version": SCHEMA_VERSION, "run_id": run_id, "item_id": record.item_id,
                "utterance_id": record.utterance_id, "speaker_id": record.speaker_id, "system": record.system,
                "role": record.role, "scorer": SCORER, "measure": name,
                "value": float(value) if ok else math.nan,  # type: ignore[arg-type]
                "status": "ok" if ok else "failed", "scorer_version": version,
                "reason": "" if ok else f"VERSA gave {'no value' if value is None else value!r}",
            })  # fmt: skip
    return pd.DataFrame(found, columns=SCORE_SCHEMA.names)


def _info(
    lines: Path, system: str, records: Sequence[GenerationRecord], version: str, seed: int, manifest: Path | None
) -> dict[str, Any]:
    speakers = {record.speaker_id for record in records if record.speaker_id}
    return {
        "schema_version": RUN_SCHEMA_VERSION, "run_id": version, "status": "running", "created_utc": utc_now(),
        "command": f"audiolm-audit import-versa {lines}", "seeds": {"run": seed, "bootstrap": seed},
        "prompts": {
            "source": str(manifest or lines), "origin": "unknown", "n_utterances": len(records), "sha256": version,
            "n_speakers": len(speakers), "n_problems": 0, "n_without_speaker": sum(not r.speaker_id for r in records),
            "n_with_transcript": sum(r.transcript is not None for r in records), "licences": {}, "limit": None,
            "split": None, "groups": sorted({group for record in records for group in record.groups}),
        },
        "system": {"name": system, "checkpoint": "", "sha256": version,
                   "description": {"name": system, "kind": "clips of an outside system, scored by VERSA"}},
        "config": {"recorded": str(lines)}, "fixed": {}, "packages": package_versions(),
        "machine": describe_machine("cpu"), "counts": {}, "times": {},
    }  # fmt: skip


def _evaluators(version: str) -> dict[str, Any]:
    return {"evaluators": [{
        "name": SCORER, "title": "Measured by VERSA", "version": version, "fingerprint": {"evaluator": version},
        "status": "ready", "sentence": "imported, not measured here", "extra": "",
    }]}  # fmt: skip


def _config_digest(config: Path) -> str:
    try:
        return hashlib.sha256(config.read_bytes()).hexdigest()[:12]
    except OSError as error:
        raise ValueError(
            f"{config}: cannot be read ({error}); give the file that told VERSA what to measure"
        ) from error
