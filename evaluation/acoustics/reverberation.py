"""How fast sound dies away in a recording, without knowing the room: the fastest decays that a clip holds.

Blind estimates of reverberation time err by tens to hundreds of milliseconds (Eaton et al. 2016, ACE challenge), so
this is a difference measure: a room lets nothing decay faster than itself, so the fastest tenth of a clip's decays
follows the room and orders rooms rightly. After Ratnam et al. 2003 (decay rates) in four octave bands.
"""

from __future__ import annotations

import numpy as np

from evaluation.acoustics.filters import butterworth, filtered_bank
from evaluation.acoustics.level import frame_powers, is_silent, to_db

__all__ = ["decay_time_s"]

CENTRES_HZ = (500.0, 1000.0, 2000.0, 4000.0)
FRAME_S, STEP_S = 0.016, 0.008
RUN_FRAMES = 9
"""A decay is 72 ms long or longer; shorter ones are the gaps between a voice's pulses."""
MIN_FALL_DB = 10.0
RANGE_DB = 45.0
"""Frames further below the loudest are noise, which does not decay."""
FASTEST = 0.2
MIN_DECAYS = 5


def decay_time_s(samples: np.ndarray, sample_rate_hz: int) -> float | None:
    """Time for 60 dB at the rate of the fastest fifth of decays; None for silence or with fewer than five decays."""
    if is_silent(samples, sample_rate_hz):
        return None
    rates: list[float] = []
    signal = samples.astype(np.float64)
    bank = [
        butterworth(2, (centre / 2**0.5, centre * 2**0.5), "bandpass", sample_rate_hz)
        for centre in CENTRES_HZ
        if centre * 2**0.5 < sample_rate_hz / 2
    ]
    for filtered in filtered_bank(bank, signal):
        rates += _rates(to_db(frame_powers(filtered, sample_rate_hz, frame_s=FRAME_S, step_s=STEP_S)))
    if len(rates) < MIN_DECAYS:
        return None
    return float(60.0 / np.quantile(rates, 1.0 - FASTEST))


def _rates(levels_db: np.ndarray) -> list[float]:
    """Decay rates in dB per second of every falling run that is long, deep and loud enough."""
    smooth = np.convolve(levels_db, np.ones(3) / 3, mode="valid")
    falling = np.concatenate([[False], np.diff(smooth) < 0, [False]])
    starts = np.flatnonzero(falling[1:] & ~falling[:-1])
    ends = np.flatnonzero(~falling[1:] & falling[:-1])
    loudest, found = float(smooth.max()), []
    enough = (ends - starts + 1 >= RUN_FRAMES) & (smooth[starts] - smooth[ends] >= MIN_FALL_DB)
    for start, end in zip(starts[enough], ends[enough], strict=True):
        run = smooth[start : end + 1]
        run = run[run > loudest - RANGE_DB]
        if len(run) >= RUN_FRAMES and run[0] - run[-1] >= MIN_FALL_DB:
            time = np.arange(len(run)) * STEP_S
            centred = time - time.mean()
            found.append(-float(centred @ run / (centred @ centred)))
    return found
