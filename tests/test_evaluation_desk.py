"""The local desk: what it answers, whom it refuses, what it costs at most; and the same in a real browser."""

from __future__ import annotations

import http.client
import io
import json
import os
import random
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from browser_pipe import PipedBrowser
from report_browser import CHROMIUM
from report_run_folder import TinyRun

from detectors import DEFAULT_DETECTOR, load_default
from evaluation.cli import main
from evaluation.desk import Desk, Limits
from evaluation.desk.examiner import Examiner, TooSlow
from evaluation.detect_verdicts import judge_file

LIMITS = Limits(clip_bytes=400_000, clip_s=8.0, receive_s=1.5, send_s=20.0, examine_s=20.0, connections=6)
WORDS = ("ready", "verdict", "clip", "../../../etc/passwd", "%2e%2e/run.json", "a" * 9_000, "\x00", "é", "{}", "-1")


@contextmanager
def opened(folder: Path, limits: Limits = LIMITS) -> Iterator[Desk]:
    with Desk(folder, detector=DEFAULT_DETECTOR, limits=limits) as desk:
        thread = threading.Thread(target=desk.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield desk
        desk.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tiny = TinyRun(tmp_path_factory.mktemp("desk") / "run", speakers=2, per_speaker=2, groups=False)
    outside = tiny.folder.parent / "secret.wav"
    folder = tiny.write()
    outside.write_bytes(b"RIFF secret")
    (folder / "report.html").write_text("<!doctype html><title>r</title><p id='here'>the report</p>", "utf-8")
    return folder


@pytest.fixture(scope="module")
def desk(run: Path) -> Iterator[Desk]:
    with opened(run) as found:
        yield found


def speech(seconds: float) -> bytes:
    """A shipped prompt, cut or repeated to a length, as a WAV file."""
    samples, rate = sf.read(str(resources.files("evaluation.prompts") / "prompt-01-flite-slt.flac"), dtype="int16")
    file = io.BytesIO()
    sf.write(file, np.resize(samples, int(seconds * rate)), rate, format="WAV", subtype="PCM_16")
    return file.getvalue()


def ask(desk: Desk, method: str, address: str, body: bytes | None = None, **headers: str) -> tuple[int, bytes, dict]:
    """As a client that heeds ``Retry-After``: on a busy machine the threads of earlier requests may still hold all
    connections of the small limit."""
    for _ in range(50):
        found = ask_once(desk, method, address, body, **headers)
        if found[0] != 503 or "Retry-After" not in found[2]:
            break
        time.sleep(0.1)
    return found


def ask_once(desk: Desk, method: str, address: str, body: bytes | None, **headers: str) -> tuple[int, bytes, dict]:
    connection = http.client.HTTPConnection("127.0.0.1", desk.port, timeout=20)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, address, body, named)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, content, dict(answer.getheaders())


def raw(desk: Desk, sent: bytes, patience_s: float = 10.0) -> bytes:
    """What comes back for bytes that need be no HTTP at all; empty where the desk just hangs up."""
    with socket.create_connection(("127.0.0.1", desk.port), timeout=patience_s) as link:
        found = b""
        try:
            link.sendall(sent)
            while chunk := link.recv(1 << 16):
                found += chunk
        except ConnectionError:
            pass
        return found


def at(desk: Desk, rest: str = "") -> str:
    return f"/{desk.token}/{rest}"


def test_a_clip_gets_the_answer_of_detect_json(desk: Desk, tmp_path: Path):
    path = tmp_path / "clip.wav"
    path.write_bytes(speech(3.0))
    status, body, headers = ask(desk, "POST", at(desk, "examine"), path.read_bytes())
    mine, expected = json.loads(body), judge_file(load_default(), path, "balanced")
    assert status == 200 and headers["Content-Type"] == "application/json"
    assert set(mine) == set(expected) and mine["path"].startswith("sha256:")
    assert (mine["verdict"], mine["reason"]) == (expected["verdict"], expected["reason"])
    assert mine["llr"] == pytest.approx(expected["llr"]) and expected["llr"] is not None
    assert not os.listdir(desk.folder.name)


def test_report_and_clips_are_handed_out_whole_and_in_parts(desk: Desk, run: Path):
    assert b"the report" in ask(desk, "GET", at(desk, "report.html"))[1]
    wanted = (run / "audio/codec/utt-00.wav").read_bytes()
    assert ask(desk, "GET", at(desk, "audio/codec/utt-00.wav"))[:2] == (200, wanted)
    status, part, headers = ask(desk, "GET", at(desk, "audio/codec/utt-00.wav"), Range="bytes=10-19")
    assert (status, part, headers["Content-Range"]) == (206, wanted[10:20], f"bytes 10-19/{len(wanted)}")
    assert ask(desk, "HEAD", at(desk, "report.html"))[:2] == (200, b"")


