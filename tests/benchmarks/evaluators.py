"""Evaluators: clips per second against a plain loop, re-summary of a large table, memory, coverage of the intervals.

    python -m tests.benchmarks.evaluators --corpus ../shared/corpus [--json] [--only throughput summary memory coverage]

The plain loop is what a script per measure does, with the same libraries (soundfile, torch, torchaudio, numpy, scipy,
librosa) and the same embedded speaker network: measure by measure and clip by clip, read prompt and clip, resample
them, measure both; nothing is shared or batched. torch has all its threads there. It runs over fewer clips and is
scaled; what it imports and compiles is not counted. The harness runs as ``audiolm-audit score`` does, with two worker
processes where two cores are there; the start of its workers is counted, and stands in a row of its own.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pandas as pd
from scipy import signal

from audiolm.audio import AudioClip, write_audio
from evaluation.aggregation import summary_frame
from evaluation.bootstrap import Resampler
from evaluation.discovery import discover_metrics
from evaluation.engines import cpu_count
from evaluation.frames import SCHEMA_VERSION, SCORE_SCHEMA
from evaluation.metrics import Metric
from evaluation.records import GenerationRecord
from evaluation.run_folder import RunFolder
from evaluation.scoring import score_items
from evaluation.speaker.ge2e import ENCODER, _prepared
from tests.benchmarks.table import Row, compared, finish, parser, peak_mib

RATE_HZ = 16_000
CLIP_S, PROMPT_S = 5.0, 3.0
RATES_HZ = (16_000, 24_000)
"""The rate that the measures work at, and the usual rate of speech synthesis, which has to be resampled."""
ROLES = ("reference", "codec", "acoustic", "continuation", "shuffled")
"""Every clip is scored, the rest of the recording as well."""
WITH_PROMPT = ("reference", "codec", "acoustic")
SPEAKER = ("speaker_similarity",)
ACOUSTIC = ("acoustic_consistency", "acoustic_consistency_f0", "acoustic_consistency_timbre")
PARTS = ("throughput", "summary", "memory", "coverage")


def make_clips(
    folder: Path, corpus: Path, count: int, seconds: float = CLIP_S, rate_hz: int = RATE_HZ
) -> list[GenerationRecord]:
    """``count`` clips after ``count / 5`` prompts, cut from recordings, written as WAV."""
    rows = pd.read_csv(corpus / "manifest.csv")
    rows = rows.query("kind == 'speech' and duration_s > @PROMPT_S + 1").sort_values("utterance_id")
    sounds = [AudioClip.from_file(corpus / path).at_rate(rate_hz).samples for path in rows["path"].head(60)]
    (folder / "audio").mkdir(parents=True)
    records = []
    for number in range(-(-count // len(ROLES))):
        for role in ROLES:
            seconds_here = PROMPT_S + seconds if role in WITH_PROMPT else seconds
            sound = np.roll(np.resize(sounds[number % len(sounds)], int(seconds_here * rate_hz)), 997 * number)
            name = f"audio/{role}-{number}.wav"
            write_audio(folder / name, AudioClip.from_array(sound * 0.9, rate_hz))
            records.append(GenerationRecord(
                item_id=f"u{number}/{role}", utterance_id=f"u{number}", speaker_id=f"s{number % 20}", system="x",
                role=role, seed=0, audio_path=name, sample_rate_hz=rate_hz, duration_s=seconds_here, prompt_s=PROMPT_S,
                transcript=None, groups=MappingProxyType({}), origin="human", wall_s=0.0, status="ok", reason="",
                content_sha256=f"{number}{role}", config_sha256="",
            ))  # fmt: skip
    return records


def only(names: tuple[str, ...]) -> list[Metric]:
    found = discover_metrics()
    return [found[name] for name in names]


def harness(records: list[GenerationRecord], source: Path, names: tuple[str, ...], workers: int) -> float:
    """Seconds for all clips, nothing known before."""
    with tempfile.TemporaryDirectory() as place:
        run = RunFolder(place)
        (Path(place) / "audio").symlink_to(source / "audio")
        start = time.perf_counter()
        score_items(run, records, only(names), run_id="b", workers=workers)
        return time.perf_counter() - start


def plain_measures(part: str) -> list[Callable[[AudioClip], object]]:
    """What the plain loop asks of each clip at 16 kHz, one after the other."""
    import librosa
    import torch
    import torchaudio

    encoder = ENCODER.load("cpu")

    def voice(clip: AudioClip) -> object:
        samples = _prepared(clip)
        with torch.inference_mode():
            return None if samples is None else encoder._network(encoder._windows(samples)).mean(dim=0).numpy()

    def loudness(clip: AudioClip) -> object:
        return float(torchaudio.functional.loudness(torch.from_numpy(np.array(clip.samples))[None], RATE_HZ))

    def noise(clip: AudioClip) -> object:
        levels = librosa.amplitude_to_db(librosa.feature.rms(y=clip.samples, frame_length=640, hop_length=160)[0])
        floor = float(np.quantile(levels, 0.1))
        return floor, float(np.percentile(levels, 95)) - floor

    def bandwidth(clip: AudioClip) -> object:
        power = (np.abs(librosa.stft(clip.samples, n_fft=2048, hop_length=1024)) ** 2).mean(axis=1)
        return np.flatnonzero(power > power.max() * 1e-6)[-1]

    def pitch(clip: AudioClip) -> object:
        return np.percentile(librosa.yin(clip.samples, fmin=60, fmax=500, sr=RATE_HZ), [10, 50, 90])

    def spectrum(clip: AudioClip) -> object:
        power = (np.abs(librosa.stft(clip.samples, n_fft=1024, hop_length=512)) ** 2).mean(axis=1)
        return np.polyfit(np.log2(np.arange(1, 513)), librosa.power_to_db(power[1:]), 1)

    def decay(clip: AudioClip) -> object:
        found = []
        for centre in (500.0, 1000.0, 2000.0, 4000.0):
            band = signal.butter(2, (centre / 2**0.5, centre * 2**0.5), "bandpass", fs=RATE_HZ, output="sos")
            filtered = np.asarray(signal.sosfilt(band, clip.samples.astype(np.float64)))
            levels = librosa.amplitude_to_db(librosa.feature.rms(y=filtered, frame_length=256, hop_length=128)[0])
            found.append(np.quantile(np.diff(levels), 0.05))
        return found

    def rate(clip: AudioClip) -> object:
        band = signal.butter(2, (300.0, 3300.0), "bandpass", fs=RATE_HZ, output="sos")
        power = np.square(signal.sosfiltfilt(band, clip.samples.astype(np.float64)))
        slow = signal.butter(2, 8.0, "lowpass", fs=RATE_HZ, output="sos")
        levels = librosa.power_to_db(np.maximum(signal.sosfiltfilt(slow, power)[::160], 1e-10))
        return len(signal.find_peaks(levels, prominence=2.0)[0])

    acoustics: list[Callable[[AudioClip], object]] = [loudness, noise, bandwidth, pitch, spectrum, decay, rate]
    return {"speaker": [voice], "acoustic": acoustics}.get(part, [voice, *acoustics])


def plain(records: list[GenerationRecord], folder: Path, count: int, part: str) -> float:
    """Seconds per clip of the plain loop."""
    import torch

    measures = plain_measures(part)
    judged = records[:: max(1, len(records) // count) | 1][:count]
    before = torch.get_num_threads()
    torch.set_num_threads(cpu_count())
    try:
        for measure in measures:  # what librosa compiles at first use
            measure(AudioClip.from_file(folder / judged[0].audio_path).at_rate(RATE_HZ))
        start = time.perf_counter()
        for measure in measures:
            for record in judged:
                number = record.utterance_id.removeprefix("u")
                recording = AudioClip.from_file(folder / f"audio/reference-{number}.wav")
                prompt = recording.cut(0.0, PROMPT_S).at_rate(RATE_HZ)
                clip = AudioClip.from_file(folder / record.audio_path)
                clip = clip.cut(PROMPT_S) if record.role in WITH_PROMPT else clip
                for sound in (prompt, clip.at_rate(RATE_HZ)):
                    measure(sound)
        return (time.perf_counter() - start) / len(judged)
    finally:
        torch.set_num_threads(before)


def throughput(corpus: Path, clips: int, sample: int) -> list[Row]:
    rows, workers = [], min(2, cpu_count())
    both = (*SPEAKER, *ACOUSTIC)
    for rate_hz in RATES_HZ:
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            records = make_clips(folder, corpus, clips, rate_hz=rate_hz)
            judged = len(records)
            cases = [("speaker similarity and acoustic consistency", "both", both)]
            if rate_hz == RATE_HZ:
                cases += [
                    ("speaker similarity alone", "speaker", SPEAKER),
                    ("acoustic consistency alone", "acoustic", ACOUSTIC),
                ]
                start = harness(records[: len(ROLES)], folder, both, workers)
                rows.append(Row(name=f"start of {workers} workers, with {len(ROLES)} clips", value=start, unit="s"))
            for title, part, names in cases:
                slow = plain(records, folder, sample, part)
                fast = harness(records, folder, names, workers) / judged
                name = f"{title}, {judged} clips of 5 s at {rate_hz // 1000} kHz, {workers} workers"
                bound = 5.0 if part == "both" else 0.0
                rows.append(compared(name, 1.0 / fast, "clips/s", "plain per-clip loop", 1.0 / slow, at_least=bound))
    return rows


def summary(n_rows: int = 100_000) -> Row:
    """Re-summary of a score table that is known."""
    generator = np.random.default_rng(0)
    common = {"scorer": "s", "scorer_title": "S", "title": "m", "meaning": "", "aggregate": "mean",
              "protocol": {"needs": ["prompt"]}}  # fmt: skip
    measures = [common | {"measure": f"m{i}", "low": None, "high": None} for i in range(10)]
    items, roles = n_rows // 10, ("reference", "acoustic", "continuation", "shuffled")
    speakers = [f"p{i % 200}" for i in range(items)]
    records = [
        GenerationRecord(
            item_id=f"i{i}", utterance_id=f"u{i // 4}", speaker_id=speakers[i // 4], system="x", role=roles[i % 4],
            seed=0, audio_path="a", sample_rate_hz=RATE_HZ, duration_s=1.0, prompt_s=0.0, transcript=None,
            origin="human",
            groups=MappingProxyType({"gender": "FM"[(i // 4) % 2]}), wall_s=0.0, status="ok", reason="",
            content_sha256="", config_sha256="",
        )
        for i in range(items)
    ]  # fmt: skip
    frame = pd.DataFrame({
        "schema_version": SCHEMA_VERSION, "run_id": "r", "item_id": [r.item_id for r in records for _ in measures],
        "utterance_id": [r.utterance_id for r in records for _ in measures],
        "speaker_id": [r.speaker_id for r in records for _ in measures], "system": "x",
        "role": [r.role for r in records for _ in measures], "scorer": "s",
        "measure": [m["measure"] for _ in records for m in measures], "value": generator.random(items * 10),
        "status": "ok", "reason": "", "scorer_version": "1",
    }, columns=SCORE_SCHEMA.names)  # fmt: skip
    start = time.perf_counter()
    summary_frame(frame, records, measures, Resampler(seed=0))
    seconds = time.perf_counter() - start
    return Row(name=f"re-summary of {len(frame):,} rows, 1,000 resamples, 2 groups", value=seconds, unit="s",
               target="< 10 s", met=seconds < 10.0)  # fmt: skip


def memory_of(items: int, corpus: Path) -> float:
    """Peak MiB of a fresh process that scores so many items."""
    command = [sys.executable, "-m", "tests.benchmarks.evaluators", "--corpus", str(corpus), "--items", str(items)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


def score_and_say_peak(items: int, corpus: Path) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        records = make_clips(folder, corpus, items, seconds=1.0)
        score_items(RunFolder(folder), records, only(("acoustic_consistency",)), run_id="m", workers=1)
        print(peak_mib())


def coverage(simulations: int = 400) -> list[Row]:
    """Share of intervals that hold the truth: 20 speakers of 15 utterances, half of the variance between speakers."""
    generator = np.random.default_rng(0)
    speakers, each = [f"p{i}" for i in range(20)], 15
    hits = {(kind, how): 0 for kind in ("mean", "ratio", "paired difference") for how in ("speaker", "item")}
    for number in range(simulations):
        effect = generator.normal(0.0, 1.0, (20, 1)) + generator.normal(0.0, 1.0, (20, each))
        words = generator.integers(5, 25, (20, each)).astype(np.float64)
        rate = np.clip(0.3 + 0.1 * generator.normal(0, 1, (20, 1)) + 0.1 * generator.normal(0, 1, (20, each)), 0, None)
        other = effect + 0.3 + generator.normal(0, 0.7, (20, 1)) + generator.normal(0, 0.7, (20, each))
        truth_ratio = float(np.maximum(0, 0.3 + np.sqrt(0.02) * np.random.default_rng(1).normal(0, 1, 400_000)).mean())
        cases = {
            "mean": (effect, np.ones_like(effect), 0.0),
            "ratio": (rate * words, words, truth_ratio),
            "paired difference": (other - effect, np.ones_like(effect), 0.3),
        }
        for kind, (above, below, truth) in cases.items():
            found = Resampler(seed=number).ratio(speakers, above.sum(axis=1), below.sum(axis=1))
            hits[kind, "speaker"] += found.low <= truth <= found.high
            draws = generator.integers(0, above.size, (1000, above.size))
            ratios = above.ravel()[draws].sum(axis=1) / below.ravel()[draws].sum(axis=1)
            low, high = np.quantile(ratios, [0.025, 0.975])
            hits[kind, "item"] += low <= truth <= high
    rows = []
    for kind in ("mean", "ratio", "paired difference"):
        share, naive = (100.0 * hits[kind, how] / simulations for how in ("speaker", "item"))
        rows.append(Row(name=f"coverage, nominal 95 %, {kind} (item bootstrap {naive:.1f} %)", value=share, unit="%",
                        against=f"item-level bootstrap {naive:.1f} %", target="91 to 97 %",
                        met=91.0 <= share <= 97.0))  # fmt: skip
    return rows


def main() -> int:
    options = parser(__doc__)
    options.add_argument("--corpus", type=Path, default=Path("../shared/corpus"))
    options.add_argument("--clips", type=int, default=500)
    options.add_argument("--sample", type=int, default=60, help="clips of the plain loop")
    options.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    options.add_argument("--items", type=int, help="score so many small items and print the peak memory")
    args = options.parse_args()
    if args.items:
        score_and_say_peak(args.items, args.corpus)
        return 0
    rows: list[Row] = []
    if "throughput" in args.only:
        rows += throughput(args.corpus, args.clips, args.sample)
    if "summary" in args.only:
        rows.append(summary())
    if "memory" in args.only:
        small, large = (memory_of(items, args.corpus) for items in (500, 5000))
        rows.append(compared("peak memory at 5,000 items", large, "MiB", "500 items", small, at_most=1.2))
    if "coverage" in args.only:
        rows += coverage()
    return finish(rows, args.json)


if __name__ == "__main__":
    sys.exit(main())
