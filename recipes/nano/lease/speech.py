"""What all scripts of the kit must agree on, and the packed recordings as they were."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
from safetensors import safe_open

from audiolm.semantic.w2v_bert import FRAME_SAMPLES

RATE_HZ, FRAME = 16_000, FRAME_SAMPLES
LONGEST = 40 * RATE_HZ
SPEEDS = (1.0, 0.9, 1.1, 0.85, 0.95, 1.05, 1.15)
"""The first is 1. Codes and tokens are counted speed by speed, in this order."""


def read_speech(path: Path) -> dict[str, list[tuple[np.ndarray, np.ndarray]]]:
    """By split, waveform ``[time]`` and int64 label per 40 ms (-1 unknown) of each recording."""
    import soundfile as sf

    with safe_open(path, framework="np") as stored:
        lengths = json.loads(stored.metadata()["lengths"])

        def read(split: str, index: int) -> tuple[np.ndarray, np.ndarray]:
            wave, _ = sf.read(io.BytesIO(stored.get_tensor(f"{split}/{index}/opus").tobytes()), dtype="float32")
            wave = np.pad(wave, (0, max(0, lengths[split][index] - len(wave))))[: lengths[split][index]]
            return wave, stored.get_tensor(f"{split}/{index}/labels").astype(np.int64)

        return {split: [read(split, i) for i in range(len(lengths[split]))] for split in ("train", "dev")}
