"""Train a detector from a TOML file: data, network, calibration, error tables, model card; resumable, seeded."""

from __future__ import annotations

import argparse
import logging
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pyright: ignore[reportMissingImports]

EXAMPLE = "audiolm-audit detect-train recipes/detector.toml"
KINDS: dict[str, type] = {
    "own_codec": bool,
    "leave_out": str,
    "share": float,
    "steps": int,
    "seed": int,
    "threads": int,
}
PATHS = ("corpus", "cache", "out")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", type=Path, metavar="CONFIG", help="TOML file, see recipes/detector.toml")
    parser.add_argument("--leave-out", metavar="NAME", help="overrides leave_out: a generator kept out, for a test")
    parser.add_argument("--out", type=Path, help="overrides out: the folder the detector is written to")


def run(args: argparse.Namespace) -> int:
    from evaluation.detector_training import TrainingPlan, train_detector

    settings = _settings(args.config, {field.name for field in fields(TrainingPlan)})
    if args.leave_out is not None:
        settings["leave_out"] = args.leave_out
    if args.out is not None:
        settings["out"] = args.out
    logging.getLogger().setLevel(logging.INFO)
    measures = train_detector(TrainingPlan(**settings))
    for name, value in measures.items():
        print(f"{name:<20} {value:.4f}")
    return 0


def _settings(path: Path, known: set[str]) -> dict[str, Any]:
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: cannot be read ({error}); name a TOML file") from error
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path}: is not TOML ({error}); see recipes/detector.toml") from error
    unknown = sorted(set(table) - known)
    if unknown:
        raise ValueError(f"{path}: unknown setting {unknown[0]!r}; use {', '.join(sorted(known))}")
    lacking = [name for name in ("corpus", "cache", "out") if name not in table]
    if lacking:
        raise ValueError(f"{path}: lacks {lacking[0]!r}; it names a folder")
    found: dict[str, Any] = {}
    for name, value in table.items():
        found[name] = _value(path, name, value)
    return found


def _value(path: Path, name: str, value: object) -> Any:
    if name in PATHS and isinstance(value, str):
        return Path(value)
    if name == "generations" and isinstance(value, list) and all(isinstance(one, str) for one in value):
        return tuple(Path(one) for one in value)
    if name == "codecs" and isinstance(value, dict) and all(isinstance(one, str) for one in value.values()):
        return {key: Path(one) for key, one in value.items()}
    kind = KINDS.get(name)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind is not None and type(value) is kind:
        return value
    raise ValueError(f"{path}: {name} is {value!r}; give what recipes/detector.toml has there")
