"""One loop for every part: step, log, validate, save, resume.

A task draws the batch of step ``n`` from ``(seed, n)`` alone, so resuming at ``n`` continues the exact loss curve
with no sampler state to keep. Weights and optimiser state are stored as safetensors, the log as CSV.
"""

from __future__ import annotations

import csv
import json
import logging
import os
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

__all__ = ["LoopConfig", "TrainingTask", "train"]

logger = logging.getLogger(__name__)


class TrainingTask(Protocol):
    """What the loop trains."""

    name: str

    def training_step(self, step: int) -> dict[str, float]:
        """Draw the batch of ``step``, update the weights, return the losses."""
        ...

    def validate(self) -> dict[str, float]:
        """Measures on held-out recordings; deterministic."""
        ...

    def state_dict(self) -> Mapping[str, Any]: ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...

    def export(self, folder: Path, record: dict[str, Any]) -> None:
        """Write the trained part for inference, with its training record."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopConfig:
    """``steps``: where to stop; ``minutes``: stop earlier when this much wall time is used; intervals in steps."""

    steps: int
    minutes: float | None = None
    log_every: int = 20
    validate_every: int = 500
    save_every: int = 500


def train(task: TrainingTask, folder: str | Path, config: LoopConfig, *, resume: bool = False) -> dict[str, Any]:
    """Train ``task`` in ``folder``: ``log.csv``, ``state/`` for resuming, ``export/`` for use. Returns the record.

    SIGTERM ends the run after the step in flight, saved.

    Raises:
        ValueError: the folder already holds a run and ``resume`` is off.
    """
    folder = Path(folder)
    state_path = folder / "state" / "state.json"
    if state_path.exists() and not resume:
        raise ValueError(f"{folder}: already holds a training run; add --resume to continue it or name a new folder")
    folder.mkdir(parents=True, exist_ok=True)
    step, spent_s = _restore(task, folder) if state_path.exists() else (0, 0.0)
    stop = _StopFlag()
    log = _Log(folder / "log.csv", keep_before=step)
    started = time.monotonic()
    validated_at = -1
    validation: dict[str, float] = {}
    while step < config.steps and not stop.requested:
        losses = task.training_step(step)
        step += 1
        elapsed_s = spent_s + time.monotonic() - started
        out_of_time = config.minutes is not None and time.monotonic() - started > config.minutes * 60
        last = step == config.steps or out_of_time or stop.requested
        if step % config.log_every == 0 or last:
            log.write(step, elapsed_s, losses)
        if step % config.validate_every == 0 or last:
            validation, validated_at = task.validate(), step
            log.write(step, elapsed_s, {f"valid_{key}": value for key, value in validation.items()})
        if step % config.save_every == 0 or last:
            _save(task, folder, step, elapsed_s)
        if last:
            break
    stop.restore()
    record = {
        "steps": step,
        "wall_s": round(spent_s + time.monotonic() - started, 1),
        "hardware": f"{os.cpu_count()} CPU cores, {torch.get_num_threads()} threads",
        "validation": validation if validated_at == step else task.validate(),
    }
    task.export(folder / "export", record)
    return record


class _StopFlag:
    """Set by SIGTERM, so that a run ends between two steps."""

    def __init__(self) -> None:
        self.requested = False
        self._previous = signal.signal(signal.SIGTERM, self._request)

    def restore(self) -> None:
        signal.signal(signal.SIGTERM, self._previous)

    def _request(self, _number: int, _frame: object) -> None:
        self.requested = True


class _Log:
    """``log.csv`` in long form (step, elapsed_s, name, value); rows after the resumed step are cut."""

    def __init__(self, path: Path, *, keep_before: int) -> None:
        self.path = path
        rows: list[list[str]] = []
        if path.exists():
            with path.open(newline="", encoding="utf-8") as stream:
                rows = [row for row in csv.reader(stream) if row and row[0].isdigit() and int(row[0]) <= keep_before]
        with path.open("w", newline="", encoding="utf-8") as stream:
            csv.writer(stream).writerows([["step", "elapsed_s", "name", "value"], *rows])

    def write(self, step: int, elapsed_s: float, values: Mapping[str, float]) -> None:
        with self.path.open("a", newline="", encoding="utf-8") as stream:
            csv.writer(stream).writerows([step, f"{elapsed_s:.1f}", key, repr(value)] for key, value in values.items())
        logger.info("step %d %.0f s %s", step, elapsed_s, " ".join(f"{k} {v:.4f}" for k, v in values.items()))


def _save(task: TrainingTask, folder: Path, step: int, elapsed_s: float) -> None:
    tensors: dict[str, Tensor] = {}
    skeleton = _flatten(task.state_dict(), "", tensors)
    target = folder / "state"
    target.mkdir(exist_ok=True)
    name = f"tensors-{step}.safetensors"
    save_file(tensors, target / f".{name}")
    os.replace(target / f".{name}", target / name)
    document = {"step": step, "elapsed_s": elapsed_s, "tensors": name, "tree": skeleton}
    temporary = target / ".state.json"
    temporary.write_text(json.dumps(document), encoding="utf-8")
    os.replace(temporary, target / "state.json")
    for old in target.glob("tensors-*.safetensors"):
        if old.name != name:
            old.unlink()


def _restore(task: TrainingTask, folder: Path) -> tuple[int, float]:
    document = json.loads((folder / "state" / "state.json").read_text(encoding="utf-8"))
    tensors = load_file(folder / "state" / document["tensors"])
    task.load_state_dict(_unflatten(document["tree"], tensors))
    return int(document["step"]), float(document["elapsed_s"])


def _flatten(node: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    """Replace every tensor of a nested state by a reference; dictionaries become key-value lists (keys may be int)."""
    if isinstance(node, Tensor):
        tensors[path] = node.detach().clone().contiguous()
        return {"tensor": path}
    if isinstance(node, Mapping):
        return {"map": [[key, _flatten(value, f"{path}/{key}", tensors)] for key, value in node.items()]}
    if isinstance(node, (list, tuple)):
        return {"list": [_flatten(value, f"{path}/{index}", tensors) for index, value in enumerate(node)]}
    return {"value": node}


def _unflatten(node: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Any:
    if "tensor" in node:
        return tensors[node["tensor"]]
    if "map" in node:
        return {key: _unflatten(value, tensors) for key, value in node["map"]}
    if "list" in node:
        return [_unflatten(value, tensors) for value in node["list"]]
    return node["value"]
