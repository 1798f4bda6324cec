"""Several audits side by side: the verdicts, and per measure the systems in order with an interval for each rank.

Two systems are told apart on the prompts that all runs share, speakers resampled together; the p-values of all pairs of
one measure are corrected by Holm (1979). A system's rank then lies between one more than the number of systems that are
established as better, and all but those established as worse (Mogstad, Romano, Shaikh and Wilhelm 2024).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import pandas as pd
from scipy import stats

from reports.artefacts import MeasureInfo
from reports.compare import Audit, audit_facts, unlike_evaluators
from reports.context import GENERATED_ROLES, ROLE_TITLES, Context
from reports.estimates import CONFIDENCE, Estimate, ratio, signed_ratios
from reports.formats import isolate
from reports.frames import rows_where
from reports.schemas import RankedSystem, Ranking, RankingTable
from reports.tables import unit_of
from reports.whole_files import write_whole

__all__ = ["rank_audits", "rank_intervals", "write_ranking"]

QUANTITIES = ("word_error", "similarity", "accepted", "speech", "consistency", "seam", "codec", "language")
ROLES = (*GENERATED_ROLES, "codec")
LEVEL = 1.0 - CONFIDENCE


def rank_audits(audits: Sequence[Audit]) -> Ranking:
    """Every measure with a better side that all runs hold in one role.

    Raises:
        ValueError: fewer than two runs, one run given twice, or no evaluator that all of them share in one version.
    """
    names = [audit.summary.run_id for audit in audits]
    twice = sorted({name for name in names if names.count(name) > 1})
    if len(audits) < 2 or twice:
        raise ValueError(f"run {twice[0]} is named twice" if twice else "name at least two runs to compare")
    unlike, warnings = unlike_evaluators(audits)
    tables = [
        table
        for measure in _measures(audits[0].context)
        if measure.scorer not in unlike
        for role in ROLES
        if (table := _table(audits, measure, role)) is not None
    ]
    if not tables:
        warnings.append("No measure has values of all runs on shared prompts, so no system is ranked.")
    return Ranking(
        schema_version=1,
        runs=[audit_facts(audit) for audit in audits],
        warnings=warnings,
        verdicts={
            chapter.section: [_verdict(audit, chapter.section) for audit in audits]
            for chapter in audits[0].summary.risks
        },
        tables=tables,
    )


def _verdict(audit: Audit, section: str) -> str:
    return next((chapter.verdict for chapter in audit.summary.risks if chapter.section == section), "unknown")


def _measures(context: Context) -> list[MeasureInfo]:
    """Leading measures that have a better side and a number per item."""
    found: dict[tuple[str, str], MeasureInfo] = {}
    for quantity in QUANTITIES:
        for measure in context.measures_for(quantity):
            if measure.direction in ("higher", "lower") and measure.aggregate in ("mean", "ratio_of_sums"):
                found.setdefault(measure.key, measure)
    return list(found.values())


def _table(audits: Sequence[Audit], measure: MeasureInfo, role: str) -> RankingTable | None:
    """One measure in one role, best system first; None where a run lacks it or no prompt is shared."""
    frames = []
    for audit in audits:
        own = next((one for one in audit.context.run.measures if one.key == measure.key), None)
        if own is None or not audit.context.has_role(role):
            return None
        frames.append(audit.context.items(own, role))
    common = set.intersection(*(set(frame["utterance_id"]) for frame in frames))
    if not common:
        return None
    frames = [rows_where(frame, frame["utterance_id"].isin(common)).reset_index(drop=True) for frame in frames]
    estimates = [ratio(frame) for frame in frames]
    if not all(one.known for one in estimates):
        return None
    ranks = rank_intervals(frames, better="higher" if measure.direction == "higher" else "lower")
    sign = -1.0 if measure.direction == "higher" else 1.0
    order = sorted(range(len(audits)), key=lambda at: (sign * estimates[at].estimate, audits[at].summary.run_id))
    return RankingTable(
        measure=f"{measure.scorer}/{measure.measure}",
        title=measure.label,
        role=role,
        role_title=ROLE_TITLES.get(role, role),
        unit=unit_of(measure),
        better=measure.direction,  # type: ignore[arg-type]
        n_prompts=len(common),
        n_speakers=estimates[0].n_speakers,
        systems=[_system(audits[at], estimates[at], ranks[at]) for at in order],
    )


def _system(audit: Audit, estimate: Estimate, ranks: tuple[int, int]) -> RankedSystem:
    return RankedSystem(
        run_id=audit.summary.run_id,
        estimate=estimate.estimate,
        ci_low=estimate.ci_low if estimate.has_interval else None,
        ci_high=estimate.ci_high if estimate.has_interval else None,
        rank_low=ranks[0],
        rank_high=ranks[1],
    )


def rank_intervals(frames: Sequence[pd.DataFrame], *, better: str) -> list[tuple[int, int]]:
    """Best and worst rank of each system that the data do not exclude; ``frames`` hold the same utterances."""
    pairs = list(combinations(range(len(frames)), 2))
    differences = [signed_ratios([(1.0, frames[a]), (-1.0, frames[b])]) for a, b in pairs]
    above, below = [0] * len(frames), [0] * len(frames)
    for (a, b), difference, told in zip(pairs, differences, _holm([_p_value(d) for d in differences]), strict=True):
        if told:
            first_is_better = (difference.estimate > 0) == (better == "higher")
            winner, loser = (a, b) if first_is_better else (b, a)
            above[loser] += 1
            below[winner] += 1
    return [(1 + above[at], len(frames) - below[at]) for at in range(len(frames))]


def _p_value(difference: Estimate) -> float:
    """Two-sided, from the interval's mean half width as t(n - 1) standard errors; 1 without an interval."""
    if not difference.has_interval or difference.n_speakers < 2:
        return 1.0
    freedom = difference.n_speakers - 1
    half = (difference.ci_high - difference.ci_low) / 2.0
    error = half / float(stats.t.ppf(0.5 + CONFIDENCE / 2.0, freedom))
    return float(2.0 * stats.t.sf(abs(difference.estimate) / error, freedom)) if error > 0 else 1.0


def _holm(p_values: Sequence[float]) -> list[bool]:
    """Which hypotheses fall, all of them together at the level of the report's intervals."""
    told = [False] * len(p_values)
    for step, at in enumerate(sorted(range(len(p_values)), key=lambda at: p_values[at])):
        if p_values[at] > LEVEL / (len(p_values) - step):
            break
        told[at] = True
    return told


def write_ranking(path: Path, ranking: Ranking) -> None:
    """``ranking.json``."""
    text = json.dumps(ranking.model_dump(), indent=1, ensure_ascii=True, allow_nan=False)
    write_whole(path, text + "\n")


def label(facts: dict[str, str]) -> str:
    """How a run is called on the page."""
    digest = facts["system_digest"][:8]
    return f"{isolate(facts['system'])}{f' {digest}' if digest else ''}, run {isolate(facts['run_id'])}"
