"""Rows of a data frame by the values of its columns."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

__all__ = ["blocks", "kept_rows", "numbers", "rows_where"]


def rows_where(frame: pd.DataFrame, **equal: str | Collection[str]) -> pd.DataFrame:
    """The rows whose columns equal the given values, or are among them where a collection is given."""
    keep = np.ones(len(frame), dtype=bool)
    for column, value in equal.items():
        wanted = [value] if isinstance(value, str) else list(value)
        keep &= frame[column].isin(wanted).to_numpy(dtype=bool)
    return frame.iloc[np.flatnonzero(keep)]


def kept_rows(frame: pd.DataFrame, keep: object) -> pd.DataFrame:
    """The rows where ``keep`` ``[row]`` holds."""
    return frame.iloc[np.flatnonzero(np.asarray(keep, dtype=bool))]


def blocks(frame: pd.DataFrame, columns: Sequence[str]) -> Iterator[tuple[tuple[str, ...], pd.DataFrame]]:
    """``(key, rows)`` for every combination of values that occurs, in order of the keys."""
    grouped: Any = frame.groupby(list(columns), sort=True)
    for key, block in grouped:
        yield tuple(str(value) for value in key), block


def numbers(frame: pd.DataFrame, column: str = "value") -> np.ndarray:
    """A column as float64 ``[row]``."""
    return np.asarray(frame[column], dtype=np.float64)
