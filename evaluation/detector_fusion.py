"""Train every shipped detector on one set of windows, calibrate and fuse them on other speakers, measure on a third.

Windows are made once (:mod:`evaluation.detector_windows`); each network sees its own features of them. Calibration and
fusion weights come from speakers that no part was trained on and, among others, from generators that none was shown.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from detectors.artefacts import read_config, read_weights, write_artefact
from detectors.assessment import (
    ScoredClip,
    calibrate,
    error_table,
    pooled_measures,
    reference_rows,
    rows_as_dicts,
)
from detectors.calibration import Calibration
from detectors.channels import CHANNELS, through_channel
from detectors.error_rates import bayes_threshold
from detectors.feature_training import FeatureSet, fit_on_features
from detectors.features import SAMPLE_RATE_HZ, log_mel
from detectors.fine_statistics import ALL_STATISTICS, all_statistics
from detectors.fine_statistics import WIDTH as STATISTICS_WIDTH
from detectors.fusion import FusionDetector, PartSum, fit_fusion
from detectors.kinds import KINDS
from detectors.labelled import LabelledClip, count_clips
from detectors.lfcc_gmm import CLASSES, fit_mixture
from detectors.linear_features import lfcc, log_linear, wideband
from detectors.mel_cnn import SHIPPED as MEL_CNN
from detectors.mel_kinds import new_network as new_mel_kinds
from detectors.networks.graph_attention import GraphAttentionNetwork
from detectors.networks.lcnn import Lcnn
from detectors.networks.mel_cnn import MelCnn, MelCnnConfig, widened
from detectors.networks.statistics import StatisticsNetwork
from detectors.training import TrainConfig
from detectors.windowed import REFERENCE_SCORES, WindowedDetector
from evaluation.detector_windows import WindowSet

__all__ = [
    "PARTS",
    "FusionPlan",
    "Part",
    "anchored",
    "channelled",
    "clip_scores",
    "compact",
    "features_of",
    "operating_point",
    "fit_part",
    "fuse",
    "score_parts",
    "score_windows",
    "write_part",
]

logger = logging.getLogger(__name__)
CHANNELS_OF_TESTS = tuple(name for name in CHANNELS if name != "low_pass")
BASE: Mapping[str, Any] = {
    "version": "4",
    "polarity": "higher = more likely bona fide",
    "unit": "natural-log likelihood ratio of bona fide against synthetic, in nats",
    "threshold_llr": bayes_threshold(),
    "threshold_source": "Bayes threshold of ASVspoof 5: share of synthetic 0.05, miss costs 1, false alarm 10",
}
FALSE_ALARMS = 0.02
"""Share of genuine clips of the calibration speakers that may fall below the operating point."""
IDENTITY = Calibration(scale=1.0, offset=0.0, independent_bona=1, independent_synth=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class FusionPlan:
    """``steps`` per network, ``components`` of each mixture, ``kept``: generators for calibration only."""

    seed: int = 0
    steps: Mapping[str, int]
    components: int = 128
    mixture_frames: int = 120_000
    kept: tuple[str, ...] = ("neural_codec_stft", "cepstral_vocoder")


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One detector of the fusion: features of windows, a new network (None: Gaussian mixtures), how it is trained."""

    features: Callable[[Tensor], Tensor]
    network: Callable[[], nn.Module] | None = None
    begun: Callable[[], nn.Module] | None = None
    """The network that training starts from, where that is not a new one."""
    learning_rate: float = 2e-3
    batch: int = 48
    weight_decay: float = 1e-2


def _warm_mel_kinds() -> MelCnn:
    """The shipped log-mel network, widened, with a new last layer: one output per kind."""
    weights = read_weights(MEL_CNN, read_config(MEL_CNN))
    fitting = {name: value for name, value in weights.items() if not name.startswith("head.")}
    return widened(fitting, new_mel_kinds())


