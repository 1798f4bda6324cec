"""w2v-BERT on a GPU for some minutes: crops, speeds, rooms, bands and noise are all made there.

    python recipes/nano/lease/w2v_bert.py --speech DIR/speech.safetensors --start FOLDER --out OUT --seconds 220

The model, its losses and its disturbances are those of ``recipes/abx/train_w2v_bert.py``; ``--start`` guesses labels
where no transcript is, and gives first weights where the sizes agree.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
import torchaudio.functional as AF
from lease_record import record_of
from speech import FRAME, RATE_HZ, SPEEDS, read_speech
from torch import Tensor

from audiolm import checkpoint
from audiolm.energy import EnergyMeter
from audiolm.semantic.conformer import ConformerConfig
from audiolm.semantic.features import frame_mask
from audiolm.semantic.tokenizer import W2vBertTokenizer
from audiolm.semantic.w2v_bert import PART, W2vBert, W2vBertConfig

SURE, ENOUGH = 0.9, 0.5
VALIDATE_EVERY = 500


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speech", type=Path, required=True)
    parser.add_argument("--start", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--dim", type=int, default=192)
    parser.add_argument("--layers", type=int, nargs=2, default=(2, 3))
    parser.add_argument("--dropout", type=float, default=0.15)
    parser.add_argument("--rate", type=float, default=1.5e-3)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--crop-s", type=float, default=4.0)
    parser.add_argument("--seed", type=int, default=6)
    parser.add_argument("--device", default="cuda")
    options = parser.parse_args()
    torch.set_float32_matmul_precision("high")
    device = torch.device(options.device)
    meter = EnergyMeter(device)
    first = W2vBertTokenizer.load(options.start).model.to(device)
    speech = Speech(options.speech, first, device)
    print(f"{speech.hours:.1f} h at {len(SPEEDS)} speeds, labelled {speech.labelled:.3f}", flush=True)
    stack = ConformerConfig(dim=options.dim, heads=4, layers=options.layers[0], ff_factor=2, dropout=options.dropout)
    config = replace(first.config, contrastive=stack, masked=replace(stack, layers=options.layers[1]))
    torch.manual_seed(options.seed)
    model = W2vBert(config).to(device)
    start_weights(model, first)
    print("start", speech.validated(first), flush=True)
    record = train(model, speech, options, meter)
    checkpoint.save_part(
        options.out / "export",
        part=PART,
        config=checkpoint.config_to_dict(config),
        state_dict=record.pop("state"),
        record=record,
    )
    (options.out / "training.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(record), flush=True)


def start_weights(model: W2vBert, first: W2vBert) -> None:
    """What of ``first`` fits: all of it, or the codebook alone."""
    own, given = model.state_dict(), first.state_dict()
    same = {name: value for name, value in given.items() if name in own and own[name].shape == value.shape}
    if len(same) < len(own):
        same = {name: value for name, value in same.items() if name.startswith("quantizer.") and "targets" not in name}
    model.load_state_dict({**own, **same})


class Speech:
    """All recordings at all speeds on the device, one after the other, and the label of each frame."""

    def __init__(self, path: Path, guesser: W2vBert, device: torch.device) -> None:
        self.device = device
        self.recordings = read_speech(path)
        known = [self._filled(wave, labels, guesser) for wave, labels in self.recordings["train"]]
        waves, labels = [], []
        for speed in SPEEDS:
            for (wave, _), mine in zip(self.recordings["train"], known, strict=True):
                played = played_at(torch.from_numpy(wave).to(device), speed)
                frames = len(played) // FRAME
                if frames < 5:
                    continue
                moments = ((torch.arange(frames, device=device) + 0.5) * speed).long().clamp(max=len(mine) - 1)
                waves.append(played[: frames * FRAME])
                labels.append(mine[moments])
        self.frames = torch.tensor([len(row) for row in labels], device=device)
        self.first = self.frames.cumsum(0) - self.frames
        self.samples, self.labels = torch.cat(waves), torch.cat(labels)
        self.chances = self.frames.float()
        self.hours = len(self.samples) / RATE_HZ / 3600
        self.labelled = float((self.labels >= 0).float().mean())

    @torch.inference_mode()
    def _filled(self, wave: np.ndarray, labels: np.ndarray, guesser: W2vBert) -> Tensor:
        known = torch.from_numpy(labels).to(self.device)
        if len(known) < 10 or float((known >= 0).float().mean()) > ENOUGH:
            return known.clone()
        guesser.eval()
        row = torch.from_numpy(wave[: len(known) * FRAME]).to(self.device)[None]
        features = guesser.features(row, torch.tensor([len(known)], device=self.device), guesser.config.masked.layers)
        chance, guess = torch.softmax(guesser.to_code(features[0]), dim=-1).max(dim=-1)
        return torch.where(known < 0, torch.where(chance >= SURE, guess, -1), known)

    def drawn(self, batch: int, frames: int) -> tuple[Tensor, Tensor, Tensor]:
        """Crops ``[batch, time]``, their frames ``[batch]`` and labels ``[batch, frame]``."""
        rows = torch.multinomial(self.chances, batch, replacement=True)
        count = self.frames[rows].clamp(max=frames)
        start = (torch.rand(batch, device=self.device) * (self.frames[rows] - count + 1)).long()
        begin = (self.first[rows] + start)[:, None]
        place = torch.arange(frames, device=self.device)
        labels = self.labels[(begin + place).clamp(max=len(self.labels) - 1)]
        valid = place < count[:, None]
        time_ = torch.arange(frames * FRAME, device=self.device)
        waves = self.samples[(begin * FRAME + time_).clamp(max=len(self.samples) - 1)]
        waves = waves * valid.repeat_interleave(FRAME, dim=1)
        return waves, count, torch.where(valid, labels, -1)

    @torch.no_grad()
    def validated(self, model: W2vBert) -> dict[str, float]:
        """Cross-entropy and accuracy over the held-out frames, none hidden."""
        was = model.training
        model.eval()
        loss, right, count = 0.0, 0.0, 0
        for wave, labels in self.recordings["dev"]:
            row = torch.from_numpy(wave[: len(labels) * FRAME]).to(self.device)[None]
            length = torch.tensor([len(labels)], device=self.device)
            logits = model.to_code(model.features(row, length, model.config.masked.layers)[0])
            wanted = torch.from_numpy(labels).to(self.device)
            known = wanted >= 0
            loss += float(F.cross_entropy(logits[known], wanted[known], reduction="sum"))
            right += float((logits[known].argmax(-1) == wanted[known]).sum())
            count += int(known.sum())
        model.train(was)
        return {"masked": loss / count, "accuracy": right / count}


def played_at(wave: Tensor, speed: float) -> Tensor:
    """``[time]`` at ``speed`` times its own, as :class:`audiolm.speed_variants.PlayedAt` has it."""
    fine = round(speed * 100)
    if fine == 100:
        return wave
    return AF.resample(wave, fine, 100)[: len(wave) * 100 // fine]


def disturbed(waves: Tensor, lengths: Tensor) -> Tensor:
    """:func:`audiolm.semantic.disturbances.disturbed`, for a whole batch at once: 0.3 rooms, 0.2 narrow, 0.5 noise."""
    batch, time_ = waves.shape
    device = waves.device
    there = torch.arange(time_, device=device) < (lengths * FRAME)[:, None]

    def draw(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(batch, 1, device=device)

    def some(share: float) -> Tensor:
        return torch.rand(batch, 1, device=device) < share

    decay = draw(0.1, 0.5) * RATE_HZ
    place = torch.arange(RATE_HZ // 2, device=device)
    room = (
        torch.randn(batch, len(place), device=device) * 10 ** (-3 * place / decay) * draw(0.02, 0.12) * (place < decay)
    )
    room[:, 0] = 1.0
    size = 1 << (time_ + len(place)).bit_length()
    roomy = torch.fft.irfft(torch.fft.rfft(waves, size) * torch.fft.rfft(room, size), size)[:, :time_]
    heard = torch.where(some(0.3), roomy, waves)
    spectrum = torch.fft.rfft(heard)
    bins = torch.arange(spectrum.shape[1], device=device)
    over = (bins - draw(3_000, 7_000) / RATE_HZ * time_).clamp(min=0) / (0.03 * len(bins))
    heard = torch.where(some(0.2), torch.fft.irfft(spectrum * torch.exp(-over), time_), heard)
    white = torch.fft.rfft(torch.randn(batch, time_, device=device))
    noise = torch.fft.irfft(white / bins.clamp(min=1) ** draw(0, 1), time_)
    order = torch.randperm(batch, device=device)
    babble = waves[order] + waves[order.roll(1)].flip(1)
    noise = torch.where(some(0.25), babble, noise)

    def level(x: Tensor) -> Tensor:
        return (x.square() * there).sum(1, keepdim=True).div(there.sum(1, keepdim=True)).sqrt()

    scaled = noise * level(heard) / (level(noise) + 1e-9) * 10 ** (-draw(5, 30) / 20)
    return torch.where(some(0.5), heard + scaled, heard) * there


def masked(lengths: Tensor, frames: int, config: W2vBertConfig) -> Tensor:
    """:func:`audiolm.semantic.w2v_bert.draw_mask` on the device."""
    valid = frame_mask(lengths, frames)
    opens = (torch.rand(valid.shape, device=lengths.device) < config.mask_start) & valid
    opens[
        torch.arange(len(lengths), device=lengths.device),
        (torch.rand(len(lengths), device=lengths.device) * lengths).long(),
    ] = True
    spread = F.max_pool1d(F.pad(opens.float(), (config.mask_span - 1, 0)).unsqueeze(1), config.mask_span, stride=1)
    return (spread.squeeze(1) > 0) & valid


def contrast(self: W2vBert, guess: Tensor, quantized: Any, mask: Tensor, generator: Any) -> Tensor:
    """The contrastive loss of :class:`W2vBert` with all rows at once."""
    count = mask.sum(1)
    order = mask.float().argsort(dim=1, descending=True)
    picks = (torch.rand(*mask.shape, self.config.distractors, device=mask.device) * count[:, None, None]).long()
    others = order.gather(1, picks.flatten(1)).view_as(picks)
    chosen = torch.cat(
        [torch.arange(mask.shape[1], device=mask.device)[None, :, None].expand(len(mask), -1, 1), others], 2
    )
    cosine = F.normalize(guess, dim=-1) @ F.normalize(quantized.targets, dim=-1).transpose(1, 2)
    logits = cosine.gather(2, chosen) / self.config.temperature
    codes = quantized.codes
    same = codes.gather(1, chosen.flatten(1)).view_as(chosen) == codes.unsqueeze(2)
    same[..., 0] = False
    losses = -F.log_softmax(logits.masked_fill(same, -1e4), dim=-1)[..., 0]
    weight = (mask & (count > 1)[:, None]).float()
    return (losses * weight).sum() / weight.sum().clamp(min=1)


def train(model: W2vBert, speech: Speech, options: argparse.Namespace, meter: EnergyMeter) -> dict[str, Any]:
    """Until the time is over; gives the averaged weights that were best on the held-out frames, and their record."""
    W2vBert._contrast = contrast  # type: ignore[method-assign]
    groups = [
        {"params": [p for p in model.parameters() if p.ndim >= 2], "weight_decay": 0.02},
        {"params": [p for p in model.parameters() if p.ndim < 2], "weight_decay": 0.0},
    ]
    adam = torch.optim.AdamW(groups, lr=options.rate, betas=(0.9, 0.98), fused=options.device == "cuda")
    average = {name: value.detach().clone() for name, value in model.state_dict().items()}
    twin = W2vBert(model.config).to(speech.device)
    frames = int(options.crop_s * RATE_HZ) // FRAME
    draws = torch.Generator().manual_seed(options.seed)
    best: dict[str, Any] = {"masked": math.inf}
    state: dict[str, Tensor] = {}
    started, step, sums = time.monotonic(), 0, torch.zeros(2, device=speech.device)
    model.train()
    while True:
        share = (time.monotonic() - started) / options.seconds
        done = share >= 1
        if done or (step and step % VALIDATE_EVERY == 0):
            twin.load_state_dict(average)
            found = speech.validated(twin)
            told = (sums / max(1, (step - 1) % VALIDATE_EVERY + 1)).tolist()
            sums.zero_()
            print(f"{step} {time.monotonic() - started:.0f} s train {told[0]:.4f} {told[1]:.4f} {found}", flush=True)
            if found["masked"] < best["masked"]:
                best = {**found, "step": step}
                state = {name: value.detach().cpu().clone() for name, value in average.items()}
        if done:
            break
        rate = (
            options.rate * min(1.0, (step + 1) / 300) * (0.03 + 0.97 * 0.5 * (1 + math.cos(math.pi * min(1.0, share))))
        )
        for group in adam.param_groups:
            group["lr"] = rate
        waves, lengths, labels = speech.drawn(options.batch, frames)
        losses = model(disturbed(waves, lengths), lengths, masked(lengths, frames, model.config), draws, None, labels)
        adam.zero_grad(set_to_none=True)
        losses.total.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        adam.step()
        sums += torch.stack([losses.masked.detach(), losses.accuracy])
        decay = min(0.999, (1 + step) / (10 + step))
        with torch.no_grad():
            for name, value in model.state_dict().items():
                if value.is_floating_point():
                    average[name].lerp_(value, 1 - decay)
        step += 1
    settings = ("seed", "batch", "crop_s", "dropout", "rate", "seconds")
    return {"state": state, **record_of(meter, step, best, {name: getattr(options, name) for name in settings})}


if __name__ == "__main__":
    main()
