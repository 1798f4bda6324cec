"""One loop for every part: step, log, validate, save, resume; on one device or in several processes.

A task draws the batch of step ``n`` from ``(seed, n)`` alone, so resuming at ``n`` continues the exact loss curve
with no sampler state to keep. Weights and optimiser state are stored as safetensors, the log as CSV. A run killed at
any moment goes on from its last saved state: the log is cut there and continues with the same values.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from safetensors.torch import load_file, save_file
from torch import Tensor

from audiolm.energy import EnergyMeter, machine_facts
from audiolm.runtime import Runtime
from audiolm.sharded import whole
from audiolm.training_log import LossLog, Progress
from audiolm.whole_files import whole_file, write_whole

__all__ = ["LoopConfig", "TrainingTask", "train"]

logger = logging.getLogger(__name__)

COUNTED = ("wall_s", "cpu_core_s", "cpu_energy_wh", "gpu_energy_wh", "energy_wh")


class TrainingTask(Protocol):
    """What the loop trains."""

    name: str

    def training_step(self, step: int) -> dict[str, float]:
        """Draw the batch of ``step``, update the weights, return the losses."""
        ...

    def validate(self) -> dict[str, float]:
        """Measures on held-out recordings; deterministic. The first one, lower is better, tells the best step."""
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


@dataclass(slots=True)
class _State:
    """What the loop itself keeps between steps and stores beside the task's state."""

    step: int = 0
    spent: dict[str, float] = field(default_factory=dict)
    sources: list[str] = field(default_factory=list)
    best: dict[str, Any] | None = None
    validation: dict[str, float] = field(default_factory=dict)
    validated_at: int = -1

    def note(self, validation: dict[str, float]) -> None:
        """Keep a validation and whether it is the best so far."""
        self.validation, self.validated_at = validation, self.step
        if validation:
            name, value = next(iter(validation.items()))
            if self.best is None or value < self.best["value"]:
                self.best = {"step": self.step, "measure": name, "value": value}


def train(
    task: TrainingTask,
    folder: str | Path,
    config: LoopConfig,
    *,
    resume: bool = False,
    runtime: Runtime | None = None,
) -> dict[str, Any]:
    """Train ``task`` in ``folder``: ``log.csv``, ``state/`` for resuming, ``export/`` for use. Returns the record.

    SIGTERM ends the run after the step in flight, saved. ``runtime``: the one the task was made with.

    Raises:
        ValueError: the folder already holds a run and ``resume`` is off.
    """
    folder, runtime = Path(folder), runtime or Runtime()
    state_path = folder / "state" / "state.json"
    if state_path.exists() and not resume:
        raise ValueError(f"{folder}: already holds a training run; add --resume to continue it or name a new folder")
    folder.mkdir(parents=True, exist_ok=True)
    state = _restore(task, folder) if state_path.exists() else _State()
    meter = EnergyMeter(runtime.device)
    stopped = _loop(task, folder, config, runtime, state, meter)
    validation = state.validation if state.validated_at == state.step else _validated(task, runtime)
    record = _record(state, validation, runtime, meter) | {"finished": not stopped}
    task.export(folder / "export", record)
    if runtime.is_main:
        write_whole(folder / "training.json", json.dumps(record, indent=2) + "\n")
    runtime.barrier()
    return record


def _loop(
    task: TrainingTask, folder: Path, config: LoopConfig, runtime: Runtime, state: _State, meter: EnergyMeter
) -> bool:
    """Steps until the end, the time limit or SIGTERM; gives whether it was SIGTERM."""
    log = LossLog(folder, keep_before=state.step) if runtime.is_main else None
    progress = Progress(task.name, config.steps, state.step) if runtime.is_main else None
    spent_s = state.spent.get("wall_s", 0.0)
    first, started = state.step, time.monotonic()
    with _StopFlag() as stop:
        while state.step < config.steps:
            losses = task.training_step(state.step)
            state.step += 1
            passed_s = time.monotonic() - started
            late = config.minutes is not None and passed_s > config.minutes * 60
            done, stopped = state.step == config.steps, runtime.any(late or stop.requested)
            due = state.step % config.validate_every == 0 or done
            if log and (state.step % config.log_every == 0 or done):
                log.write(state.step, spent_s + passed_s, losses)
            if due:
                state.note(_validated(task, runtime))
                if log:
                    log.write(state.step, spent_s + passed_s, {f"valid_{k}": v for k, v in state.validation.items()})
            if state.step % config.save_every == 0 or done or stopped:
                _save(task, folder, state, runtime, meter)
            if progress:
                progress.advance((state.step - first) / passed_s)
            if stopped:
                break
    for reporter in (progress, log):
        if reporter:
            reporter.close()
    return runtime.any(stop.requested)


