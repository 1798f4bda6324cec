"""Token evidence: which clips, which numbers, and what is told of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from detectors.assessment import ScoredClip
from detectors.labelled import BONA_FIDE, LabelledClip
from evaluation.own_evidence.card import own_card
from evaluation.own_evidence.detectors import TOKEN_PARTS, TOLD, TokenVectors, part_digests, token_source
from evaluation.own_evidence.evidence_clips import altered, cut_between, shortened
from evaluation.own_evidence.fitting import Kept, Windows, best_ridge, fit_on, one_sided, score, windows_of, write
from evaluation.own_evidence.generations import spread

__all__ = ["fit_tokens", "token_clips"]

COUNTS = {"train": (32, 12, 36, 24), "held": (16, 8, 14, 16), "test": (36, 20, 30, 30)}
"""Continuations, clips said again, genuine clips through our codec, genuine clips as they are."""
OTHERS, ALTERED = 3, 6
ABOUT = (
    "White-box evidence about **our own model's generations, and about nothing else**. A recording is taken apart into"
    " our model's tokens, and our model says how likely they are, what it expected, and how well they fit. Low ratios"
    " speak for our model's hand. High ones are kept at ln 2 = 0.69 nats at most: speech of another system looks"
    " genuine to it, so that *no sign of our model* says next to nothing for *bona fide*. Signs of our codec are lost"
    " when level, speed or coding change; see the rows `half_level` and `mp3`.",
    "",
    "`config.json` names under `told` the numbers that a verdict gives as evidence, with the ranges that hold 80 % of"
    " the calibration clips of each class.",
)
NOT_SHOWN = (
    "other systems: their rows show what it says of them, it was not fitted to any",
    "our model sampled at other temperatures than its own options and those of the clips, or other checkpoints of it",
    "generated speech through channels, at another level or speed, with noise, or mixed with a recording",
)


def token_clips(clips: Sequence[LabelledClip], own: Sequence[LabelledClip], seed: int) -> dict[str, list[LabelledClip]]:
    """The clips of each split; half of those for fitting are cut between the codec's frames."""
    found = {}
    for split, (continued, again, coded, raw) in COUNTS.items():
        made = [
            clip
            for generator, count in (("own_continuation", continued), ("own_acoustic", again))
            for clip in spread([c for c in own if c.generator == generator and c.split == split], count, seed)
        ]
        genuine = [c for c in clips if c.generator == BONA_FIDE and c.split == split]
        through = [c for c in [*genuine, *own] if c.is_bona_fide and c.condition == "own_codec" and c.split == split]
        plain = spread([c for c in genuine if c.condition == "raw"], raw, seed)
        if split == "test":
            changed = [*made[:ALTERED], *made[-ALTERED:], *through[:ALTERED]]
            others = _others(clips, seed)
            found[split] = shortened([*made, *through[:coded], *plain, *altered(changed, seed), *others])
        else:
            found[split] = shortened([*cut_between([*made, *through[:coded]], seed, every=2), *plain])
    return found


def _others(clips: Sequence[LabelledClip], seed: int) -> list[LabelledClip]:
    synthetic = [c for c in clips if c.split == "test" and not c.is_bona_fide and c.condition == "raw"]
    names = sorted({c.generator for c in synthetic})
    return [c for name in names for c in spread([c for c in synthetic if c.generator == name], OTHERS, seed)]


def fit_tokens(
    model: str, clips: Sequence[LabelledClip], own: Sequence[LabelledClip], work: Path, out: Path, seed: int
) -> dict[str, Any]:
    """Fit to ``model``, write the detector to ``out``; gives its config."""
    from evaluation.own_evidence.token_table import COLUMNS, TokenTable

    digests = part_digests(model, TOKEN_PARTS)
    table_of = token_source(model)
    kept = Kept(lambda samples: table_of(samples)._asdict(), work, "tokens-1" + "".join(digests.values()))
    vectors_of = TokenVectors(lambda samples: TokenTable(**kept(samples)))
    sets = token_clips(clips, own, seed)
    training, held = windows_of(vectors_of, sets["train"]), windows_of(vectors_of, sets["held"])
    head, ridge, rate = best_ridge(training, held, squares=True)
    fitted, scored_held = fit_on("token_evidence", vectors_of, head, sets["held"])
    fitted = replace(fitted, calibration=one_sided(fitted.calibration))
    test = score(fitted, sets["test"])
    extra = {
        "title": "token_evidence: what our own model says of a recording's tokens",
        "model": model,
        "model_parts": digests,
        "ridge": ridge,
        "held_window_eer": round(rate, 6),
        "told": _told(list(COLUMNS.items()), held),
        "not_shown": list(NOT_SHOWN),
        "seed": seed,
    }
    return write(
        out, fitted, scored_held, test, sets["train"], extra, lambda c, s: own_card(c, s, ABOUT), about=_ours(test)
    )


def _ours(scored: Sequence[ScoredClip]) -> list[ScoredClip]:
    """Genuine clips and our model's, as they are: what the detector is for."""
    names = (BONA_FIDE, "own_continuation", "own_acoustic")
    return [s for s in scored if s.clip.generator in names and s.clip.condition in ("raw", "own_codec")]


def _told(columns: Sequence[tuple[str, str]], held: Windows) -> list[list[Any]]:
    """Place, name, unit and the ranges of each class of the numbers that a verdict names."""
    found = []
    for place, (name, unit) in enumerate(columns):
        if name in TOLD:
            values, genuine = held.vectors[:, place], held.is_bona_fide
            ranges = {"bona_fide": _middle(values[genuine]), "synthetic": _middle(values[~genuine])}
            found.append([place, {"name": name, "unit": unit, **ranges}])
    return found


def _middle(values: np.ndarray) -> list[float]:
    """Where the middle 80 % lie."""
    return [round(float(np.quantile(values, share)), 4) for share in (0.1, 0.9)]