PARTS: Mapping[str, Part] = {
    "mel_kinds": Part(features=log_mel, network=new_mel_kinds, begun=_warm_mel_kinds, learning_rate=1.5e-3),
    "mel_anew": Part(features=log_mel, network=lambda: MelCnn(MelCnnConfig(outputs=len(KINDS)))),
    "lfcc_gmm": Part(features=log_linear),
    "lfcc_lcnn": Part(features=log_linear, network=Lcnn),
    "graph_attention": Part(features=wideband, network=GraphAttentionNetwork),
    "fine_statistics": Part(
        features=all_statistics,
        network=lambda: StatisticsNetwork(ALL_STATISTICS, STATISTICS_WIDTH),
        batch=256,
        weight_decay=5e-2,
    ),
}


def features_of(windows: WindowSet, features: Callable[[Tensor], Tensor]) -> FeatureSet:
    """Features of all windows as float16, computed in small batches."""
    made = []
    with torch.inference_mode():
        for first in range(0, len(windows.samples), 64):
            batch = torch.from_numpy(windows.samples[first : first + 64].astype(np.float32) / 32767.0)
            made.append(features(batch).half())
    return FeatureSet(features=torch.cat(made), kinds=windows.kinds, generators=windows.generators)


def fit_part(
    name: str, training: FeatureSet, held: FeatureSet, plan: FusionPlan, without: Sequence[str] = ()
) -> dict[str, Tensor]:
    """Weights of one part, trained on all generators but those of ``plan.kept`` and ``without``."""
    part = PARTS[name]
    training = training.without([*plan.kept, *without])
    if part.network is None:
        return _mixtures(training, plan)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(plan.seed)
        network = (part.begun or part.network)()
    if isinstance(network, StatisticsNetwork):
        network.adapt(training.features.float())
    config = TrainConfig(
        seed=plan.seed,
        steps=plan.steps[name],
        learning_rate=part.learning_rate,
        check_every=150,
        batch=part.batch,
        weight_decay=part.weight_decay,
    )
    fit_on_features(network, training, held, config)
    if isinstance(network, StatisticsNetwork):
        network.fit_sum(training.features, training.kinds, training.generators)
    return compact(network.state_dict())


