"""Pack the training and the held-out speech for a machine that has torch and nothing else.

    python recipes/nano/pack.py --data ../shared/corpus/manifest.csv --out runs/pack

Writes 16-bit samples at 16 kHz as safetensors pieces of at most 60 MiB and an index; ``audiolm-audit train --data``
takes the folder in place of the manifest. One recording is in memory at a time. A large corpus is packed by many jobs,
each with ``--shard I/N`` and an ``--out`` of its own side by side; ``--data`` then takes the folder above them.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from audiolm.dataset import rows_of
from audiolm.packed_speech import PackedSamples, write_pack

SAMPLE_RATE_HZ = 16_000


def main(argv: Sequence[str] | None = None) -> int:
    """Write the pack and say how large it is; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="manifest with splits train and dev")
    parser.add_argument("--out", type=Path, required=True, help="folder for the pack; let git ignore it")
    parser.add_argument("--kind", default="speech", help="kind of recording (default: speech)")
    parser.add_argument("--max-seconds-per-speaker", type=float, default=300.0, help="cap, training split only")
    parser.add_argument("--piece-mib", type=float, default=60.0, help="largest piece (default: 60)")
    parser.add_argument("--cut-seconds", type=float, help="cut longer recordings into pieces of this length")
    parser.add_argument(
        "--shard", type=_shard, default=(0, 1), metavar="I/N", help="every Nth recording, from number I on"
    )
    options = parser.parse_args(argv)
    files = write_pack(options.out, _rows(options), SAMPLE_RATE_HZ, int(options.piece_mib * 2**20))
    size = sum(path.stat().st_size for path in files)
    print(f"{options.out}: {len(files)} files, {size / 2**20:.1f} MiB")
    return 0


def _rows(options: argparse.Namespace) -> Iterator[tuple[dict[str, str], Any]]:
    place, shards = options.shard
    for split, cap in (("train", options.max_seconds_per_speaker), ("dev", None)):
        taken_s: dict[str, float] = {}
        for index, (row, samples) in enumerate(rows_of(options.data, SAMPLE_RATE_HZ, split=split, kind=options.kind)):
            speaker = row["speaker"]
            if index % shards != place or (cap and speaker and taken_s.get(speaker, 0.0) >= cap):
                continue
            loaded: np.ndarray = samples[:] if isinstance(samples, PackedSamples) else samples(SAMPLE_RATE_HZ)
            taken_s[speaker] = taken_s.get(speaker, 0.0) + len(loaded) / SAMPLE_RATE_HZ
            for name, piece in pieces(row["utterance_id"], loaded, options.cut_seconds):
                yield {"utterance_id": name, "speaker": speaker, "split": split, "kind": options.kind}, piece


def pieces(name: str, samples: np.ndarray, cut_s: float | None) -> Iterator[tuple[str, np.ndarray]]:
    """The recording, or its stretches of ``cut_s``; a rest below a second goes with the stretch before it."""
    length = int(cut_s * SAMPLE_RATE_HZ) if cut_s else len(samples)
    if len(samples) < length + SAMPLE_RATE_HZ:
        yield name, samples
        return
    count = (len(samples) - SAMPLE_RATE_HZ) // length + 1
    for index in range(count):
        stop = len(samples) if index == count - 1 else (index + 1) * length
        yield f"{name}-{index:04d}", samples[index * length : stop]


def _shard(text: str) -> tuple[int, int]:
    place, _, shards = text.partition("/")
    if not (place.isdigit() and shards.isdigit() and int(place) < int(shards)):
        raise argparse.ArgumentTypeError(f"{text!r} is not I/N with I from 0 to N - 1")
    return int(place), int(shards)


if __name__ == "__main__":
    raise SystemExit(main())
