"""Robustness card of a detector: post-processing, short clips, one filter for all, partial fakes, speaker groups."""

from __future__ import annotations

import argparse
import json
import logging
from collections import Counter
from pathlib import Path
from typing import Any

import detectors
from detectors.labelled import LabelledClip
from evaluation.cli.progress_bar import terminal_progress
from evaluation.discovery import pick
from evaluation.leave_out import read_clip_cache
from evaluation.own_evidence.detectors import all_detectors
from evaluation.robustness_card import PARTS, CardPlan
from evaluation.robustness_clips import clips_of_corpus, clips_of_protocol
from evaluation.robustness_filter import FilterSearch
from evaluation.robustness_page import card_figure, card_markdown

EXAMPLE = "audiolm-audit detect-card --corpus ../shared/corpus --out runs/card"
CARD, PAGE, FIGURE = "card.json", "card.md", "card.svg"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--corpus", type=Path, help="folder with manifest.csv: its test speakers, re-synthesised here")
    parser.add_argument("--protocol", type=Path, help="instead: trials with keys, as detect-eval reads them")
    parser.add_argument("--cache", type=Path, help="instead: the test clips in the cache folder of detect-train")
    parser.add_argument("--audio", type=Path, help="with --protocol: the folder below which its files lie")
    parser.add_argument(
        "--generations", type=Path, action="append", default=[], help="with --corpus: also clips of this run folder"
    )
    parser.add_argument("--detector", default=detectors.DEFAULT_DETECTOR, help="name (default: %(default)s)")
    parser.add_argument("--weights", help="folder of a trained detector (default: the shipped one)")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N (default: %(default)s)")
    parser.add_argument("--parts", default=",".join(PARTS), help="comma-separated (default: %(default)s)")
    parser.add_argument("--clips", type=int, default=40, help="per class and condition (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=8, help="of the filter search (default: %(default)s)")
    parser.add_argument("--population", type=int, default=12, help="filters tried per round (default: %(default)s)")
    parser.add_argument("--fairness", type=Path, help="manifest with gender, accent (default: that of --corpus)")
    parser.add_argument("--fairness-split", default="fairness", help="its split (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="folder for card.json, card.md, card.svg")
    parser.add_argument("--json", action="store_true", help="print the card as JSON instead of Markdown")


def run(args: argparse.Namespace) -> int:
    wanted = [name.strip() for name in args.parts.split(",") if name.strip()]
    unknown = [name for name in wanted if name not in PARTS]
    if unknown or not wanted:
        raise ValueError(f"--parts {args.parts!r}: use some of {', '.join(PARTS)}")
    if args.clips < 4 or args.seed < 0:
        raise ValueError("--clips is at least 4, --seed at least 0")
    logging.getLogger().setLevel(logging.INFO)
    search = FilterSearch(rounds=args.rounds, population=args.population, seed=args.seed)
    detector = pick(all_detectors(), args.detector, "detector").load(args.weights, args.device)
    clips = _clips(args)
    plan = CardPlan(
        detector=detector,
        labelled=clips,
        clips=args.clips,
        seed=args.seed,
        search=search,
        fairness=args.fairness or (args.corpus / "manifest.csv" if args.corpus else None),
        fairness_split=args.fairness_split,
    )
    card = _begun(args, plan)
    args.out.mkdir(parents=True, exist_ok=True)
    with terminal_progress()("card", len(wanted)) as advance:
        for name in wanted:
            if name == "groups" and plan.fairness is None:
                logging.getLogger(__name__).warning("groups left out: name a manifest with --fairness")
            else:
                card["parts"][name] = PARTS[name](plan)
            (args.out / CARD).write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")
            advance(1)
    page = card_markdown(card)
    (args.out / PAGE).write_text(page, encoding="utf-8")
    (args.out / FIGURE).write_text(card_figure(card), encoding="utf-8")
    print(json.dumps(card, indent=1) if args.json else page)
    return 0


def _clips(args: argparse.Namespace) -> list[LabelledClip]:
    if sum(source is not None for source in (args.corpus, args.protocol, args.cache)) != 1:
        raise ValueError("name one of --corpus, --cache, or --protocol with --audio")
    if args.cache is not None:
        clips = [clip for clip in read_clip_cache(args.cache) if clip.split == "test" and clip.condition == "raw"]
        if len({clip.is_bona_fide for clip in clips}) < 2:
            raise ValueError(f"{args.cache}: holds no test clips of one class; a card needs both")
        return clips
    if args.corpus is not None:
        return clips_of_corpus(args.corpus, args.clips, args.seed, args.generations)
    if args.audio is None or not args.audio.is_dir():
        raise ValueError("--protocol needs --audio, the folder below which its files lie")
    return clips_of_protocol(args.protocol, args.audio)


def _begun(args: argparse.Namespace, plan: CardPlan) -> dict[str, Any]:
    """A new card, or the one in the folder where it is of the same detector, seed and clips: its other parts stay."""
    card: dict[str, Any] = {
        "detector": plan.detector.name,
        "weights_sha256": str(plan.detector.describe().get("weights_sha256", "")),
        "threshold_llr": plan.detector.threshold_llr,
        "direction": "higher = more likely bona fide",
        "seed": plan.seed,
        "per_class": plan.clips,
        "clips": dict(sorted(Counter(clip.generator for clip in plan.labelled).items())),
        "parts": {},
    }
    path = args.out / CARD
    if path.is_file():
        earlier = json.loads(path.read_text(encoding="utf-8"))
        if all(earlier.get(key) == value for key, value in card.items() if key != "parts"):
            card["parts"] = earlier["parts"]
    return card
