"""The log-mel convolutional detector (after AudioLM, section IV.F), with abstention and calibrated output."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from detectors import Verdict
from detectors.artefacts import read_config, read_json_file, read_weights
from detectors.calibration import Calibration
from detectors.features import SAMPLE_RATE_HZ, log_mel
from detectors.preparation import FRAME_SAMPLES, SpeechSegment, SpeechSurvey, segments_at_16_khz, speech_span, survey

if TYPE_CHECKING:
    from detectors.networks.mel_cnn import MelCnn

__all__ = ["DETECTOR", "MelCnnDetector", "speech_windows"]

SHIPPED = Path(__file__).parent / "pretrained" / "mel_cnn"
REFERENCE_SCORES = "reference_scores.json"
WINDOW_S, HOP_S, SHORTEST_S = 2.0, 1.0, 1.0
LEAST_ACTIVE_SHARE = 0.4
MOST_CLIPPED_SHARE = 0.01
LEAST_BANDWIDTH_HZ = 3_400.0
LOWEST_RATE_HZ, HIGHEST_RATE_HZ = 1_000, 768_000


def speech_windows(samples: np.ndarray, active: np.ndarray) -> list[tuple[int, int]]:
    """``(first, past)`` sample of each window to judge in one 16 kHz segment.

    Leading and trailing silence is left out. Windows last 2 s and start every second; the last one ends with
    the speech. Speech of 1 to 2 s makes one window of its own length. Windows that are mostly silence are
    left out unless there is no other.
    """
    first, past = speech_span(active)
    past = min(past, samples.size)
    length, hop = int(WINDOW_S * SAMPLE_RATE_HZ), int(HOP_S * SAMPLE_RATE_HZ)
    if past - first < SHORTEST_S * SAMPLE_RATE_HZ:
        return []
    if past - first <= length:
        return [(first, past)]
    starts = list(range(first, past - length + 1, hop))
    if starts[-1] + length < past:
        starts.append(past - length)
    shares = [active[start // FRAME_SAMPLES : (start + length) // FRAME_SAMPLES].mean() for start in starts]
    kept = [start for start, share in zip(starts, shares, strict=True) if share >= LEAST_ACTIVE_SHARE]
    return [(start, start + length) for start in kept or [starts[int(np.argmax(shares))]]]


class MelCnnDetector:
    """A loaded network with its calibration; see :class:`detectors.Detector`."""

    name = "mel_cnn"
    sample_rate_hz = SAMPLE_RATE_HZ

    def __init__(
        self, network: MelCnn, calibration: Calibration, config: Mapping[str, Any], folder: Path | None, device: str
    ) -> None:
        self.network = network.to(device).eval()
        self.calibration = calibration
        self.threshold_llr = float(config["threshold_llr"])
        self._config, self._folder, self._device = config, folder, device

    def judge(self, samples: np.ndarray, sample_rate_hz: int) -> Verdict:
        """Judge one mono clip, float32 ``[time]``, any length. Deterministic.

        Raises:
            ValueError: not 1-d, or an absurd rate.
        """
        return self.judge_blocks([samples], sample_rate_hz)

    def judge_blocks(self, blocks: Iterable[np.ndarray], sample_rate_hz: int) -> Verdict:
        """Judge one recording given as consecutive blocks, in memory that does not grow with its length.

        Gives what :meth:`judge` gives for the blocks joined together, wherever they are cut.
        """
        raw, timeline, problem = self.score_blocks(blocks, sample_rate_hz)
        if problem:
            return Verdict(llr=None, reason=problem)
        llrs = self.calibration([score for _, _, score in timeline])
        windows = tuple((start, end, float(llr)) for (start, end, _), llr in zip(timeline, llrs, strict=True))
        return Verdict(llr=float(self.calibration(raw)), timeline=windows)

    def score_blocks(
        self, blocks: Iterable[np.ndarray], sample_rate_hz: int
    ) -> tuple[float, list[tuple[float, float, float]], str]:
        """Before calibration: mean logit, ``(start_s, end_s, logit)`` per window, and why to abstain (or "")."""
        if not LOWEST_RATE_HZ <= sample_rate_hz <= HIGHEST_RATE_HZ:
            raise ValueError(
                f"sample rate is {sample_rate_hz} Hz; use audio between {LOWEST_RATE_HZ} and {HIGHEST_RATE_HZ} Hz"
            )
        total, scored = SpeechSurvey(), []
        try:
            for segment in segments_at_16_khz(_finite(blocks), sample_rate_hz):
                active = survey(total, segment)
                scored += self._score_segment(segment, active)
        except _NotFiniteError:
            return float("nan"), [], "holds NaN or infinite samples"
        problem = _why_abstain(total, len(scored), min(total.bandwidth_hz, sample_rate_hz / 2))
        mean = float(np.mean([score for _, _, score in scored])) if scored else float("nan")
        return mean, scored, problem

    def _score_segment(self, segment: SpeechSegment, active: np.ndarray) -> list[tuple[float, float, float]]:
        # One window at a time: a score may not depend on which other windows it was batched with.
        return [
            (segment.start_s + first / SAMPLE_RATE_HZ, segment.start_s + past / SAMPLE_RATE_HZ, score)
            for first, past in speech_windows(segment.samples, active)
            for score in [self._score_window(segment.samples[first:past])]
        ]

    def _score_window(self, samples: np.ndarray) -> float:
        import torch

        with torch.inference_mode():
            window = torch.from_numpy(np.ascontiguousarray(samples))[None].to(self._device)
            return float(self.network(log_mel(window))[0])

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


def _why_abstain(total: SpeechSurvey, windows: int, bandwidth_hz: float) -> str:
    """The first reason that applies, or "" where the clip can be judged."""
    if total.samples == 0:
        return "holds no samples"
    if total.zero_samples == total.samples:
        return "all samples are zero"
    if total.clipped_share > MOST_CLIPPED_SHARE:
        return f"heavily clipped: {total.clipped_share:.0%} of the samples sit at the peak"
    if total.active_s == 0.0:
        return "no speech: the level is steady or nothing is loud enough"
    if total.active_s < SHORTEST_S or windows == 0:
        return "under 1 s of speech"
    if bandwidth_hz < LEAST_BANDWIDTH_HZ:
        return f"narrow band: nothing above {bandwidth_hz:.0f} Hz, {LEAST_BANDWIDTH_HZ:.0f} Hz are needed"
    return ""


class _Entry:
    name = "mel_cnn"

    def load(self, path: str | None = None, device: str = "cpu") -> MelCnnDetector:
        """The shipped detector, or the one saved in folder ``path``.

        Raises:
            ValueError: a file is missing, altered, or does not fit the network.
        """
        from detectors.networks.mel_cnn import MelCnn, MelCnnConfig

        folder = Path(path) if path is not None else SHIPPED
        config = read_config(folder)
        network = MelCnn(MelCnnConfig.from_dict(config["network"]))
        try:
            network.load_state_dict(read_weights(folder, config))
        except RuntimeError as error:
            raise ValueError(f"{folder}: the weights do not fit the network in config.json ({error})") from error
        return MelCnnDetector(network, Calibration.from_dict(config["calibration"]), config, folder, device)


DETECTOR = _Entry()
