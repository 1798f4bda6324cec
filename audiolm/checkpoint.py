"""One folder per trained part: ``config.json`` beside ``model.safetensors``. Nothing is ever unpickled.

``config.json`` holds the format name and version, the part's name, the configuration its class is built
from, the SHA-256 of the weights file and the training record. Loading checks all of them, so that a
foreign, cut-off or exchanged file is refused by name instead of failing deep inside a layer.
"""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import json
import types
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from audiolm.checkpoint_limits import MAX_CONFIG_BYTES, HeaderError, UnfitConfigError, check_weights_file, outline
from audiolm.whole_files import write_whole

__all__ = [
    "CONFIG_NAME",
    "WEIGHTS_NAME",
    "CheckpointError",
    "build",
    "config_from_dict",
    "config_to_dict",
    "load_part",
    "load_weights",
    "part_digest",
    "save_part",
    "stored_part",
    "weights_digest",
]

FORMAT = "audiolm"
FORMAT_VERSION = 1
CONFIG_NAME = "config.json"
WEIGHTS_NAME = "model.safetensors"

Config = TypeVar("Config")
Module = TypeVar("Module", bound=nn.Module)
LONGEST_SHOWN = 80
"""Characters of a wrong value that an error quotes."""


class CheckpointError(ValueError):
    """A checkpoint that cannot be used; the message names the file, the problem and the remedy."""