@pytest.mark.parametrize(
    "address", ["run.json", "../secret.wav", "..%2fsecret.wav", "%2e%2e/secret.wav", "audio/../run.json",
                "audio//codec/utt-00.wav", "/etc/passwd", "audio/codec", "scores.parquet", "examine"],
)  # fmt: skip
def test_no_address_reaches_a_file_that_was_not_laid_down(desk: Desk, address: str):
    status, body, _ = ask(desk, "GET", at(desk, address))
    assert status == 404 and json.loads(body) == {"error": "there is nothing at this address"}


def test_a_clip_that_the_table_places_outside_the_run_is_not_handed_out(tmp_path: Path):
    tiny = TinyRun(tmp_path / "run", speakers=2, per_speaker=1, groups=False)
    (tmp_path / "secret.wav").write_bytes(b"secret")
    (tmp_path / "run").mkdir(exist_ok=True)
    folder = tiny.write()
    (folder / "report.html").write_text("r")
    (folder / "audio/link.wav").symlink_to(tmp_path / "secret.wav")
    tiny.items[0]["audio_path"], tiny.items[1]["audio_path"] = "../secret.wav", "audio/link.wav"
    tiny.write(audio=False)
    from evaluation.desk.addresses import lay_down

    found = lay_down(folder)
    assert "audio/codec/utt-01.wav" in found and not {"../secret.wav", "audio/link.wav"} & set(found)


def test_strangers_are_refused(desk: Desk):
    clip = speech(2.0)
    assert ask(desk, "GET", "/")[0] == ask(desk, "GET", f"/{desk.token[:-1]}/report.html")[0] == 403
    assert ask(desk, "POST", f"/{'x' * 43}/examine", clip)[0] == 403
    for host in ("evil.example", f"evil.example:{desk.port}", f"127.0.0.1:{desk.port + 1}", "127.0.0.1"):
        assert ask(desk, "GET", at(desk), Host=host)[0] == 421, host
    assert ask(desk, "GET", at(desk), Host=f"localhost:{desk.port}")[0] == 200
    assert ask(desk, "POST", at(desk, "examine"), clip, Origin="http://evil.example")[0] == 403
    assert ask(desk, "POST", at(desk, "examine"), clip, Origin="null")[0] == 403
    assert ask(desk, "PUT", at(desk, "examine"), clip)[0] == 501
    twice = f"GET {at(desk)} HTTP/1.1\r\nHost: 127.0.0.1:{desk.port}\r\nHost: evil.example\r\n\r\n"
    assert raw(desk, twice.encode()).startswith(b"HTTP/1.1 421")
    assert desk.server_address[0] == "127.0.0.1"


def test_sizes_are_limited(desk: Desk):
    status, body, _ = ask(desk, "POST", at(desk, "examine"), b"0" * 400_001)
    assert status == 413 and "at most 400,000" in json.loads(body)["error"]
    assert ask(desk, "POST", at(desk, "examine"), b"")[0] == 400
    line = f"POST {at(desk, 'examine')} HTTP/1.1\r\nHost: 127.0.0.1:{desk.port}\r\n"
    length, chunked = "Content-Length: {}\r\n".format, "Transfer-Encoding: chunked\r\n"
    for header in ("", length(-5), length("9e9"), length(4) + length(5), chunked):
        assert raw(desk, f"{line}{header}\r\nabcd".encode()).startswith(b"HTTP/1.1 411"), header
    assert raw(desk, f"{line}Content-Length: {10**14}\r\n\r\n".encode()).startswith(b"HTTP/1.1 413")
    answer = json.loads(ask(desk, "POST", at(desk, "examine"), speech(9.0))[1])
    assert answer["verdict"] == "no opinion" and "at most 8 s" in answer["reason"]


def test_slow_clients_are_cut_and_do_not_keep_others_out(desk: Desk):
    start = f"POST {at(desk, 'examine')} HTTP/1.1\r\nHost: 127.0.0.1:{desk.port}\r\nContent-Length: 5000\r\n\r\nab"
    began = time.monotonic()
    links = [socket.create_connection(("127.0.0.1", desk.port)) for _ in range(LIMITS.connections)]
    for link in links:
        link.sendall(start.encode())
    time.sleep(0.2)
    assert raw(desk, b"GET / HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 503")
    for link in links:
        link.settimeout(10)
        while link.recv(4096):
            pass
        link.close()
    assert 1.0 < time.monotonic() - began < 6.0
    assert ask(desk, "GET", at(desk))[0] == 200


def test_bytes_that_are_no_audio_give_no_opinion_and_no_path(desk: Desk):
    rng = random.Random(5)
    good = speech(1.5)
    for body in (b"<script>alert(1)</script>", rng.randbytes(3_000), good[:40], good[:44], b"RIFF" + rng.randbytes(99),
                 b"fLaC" + rng.randbytes(500), b"OggS" + bytes(300), b"ID3" + bytes(900)):  # fmt: skip
        status, answer, _ = ask(desk, "POST", at(desk, "examine"), body)
        line = json.loads(answer)
        assert status == 200 and (line["verdict"], line["llr"]) == ("no opinion", None) and line["reason"]
        assert desk.folder.name not in line["reason"]


