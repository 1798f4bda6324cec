"""A manifest of any length whose audio is made when it is asked for, and a scorer that costs next to nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from audiolm.audio import AudioClip
from evaluation.at_size.sources import ManifestSource
from evaluation.config import RunConfig
from evaluation.manifest import RowReader, row_reader
from evaluation.metrics import Measure, MetricSpec, Outcome, ScoreInput
from evaluation.recordings import Recording
from evaluation.records import Utterance
from evaluation.table_rows import RawRow

__all__ = ["CheapMetric", "SimulatedSource", "cheap_scorers", "write_manifest"]

RATE_HZ = 16_000
SPEAKERS = 400
ROW_GROUP = 10_000


def write_manifest(path: Path, rows: int) -> Path:
    """A Parquet manifest, written row group by row group."""
    schema = pa.schema([(name, pa.string()) for name in ("utterance_id", "audio_path", "speaker_id", "gender")])
    with pq.ParquetWriter(path, schema) as writer:
        for start in range(0, rows, ROW_GROUP):
            numbers = range(start, min(start + ROW_GROUP, rows))
            writer.write_table(
                pa.table(
                    {
                        "utterance_id": [f"clip-{number:08d}" for number in numbers],
                        "audio_path": [f"{number % 1000:03d}/clip-{number:08d}.flac" for number in numbers],
                        "speaker_id": [f"speaker-{number % SPEAKERS:03d}" for number in numbers],
                        "gender": ["FM"[number % SPEAKERS % 2] for number in numbers],
                    },
                    schema=schema,
                )
            )
    return path


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedReader:
    """Rows of a manifest; a clip is a tone whose pitch and level follow from the row's id."""

    rows: RowReader
    seconds: float
    numbered: bool = True

    def name(self, row: RawRow) -> str:
        return self.rows.name(row)

    def utterance(self, row: RawRow) -> Utterance:
        return self.rows.utterance(row)

    def place(self, row: RawRow, utterance: Utterance) -> str:
        return str(utterance.audio_path)

    def recording(self, row: RawRow, utterance: Utterance, config: RunConfig) -> Recording:
        seed = crc32(utterance.utterance_id.encode())
        phase = 2 * np.pi * (100 + seed % 300) / RATE_HZ * np.arange(int(self.seconds * RATE_HZ))
        samples = (0.05 + seed % 7 / 10) * np.sin(phase) * (1 + 0.3 * np.sin(phase / 97))
        return Recording(clip=AudioClip.from_array((0.6 * samples).astype(np.float32), RATE_HZ))


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedSource:
    """The rows of a manifest; its audio is not looked for."""

    name: str
    seconds: float = 0.1

    def rows(self):
        return ManifestSource(name=self.name).rows()

    def reader(self, present: set[str]) -> SimulatedReader:
        return SimulatedReader(
            rows=row_reader(self.name, Path(self.name).parent, present, looks=False), seconds=self.seconds
        )


class CheapMetric:
    """Level, peak, and the share of samples above a tenth of full scale."""

    def __init__(self) -> None:
        self.spec = MetricSpec(
            name="cheap",
            title="Cheap measures",
            measures=(
                _measure("rms"),
                _measure("peak"),
                _measure("loud", aggregate="none"),
                _measure("total", aggregate="none"),
                _measure("loud_share", aggregate="ratio_of_sums", numerator="loud", denominator="total"),
            ),
            roles=("recorded",),
            batch_size=256,
        )

    def load(self, device: str) -> Callable[[Sequence[ScoreInput]], list[Outcome]]:
        return lambda batch: [_levels(item.clip.samples) for item in batch]

    def status(self) -> tuple[str, str]:
        return "ready", "always"

    def fingerprint(self) -> Mapping[str, str]:
        return {}


def _levels(samples: np.ndarray) -> Outcome:
    size = np.abs(samples)
    return {
        "rms": float(np.sqrt(np.mean(samples * samples, dtype=np.float64))),
        "peak": float(size.max()),
        "loud": float(np.count_nonzero(size > 0.1)),
        "total": float(len(samples)),
    }


def _measure(name: str, **more: str) -> Measure:
    return Measure(name=name, title=name, unit="", direction="none", meaning=name, source="benchmark", **more)  # type: ignore[arg-type]


def cheap_scorers(device: str) -> dict[str, CheapMetric]:
    """Found by workers."""
    return {"cheap": CheapMetric()}
