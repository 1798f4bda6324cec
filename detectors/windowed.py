"""What every detector of windows shares: from a recording of any length to window scores, abstention, calibration."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from detectors import Verdict
from detectors.artefacts import read_json_file
from detectors.calibration import Calibration
from detectors.features import SAMPLE_RATE_HZ
from detectors.preparation import FRAME_SAMPLES, SpeechSegment, SpeechSurvey, segments_at_16_khz, speech_span, survey
from detectors.speech_likeness import SpeechCheck

__all__ = ["REFERENCE_SCORES", "SHORTEST_S", "WindowedDetector", "frame_windows", "speech_windows"]

REFERENCE_SCORES = "reference_scores.json"
WINDOW_S, HOP_S, LEAST_WINDOW_S, SHORTEST_S = 2.0, 1.0, 1.0, 2.0
FRAME_WINDOW_S, FRAME_HOP_S = 1.0, 0.25
LEAST_ACTIVE_SHARE = 0.4
MOST_CLIPPED_SHARE = 0.01
LEAST_BANDWIDTH_HZ = 3_400.0
LOWEST_RATE_HZ, HIGHEST_RATE_HZ = 1_000, 768_000

Timeline = list[tuple[float, float, float]]


def speech_windows(samples: np.ndarray, active: np.ndarray) -> list[tuple[int, int]]:
    """``(first, past)`` sample of each window to judge in one 16 kHz segment.

    Leading and trailing silence is left out. Windows last 2 s and start every second; the last one ends with
    the speech. Speech of 1 to 2 s makes one window of its own length. Windows that are mostly silence are
    left out unless there is no other.
    """
    return _windows(samples, active, WINDOW_S, HOP_S, shortest_s=LEAST_WINDOW_S)


def frame_windows(samples: np.ndarray, active: np.ndarray) -> list[tuple[int, int]]:
    """As :func:`speech_windows`, 1 s long and every quarter of a second: to find where generated speech begins."""
    return _windows(samples, active, FRAME_WINDOW_S, FRAME_HOP_S, shortest_s=FRAME_WINDOW_S)


def _windows(
    samples: np.ndarray, active: np.ndarray, window_s: float, hop_s: float, *, shortest_s: float
) -> list[tuple[int, int]]:
    first, past = speech_span(active)
    past = min(past, samples.size)
    length, hop = int(window_s * SAMPLE_RATE_HZ), int(hop_s * SAMPLE_RATE_HZ)
    if past - first < shortest_s * SAMPLE_RATE_HZ:
        return []
    if past - first <= length:
        return [(first, past)]
    starts = list(range(first, past - length + 1, hop))
    if starts[-1] + length < past:
        starts.append(past - length)
    shares = [active[start // FRAME_SAMPLES : (start + length) // FRAME_SAMPLES].mean() for start in starts]
    kept = [start for start, share in zip(starts, shares, strict=True) if share >= LEAST_ACTIVE_SHARE]
    return [(start, start + length) for start in kept or [starts[int(np.argmax(shares))]]]


class WindowedDetector:
    """A detector that scores 1 to 2 s of speech at a time; a subclass gives :meth:`score_window`."""

    name = ""
    sample_rate_hz = SAMPLE_RATE_HZ

    def __init__(self, calibration: Calibration, config: Mapping[str, Any], folder: Path | None) -> None:
        self.calibration = calibration
        self.threshold_llr = float(config["threshold_llr"])
        self._config, self._folder = config, folder

    def score_window(self, samples: np.ndarray) -> float:
        """Uncalibrated score of 1 to 2 s at 16 kHz, float32 ``[time]``; higher = more likely bona fide."""
        raise NotImplementedError

    def score_windows(self, samples: np.ndarray, windows: Sequence[tuple[int, int]]) -> list[float]:
        """Uncalibrated scores of stretches ``(first, past)`` of one segment.

        One at a time: a score may not depend on which other windows it was batched with.
        """
        return [self.score_window(samples[first:past]) for first, past in windows]

    def score_frames(self, samples: np.ndarray, windows: Sequence[tuple[int, int]]) -> list[float]:
        """As :meth:`score_windows`, for the short dense windows of localisation."""
        return self.score_windows(samples, windows)

    def judge(self, samples: np.ndarray, sample_rate_hz: int) -> Verdict:
        """Judge one mono clip, float32 ``[time]``, any length. Deterministic.

        Raises:
            ValueError: not 1-d, or an absurd rate.
        """
        return self.judge_blocks([samples], sample_rate_hz)

    def judge_blocks(self, blocks: Iterable[np.ndarray], sample_rate_hz: int, *, frames: bool = False) -> Verdict:
        """Judge one recording given as consecutive blocks, in memory that does not grow with its length.

        Gives what :meth:`judge` gives for the blocks joined together, wherever they are cut. ``frames``: also score
        1 s windows every quarter of a second into ``Verdict.frames``, for localisation.
        """
        raw, windows, fine, problem = self._score(blocks, sample_rate_hz, frames=frames)
        if problem:
            return Verdict(llr=None, reason=problem)
        return Verdict(
            llr=float(self.calibration(raw)), timeline=self._calibrated(windows), frames=self._calibrated(fine)
        )

    def score_blocks(self, blocks: Iterable[np.ndarray], sample_rate_hz: int) -> tuple[float, Timeline, str]:
        """Before calibration: mean score, ``(start_s, end_s, score)`` per window, and why to abstain (or "")."""
        raw, windows, _, problem = self._score(blocks, sample_rate_hz, frames=False)
        return raw, windows, problem

    def _calibrated(self, timeline: Timeline) -> tuple[tuple[float, float, float], ...]:
        llrs = self.calibration([score for _, _, score in timeline])
        return tuple((start, end, float(llr)) for (start, end, _), llr in zip(timeline, llrs, strict=True))

    def _score(
        self, blocks: Iterable[np.ndarray], sample_rate_hz: int, *, frames: bool
    ) -> tuple[float, Timeline, Timeline, str]:
        if not LOWEST_RATE_HZ <= sample_rate_hz <= HIGHEST_RATE_HZ:
            raise ValueError(
                f"sample rate is {sample_rate_hz} Hz; use audio between {LOWEST_RATE_HZ} and {HIGHEST_RATE_HZ} Hz"
            )
        total, scored, fine, speech = SpeechSurvey(), [], [], SpeechCheck()
        try:
            for segment in segments_at_16_khz(_finite(blocks), sample_rate_hz):
                active = survey(total, segment)
                speech.add(segment.samples, active)
                windows = speech.kept(speech_windows(segment.samples, active))
                scored += _placed(segment, windows, self.score_windows(segment.samples, windows))
                if frames:
                    short = speech.kept(frame_windows(segment.samples, active))
                    fine += _placed(segment, short, self.score_frames(segment.samples, short))
        except _NotFiniteError:
            return float("nan"), [], [], "holds NaN or infinite samples"
        problem = _why_abstain(total, speech, len(scored), min(total.bandwidth_hz, sample_rate_hz / 2))
        mean = float(np.mean([score for _, _, score in scored])) if scored else float("nan")
        return mean, scored, fine, problem

    def reference_scores(self) -> list[dict[str, Any]]:
        """This detector's output on held-out human speech, made when it was trained.

        One row per clip: ``speaker_id``, ``utterance_id``, ``split`` (``test``: used for nothing but these
        numbers; ``dev``: also used for calibration), ``condition``, ``duration_s``, ``llr`` (None where it
        abstained), ``reason``. With them error rates can be had where no human recording is at hand.
        """
        if self._folder is None:
            raise ValueError("this detector was not loaded from a folder, so it has no reference scores")
        return read_json_file(self._folder, REFERENCE_SCORES, self._config)["scores"]

    def describe(self) -> Mapping[str, object]:
        """Digest, version, training data, calibration, operating point."""
        keys = ("version", "training", "threshold_llr", "threshold_source", "polarity", "unit", "network")
        return {
            "name": self.name,
            "weights_sha256": self._config.get("files", {}).get("model.safetensors", ""),
            "config_sha256": self._config.get("config_sha256", ""),
            "calibration": self.calibration.to_dict(),
            **{key: self._config[key] for key in keys if key in self._config},
        }


def _placed(segment: SpeechSegment, windows: Sequence[tuple[int, int]], scores: Sequence[float]) -> Timeline:
    """``(start_s, end_s, score)`` of each window within the recording."""
    return [
        (segment.start_s + first / SAMPLE_RATE_HZ, segment.start_s + past / SAMPLE_RATE_HZ, score)
        for (first, past), score in zip(windows, scores, strict=True)
    ]


class _NotFiniteError(Exception):
    """A block held a value that is no number; ends the judgement of this recording."""


def _finite(blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    for block in blocks:
        array = np.asarray(block)
        if array.ndim != 1 or not np.issubdtype(array.dtype, np.floating):
            raise ValueError(f"samples are {array.dtype} of shape {array.shape}; give one channel of floats as [time]")
        if not np.isfinite(array).all():
            raise _NotFiniteError
        yield array.astype(np.float32, copy=False)


def _why_abstain(total: SpeechSurvey, speech: SpeechCheck, windows: int, bandwidth_hz: float) -> str:
    """The first reason that applies, or "" where the clip can be judged."""
    if total.samples == 0:
        return "holds no samples"
    if total.zero_samples == total.samples:
        return "all samples are zero"
    if total.clipped_share > MOST_CLIPPED_SHARE:
        return f"heavily clipped: {total.clipped_share:.0%} of the samples sit at the peak"
    if total.active_s == 0.0:
        return "no speech: the level is steady or nothing is loud enough"
    if total.active_s < SHORTEST_S or (windows == 0 and not speech.problem):
        return f"under {SHORTEST_S:.0f} s of speech: {total.active_s:.1f} s found"
    if bandwidth_hz < LEAST_BANDWIDTH_HZ:
        return f"narrow band: nothing above {bandwidth_hz:.0f} Hz, {LEAST_BANDWIDTH_HZ:.0f} Hz are needed"
    return speech.problem
