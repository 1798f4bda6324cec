"""Shares of pairs against a coin: exact band of chance, and the interval of Wilson."""

from __future__ import annotations

import math

from scipy import special, stats

__all__ = ["chance_band", "prefer", "wilson"]


def prefer(consistent_nats: float, other_nats: float) -> float:
    """1 where the consistent clip is likelier (fewer nats), 0 where the other is, 0.5 for a tie."""
    return 0.5 if consistent_nats == other_nats else float(consistent_nats < other_nats)


def chance_band(n_pairs: int, level: float = 0.05) -> tuple[float, float]:
    """Shares within which a coin's ``n_pairs`` tosses fall with probability ``1 - level`` or more (exact binomial).

    A share outside differs from a coin; with 200 pairs that takes 57.5 %.
    """
    if n_pairs < 1:
        return 0.0, 1.0
    low = int(stats.binom.ppf(level / 2, n_pairs, 0.5))
    return low / n_pairs, (n_pairs - low) / n_pairs


def wilson(share: float, n_pairs: int, confidence: float = 0.95) -> tuple[float, float]:
    """Interval of a share of independent pairs (Wilson 1927)."""
    if n_pairs < 1:
        return math.nan, math.nan
    z = float(special.ndtri(0.5 + confidence / 2))
    middle = (share + z * z / (2 * n_pairs)) / (1 + z * z / n_pairs)
    reach = z / (1 + z * z / n_pairs) * math.sqrt(share * (1 - share) / n_pairs + z * z / (4 * n_pairs**2))
    return middle - reach, middle + reach
