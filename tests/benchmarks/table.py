"""What every benchmark shares: rows, functions timed in turns in one process, a table or JSON."""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

__all__ = ["Row", "alternate", "compared", "finish", "parser", "peak_mib", "show"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One measured number. ``ratio``: ``value`` as the target counts it; ``met`` is None where there is no target."""

    name: str
    value: float
    unit: str
    against: str = ""
    ratio: float | None = None
    target: str = ""
    met: bool | None = None


def compared(
    name: str, value: float, unit: str, against: str, other: float, *, at_least: float = 0.0, at_most: float = 0.0
) -> Row:
    """A row whose ratio is ``value / other``, with the bound the issue sets on it."""
    ratio = value / other
    if at_least:
        return Row(
            name=name,
            value=value,
            unit=unit,
            against=against,
            ratio=ratio,
            target=f">= {at_least:g} x",
            met=ratio >= at_least,
        )
    if at_most:
        return Row(
            name=name,
            value=value,
            unit=unit,
            against=against,
            ratio=ratio,
            target=f"<= {at_most:g} x",
            met=ratio <= at_most,
        )
    return Row(name=name, value=value, unit=unit, against=against, ratio=ratio)


def alternate(functions: Mapping[str, Callable[[], object]], rounds: int, *, warm_up: int = 2) -> dict[str, float]:
    """Median seconds of each function; they take turns (A B A B), so that what else the machine does hits all alike."""
    for function in functions.values():
        for _ in range(warm_up):
            function()
    times: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(rounds):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def peak_mib() -> float:
    """Most memory this program has held so far. Not ``ru_maxrss``, which starts at what the parent process held."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise OSError("/proc/self/status has no VmHWM; peak memory is read from Linux only")


def parser(description: str | None) -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--json", action="store_true", help="print the rows as JSON")
    return made


def finish(rows: Sequence[Row], as_json: bool) -> int:
    """Print the rows; the exit status is 0 whatever the targets say, since a busy machine is no error."""
    if as_json:
        print(json.dumps([asdict(row) for row in rows]))
        return 0
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}")
    show(rows)
    return 0


def show(rows: Sequence[Row]) -> None:
    """One line per row."""
    for row in rows:
        ratio = "" if row.ratio is None else f"{row.ratio:.2f} x {row.against}"
        verdict = {None: "", True: "met", False: "NOT met"}[row.met]
        print(f"{row.name:<58} {row.value:>9.3f} {row.unit:<9} {ratio:<40} {row.target:<10} {verdict}", flush=True)
