"""A waterfall as inline SVG: where a number starts, what each stage adds, where it ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from reports.figures import PLOT_MARGIN, PLOT_WIDTH, _axis, _short, _svg, _tick
from reports.formats import number_text

__all__ = ["Step", "waterfall"]

ROW_HEIGHT, BAR_HEIGHT = 42, 10


@dataclass(frozen=True, slots=True)
class Step:
    """``label``: the stage; ``start`` and ``end``: the number before and after it; ``total``: drawn from 0 to end."""

    label: str
    start: float
    end: float
    total: bool = False


def waterfall(steps: Sequence[Step], *, figure_id: str, title: str, unit: str) -> str:
    """One row per step, bars on one common axis that holds 0."""
    low, high, step_size = _axis([0.0, *(value for step in steps for value in (step.start, step.end))])
    inner = PLOT_WIDTH - 2 * PLOT_MARGIN

    def x(value: float) -> float:
        return PLOT_MARGIN + (value - low) / (high - low) * inner

    bottom, parts, tick = 6 + ROW_HEIGHT * len(steps), [], low
    while tick <= high + step_size / 2:
        parts.append(f'<path class="grid" d="M{x(tick):.1f} 6V{bottom}"/>')
        text = _tick(tick, unit)
        parts.append(f'<text class="tick" x="{x(tick):.1f}" y="{bottom + 15}" text-anchor="middle">{text}</text>')
        tick += step_size
    words = []
    for number, step in enumerate(steps):
        top = 6 + ROW_HEIGHT * number
        change = step.end if step.total else step.end - step.start
        text = number_text(change, unit) if step.total or change < 0 else f"+{number_text(change, unit)}"
        words.append(f"{step.label}: {text}")
        left, right = sorted((x(0.0 if step.total else step.start), x(step.end)))
        kind = "total" if step.total else "worse" if change > 0 else "better"
        parts.append(
            f'<text class="label" x="{PLOT_MARGIN}" y="{top + 15}">{escape(_short(step.label, 48))}</text>'
            f'<text class="value" x="{PLOT_WIDTH - PLOT_MARGIN}" y="{top + 15}" text-anchor="end">{escape(text)}</text>'
            f'<rect class="step {kind}" x="{left:.1f}" y="{top + 21}" width="{max(right - left, 1.0):.1f}"'
            f' height="{BAR_HEIGHT}"/>'
        )
        if number + 1 < len(steps):
            parts.append(
                f'<path class="link" d="M{x(step.end):.1f} {top + 21 + BAR_HEIGHT}v{ROW_HEIGHT - BAR_HEIGHT}"/>'
            )
    return _svg(figure_id, PLOT_WIDTH, bottom + 22, title, "; ".join(words), parts)
