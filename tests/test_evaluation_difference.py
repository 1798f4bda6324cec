"""Differences of two systems: what counts nowhere is said, and too few speakers are not called noise."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from evaluation.cli import main
from evaluation.frames import SCHEMA_VERSION, SCORE_SCHEMA, write_scores
from evaluation.permutation import sign_flip_p, smallest_sign_flip_p
from evaluation.run_folder import RunFolder, write_json
from evaluation.system_difference import compare_systems

MEASURES = ("share", "other")


def _system(folder: Path, shift: float, speakers: int, first: int = 0) -> Path:
    """A scored run: one prompt per speaker from number ``first`` on, two measures."""
    folder.mkdir(parents=True)
    generator, rows = np.random.default_rng(0), []
    for number in range(first, first + speakers):
        for measure in MEASURES:
            value = float(np.clip(0.4 + shift + 0.01 * generator.normal(), 0.0, 1.0))
            rows.append([SCHEMA_VERSION, "r", f"i{number}", f"u{number}", f"s{number}", "x", "continuation", "s",
                         measure, value, "ok", "", "1"])  # fmt: skip
    run = RunFolder(folder)
    write_scores(run.scores, pd.DataFrame(rows, columns=SCORE_SCHEMA.names))
    common = {"scorer": "s", "aggregate": "mean", "low": 0.0, "high": 1.0}
    write_json(run.measures, [common | {"measure": measure} for measure in MEASURES])
    write_json(run.run_json, {"schema_version": 1, "run_id": "r"})
    return folder


@pytest.mark.parametrize("n", [2, 3, 5, 12, 13])
def test_the_smallest_p_is_that_of_speakers_who_all_agree(n: int) -> None:
    assert sign_flip_p(np.ones(n), np.random.default_rng(0)) >= smallest_sign_flip_p(n)
    if n <= 12:
        assert sign_flip_p(np.ones(n), np.random.default_rng(0)) == smallest_sign_flip_p(n)


def test_four_speakers_cannot_tell_and_twelve_can(tmp_path: Path) -> None:
    few = compare_systems(_system(tmp_path / "a", 0.0, 4), _system(tmp_path / "b", 0.3, 4))
    assert all(verdict == "cannot tell: too few speakers for 2 tests at once" for verdict in few["verdict"])
    many = compare_systems(_system(tmp_path / "c", 0.0, 12), _system(tmp_path / "d", 0.3, 12))
    assert set(many["verdict"]) == {"differs"}


def test_six_speakers_suffice_for_one_measure_that_was_chosen(tmp_path: Path) -> None:
    old, new = _system(tmp_path / "a", 0.0, 6), _system(tmp_path / "b", 0.3, 6)
    assert set(compare_systems(old, new)["verdict"]) == {"cannot tell: too few speakers for 2 tests at once"}
    one = compare_systems(old, new, measures=["s/share"])
    assert list(one["measure"]) == ["share"] and list(one["verdict"]) == ["differs"]
    with pytest.raises(ValueError, match=r"no measure 'nix'; name a scorer \(s\)"):
        compare_systems(old, new, measures=["nix"])


def test_prompts_of_one_run_alone_are_counted_and_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old, new = _system(tmp_path / "a", 0.0, 6), _system(tmp_path / "b", 0.3, 6, first=2)
    table = compare_systems(old, new)
    assert set(table["n_unshared"]) == {4} and set(table["n_items"]) == {4}
    assert main(["difference", str(old), str(new)]) == 0
    assert "4 prompts are in one run alone and count nowhere" in capsys.readouterr().out
    assert main(["difference", str(old), str(new), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["n_unshared"] == 4


def test_no_interval_leaves_what_a_difference_of_shares_can_be(tmp_path: Path) -> None:
    table = compare_systems(_system(tmp_path / "a", -0.4, 3), _system(tmp_path / "b", 0.59, 3))
    assert (table["high"] <= 1.0).all() and (table["low"] >= -1.0).all() and (table["difference"] > 0.9).all()
