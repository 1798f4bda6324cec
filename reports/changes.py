"""The items behind a finding, so that the same finding of another run can be held against it prompt by prompt."""

from __future__ import annotations

import pandas as pd

from reports.artefacts import MeasureInfo
from reports.context import Context
from reports.energy import time_frame
from reports.operating import flagged_frame
from reports.schemas import FindingRow

__all__ = ["paired_parts"]

FLAG_RULES = {"DET-2": 1.0, "DIS-2": -1.0}
"""Rules on the share called synthetic: as it is, or as the share that passes."""
TIME_RULES = ("ENV-2",)


def paired_parts(context: Context, row: FindingRow) -> list[tuple[float, pd.DataFrame]]:
    """Signed item frames whose ratios add up to the finding's estimate, up to a constant; empty without any."""
    rule = row.finding_id.partition("/")[0]
    if not row.role:
        return []
    if rule in TIME_RULES:
        return _filled([(1.0, time_frame(context, row.role))])
    measure = _measure(context, row.measure)
    if measure is None:
        return []
    if rule in FLAG_RULES:
        frame = flagged_frame(context, measure, row.role)
        return _filled([(FLAG_RULES[rule], frame)] if frame is not None else [])
    if measure.aggregate not in ("mean", "ratio_of_sums"):
        return []
    if "/" in row.finding_id and not row.against:
        return []  # a finding about a group or a curve is no number of all items
    parts = [(1.0, context.items(measure, row.role))]
    parts += [(-1.0, context.items(measure, row.against))] if row.against else []
    return _filled(parts)


def _measure(context: Context, name: str) -> MeasureInfo | None:
    return next((one for one in context.run.measures if f"{one.scorer}/{one.measure}" == name), None)


def _filled(parts: list[tuple[float, pd.DataFrame]]) -> list[tuple[float, pd.DataFrame]]:
    return parts if parts and all(len(frame) for _, frame in parts) else []
