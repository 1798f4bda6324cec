"""Finds the cosine at which a speaker encoder's false acceptances equal its false rejections.

Run by the maintainers: ``python -m evaluation.speaker.calibration <manifest.csv> <weights> <ge2e_calibration.json>``.
Trials compare a prompt of 3 s with a clip of 4 s, the lengths of an audit. Target trials come from two utterances of
one speaker, impostor trials from two speakers of the same corpus; the test split is never touched. The same figure is
given for prompt and clip cut from one utterance, which is what a continuation is compared with.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from audiolm.audio import AudioClip
from evaluation.speaker import embed_all

__all__ = ["LogRatioLine", "Operating", "cllr_bit", "equal_error_rate", "fit_log_ratio"]

PROMPT_S, CLIP_S = 3.0, 4.0
CORPORA = ("librispeech", "vctk")
SPLITS = ("train", "dev")
MAX_UTTERANCES_PER_SPEAKER = 10
SEED = 20


@dataclass(frozen=True, slots=True)
class Operating:
    """Where the two error shares meet: the cosine ``threshold`` and the ``rate`` there, in [0, 1]."""

    threshold: float
    rate: float


def equal_error_rate(targets: np.ndarray, impostors: np.ndarray) -> Operating:
    """Equal error rate of scores ``[trial]`` where higher means same speaker; a score at the threshold is accepted.

    The rate is the mean of the two error shares at the threshold where they lie closest.

    Raises:
        ValueError: one of the two groups has no trial.
    """
    if not len(targets) or not len(impostors):
        raise ValueError("an equal error rate needs at least one target and one impostor trial")
    candidates = np.unique(np.concatenate([targets, impostors]))
    missed = np.searchsorted(np.sort(targets), candidates, side="left") / len(targets)
    accepted = 1.0 - np.searchsorted(np.sort(impostors), candidates, side="left") / len(impostors)
    best = int(np.argmin(np.abs(missed - accepted)))
    return Operating(float(candidates[best]), float((missed[best] + accepted[best]) / 2.0))


@dataclass(frozen=True, slots=True)
class LogRatioLine:
    """Log10 likelihood ratio as ``slope * cosine + offset``."""

    slope: float
    offset: float

    def of(self, cosines: np.ndarray) -> np.ndarray:
        return self.slope * cosines + self.offset


def fit_log_ratio(targets: np.ndarray, impostors: np.ndarray) -> LogRatioLine:
    """Logistic regression of same speaker on the cosine ``[trial]``, both classes weighing alike (Brummer and du Preez
    2006): with even odds before, the odds after are the likelihood ratio.

    Raises:
        ValueError: one of the two groups has no trial.
    """
    from scipy.optimize import minimize

    if not len(targets) or not len(impostors):
        raise ValueError("a calibration needs at least one target and one impostor trial")

    def loss(line: np.ndarray) -> float:
        same, other = line[0] * targets + line[1], line[0] * impostors + line[1]
        return float(np.logaddexp(0, -same).mean() + np.logaddexp(0, other).mean())

    found = minimize(loss, np.array([10.0, -5.0]), method="BFGS").x / np.log(10.0)
    return LogRatioLine(float(found[0]), float(found[1]))


def cllr_bit(line: LogRatioLine, targets: np.ndarray, impostors: np.ndarray) -> float:
    """Cost of the ratios in bit: 0 for perfect ones, 1 for ratios that say nothing (Brummer and du Preez 2006)."""
    same, other = (line.of(trials) * np.log(10.0) for trials in (targets, impostors))
    return float((np.logaddexp(0, -same).mean() + np.logaddexp(0, other).mean()) / 2 / np.log(2.0))


@dataclass(frozen=True, slots=True)
class _Embedded:
    corpus: str
    speaker: str
    prompt: np.ndarray
    clip: np.ndarray


def _embed(manifest: Path, encoder) -> list[_Embedded]:
    import pandas as pd

    rows = pd.read_csv(manifest)
    rows = rows[(rows["kind"] == "speech") & rows["split"].isin(SPLITS) & (rows["duration_s"] >= PROMPT_S + CLIP_S)]
    rows = rows.assign(corpus=[str(name).split("-")[0] for name in rows["speaker"]])
    rows = rows[rows["corpus"].isin(CORPORA)].sort_values("utterance_id")
    rows = rows.groupby("speaker").head(MAX_UTTERANCES_PER_SPEAKER)
    kept, clips = [], []
    for row in rows.itertuples():
        clip = AudioClip.from_file(manifest.parent / str(row.path)).at_rate(16_000)
        kept.append((str(row.corpus), str(row.speaker)))
        clips += [clip.cut(0.0, PROMPT_S), clip.cut(PROMPT_S, PROMPT_S + CLIP_S)]
    vectors = embed_all(encoder, clips)
    pairs = zip(kept, vectors[::2], vectors[1::2], strict=True)
    return [
        _Embedded(corpus, speaker, one, two)
        for (corpus, speaker), one, two in pairs
        if one is not None and two is not None
    ]


def _trials(embedded: Sequence[_Embedded]) -> Mapping[str, np.ndarray]:
    """Cosines of ``target`` (two utterances), ``continuation`` (one utterance) and ``impostor`` trials.

    Every speaker weighs about alike: each has at most ten utterances, and each prompt meets ten impostors.
    """
    generator = np.random.default_rng(SEED)
    target, same, impostor = [], [], []
    for index, first in enumerate(embedded):
        same.append(float(first.prompt @ first.clip))
        target += [
            float(first.prompt @ other.clip)
            for place, other in enumerate(embedded)
            if place != index and other.speaker == first.speaker
        ]
        others = [one for one in embedded if one.corpus == first.corpus and one.speaker != first.speaker]
        chosen = generator.choice(len(others), size=min(10, len(others)), replace=False)
        impostor += [float(first.prompt @ others[place].clip) for place in chosen]
    return {"target": np.array(target), "continuation": np.array(same), "impostor": np.array(impostor)}


def calibrate(manifest: Path, encoder) -> dict[str, object]:
    """Operating point of ``encoder`` on the speech of ``manifest``, with the counts it rests on."""
    embedded = _embed(manifest, encoder)
    trials = _trials(embedded)
    point = equal_error_rate(trials["target"], trials["impostor"])
    same = equal_error_rate(trials["continuation"], trials["impostor"])
    line = fit_log_ratio(trials["target"], trials["impostor"])
    speakers = [one.speaker for one in embedded]
    repeated = {name for name in speakers if speakers.count(name) > 1}
    figures: dict[str, object] = {
        "threshold": round(point.threshold, 4),
        "equal_error_rate": round(point.rate, 4),
        "continuation_threshold": round(same.threshold, 4),
        "continuation_equal_error_rate": round(same.rate, 4),
        "llr_slope": round(line.slope, 4),
        "llr_offset": round(line.offset, 4),
        "llr_cllr_bit": round(cllr_bit(line, trials["target"], trials["impostor"]), 4),
        "prompt_s": PROMPT_S,
        "clip_s": CLIP_S,
        "n_speakers": len(set(speakers)),
        "n_target_speakers": len(repeated),
    }
    for name, cosines in trials.items():
        figures[f"n_{name}_trials"] = len(cosines)
        figures[f"{name}_mean_cosine"] = round(float(cosines.mean()), 4)
        figures[f"{name}_sd_cosine"] = round(float(cosines.std(ddof=1)), 4)
    figures["source"] = (
        f"equal error rate {100 * point.rate:.1f} % on {len(trials['target'])} same-speaker trials"
        f" of {len(repeated)} speakers and {len(trials['impostor'])} different-speaker trials"
        f" of {len(set(speakers))} speakers of LibriSpeech and VCTK"
        f" ({PROMPT_S:g} s against {CLIP_S:g} s, train and dev splits)"
    )
    return figures


def main() -> None:
    from safetensors.torch import load_file

    from evaluation.speaker.ge2e import Ge2eEncoder

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("manifest", type=Path, help="manifest with columns kind, split, speaker, path, duration_s")
    parser.add_argument("weights", type=Path, help="ge2e.safetensors")
    parser.add_argument("target", type=Path, help="JSON file to write")
    arguments = parser.parse_args()
    figures = calibrate(arguments.manifest, Ge2eEncoder(load_file(arguments.weights)))
    figures["weights_sha256"] = hashlib.sha256(arguments.weights.read_bytes()).hexdigest()
    arguments.target.write_text(json.dumps(figures, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    sys.stdout.write(json.dumps(figures, indent=2, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
