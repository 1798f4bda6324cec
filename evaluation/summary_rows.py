"""One row of the SummaryFrame."""

from __future__ import annotations

from collections.abc import Mapping

from evaluation.bootstrap import Interval

__all__ = ["summary_row"]


def summary_row(
    key: Mapping[str, str],
    *,
    measure: str,
    interval: Interval,
    confidence: float,
    n_items: int,
    n_speakers: int,
    n_skipped: int,
    n_failed: int,
) -> dict[str, object]:
    """``key`` holds system, role, group_by, group and scorer."""
    return {
        **key,
        "measure": measure,
        "estimate": interval.estimate,
        "ci_low": interval.low,
        "ci_high": interval.high,
        "confidence": confidence,
        "method": interval.method,
        "n_items": n_items,
        "n_speakers": n_speakers,
        "n_skipped": n_skipped,
        "n_failed": n_failed,
    }
