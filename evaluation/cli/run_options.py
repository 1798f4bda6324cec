"""Options that ``audit`` and ``generate`` share, and the run they describe."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from evaluation.at_size.storage import is_address
from evaluation.config import RunConfig
from evaluation.engines import ENGINES, EngineOptions, cpu_count
from evaluation.outside_files import FILES, JOINED
from evaluation.prompts_source import EMBEDDED

CONTINUATION_S = 4.0
MAX_WORKERS = 8
"""Default limit; each worker holds its own scorers in memory."""

OUR_SYSTEM = "audiolm"

STEERING = ("resume", "json", "workers", "engine", "address", "gpus_per_worker", "item_limit", "usual_workers")
"""What only steers a call and shapes no number."""

__all__ = ["add_run_options", "add_workers", "command_line", "config_of", "engine_options", "seconds_of"]


def add_run_options(parser: argparse.ArgumentParser, *, out_required: bool = True) -> None:
    """``--prompts`` and what shapes generation."""
    parser.add_argument(
        "--prompts",
        metavar="PATH",
        help="manifest (CSV, JSON lines, Parquet), LibriSpeech, Libri-Light or VCTK tree, or a folder of audio;"
        " without it: the shipped synthetic prompts",
    )
    parser.add_argument("--split", help="keep the rows whose column split equals this")
    parser.add_argument("--limit", type=int, metavar="N", help="keep N utterances, speakers taking turns")
    parser.add_argument("--out", required=out_required, metavar="FOLDER", help="the run folder; must be empty or new")
    parser.add_argument("--checkpoint", default="nano", help="nano, a folder or a hub id (default: %(default)s)")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="same seed, same bytes (default: %(default)s)")
    parser.add_argument("--seconds", type=float, help=f"length of a continuation (default: {CONTINUATION_S})")
    parser.add_argument(
        "--prompt-seconds", type=float, default=3.0, help="what the system may hear (default: %(default)s)"
    )
    parser.add_argument(
        "--max-seconds", type=float, default=12.0, help="how much of a recording is used (default: %(default)s)"
    )
    parser.add_argument("--resume", action="store_true", help="go on with the run in FOLDER, same options")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def add_workers(parser: argparse.ArgumentParser, *, default: int = 0) -> None:
    """``--workers``, ``--engine`` and what belongs to it; none changes any number."""
    usual = "1" if default else f"the cores here, at most {MAX_WORKERS}; with ray, what the cluster has"
    parser.add_argument(
        "--workers",
        type=int,
        default=None,
        metavar="N",
        help=f"how many work at a time, each with models of its own; no number depends on it (default: {usual})",
    )
    parser.add_argument(
        "--engine",
        choices=ENGINES,
        help="where they work: local (this process), processes (on this machine) or ray (a cluster; extra ray)"
        " (default: processes where there are several workers)",
    )
    parser.add_argument("--address", default="", help="of the Ray cluster: auto, HOST:PORT (default: this machine)")
    parser.add_argument(
        "--gpus-per-worker", type=float, default=0.0, metavar="X", help="share of a GPU that each Ray worker takes"
    )
    parser.add_argument(
        "--item-limit", type=float, default=0.0, metavar="S",
        help="end a worker that takes longer than S seconds for one item, and mark the item failed with that reason"
        " (default: no limit)",
    )  # fmt: skip
    parser.set_defaults(usual_workers=default or min(cpu_count(), MAX_WORKERS))


def engine_options(args: argparse.Namespace) -> EngineOptions:
    """The engine that the options ask for."""
    usual = 0 if args.engine == "ray" else 1 if args.engine == "local" else args.usual_workers
    limited = "processes" if args.item_limit and not args.engine else ""
    return EngineOptions(
        name=args.engine or limited,
        workers=usual if args.workers is None else args.workers,
        address=args.address,
        gpus_per_worker=args.gpus_per_worker,
        item_limit_s=args.item_limit,
    )


def config_of(args: argparse.Namespace) -> RunConfig:
    """The run that the options ask for; paths are made absolute, so that a resume may start elsewhere."""
    recorded = getattr(args, "system", None)
    both = bool(args.prompts and recorded)
    joined = getattr(args, "joined", False)
    if joined and not both:
        raise ValueError("--joined says that the files of --system start with their --prompts; name both")
    prompts = "" if recorded and not both else str(Path(args.prompts).resolve()) if args.prompts else EMBEDDED
    scorers = getattr(args, "scorers", None) or []
    outside = str(recorded) if is_address(recorded or "") else str(Path(recorded).resolve()) if recorded else ""
    return RunConfig(
        prompts=prompts,
        recorded="" if both else outside,
        split=args.split,
        limit=args.limit,
        system=(JOINED if joined else FILES) if both else OUR_SYSTEM,
        checkpoint=outside if both else args.checkpoint,
        device=args.device,
        seed=args.seed,
        seconds=seconds_of(args),
        prompt_s=args.prompt_seconds,
        max_seconds=args.max_seconds,
        scorers=tuple(split_names(scorers)),
    )


def seconds_of(args: argparse.Namespace) -> float:
    """How long a clip is to be made: ``--seconds``, or what is usual."""
    return CONTINUATION_S if args.seconds is None else args.seconds


def split_names(values: list[str]) -> list[str]:
    """Names given as several words or with commas."""
    return [name for value in values for name in value.split(",") if name]


def command_line(verb: str, args: argparse.Namespace) -> str:
    """The command as a person could type it again, options in order of name; without what only steers this call."""
    words = ["audiolm-audit", verb]
    for name, value in sorted(vars(args).items()):
        flag = "--" + name.replace("_", "-")
        if name in STEERING or value in (None, False) or (name == "shard_rows" and not args.stream):
            continue
        words += [flag] if value is True else [flag, *(map(str, value) if isinstance(value, list) else [str(value)])]
    return shlex.join(words)
