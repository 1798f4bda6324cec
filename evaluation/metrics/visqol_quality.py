"""ViSQOL in speech mode: modelled opinion of a copy against its recording, as codec papers print it.

The package ``visqol-python`` maps its similarity to an opinion with a lattice network, as the original does by default,
or, where that network's runtime is missing, with a polynomial that gives degraded speech one to two points more. Both
print as MOS-LQO. Here only the lattice counts: without it the scorer is missing, not degraded.

It takes several times the clip's duration, so it runs where it is asked for by name or with ``all``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any

import numpy as np

from evaluation.acoustics.level import is_silent
from evaluation.metrics import Measure, MetricSpec, Outcome, ScoreInput, Skipped
from evaluation.metrics.codec_quality import MAX_LENGTH_DIFFERENCE_S
from evaluation.records import CODEC_ROLES

__all__ = ["METRIC", "new_judge", "visqol_speech"]

SAMPLE_RATE_HZ = 16_000
SOURCE = "Chinen et al. 2020 (ViSQOL v3), package visqol-python, speech mode, lattice mapper"
RUNTIME = "ai_edge_litert"

SPEC = MetricSpec(
    name="visqol",
    title="Quality of the copy (ViSQOL)",
    measures=(
        Measure(
            name="visqol_speech", title="Quality (ViSQOL, speech)", unit="MOS-LQO", direction="higher",
            meaning="modelled opinion of listeners, 1 to 5; about 4.4 for an exact copy", source=SOURCE, low=1.0,
            high=5.0,
        ),
        Measure(
            name="vnsim", title="Similarity (NSIM)", unit="NSIM", direction="higher",
            meaning="structural similarity of gammatone spectrograms that the opinion is read from; 1 is equal",
            source=SOURCE, low=-1.0, high=1.0,
        ),
    ),
    roles=CODEC_ROLES,
    needs=frozenset({"recording"}),
    sample_rate_hz=SAMPLE_RATE_HZ,
    min_duration_s=1.0,
    min_duration_source="ViSQOL's patches of speech are 0.4 s long and need several",
    extra="visqol",
    on_request=True,
)  # fmt: skip


def new_judge() -> Any:
    """ViSQOL's own interface, in speech mode with the lattice mapper and nothing else.

    Raises:
        ImportError: the package or the lattice network's runtime is not installed.
    """
    from visqol import VisqolApi  # pyright: ignore[reportMissingImports]

    judge = VisqolApi()
    judge.create(mode="speech", use_lattice_model=True)
    return judge


def visqol_speech(judge: Any, recording: np.ndarray, copy: np.ndarray) -> dict[str, float] | Skipped:
    """Opinion and similarity of 16 kHz samples, or why there are none."""
    if is_silent(recording, SAMPLE_RATE_HZ) or is_silent(copy, SAMPLE_RATE_HZ):
        return Skipped("ViSQOL is undefined here: the recording or the clip is silent")
    try:
        found = judge.measure_from_arrays(recording.astype(np.float64), copy.astype(np.float64), SAMPLE_RATE_HZ)
    except (ValueError, IndexError, RuntimeError) as error:  # what it raises where it finds no patch of speech
        return Skipped(f"ViSQOL is undefined here: {error}")
    values = {"visqol_speech": float(found.moslqo), "vnsim": float(found.vnsim)}
    return values if np.isfinite(list(values.values())).all() else Skipped("ViSQOL is undefined here: no number")


class Visqol:
    spec = SPEC

    def load(self, device: str) -> Callable[[Sequence[ScoreInput]], list[Outcome]]:
        judge = new_judge()
        return lambda inputs: [_compare(judge, item) for item in inputs]

    def status(self) -> tuple[str, str]:
        if find_spec("visqol") is None:
            return "missing", "ViSQOL is not installed; pip install 'audiolm-audit[visqol]'"
        if find_spec(RUNTIME) is None:
            return "missing", (
                "ViSQOL's lattice mapper is not installed (ai-edge-litert), and its polynomial gives other numbers;"
                " pip install 'audiolm-audit[visqol]'"
            )
        return "ready", "ViSQOL in speech mode with the lattice mapper"

    def fingerprint(self) -> Mapping[str, str]:
        return {
            "visqol": _version("visqol-python"),
            "mapper": f"lattice, ai-edge-litert {_version('ai-edge-litert')}",
        }


def _compare(judge: Any, item: ScoreInput) -> Outcome:
    if item.recording is None:
        return Skipped("no recording to compare with")
    difference_s = abs(item.recording.duration_s - item.clip.duration_s)
    if difference_s > MAX_LENGTH_DIFFERENCE_S:
        return Skipped(f"recording and clip differ by {difference_s:.2f} s in length, so they are not aligned")
    length = min(len(item.recording.samples), len(item.clip.samples))
    return visqol_speech(judge, item.recording.samples[:length], item.clip.samples[:length])


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


METRIC = Visqol()
