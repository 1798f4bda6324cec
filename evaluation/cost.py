"""What generation cost: real-time factor, peak memory, energy per generated minute, and how each was had.

Energy comes from the processor's own counter (RAPL) where this machine shows one, else from CodeCarbon in offline mode
where that is installed (extra ``energy``), which estimates from load and table values; ``energy_source`` says which.
``AUDIOLM_ENERGY=codecarbon`` or ``counter`` asks for one of the two. Without either the energy is None, with a reason.
"""

from __future__ import annotations

import os
import resource
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from evaluation.records import GenerationRecord

__all__ = ["Meter", "cost_of", "metered"]

POWERCAP = Path("/sys/class/powercap")
JOULES_PER_KWH = 3.6e6


@dataclass(slots=True)
class Meter:
    """Filled when the measured stretch ends: ``wall_s``, ``energy_j`` or None, and ``source``: how, or why not."""

    wall_s: float = 0.0
    energy_j: float | None = None
    source: str = ""
    _started: dict[Path, int] = field(default_factory=dict)


@contextmanager
def metered() -> Iterator[Meter]:
    """Wall time and energy of what happens inside, of the whole machine."""
    meter, begun = Meter(), time.perf_counter()
    wanted = os.environ.get("AUDIOLM_ENERGY", "")
    meter._started = {} if wanted == "codecarbon" else _counters()
    estimate = wanted == "codecarbon" or (not wanted and not meter._started and find_spec("codecarbon") is not None)
    tracker = _codecarbon() if estimate else None
    if tracker:
        tracker.start()
    try:
        yield meter
    finally:
        meter.wall_s = time.perf_counter() - begun
        if tracker:
            tracker.stop()
            meter.energy_j = float(tracker.final_emissions_data.energy_consumed) * JOULES_PER_KWH
            meter.source = "CodeCarbon, offline: an estimate from load and table values, not a measurement"
        elif meter._started:
            meter.energy_j = _spent(meter._started)
            meter.source = "processor's energy counter (RAPL), whole packages, everything that ran meanwhile included"
        else:
            meter.source = (
                "no energy counter is readable here; with CodeCarbon there is an estimate:"
                " pip install 'audiolm-audit[energy]'"
            )


def cost_of(records: Sequence[GenerationRecord], meter: Meter, fresh: Sequence[str]) -> dict[str, Any]:
    """Section ``cost`` of ``run.json``; ``fresh``: item ids that were made while the meter ran.

    ``real_time_factor``: seconds of work per second of sound by role, over all items; ``generated_s``: sound that the
    meter's energy and time stand for.
    """
    made = set(fresh)
    generated = sum(r.duration_s for r in records if r.item_id in made and r.status == "ok" and r.wall_s > 0)
    energy = meter.energy_j
    return {
        "real_time_factor": _factors(records),
        "generated_s": round(generated, 3),
        "wall_s": round(meter.wall_s, 3),
        "peak_memory_mib": round(_peak_mib(), 1),
        "peak_memory_source": "largest of this process and its workers, since they started",
        "energy_j": energy,
        "energy_wh_per_minute": energy / 3600.0 / (generated / 60.0) if energy is not None and generated else None,
        "energy_source": meter.source,
    }


def _factors(records: Sequence[GenerationRecord]) -> Mapping[str, float]:
    found: dict[str, list[float]] = {}
    for record in records:
        if record.status == "ok" and record.wall_s > 0 and record.duration_s > 0:
            sums = found.setdefault(record.role, [0.0, 0.0])
            sums[0] += record.wall_s
            sums[1] += record.duration_s
    return {role: round(wall / sound, 4) for role, (wall, sound) in sorted(found.items())}


def _peak_mib() -> float:
    unit = 1024.0 if sys.platform != "darwin" else 1024.0**2
    return max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) / unit


def _counters() -> dict[Path, int]:
    """Energy counters of processor packages in microjoule; empty where none can be read."""
    found = {}
    for path in sorted(POWERCAP.glob("intel-rapl:[0-9]/energy_uj")):
        try:
            found[path] = int(path.read_text(encoding="ascii"))
        except (OSError, ValueError):
            continue
    return found


def _spent(started: Mapping[Path, int]) -> float:
    """Joules since then; a counter that wrapped round once is unwrapped by its stated range."""
    total = 0
    for path, before in started.items():
        now = int(path.read_text(encoding="ascii"))
        if now < before:
            now += int(path.with_name("max_energy_range_uj").read_text(encoding="ascii"))
        total += now - before
    return total / 1e6


def _codecarbon():
    if find_spec("codecarbon") is None:
        raise ValueError("AUDIOLM_ENERGY=codecarbon needs CodeCarbon; pip install 'audiolm-audit[energy]'")
    from codecarbon import OfflineEmissionsTracker  # pyright: ignore[reportMissingImports]

    country = os.environ.get("AUDIOLM_COUNTRY", "USA")
    return OfflineEmissionsTracker(country_iso_code=country, save_to_file=False, log_level="error")
