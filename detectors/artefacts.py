"""A shipped detector's folder: weights, config, reference scores; every byte checked against its digest.

``config.json`` holds the SHA-256 of each other file and, under ``config_sha256``, its own (over the
rest of it as canonical JSON). No pickle anywhere.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import torch
    from torch import nn

__all__ = ["FORMAT_VERSION", "fitted", "read_config", "read_json_file", "read_weights", "reading", "write_artefact"]

FORMAT_VERSION = 1
WEIGHTS, CONFIG = "model.safetensors", "config.json"
MAX_CONFIG_BYTES, MAX_FILE_BYTES = 4 << 20, 2 << 30
UNFIT = (ArithmeticError, AttributeError, LookupError, MemoryError, RuntimeError, TypeError, ValueError)
"""What code that takes a configuration for sound may end in."""

Network = TypeVar("Network", bound="nn.Module")


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
        if path.stat().st_size > MAX_CONFIG_BYTES:
            raise ValueError(f"more than {MAX_CONFIG_BYTES:,} bytes")
        config = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error}); name a folder that a detector was saved to") from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: is not JSON ({error}); copy the detector's folder again") from error
    if not isinstance(config, dict) or config.get("format_version") != FORMAT_VERSION:
        raise ValueError(f"{path}: is no detector config of format {FORMAT_VERSION}; use one this version has saved")
    if config.get("config_sha256") != _digest(_canonical(config)) or not isinstance(config.get("files"), dict):
        raise ValueError(f"{path}: does not have the digest it was saved with; copy the detector's folder again")
    return config


@contextmanager
def reading(folder: Path) -> Iterator[None]:
    """Around code that builds a detector from ``folder``: whatever its files make that code do is one ValueError."""
    try:
        yield
    except UNFIT as error:
        if isinstance(error, ValueError) and str(error).startswith(str(folder.parent)):
            raise
        what = (str(error).strip().split("\n")[0] or type(error).__name__)[:200]
        raise ValueError(f"{folder}: its files make no such detector ({what}); copy the folder again") from error


def fitted(make: Callable[[], Network], weights: Mapping[str, torch.Tensor], folder: Path) -> Network:
    """The network that ``make`` builds, with ``weights`` in it.

    Names and shapes are compared on the meta device first, so a configuration takes no more memory than its weights.

    Raises:
        ValueError: a weight is missing, left over or of another shape.
    """
    import torch

    with torch.device("meta"):
        own = {name: tensor.shape for name, tensor in make().state_dict().items()}
    found = {name: tensor.shape for name, tensor in weights.items()}
    wrong = [name for name in sorted({*own, *found}) if own.get(name) != found.get(name)]
    if wrong:
        raise ValueError(
            f"{folder}: the weights do not fit the network in config.json ({wrong[0][:80]!r} has shape"
            f" {_shape(found, wrong[0])}, it asks for {_shape(own, wrong[0])}); copy the detector's folder again"
        )
    network = make()
    network.load_state_dict(weights)
    return network


def _shape(shapes: Mapping[str, torch.Size], name: str) -> str:
    return str(list(shapes[name]))[:80] if name in shapes else "none"


def _checked_bytes(folder: Path, name: str, config: Mapping[str, Any]) -> bytes:
    path = folder / name
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise ValueError(f"{path}: has more than {MAX_FILE_BYTES:,} bytes; name a detector's folder")
        content = path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error}); copy the detector's folder again") from error
    if _digest(content) != config["files"].get(name):
        raise ValueError(f"{path}: its SHA-256 is not the one config.json names; copy the detector's folder again")
    return content


def read_weights(folder: Path, config: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """Tensors by name, after the digest check (ValueError names the file)."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    content = _checked_bytes(folder, WEIGHTS, config)
    try:
        tensors = load(content)
    except SafetensorError as error:
        raise ValueError(f"{folder / WEIGHTS}: is no safetensors file ({error}); copy the folder again") from error
    for name, tensor in tensors.items():
        if not bool(tensor.isfinite().all()):
            raise ValueError(f"{folder / WEIGHTS}: weight {name[:80]!r} is not finite; copy the folder again")
    return tensors


def read_json_file(folder: Path, name: str, config: Mapping[str, Any]) -> Any:
    """A further JSON file of the folder, after the digest check (ValueError names the file)."""
    return json.loads(_checked_bytes(folder, name, config))
