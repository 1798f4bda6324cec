"""Two runs on the same prompts: is one better? Paired differences, speakers resampled, p-values over all measures.

Tables that other evaluators made are refused: a number moves more with the tool than with the model. ``force`` compares
them and marks every row as unsound.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from evaluation.bootstrap import Resampler
from evaluation.frames import read_scores
from evaluation.item_values import item_values, speaker_sums
from evaluation.multiplicity import adjust
from evaluation.permutation import sign_flip_p, smallest_sign_flip_p
from evaluation.run_folder import RunFolder
from evaluation.sample_size import minimum_detectable
from evaluation.table_queries import rows_where

__all__ = ["DIFFERENCE_COLUMNS", "compare_systems"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One measure and role: new minus old on the prompts that both have. ``worst_case_low`` and ``worst_case_high``:
    the difference when every item that one side lacks counts as that side's worst, or the other's (bounded measures
    only); ``n_missing``: prompts of both without a value on a side; ``n_unshared``: those of one run alone, which count
    nowhere; ``sound`` is False where evaluators differ."""

    scorer: str
    measure: str
    role: str
    old: float
    new: float
    difference: float
    low: float
    high: float
    p: float
    p_adjusted: float
    minimum_detectable: float
    worst_case_low: float
    worst_case_high: float
    n_items: int
    n_speakers: int
    n_missing: int
    n_unshared: int
    sound: bool
    verdict: str


DIFFERENCE_COLUMNS = tuple(Difference.__dataclass_fields__)


def compare_systems(
    old: str | Path, new: str | Path, *, roles: Iterable[str] = ("continuation", "acoustic", "codec", "recorded"),
    measures: Iterable[str] = (), method: str = "holm", force: bool = False, seed: int = 0,
) -> pd.DataFrame:  # fmt: skip
    """A row per measure and role that both runs have; ``measures``: scorers or ``scorer/measure``, none means all.

    The p-values are adjusted over the rows, so fewer measures, chosen beforehand, leave more to be found.

    Raises:
        ValueError: no run, no such measure, no prompt in common, or evaluators that differ (both fingerprints are
            printed) without ``force``.
    """
    tables, entries = [], []
    for folder in (RunFolder(old), RunFolder(new)):
        folder.require()
        tables.append(read_scores(folder.scores))
        entries.append(json.loads(folder.measures.read_text(encoding="utf-8")))
    unlike = _unlike(tables)
    if unlike and not force:
        listed = "; ".join(f"{name}: {a} against {b}" for name, (a, b) in sorted(unlike.items()))
        raise ValueError(
            f"{old} and {new} were scored by different evaluators ({listed}); score the older run again with"
            " audiolm-audit score (VERSA's results: import both with the --config that they share), or compare with"
            " --force, which marks the rows as unsound"
        )
    later = {(e["scorer"], e["measure"]) for e in entries[1]}
    entries[0] = _chosen(entries[0], list(measures), old)
    resampler, found = Resampler(seed=seed), []
    for entry in entries[0]:
        usual = entry["aggregate"] in ("mean", "ratio_of_sums") and (entry["scorer"], entry["measure"]) in later
        for role in roles if usual else ():
            one = _difference(tables, entry, role, resampler, entry["scorer"] not in unlike)
            found += [one] if one is not None else []
    if not found:
        raise ValueError(f"{old} and {new} share no measure on a common prompt; score both on the same prompts")
    frame = pd.DataFrame([asdict(one) for one in found], columns=list(DIFFERENCE_COLUMNS))
    frame["p_adjusted"] = adjust(frame["p"].to_numpy(dtype=np.float64), method)
    tests = int(frame["p"].notna().sum()) if method == "holm" else 1
    frame["verdict"] = [_verdict(row, tests) for row in frame.to_dict("records")]
    return frame


def _chosen(entries: list[dict[str, Any]], names: list[str], where: object) -> list[dict[str, Any]]:
    """The entries of ``measures.json`` that are asked for."""
    for name in names:
        if not any(name in (e["scorer"], f"{e['scorer']}/{e['measure']}") for e in entries):
            known = ", ".join(sorted({e["scorer"] for e in entries}))
            raise ValueError(f"{where}: has no measure {name!r}; name a scorer ({known}) or scorer/measure")
    return [e for e in entries if not names or {e["scorer"], f"{e['scorer']}/{e['measure']}"} & set(names)]


