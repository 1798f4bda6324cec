"""The two acoustic decoders side by side: speed, held-out loss per level, and what listeners' stand-ins make of it.

    python -m tests.benchmarks.parallel --model FOLDER [--parts speed,loss,quality] [--json]

FOLDER holds a model with ``stage_parallel``. Speed and quality use LibriSpeech dev clips of the corpus
(``AUDIOLM_CORPUS``); losses are in nats per code, over the same three-second crops for both.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch

from audiolm import AudioLM
from audiolm.audio import AudioClip
from audiolm.parallel import MaskedRows, ParallelStage
from audiolm.pipeline import Decoder
from audiolm.semantic.tokenizer import encode_long
from audiolm.stages import Stage
from tests.benchmarks.table import Row, alternate, compared, finish, parser

RATE_HZ = 16_000
CROP_S = 3.0
MASK_DRAWS = 8
ROUNDS = 3
DECODERS: tuple[Decoder, ...] = ("autoregressive", "parallel")


def main(argv: Sequence[str] | None = None) -> int:
    options = parser(__doc__)
    options.add_argument("--model", required=True)
    options.add_argument("--parts", default="speed,loss,quality")
    options.add_argument("--clips", type=int, default=8)
    options.add_argument("--seconds", type=float, default=4.0)
    args = options.parse_args(argv)
    model = AudioLM.from_pretrained(args.model)
    clips = _clips(args.clips)
    makers: dict[str, Callable[[], list[Row]]] = {
        "speed": lambda: speed(model, [samples for samples, _ in clips], args.seconds),
        "loss": lambda: losses(model, [samples for samples, _ in clips]),
        "quality": lambda: quality(model, clips, args.seconds),
    }
    return finish([row for part in args.parts.split(",") for row in makers[part]()], args.json)


def speed(model: AudioLM, clips: Sequence[np.ndarray], seconds: float) -> list[Row]:
    """Codes per second of a continuation at batch 1 and 4, the decoders in turn; and the wait for the first sound."""
    prompt = clips[0][: 3 * RATE_HZ]
    codes = 50 * model.parts.levels * seconds
    first, second = DECODERS
    rows = []
    for batch in (1, 4):
        prompts, seeds = [prompt] * batch, list(range(batch))
        calls = {name: partial(model.continuation, prompts, seconds, seeds, decoder=name) for name in DECODERS}
        times = alternate(calls, ROUNDS, warm_up=1)
        rates = {name: batch * codes / times[name] for name in DECODERS}
        rows.append(Row(name=f"continuation, batch {batch}, {first}", value=rates[first], unit="codes/s"))
        rows.append(compared(f"continuation, batch {batch}, {second}", rates[second], "codes/s", first, rates[first]))
        for name in DECODERS:
            rows.append(_row(f"real-time factor, batch {batch}, {name}", times[name] / seconds / batch, "s/s"))

    def first_sound(name: Decoder) -> None:
        next(model.stream(prompt, seconds, 0, decoder=name))

    waits = alternate({name: partial(first_sound, name) for name in DECODERS}, ROUNDS, warm_up=1)
    return rows + [_row(f"stream, first sound, {name}", wait, "s") for name, wait in waits.items()]


def losses(model: AudioLM, clips: Sequence[np.ndarray]) -> list[Row]:
    """Nats per code and level. Autoregressive: exact. Parallel: of one pass over all codes of the level, and the mean
    over masks of every size, which is what one code per pass in random order pays (Hoogeboom et al. 2021)."""
    parts = model.parts
    if parts.parallel is None or parts.fine is None:
        raise ValueError("this model lacks the parallel decoder or the fine stage; name one that has both")
    pieces = [clip[: int(CROP_S * RATE_HZ)] for clip in clips if len(clip) >= CROP_S * RATE_HZ]
    semantic = [encode_long(parts.tokenizer, torch.from_numpy(piece)).numpy() for piece in pieces]
    codes = [parts.codec.encode(torch.from_numpy(p)[None])[0, : parts.levels].numpy() for p in pieces]
    n_coarse, window = parts.coarse.config.layout.n_coarse, parts.fine.config.window
    exact = _stage_losses(parts.coarse, semantic, [row[:n_coarse] for row in codes])
    blocks = [row[:, at : at + window] for row in codes for at in range(0, row.shape[1], window)]
    exact += _stage_losses(parts.fine, [row[:n_coarse] for row in blocks], [row[n_coarse:] for row in blocks])
    one, any_order = _masked_losses(parts.parallel, semantic, codes)
    rows = []
    for level, values in enumerate(zip(exact, one, any_order, strict=True)):
        for name, value in zip(("autoregressive", "parallel, one pass", "parallel, any order"), values, strict=True):
            rows.append(_row(f"loss level {level + 1} {name}", value, "nats/code"))
    return rows


@torch.inference_mode()
def _stage_losses(stage: Stage, conditions: Sequence[np.ndarray], targets: Sequence[np.ndarray]) -> list[float]:
    layout = stage.config.layout
    rows = stage.batch(conditions, targets, [False] * len(targets))
    found = []
    for level in range(layout.target_levels):
        places = (rows.targets >= 0) & (rows.roles == level + 1)
        wanted = torch.from_numpy(rows.targets[places] - layout.legal_range(level)[0])
        logits = stage.logits(rows, level)[torch.from_numpy(places)]
        found.append(float(torch.nn.functional.cross_entropy(logits, wanted)))
    return found


@torch.inference_mode()
def _masked_losses(
    stage: ParallelStage, semantic: Sequence[np.ndarray], codes: Sequence[np.ndarray]
) -> tuple[list[float], list[float]]:
    tokens = torch.from_numpy(np.stack([np.repeat(row, 2)[: codes[0].shape[1]] for row in semantic]))
    truth = torch.from_numpy(np.stack(codes))
    valid = torch.ones_like(tokens, dtype=torch.bool)
    rng = torch.Generator().manual_seed(0)
    frames = truth.shape[2]
    one, any_order = [], []
    for level in range(stage.config.n_levels):
        masked = torch.zeros_like(truth, dtype=torch.bool)
        masked[:, level:] = True
        weights = torch.zeros(truth.shape)
        weights[:, level] = 1.0
        one.append(float(stage.loss(MaskedRows(tokens, truth, masked, valid), weights)[0]))
        draws = []
        for draw in range(MASK_DRAWS):
            count = max(1, round(frames * (draw + 0.5) / MASK_DRAWS))
            hidden = torch.rand(tokens.shape, generator=rng).argsort(1) < count
            masked[:, level] = hidden
            weights[:, level] = hidden.float()
            draws.append(float(stage.loss(MaskedRows(tokens, truth, masked, valid), weights)[0]))
        any_order.append(float(np.mean(draws)))
    return one, any_order


def quality(model: AudioLM, clips: Sequence[tuple[np.ndarray, str]], seconds: float) -> list[Row]:
    """Word error rate (PocketSphinx) of acoustic generation, and the voice of a continuation against its prompt."""
    from evaluation.asr import transcribe
    from evaluation.metrics.word_error import count_errors, normalise
    from evaluation.speaker import find_encoder

    encoder = find_encoder("ge2e").load("cpu")
    samples, texts = [clip for clip, _ in clips], [text for _, text in clips]
    seeds = list(range(len(clips)))
    made = {"reference": samples, "codec": model.resynthesise(samples)}
    rows = []
    for name in DECODERS:
        made[name] = model.acoustic_generation(samples, seeds, decoder=name)
    for name, outputs in made.items():
        heard = transcribe([AudioClip(clip, RATE_HZ) for clip in outputs], recogniser="pocketsphinx")
        counts = [count_errors(normalise(text), normalise(said)) for text, said in zip(texts, heard, strict=True)]
        rate = sum(c["errors"] for c in counts) / sum(c["words"] for c in counts)
        rows.append(_row(f"word error rate, acoustic generation {name}", rate, "ratio"))
    prompts = [clip[: 3 * RATE_HZ] for clip in samples]
    voices = [encoder.embed(AudioClip(prompt, RATE_HZ)) for prompt in prompts]
    for name in DECODERS:
        outputs = model.continuation(prompts, seconds, seeds, decoder=name)
        pairs = [
            (a, encoder.embed(AudioClip(b, RATE_HZ))) for a, b in zip(voices, outputs, strict=True) if a is not None
        ]
        cosines = [float(a @ b) for a, b in pairs if b is not None]
        rows.append(_row(f"clips with a voice to compare, {name}", float(len(cosines)), "clips"))
        if cosines:
            rows.append(_row(f"speaker cosine, continuation {name}", float(np.mean(cosines)), "cosine"))
    return rows


def _row(name: str, value: float, unit: str) -> Row:
    return Row(name=name, value=value, unit=unit)


def _clips(count: int) -> list[tuple[np.ndarray, str]]:
    """Dev utterances of different speakers, 3.5 to 7 s long, with their words."""
    folder = Path(os.environ.get("AUDIOLM_CORPUS") or Path(__file__).resolve().parents[3] / "shared" / "corpus")
    with (folder / "manifest.csv").open(newline="", encoding="utf-8") as stream:
        rows = [row for row in csv.DictReader(stream) if row["split"] == "dev" and row["kind"] == "speech"]
    chosen: dict[str, dict[str, str]] = {}
    for row in rows:
        if row["transcript"] and 3.5 <= float(row["duration_s"]) <= 7.0:
            chosen.setdefault(row["speaker"], row)
    rows = list(chosen.values())[:count]
    return [(AudioClip.from_file(folder / row["path"]).at_rate(RATE_HZ).samples, row["transcript"]) for row in rows]


if __name__ == "__main__":
    raise SystemExit(main())
