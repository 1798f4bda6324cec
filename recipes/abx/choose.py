"""Which block of a w2v-BERT and how many clusters: ABX error of all of them and of MFCC, on the same triplets.

    python recipes/abx/choose.py --data ../shared/corpus/manifest.csv --split dev --w2v-bert runs/nano/w2v-bert/export
    python recipes/abx/choose.py --data ../shared/corpus/manifest.csv --split test --w2v-bert runs/nano/w2v-bert/export

Choose on ``dev``, report on ``test``. The dev split of the corpus has one utterance per speaker, too little for phones
in equal neighbourhoods, so phones are compared in any context there. Prints a table in Markdown.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from audiolm import checkpoint
from evaluation.cli import main as verb

DEV_DESIGN = ("--context", "any", "--span", "phone", "--min-frames", "1", "--max-items", "5", "--max-x-speakers", "2")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--split", choices=("dev", "test"), required=True)
    parser.add_argument("--w2v-bert", type=Path, required=True)
    parser.add_argument("--clusters", nargs="+", type=int, default=[64, 128, 256, 512])
    options = parser.parse_args()
    config, _, _ = checkpoint.load_part(options.w2v_bert, "w2v_bert")
    blocks = [f"model:{options.w2v_bert}#{layer}" for layer in range(1, config["masked"]["layers"] + 1)]
    features = ["mfcc", "log-mel", "mfcc@25", "log-mel@25", *blocks]
    tokens = [f"{base}/{count}" for base in ("mfcc@25", *blocks) for count in options.clusters]
    baseline = f"mfcc@25/{options.clusters[0]}"
    design = DEV_DESIGN if options.split == "dev" else ()
    command = ["abx", str(options.data), "--split", options.split, "--json", "--baseline", baseline, *design]
    print(as_markdown(measured([*command, "--representations", *features, *tokens])["rows"]))


def measured(command: Sequence[str]) -> dict[str, Any]:
    """What the verb prints as JSON."""
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown):
        code = verb(command)
    if code:
        raise SystemExit(code)
    return json.loads(shown.getvalue())


def as_markdown(rows: Sequence[dict[str, Any]]) -> str:
    """One line per representation: error and interval in each mode, in per cent."""
    modes = list(dict.fromkeys(row["mode"] for row in rows))
    cells = {(row["representation"], row["mode"]): in_per_cent(row["error"]) for row in rows}
    lines = [f"| representation | {' | '.join(modes)} |", "| --- " * (len(modes) + 1) + "|"]
    for name in dict.fromkeys(row["representation"] for row in rows):
        lines.append(f"| {name} | {' | '.join(cells[name, mode] for mode in modes)} |")
    return "\n".join(lines)


def in_per_cent(interval: dict[str, Any]) -> str:
    if interval["low"] is None:
        return f"{100 * interval['estimate']:.1f}"
    return f"{100 * interval['estimate']:.1f} ({100 * interval['low']:.1f} to {100 * interval['high']:.1f})"


if __name__ == "__main__":
    main()
