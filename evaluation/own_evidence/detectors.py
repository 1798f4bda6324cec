"""Token evidence and the probe on speech features as detectors; they read what our own model's parts say.

Each names the parts it was fitted to by the digest of their weights, and refuses to judge with others: numbers of
another model are on another scale.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import detectors
from detectors import Measured
from detectors.artefacts import read_config, read_weights, reading
from detectors.linear_head import HeadDetector, LinearHead

__all__ = [
    "SSL_PROBE",
    "TOKEN_EVIDENCE",
    "SpeechVectors",
    "TokenVectors",
    "all_detectors",
    "part_digests",
    "speech_source",
    "token_source",
]

PRETRAINED = Path(detectors.__file__).parent / "pretrained"
TOKEN_PARTS = ("codec", "semantic", "stage_semantic", "stage_coarse", "stage_fine", "stage_delayed")
SPEECH_PARTS = ("semantic",)
TOLD = (
    "codec grid",
    "energy left below level 4",
    "energy left below level 12",
    "coarse codes kept by one more pass",
    "semantic stage",
    "coarse stage level 1",
    "coarse stage level 1, over expected",
    "coarse stage level 2",
    "coarse stage level 3-4",
    "fine stage",
    "delayed stage level 1",
    "delayed stage level 1, over expected",
    "told by semantic tokens, level 1",
)
"""Numbers of the table that a verdict names."""
Windows = Sequence[tuple[int, int]]


def part_digests(model: str, parts: Sequence[str]) -> dict[str, str]:
    """SHA-256 of the weights of a model's parts; "" where it lacks one."""
    from audiolm.checkpoint import weights_digest
    from audiolm.interchange import find_folder

    folder, _ = find_folder(model)
    return {name: weights_digest(folder / name) if (folder / name).is_dir() else "" for name in parts}


def _check_model(name: str, config: Mapping[str, Any], found: Mapping[str, str]) -> None:
    told = config.get("model_parts", {})
    other = [part for part in found if found[part] != told.get(part)]
    if other or not found:
        raise ValueError(
            f"{name} was fitted to another model: other weights of {', '.join(other) or 'every part'} than"
            f" {config.get('model')} has now; fit it again: python recipes/detector/own_evidence.py --help"
        )


class TokenVectors:
    """Mean of each column of the token table over each window; the table of the last segment is kept."""

    def __init__(self, table_of: Callable[[np.ndarray], Any]) -> None:
        self._table_of = table_of
        self._last: tuple[np.ndarray, Any] | None = None

    def __call__(self, samples: np.ndarray, windows: Windows) -> np.ndarray:
        """``[window, column]``."""
        last = self._last
        if last is None or last[0] is not samples:
            last = self._last = (samples, self._table_of(samples))
        centres, values = last[1]
        found = []
        for first, past in windows:
            inside = (centres >= first) & (centres < past)
            if not inside.any():
                inside = np.abs(centres - (first + past) / 2) <= np.abs(centres - (first + past) / 2).min()
            found.append(values[inside].mean(axis=0))
        return np.stack(found)


class SpeechVectors:
    """Mean and deviation of the chosen blocks over each window, which the network hears by itself."""

    def __init__(self, blocks_of: Callable[[np.ndarray], Any], chosen: Sequence[int]) -> None:
        self._blocks_of, self._chosen = blocks_of, chosen

    def __call__(self, samples: np.ndarray, windows: Windows) -> np.ndarray:
        """``[window, 2 * blocks * dim]``."""
        from evaluation.own_evidence.speech_features import window_vector

        return np.stack([window_vector(self._blocks_of(samples[a:b]), self._chosen) for a, b in windows])


def token_source(model: str) -> Callable[[np.ndarray], Any]:
    """The token table of ``model``, a preset's name or a folder."""
    from audiolm.interchange import find_folder, load_parts
    from evaluation.own_evidence.token_table import token_table

    parts, _ = load_parts(find_folder(model)[0])
    return lambda samples: token_table(parts, samples)


def speech_source(model: str, bundle: str, last: int) -> tuple[Callable[[np.ndarray], Any], dict[str, str]]:
    """Outputs of all blocks of ``model``'s w2v-BERT, or of ``bundle`` of torchaudio up to block ``last``; and the
    digests of what they rest on.

    Raises:
        ValueError: the model's tokenizer is no w2v-BERT of ours, or the bundle's weights are not on this machine.
    """
    from audiolm.interchange import find_folder
    from audiolm.semantic.bundles import BUNDLES, load_bundle
    from audiolm.semantic.tokenizer import W2vBertTokenizer
    from evaluation.own_evidence.speech_features import bundle_blocks, network_digest, own_blocks

    if bundle:
        if bundle not in BUNDLES:
            raise ValueError(f"bundle is {bundle!r}; use one of {', '.join(BUNDLES)}")
        network = load_bundle(bundle)
        return bundle_blocks(network, last), {bundle: network_digest(network)}
    network = W2vBertTokenizer.load(find_folder(model)[0] / "semantic").model
    return own_blocks(network), part_digests(model, SPEECH_PARTS)


def _head(folder: Path, config: Mapping[str, Any]) -> LinearHead:
    return LinearHead.from_tensors(read_weights(folder, config), int(config["numbers"]))


class _TokenEvidence:
    name = "token_evidence"

    def load(self, path: str | None = None, device: str = "cpu") -> HeadDetector:
        """The shipped detector, or the one saved in folder ``path``; it runs on the CPU.

        Raises:
            ValueError: a file is missing or altered, or the model is not the one it was fitted to.
        """
        folder = Path(path) if path is not None else PRETRAINED / self.name
        config = read_config(folder)
        with reading(folder):
            head, model = _head(folder, config), str(config["model"])
            described = [(int(at), _measured(number)) for at, number in config["told"]]
        _check_model(self.name, config, part_digests(model, TOKEN_PARTS))
        return HeadDetector(self.name, TokenVectors(token_source(model)), head, config, folder, described)


def _measured(number: Mapping[str, Any]) -> Measured:
    ranges = {name: (float(number[name][0]), float(number[name][1])) for name in ("bona_fide", "synthetic")}
    return Measured(name=str(number["name"]), value=0.0, unit=str(number["unit"]), **ranges)


class _SslProbe:
    name = "ssl_probe"

    def load(self, path: str | None = None, device: str = "cpu") -> HeadDetector:
        """The shipped detector, or the one saved in folder ``path``; it runs on the CPU.

        Raises:
            ValueError: a file is missing or altered, or the network is not the one it was fitted to or not there.
        """
        folder = Path(path) if path is not None else PRETRAINED / self.name
        config = read_config(folder)
        with reading(folder):
            head, model, bundle = _head(folder, config), str(config["model"]), str(config["bundle"])
            chosen = [int(block) for block in config["blocks"]]
        if not bundle:
            _check_model(self.name, config, part_digests(model, SPEECH_PARTS))
        blocks_of, digests = speech_source(model, bundle, max(chosen))
        _check_model(self.name, config, digests)
        return HeadDetector(self.name, SpeechVectors(blocks_of, chosen), head, config, folder)


TOKEN_EVIDENCE, SSL_PROBE = _TokenEvidence(), _SslProbe()


def all_detectors() -> dict[str, detectors.DetectorEntry]:
    """Every detector by name: those of :mod:`detectors`, and the two that lean on our own model."""
    return {**detectors.discover(), TOKEN_EVIDENCE.name: TOKEN_EVIDENCE, SSL_PROBE.name: SSL_PROBE}