def test_requests_of_any_shape_leave_the_desk_standing(desk: Desk):
    rng = random.Random(11)
    methods = ("GET", "POST", "HEAD", "OPTIONS", "G\x00T", "", "CONNECT")
    for number in range(120):
        target = at(desk, rng.choice(WORDS)) if number % 3 else rng.choice(WORDS)
        line = f"{rng.choice(methods)} {target} HTTP/{rng.choice(('1.1', '1.0', '2.0', '0.9', 'x'))}\r\n"
        heads = [f"Host: 127.0.0.1:{desk.port}"] if rng.random() < 0.7 else []
        heads += [f"{rng.choice(('X', 'Range', 'Content-Length', 'Origin'))}: {rng.choice(WORDS)}" for _ in range(2)]
        sent = (line + "\r\n".join(heads) + "\r\n\r\n").encode("utf-8", "replace") + rng.randbytes(rng.randrange(64))
        found = raw(desk, rng.randbytes(80) + b"\r\n\r\n" if number % 10 == 0 else sent)
        assert b"Traceback" not in found and b"root:" not in found and b"schema_version" not in found
    status, answer, _ = ask(desk, "POST", at(desk, "examine"), speech(3.0))
    assert status == 200 and json.loads(answer)["llr"] is not None


def test_a_detector_that_hangs_or_falls_is_replaced(tmp_path: Path):
    script = (
        "import json, sys, time\nprint(json.dumps({'ready': {'detector': 'd', 'threshold_llr': 0}}), flush=True)\n"
        "for line in sys.stdin:\n    asked = json.loads(line)\n"
        "    if asked['shown'] == 'hang': time.sleep(60)\n    if asked['shown'] == 'fall': sys.exit(3)\n"
        "    print(json.dumps({'path': asked['shown']}), flush=True)\n"
    )
    examiner = Examiner([sys.executable, "-c", script], examine_s=0.5, queue_s=1.0)
    examiner.start()
    try:
        for trouble in ("hang", "fall"):
            assert examiner.examine(tmp_path, "fine") == {"path": "fine"}
            with pytest.raises(TooSlow, match="no answer within 0.5 s"):
                examiner.examine(tmp_path, trouble)
        assert examiner.examine(tmp_path, "fine") == {"path": "fine"}
    finally:
        examiner.close()
    with pytest.raises(ValueError, match="ended before it was ready"):
        Examiner([sys.executable, "-c", "pass"], examine_s=1, queue_s=1).start()


def test_bad_calls_are_refused_in_one_sentence(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "run.json").write_text((run / "run.json").read_text())
    for arguments, words in (
        ([str(tmp_path)], "build the report first"), ([str(tmp_path / "none")], "run.json"),
        ([str(run), "--port", "70000"], "port is 70000"), ([str(run), "--max-mb", "0"], "clip_bytes is 0"),
        ([str(run), "--detector", "mel_cn"], "did you mean 'mel_cnn'"),
    ):  # fmt: skip
        assert main(["serve", *arguments, "--no-browser"]) == 2
        assert words in capsys.readouterr().err


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_an_analyst_chooses_and_drops_clips_in_a_browser(desk: Desk, tmp_path: Path):
    good, bad = tmp_path / "‮<b>good<b>.wav", tmp_path / "note.wav"
    good.write_bytes(speech(3.0))
    bad.write_bytes(b"no audio")
    wait = "while (document.querySelectorAll('#results li').length < {}) await new Promise((go) => setTimeout(go, 20));"
    with PipedBrowser() as page:
        page.open(desk.address)
        assert page.run("return document.querySelector('iframe').contentDocument.getElementById('here').textContent")
        page.choose_files("#file", [str(good)])
        first = page.run(wait.format(1) + " return document.querySelector('#results li').innerText;")
        drop = """
        const bytes = await (await fetch("audio/codec/utt-00.wav")).arrayBuffer();
        const carried = new DataTransfer();
        carried.items.add(new File([bytes], "dropped.wav"));
        document.dispatchEvent(new DragEvent("drop", { dataTransfer: carried, bubbles: true, cancelable: true }));
        """
        second = page.run(drop + wait.format(2) + " return document.querySelector('#results li').innerText;")
        page.choose_files("#file", [str(bad)])
        third = page.run(wait.format(3) + " return document.querySelector('#results li').innerText;")
        large = "document.dispatchEvent(new DragEvent('drop', { dataTransfer: (() => { const t = new DataTransfer();"
        large += " t.items.add(new File([new Uint8Array(500000)], 'large.wav')); return t; })() }));"
        fourth = page.run(large + wait.format(4) + " return document.querySelector('#results li').innerText;")
        assert not page.run("return document.querySelectorAll('#results b').length")
    assert "Log-likelihood ratio" in first and "<b>good<b>.wav" in first and "Called" in first
    assert "dropped.wav" in second and "clip" not in second.split("\n")[0]
    assert third.startswith("No opinion") and "not audio" in third
    assert fourth.startswith("Not examined") and "at most 400000" in fourth