def _unlike(tables: list[pd.DataFrame]) -> dict[str, tuple[str, str]]:
    """Scorers that both tables have, with their fingerprints where these differ."""
    versions = [dict(zip(table["scorer"], table["scorer_version"], strict=True)) for table in tables]
    shared = [name for name in versions[0] if name in versions[1]]
    return {n: (versions[0][n], versions[1][n]) for n in shared if versions[0][n] != versions[1][n]}


def _difference(
    tables: list[pd.DataFrame], entry: Mapping[str, Any], role: str, resampler: Resampler, sound: bool
) -> Difference | None:
    sides = [item_values(table, entry, role) for table in tables]
    both = sides[0].merge(sides[1], on="utterance_id", suffixes=("_old", "_new"))
    both["speaker_id"] = both["speaker_id_old"].where(both["speaker_id_old"] != "", both["speaker_id_new"])
    unshared = set(sides[0]["utterance_id"]) ^ set(sides[1]["utterance_id"])
    if not len(both):
        return None
    kept = rows_where(both, status_old="ok", status_new="ok")
    if not len(kept):
        return None
    # one denominator for both sides: the new one's, so that the difference is a ratio of sums
    scale = kept["below_new"] / kept["below_old"]
    paired = kept.assign(above=kept["above_new"] - kept["above_old"] * scale, below=kept["below_new"])
    speakers = sorted(set(paired["speaker_id"]))
    above, below = speaker_sums(paired, speakers)
    interval = resampler.ratio(speakers, above, below)
    generator = np.random.default_rng([resampler.seed, 17])
    worst = _worst_case(both, entry)
    low, high = _possible(entry, interval.low, interval.high)
    return Difference(
        scorer=entry["scorer"], measure=entry["measure"], role=role, old=_mean(kept, "_old"), new=_mean(kept, "_new"),
        difference=interval.estimate, low=low, high=high, p=sign_flip_p(above, generator),
        p_adjusted=math.nan, minimum_detectable=minimum_detectable(above, below), worst_case_low=worst[0],
        worst_case_high=worst[1], n_items=len(kept), n_speakers=len(speakers), n_missing=len(both) - len(kept),
        n_unshared=len(unshared), sound=sound, verdict="",
    )  # fmt: skip


def _mean(kept: pd.DataFrame, side: str) -> float:
    return float(kept[f"above{side}"].sum() / kept[f"below{side}"].sum())


def _possible(entry: Mapping[str, Any], low: float, high: float) -> tuple[float, float]:
    """An interval of a difference without what no difference of this measure can be; NaN stays NaN."""
    least, most = entry.get("low"), entry.get("high")
    if least is None or most is None:
        return low, high
    return max(low, least - most) if math.isfinite(low) else low, min(high, most - least) if math.isfinite(
        high
    ) else high


def _worst_case(both: pd.DataFrame, entry: Mapping[str, Any]) -> tuple[float, float]:
    """Bounds of the difference of means where what is missing takes either end of the measure's range."""
    low, high = entry.get("low"), entry.get("high")
    if entry["aggregate"] != "mean" or low is None or high is None:
        return math.nan, math.nan
    old, new = both["above_old"].to_numpy(float), both["above_new"].to_numpy(float)
    least = np.where(np.isfinite(new), new, low) - np.where(np.isfinite(old), old, high)
    most = np.where(np.isfinite(new), new, high) - np.where(np.isfinite(old), old, low)
    return float(least.mean()), float(most.mean())


def _verdict(row: Mapping[Any, Any], tests: int) -> str:
    """``tests``: by how many the smallest p is multiplied."""
    prefix = "" if row["sound"] else "unsound, other evaluators: "
    if not math.isfinite(row["p_adjusted"]):
        return prefix + "no test: fewer than two speakers"
    if row["difference"] == 0.0 and row["p"] == 1.0:
        return prefix + "no difference"
    if row["p_adjusted"] <= 0.05:
        return prefix + "differs"
    if smallest_sign_flip_p(row["n_speakers"]) * tests > 0.05:
        return prefix + f"cannot tell: too few speakers for {f'{tests} tests at once' if tests > 1 else 'a test'}"
    return prefix + "within noise"
