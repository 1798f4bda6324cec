"""A child process that answers one line per line: what it answered until it fell, hung or was done."""

from __future__ import annotations

import queue
import subprocess
import threading
import time
from collections.abc import Sequence

import psutil

__all__ = ["run_watched"]

START_S = 120.0
IDLE_FACTOR = 30


def run_watched(process: subprocess.Popen[str], questions: Sequence[str], limit_s: float) -> list[str]:
    """Ask one after another; a question that takes longer than ``limit_s`` ends the process (return code -9).

    The limit counts the child's own processor time, so that a busy machine makes nobody look hung; one that does
    nothing at all is given ``IDLE_FACTOR`` times as long by the clock.
    """
    answers: queue.SimpleQueue[str] = queue.SimpleQueue()
    stream = process.stdout
    if stream is None or process.stdin is None:
        raise ValueError("give a process with pipes for its input and output")

    def pump() -> None:
        for line in stream:
            answers.put(line)
        answers.put("")

    threading.Thread(target=pump, daemon=True).start()
    found: list[str] = []
    child = psutil.Process(process.pid)
    if _next(answers, child, START_S) != "ready\n":
        process.kill()
        process.wait()
        raise RuntimeError("the watched process did not start")
    for question in questions:
        try:
            process.stdin.write(question + "\n")
            process.stdin.flush()
        except OSError:
            break
        answer = _next(answers, child, limit_s)
        if not answer:
            break
        found.append(answer)
    if len(found) < len(questions) and process.poll() is None:
        try:
            process.wait(1.0)
        except subprocess.TimeoutExpired:
            process.kill()
    process.stdin.close()
    process.wait()
    return found


def _next(answers: queue.SimpleQueue[str], child: psutil.Process, patience_s: float) -> str:
    begun_cpu, begun = _cpu_s(child), time.monotonic()
    while _cpu_s(child) - begun_cpu < patience_s and time.monotonic() - begun < IDLE_FACTOR * patience_s:
        try:
            return answers.get(timeout=1.0)
        except queue.Empty:
            continue
    return ""


def _cpu_s(child: psutil.Process) -> float:
    try:
        times = child.cpu_times()
    except psutil.Error:
        return 0.0
    return times.user + times.system
