"""Every test of a run in one family: which stage costs what, what lies above the floor, which groups differ.

Differences are paired on the same utterances. p-values come from permutations whose units are speakers, and are
adjusted over the whole run at once, so that a reader of its report is not led by the few that chance makes small. The
stage rows of a measure, in order, are its waterfall: recording, codec, acoustic stages, semantic stage (the paper's
Table II read downwards). Kept in ``comparisons.json``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from evaluation.bootstrap import Resampler
from evaluation.frames import read_generations, read_scores
from evaluation.item_values import item_values, speaker_sums
from evaluation.multiplicity import adjust
from evaluation.permutation import sign_flip_p
from evaluation.records import GenerationRecord
from evaluation.run_folder import RunFolder, write_json
from evaluation.slices import JUDGED, slice_table
from evaluation.table_queries import blocks, rows_where

__all__ = ["COMPARISONS_NAME", "Comparison", "STEPS", "compare_roles", "write_comparisons"]

COMPARISONS_NAME = "comparisons.json"
STEPS = (("codec", "reference"), ("acoustic", "codec"), ("continuation", "acoustic"))
"""Each role and the one it is compared with: what the codec, the acoustic stages and the semantic stage add."""
FLOOR = ("continuation", "shuffled")
GROUP_MEASURES = ("word_error/wer", "speaker_similarity/cosine", "speaker_similarity/accepted")
GROUP_ROLES = ("acoustic", "continuation", "recorded")


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """``kind``: ``stage``, ``floor`` or ``group``; ``difference``: of ``role`` less ``against`` on the same utterances,
    or, for a group, of its excess over recordings less everybody else's. ``p_holm`` and ``p_bh`` are adjusted over all
    rows of the run; NaN where there is no test."""

    kind: str
    scorer: str
    measure: str
    role: str
    against: str
    axis: str = ""
    group: str = ""
    value: float = math.nan
    against_value: float = math.nan
    difference: float = math.nan
    low: float = math.nan
    high: float = math.nan
    p: float = math.nan
    p_holm: float = math.nan
    p_bh: float = math.nan
    n_items: int = 0
    n_speakers: int = 0


def write_comparisons(run: RunFolder, *, seed: int) -> list[Comparison]:
    """Read a scored run's tables, write ``comparisons.json`` (rows; null where a number is missing), give the rows."""
    records, scores = read_generations(run.generations), read_scores(run.scores)
    measures = json.loads(run.measures.read_text(encoding="utf-8"))
    resampler = Resampler(seed=seed)
    found = [*compare_roles(scores, measures, resampler), *_groups(scores, records, measures, resampler)]
    p = np.array([one.p for one in found], dtype=np.float64)
    holm, bh = adjust(p, "holm"), adjust(p, "bh")
    found = [replace(one, p_holm=float(a), p_bh=float(b)) for one, a, b in zip(found, holm, bh, strict=True)]
    write_json(run.path / COMPARISONS_NAME, [_plain(one) for one in found])
    return found


def compare_roles(
    scores: pd.DataFrame, measures: Sequence[Mapping[str, Any]], resampler: Resampler
) -> Iterator[Comparison]:
    """Stage steps and the floor of every summarised measure that says what is better."""
    tables = dict(blocks(scores, ["scorer", "role"]))
    for entry in sorted(measures, key=lambda entry: (entry["scorer"], entry["measure"])):
        if entry["aggregate"] not in ("mean", "ratio_of_sums") or entry["direction"] == "none":
            continue
        for kind, (role, against) in (*(("stage", step) for step in STEPS), ("floor", FLOOR)):
            sides = [tables.get((entry["scorer"], name)) for name in (role, against)]
            if sides[0] is None or sides[1] is None:
                continue
            one = _paired(sides[0], sides[1], entry, role, against, kind, resampler)
            if one is not None:
                yield one


def _paired(
    left: pd.DataFrame, right: pd.DataFrame, entry: Mapping[str, Any], role: str, against: str, kind: str,
    resampler: Resampler,
) -> Comparison | None:  # fmt: skip
    pairs = item_values(left, entry, role).merge(
        item_values(right, entry, against), on=["utterance_id", "speaker_id"], suffixes=("", "_other")
    )
    pairs = rows_where(pairs, status="ok", status_other="ok")
    if not len(pairs):
        return None
    # one denominator for both sides, so that the difference is a ratio of sums
    scale = pairs["below"] / pairs["below_other"]
    joint = pairs.assign(above=pairs["above"] - pairs["above_other"] * scale)
    speakers = sorted(set(joint["speaker_id"]))
    above, below = speaker_sums(joint, speakers)
    interval = resampler.ratio(speakers, above, below)
    generator = np.random.default_rng([resampler.seed, 19])
    return Comparison(
        kind=kind, scorer=entry["scorer"], measure=entry["measure"], role=role, against=against,
        value=_rate(pairs, ""), against_value=_rate(pairs, "_other"), difference=interval.estimate, low=interval.low,
        high=interval.high, p=sign_flip_p(above, generator), n_items=len(pairs), n_speakers=len(speakers),
    )  # fmt: skip


def _rate(pairs: pd.DataFrame, side: str) -> float:
    below = float(pairs[f"below{side}"].sum())
    return float(pairs[f"above{side}"].sum()) / below if below > 0 else math.nan


def _groups(
    scores: pd.DataFrame, records: Sequence[GenerationRecord], measures: Sequence[Mapping[str, Any]],
    resampler: Resampler,
) -> list[Comparison]:  # fmt: skip
    axes = sorted({axis for record in records for axis, group in record.groups.items() if group})
    known = {f"{e['scorer']}/{e['measure']}" for e in measures}
    names = [name for name in GROUP_MEASURES if name in known]
    if not axes or not names:
        return []
    table = slice_table(
        scores, records, measures, names=names, axes=axes, roles=GROUP_ROLES, resampler=resampler, method="holm"
    )
    found = []
    for row in rows_where(table, status=JUDGED).to_dict("records"):
        scorer, _, measure = str(row["measure"]).partition("/")
        found.append(Comparison(
            kind="group", scorer=scorer, measure=measure, role=row["role"], against="everybody else", axis=row["axis"],
            group=row["group"], value=row["excess"], against_value=row["excess"] - row["gap"], difference=row["gap"],
            p=row["p"], n_items=int(row["n_items"]), n_speakers=int(row["n_speakers"]),
        ))  # fmt: skip
    return found


def _plain(one: Comparison) -> dict[str, object]:
    value = asdict(one)
    return {name: None if isinstance(v, float) and not math.isfinite(v) else v for name, v in value.items()}
