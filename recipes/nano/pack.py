"""Pack the training and the held-out speech for a machine that has torch and nothing else.

    python recipes/nano/pack.py --data ../shared/corpus/manifest.csv --out runs/pack

Writes 16-bit samples at 16 kHz as safetensors pieces of at most 60 MiB and an index; ``audiolm-audit train --data``
takes the folder in place of the manifest.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from audiolm.dataset import read_recordings
from audiolm.packed_speech import write_pack

SAMPLE_RATE_HZ = 16_000


def main(argv: Sequence[str] | None = None) -> int:
    """Write the pack and say how large it is; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="manifest with splits train and dev")
    parser.add_argument("--out", type=Path, required=True, help="folder for the pack; let git ignore it")
    parser.add_argument("--kind", default="speech", help="kind of recording (default: speech)")
    parser.add_argument("--max-seconds-per-speaker", type=float, default=300.0, help="cap, training split only")
    parser.add_argument("--piece-mib", type=float, default=60.0, help="largest piece (default: 60)")
    options = parser.parse_args(argv)
    files = write_pack(options.out, _rows(options), SAMPLE_RATE_HZ, int(options.piece_mib * 2**20))
    size = sum(path.stat().st_size for path in files)
    print(f"{options.out}: {len(files)} files, {size / 2**20:.1f} MiB")
    return 0


def _rows(options: argparse.Namespace) -> Iterator[tuple[dict[str, str], Any]]:
    for split, cap in (("train", options.max_seconds_per_speaker), ("dev", None)):
        found = read_recordings(
            options.data,
            split=split,
            sample_rate_hz=SAMPLE_RATE_HZ,
            kind=options.kind,
            max_seconds_per_speaker=cap,
        )
        for item in found:
            row = {"utterance_id": item.utterance_id, "speaker": item.speaker_id, "split": split, "kind": options.kind}
            yield row, item.samples


if __name__ == "__main__":
    raise SystemExit(main())
