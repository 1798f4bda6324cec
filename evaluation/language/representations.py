"""Representations by name, as they are written on the command line.

``mfcc``, ``log-mel``, ``mfcc@25``, ``log-mel@25``: spectra. ``model:SOURCE``: semantic tokens of a model;
``model:SOURCE#LAYER``: features of that block. ``folder:PATH@RATE``: arrays of an outside system, one
``<utterance>.npy`` each, features ``[frame, dim]`` or tokens ``[frame]``. ``NAME/K``: k-means of any features.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from audiolm.audio import AudioClip
from evaluation.language.features import PLAIN_FEATURES, Representation, clustered, fitting_frames, plain_features

__all__ = ["parse_representation", "parse_representations"]


def parse_representations(
    texts: Sequence[str], *, training: Callable[[], Iterable[AudioClip]], seed: int = 0, device: str = "cpu"
) -> list[Representation]:
    """The representations called ``texts``; ``training`` gives the speech for k-means, asked where it is needed.

    Features are computed once for all numbers of clusters that follow each other.

    Raises:
        ValueError: no such representation; the message names the forms there are.
    """
    found: list[Representation] = []
    last, frames = "", np.zeros((0, 0))
    for text in texts:
        base, n_clusters = _clusters_of(text)
        if n_clusters is None:
            found.append(parse_representation(text, device=device))
            continue
        features = parse_representation(base, device=device)
        if base != last:
            last, frames = base, fitting_frames(features, training(), seed=seed)
        found.append(clustered(features, frames, n_clusters=n_clusters, seed=seed))
    return found


def parse_representation(text: str, *, device: str = "cpu") -> Representation:
    """One representation that needs no fitting.

    Raises:
        ValueError: no such representation; the message names the forms there are.
    """
    kind, colon, rest = text.partition(":")
    if text in PLAIN_FEATURES:
        return plain_features(text)
    if colon and kind == "model":
        from evaluation.language.model_representations import model_representation

        source, _, layer = rest.partition("#")
        if layer and not layer.isdigit():
            raise ValueError(f"{text}: block {layer!r} is not a number; write model:SOURCE#2")
        return model_representation(source, int(layer) if layer else None, device)
    if colon and kind == "folder":
        return _stored(text, rest)
    forms = [*PLAIN_FEATURES, "model:SOURCE", "model:SOURCE#LAYER", "folder:PATH@RATE", "any of the features with /K"]
    raise ValueError(f"there is no representation {text!r}; use {', '.join(forms)}")


def _clusters_of(text: str) -> tuple[str, int | None]:
    """``NAME/K`` as name and number, unless the whole is a path that exists."""
    base, slash, count = text.rpartition("/")
    place = text.partition(":")[2]
    if slash and count.isdigit() and not (place and Path(place).is_dir()):
        return base, int(count)
    return text, None


def _stored(text: str, rest: str) -> Representation:
    path, at, rate = rest.rpartition("@")
    try:
        frame_rate_hz = float(rate)
    except ValueError:
        at, frame_rate_hz = "", 0.0
    folder = Path(path)
    if not at or not frame_rate_hz > 0:
        raise ValueError(f"{text}: say how many frames a second has, as in folder:features@50")
    files = sorted(folder.glob("*.npy"))
    if not files:
        raise ValueError(f"{folder}: holds no .npy file; store one array per utterance, named by its id")

    def encode(clip: AudioClip) -> np.ndarray:
        name = f"{clip.source.stem if clip.source else ''}.npy"
        if not (folder / name).is_file():
            raise ValueError(f"{folder / name}: no such array; store one per recording, named like its audio file")
        return np.load(folder / name, allow_pickle=False)

    discrete = np.load(files[0], mmap_mode="r", allow_pickle=False).ndim == 1
    return Representation(text, encode, frame_rate_hz, discrete=discrete)
