"""What a part that was trained on a lent machine says about its making."""

from __future__ import annotations

from typing import Any

from audiolm.energy import EnergyMeter, machine_facts


def record_of(meter: EnergyMeter, steps: int, best: dict[str, Any], training: dict[str, Any]) -> dict[str, Any]:
    """The fields that the trainer's own records have."""
    spent = meter.reading()
    counted = {name: spent[name] for name in ("cpu_core_s", "cpu_energy_wh", "gpu_energy_wh", "energy_wh")}
    return {
        "steps": steps,
        "wall_s": spent["wall_s"],
        "energy": counted | {"sources": [spent["cpu_energy_source"], spent["gpu_energy_source"]]},
        "best": best,
        "training": training,
        "finished": True,
        **machine_facts(meter.device),
    }
