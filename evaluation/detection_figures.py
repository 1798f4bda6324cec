"""DET, Tippett and reliability figures of scored trials as SVG files that need nothing to be shown."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.special import expit, ndtri

from detectors import error_rates
from evaluation.whole_files import write_whole

__all__ = ["draw_figures"]

SIZE, MARGIN = 460, 60
TICKS = (0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.4)
POINTS = 600
BINS = 10

Line = tuple[np.ndarray, np.ndarray, str, str]


def draw_figures(folder: Path, bona: np.ndarray, synth: np.ndarray) -> list[Path]:
    """``det.svg``, ``tippett.svg``, ``reliability.svg`` in ``folder``, made where missing; scores in nats."""
    folder.mkdir(parents=True, exist_ok=True)
    figures = {"det": _det(bona, synth), "tippett": _tippett(bona, synth), "reliability": _reliability(bona, synth)}
    paths = []
    for name, text in figures.items():
        path = folder / f"{name}.svg"
        write_whole(path, text)
        paths.append(path)
    return paths


def _det(bona: np.ndarray, synth: np.ndarray) -> str:
    p_false_alarm, p_miss = error_rates.det_curve(bona, synth)
    keep = np.unique(np.linspace(0, p_miss.size - 1, POINTS).round().astype(int))
    low, high = ndtri(TICKS[0]), ndtri(0.5)
    curve = [
        np.clip((ndtri(np.clip(p[keep], 1e-6, 0.999)) - low) / (high - low), 0, 1) for p in (p_false_alarm, p_miss)
    ]
    ticks = [(float((ndtri(value) - low) / (high - low)), f"{value:.1%}") for value in TICKS]
    diagonal = np.asarray([0.0, 1.0])
    title = f"DET curve, EER {error_rates.eer(bona, synth):.2%}"
    lines: list[Line] = [(curve[0], curve[1], "#123f7a", "detector"), (diagonal, diagonal, "#999", "equal rates")]
    return _svg(title, "synthetic accepted", "bona fide rejected", ticks, ticks, lines)


def _tippett(bona: np.ndarray, synth: np.ndarray) -> str:
    limit = float(max(1.0, np.abs(np.concatenate([bona, synth])).clip(max=20.0).max()))
    at = np.linspace(-limit, limit, POINTS)
    shares = [1.0 - np.searchsorted(np.sort(scores), at, side="left") / scores.size for scores in (bona, synth)]
    x = (at + limit) / (2 * limit)
    x_ticks = [(k / 4, f"{-limit + 2 * limit * k / 4:.1f}") for k in range(5)]
    y_ticks = [(k / 4, f"{k / 4:.0%}") for k in range(5)]
    lines: list[Line] = [(x, shares[0], "#0b5a2b", "bona fide"), (x, shares[1], "#a11212", "synthetic")]
    return _svg("Tippett plot", "ratio, nats", "share of trials at or above", x_ticks, y_ticks, lines)


def _reliability(bona: np.ndarray, synth: np.ndarray) -> str:
    """Share of bona fide at equal priors, each class counting alike, by the probability the ratio stands for."""
    said = expit(np.concatenate([bona, synth]))
    weight = np.repeat([0.5 / bona.size, 0.5 / synth.size], [bona.size, synth.size])
    is_bona = np.repeat([1.0, 0.0], [bona.size, synth.size])
    place = np.minimum((said * BINS).astype(int), BINS - 1)
    total = np.bincount(place, weight, BINS)
    used = total > 0
    expected = np.bincount(place, weight * said, BINS)[used] / total[used]
    found = np.bincount(place, weight * is_bona, BINS)[used] / total[used]
    ticks = [(k / 4, f"{k / 4:.0%}") for k in range(5)]
    diagonal = np.asarray([0.0, 1.0])
    lines: list[Line] = [(expected, found, "#123f7a", "detector"), (diagonal, diagonal, "#999", "calibrated")]
    return _svg("Reliability at equal priors", "said: bona fide", "found: bona fide", ticks, ticks, lines)


def _svg(
    title: str,
    x_label: str,
    y_label: str,
    x_ticks: Sequence[tuple[float, str]],
    y_ticks: Sequence[tuple[float, str]],
    lines: Sequence[Line],
) -> str:
    span = SIZE - 2 * MARGIN

    def across(share: float) -> str:
        return f"{MARGIN + share * span:.1f}"

    def down(share: float) -> str:
        return f"{SIZE - MARGIN - share * span:.1f}"

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {SIZE} {SIZE}" font-family="sans-serif" font-size="12"'
        f' role="img" aria-label="{title}"><rect width="100%" height="100%" fill="#fff"/>',
        f'<text x="{SIZE / 2}" y="26" text-anchor="middle" font-size="14">{title}</text>',
        f'<text x="{SIZE / 2}" y="{SIZE - 14}" text-anchor="middle">{x_label}</text>',
        f'<text transform="translate(16 {SIZE / 2}) rotate(-90)" text-anchor="middle">{y_label}</text>',
    ]
    for share, text in x_ticks:
        parts.append(
            f'<line x1="{across(share)}" x2="{across(share)}" y1="{down(0)}" y2="{down(1)}" stroke="#e4e4e4"/>'
        )
        parts.append(
            f'<text x="{across(share)}" y="{SIZE - MARGIN + 16}" text-anchor="middle" font-size="10">{text}</text>'
        )
    for share, text in y_ticks:
        parts.append(
            f'<line x1="{across(0)}" x2="{across(1)}" y1="{down(share)}" y2="{down(share)}" stroke="#e4e4e4"/>'
        )
        parts.append(f'<text x="{MARGIN - 4}" y="{down(share)}" text-anchor="end" font-size="10">{text}</text>')
    for index, (x, y, colour, label) in enumerate(lines):
        points = " ".join(f"{across(float(a))},{down(float(b))}" for a, b in zip(x, y, strict=True))
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts.append(
            f'<text x="{SIZE - MARGIN - 4}" y="{MARGIN + 14 + 16 * index}" fill="{colour}" text-anchor="end">'
            f"{label}</text>"
        )
    return "\n".join([*parts, "</svg>\n"])
