"""Wall time to energy, carbon and money: measured time, stated power and price."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from reports.context import Context
from reports.estimates import Estimate, ratio
from reports.frames import columns, rows_where

__all__ = ["Machine", "machine_of", "real_time_factor", "time_frame", "training_record"]

CPU_KEYS = ("logical_cpus", "cpu_count", "cpus", "n_cpus", "cores", "threads")
GPU_KEYS = ("gpus", "gpu_count", "n_gpus")


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What the run was charged with: ``cpus`` and ``gpus`` in use, power in W with overhead, price in USD per hour.

    ``basis`` says in one sentence how the power was had.
    """

    cpus: int
    gpus: int
    watts: float
    usd_per_hour: float
    basis: str


def machine_of(context: Context) -> Machine | None:
    """The machine of ``run.json`` under the policy's assumptions; None where it states no processor count."""
    info = context.run.info.get("machine")
    if not isinstance(info, Mapping):
        return None
    cpus, gpus = _count(info, CPU_KEYS), _count(info, GPU_KEYS)
    if cpus < 1:
        return None
    value = {name: assumption.value for name, assumption in context.policy.assumptions.items()}
    watts = (cpus * value["watts_per_cpu"] + gpus * value["watts_per_gpu"]) * value["power_overhead"]
    parts = [f"{cpus} logical CPUs at {value['watts_per_cpu']:g} W"]
    parts += [f"{gpus} GPUs at {value['watts_per_gpu']:g} W"] if gpus else []
    return Machine(
        cpus=cpus,
        gpus=gpus,
        watts=watts,
        usd_per_hour=cpus * value["usd_per_cpu_hour"] + gpus * value["usd_per_gpu_hour"],
        basis=f"Assumed, not measured: {' and '.join(parts)}, times {value['power_overhead']:g} for cooling.",
    )


def _count(info: Mapping[str, Any], keys: tuple[str, ...]) -> int:
    for key in keys:
        value = info.get(key)
        if isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0:
            return int(value)
        if isinstance(value, (list, tuple)):
            return len(value)
    return 0


def time_frame(context: Context, role: str) -> pd.DataFrame:
    """Items of a role with numerator wall time and denominator duration, both in seconds."""
    items = context.rows_of(context.run.generations, role)
    items = rows_where(items, (items["status"] == "ok") & (items["wall_s"] > 0) & (items["duration_s"] > 0))
    names = {"wall_s": "numerator", "duration_s": "denominator"}
    return (
        columns(items, ["item_id", "utterance_id", "speaker_id", *names]).rename(columns=names).reset_index(drop=True)
    )


def real_time_factor(context: Context, role: str) -> Estimate | None:
    """Seconds of computing per second of audio for a role; None where no time was recorded."""
    frame = time_frame(context, role)
    return ratio(frame) if len(frame) else None


def training_record(context: Context) -> dict[str, str]:
    """What the system description says about its training, flattened; empty where it says nothing."""
    system = context.run.info.get("system")
    found: dict[str, str] = {}
    _training(system if isinstance(system, Mapping) else {}, "", False, found)
    return found


def _training(node: Any, path: str, inside: bool, found: dict[str, str]) -> None:
    if isinstance(node, Mapping):
        for key, child in node.items():
            name = f"{path}.{key}" if path else str(key)
            _training(child, name, inside or "train" in str(key).lower(), found)
    elif inside and node not in (None, "", []):
        found[path] = ", ".join(map(str, node)) if isinstance(node, list) else str(node)
