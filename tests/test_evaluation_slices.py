"""Fairness slices: a bias of the measure is taken out, a real gap is found, small and unmatched cells stay visible."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import pandas as pd
import pytest

from evaluation.bootstrap import Resampler
from evaluation.frames import SCHEMA_VERSION, SCORE_SCHEMA
from evaluation.slices import NO_RECORDINGS, slice_table

ENTRY = {"scorer": "s", "measure": "m", "aggregate": "mean", "low": 0.0, "high": 1.0}
BIAS = MappingProxyType({"north": 0.0, "south": 0.3, "east": 0.1})
"""What the measure itself does to the recordings of each group."""


def _scores(extra: Mapping[str, float], *, recordings: bool, east: int = 2) -> tuple[pd.DataFrame, dict]:
    """Eight speakers north and south, ``east`` speakers there; ``extra``: what the system adds for a group."""
    generator, rows, labels = np.random.default_rng(1), [], {}
    for group, count in (("north", 8), ("south", 8), ("east", east)):
        for number in range(count):
            name = f"{group}{number}"
            labels[name] = {"accent": group}
            own = 0.2 + BIAS[group] + 0.01 * generator.normal()
            values = {"continuation" if recordings else "recorded": own + extra.get(group, 0.0)}
            for role, value in {**values, **({"reference": own} if recordings else {})}.items():
                rows.append([SCHEMA_VERSION, "r", f"{role}:{name}", name, name, "x", role, "s", "m", value, "ok", "",
                             "1"])  # fmt: skip
    return pd.DataFrame(rows, columns=SCORE_SCHEMA.names), labels


def _table(scores: pd.DataFrame, labels: dict) -> pd.DataFrame:
    roles = ("continuation", "recorded")
    return slice_table(scores, [], [ENTRY], names=["s/m"], axes=["accent"], roles=roles, resampler=Resampler(seed=0),
                       groups=labels).set_index("group")  # fmt: skip


def test_a_bias_of_the_measure_alone_is_no_gap() -> None:
    table = _table(*_scores({}, recordings=True))
    assert table.loc["south", "estimate"] - table.loc["north", "estimate"] == pytest.approx(0.3, abs=0.02)
    assert np.abs(table["excess"]).max() < 1e-12
    assert table.loc["south", "p_adjusted"] == 1.0


def test_what_the_system_does_to_a_group_is_found() -> None:
    table = _table(*_scores({"south": 0.2}, recordings=True))
    south = table.loc["south"]
    assert south["excess"] == pytest.approx(0.2) and south["gap"] == pytest.approx(0.2) and south["p_adjusted"] < 0.01
    assert (table.loc["east", "status"], table.loc["east", "n_speakers"]) == ("too few", 2)
    assert np.isnan(table.loc["east", "p"])


def test_without_recordings_the_number_itself_is_compared_and_that_is_said() -> None:
    table = _table(*_scores({}, recordings=False))
    south = table.loc["south"]
    assert south["estimate"] == south["excess"] == pytest.approx(0.5, abs=0.01)
    assert south["excess_low"] < 0.5 < south["excess_high"] and south["n_speakers"] == 8
    assert south["p_adjusted"] < 0.01, "the measure's own bias shows, since nothing takes it out"
    assert np.isnan(south["reference"]) and all(NO_RECORDINGS in method for method in table["method"])
