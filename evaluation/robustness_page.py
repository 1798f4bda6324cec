"""A robustness card as Markdown tables and a figure."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["card_figure", "card_markdown"]

TITLES = {
    "generators": "Plain clips, by generator",
    "post-processing": "After post-processing, both classes",
    "short": "Short clips",
    "filter": "One filter against all synthetic clips",
    "partial": "Partly synthetic recordings",
    "groups": "Genuine speech called synthetic, by group of speakers",
}
NOT_MEASURED = {
    "partial": "it takes recordings of at least 6 s, and synthetic clips of at least 3 s; with --corpus there are some",
}
NAMED_ROWS = ("generators", "post-processing", "short")
WIDTH, LEFT, ROW, TOP = 760, 210, 17, 58
MISS_COLOUR, FALSE_ALARM_COLOUR = "#123f7a", "#a11212"


def _share(value: Mapping[str, Any]) -> str:
    if value["share"] is None:
        return "-"
    interval = "" if value["low"] is None else f" [{100 * value['low']:.0f}, {100 * value['high']:.0f}]"
    return f"{100 * value['share']:.1f}{interval}"


def _equal(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"


def _rates_table(rows: Sequence[Mapping[str, Any]], first: str) -> list[str]:
    forced = any("eer_without_abstention" in row for row in rows)
    lines = [
        f"| {first} | genuine called synthetic % | synthetic called genuine % | EER % |"
        " no opinion: genuine %, synthetic % |" + (" EER % without abstention |" if forced else ""),
        "| --- | --- | --- | --- | --- |" + (" --- |" if forced else ""),
    ]
    for row in rows:
        away = [row[f"abstained_{kind}"]["share"] for kind in ("bona_fide", "synthetic")]
        said = ", ".join("-" if share is None else f"{100 * share:.0f}" for share in away)
        extra = f" {_equal(row['eer_without_abstention'])} |" if forced else ""
        lines.append(
            f"| {row['name']} | {_share(row['miss'])} | {_share(row['false_alarm'])} |"
            f" {_equal(row['eer_interpolated'])} | {said} |{extra}"
        )
    return lines


def _filter_lines(found: Mapping[str, Any]) -> list[str]:
    rows = [{"name": name, **found[key]} for name, key in (("without the filter", "before"), ("with it", "after"))]
    return [
        *_rates_table(rows, "synthetic clips the filter was not tuned on"),
        "",
        f"{found['taps']} taps, tuned on {found['tuning_clips']} other clips; STOI of the filtered speech"
        f" against itself {found['stoi_of_filtered']:.2f}. Access: {found['access']}.",
    ]


def _partial_lines(found: Mapping[str, Any]) -> list[str]:
    median = "none found" if found["median_seam_error_s"] is None else f"{found['median_seam_error_s']:.2f} s"
    scores = ", ".join(
        f"{name} {'-' if found[name] is None else format(found[name], '.2f')}" for name in ("precision", "recall", "f1")
    )
    return [
        "| measure | value |",
        "| --- | --- |",
        f"| EER on a grid of {1000 * found['grid_s']:.0f} ms | {_equal(found['grid_eer'])} % |",
        f"| segments at the shipped threshold | {scores} |",
        f"| first seam within 0.5 s | {_share(found['seam_within_0.5_s'])} % of"
        f" {found['seam_within_0.5_s']['clips']} |",
        f"| median error of the nearest seam | {median} |",
        f"| genuine recordings with a seam | {_share(found['genuine_with_a_seam'])} % of"
        f" {found['genuine_with_a_seam']['clips']} |",
    ]


def _group_lines(found: Mapping[str, Any]) -> list[str]:
    lines = ["| group | clips (speakers) | called synthetic % | no opinion % |", "| --- | --- | --- | --- |"]
    for row in found.get("rows", []):
        called = row["called_synthetic"]
        label = row["group"] if row["axis"] == "all" else f"{row['axis']}: {row['group']}"
        lines.append(
            f"| {label} | {called['clips']} ({called['speakers']}) | {_share(called)} | {_share(row['abstained'])} |"
        )
    return lines


def card_markdown(card: Mapping[str, Any]) -> str:
    """The whole card; 95 % intervals over speakers stand in brackets."""
    counts = ", ".join(f"{name} {count}" for name, count in card["clips"].items())
    lines = [
        f"# Robustness card of {card['detector']}",
        "",
        f"Weights {card['weights_sha256'][:12] or 'not stated'}, threshold {card['threshold_llr']:.2f} nats, seed"
        f" {card['seed']}, at most {card['per_class']} clips per class. Brackets: 95 % over speakers. Errors are shares"
        f" of the clips that got a verdict. Clips at hand: {counts}.",
        "",
    ]
    for part, title in TITLES.items():
        if part not in card["parts"]:
            continue
        found = card["parts"][part]
        if not found:
            lines += [f"## {title}", "", f"Not measured: {NOT_MEASURED.get(part, 'no clips for it')}.", ""]
            continue
        body = {"filter": _filter_lines, "partial": _partial_lines, "groups": _group_lines}.get(part)
        lines += [f"## {title}", "", *(body(found) if body else _rates_table(found, _first(part))), ""]
    return "\n".join(lines)


def _first(part: str) -> str:
    return {"generators": "generator", "post-processing": "change", "short": "length"}[part]


def card_figure(card: Mapping[str, Any]) -> str:
    """Miss (left half of each line) and false alarm with their intervals, one line per condition, as SVG."""
    groups = [(TITLES[part], card["parts"][part]) for part in NAMED_ROWS if card["parts"].get(part)]
    height = TOP + sum((len(rows) + 2) * ROW for _, rows in groups) + 10
    span = (WIDTH - LEFT - 40) / 2
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif"'
        ' font-size="11" role="img" aria-label="Errors by condition"><rect width="100%" height="100%" fill="#fff"/>'
    ]
    for place, (title, colour) in enumerate(
        (("genuine called synthetic", MISS_COLOUR), ("synthetic called genuine", FALSE_ALARM_COLOUR))
    ):
        left = LEFT + place * (span + 20)
        parts.append(f'<text x="{left}" y="18" fill="{colour}" font-size="13">{title}</text>')
        for tick in (0.0, 0.5, 1.0):
            x = left + tick * span
            parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="40" y2="{height - 8}" stroke="#ddd"/>')
            parts.append(f'<text x="{x:.1f}" y="34" text-anchor="middle" fill="#444">{tick:.0%}</text>')
    y = TOP
    for title, rows in groups:
        parts.append(f'<text x="8" y="{y + 4}" font-weight="bold">{html.escape(title)}</text>')
        y += ROW
        for row in rows:
            parts.append(f'<text x="{LEFT - 10}" y="{y + 4}" text-anchor="end">{html.escape(row["name"])}</text>')
            for place, (key, colour) in enumerate((("miss", MISS_COLOUR), ("false_alarm", FALSE_ALARM_COLOUR))):
                parts += _mark(row[key], LEFT + place * (span + 20), span, y, colour)
            y += ROW
        y += ROW
    return "\n".join([*parts, "</svg>\n"])


def _mark(value: Mapping[str, Any], left: float, span: float, y: int, colour: str) -> list[str]:
    if value["share"] is None:
        return [f'<text x="{left:.1f}" y="{y + 4}" fill="#777">no opinion</text>']
    low, high = (value["share"] if value[end] is None else value[end] for end in ("low", "high"))
    return [
        f'<line x1="{left + low * span:.1f}" x2="{left + high * span:.1f}" y1="{y}" y2="{y}" stroke="{colour}"/>',
        f'<circle cx="{left + value["share"] * span:.1f}" cy="{y}" r="3.5" fill="{colour}"/>',
    ]
