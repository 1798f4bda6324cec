"""``generate --mode``: one mode of the model straight to audio files, with everything that shapes a draw at hand."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from audiolm.audio import AUDIO_SUFFIXES, AudioClip, write_audio_blocks
from evaluation.cli.progress_bar import terminal_progress
from evaluation.cli.run_options import seconds_of
from evaluation.generators.audiolm import load_model, sampling_options
from evaluation.manifest import read_utterances
from evaluation.prompts_source import embedded_manifest
from evaluation.rendering import item_seed
from evaluation.run_folder import audio_name
from evaluation.whole_files import write_whole

__all__ = ["MODES", "add_file_options", "make_files"]

MODES = ("continuation", "acoustic", "unconditional")
RATE_HZ = 16_000
BATCH = 8
INDEX_NAME = "generate.json"
DECODERS = ("autoregressive", "parallel", "delayed")
PRECISIONS = ("float32", "bfloat16", "int8")


class Item(NamedTuple):
    """One file to make: its name, its utterance and draw, its seed, and what the model is given."""

    name: str
    utterance_id: str
    seed: int
    samples: np.ndarray | None


def add_file_options(parser: argparse.ArgumentParser) -> None:
    """Options of single modes; without ``--mode`` they have no effect and are refused."""
    group = parser.add_argument_group("one mode to files", "a folder of WAV files instead of a run folder")
    group.add_argument(
        "--mode",
        choices=MODES,
        help="continuation: what follows a prompt; acoustic: its own semantic tokens, said again; unconditional: from"
        " nothing. --prompts may then also be one audio file",
    )
    group.add_argument("--count", type=int, metavar="N", help="clips per prompt, or in all (unconditional); default 1")
    group.add_argument(
        "--whole-prompt", action="store_true", help="hear each recording's last 30 s, not its first --prompt-seconds"
    )
    group.add_argument("--join", action="store_true", help="write prompt and continuation as one file")
    group.add_argument("--until-end", action="store_true", help="end where the model ends; --seconds is the longest")
    group.add_argument("--stream", action="store_true", help="write each clip while it is made; reports first sound")
    group.add_argument("--decoder", choices=DECODERS, help="of the acoustic codes (default: the model's own)")
    group.add_argument("--precision", choices=PRECISIONS, help="of the stages' weights (default: float32)")
    group.add_argument("--temperature", type=float, nargs="+", metavar="T", help="one, or semantic coarse fine")
    group.add_argument("--top-k", type=int, nargs="+", metavar="K", help="likeliest tokens kept; 0 keeps all")
    group.add_argument("--top-p", type=float, nargs="+", metavar="P", help="nucleus; 1 keeps all")
    group.add_argument(
        "--passes", type=int, nargs="+", metavar="N", help="parallel decoder: per level, last for the rest"
    )
    group.add_argument(
        "--guidance", type=float, metavar="G", help="delayed decoder: 1 samples plainly, more follows the tokens closer"
    )
    group.add_argument(
        "--recall", type=float, metavar="SHARE", help="delayed decoder: of the chances that are the prompt's own codes"
    )
    group.add_argument("--longest-pause", type=float, metavar="S", help="seconds of silence before speech must go on")


FILE_OPTIONS = ("count", "whole_prompt", "join", "until_end", "stream", "decoder", "precision", "temperature", "top_k",
                "top_p", "passes", "guidance", "recall", "longest_pause")  # fmt: skip


def make_files(args: argparse.Namespace) -> dict[str, Any]:
    """Make the files; gives what ``generate.json`` holds: the system, the options and one entry per file.

    Raises:
        ValueError: options that exclude each other, a folder that is taken, or a prompt that cannot be read.
    """
    _check(args)
    out = Path(args.out)
    items = _items(args)
    model = load_model(args.checkpoint, args.device, args.precision or "float32")
    options = sampling_options(
        model.options,
        args.temperature,
        args.top_k,
        args.top_p,
        args.passes,
        args.guidance,
        args.recall,
        args.longest_pause,
    )
    system = model.describe()
    settings = {"options": options, "decoder": args.decoder or options.decoder}
    out.mkdir(parents=True, exist_ok=True)
    entries = []
    started = time.perf_counter()
    with terminal_progress()("generate", len(items)) as advance:
        for group in _groups(items, 1 if args.stream else BATCH):
            for item, blocks in zip(group, _made(model, args, group, settings), strict=True):
                entries.append(_write(out, item, blocks, args, system))
                advance(1)
    wall_s = time.perf_counter() - started
    made_s = sum(entry["duration_s"] for entry in entries)
    result = {
        "mode": args.mode,
        "system": system["name"],
        "system_sha256": system["digest"],
        "decoder": settings["decoder"],
        "files": entries,
        "wall_s": wall_s,
        "real_time_factor": wall_s / made_s if made_s else None,
    }
    write_whole(out / INDEX_NAME, json.dumps(result, indent=2, sort_keys=True) + "\n")
    return result


def _check(args: argparse.Namespace) -> None:
    out = Path(args.out)
    if out.is_dir() and any(out.iterdir()):
        raise ValueError(f"{out}: holds files already; name an empty or new folder")
    if args.resume:
        raise ValueError("--resume goes with a run folder; with --mode, name a new folder")
    if args.mode != "continuation" and (args.join or args.whole_prompt):
        raise ValueError("--join and --whole-prompt go with --mode continuation")
    if args.mode == "acoustic" and (args.until_end or args.stream):
        raise ValueError("--until-end and --stream go with --mode continuation or unconditional")
    if args.mode == "acoustic" and args.seconds is not None:
        raise ValueError(
            "--seconds goes with --mode continuation or unconditional; --mode acoustic makes each clip as long as its"
            " recording, of which --max-seconds says how much is used"
        )
    if args.mode == "unconditional" and args.prompts:
        raise ValueError("--mode unconditional takes no --prompts; leave them out")
    if args.count is not None and args.count < 1:
        raise ValueError(f"count is {args.count}; make at least 1 clip")


def _items(args: argparse.Namespace) -> list[Item]:
    count = args.count or 1
    if args.mode == "unconditional":
        names = [f"unconditional-{index:04d}" for index in range(count)]
        return [Item(name, name, item_seed(args.seed, name, args.mode), None) for name in names]
    items = []
    for name, samples in _prompts(args):
        for draw in range(count):
            label = name if draw == 0 else f"{name}#{draw}"
            file = audio_name(name) + (f"-{draw:04d}" if count > 1 else "")
            items.append(Item(file, name, item_seed(args.seed, label, args.mode), samples))
    return items


def _prompts(args: argparse.Namespace) -> Iterator[tuple[str, np.ndarray]]:
    source = Path(args.prompts) if args.prompts else embedded_manifest()
    if source.is_file() and source.suffix.lower() in AUDIO_SUFFIXES:
        named = [(source.stem, source)]
    else:
        utterances = read_utterances(source, split=args.split, limit=args.limit)
        broken = next((item for item in utterances if item.problem), None)
        if broken is not None:
            raise ValueError(f"{broken.utterance_id}: {broken.problem}")
        named = [(item.utterance_id, Path(item.audio_path)) for item in utterances]
    for name, path in named:
        if args.mode == "acoustic":
            clip = AudioClip.from_file(path, duration_s=args.max_seconds)
        else:
            clip = AudioClip.from_file(path, duration_s=None if args.whole_prompt else args.prompt_seconds)
        yield name, clip.at_rate(RATE_HZ).samples


def _made(
    model: Any, args: argparse.Namespace, group: Sequence[Item], settings: dict[str, Any]
) -> Sequence[Iterable[np.ndarray]]:
    """Blocks of samples for each item of ``group``, in order."""
    seeds = [item.seed for item in group]
    if args.mode == "acoustic":
        made = model.acoustic_generation([item.samples for item in group], seeds, **settings)
        return [[clip] for clip in made]
    settings = {**settings, "until_end": args.until_end}
    if args.stream:
        blocks = [model.stream(item.samples, seconds_of(args), item.seed, **settings) for item in group]
    elif args.mode == "unconditional":
        blocks = [[clip] for clip in model.unconditional(len(group), seconds_of(args), seeds, **settings)]
    else:
        made = model.continuation([item.samples for item in group], seconds_of(args), seeds, **settings)
        blocks = [[clip] for clip in made]
    if not args.join:
        return blocks
    return [_joined(item.samples, pieces) for item, pieces in zip(group, blocks, strict=True)]


def _joined(prompt: np.ndarray | None, pieces: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    if prompt is not None:
        yield prompt
    yield from pieces


def _write(
    out: Path, item: Item, blocks: Iterable[np.ndarray], args: argparse.Namespace, system: dict[str, Any]
) -> dict[str, Any]:
    provenance = {
        "tool": "audiolm-audit",
        "role": args.mode,
        "utterance_id": item.utterance_id,
        "system": system["name"],
        "system_sha256": system["digest"],
        "seed": item.seed,
    }
    path = out / f"{item.name}.wav"
    started = time.perf_counter()
    seen: dict[str, float] = {"samples": 0}

    def counted() -> Iterator[np.ndarray]:
        skipped = len(item.samples) if args.join and item.samples is not None else 0
        for block in blocks:
            seen["samples"] += len(block)
            if seen["samples"] > skipped:
                seen.setdefault("first_s", time.perf_counter() - started)
            yield block

    write_audio_blocks(path, counted(), RATE_HZ, provenance)
    entry = {
        "path": path.name,
        "utterance_id": item.utterance_id,
        "seed": item.seed,
        "duration_s": seen["samples"] / RATE_HZ,
    }
    return {**entry, "first_sound_s": seen["first_s"]} if args.stream else entry


def _groups(items: Sequence[Item], size: int) -> list[Sequence[Item]]:
    return [items[start : start + size] for start in range(0, len(items), size)]
