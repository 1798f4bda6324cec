"""Models on the Hugging Face hub: an id such as ``owner/name`` or ``owner/name@revision`` to a local folder."""

from __future__ import annotations

import re
from pathlib import Path

from audiolm.checkpoint import CheckpointError

__all__ = ["fetch", "is_hub_id"]

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(@[\w./-]+)?")
FILES = ("*.json", "*.safetensors")
"""All that is ever fetched: nothing that could run."""


def is_hub_id(source: str) -> bool:
    """Whether ``source`` has the form of a hub id (it may also be a folder: the caller looks there first)."""
    return HUB_ID.fullmatch(source) is not None


def fetch(source: str, revision: str | None = None) -> Path:
    """The folder with the model's JSON and safetensors files, fetched or from the cache.

    ``revision``: branch, tag or commit; a commit hash pins the exact bytes. ``owner/name@revision`` says the same.

    Raises:
        CheckpointError: huggingface_hub is missing, the hub cannot be reached, or it has no such model or revision.
    """
    name, _, pinned = source.partition("@")
    if pinned and revision and pinned != revision:
        raise CheckpointError(f"{source}: names revision {pinned!r} but {revision!r} was asked for; give one of them")
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError
    except ImportError as error:
        raise CheckpointError(
            f"{source}: a hub id needs huggingface_hub; pip install 'audiolm-audit[hub]', or give a folder"
        ) from error
    wanted = revision or pinned or None
    try:
        return Path(snapshot_download(name, revision=wanted, allow_patterns=list(FILES)))
    except (HfHubHTTPError, OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        at = f" at revision {wanted!r}" if wanted else ""
        raise CheckpointError(
            f"{source}: no such folder, and the hub gave no model{at} ({reason});"
            " check name and network, or give a folder"
        ) from error