def save_part(
    folder: str | Path,
    *,
    part: str,
    config: Mapping[str, Any],
    state_dict: Mapping[str, Tensor],
    record: Mapping[str, Any],
    half: bool = True,
) -> None:
    """Write one part into ``folder`` (made if missing); each file appears whole or not at all.

    ``config``: plain values (see :func:`config_to_dict`); ``record``: provenance and training, JSON values;
    ``half``: store floating-point weights as float16. A weight that float16 cannot hold is an error.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: _for_disk(name, tensor, half) for name, tensor in state_dict.items()}
    weights = save_tensors(tensors)
    document = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "part": part,
        "config": dict(config),
        "weights_sha256": hashlib.sha256(weights).hexdigest(),
        "record": dict(record),
    }
    text = json.dumps(document, indent=2, sort_keys=True, allow_nan=False) + "\n"
    write_whole(folder / WEIGHTS_NAME, weights)
    write_whole(folder / CONFIG_NAME, text.encode("utf-8"))


def load_part(folder: str | Path, part: str) -> tuple[dict[str, Any], dict[str, Tensor], dict[str, Any]]:
    """Read a part back: its configuration, its weights (float32 where they were float16) and its record.

    Raises:
        CheckpointError: a file is missing, is not ours, holds another part, is truncated or was changed.
    """
    folder = Path(folder)
    document = _read_document(folder, part)
    path = folder / WEIGHTS_NAME
    try:
        check_weights_file(path)
        data = path.read_bytes()
    except HeaderError as error:
        raise CheckpointError(f"{path}: {error}") from error
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror}); restore the weights file") from error
    digest = hashlib.sha256(data).hexdigest()
    if digest != document["weights_sha256"]:
        raise CheckpointError(
            f"{path}: SHA-256 is {digest[:12]}..., {CONFIG_NAME} says {document['weights_sha256'][:12]}...;"
            " the weights were changed or belong to another checkpoint, copy both files again"
        )
    try:
        tensors = load_tensors(data)
    except SafetensorError as error:
        raise CheckpointError(f"{path}: is not a safetensors file ({error}); copy the checkpoint again") from error
    state = {name: t.float() if t.is_floating_point() else t for name, t in tensors.items()}
    for name, tensor in state.items():
        if not bool(torch.isfinite(tensor).all()):
            raise CheckpointError(f"{path}: weight {_shown(name)} is not finite; copy the checkpoint again")
    return document["config"], state, document["record"]


def part_digest(folder: str | Path, part: str) -> str:
    """SHA-256 over configuration and weights of a part, as run records quote it (weights are not read)."""
    document = _read_document(Path(folder), part)
    essence = {"part": part, "config": document["config"], "weights": document["weights_sha256"]}
    return hashlib.sha256(json.dumps(essence, sort_keys=True).encode()).hexdigest()


def stored_part(folder: str | Path) -> str:
    """Which part a folder holds, as its ``config.json`` says."""
    return str(_read_document(Path(folder), None)["part"])


def weights_digest(folder: str | Path) -> str:
    """SHA-256 of the weights file as recorded beside it (what ``sha256sum`` prints for it)."""
    return str(_read_document(Path(folder), None)["weights_sha256"])


def load_weights(module: nn.Module, state: Mapping[str, Tensor], folder: str | Path) -> None:
    """Put ``state`` into ``module``; every name and every shape has to fit.

    Raises:
        CheckpointError: a weight is missing, left over, or of another shape than the configuration asks for.
    """
    _check_fit(module.state_dict(), state, Path(folder) / WEIGHTS_NAME)
    module.load_state_dict(dict(state))


def build(make: Callable[[], Module], state: Mapping[str, Tensor], folder: str | Path) -> Module:
    """The module that ``make`` builds from a stored configuration, with the weights ``state`` in it.

    Names and shapes are compared before anything is allocated, so a configuration cannot ask for more than its
    weights file holds.

    Raises:
        CheckpointError: the configuration makes no module, or one that the weights do not fit.
    """
    folder = Path(folder)
    try:
        shapes = outline(make, state)
    except UnfitConfigError as error:
        raise CheckpointError(f"{folder / CONFIG_NAME}: {error}; copy the checkpoint again") from error
    _check_fit(shapes, state, folder / WEIGHTS_NAME)
    module = make()
    load_weights(module, state, folder)
    return module


def _check_fit(own: Mapping[str, Tensor], state: Mapping[str, Tensor], path: Path) -> None:
    missing = sorted(own.keys() - state.keys())
    extra = sorted(state.keys() - own.keys())
    if missing or extra:
        what = f"lacks weight {missing[0]!r}" if missing else f"holds unknown weight {extra[0]!r}"
        raise CheckpointError(
            f"{path}: {what} ({len(missing)} missing, {len(extra)} left over); use the configuration it was saved with"
        )
    for name, tensor in own.items():
        if tensor.shape != state[name].shape:
            raise CheckpointError(
                f"{path}: weight {name!r} has shape {list(state[name].shape)}, the configuration asks for"
                f" {list(tensor.shape)}; use the configuration it was saved with"
            )


def config_to_dict(config: Any) -> dict[str, Any]:
    """A configuration dataclass as JSON values (tuples become lists)."""
    plain = json.loads(json.dumps(dataclasses.asdict(config), allow_nan=False))
    return dict(plain)


def config_from_dict(cls: type[Config], mapping: Mapping[str, Any]) -> Config:
    """Build the frozen dataclass ``cls`` from plain values, nested dataclasses and tuples included.

    Raises:
        CheckpointError: an unknown or missing key (the nearest valid key is named) or a value of the wrong kind.
    """
    if not isinstance(mapping, Mapping):
        raise CheckpointError(f"{cls.__name__}: configuration is {type(mapping).__name__}; give an object with keys")
    hints = typing.get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls) if field.init}  # type: ignore[arg-type]
    for key in mapping:
        if key not in fields:
            near = difflib.get_close_matches(str(key), fields, n=1, cutoff=0.0)
            raise CheckpointError(f"{cls.__name__}: unknown key {_shown(key)}; did you mean {near[0]!r}?")
    for name, field in fields.items():
        optional = field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING
        if name not in mapping and not optional:
            raise CheckpointError(f"{cls.__name__}: key {name!r} is missing; add it to the configuration")
    values = {key: _as_type(f"{cls.__name__}.{key}", hints[key], value) for key, value in mapping.items()}
    try:
        return cls(**values)
    except CheckpointError:
        raise
    except (ValueError, ArithmeticError) as error:
        raise CheckpointError(f"{cls.__name__}: {_shown(error, str)}") from error


def _as_type(where: str, hint: Any, value: Any) -> Any:
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return value if isinstance(value, hint) else config_from_dict(hint, value)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        inner = [argument for argument in arguments if argument is not type(None)]
        return _as_type(where, inner[0], value) if len(inner) == 1 else value
    if origin is typing.Literal:
        if value not in arguments:
            raise CheckpointError(f"{where} is {_shown(value)}; use one of {', '.join(map(repr, arguments))}")
        return value
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            raise CheckpointError(f"{where} is {_shown(value)}; give a list")
        if not arguments or arguments[-1] is Ellipsis:
            return tuple(_as_type(where, arguments[0], entry) if arguments else entry for entry in value)
        if len(value) != len(arguments):
            raise CheckpointError(f"{where} is {_shown(value)}; give a list of {len(arguments)}")
        return tuple(_as_type(where, argument, entry) for argument, entry in zip(arguments, value, strict=True))
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError as error:
            raise CheckpointError(f"{where} is a whole number beyond 1e308; give a smaller one") from error
    if hint in (int, float, str, bool) and (type(value) is not hint):
        raise CheckpointError(f"{where} is {_shown(value)}; give a value of type {hint.__name__}")
    return value


def _for_disk(name: str, tensor: Tensor, half: bool) -> Tensor:
    tensor = tensor.detach().cpu()
    if half and tensor.is_floating_point():
        tensor = tensor.half()
    if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
        raise CheckpointError(f"weight {name!r} is not finite as {tensor.dtype}; do not save a diverged model")
    return tensor.contiguous().clone()


def _read_document(folder: Path, part: str | None) -> dict[str, Any]:
    path = folder / CONFIG_NAME
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file; give a folder that save_part wrote for part {part!r}")
    try:
        if path.stat().st_size > MAX_CONFIG_BYTES:
            raise CheckpointError(f"{path}: has more than {MAX_CONFIG_BYTES:,} bytes; give a checkpoint's own file")
        document = json.loads(path.read_text(encoding="utf-8"))
    except CheckpointError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: is not readable JSON ({error}); copy the checkpoint again") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise CheckpointError(f"{path}: is not an {FORMAT} checkpoint; give a folder that save_part wrote")
    if document.get("format_version") != FORMAT_VERSION:
        raise CheckpointError(
            f"{path}: has format version {_shown(document.get('format_version'))}, this program reads {FORMAT_VERSION};"
            " install the version that wrote it"
        )
    if part is not None and document.get("part") != part:
        raise CheckpointError(
            f"{path}: holds part {_shown(document.get('part'))}, not {part!r}; give that part's folder"
        )
    if not isinstance(document.get("weights_sha256"), str):
        raise CheckpointError(f"{path}: lacks 'weights_sha256'; copy the checkpoint again")
    for key in ("config", "record"):
        if not isinstance(document.get(key), dict):
            raise CheckpointError(f"{path}: lacks the object {key!r}; copy the checkpoint again")
    return document


def _shown(value: object, form: Callable[[object], str] = repr) -> str:
    """A wrong value as an error quotes it: no longer than a line."""
    text = form(value)
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}... ({len(text)} characters)"
