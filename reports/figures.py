"""Figures as inline SVG, drawn by hand: detection curves on probit axes, and intervals against ceiling and floor.

Colours come from the page's style sheet through classes, so that figures follow light, dark and print; series differ
by dash as well as by colour. Coordinates are rounded, so equal data give equal bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from statistics import NormalDist

from reports.estimates import Estimate
from reports.formats import clean, number_text, with_interval

__all__ = ["Anchor", "DetSeries", "PlotRow", "det_plot", "interval_plot"]

PROBIT_TICKS = (0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.95)
PROBIT_LOW, PROBIT_HIGH = 0.001, 0.97
DET_SIZE, DET_LEFT, DET_TOP, DET_BOTTOM = 400, 52, 10, 50
PLOT_WIDTH, ROW_HEIGHT, PLOT_MARGIN = 400, 42, 18
SERIES_CLASSES = ("series-a", "series-b", "series-c", "series-d")
LABEL_CHARACTERS = 44


@dataclass(frozen=True, slots=True)
class DetSeries:
    """One detection curve: shares in [0, 1] of equal length, and its equal error rate."""

    label: str
    p_false_alarm: Sequence[float]
    p_miss: Sequence[float]
    eer: float


@dataclass(frozen=True, slots=True)
class PlotRow:
    """One line of an interval plot; ``kind`` is ``main``, ``ceiling``, ``floor`` or ``other``."""

    label: str
    estimate: Estimate
    kind: str = "main"


@dataclass(frozen=True, slots=True)
class Anchor:
    """A vertical line through an interval plot: a threshold, a ceiling, a floor."""

    label: str
    value: float


def det_plot(series: Sequence[DetSeries], *, figure_id: str, title: str) -> str:
    """Curves on normal-deviate axes (Martin et al. 1997): synthetic clips that pass against bona fide clips flagged."""
    inner = DET_SIZE - DET_LEFT - 12
    low, high = (NormalDist().inv_cdf(edge) for edge in (PROBIT_LOW, PROBIT_HIGH))

    def place(share: float) -> float:
        share = min(max(share, PROBIT_LOW), PROBIT_HIGH)
        return (NormalDist().inv_cdf(share) - low) / (high - low)

    def x(share: float) -> str:
        return f"{DET_LEFT + place(share) * inner:.1f}"

    def y(share: float) -> str:
        return f"{DET_TOP + (1.0 - place(share)) * inner:.1f}"

    bottom = DET_TOP + inner
    parts = []
    for tick in PROBIT_TICKS:
        parts.append(f'<path class="grid" d="M{x(tick)} {DET_TOP}V{bottom}M{DET_LEFT} {y(tick)}H{DET_LEFT + inner}"/>')
        text = f"{tick * 100:g}"
        parts.append(f'<text class="tick" x="{x(tick)}" y="{bottom + 15}" text-anchor="middle">{text}</text>')
        parts.append(f'<text class="tick" x="{DET_LEFT - 5}" y="{y(tick)}" dy="4" text-anchor="end">{text}</text>')
    parts.append(f'<path class="diagonal" d="M{DET_LEFT} {bottom}L{DET_LEFT + inner} {DET_TOP}"/>')
    parts.append(f'<rect class="frame" x="{DET_LEFT}" y="{DET_TOP}" width="{inner}" height="{inner}"/>')
    for number, curve in enumerate(series):
        name = SERIES_CLASSES[number % len(SERIES_CLASSES)]
        points = list(dict.fromkeys((x(a), y(b)) for a, b in zip(curve.p_false_alarm, curve.p_miss, strict=True)))
        path = "L".join(f"{px} {py}" for px, py in points)
        parts.append(f'<path class="curve {name}" d="M{path}"/>')
        parts.append(f'<circle class="mark {name}" cx="{x(curve.eer)}" cy="{y(curve.eer)}" r="4"/>')
    middle = DET_LEFT + inner / 2
    parts.append(
        f'<text class="axis" x="{middle}" y="{bottom + 36}" text-anchor="middle">synthetic clips that pass (%)</text>'
        f'<text class="axis" transform="translate(14 {DET_TOP + inner / 2}) rotate(-90)" text-anchor="middle">'
        "bona fide clips flagged (%)</text>"
    )
    height = bottom + DET_BOTTOM + 8
    legend = []
    for number, curve in enumerate(series):
        top = height + 18 * number
        name = SERIES_CLASSES[number % len(SERIES_CLASSES)]
        legend.append(f'<path class="curve {name}" d="M{DET_LEFT} {top - 4}h28"/>')
        legend.append(f'<text class="label" x="{DET_LEFT + 36}" y="{top}">{escape(_short(curve.label, 48))}</text>')
    height += 18 * len(series) - 6
    description = "; ".join(f"{curve.label}: equal error rate {number_text(curve.eer, 'share')}" for curve in series)
    return _svg(figure_id, DET_SIZE, int(height), title, description, [*parts, *legend])


def interval_plot(
    rows: Sequence[PlotRow], *, figure_id: str, title: str, unit: str, anchors: Sequence[Anchor] = ()
) -> str:
    """Estimates as dots with their intervals as bars, one line each, on one common axis."""
    rows = [row for row in rows if row.estimate.known]
    values = [row.estimate.estimate for row in rows] + [anchor.value for anchor in anchors]
    for row in rows:
        values += [row.estimate.ci_low, row.estimate.ci_high] if row.estimate.has_interval else []
    low, high, step = _axis(values)
    inner = PLOT_WIDTH - 2 * PLOT_MARGIN

    def x(value: float) -> str:
        return f"{PLOT_MARGIN + (value - low) / (high - low) * inner:.1f}"

    top = 20 if anchors else 6
    bottom = top + ROW_HEIGHT * len(rows)
    parts = []
    tick = low
    while tick <= high + step / 2:
        parts.append(f'<path class="grid" d="M{x(tick)} {top}V{bottom}"/>')
        parts.append(
            f'<text class="tick" x="{x(tick)}" y="{bottom + 15}" text-anchor="middle">{_tick(tick, unit)}</text>'
        )
        tick += step
    for anchor in anchors:
        end = "end" if float(x(anchor.value)) > PLOT_WIDTH * 0.6 else "start"
        parts.append(f'<path class="anchor" d="M{x(anchor.value)} {top - 4}V{bottom}"/>')
        parts.append(
            f'<text class="tick" x="{x(anchor.value)}" y="11" text-anchor="{end}">{escape(anchor.label)}</text>'
        )
    for number, row in enumerate(rows):
        parts += _plot_row(row, top + ROW_HEIGHT * number, x, unit)
    description = "; ".join(f"{row.label}: {with_interval(row.estimate, unit)}" for row in rows)
    return _svg(figure_id, PLOT_WIDTH, bottom + 22, title, description, parts)


def _plot_row(row: PlotRow, top: int, x, unit: str) -> list[str]:
    estimate, line = row.estimate, top + 28
    name = row.kind if row.kind in ("main", "ceiling", "floor", "other") else "other"
    parts = [
        f'<text class="label" x="{PLOT_MARGIN}" y="{top + 15}">{escape(_short(row.label, LABEL_CHARACTERS))}</text>',
        f'<text class="value" x="{PLOT_WIDTH - PLOT_MARGIN}" y="{top + 15}" text-anchor="end">'
        f"{escape(number_text(estimate.estimate, unit))}</text>",
    ]
    if estimate.has_interval:
        ends = f"M{x(estimate.ci_low)} {line - 5}v10M{x(estimate.ci_high)} {line - 5}v10"
        parts.append(f'<path class="bar {name}" d="M{x(estimate.ci_low)} {line}H{x(estimate.ci_high)}{ends}"/>')
    parts.append(f'<circle class="dot {name}" cx="{x(estimate.estimate)}" cy="{line}" r="5"/>')
    return parts


def _axis(values: Sequence[float]) -> tuple[float, float, float]:
    """Round limits and step for an axis with three to seven steps that starts at 0 where all values allow it."""
    low, high = min([*values, 0.0]) if values else 0.0, max(values, default=1.0)
    if high <= low:
        high = low + 1.0
    power = 1e-9
    while (high - low) / power > 70:
        power *= 10
    step = next(
        (power * factor for factor in (1, 2, 2.5, 5, 10, 20) if (high - low) / (power * factor) <= 6), power * 20
    )
    first, last = int(low // step), -int(-high // step)
    return first * step, last * step, step


def _tick(value: float, unit: str) -> str:
    scaled = value * 100.0 if number_text(1.0, unit).endswith("%") else value
    text = f"{round(scaled, 6) + 0.0:g}"
    return text.replace("-", "−") + (" %" if scaled is not value else "")


def _short(text: str, limit: int) -> str:
    text = " ".join(clean(text).split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _svg(figure_id: str, width: int, height: int, title: str, description: str, parts: Sequence[str]) -> str:
    name = escape(figure_id, quote=True)
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-labelledby="{name}-t {name}-d">'
        f'<title id="{name}-t">{escape(clean(title))}</title><desc id="{name}-d">{escape(clean(description))}</desc>'
        f"{''.join(parts)}</svg>"
    )
