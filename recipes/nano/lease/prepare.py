"""Pack recordings, labels and codes for a GPU that is lent for minutes and takes 64 MiB a call.

    python recipes/nano/lease/prepare.py --data ../shared/corpus/manifest.csv --codec audiolm/pretrained/nano/codec \\
        --labels runs/phone_labels.safetensors --out runs/lease --part speech     # and then --part codes

Writes OUT/speech.safetensors (the recordings as Opus at 32 kbit/s, which the tokenizer alone hears, and their phone
labels) and OUT/codes-I-N.npz (the codec's tokens, made here from the recordings themselves, at every speed, ten bits
each; ``--shard I N`` shares the work out; what is made already is not made again).
"""

from __future__ import annotations

import argparse
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf
import ten_bits
import torch
from safetensors import safe_open
from safetensors.numpy import load_file, save_file
from speech import FRAME, LONGEST, RATE_HZ, SPEEDS

from audiolm.codec.protocol import load_acoustic
from audiolm.dataset import Recording, read_recordings
from audiolm.edge_silence import Stretch, without_edge_silence
from audiolm.speed_variants import at_speeds

EDGE_S = 0.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--codec", type=Path, required=True)
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--max-seconds-per-speaker", type=float, default=600.0)
    parser.add_argument("--part", choices=("speech", "codes"), required=True)
    parser.add_argument(
        "--shard", type=int, nargs=2, default=(0, 1), metavar=("I", "N"), help="codes: every Nth, from I"
    )
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    train = read_recordings(
        options.data, split="train", sample_rate_hz=RATE_HZ, max_seconds_per_speaker=options.max_seconds_per_speaker
    )
    train = without_edge_silence(train, EDGE_S, RATE_HZ)
    dev = read_recordings(options.data, split="dev", sample_rate_hz=RATE_HZ)
    if options.part == "speech":
        pack_speech({"train": train, "dev": dev}, options.labels, options.out / "speech.safetensors")
    else:
        pack_codes(at_speeds(train, SPEEDS) + dev, options)


def pack_speech(splits: dict[str, list[Recording]], labels: Path, path: Path) -> None:
    """``train/000/opus`` (bytes) and ``train/000/labels`` (int8 per 40 ms, -1 unknown) of each recording."""
    arrays: dict[str, np.ndarray] = {}
    lengths: dict[str, list[int]] = {}
    with safe_open(labels, framework="np") as stored:
        names, phones = set(stored.keys()), stored.metadata()["phones"]
        for split, rows in splits.items():
            for index, item in enumerate(rows):
                stream = io.BytesIO()
                samples = np.asarray(item.samples[:LONGEST], dtype=np.float32)
                sf.write(stream, samples, RATE_HZ, format="OGG", subtype="OPUS", compression_level=0.87)
                known = stored.get_tensor(item.utterance_id) if item.utterance_id in names else np.zeros(0, np.int16)
                arrays[f"{split}/{index}/opus"] = np.frombuffer(stream.getvalue(), np.uint8)
                arrays[f"{split}/{index}/labels"] = moved(known, item.samples, len(samples) // FRAME)
                lengths.setdefault(split, []).append(len(samples))
    save_file(arrays, path, metadata={"lengths": json.dumps(lengths), "phones": phones})
    print(path, path.stat().st_size / 2**20, "MiB", {split: sum(n) / RATE_HZ / 3600 for split, n in lengths.items()})


def moved(labels: np.ndarray, samples: Any, frames: int) -> np.ndarray:
    """Labels of a recording's frames where the recording begins later than the labels do."""
    start = samples._start if isinstance(samples, Stretch) else 0
    places = (start + (np.arange(frames) + 0.5) * FRAME).astype(np.int64) // FRAME
    return np.append(labels, -1)[np.minimum(places, len(labels))].astype(np.int8)


def pack_codes(recordings: Sequence[Recording], options: argparse.Namespace) -> None:
    """Codes ``[level, frame]`` int16 of recordings ``I, I + N, ...``, train at every speed and then dev."""
    first, step = options.shard
    path = options.out / f"codes-{first}-{step}.safetensors"
    arrays = load_file(path) if path.exists() else {}
    codec = load_acoustic(options.codec)
    torch.set_num_threads(1)
    for index in range(first, len(recordings), step):
        if str(index) in arrays:
            continue
        samples = np.asarray(recordings[index].samples[:LONGEST], dtype=np.float32)
        row = torch.from_numpy(np.pad(samples, (0, -len(samples) % FRAME)))[None]
        with torch.inference_mode():
            arrays[str(index)] = codec.encode(row)[0].numpy().astype(np.int16)
    save_file(arrays, path)
    packed = options.out / f"codes-{first}-{step}.npz"
    np.savez(packed, **ten_bits.packed({int(name): codes for name, codes in arrays.items()}))
    print(packed, len(arrays), packed.stat().st_size / 2**20, "MiB")


if __name__ == "__main__":
    main()
