"""Where a training tells what it does: CSV always, TensorBoard where installed, a progress bar on a terminal, curves.

``log.csv`` is in long form (step, elapsed_s, name, value). Held-out measures carry the prefix ``valid_``.
"""

from __future__ import annotations

import csv
import logging
import math
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["LossLog", "Progress", "draw_curves", "read_log"]

logger = logging.getLogger(__name__)

COLUMNS = ("step", "elapsed_s", "name", "value")
CURVES = "curves.png"
SUMMARY = "curves.csv"


class LossLog:
    """``log.csv`` and TensorBoard events of one part; rows after the step that is resumed from are cut."""

    def __init__(self, folder: Path, *, keep_before: int) -> None:
        self.path = folder / "log.csv"
        rows = [row for row in read_log(self.path) if row[0] <= keep_before]
        temporary = self.path.with_name(f".{self.path.name}.tmp")
        with temporary.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream)
            writer.writerow(COLUMNS)
            writer.writerows([step, f"{elapsed_s:.1f}", name, repr(value)] for step, elapsed_s, name, value in rows)
        os.replace(temporary, self.path)
        self._board = _tensorboard(folder / "tensorboard", keep_before)

    def write(self, step: int, elapsed_s: float, values: Mapping[str, float]) -> None:
        with self.path.open("a", newline="", encoding="utf-8") as stream:
            csv.writer(stream).writerows([step, f"{elapsed_s:.1f}", key, repr(value)] for key, value in values.items())
        for name, value in values.items():
            if self._board is not None:
                self._board.add_scalar(name, value, step)
        logger.info("step %d %.0f s %s", step, elapsed_s, " ".join(f"{k} {v:.4f}" for k, v in values.items()))

    def close(self) -> None:
        """Finish the event file and draw the curves."""
        if self._board is not None:
            self._board.close()
        draw_curves(self.path.parent)


class Progress:
    """A bar with rate and time left on a terminal; nothing elsewhere, where the log lines are enough."""

    def __init__(self, name: str, total: int, done: int) -> None:
        self._bar: Any = None
        if not sys.stderr.isatty():
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
        )
        self._bar = Progress(*columns, console=Console(stderr=True))
        self._task = self._bar.add_task(name, total=total, completed=done, rate="")
        self._bar.start()

    def advance(self, steps_per_s: float) -> None:
        """One step further."""
        if self._bar is not None:
            self._bar.update(self._task, advance=1, rate=f"{steps_per_s:.2f} steps/s")

    def close(self) -> None:
        if self._bar is not None:
            self._bar.stop()


def read_log(path: Path) -> list[tuple[int, float, str, float]]:
    """Rows (step, elapsed_s, name, value) of a log; a last line that a kill cut short is left out."""
    if not path.exists():
        return []
    rows = []
    with path.open(newline="", encoding="utf-8") as stream:
        for row in csv.reader(stream):
            if len(row) != len(COLUMNS) or not row[0].isdigit():
                continue
            try:
                rows.append((int(row[0]), float(row[1]), row[2], float(row[3])))
            except ValueError:
                continue
    return rows


def draw_curves(folder: Path) -> None:
    """``curves.csv`` (one row per step, one column per name) and, where matplotlib is installed, ``curves.png``."""
    rows = read_log(folder / "log.csv")
    names = list(dict.fromkeys(row[2] for row in rows))
    table: dict[int, dict[str, float]] = {}
    for step, _, name, value in rows:
        table.setdefault(step, {})[name] = value
    with (folder / SUMMARY).open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["step", *names])
        writer.writerows([step, *(repr(found.get(name, "")) for name in names)] for step, found in table.items())
    try:
        from matplotlib.figure import Figure  # pyright: ignore[reportMissingImports]
    except ImportError:
        logger.info("%s: no %s, since matplotlib is not installed (extra 'train')", folder, CURVES)
        return
    shown = [name for name in names if not name.startswith("valid_")]
    shown += [name for name in names if name.startswith("valid_") and name.removeprefix("valid_") not in shown]
    if not shown:
        return
    columns = min(4, len(shown))
    lines = math.ceil(len(shown) / columns)
    figure = Figure(figsize=(3.4 * columns, 2.4 * lines), layout="constrained")
    for index, name in enumerate(shown):
        axes = figure.add_subplot(lines, columns, index + 1)
        axes.set_title(name, fontsize=9)
        for key in (name, f"valid_{name}"):
            style = "o-" if key.startswith("valid_") else "-"
            points = [(step, found[key]) for step, found in table.items() if key in found]
            if points:
                axes.plot(*zip(*points, strict=True), style, linewidth=1, markersize=3, label=key)
        axes.tick_params(labelsize=7)
        axes.legend(fontsize=6)
    figure.savefig(folder / CURVES, dpi=110, metadata={"Software": None})


def _tensorboard(folder: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder), purge_step=step + 1 if step else None)