def _validated(task: TrainingTask, runtime: Runtime) -> dict[str, float]:
    """Held-out measures; by the first process alone, except where each holds only a shard of the weights."""
    return task.validate() if runtime.is_main or runtime.is_sharded else {}


def _record(state: _State, validation: dict[str, float], runtime: Runtime, meter: EnergyMeter) -> dict[str, Any]:
    """What the exported part says about its making; energy as the audit's environmental chapter reads it."""
    spent, sources = _spent(state, runtime, meter)
    return {
        "steps": state.step,
        "wall_s": round(spent["wall_s"], 1),
        "energy": {name: round(value, 4) for name, value in spent.items() if name != "wall_s"} | {"sources": sources},
        "validation": validation,
        "best": state.best,
        "runtime": runtime.describe(),
        **machine_facts(runtime.device),
    }


def _spent(state: _State, runtime: Runtime, meter: EnergyMeter) -> tuple[dict[str, float], list[str]]:
    """Time and energy of all sessions so far, this one's over all processes (its wall time once)."""
    now = meter.reading()
    counted = {name: float(now[name]) for name in COUNTED}
    if now["cpu_energy_source"].startswith("measured") and os.environ.get("LOCAL_RANK", "0") != "0":
        counted["energy_wh"] -= counted["cpu_energy_wh"]  # the first process of a machine counts the whole processor
        counted["cpu_energy_wh"] = 0.0
    counted = runtime.totals(counted) | {"wall_s": counted["wall_s"]}
    sources = list(dict.fromkeys([*state.sources, now["cpu_energy_source"], now["gpu_energy_source"]]))
    return {name: state.spent.get(name, 0.0) + counted[name] for name in COUNTED}, sources


class _StopFlag:
    """Set by SIGTERM while its block runs, so that a run ends between two steps."""

    def __init__(self) -> None:
        self.requested = False

    def __enter__(self) -> _StopFlag:
        self._previous = signal.signal(signal.SIGTERM, self._request)
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGTERM, self._previous)

    def _request(self, _number: int, _frame: object) -> None:
        self.requested = True


def _save(task: TrainingTask, folder: Path, state: _State, runtime: Runtime, meter: EnergyMeter) -> None:
    """The new state is complete before the old one goes: a kill leaves one of them whole."""
    tensors: dict[str, Tensor] = {}
    skeleton = _flatten(task.state_dict(), "", tensors, keep=runtime.is_main)
    spent, sources = _spent(state, runtime, meter)
    if not runtime.is_main:
        return
    target = folder / "state"
    target.mkdir(exist_ok=True)
    name = f"tensors-{state.step}.safetensors"
    with whole_file(target / name) as temporary:
        save_file(tensors, temporary)
    loop = {"step": state.step, "spent": spent, "sources": sources, "best": state.best}
    document = {"loop": loop, "tensors": name, "tree": skeleton}
    write_whole(target / "state.json", json.dumps(document))
    for old in [*target.glob("tensors-*.safetensors"), *target.glob(".tensors-*.tmp")]:
        if old.name != name:
            old.unlink()


def _restore(task: TrainingTask, folder: Path) -> _State:
    document = json.loads((folder / "state" / "state.json").read_text(encoding="utf-8"))
    tensors = load_file(folder / "state" / document["tensors"])
    task.load_state_dict(_unflatten(document["tree"], tensors))
    if "loop" not in document:  # as version 0.1 saved it
        return _State(step=int(document["step"]), spent={"wall_s": float(document["elapsed_s"])})
    return _State(**document["loop"])


def _flatten(node: Any, path: str, tensors: dict[str, Tensor], *, keep: bool) -> Any:
    """Replace every tensor of a nested state by a reference; dictionaries become key-value lists (keys may be int).

    ``keep`` off: only help the others to put their tensors together (shards are asked for by all), and hold none.
    """
    if isinstance(node, Tensor):
        complete = whole(node.detach())
        if keep:
            tensors[path] = complete.cpu().clone().contiguous()
        return {"tensor": path}
    if isinstance(node, Mapping):
        return {"map": [[key, _flatten(value, f"{path}/{key}", tensors, keep=keep)] for key, value in node.items()]}
    if isinstance(node, (list, tuple)):
        return {"list": [_flatten(value, f"{path}/{index}", tensors, keep=keep) for index, value in enumerate(node)]}
    return {"value": node}


def _unflatten(node: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Any:
    if "tensor" in node:
        return tensors[node["tensor"]]
    if "map" in node:
        return {key: _unflatten(value, tensors) for key, value in node["map"]}
    if "list" in node:
        return [_unflatten(value, tensors) for value in node["list"]]
    return node["value"]
