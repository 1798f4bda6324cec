"""Selections from data frames with one type each: pandas itself cannot promise what indexing gives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import pandas as pd

__all__ = ["column", "columns", "rows_where"]


def rows_where(frame: pd.DataFrame, mask: Any) -> pd.DataFrame:
    """The rows where a boolean series of the same index holds."""
    return cast(pd.DataFrame, frame.loc[mask])


def columns(frame: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """Several columns, in the given order."""
    return cast(pd.DataFrame, frame[list(names)])


def column(frame: pd.DataFrame, name: str) -> pd.Series:
    """One column."""
    return cast(pd.Series, frame[name])
