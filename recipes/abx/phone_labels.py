"""Labels for w2v-BERT's second stack: the phone that is spoken in each 40 ms frame, from aligned transcripts.

    python recipes/abx/phone_labels.py --data ../shared/corpus/manifest.csv --out runs/phone_labels.safetensors

Tokens learnt from these are text-informed (a deviation from AudioLM, which sees no transcript). Utterances without a
transcript get the label -1 (unknown) throughout; so do the frames of words that the dictionary lacks.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from audiolm.audio import probe
from audiolm.semantic.w2v_bert import FRAME_SAMPLES
from evaluation.cli.progress_bar import terminal_progress
from evaluation.language.alignment import SILENCE, Phone, align_utterances
from evaluation.manifest import read_utterances
from evaluation.records import Utterance

SAMPLE_RATE_HZ = 16_000
PHONES = (
    *"AA AE AH AO AW AY B CH D DH EH ER EY F G HH IH IY JH K L M N NG OW OY P R S SH T TH UH UW V W Y Z ZH".split(),
    SILENCE,
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--splits", nargs="+", default=["train", "dev"])
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    utterances = [one for one in read_utterances(options.data) if one.split in options.splits and not one.problem]
    aligned = align_utterances(utterances, progress=terminal_progress())
    labels = {one.utterance_id: frame_labels(one, aligned.phones.get(one.utterance_id, ())) for one in utterances}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    save_file(labels, options.out, metadata={"phones": json.dumps(PHONES)})
    known = sum(int((row >= 0).sum()) for row in labels.values()) / sum(map(len, labels.values()))
    print(f"{len(aligned.phones)} of {len(utterances)} utterances aligned; {100 * known:.1f} % of frames have a label")


def frame_labels(utterance: Utterance, phones: Sequence[Phone]) -> np.ndarray:
    """Index into ``PHONES`` of the phone at each frame's centre, -1 where unknown: int16 ``[frame]``."""
    info = probe(utterance.audio_path)
    samples = -(-info.frames * SAMPLE_RATE_HZ // info.sample_rate_hz)
    labels = np.full(samples // FRAME_SAMPLES, -1, dtype=np.int16)
    rate_hz = SAMPLE_RATE_HZ / FRAME_SAMPLES
    for phone in phones:
        if phone.guessed or phone.label not in PHONES:
            continue
        first, end = (int(np.ceil(rate_hz * time_s - 0.5)) for time_s in (phone.start_s, phone.end_s))
        labels[max(0, first) : end] = PHONES.index(phone.label)
    return labels


if __name__ == "__main__":
    main()
