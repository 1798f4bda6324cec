"""Clips judged in a process of their own, with a time limit; a process that overruns or falls is replaced."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["Busy", "Examiner", "TooSlow"]

START_S = 180.0
"""For the detector to be loaded."""


class Busy(Exception):
    """Another clip is still being judged."""


class TooSlow(Exception):
    """The time limit was reached, or the process fell; its successor is being started."""


class Examiner:
    """``examine`` may be called from several threads; clips are judged one after another."""

    def __init__(self, command: Sequence[str], *, examine_s: float, queue_s: float) -> None:
        self._command, self._examine_s, self._queue_s = list(command), examine_s, queue_s
        self._turn = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._answers: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.facts: Mapping[str, Any] = {}

    @classmethod
    def of_detector(cls, name: str, device: str, *, longest_s: float, examine_s: float, queue_s: float) -> Examiner:
        """The shipped way to judge: the worker of this package with a named detector."""
        command = [sys.executable, "-m", "evaluation.desk.worker", name, device, f"{longest_s:g}"]
        return cls(command, examine_s=examine_s, queue_s=queue_s)

    def start(self) -> Mapping[str, Any]:
        """Start the process and wait for its detector; returns name and threshold.

        Raises:
            ValueError: the detector cannot be loaded.
        """
        answers: queue.SimpleQueue[str] = queue.SimpleQueue()
        process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
        )
        threading.Thread(target=_pump, args=(process, answers), daemon=True).start()
        self._process, self._answers = process, answers
        line = self._answer(START_S)
        content: dict[str, Any] = (
            json.loads(line) if line else {"error": "the detector's process ended before it was ready"}
        )
        if "ready" not in content:
            self.close()
            raise ValueError(str(content.get("error", "the detector cannot be loaded")))
        facts = content["ready"]
        self.facts = facts
        return facts

    def examine(self, path: Path, shown: str) -> dict[str, Any]:
        """The verdict on a file; the answer's ``path`` is ``shown``.

        Raises:
            Busy: another clip took longer than this one may wait.
            TooSlow: judging took longer than it may, or the process fell.
        """
        if not self._turn.acquire(timeout=self._queue_s):
            raise Busy("another clip is being examined; try again in a moment")
        try:
            process = self._process
            if process is None or process.poll() is not None:
                self.start()
                process = self._process
            line = self._ask(process, {"path": str(path), "shown": shown})
            if not line:
                self._restart()
                raise TooSlow(f"the detector gave no answer within {self._examine_s:g} s, so this clip was given up")
            return json.loads(line)
        finally:
            self._turn.release()

    def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        if process.stdin is not None:
            process.stdin.close()

    def _restart(self) -> None:
        self.close()
        self.start()

    def _ask(self, process: subprocess.Popen[str] | None, question: Mapping[str, str]) -> str:
        if process is None or process.stdin is None:
            return ""
        try:
            process.stdin.write(json.dumps(question) + "\n")
            process.stdin.flush()
        except OSError:
            return ""
        return self._answer(self._examine_s)

    def _answer(self, patience_s: float) -> str:
        """The next line of the process; empty where none comes in time or it ended."""
        try:
            return self._answers.get(timeout=patience_s)
        except queue.Empty:
            return ""


def _pump(process: subprocess.Popen[str], answers: queue.SimpleQueue[str]) -> None:
    """Lines of the process into the queue, an empty one at its end."""
    stream = process.stdout
    if stream is not None:
        with stream:
            for line in stream:
                answers.put(line)
    answers.put("")
