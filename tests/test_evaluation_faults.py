"""What machines do to a run: full disks, signals, clock jumps, damaged parts, kills at random moments."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from audiolm.audio import AudioClip, write_audio
from evaluation import run_lock as lock_module
from evaluation.cli import main
from evaluation.cli.faults import Terminated, sentence_of, sigterm_raises
from evaluation.run_folder import write_json
from evaluation.run_lock import LOCK_NAME, run_lock
from evaluation.score_store import Cell, ScoreStore
from evaluation.table_seals import DamagedTableError, read_sealed, write_sealed
from evaluation.whole_files import whole_file

ROOT = Path(__file__).resolve().parents[1]
TABLE = pa.table({"key": [f"k{n}" for n in range(6)], "value": [0.5 * n for n in range(6)], "note": ["a", None] * 3})


def _full(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is Linux")
def test_a_full_disk_is_one_sentence_and_leaves_the_old_file_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "run.json"
    write_json(target, {"a": 1})
    monkeypatch.setattr(os, "fsync", _full)
    with pytest.raises(OSError, match="No space left") as caught:
        write_json(target, {"a": 2})
    assert caught.value.errno == errno.ENOSPC and caught.value.filename == str(target)
    assert "no space is left" in sentence_of(caught.value) and "--resume" in sentence_of(caught.value)
    assert json.loads(target.read_text()) == {"a": 1} and [path.name for path in tmp_path.iterdir()] == ["run.json"]
    with pytest.raises(OSError, match="No space left") as caught, whole_file(tmp_path / "t") as temporary:
        temporary.write_bytes(b"x")
        Path("/dev/full").open("wb", buffering=0).write(b"x")  # the system's own full disk
    assert caught.value.errno == errno.ENOSPC and not (tmp_path / "t").exists()


def test_a_clip_that_the_disk_has_no_room_for_says_so(tmp_path: Path) -> None:
    """A limit on file sizes stands in for the disk: libsndfile reports both as a system error without a number."""
    script = (
        "import resource, sys, numpy as np\nfrom pathlib import Path\n"
        "from audiolm.audio import AudioClip, write_audio\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\nfolder = Path(sys.argv[1])\n"
        "clip = AudioClip.from_array(np.zeros(400_000, 'f4'), 16_000)\n"
        "try:\n    write_audio(folder / 'a.wav', clip)\nexcept OSError as error:\n"
        "    print(error.errno, error.filename, list(folder.iterdir()))\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.stdout == f"{errno.EFBIG} {tmp_path / 'a.wav'} []\n", done.stderr


def test_a_run_on_a_full_disk_ends_in_a_sentence_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clips = tmp_path / "clips"
    clips.mkdir()
    for number in range(3):
        write_audio(clips / f"{number}.wav", AudioClip.from_array(np.full(8_000, 0.1, "f4"), 16_000))
    command = ["audit", "--system", str(clips), "--out", str(tmp_path / "run"), "--scorers", "signal_quality"]
    command += ["--gate", "never", "--workers", "1"]
    with monkeypatch.context() as patch:
        left, real = [4], os.fsync

        def soon_full(handle: int) -> None:
            left[0] -= 1
            real(handle) if left[0] >= 0 else _full()

        patch.setattr(os, "fsync", soon_full)
        assert main(command) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("audiolm-audit: ") and "no space is left" in said
    assert not [path for path in (tmp_path / "run").rglob(".*") if path.is_file()]
    assert main([*command, "--resume"]) == 0 and (tmp_path / "run" / "report.html").is_file()


def test_a_sealed_table_comes_back_and_a_flipped_bit_anywhere_is_found(tmp_path: Path) -> None:
    path = tmp_path / "part.parquet"
    write_sealed(path, TABLE)
    data = path.read_bytes()
    assert read_sealed(path).equals(TABLE)
    rng = np.random.default_rng(3)
    for place, bit in zip(rng.integers(0, len(data), 300), rng.integers(0, 8, 300), strict=True):
        damaged = bytearray(data)
        damaged[place] ^= 1 << bit
        path.write_bytes(damaged)
        try:
            assert read_sealed(path).equals(TABLE)  # a bit that carries nothing, such as a page's offset
        except DamagedTableError:
            continue
    for keep in (0, 3, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:keep])
        with pytest.raises(DamagedTableError, match="part.parquet: is damaged"):
            read_sealed(path)


def test_a_damaged_part_is_computed_again_and_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = ScoreStore(tmp_path)
    store.add({"k": [Cell("m", 1.5)]})
    store.add({"l": [Cell("m", 2.5)]})
    first, second = sorted(tmp_path.glob("*.parquet"))
    data = bytearray(first.read_bytes())
    data[len(data) // 3] ^= 64
    first.write_bytes(data)
    (tmp_path / ".half.parquet.1.tmp").write_bytes(b"half")
    again = ScoreStore(tmp_path)
    assert sorted([again.get("k") is None, again.get("l") is None]) == [False, True]
    assert str(first) in caplog.text and "computed again" in caplog.text
    assert sorted(path.name for path in tmp_path.iterdir()) == [second.name]


def test_a_jump_of_the_clock_frees_no_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context = multiprocessing.get_context("fork")
    ready, done = context.Event(), context.Event()
    process = context.Process(target=_hold, args=(str(tmp_path), ready, done))
    process.start()
    try:
        assert ready.wait(20)
        monkeypatch.setattr(lock_module.psutil.Process, "create_time", lambda self: time.time() + 86_400)
        monkeypatch.setattr(time, "time", lambda: 0.0)
        with pytest.raises(ValueError, match=f"process {process.pid} .* is working there"), run_lock(tmp_path):
            pass
    finally:
        done.set()
        process.join(20)
    assert not (tmp_path / LOCK_NAME).exists()


def test_of_many_that_find_a_stale_lock_one_at_a_time_takes_it(tmp_path: Path) -> None:
    (tmp_path / LOCK_NAME).write_text(json.dumps({"pid": 2**22 + 1, "started": 1.0, "host": "x", "boot": "y"}))
    owner = {"pid": 2**22 + 1, "started": 1.0, "host": lock_module.socket.gethostname(), "boot": "earlier"}
    (tmp_path / LOCK_NAME).write_text(json.dumps(owner))
    context = multiprocessing.get_context("fork")
    inside, most = context.Value("i", 0), context.Value("i", 0)
    processes = [context.Process(target=_enter, args=(str(tmp_path), inside, most)) for _ in range(6)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert most.value == 1 and not [path for path in tmp_path.iterdir() if path.name.startswith(LOCK_NAME)]


def _hold(folder: str, ready, done) -> None:
    with run_lock(Path(folder)):
        ready.set()
        done.wait(20)


def _enter(folder: str, inside, most) -> None:
    for _ in range(20):
        try:
            with run_lock(Path(folder)):
                with inside.get_lock():
                    inside.value += 1
                    most.value = max(most.value, inside.value)
                time.sleep(0.001)
                with inside.get_lock():
                    inside.value -= 1
        except ValueError:
            continue


def test_sigterm_unwinds_and_frees_the_folder(tmp_path: Path) -> None:
    with pytest.raises(Terminated), sigterm_raises(), run_lock(tmp_path), whole_file(tmp_path / "x") as temporary:
        temporary.write_bytes(b"half")
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)
    assert not list(tmp_path.iterdir())


def test_a_read_only_folder_and_missing_memory_are_sentences() -> None:
    refused = PermissionError(errno.EACCES, "Permission denied", "/x/run.json")
    assert sentence_of(refused) == "/x/run.json: Permission denied; name a folder that this user may read and write"
    assert "not enough memory" in sentence_of(MemoryError()) and sentence_of(ValueError("as it is")) == "as it is"


@pytest.mark.slow
def test_kills_at_random_moments_change_nothing() -> None:
    """The short form of ``tests/faults/kills.py --kills 50``."""
    script = [sys.executable, str(ROOT / "tests" / "faults" / "kills.py"), "--kills", "2", "--fresh", "0", "--json"]
    done = subprocess.run([*script, "--clips", "4"], capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr[-2_000:]
    rows = json.loads(done.stdout)
    assert rows[1]["value"] == 0 and rows[1]["met"], done.stderr[-2_000:]
