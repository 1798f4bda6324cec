"""What a computation cost: wall time, processor energy, GPU energy, and the machine it ran on.

Processor energy is read from RAPL (Linux power capping) where it may be read, GPU energy from NVML; what cannot be read
is estimated from a stated power and marked as an estimate.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import time
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

__all__ = ["EnergyMeter", "Machine", "machine_facts", "training_summary"]

RAPL = Path("/sys/class/powercap")
WATTS_PER_CORE = 10.0
"""Assumed draw of one busy core with its share of memory: a 64-core server of 500 W under load has 8 W per core."""
GPU_WATTS_ASSUMED = 400.0
"""Assumed draw of one busy training GPU where NVML cannot be read: between a 300 W and a 700 W board."""
LIBRARIES = ("torch", "torchaudio", "numpy", "scikit-learn", "safetensors", "lightning-fabric")
JOULES_PER_WH = 3600.0

Machine = dict[str, Any]


class EnergyMeter:
    """Counts from its making; :meth:`reading` may be asked at any time."""

    def __init__(self, device: torch.device | None = None, *, rapl: Path = RAPL) -> None:
        self.device = device or torch.device("cpu")
        self._counters = _rapl_counters(rapl)
        self._last_uj = [_read_uj(path) for path, _ in self._counters]
        self._cpu_uj = 0.0
        self._gpu_start_mj = _gpu_mj(self.device)
        self._started_s = time.monotonic()
        self._cpu_started_s = _cpu_s()

    def reading(self) -> dict[str, Any]:
        """Wall time in s, CPU time in core-seconds, energy in Wh, and how each energy was had."""
        wall_s = time.monotonic() - self._started_s
        cpu_s = _cpu_s() - self._cpu_started_s
        cpu_wh, cpu_source = self._cpu_wh(cpu_s)
        gpu_wh, gpu_source = self._gpu_wh(wall_s)
        return {
            "wall_s": round(wall_s, 1),
            "cpu_core_s": round(cpu_s, 1),
            "cpu_energy_wh": round(cpu_wh, 4),
            "cpu_energy_source": cpu_source,
            "gpu_energy_wh": round(gpu_wh, 4),
            "gpu_energy_source": gpu_source,
            "energy_wh": round(cpu_wh + gpu_wh, 4),
        }

    def _cpu_wh(self, cpu_s: float) -> tuple[float, str]:
        if not self._counters:
            source = f"estimate: {WATTS_PER_CORE:g} W per busy core, RAPL cannot be read here"
            return cpu_s * WATTS_PER_CORE / JOULES_PER_WH, source
        for index, (path, limit_uj) in enumerate(self._counters):
            now_uj = _read_uj(path)
            passed = now_uj - self._last_uj[index]
            self._cpu_uj += passed if passed >= 0 else passed + limit_uj
            self._last_uj[index] = now_uj
        return self._cpu_uj / 1e6 / JOULES_PER_WH, "measured: RAPL, whole processor packages"

    def _gpu_wh(self, wall_s: float) -> tuple[float, str]:
        if self.device.type != "cuda":
            return 0.0, "no GPU used"
        now_mj = _gpu_mj(self.device)
        if now_mj is None or self._gpu_start_mj is None:
            source = f"estimate: {GPU_WATTS_ASSUMED:g} W, NVML cannot be read here"
            return wall_s * GPU_WATTS_ASSUMED / JOULES_PER_WH, source
        return (now_mj - self._gpu_start_mj) / 1e3 / JOULES_PER_WH, "measured: NVML, this GPU"


def machine_facts(device: torch.device | None = None) -> Machine:
    """Names of the processor and the GPU, cores, memory, versions and the git revision, as a record keeps them."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    hardware = f"{_cpu_name()}, {cores} cores usable, {torch.get_num_threads()} threads"
    if device is not None and device.type == "cuda":
        hardware += f"; {torch.cuda.get_device_name(device)}"
    return {
        "hardware": hardware,
        "versions": {"python": platform.python_version()} | _versions(),
        "git_revision": _revision(),
    }


def training_summary(folder: Path, parts: Iterable[str]) -> dict[str, Any]:
    """What making the stored ``parts`` below ``folder`` took, from their records, for a system description.

    Wall time in s and energy in Wh over all parts that recorded them; which parts did not; hardware and sources.
    """
    wall_s, energy_wh = 0.0, 0.0
    hardware: list[str] = []
    sources: list[str] = []
    silent = []
    for part in parts:
        record = json.loads((folder / part / "config.json").read_text(encoding="utf-8")).get("record", {})
        if part == "semantic":
            record = record.get("w2v_bert", record)
        wall_s += float(record.get("wall_s", 0.0))
        hardware += [str(record["hardware"])] if "hardware" in record else []
        energy = record.get("energy")
        if isinstance(energy, Mapping):
            energy_wh += float(energy["energy_wh"])
            sources += energy["sources"]
        else:
            silent.append(part)
    summary: dict[str, Any] = {"wall_s": round(wall_s, 1), "hardware": list(dict.fromkeys(hardware))}
    if sources:
        summary |= {"energy_wh": round(energy_wh, 3), "energy_sources": list(dict.fromkeys(sources))}
    if silent:
        summary["parts_without_energy_record"] = silent
    return summary if wall_s or sources else {}


def _rapl_counters(folder: Path) -> list[tuple[Path, float]]:
    """Energy counters of the processor packages with the value at which each starts over, in microjoules."""
    found = []
    for zone in sorted(folder.glob("intel-rapl:*")):
        counter = zone / "energy_uj"
        try:
            if zone.name.count(":") == 1:
                counter.read_text()
                found.append((counter, float((zone / "max_energy_range_uj").read_text())))
        except OSError:
            continue
    return found


def _read_uj(path: Path) -> float:
    return float(path.read_text())


def _gpu_mj(device: torch.device) -> float | None:
    """Millijoules since the driver was loaded; None where NVML does not say."""
    if device.type != "cuda":
        return None
    try:
        import pynvml  # type: ignore[import-not-found]

        pynvml.nvmlInit()
        properties = torch.cuda.get_device_properties(device)
        handle = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{properties.uuid}".encode())
        return float(pynvml.nvmlDeviceGetTotalEnergyConsumption(handle))
    except ImportError:
        return None
    except pynvml.NVMLError:
        return None


def _cpu_s() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _versions() -> dict[str, str]:
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _revision() -> str:
    """Commit of the code that runs, with ``+changes`` where files differ from it; ``unknown`` outside a checkout."""
    here = Path(__file__).parent
    try:
        commit = _git(here, "rev-parse", "HEAD")
        changed = _git(here, "status", "--porcelain", "--untracked-files=no", "--", str(here))
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return commit + ("+changes" if changed else "")


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True, timeout=10)
    return done.stdout.strip()
