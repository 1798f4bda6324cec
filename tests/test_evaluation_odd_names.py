"""Names that mean something to a page, a terminal, a spreadsheet or a table: they stay names."""

from __future__ import annotations

import io
import logging
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile as sf
from faults.hostile_files import ODD_NAMES

from evaluation.cli import detect, difference, main
from evaluation.cli.terminal import PlainFormatter, PlainText, plain
from evaluation.manifest import read_utterances
from evaluation.run_folder import audio_name


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("odd") / "=clips"
    folder.mkdir()
    for number, name in enumerate(ODD_NAMES):
        with (folder / f"{name.lstrip('.')}.wav").open("wb") as stream:
            if number % 3 and "\x1b" not in name:
                sf.write(stream, 0.2 * np.sin(np.arange(9_600) / 9), 16_000, format="WAV")
    return folder


def test_odd_names_become_rows_and_mean_nothing_to_the_page(odd: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    command = ["audit", "--system", str(odd), "--out", str(out), "--scorers", "signal_quality", "--gate", "never"]
    assert main([*command, "--workers", "1"]) == 0
    rows = pq.read_table(out / "generations.parquet").to_pylist()
    assert len(rows) == len(ODD_NAMES) and all(row["status"] == "ok" or row["reason"] for row in rows)
    assert sum(row["status"] == "ok" for row in rows) == len(ODD_NAMES) * 2 // 3 - 1
    page = (out / "report.html").read_text("utf-8")
    assert "<script>alert" not in page and "<img src=x" not in page and "\x1b" not in page
    assert all(path.resolve().is_relative_to(out.resolve()) for path in out.rglob("*"))


def test_odd_names_do_nothing_to_a_terminal(odd: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", str(odd)]) == 0
    shown = capsys.readouterr().out
    assert not any(char in shown for char in "\x1b\x07\r\u202e\u2028\x9b") and r"\x1b[31mred" in shown
    assert shown.count("\n") == len(shown.splitlines())
    assert main(["data", str(odd / "esc\x1b[2Jgone")]) == 2
    assert "\x1b" not in capsys.readouterr().err


def test_plain_text_keeps_what_is_text() -> None:
    assert plain("naïve 日本語\n\tx") == "naïve 日本語\n\tx" and plain("\x9b31m\udcff") == r"\x9b31m\udcff"
    stream = io.StringIO()
    assert PlainText(stream).write("a\x07b") == 3 and stream.getvalue() == r"a\x07b"
    record = logging.LogRecord("x", logging.WARNING, "", 0, "name %s", ("\x1b]0;t\x07",), None)
    assert PlainFormatter("%(message)s").format(record) == r"name \x1b]0;t\x07"


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@x"])
def test_a_spreadsheet_shows_and_does_not_run(name: str) -> None:
    assert detect._no_formula(name) == f"./{name}" and difference._no_formula(name) == f"'{name}"
    assert (
        detect._no_formula("-") == "-" and difference._no_formula(-1.5) == -1.5 and detect._no_formula("a=b") == "a=b"
    )


def test_half_a_character_in_a_manifest_is_shown(tmp_path: Path) -> None:
    (tmp_path / "a.wav").touch()
    (tmp_path / "m.jsonl").write_text(r'{"id": "x\ud83d", "path": "a.wav", "text": "\udc00", "speaker": "s"}')
    [found] = read_utterances(tmp_path / "m.jsonl")
    assert found.utterance_id == r"x\ud83d" and found.transcript == r"\udc00"
    found.utterance_id.encode("utf-8")
    assert audio_name(found.utterance_id)
