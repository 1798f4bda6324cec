"""Each reader of strangers' files under Hypothesis, and the cases that fuzzers found before, once more."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from fuzz.readers import READERS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

CASES = Path(__file__).parent / "fuzz" / "cases"
FOUND = sorted(path for path in CASES.rglob("*") if path.is_file())
EXAMPLES = {"checkpoint": 10, "detector": 30}


@pytest.mark.parametrize("path", FOUND, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_what_was_found_once_is_an_answer_now(path: Path, tmp_path: Path) -> None:
    READERS[path.parent.name].run(path.read_bytes(), tmp_path)


@pytest.mark.parametrize("name", READERS)
def test_sound_inputs_are_taken_and_changed_ones_are_answers(name: str) -> None:
    reader = READERS[name]
    seeds = reader.seeds()
    with tempfile.TemporaryDirectory() as folder:
        assert "" in [reader.run(seed, Path(folder)) for seed in seeds[:6]]

    @settings(max_examples=EXAMPLES.get(name, 60), suppress_health_check=list(HealthCheck))  # pyright: ignore[reportArgumentType]
    @given(
        seed=st.sampled_from(seeds),
        edits=st.lists(
            st.tuples(st.integers(0, reader.max_bytes), st.integers(0, 3), st.binary(max_size=8)), max_size=6
        ),
    )
    def changed(seed: bytes, edits: list[tuple[int, int, bytes]]) -> None:
        data = bytearray(seed)
        for place, kind, piece in edits:
            place %= len(data) + 1
            if kind == 0:
                data[place : place + len(piece)] = piece
            elif kind == 1:
                data[place:place] = piece
            elif kind == 2:
                del data[place : place + len(piece)]
            else:
                del data[max(1, place) :]
        with tempfile.TemporaryDirectory() as folder:
            reader.run(bytes(data), Path(folder))

    changed()


def test_a_reader_that_lets_something_out_is_noticed(tmp_path: Path) -> None:
    from dataclasses import replace

    def lets_out(data: bytes, folder: Path) -> None:
        data.decode("utf-8")

    broken = replace(READERS["policy"], read=lets_out)
    with pytest.raises(RuntimeError, match="a bare UnicodeDecodeError came out"):
        broken.run(b"\xff", tmp_path)
