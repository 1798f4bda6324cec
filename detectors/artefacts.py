"""A shipped detector's folder: weights, config, reference scores; every byte checked against its digest.

``config.json`` holds the SHA-256 of each other file and, under ``config_sha256``, its own (over the
rest of it as canonical JSON). No pickle anywhere.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

__all__ = ["FORMAT_VERSION", "read_config", "read_json_file", "read_weights", "write_artefact"]

FORMAT_VERSION = 1
WEIGHTS, CONFIG = "model.safetensors", "config.json"


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _canonical(config: Mapping[str, Any]) -> bytes:
    rest = {key: value for key, value in config.items() if key != "config_sha256"}
    return json.dumps(rest, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def write_artefact(
    folder: Path, weights: Mapping[str, torch.Tensor], config: Mapping[str, Any], json_files: Mapping[str, Any]
) -> None:
    """Write weights, further JSON files, and a config that names the digest of each. Same content, same bytes."""
    from safetensors.torch import save

    folder.mkdir(parents=True, exist_ok=True)
    contents = {WEIGHTS: save({name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()})}
    for name, value in json_files.items():
        contents[name] = (json.dumps(value, indent=1, sort_keys=True, ensure_ascii=True) + "\n").encode()
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    digests = {name: _digest(content) for name, content in sorted(contents.items())}
    full = {**config, "format_version": FORMAT_VERSION, "files": digests}
    full["config_sha256"] = _digest(_canonical(full))
    (folder / CONFIG).write_text(json.dumps(full, indent=1, sort_keys=True, ensure_ascii=True) + "\n")


def read_config(folder: Path) -> dict[str, Any]:
    """The checked config of a detector's folder.

    Raises:
        ValueError: missing, not JSON, of another format version, or altered.
    """
    path = folder / CONFIG
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error}); name a folder that a detector was saved to") from error
    except ValueError as error:
        raise ValueError(f"{path}: is not JSON ({error}); copy the detector's folder again") from error
    if not isinstance(config, dict) or config.get("format_version") != FORMAT_VERSION:
        raise ValueError(f"{path}: is no detector config of format {FORMAT_VERSION}; use one this version has saved")
    if config.get("config_sha256") != _digest(_canonical(config)):
        raise ValueError(f"{path}: does not have the digest it was saved with; copy the detector's folder again")
    return config


def _checked_bytes(folder: Path, name: str, config: Mapping[str, Any]) -> bytes:
    path = folder / name
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error}); copy the detector's folder again") from error
    if _digest(content) != config["files"].get(name):
        raise ValueError(f"{path}: its SHA-256 is not the one config.json names; copy the detector's folder again")
    return content


def read_weights(folder: Path, config: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """Tensors by name, after the digest check (ValueError names the file)."""
    from safetensors.torch import load

    return load(_checked_bytes(folder, WEIGHTS, config))


def read_json_file(folder: Path, name: str, config: Mapping[str, Any]) -> Any:
    """A further JSON file of the folder, after the digest check (ValueError names the file)."""
    return json.loads(_checked_bytes(folder, name, config))
