"""How a model is to be sampled where the caller does not say: ``generation.json`` beside the parts of a checkpoint."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from audiolm.checkpoint import CheckpointError, config_from_dict
from audiolm.sampling import SamplingOptions
from audiolm.whole_files import write_whole

__all__ = ["FILE_NAME", "read_generation_defaults", "write_generation_defaults"]

FILE_NAME = "generation.json"
MAX_BYTES = 10_000


def read_generation_defaults(folder: Path) -> SamplingOptions:
    """The options in ``folder``; the paper's temperatures where it has none.

    Raises:
        CheckpointError: the file is not JSON, or has a key or value that :class:`SamplingOptions` has not.
    """
    path = folder / FILE_NAME
    if not path.is_file():
        return SamplingOptions()
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ValueError(f"has more than {MAX_BYTES} bytes")
        document = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(document, dict):
            raise ValueError("holds no JSON object")
        return config_from_dict(SamplingOptions, document)
    except (OSError, RecursionError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: is no set of sampling options ({error}); copy it again or remove it") from error


def write_generation_defaults(folder: Path, options: SamplingOptions) -> None:
    """Write ``options`` to ``folder``."""
    write_whole(folder / FILE_NAME, json.dumps(asdict(options), indent=2) + "\n")
