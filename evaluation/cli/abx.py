"""ABX phone discriminability of tokens and features, within and across speakers, on the same triplets.

Phones come from aligning the transcripts (PocketSphinx), or from a Libri-light .item table. Representations: mfcc,
log-mel, mfcc@25, log-mel@25; model:SOURCE (semantic tokens), model:SOURCE#LAYER (features of a block);
folder:PATH@RATE (one .npy per recording); any features with /K for their k-means, fitted on --fit-split.
"""

from __future__ import annotations

import argparse
import json
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import partial

from audiolm.audio import AudioClip
from evaluation.bootstrap import Interval, Resampler
from evaluation.cli.progress_bar import terminal_progress
from evaluation.cli.run_options import split_names
from evaluation.language.abx_cells import CONTEXTS, MODES, AbxDesign
from evaluation.language.alignment import align_utterances
from evaluation.language.comparison import AbxRow, compare_representations
from evaluation.language.items import SPANS, AbxItem, items_of, read_items, write_items
from evaluation.language.representations import parse_representations
from evaluation.manifest import read_utterances
from evaluation.records import Utterance

TOKEN_DISTANCES = ("identity", "edit", "centroid")
EXAMPLE = "audiolm-audit abx ../shared/corpus/manifest.csv --split test --representations mfcc@25/64 model:nano"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", metavar="PATH", help="manifest, corpus tree or folder with transcripts")
    parser.add_argument("--split", help="keep the rows whose column split equals this")
    parser.add_argument("--limit", type=int, metavar="N", help="keep N utterances, speakers taking turns")
    parser.add_argument(
        "--items", metavar="FILE", help="a .item table instead of aligning; its files are utterance ids"
    )
    parser.add_argument("--write-items", metavar="FILE", help="keep the aligned items as a .item table")
    parser.add_argument("--representations", nargs="+", default=["mfcc@25", "model:nano"], metavar="NAME")
    parser.add_argument("--baseline", default="", metavar="NAME", help="print reductions relative to this one")
    parser.add_argument("--fit-split", default="train", help="split that k-means is fitted on (default: %(default)s)")
    parser.add_argument("--mode", nargs="+", choices=MODES, default=list(MODES), help="default: both")
    parser.add_argument("--context", choices=CONTEXTS, default="triphone", help="which phones are compared")
    parser.add_argument("--span", choices=SPANS, default="triphone", help="what an aligned item covers")
    parser.add_argument("--distance", choices=TOKEN_DISTANCES, default="identity", help="of tokens; features: angle")
    parser.add_argument("--min-frames", type=int, default=2, help="shorter items are left out (default: %(default)s)")
    parser.add_argument("--max-items", type=int, default=10, help="items per side of a cell (default: %(default)s)")
    parser.add_argument("--max-x-speakers", type=int, default=5, help="speakers of x per pair (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=3459, help="of subsampling and k-means (default: %(default)s)")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="one JSON object")


def run(args: argparse.Namespace) -> int:
    utterances = read_utterances(args.data, split=args.split, limit=args.limit)
    items, skipped = _items(args, utterances)
    if args.write_items:
        write_items(args.write_items, items)

    def training() -> Iterator[AudioClip]:
        for one in read_utterances(args.data, split=args.fit_split):
            if not one.problem:
                yield AudioClip.from_file(one.audio_path)

    names = split_names(args.representations)
    parsed = parse_representations(names, training=training, seed=args.seed, device=args.device)
    rows = compare_representations(
        items,
        {one.utterance_id: partial(AudioClip.from_file, one.audio_path) for one in utterances},
        parsed,
        [_design(args, mode) for mode in args.mode],
        resampler=Resampler(seed=args.seed),
        baseline=args.baseline,
        distance=args.distance,
        min_frames=args.min_frames,
        progress=terminal_progress(),
    )
    facts = {"utterances": len(utterances), "skipped": dict(Counter(skipped)), "items": len(items), "seed": args.seed}
    if args.json:
        print(json.dumps({**facts, "rows": [_plain(row) for row in rows]}, sort_keys=True))
    else:
        _print(facts, rows)
    return 0


def _items(args: argparse.Namespace, utterances: Sequence[Utterance]) -> tuple[list[AbxItem], list[str]]:
    if args.items:
        return read_items(args.items), []
    alignments = align_utterances(utterances, progress=terminal_progress())
    speakers = {one.utterance_id: one.speaker_id or "unknown" for one in utterances}
    items = items_of(alignments.phones, speakers, span=args.span)
    if not items:
        reasons = "; ".join(sorted(set(alignments.skipped.values()))[:3]) or "no three phones without a pause"
        raise ValueError(f"{args.data}: no ABX item could be made ({reasons}); give speech with its transcripts")
    return items, list(alignments.skipped.values())


def _design(args: argparse.Namespace, mode: str) -> AbxDesign:
    return AbxDesign(
        mode=mode,
        context=args.context,
        max_items=args.max_items,
        max_x_speakers=args.max_x_speakers,
        seed=args.seed,
    )


def _plain(row: AbxRow) -> dict[str, object]:
    """JSON has no NaN: a bound that does not exist is null."""

    def bounds(interval: Interval | None) -> dict[str, object] | None:
        if interval is None:
            return None
        return {key: None if value != value else value for key, value in asdict(interval).items()}

    return {**asdict(row), "error": bounds(row.error), "reduction": bounds(row.reduction)}


def _print(facts: dict[str, object], rows: Sequence[AbxRow]) -> None:
    print(f"{facts['items']} items of {facts['utterances']} utterances; sampling seed {facts['seed']}")
    for reason, count in dict(facts["skipped"]).items():  # type: ignore[call-overload]
        print(f"  {count} utterances skipped: {reason}")
    width = max(len(row.representation) for row in rows)
    print(f"{'representation':<{width}}  mode    error %  95 % interval   reduction %")
    for row in rows:
        text = (
            f"{row.representation:<{width}}  {row.mode:<6}  {100 * row.error.estimate:7.2f}  {_bounds(row.error):<14}"
        )
        if row.reduction is not None:
            text += f"  {100 * row.reduction.estimate:.1f} ({_bounds(row.reduction)})"
        print(text.rstrip())
    for row in {row.mode: row for row in rows}.values():
        print(
            f"{row.mode}: {row.triplets} triplets in {row.cells} cells, {row.phone_pairs} ordered phone pairs,"
            f" {row.speakers} speakers; {row.items} items, {row.items_too_short} too short for a representation"
        )
    print(f"intervals: {rows[0].error.method}")


def _bounds(interval: Interval) -> str:
    if math.isnan(interval.low):
        return "none"
    return f"{100 * interval.low:.2f} to {100 * interval.high:.2f}"
