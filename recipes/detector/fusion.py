"""Build the windows, train every part of the shipped detector, calibrate, fuse, measure, and write them.

    python recipes/detector/fusion.py --corpus ../shared/corpus --cache runs/detector [--generations FOLDER ...]

The clips come from the same cache as ``recipes/detector/train.py``; what is there is not made again. ``--without``
keeps generators from training (not from the tests) and writes nothing to the package: a leave-one-kind-out test.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from detectors.artefacts import read_config
from detectors.assessment import calibrate, error_table, pooled_measures
from detectors.calibration import Calibration
from detectors.fusion import PRETRAINED
from detectors.kinds import KINDS
from detectors.labelled import LabelledClip
from detectors.lfcc_gmm import CLASSES, LfccGmmDetector
from detectors.lfcc_gmm import PARTS as MIXTURE_PARTS
from detectors.mel_cnn import DETECTOR as NARROW
from detectors.model_card import model_card
from detectors.network_detector import NetworkDetector
from detectors.networks.mel_cnn import MelCnn, MelCnnConfig
from detectors.windowed import WindowedDetector
from evaluation.detector_codecs import codecs
from evaluation.detector_data import DataSizes, build_clips, mode_clips, noise_recordings
from evaluation.detector_fusion import (
    BASE,
    IDENTITY,
    PARTS,
    FusionPlan,
    channelled,
    features_of,
    fit_part,
    fuse,
    score_parts,
    with_scores,
    write_part,
)
from evaluation.detector_windows import WindowSet, make_windows, room_responses

logger = logging.getLogger(__name__)
COUNTS = {"train": 70, "held": 14, "test": 20}
PROGRAM_COUNTS = {"train": 30, "held": 10, "test": 16}
MORE = {"piper": 3, "hibari": 3}
"""Training clips of what comes nearest to today's generators, times as many."""


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, default=Path("../shared/corpus"), help="folder with manifest.csv")
    parser.add_argument("--cache", type=Path, required=True, help="folder for clips, windows and weights")
    parser.add_argument("--generations", type=Path, nargs="*", default=[], help="folders of generate --mode")
    parser.add_argument("--without", nargs="*", default=[], metavar="GENERATOR", help="kept from training, for a test")
    parser.add_argument("--only", nargs="*", default=list(PARTS), help="parts to train and fuse")
    parser.add_argument("--out", type=Path, default=PRETRAINED, help="where the parts and the fusion are written")
    parser.add_argument("--windows", type=int, default=9000)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def _clips(arguments: argparse.Namespace) -> list[LabelledClip]:
    sizes = DataSizes(per_vocoder=COUNTS, per_program=PROGRAM_COUNTS, per_resynthesiser=COUNTS, more=MORE)
    clips = build_clips(arguments.corpus, arguments.cache, sizes, arguments.seed, (), codecs({}, own=True), sent=False)
    recorded = [clip for clip in clips if clip.is_bona_fide and clip.condition == "raw"]
    return clips + [clip for folder in arguments.generations for clip in mode_clips(folder, recorded, arguments.seed)]


def _windows(arguments: argparse.Namespace, clips: Sequence[LabelledClip], split: str, count: int) -> WindowSet:
    path = arguments.cache / f"windows-{split}-{count}.npz"
    if not path.exists():
        mine = [clip for clip in clips if clip.split == split]
        noises, rooms = noise_recordings(arguments.corpus), room_responses(arguments.corpus)
        seed = arguments.seed + {"held": 1, "train": 2}[split]
        make_windows(mine, count, seed, noises=noises, rooms=rooms).save(path)
    return WindowSet.load(path)


def _detector(name: str, weights: dict[str, torch.Tensor]) -> WindowedDetector:
    """A part as it will be loaded, without calibration."""
    config = {**BASE, "calibration": IDENTITY.to_dict()}
    if name == "lfcc_gmm":
        mixtures = {kind: {part: weights[f"{kind}.{part}"].numpy() for part in MIXTURE_PARTS} for kind in CLASSES}
        return LfccGmmDetector(mixtures, IDENTITY, config, None)
    make = PARTS[name].network
    if make is None:
        raise ValueError(f"{name} has no network; add how it is made")
    network = MelCnn(MelCnnConfig(outputs=len(KINDS))) if name == "mel_kinds" else make()
    network.load_state_dict(weights)
    return NetworkDetector(name, network, PARTS[name].features, config, None)


def _trained(arguments: argparse.Namespace, clips: Sequence[LabelledClip], plan: FusionPlan) -> dict:
    """Weights of each part, from the cache or trained now."""
    weights = {}
    label = "-".join(["without", *sorted(arguments.without)]) if arguments.without else "all"
    for name in arguments.only:
        path = arguments.cache / f"part-{name}-{label}-{arguments.windows}-{arguments.steps}.safetensors"
        if not path.exists():
            held = features_of(_windows(arguments, clips, "held", 1200), PARTS[name].features)
            training = features_of(_windows(arguments, clips, "train", arguments.windows), PARTS[name].features)
            save_file(fit_part(name, training, held, plan, arguments.without), str(path))
            logger.info("%s trained", name)
        weights[name] = load_file(str(path))
    return weights


