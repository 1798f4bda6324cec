"""Headless Chromium driven over its debugging pipe (two file descriptors, JSON, a zero byte): no port, no library."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from types import TracebackType
from typing import Any

from report_browser import CHROMIUM, FLAGS

LAUNCH = (
    "import fcntl, os, sys; ends = [fcntl.fcntl(int(name), fcntl.F_DUPFD, 50) for name in sys.argv[1:3]];"
    " [os.dup2(end, place) for place, end in zip((3, 4), ends)]; os.execv(sys.argv[3], sys.argv[3:])"
)
"""With ``--remote-debugging-pipe`` Chromium reads commands from descriptor 3 and writes answers to 4."""

READY = "document.readyState === 'complete' && location.href !== 'about:blank'"


class PipedBrowser:
    """One page of a fresh browser; use it as a context manager."""

    def __init__(self, *, width: int = 1280, height: int = 900, patience_s: float = 60.0) -> None:
        if CHROMIUM is None:
            raise RuntimeError("no Chromium on this machine")
        self.patience_s, self._sent, self._rest = patience_s, 0, b""
        self._profile = tempfile.mkdtemp()
        to_browser, from_us = os.pipe()
        from_browser, to_us = os.pipe()
        command = [
            CHROMIUM, *FLAGS, "--remote-debugging-pipe", f"--window-size={width},{height}",
            f"--user-data-dir={self._profile}", "about:blank",
        ]  # fmt: skip
        self._process = subprocess.Popen(
            [sys.executable, "-c", LAUNCH, str(to_browser), str(to_us), *command], pass_fds=(to_browser, to_us),
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        os.close(to_browser)
        os.close(to_us)
        self._write, self._read, self._session = from_us, from_browser, ""
        targets = self.call("Target.getTargets")["targetInfos"]
        page = next(one["targetId"] for one in targets if one["type"] == "page")
        self._session = self.call("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
        self.call("Page.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The result of one command."""
        self._sent += 1
        message: dict[str, Any] = {"id": self._sent, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        until = time.monotonic() + self.patience_s
        while True:
            answer = self._message(until - time.monotonic())
            if answer.get("id") == self._sent:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                return answer["result"]

    def open(self, address: str) -> float:
        """Go to an address; returns the seconds until the page's load event."""
        started = time.perf_counter()
        self.call("Page.navigate", url=address)
        while time.perf_counter() - started < self.patience_s:
            found = self.call("Runtime.evaluate", expression=READY, returnByValue=True)["result"]
            if found.get("value") is True:
                return time.perf_counter() - started
            time.sleep(0.01)
        raise RuntimeError(f"{address}: did not load within {self.patience_s} s")

    def run(self, script: str) -> Any:
        """What the body of an async function returns in the page."""
        wrapped = f"(async () => {{ {script} }})()"
        found = self.call("Runtime.evaluate", expression=wrapped, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in found:
            raise RuntimeError(str(found["exceptionDetails"].get("exception", {}).get("description")))
        return found["result"].get("value")

    def choose_files(self, selector: str, paths: list[str]) -> None:
        """Files into an input, as a user chooses them."""
        node = self.call("Runtime.evaluate", expression=f"document.querySelector({json.dumps(selector)})")
        self.call("DOM.setFileInputFiles", files=paths, objectId=node["result"]["objectId"])

    def _message(self, patience_s: float) -> dict[str, Any]:
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._read], [], [], max(patience_s, 0.0))
            chunk = os.read(self._read, 1 << 20) if ready else b""
            if not chunk:
                raise RuntimeError("the browser did not answer in time" if not ready else "the browser ended")
            self._rest += chunk
        line, _, self._rest = self._rest.partition(b"\0")
        return json.loads(line)

    def __enter__(self) -> PipedBrowser:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._write)
        os.close(self._read)
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self._process.wait()
        shutil.rmtree(self._profile, ignore_errors=True)
