"""From any recording to 16 kHz speech windows, the same way for both classes and in bounded memory.

A recording of any length is cut into segments of 30 s; each is resampled (with a second of context on both
sides, so seams do not show), measured, and trimmed to its speech. What the detector abstains for is measured
here too: clipping, bandwidth, seconds of speech.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np

from detectors.features import SAMPLE_RATE_HZ

__all__ = ["SpeechSegment", "SpeechSurvey", "active_frames", "resample", "segments_at_16_khz", "speech_span", "survey"]

MOST_PHASES, MOST_STEPS = 1_000, 50_000
SEGMENT_S = 30
CONTEXT_S = 1
FRAME_SAMPLES = 320
"""20 ms at 16 kHz: the grid on which speech activity is decided."""
ABOVE_FLOOR_DB, BELOW_PEAK_DB, QUIETEST_DBFS = 6.0, 40.0, -65.0
CLOSED_FRAMES = 11
PLATEAU_SAMPLES = 3
PLATEAU_TOLERANCE = 1e-4
BANDWIDTH_DB = 60.0
SPECTRUM_SIZE = 512


def resample(samples: np.ndarray, source_hz: int, target_hz: int = SAMPLE_RATE_HZ) -> np.ndarray:
    """Windowed-sinc resampling of float32 ``[time]`` (torchaudio); the same array where the rates agree.

    Rates without a common measure (8,287 Hz) would need gigabytes there: scipy's polyphase filter does them, at a ratio
    of numbers that give it a filter of a few megabytes (767,999 Hz is off by less than a part in 10 ** 9).
    """
    if source_hz == target_hz or samples.size == 0:
        return np.ascontiguousarray(samples, dtype=np.float32)
    if target_hz // math.gcd(source_hz, target_hz) > MOST_PHASES:
        from scipy.signal import resample_poly

        ratio = Fraction(target_hz, source_hz).limit_denominator(MOST_STEPS)
        found = resample_poly(samples.astype(np.float32), ratio.numerator, ratio.denominator).astype(np.float32)
        length = -(-samples.size * target_hz // source_hz)
        return np.pad(found, (0, max(0, length - found.size)))[:length]
    import torch
    from torchaudio.functional import resample as sinc_resample

    with torch.inference_mode():
        tensor = torch.from_numpy(np.ascontiguousarray(samples, dtype=np.float32))
        return sinc_resample(tensor, source_hz, target_hz).numpy()


def active_frames(samples: np.ndarray) -> np.ndarray:
    """Which 20 ms frames of 16 kHz ``samples`` hold speech, bool ``[frame]``.

    A frame counts where it stands 6 dB over the quietest tenth and within 40 dB of the loudest frame, or in a
    gap of at most 200 ms between such frames (stops belong to speech). A steady sound has none.
    """
    count = samples.size // FRAME_SAMPLES
    if count == 0:
        return np.zeros(0, dtype=bool)
    frames = samples[: count * FRAME_SAMPLES].reshape(count, FRAME_SAMPLES).astype(np.float64)
    level_dbfs = 10.0 * np.log10(np.mean(frames**2, axis=1) + 1e-10)
    threshold = max(np.percentile(level_dbfs, 10) + ABOVE_FLOOR_DB, level_dbfs.max() - BELOW_PEAK_DB, QUIETEST_DBFS)
    reach = np.ones(CLOSED_FRAMES)
    spread = np.convolve(level_dbfs > threshold, reach, mode="full") > 0.5
    return np.convolve(spread, reach, mode="valid") > CLOSED_FRAMES - 0.5


def speech_span(active: np.ndarray) -> tuple[int, int]:
    """First and last-plus-one sample of speech, by the frames of :func:`active_frames`; (0, 0) without any."""
    frames = np.flatnonzero(active)
    return (int(frames[0]) * FRAME_SAMPLES, int(frames[-1] + 1) * FRAME_SAMPLES) if frames.size else (0, 0)


@dataclass(slots=True)
class SpeechSurvey:
    """What is known of a recording so far; grows by one segment at a time, its size does not."""

    samples: int = 0
    zero_samples: int = 0
    clipped_samples: int = 0
    active_s: float = 0.0
    spectrum: np.ndarray = field(default_factory=lambda: np.zeros(SPECTRUM_SIZE // 2 + 1))

    @property
    def clipped_share(self) -> float:
        return self.clipped_samples / max(self.samples, 1)

    @property
    def bandwidth_hz(self) -> float:
        """Highest frequency whose average power in speech is within 60 dB of the strongest; 0 without speech."""
        if self.spectrum.max() <= 0.0:
            return 0.0
        level_db = 10.0 * np.log10(self.spectrum / self.spectrum.max() + 1e-12)
        return float(np.flatnonzero(level_db > -BANDWIDTH_DB)[-1] * SAMPLE_RATE_HZ / SPECTRUM_SIZE)


@dataclass(frozen=True, slots=True)
class SpeechSegment:
    """Up to 30 s of a recording: ``raw`` at its own rate, ``samples`` at 16 kHz, ``start_s`` from its beginning."""

    start_s: float
    raw: np.ndarray
    samples: np.ndarray


def segments_at_16_khz(blocks: Iterable[np.ndarray], sample_rate_hz: int) -> Iterator[SpeechSegment]:
    """Re-block a recording into 30 s segments at 16 kHz; where the given blocks end makes no difference."""
    context, length = CONTEXT_S * sample_rate_hz, SEGMENT_S * sample_rate_hz
    buffer, lead, start_s = np.zeros(0, dtype=np.float32), 0, 0
    for block in blocks:
        for offset in range(0, len(block), length):
            buffer = np.concatenate([buffer, block[offset : offset + length]])
            while buffer.size >= lead + length + context:
                yield _segment(buffer[: lead + length + context], lead, length, sample_rate_hz, start_s)
                buffer, lead, start_s = buffer[lead + length - context :], context, start_s + SEGMENT_S
    while buffer.size > lead:
        yield _segment(buffer, lead, min(length, buffer.size - lead), sample_rate_hz, start_s)
        buffer, lead, start_s = buffer[max(0, lead + length - context) :], context, start_s + SEGMENT_S


def _segment(piece: np.ndarray, lead: int, length: int, sample_rate_hz: int, start_s: int) -> SpeechSegment:
    first = lead // sample_rate_hz * SAMPLE_RATE_HZ
    size = -(-length * SAMPLE_RATE_HZ // sample_rate_hz)
    samples = resample(piece, sample_rate_hz)[first : first + size]
    return SpeechSegment(float(start_s), piece[lead : lead + length], samples)


def survey(total: SpeechSurvey, segment: SpeechSegment) -> np.ndarray:
    """Add a segment to ``total``; gives its active frames."""
    total.samples += segment.raw.size
    total.zero_samples += int(segment.raw.size - np.count_nonzero(segment.raw))
    total.clipped_samples += _plateau_samples(segment.raw)
    active = active_frames(segment.samples)
    total.active_s += float(active.sum()) * FRAME_SAMPLES / SAMPLE_RATE_HZ
    speech = segment.samples[: active.size * FRAME_SAMPLES].reshape(-1, FRAME_SAMPLES)[active]
    if speech.size:
        taper = np.hanning(FRAME_SAMPLES).astype(np.float32)
        total.spectrum += (np.abs(np.fft.rfft(speech * taper, SPECTRUM_SIZE)) ** 2).sum(axis=0)
    return active


def _plateau_samples(raw: np.ndarray) -> int:
    """Samples in runs of three or more that sit at the positive or negative peak: the mark of clipping."""
    peak = float(np.abs(raw).max()) if raw.size else 0.0
    if peak == 0.0:
        return 0
    clipped = 0
    for sign in (1.0, -1.0):
        at_peak = sign * raw >= peak * (1.0 - PLATEAU_TOLERANCE)
        edges = np.flatnonzero(np.diff(np.concatenate([[0], at_peak.view(np.int8), [0]])))
        runs = edges[1::2] - edges[::2]
        clipped += int(runs[runs >= PLATEAU_SAMPLES].sum())
    return clipped
