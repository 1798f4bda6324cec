"""Leave one generator and one codec out: folds trained in seconds on detect-train's clips, with macro and worst EER."""

from __future__ import annotations

import argparse
import html
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from evaluation.leave_out import codec_matrix, generator_matrix, read_clip_cache

EXAMPLE = "audiolm-audit detect-leave-out runs/detector/cache --out runs/leave-out"
KINDS: Mapping[str, Callable[..., dict[str, Any]]] = {"generator": generator_matrix, "codec": codec_matrix}
CELL, LEFT, TOP = 46, 170, 150


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("cache", type=Path, help="folder of clips: what the setting cache of detect-train names")
    parser.add_argument("--what", choices=(*KINDS, "both"), default="both", help="default: %(default)s")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="also write leave_out.json, .md and a figure each")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="one JSON object")


def run(args: argparse.Namespace) -> int:
    clips = read_clip_cache(args.cache)
    found = {name: KINDS[name](clips, seed=args.seed) for name in KINDS if args.what in (name, "both")}
    page = "\n".join(leave_out_markdown(result) for result in found.values())
    if args.out is not None:
        args.out.mkdir(parents=True, exist_ok=True)
        (args.out / "leave_out.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        (args.out / "leave_out.md").write_text(page, encoding="utf-8")
        for name, result in found.items():
            (args.out / f"leave_{name}_out.svg").write_text(matrix_figure(result), encoding="utf-8")
    print(json.dumps(found, indent=1) if args.json else page)
    return 0


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"


def leave_out_markdown(result: Mapping[str, Any]) -> str:
    """A table with the left-out and the seen EER beside each other; intervals over speakers in brackets."""
    lines = [
        f"| {result['left_out']} left out | EER % | EER % when trained on | at the carried threshold: genuine called"
        " synthetic %, synthetic called genuine % | test clips, genuine and synthetic |",
        "| --- | --- | --- | --- | --- |",
    ]
    for row, seen in zip(result["rows"], result["seen"], strict=True):
        interval = "" if row["low"] is None else f" [{_percent(row['low'])}, {_percent(row['high'])}]"
        lines.append(
            f"| {row['name']} | {_percent(row['eer'])}{interval} | {_percent(seen['eer'])} |"
            f" {_percent(row['p_miss_transferred'])}, {_percent(row['p_false_alarm_transferred'])} |"
            f" {row['n_bona_fide']}, {row['n_synthetic']} |"
        )
    lines.append(
        f"| **mean** | {_percent(result['macro_eer'])} | {_percent(result['macro_eer_seen'])} |"
        f" half total {_percent(result['macro_half_total_transferred'])} |"
        f" worst: {result['worst']} {_percent(result['worst_eer'])} |"
    )
    return "\n".join([*lines, ""])


def matrix_figure(result: Mapping[str, Any]) -> str:
    """EER of each fold (row: what it never saw) on each test set (column); darker is worse."""
    names: Sequence[str] = result["names"]
    width, height = LEFT + CELL * len(names) + 10, TOP + CELL * len(names) + 10
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif"'
        f' font-size="11" role="img" aria-label="EER by {result["left_out"]} left out">'
        '<rect width="100%" height="100%" fill="#fff"/>',
        f'<text x="8" y="18" font-size="13">Rows: {result["left_out"]} left out; columns: tested on; EER %</text>',
    ]
    for place, name in enumerate(names):
        x, y = LEFT + CELL * place + CELL / 2, TOP + CELL * place + CELL / 2
        label = html.escape(name)
        parts.append(f'<text transform="translate({x:.0f} {TOP - 8}) rotate(-60)">{label}</text>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.0f}" text-anchor="end">{label}</text>')
        for column, value in enumerate(result["matrix_eer"][place]):
            shade, left = min(1.0, value / 0.5), LEFT + CELL * column
            edge = ' stroke="#111" stroke-width="2"' if column == place else ""
            parts.append(
                f'<rect x="{left}" y="{y - CELL / 2:.0f}" width="{CELL - 2}" height="{CELL - 2}"'
                f' fill="rgb({255 - 90 * shade:.0f},{250 - 200 * shade:.0f},{245 - 200 * shade:.0f})"{edge}/>'
            )
            ink = "#fff" if shade > 0.6 else "#222"
            parts.append(
                f'<text x="{left + CELL / 2 - 1:.0f}" y="{y + 4:.0f}" text-anchor="middle" fill="{ink}">'
                f"{100 * value:.0f}</text>"
            )
    return "\n".join([*parts, "</svg>\n"])
