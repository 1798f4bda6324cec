"""What the system description says that training cost: energy where it was counted, time where only that was kept."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from reports.context import Context

__all__ = ["TrainingCost", "cores_of", "training_costs"]

SOURCE_KEYS = ("sources", "energy_sources")
CORES = re.compile(r"(\d+)\s+(?:CPU\s+)?cores", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingCost:
    """One trained part. ``energy_wh`` is None where nothing was counted; ``source`` says how it was had and ``silent``
    names parts inside that recorded no energy."""

    part: str
    wall_s: float | None
    energy_wh: float | None
    source: str
    hardware: str
    silent: str = ""

    @property
    def measured(self) -> bool:
        return self.energy_wh is not None and "measured" in self.source and "estimate" not in self.source


def training_costs(context: Context) -> list[TrainingCost]:
    """Every training record under ``system`` in ``run.json``, sessions that a part was started from included."""
    system = context.run.info.get("system")
    return list(_records(system, "")) if isinstance(system, Mapping) else []


def _records(node: Any, path: str) -> Iterator[TrainingCost]:
    if not isinstance(node, Mapping):
        return
    found = _record(node, path)
    if found is not None:
        yield found
    for key, child in node.items():
        if key != "energy":
            yield from _records(child, f"{path}.{key}" if path else str(key))


def _record(node: Mapping[str, Any], path: str) -> TrainingCost | None:
    """A mapping that holds counted energy, or the wall time of training steps."""
    energy = node.get("energy") if isinstance(node.get("energy"), Mapping) else node
    value = energy.get("energy_wh") if isinstance(energy, Mapping) else None
    wall = _number(node.get("wall_s"))
    about_training = "steps" in node or path.rpartition(".")[2] == "training"
    if not isinstance(value, (int, float)) and not (wall and about_training):
        return None
    energy = energy if isinstance(energy, Mapping) else {}
    sources = next((energy[key] for key in SOURCE_KEYS if energy.get(key)), None)
    sources = sources or [energy.get("cpu_energy_source"), energy.get("gpu_energy_source")]
    listed = [str(one) for one in sources if one] if isinstance(sources, list) else [str(sources)]
    return TrainingCost(
        part=_part(path),
        wall_s=wall,
        energy_wh=_number(value),
        source="; ".join(listed) or ("not said" if value is not None else "only the time was recorded"),
        hardware=_listed(node.get("hardware")),
        silent=_listed(node.get("parts_without_energy_record")),
    )


def _listed(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value or "")


def _part(path: str) -> str:
    kept = [word for word in path.split(".") if word not in ("description", "parts", "record", "training")]
    return " ".join(kept).replace("_", " ") or "all parts"


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def cores_of(cost: TrainingCost) -> int | None:
    """Processor cores that the record names; None where it names none."""
    found = CORES.search(cost.hardware)
    return int(found.group(1)) if found else None
