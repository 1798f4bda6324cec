"""Held-out loss of a model's stages with their weights in fewer bits: nats per token, and how far from float32.

    python -m tests.benchmarks.precision_loss --data CORPUS/manifest.csv [--model nano] [--clips 12] [--json]

Each clip is another dev speaker's; at most its first 8 s.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from audiolm import AudioLM
from audiolm.dataset import read_recordings
from audiolm.precision import PRECISIONS, Precision, check_precision
from audiolm.semantic.tokenizer import encode_long
from tests.benchmarks.table import Row, finish, parser

LIMIT = 0.01
LONGEST_S = 8


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parser(__doc__)
    arguments.add_argument("--data", type=Path, required=True)
    arguments.add_argument("--model", default="nano")
    arguments.add_argument("--clips", type=int, default=12)
    args = arguments.parse_args(argv)
    return finish(losses(args.model, args.data, args.clips), args.json)


def losses(source: str, data: Path, clips: int) -> list[Row]:
    recordings = read_recordings(data, split="dev", sample_rate_hz=16_000)
    by_speaker = {recording.speaker_id: recording for recording in recordings}
    chosen = [by_speaker[speaker] for speaker in sorted(by_speaker)[:clips]]
    whole = AudioLM.from_pretrained(source)
    tokens = [_tokens(whole, np.asarray(recording.samples[: LONGEST_S * 16_000])) for recording in chosen]
    found = {}
    for precision in _here():
        model = whole if precision == "float32" else AudioLM.from_pretrained(source, precision=precision)
        found[precision] = _mean_nats(model, tokens)
    rows = []
    for stage, plain in found["float32"].items():
        rows.append(Row(name=f"held-out loss, {stage}, float32, {len(chosen)} clips", value=plain, unit="nats"))
        for precision in _here()[1:]:
            ratio = found[precision][stage] / plain
            rows.append(
                Row(
                    name=f"the same, {precision}",
                    value=found[precision][stage],
                    unit="nats",
                    against="float32",
                    ratio=ratio,
                    target=f"+-{LIMIT:.0%}",
                    met=abs(ratio - 1) <= LIMIT,
                )
            )
    return rows


def _tokens(model: AudioLM, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Semantic tokens ``[frame]`` and codes ``[level, frame]``, whole 40 ms frames of both, within the windows."""
    parts = model.parts
    whole = samples[: len(samples) - len(samples) % 640].astype(np.float32)
    semantic = encode_long(parts.tokenizer, torch.from_numpy(whole)).numpy()
    codes = parts.codec.encode(torch.from_numpy(whole)[None])[0].numpy()[: parts.levels]
    frames = min(len(semantic), codes.shape[1] // 2, parts.coarse.config.window // 2)
    return semantic[:frames], codes[:, : 2 * frames]


def _mean_nats(model: AudioLM, tokens: list[tuple[np.ndarray, np.ndarray]]) -> dict[str, float]:
    parts = model.parts
    n_coarse = parts.coarse.config.layout.n_coarse
    found: dict[str, list[np.ndarray]] = {"semantic": [], "coarse": []}
    for semantic, codes in tokens:
        found["semantic"].append(parts.semantic.nats(semantic[:0], semantic[None]))
        found["coarse"].append(parts.coarse.nats(semantic, codes[:n_coarse]))
        if parts.fine is not None:
            end = min(parts.fine.config.window, codes.shape[1])
            fine = parts.fine.nats(codes[:n_coarse, :end], codes[n_coarse:, :end])
            found.setdefault("fine", []).append(fine)
    return {stage: float(np.concatenate([row.ravel() for row in rows]).mean()) for stage, rows in found.items()}


def _here() -> list[Precision]:
    usable: list[Precision] = []
    for precision in PRECISIONS:
        try:
            check_precision(precision, "cpu")
        except ValueError:
            continue
        usable.append(precision)
    return usable


if __name__ == "__main__":
    raise SystemExit(main())
