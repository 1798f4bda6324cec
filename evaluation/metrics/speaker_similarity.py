"""Whether the clip sounds like the speaker of the prompt: cosine of two speaker embeddings.

This is SIM-o, against the recorded prompt. The prompt is never part of the scored clip: a shared half would lift a true
cosine of 0.3 to about 0.8.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from evaluation.metrics import Measure, MetricSpec, Outcome, ScoreInput, Skipped
from evaluation.speaker import SpeakerEncoderEntry, embed_all, find_encoder

__all__ = ["METRIC"]

SPEC = MetricSpec(
    name="speaker_similarity",
    title="Speaker similarity",
    measures=(
        Measure(
            name="cosine",
            title="Speaker similarity to the prompt",
            unit="cosine",
            direction="higher",
            meaning="cosine between the speaker embeddings of prompt and clip; read it between shuffled and reference",
            source="Wan et al. 2018 (GE2E encoder); SIM-o as in Le et al. 2023 (Voicebox)",
            low=-1.0,
            high=1.0,
        ),
        Measure(
            name="accepted",
            title="Accepted as the prompt's speaker",
            unit="share",
            direction="none",
            meaning="share of clips that a verifier at its equal-error threshold takes for the prompt's speaker",
            source="threshold measured on LibriSpeech and VCTK, evaluation/speaker/pretrained/ge2e_calibration.json",
            low=0.0,
            high=1.0,
        ),
        Measure(
            name="llr",
            title="Evidence for the prompt's speaker",
            unit="log10 likelihood ratio",
            direction="higher",
            meaning="how much likelier this cosine is for one speaker than for two; 0 says nothing, 1 ten times",
            source="logistic calibration on LibriSpeech and VCTK (Brummer and du Preez 2006),"
            " evaluation/speaker/pretrained/ge2e_calibration.json",
        ),
    ),
    roles=("reference", "codec", "acoustic", "continuation", "shuffled"),
    needs=frozenset({"prompt"}),
    min_duration_s=1.0,
    min_duration_source="the encoder's window is 1.6 s; with less than 1 s most of it would be padding",
    version="2",
)


class SpeakerSimilarity:
    spec = SPEC

    def load(self, device: str) -> Callable[[Sequence[ScoreInput]], list[Outcome]]:
        entry = find_encoder()
        encoder = entry.load(device)

        def score(inputs: Sequence[ScoreInput]) -> list[Outcome]:
            clips = [clip for item in inputs for clip in (item.prompt, item.clip) if clip is not None]
            vectors = dict(zip((id(clip) for clip in clips), embed_all(encoder, clips), strict=True))
            return [_compare(vectors, entry, item) for item in inputs]

        return score

    def status(self) -> tuple[str, str]:
        return find_encoder().status()

    def fingerprint(self) -> Mapping[str, str]:
        return find_encoder().fingerprint()


def _compare(vectors: Mapping[int, np.ndarray | None], entry: SpeakerEncoderEntry, item: ScoreInput) -> Outcome:
    if item.prompt is None:
        return Skipped("no prompt to compare the speaker with")
    prompt, clip = vectors[id(item.prompt)], vectors[id(item.clip)]
    if prompt is None:
        return Skipped("the prompt holds less than 0.5 s of speech")
    if clip is None:
        return Skipped("the clip holds less than 0.5 s of speech")
    cosine = float(np.clip(np.dot(prompt.astype(np.float64), clip.astype(np.float64)), -1.0, 1.0))
    ratio = entry.log_ratio(cosine)
    return {
        "cosine": cosine,
        "accepted": float(cosine >= entry.threshold),
        "llr": Skipped("the encoder has no calibration to a likelihood ratio") if ratio is None else ratio,
    }


METRIC = SpeakerSimilarity()
