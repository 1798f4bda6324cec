"""The watched process of hostile_audio.py: file names in, one line of JSON per file out."""

from __future__ import annotations

import json
import sys
import time
from itertools import islice
from pathlib import Path

from audiolm.audio import AudioClip, AudioError, read_provenance, stream_blocks


def opened(path: Path) -> dict[str, object]:
    """All three ways through the door; ``ok`` where the first seconds can be used."""
    started, reason, blocks = time.process_time(), "", 0
    read_provenance(path)
    try:
        clip = AudioClip.from_file(path, duration_s=12.0)
        clip.at_rate(16_000)
    except AudioError as error:
        reason = str(error)
    try:
        blocks = sum(1 for _ in islice(stream_blocks(path, block_s=30.0), 20))
    except AudioError as error:
        reason = reason or f"(whole) {error}"
    seconds = time.process_time() - started
    return {"ok": not reason, "reason": reason[:300], "seconds": seconds, "blocks": blocks, "peak_mib": peak_mib()}


def peak_mib() -> float:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:")), 0.0)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    AudioClip.from_array(__import__("numpy").zeros(8, "f4"), 8_000).at_rate(16_000)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for line in sys.stdin:
        sys.stdout.write(json.dumps(opened(folder / json.loads(line))) + "\n")
        sys.stdout.flush()
