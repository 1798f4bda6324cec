"""Is there a seam where a continuation meets its prompt? A permutation test, and what jumped there by how much.

Both sides are cut into blocks; a block is described by five tracks of the recording conditions. If nothing changes at
the boundary, blocks of both sides are exchangeable: the observed jump is one of many that a shuffling of the blocks
gives. Blocks are long (0.2 s) so that neighbouring frames of one sound do not count as many witnesses. The test knows
where the boundary is, so it is the permutation change-point test at one given place (Pitman 1937; Good 2005).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evaluation.acoustics.level import is_silent
from evaluation.acoustics.log_mel import log_mel

__all__ = ["TRACKS", "Seam", "find_seam"]

TRACKS = ("level_db", "floor_db", "low_band_db", "high_band_db", "top_band_db")
"""Of a block: mean level; level of its quietest tenth of frames (noise, reverberation); levels below 300 Hz, from 2 to
4 kHz and above 4 kHz against its mean level (microphone, room, bandwidth)."""
BLOCK_S, HOP_S = 0.2, 0.01
SIDE_S = 3.0
"""At most this much on either side of the boundary, so that late drift is no seam."""
MIN_BLOCKS = 5
BANDS = 40
RATE_HZ = 16_000
LOW_HZ, MIDDLE_HZ, HIGH_HZ = 300.0, 2000.0, 4000.0
PERMUTATIONS = 999
MIN_SPREAD_DB = 0.5
"""Level differences below this are not heard; blocks that vary less are taken to vary so much."""
SEED = 5


@dataclass(frozen=True, slots=True)
class Seam:
    """``p_value``: share of shufflings with a jump as large, in (0, 1]; ``jumps_db``: after less before, per track in
    the order of ``TRACKS``; ``strength``: the largest jump in standard deviations of the blocks; ``track``: whose."""

    p_value: float
    strength: float
    track: str
    jumps_db: tuple[float, ...]


def find_seam(before: np.ndarray, after: np.ndarray) -> Seam | None:
    """Compare the end of ``before`` with the start of ``after``, samples at 16 kHz.

    None where a side is silent or shorter than five blocks (1 s). The statistic is the largest of the tracks' mean
    differences, each in standard deviations of that track over all blocks. 999 shufflings, the same for every clip of
    the same number of blocks.
    """
    size = int(SIDE_S * RATE_HZ)
    if is_silent(before[-size:], RATE_HZ) or is_silent(after[:size], RATE_HZ):
        return None
    left, right = _blocks(before[-size:], from_end=True), _blocks(after[:size], from_end=False)
    if min(len(left), len(right)) < MIN_BLOCKS:
        return None
    blocks = np.concatenate([left, right])  # [block, track]
    units = np.maximum(blocks.std(axis=0), MIN_SPREAD_DB)
    jumps = right.mean(axis=0) - left.mean(axis=0)
    scaled = np.abs(jumps) / units
    generator = np.random.default_rng([SEED, len(left), len(right)])
    orders = np.argsort(generator.random((PERMUTATIONS, len(blocks))), axis=1)
    weights = np.where(orders < len(left), -1.0 / len(left), 1.0 / len(right))  # [shuffling, block]
    shuffled = (np.abs(weights @ blocks) / units).max(axis=1)
    largest = float(scaled.max())
    p_value = (1 + int((shuffled >= largest - 1e-9).sum())) / (1 + PERMUTATIONS)
    return Seam(p_value, largest, TRACKS[int(scaled.argmax())], tuple(float(jump) for jump in jumps))


def _blocks(samples: np.ndarray, *, from_end: bool) -> np.ndarray:
    """Whole blocks counted from the boundary, float64 ``[block, track]`` in dB."""
    mels = log_mel(samples, RATE_HZ, bands=BANDS, hop_s=HOP_S)
    size = int(round(BLOCK_S / HOP_S))
    count = len(mels) // size
    kept = mels[len(mels) - count * size :] if from_end else mels[: count * size]
    powers = 10.0 ** (kept.reshape(count, size, BANDS) / 10.0)  # [block, frame, band]
    centres = _band_centres_hz()
    frames = powers.sum(axis=2)  # [block, frame]
    level = _db(frames.mean(axis=1))
    tracks = [level, _db(np.quantile(frames, 0.1, axis=1))]
    for inside in (centres < LOW_HZ, (centres >= MIDDLE_HZ) & (centres < HIGH_HZ), centres >= HIGH_HZ):
        tracks.append(_db(powers[:, :, inside].sum(axis=2).mean(axis=1)) - level)
    return np.stack(tracks, axis=1)


def _band_centres_hz() -> np.ndarray:
    top = 2595.0 * np.log10(1.0 + RATE_HZ / 2 / 700.0)
    return 700.0 * (10.0 ** (np.linspace(0.0, top, BANDS + 2)[1:-1] / 2595.0) - 1.0)


def _db(power: np.ndarray) -> np.ndarray:
    return 10.0 * np.log10(np.maximum(power, 1e-12))
