"""What the codec costs: the recording against itself after encoding and decoding.

Defined only for clips that keep the recording's timing sample by sample; a continuation has no such recording.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

import numpy as np

from evaluation.acoustics.distortion import MAX_SI_SDR_DB, log_mel_distance_db, si_sdr_db
from evaluation.acoustics.level import is_silent
from evaluation.metrics import Measure, MetricSpec, Outcome, ScoreInput, Skipped
from evaluation.records import CODEC_ROLES
from evaluation.speaker import SpeakerEncoder, embed_all, find_encoder

__all__ = ["METRIC", "pesq_wideband", "stoi"]

SAMPLE_RATE_HZ = 16_000
MAX_LENGTH_DIFFERENCE_S = 0.1
"""Two frames of a 20 ms codec on either side; what is missing or left over beyond that is another clip."""
NOT_ENOUGH_FRAMES = 1e-5
"""What pystoi returns, with a warning, where fewer than 30 frames (0.4 s) of speech are left."""


def _measure(name: str, title: str, unit: str, direction: str, meaning: str, source: str, *limits: float) -> Measure:
    low, high = (limits + (None, None))[:2] if limits else (None, None)
    return Measure(
        name=name, title=title, unit=unit, direction=direction, meaning=meaning, source=source, low=low, high=high
    )


MEASURES = (
    _measure(
        "stoi",
        "Intelligibility (STOI)",
        "STOI",
        "higher",
        "short-time correlation of the envelopes of recording and copy; 1 is equal",
        "Taal et al. 2011, package pystoi",
        -1.0,
        1.0,
    ),
    _measure(
        "pesq_wb",
        "Quality (PESQ wideband)",
        "MOS-LQO",
        "higher",
        "modelled opinion of listeners, 1.04 to 4.64 for an exact copy",
        "ITU-T P.862.2, package pesq",
        1.0,
        4.65,
    ),
    _measure(
        "si_sdr_db",
        "Distortion ratio (SI-SDR)",
        "dB",
        "higher",
        "the recording's share of the copy over the rest, sample by sample; a codec that rebuilds phase scores low",
        "Le Roux et al. 2019",
        -MAX_SI_SDR_DB,
        MAX_SI_SDR_DB,
    ),
    _measure(
        "log_mel_distance_db",
        "Log-mel distance",
        "dB",
        "lower",
        "mean absolute difference of 80 mel bands, down to 80 dB under the recording's peak",
        "own definition, evaluation/acoustics/distortion.py",
        0.0,
    ),
    _measure(
        "speaker_cosine",
        "Speaker kept by the codec",
        "cosine",
        "higher",
        "cosine between the speaker embeddings of recording and copy",
        "Wan et al. 2018 (GE2E encoder)",
        -1.0,
        1.0,
    ),
)

SPEC = MetricSpec(
    name="codec_quality",
    title="Codec quality",
    measures=MEASURES,
    roles=CODEC_ROLES,
    needs=frozenset({"recording"}),
    sample_rate_hz=SAMPLE_RATE_HZ,
    min_duration_s=0.5,
    min_duration_source="STOI needs 0.4 s of speech",
    extra="quality",
    version="2",
)


def stoi(recording: np.ndarray, copy: np.ndarray) -> float | Skipped:
    """STOI of 16 kHz samples of one length."""
    from pystoi import stoi as measure

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the value below says the same
        value = float(measure(recording, copy, SAMPLE_RATE_HZ, extended=False))
    return value if value > NOT_ENOUGH_FRAMES or value < 0 else Skipped("holds less than 0.4 s of speech for STOI")


def pesq_wideband(recording: np.ndarray, copy: np.ndarray) -> float | Skipped:
    """PESQ-WB of 16 kHz samples, or why there is none."""
    if find_spec("pesq") is None:
        return Skipped("PESQ is not installed; pip install 'audiolm-audit[quality]'")
    from pesq import PesqError, pesq  # pyright: ignore[reportMissingImports]

    try:
        return float(pesq(SAMPLE_RATE_HZ, recording, copy, "wb"))
    except PesqError as error:
        text = error.args[0] if error.args else type(error).__name__
        return Skipped(f"PESQ is undefined here: {text.decode() if isinstance(text, bytes) else text}")


class CodecQuality:
    spec = SPEC

    def load(self, device: str) -> Callable[[Sequence[ScoreInput]], list[Outcome]]:
        encoder = find_encoder().load(device)
        return lambda inputs: _compare_all(encoder, inputs)

    def status(self) -> tuple[str, str]:
        state, sentence = find_encoder().status()
        if state != "ready":
            return state, sentence
        if find_spec("pesq") is None:
            return "degraded", "without PESQ; pip install 'audiolm-audit[quality]'"
        return "ready", "SI-SDR, log-mel distance, STOI, PESQ and speaker cosine"

    def fingerprint(self) -> Mapping[str, str]:
        return {**find_encoder().fingerprint(), "pystoi": _version("pystoi"), "pesq": _version("pesq")}


def _compare_all(encoder: SpeakerEncoder, inputs: Sequence[ScoreInput]) -> list[Outcome]:
    clips = [clip for item in inputs for clip in (item.recording, item.clip) if clip is not None]
    vectors = dict(zip((id(clip) for clip in clips), embed_all(encoder, clips), strict=True))
    return [_compare(vectors, item) for item in inputs]


def _compare(vectors: Mapping[int, np.ndarray | None], item: ScoreInput) -> Outcome:
    if item.recording is None:
        return Skipped("no recording to compare with")
    recording, clip = item.recording, item.clip
    difference_s = abs(recording.duration_s - clip.duration_s)
    if difference_s > MAX_LENGTH_DIFFERENCE_S:
        return Skipped(f"recording and clip differ by {difference_s:.2f} s in length, so they are not aligned")
    length = min(len(recording.samples), len(clip.samples))
    before, after = recording.samples[:length], clip.samples[:length]
    ratio = si_sdr_db(before, after)
    if ratio is None or is_silent(before, SAMPLE_RATE_HZ) or is_silent(after, SAMPLE_RATE_HZ):
        return Skipped("the recording or the clip is silent")
    return {
        "stoi": stoi(before, after),
        "pesq_wb": pesq_wideband(before, after),
        "si_sdr_db": ratio,
        "log_mel_distance_db": log_mel_distance_db(before, after, SAMPLE_RATE_HZ),
        "speaker_cosine": _speaker_cosine(vectors[id(recording)], vectors[id(clip)]),
    }


def _speaker_cosine(before: np.ndarray | None, after: np.ndarray | None) -> float | Skipped:
    if before is None or after is None:
        return Skipped("holds less than 0.5 s of speech for the speaker encoder")
    return float(np.clip(np.dot(before.astype(np.float64), after.astype(np.float64)), -1.0, 1.0))


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


METRIC = CodecQuality()