def compact(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Matrices and kernels as float16, the rest as it is: half the bytes. A network widens them again as it loads."""
    return {name: (value.half() if value.ndim > 1 else value).contiguous() for name, value in weights.items()}


def _mixtures(training: FeatureSet, plan: FusionPlan) -> dict[str, Tensor]:
    """Both mixtures; frames drawn evenly over the windows of a class."""
    genuine, found = training.kinds < 2, {}
    rng = np.random.default_rng([plan.seed, 77])
    for kind, mine in zip(CLASSES, (genuine, ~genuine), strict=True):
        index = np.flatnonzero(mine)
        each = max(1, plan.mixture_frames // len(index))
        frames = []
        for first in range(0, len(index), 256):
            levels = training.features[torch.from_numpy(index[first : first + 256])].float()
            cepstra = lfcc(levels)
            where = torch.from_numpy(rng.integers(cepstra.shape[2], size=each))
            frames.append(cepstra[:, :, where].transpose(1, 2).reshape(-1, cepstra.shape[1]).numpy())
        mixture = fit_mixture(np.concatenate(frames), plan.components, plan.seed)
        found |= {f"{kind}.{name}": torch.from_numpy(value) for name, value in mixture.items()}
    return found


def channelled(clips: Sequence[LabelledClip], seed: int, *, every: bool) -> list[LabelledClip]:
    """The clips and copies through channels: one drawn per clip, or for genuine recordings ``every`` one."""
    made = list(clips)
    for index, clip in enumerate(clips):
        rng = np.random.default_rng([seed, 5, index])
        names = CHANNELS_OF_TESTS if every and clip.is_bona_fide else (str(rng.choice(CHANNELS_OF_TESTS)),)
        if clip.condition == "raw":
            made += [replace(clip, samples=through_channel(clip.samples, name, rng), condition=name) for name in names]
    return made


def score_parts(
    parts: Mapping[str, WindowedDetector], clips: Sequence[LabelledClip]
) -> tuple[list[ScoredClip], list[np.ndarray]]:
    """Each clip without samples (``raw`` is NaN), and the parts' scores of its windows ``[window, part]``: none where
    it abstains."""
    config = {**BASE, "weights": dict.fromkeys(parts, 0.0), "offset": 0.0, "frame_part": next(iter(parts))}
    scored, scores = [], []
    for clip in clips:
        whole = _Listener(parts, {**config, "calibration": IDENTITY.to_dict()}, None)
        _, _, reason = whole.score_blocks([clip.samples], SAMPLE_RATE_HZ)
        without = replace(clip, samples=np.zeros(0, np.float32))
        duration_s = clip.samples.size / SAMPLE_RATE_HZ
        scored.append(ScoredClip(clip=without, duration_s=duration_s, raw=float("nan"), reason=reason))
        usable = not reason and len(whole.seen) > 0
        scores.append(np.concatenate(whole.seen) if usable else np.zeros((0, len(parts))))
    return scored, scores


def clip_scores(
    scores: Sequence[np.ndarray], of_windows: Callable[[np.ndarray], np.ndarray] | None = None
) -> np.ndarray:
    """Mean over the windows of each clip, of scores or of what ``of_windows`` makes of them; NaN without windows."""
    made = [rows if of_windows is None else of_windows(rows) for rows in scores]
    return np.asarray([rows.mean(axis=0) if len(rows) else np.full(rows.shape[1:], np.nan) for rows in made])


class _Listener(FusionDetector):
    """Keeps what every part said."""

    def __init__(self, parts: Mapping[str, WindowedDetector], config: Mapping[str, Any], folder: Path | None) -> None:
        super().__init__(parts, config, folder)
        self.seen: list[np.ndarray] = []

    def score_parts(self, samples: np.ndarray, windows: Sequence[tuple[int, int]]) -> np.ndarray:
        scores = super().score_parts(samples, windows)
        self.seen.append(scores)
        return scores


def with_scores(scored: Sequence[ScoredClip], raw: np.ndarray) -> list[ScoredClip]:
    """The same clips with one detector's scores."""
    return [replace(item, raw=float(value)) for item, value in zip(scored, raw, strict=True)]


def fuse(
    scored: Sequence[ScoredClip],
    scores: Sequence[np.ndarray],
    windows: WindowSet,
    window_scores: np.ndarray,
    shares: Sequence[float] | None = None,
    window_share: float = 1.0,
    most: Sequence[float] | None = None,
) -> PartSum:
    """What the parts make together, from held-out clips and augmented windows of the same speakers.

    Clean clips of these speakers alone are too easy: the ratios would be bolder than other recordings allow. Each part
    is calibrated alone, the ratios are averaged by ``shares`` (default: equal), and the average is calibrated: parts
    with such a say err less on what none was shown than parts weighted by how well they do on what they were shown.
    ``scores``: ``[window, part]`` of each clip. ``window_share``: windows for every clip. ``most``: nats that each part
    may say for genuine speech in any window (default: any).
    """
    classes = _classes(scored, clip_scores(scores), windows, window_scores, window_share)
    parts = range(classes[0].shape[1])
    alone = [fit_fusion(*(rows[:, [part]] for rows in classes)) for part in parts]
    own, shifts = np.asarray([factor[0] for factor, _ in alone]), np.asarray([shift for _, shift in alone])
    ceilings = np.full(len(alone), np.inf) if most is None else (np.asarray(most) - shifts) / own
    say = np.asarray([1.0] * len(alone) if shares is None else shares)
    mean = PartSum(own * say / say.sum(), float(np.dot(say / say.sum(), shifts)), ceilings)
    averages = clip_scores(scores, mean)
    classes = _classes(scored, averages[:, None], windows, mean(window_scores)[:, None], window_share)
    factor, shift = fit_fusion(*classes)
    return PartSum(mean.weights * factor[0], mean.offset * float(factor[0]) + shift, ceilings)


def _classes(
    scored: Sequence[ScoredClip], scores: np.ndarray, windows: WindowSet, window_scores: np.ndarray, share: float
) -> list[np.ndarray]:
    """Rows of both classes. In each ``share`` windows for every clip; among either, every cell alike."""
    clips: dict[tuple[bool, str], list[np.ndarray]] = {}
    for item, row in zip(scored, scores, strict=True):
        if not item.reason:
            name = f"{item.clip.generator}/{item.clip.condition}"
            clips.setdefault((item.clip.is_bona_fide, name), []).append(row)
    changed: dict[tuple[bool, str], list[np.ndarray]] = {}
    for genuine, name, row in zip(windows.is_bona_fide, windows.generators, window_scores, strict=True):
        changed.setdefault((bool(genuine), str(name)), []).append(row)
    classes = []
    for wanted in (True, False):
        even, hard = (
            _even([rows for (genuine, _), rows in sorted(cells.items()) if genuine == wanted])
            for cells in (clips, changed)
        )
        drawn = np.random.default_rng(0).permutation(len(hard))
        classes.append(np.concatenate([even, hard[np.resize(drawn, round(share * len(even)))]]))
    return classes


def _even(cells: Sequence[Sequence[np.ndarray]]) -> np.ndarray:
    """All cells one after the other, each repeated to the size of the largest."""
    most = max(len(rows) for rows in cells)
    return np.concatenate([np.asarray(rows)[np.resize(np.arange(len(rows)), most)] for rows in cells])


def score_windows(parts: Mapping[str, WindowedDetector], windows: WindowSet) -> np.ndarray:
    """Each part's score of each window, ``[window, part]``."""
    sounds = [samples.astype(np.float32) / 32767.0 for samples in windows.samples]
    return np.asarray([[part.score_window(sound) for part in parts.values()] for sound in sounds])


def operating_point(held: Sequence[ScoredClip], calibration: Calibration) -> dict[str, Any]:
    """Threshold in nats, and where it is from: as many fakes caught as a given share of false alarms allows.

    Half-way between the clips on its two sides; never below the Bayes threshold, where the ratio itself says so.
    """
    genuine = sorted(float(calibration(item.raw)) for item in held if item.clip.is_bona_fide and not item.reason)
    below = int(FALSE_ALARMS * len(genuine))
    allowed = (genuine[below - 1] + genuine[below]) / 2 if below else -np.inf
    if allowed <= BASE["threshold_llr"]:
        return {name: BASE[name] for name in ("threshold_llr", "threshold_source")}
    source = f"{below} of {len(genuine)} genuine clips of the calibration speakers, raw and through channels, lie below"
    return {"threshold_llr": round(allowed, 4), "threshold_source": source}


def anchored(
    held: Sequence[ScoredClip], test: Sequence[ScoredClip], bound: Calibration
) -> tuple[list[ScoredClip], list[ScoredClip], float, str]:
    """Clips whose scores are ratios, moved so that the calibration speakers' operating point is the Bayes threshold.

    A regression over all clips places the middle of the scale; verdicts are given at its edge, where the genuine clips
    lie that are hardest to believe. By the ratio and by the shipped threshold one decides alike then.
    Gives both sets of clips, by how much they were moved (0 or below), and where the threshold is from.
    """
    point, bayes = operating_point(held, bound), BASE["threshold_llr"]
    shift = bayes - point["threshold_llr"]
    source = BASE["threshold_source"]
    if shift:
        source = f"{point['threshold_source']}; the ratio is moved so that this is the {source}"
    first, second = (with_scores(items, np.asarray([item.raw for item in items]) + shift) for items in (held, test))
    return first, second, shift, source


def write_part(
    folder: Path,
    weights: Mapping[str, Tensor],
    scored: tuple[Sequence[ScoredClip], Sequence[ScoredClip]],
    clips: Sequence[LabelledClip],
    extra: Mapping[str, Any],
    calibration: Calibration | None = None,
) -> dict[str, float]:
    """Write a detector's folder from its scores on held-out and test clips; gives the pooled measures."""
    held, test = scored
    calibration = calibration or calibrate(held)
    threshold = operating_point(held, calibration)
    rows = error_table(test, calibration, threshold["threshold_llr"])
    pooled = pooled_measures(test, calibration)
    full = {
        **BASE,
        **threshold,
        **extra,
        "calibration": calibration.to_dict(),
        "training": {
            **extra.get("training", {}),
            "parameters": sum(value.numel() for value in weights.values()),
            "clips": count_clips(clips),
            "test": rows_as_dicts(rows),
            "test_pooled": {name: round(value, 6) for name, value in pooled.items()},
        },
    }
    humans = [item for item in held if item.clip.is_bona_fide]
    write_artefact(folder, weights, full, {REFERENCE_SCORES: {"scores": reference_rows([*humans, *test], calibration)}})
    return pooled