def main() -> None:
    arguments = _arguments()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(1)
    plan = FusionPlan(seed=arguments.seed, steps=dict.fromkeys(PARTS, arguments.steps))
    clips = _clips(arguments)
    weights = _trained(arguments, clips, plan)
    parts = {NARROW.name: NARROW.load(), **{name: _detector(name, tensors) for name, tensors in weights.items()}}
    held = score_parts(parts, channelled([clip for clip in clips if clip.split == "held"], 1, every=False))
    chosen = [clip for clip in clips if clip.split == "test" or clip.generator in arguments.without]
    test = score_parts(parts, channelled(chosen, 2, every=True))
    np.savez(
        arguments.cache / f"scores-{'-'.join(arguments.without) or 'all'}.npz",
        held=held[1],
        test=test[1],
        held_clips=json.dumps([_row(item.clip) for item in held[0]]),
        test_clips=json.dumps([_row(item.clip) for item in test[0]]),
    )
    _report(parts, held, test)
    if not arguments.without:
        _write(arguments, plan, clips, weights, parts, held, test)


def _row(clip: LabelledClip) -> list[str]:
    return [clip.generator, clip.condition, clip.speaker_id, clip.utterance_id, clip.split]


def _measures(scored, raw: np.ndarray, calibration: Calibration) -> str:
    """Pooled measures, then EER per generator against genuine clips of the same condition."""
    items = with_scores(scored, raw)
    pooled = pooled_measures(items, calibration)
    rows = error_table(items, calibration, BASE["threshold_llr"])
    lines = [" ".join(f"{name} {value:.4f}" for name, value in pooled.items())]
    lines += [
        f"  {row.generator:24}{row.condition:10}{row.bona_fide:10} EER {100 * row.eer:5.1f}"
        f" miss {100 * row.p_miss:5.1f} passed {100 * row.p_false_alarm:5.1f}  n {row.n_bona} {row.n_synth}"
        for row in rows
    ]
    return "\n".join(lines)


def _report(parts: dict[str, WindowedDetector], held, test) -> None:
    for index, name in enumerate(parts):
        calibration = calibrate(with_scores(held[0], held[1][:, index]))
        print(f"{name}: {_measures(test[0], test[1][:, index], calibration)}", flush=True)
    weights, offset = fuse(*held)
    fused = [scores @ weights + offset for scores in (held[1], test[1])]
    print("weights", dict(zip(parts, weights.round(4), strict=True)), offset)
    print(f"fusion: {_measures(test[0], fused[1], _identity(with_scores(held[0], fused[0])))}", flush=True)


def _identity(held) -> Calibration:
    """Scores that are ratios already: only the bound is theirs."""
    fitted = calibrate(held)
    counts = {"independent_bona": fitted.independent_bona, "independent_synth": fitted.independent_synth}
    return Calibration(scale=1.0, offset=0.0, **counts)


def _write(arguments, plan: FusionPlan, clips, weights, parts, held, test) -> None:
    training = {"seed": plan.seed, "steps": arguments.steps, "not_shown": [], "shortcuts": {}}
    digests = {NARROW.name: parts[NARROW.name].describe()["weights_sha256"]}
    for index, name in enumerate(parts):
        if name == NARROW.name:
            continue
        scored = tuple(with_scores(items, scores[:, index]) for items, scores in (held, test))
        extra = {"title": name, "training": training, "kinds": list(KINDS), "calibration_only": list(plan.kept)}
        digests[name] = _written(arguments.out / name, weights[name], scored, clips, extra, None)
    factors, offset = fuse(*held)
    scored = tuple(with_scores(items, scores @ factors + offset) for items, scores in (held, test))
    extra = {
        "title": "fusion",
        "training": training,
        "parts": digests,
        "weights": dict(zip(parts, map(float, factors), strict=True)),
        "offset": offset,
        "frame_part": NARROW.name,
        "calibration_only": list(plan.kept),
    }
    _written(arguments.out / "fusion", {}, scored, clips, extra, _identity(scored[0]))


def _written(folder: Path, weights, scored, clips, extra, calibration: Calibration | None) -> str:
    """Write one detector with its card; gives the digest of its weights."""
    write_part(folder, weights, scored, clips, extra, calibration)
    config = read_config(folder)
    rows = error_table(scored[1], Calibration.from_dict(config["calibration"]), BASE["threshold_llr"])
    (folder / "README.md").write_text(model_card(config, rows), encoding="utf-8")
    return config["files"]["model.safetensors"]


if __name__ == "__main__":
    main()
