"""Measures of sets: closed forms of the distances, ranking models with known scores, planted copies."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from evaluation.corpus_metrics.likelihood_pairs import score_pair
from evaluation.corpus_metrics.token_likelihood import stage_sums
from evaluation.distribution.frechet import extrapolate, frechet_distance
from evaluation.distribution.kernel import kernel_distance, median_width
from evaluation.likelihood.chance import chance_band
from evaluation.likelihood.pairs import Pair
from evaluation.memorisation.mel_index import build_mel_index
from evaluation.memorisation.token_runs import TokenIndex
from evaluation.oracles import Oracle
from evaluation.oracles._sounds import RATE_HZ, voice

__all__ = ["ORACLES"]


def _points(seed: int, count: int = 400) -> np.ndarray:
    """Points with exactly zero mean and unit covariance, ``[count, 4]``."""
    drawn = np.random.default_rng(seed).standard_normal((count, 4))
    drawn -= drawn.mean(axis=0)
    return drawn @ np.linalg.inv(np.linalg.cholesky(np.cov(drawn, rowvar=False))).T


def _diagonal() -> float:
    """Deviations 1 to 4 against 2 to 5 and a shift of 3: 4 * 1 + 9 = 13."""
    scales = np.array([1.0, 2.0, 3.0, 4.0])
    return frechet_distance(_points(1) * scales, _points(2) * (scales + 1) + np.array([3.0, 0, 0, 0]))


def _null_at_infinity() -> float:
    generator = np.random.default_rng(5)
    sets = generator.standard_normal((2, 600, 16))
    return extrapolate(sets[0], sets[1], generator).infinite


def _null_kernel() -> float:
    generator = np.random.default_rng(6)
    sets = [generator.standard_normal((2, 100, 8)) for _ in range(20)]
    return float(np.mean([kernel_distance(one, two, median_width(one)) for one, two in sets]))


class _Knowing:
    """A model that finds high notes unlikely; ``sign`` 0 finds everything alike."""

    def __init__(self, sign: float) -> None:
        self._sign = sign

    def token_nats(self, samples: np.ndarray) -> Mapping[str, np.ndarray]:
        return {"semantic": np.full((1, 100), 1.0 + self._sign * float(np.abs(np.diff(samples)).mean()))}

    def semantic_tokens(self, samples: np.ndarray) -> np.ndarray:
        return np.zeros(100, dtype=np.int64)


def _ranked(sign: float) -> float:
    pair = Pair(voice(100.0, seconds=4.0), voice(300.0, seconds=4.0))
    return score_pair(_Knowing(sign), pair)["semantic"]


def _louder_copy_found() -> float:
    """Distance of two seconds out of a training recording, 3 dB louder."""
    generator = np.random.default_rng(7)
    recordings = [(str(i), voice(90.0 + 30 * i, seconds=5.0) * np.float32(1 + 0.1 * i)) for i in range(4)]
    mixed = [(name, x + 0.01 * generator.standard_normal(len(x)).astype(np.float32)) for name, x in recordings]
    start = int(1.28 * RATE_HZ)
    nearest = build_mel_index(mixed).nearest(1.41 * mixed[2][1][start : start + int(2.1 * RATE_HZ)])
    return float("nan") if nearest is None or nearest.name != "2" else nearest.distance_db


def _planted_run() -> float:
    generator = np.random.default_rng(8)
    training = [generator.integers(0, 500, 300) for _ in range(20)]
    asked = generator.integers(500, 1000, 60)
    asked[20:45] = training[7][100:125]
    return float(TokenIndex(training).longest_run(asked))


def _uniform() -> float:
    """Nats per token of a model that spreads evenly over 1,024 codes of 4 levels."""
    values = stage_sums({"coarse": np.full((4, 50), np.log(1024.0))})
    nats, tokens = values["coarse_nats"], values["coarse_tokens"]
    return nats / tokens if isinstance(nats, float) and isinstance(tokens, float) else float("nan")


ORACLES = (
    Oracle(scorer="likelihood_tokens", name="an even spread over 1,024 codes", unit="nats per token",
           expected=float(np.log(1024.0)), tolerance=1e-9, ask=_uniform),
    Oracle(scorer="distribution", name="two diagonal Gaussians, 4 * 1 + 3²", unit="", expected=13.0, tolerance=1e-8,
           ask=_diagonal),
    Oracle(scorer="distribution", name="a set against itself", unit="", expected=0.0, tolerance=1e-8,
           ask=lambda: frechet_distance(_points(1), _points(1))),
    Oracle(scorer="distribution", name="two samples of one normal, extrapolated", unit="", expected=0.0, tolerance=0.3,
           ask=_null_at_infinity),
    Oracle(scorer="distribution", name="kernel distance of two samples of one normal, mean of 20", unit="",
           expected=0.0, tolerance=2e-3, ask=_null_kernel),
    Oracle(scorer="likelihood_pairs", name="a model that knows the answer", unit="share", expected=1.0, tolerance=0.0,
           ask=lambda: _ranked(1.0)),
    Oracle(scorer="likelihood_pairs", name="a model that has it backwards", unit="share", expected=0.0, tolerance=0.0,
           ask=lambda: _ranked(-1.0)),
    Oracle(scorer="likelihood_pairs", name="a model that finds all alike: ties", unit="share", expected=0.5,
           tolerance=0.0, ask=lambda: _ranked(0.0)),
    Oracle(scorer="likelihood_pairs", name="share of 200 pairs that a coin still reaches", unit="share",
           expected=0.57, tolerance=0.0, ask=lambda: chance_band(200)[1]),
    Oracle(scorer="nearest_training", name="two seconds of a training recording, 3 dB louder", unit="dB",
           expected=0.0, tolerance=2.0, ask=_louder_copy_found),
    Oracle(scorer="nearest_training", name="a planted run of 25 tokens", unit="tokens", expected=25.0, tolerance=0.0,
           ask=_planted_run),
)  # fmt: skip
