"""A cheap system, cheap scorers and audio files for tests of the harness; imported by tests only."""

from __future__ import annotations

import csv
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import soundfile as sf

from audiolm.audio import AudioClip
from evaluation.metrics import Measure, MetricSpec, Noted, Outcome, ScoreInput, Skipped
from evaluation.protocols import RenderRequest

RATE_HZ = 16_000


def tone(seconds: float, frequency_hz: float, level: float = 0.3, rate_hz: int = RATE_HZ) -> np.ndarray:
    return (level * np.sin(2 * np.pi * frequency_hz * np.arange(int(seconds * rate_hz)) / rate_hz)).astype(np.float32)


def noise_in_syllables(seconds: float, seed: int) -> np.ndarray:
    """White noise at 16 kHz that swells three times a second, as speech does."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    envelope = np.clip(np.sin(2 * np.pi * 3.0 * time_s), 0.0, None)
    return ((0.002 + 0.1 * envelope) * rng.standard_normal(time_s.size)).astype(np.float32)


def write_manifest(folder: Path, rows: Sequence[Mapping[str, str]], name: str = "manifest.csv") -> Path:
    path = folder / name
    columns = list(dict.fromkeys(key for row in rows for key in row))
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, columns)
        writer.writeheader()
        writer.writerows(rows)
    return path


def write_prompts(folder: Path, speakers: int = 4, each: int = 3, seconds: float = 5.0) -> Path:
    """``speakers * each`` tones with transcripts, a gender per speaker and human origin."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for speaker in range(speakers):
        for take in range(each):
            name = f"s{speaker}-{take}"
            sf.write(
                folder / f"{name}.wav", tone(seconds, 150 + 40 * speaker + 7 * take, 0.1 + 0.05 * speaker), RATE_HZ
            )
            rows.append(
                {
                    "utterance_id": name,
                    "audio_path": f"{name}.wav",
                    "transcript": f"words of {name}",
                    "speaker_id": f"spk{speaker}",
                    "gender": "FM"[speaker % 2],
                    "split": "test" if speaker < 2 else "train",
                    "origin": "human",
                }
            )
    return write_manifest(folder, rows)


def numbers_of(outcome: Outcome) -> dict[str, float]:
    """The values of an outcome that must hold nothing but numbers."""
    assert not isinstance(outcome, Skipped), outcome.reason
    values = outcome.values if isinstance(outcome, Noted) else outcome
    numbers = {name: float(value) for name, value in values.items() if not isinstance(value, Skipped)}
    assert set(numbers) == set(values)
    return numbers


class FakeSystem:
    """Noise shaped by the item's seed; kills its process when ``renders_left`` runs out."""

    name = "fake"
    sample_rate_hz = RATE_HZ
    roles: tuple[str, ...] = ("codec", "acoustic", "continuation")

    def __init__(self, renders_left: int | None = None, fail_on: Callable[[RenderRequest], bool] | None = None) -> None:
        self.renders_left, self.fail_on, self.calls = renders_left, fail_on, 0

    def render(self, role: str, requests: Sequence[RenderRequest]) -> list[AudioClip]:
        self.calls += 1
        if self.renders_left is not None:
            self.renders_left -= 1
            if self.renders_left < 0:
                os.kill(os.getpid(), signal.SIGKILL)
        if self.fail_on and any(self.fail_on(request) for request in requests):
            raise RuntimeError("this one does not work")
        return [self._one(role, request) for request in requests]

    def _one(self, role: str, request: RenderRequest) -> AudioClip:
        noise = np.random.default_rng(request.seed)
        if role == "continuation":
            samples = 0.1 * noise.standard_normal(int(request.seconds * RATE_HZ))
        else:
            samples = request.recording.samples + 0.01 * noise.standard_normal(len(request.recording.samples))
        return AudioClip.from_array(samples.astype(np.float32), RATE_HZ)

    def describe(self) -> Mapping[str, object]:
        return {"name": "fake", "version": 1}


class FakeEntry:
    name = "fake"

    def __init__(self, system: FakeSystem) -> None:
        self.system = system

    def load(self, checkpoint: str, device: str) -> FakeSystem:
        return self.system


class LevelMetric:
    """RMS of the clip, its difference to the prompt where ``pair``, and the parts of a ratio; counts its work."""

    def __init__(
        self, *, pair: bool = False, version: str = "1", fail_on: str = "", skip_on: str = "", batch_size: int = 4
    ) -> None:
        self.spec = MetricSpec(
            name="level_pair" if pair else "level",
            title="Level",
            measures=(
                _measure("rms"),
                _measure("loud", aggregate="none"),
                _measure("total", aggregate="none"),
                _measure("loud_share", aggregate="ratio_of_sums", numerator="loud", denominator="total"),
            ),
            roles=("reference", "codec", "acoustic", "continuation", "shuffled", "recorded"),
            needs=frozenset({"prompt"}) if pair else frozenset(),
            batch_size=batch_size,
            version=version,
        )
        self.fail_on, self.skip_on = fail_on, skip_on
        self.scored: list[str] = []
        self.batches: list[int] = []

    def load(self, device: str) -> Callable[[Sequence[ScoreInput]], list[Outcome]]:
        return self._score

    def _score(self, batch: Sequence[ScoreInput]) -> list[Outcome]:
        self.batches.append(len(batch))
        if self.fail_on and any(self.fail_on in item.item_id for item in batch):
            raise RuntimeError("cannot score this")
        return [self._one(item) for item in batch]

    def _one(self, item: ScoreInput) -> Outcome:
        self.scored.append(item.item_id)
        if self.skip_on and self.skip_on in item.item_id:
            return Skipped("does not like it")
        samples = item.clip.samples.astype(np.float64)
        rms = float(np.sqrt(np.mean(samples**2)))
        if item.prompt is not None:
            rms -= float(np.sqrt(np.mean(item.prompt.samples.astype(np.float64) ** 2)))
        return {"rms": rms, "loud": float(np.sum(np.abs(samples) > 0.2)), "total": float(len(samples))}

    def status(self) -> tuple[str, str]:
        return "ready", "always"

    def fingerprint(self) -> Mapping[str, str]:
        return {"fake": "1"}


def _measure(name: str, **more: str) -> Measure:
    return Measure(name=name, title=name, unit="", direction="none", meaning=name, source="test", **more)  # type: ignore[arg-type]


class DeadlyMetric(LevelMetric):
    """Kills its process at one item."""

    def _one(self, item: ScoreInput) -> Outcome:
        if ":codec:s1-1" in item.item_id:
            os.kill(os.getpid(), signal.SIGKILL)
        return super()._one(item)


def deadly_scorers(device: str) -> dict[str, LevelMetric]:
    """Found by worker processes, which import this module."""
    return {"level": DeadlyMetric()}
