"""w2v-BERT (Chung et al. 2021): one conformer stack trained by contrast, a second by masked prediction.

log-mel -> two stride-2 convolutions (25 frames per second) -> masking -> contrastive stack -> masked-prediction
stack. The contrastive stack finds each masked frame's quantised target among distractors of the same
utterance; the second predicts the target's code. Total = contrastive + diversity + masked prediction, weights 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audiolm.semantic.conformer import Conformer, ConformerConfig
from audiolm.semantic.features import LogMel, LogMelConfig, frame_mask, stretch_bands
from audiolm.semantic.quantizer import Quantized, QuantizerConfig, TargetQuantizer

__all__ = ["FRAME_SAMPLES", "Losses", "UsageShare", "W2vBert", "W2vBertConfig", "draw_mask", "nano", "paper"]

FRAME_SAMPLES = 640
"""16 kHz samples per semantic frame: hop 160 times two strides of 2, so 25 frames per second."""
PART = "w2v_bert"


@dataclass(frozen=True, slots=True, kw_only=True)
class W2vBertConfig:
    """``mask_start`` and ``mask_span``: chance that a 40 ms frame opens a masked span, and the span's frames
    (Chung et al. 2021, section 4.2); ``distractors`` and ``temperature``: of the contrastive loss.

    Deviations, all off by default. ``warp``: in training the input's frequency axis is stretched by a factor of
    1 +- warp per row (vocal tract length perturbation, Jaitly and Hinton 2013) while targets come from the unstretched
    spectrum, so that what is learnt depends less on the speaker. ``classes``: above 0, the second stack predicts given
    labels with that many classes instead of the quantiser's codes (clusters of an earlier model's features as in
    HuBERT, Hsu et al. 2021; or aligned phones, and then the tokens are text-informed). ``contrastive_weight``: of the
    contrastive and the diversity loss beside that of the second stack. ``predict_visible``: it predicts
    the frames that are not hidden as well.
    """

    log_mel: LogMelConfig = field(default_factory=LogMelConfig)
    quantizer: QuantizerConfig = field(default_factory=QuantizerConfig)
    contrastive: ConformerConfig = field(default_factory=ConformerConfig)
    masked: ConformerConfig = field(default_factory=ConformerConfig)
    channels: int = 32
    mask_start: float = 0.065
    mask_span: int = 10
    distractors: int = 50
    temperature: float = 0.1
    warp: float = 0.0
    classes: int = 0
    contrastive_weight: float = 1.0
    predict_visible: bool = False

    def __post_init__(self) -> None:
        if self.contrastive.dim != self.masked.dim:
            raise ValueError(f"both stacks need one width, not {self.contrastive.dim} and {self.masked.dim}")
        if not 0 <= self.warp < 1 or self.classes < 0 or self.contrastive_weight < 0:
            raise ValueError(
                f"warp {self.warp} must lie in [0, 1), classes {self.classes} and contrastive_weight"
                f" {self.contrastive_weight} must be 0 or more"
            )
        if self.quantizer.n_mels != self.log_mel.n_mels:
            raise ValueError(f"quantizer.n_mels is {self.quantizer.n_mels}; use log_mel.n_mels {self.log_mel.n_mels}")


def nano() -> W2vBertConfig:
    """About 5 million weights; one CPU core trains it."""
    stack = ConformerConfig(dim=192, heads=4, layers=4, ff_factor=2)
    return W2vBertConfig(contrastive=stack, masked=stack, channels=16)


def paper() -> W2vBertConfig:
    """w2v-BERT XL: 12 + 12 layers of width 1024, 1024 codes (Chung et al. 2021, table 1); about 0.6 billion weights."""
    stack = ConformerConfig(dim=1024, heads=8, layers=12, ff_factor=4)
    quantizer = QuantizerConfig(codes=1024, target_dim=768)
    return W2vBertConfig(contrastive=stack, masked=stack, quantizer=quantizer, channels=128, distractors=100)


class Losses(NamedTuple):
    """Scalars; ``accuracy`` and ``perplexity`` are for the log: masked codes hit, and codes in use."""

    total: Tensor
    contrastive: Tensor
    diversity: Tensor
    masked: Tensor
    accuracy: Tensor
    perplexity: Tensor


class UsageShare(NamedTuple):
    """One part of a batch that is trained in parts: ``weight``, its share of the batch's valid frames; ``rest``
    ``[code]``, what the other parts add to the mean soft assignment of the codes."""

    weight: float
    rest: Tensor


class Subsampler(nn.Module):
    """Two 3 x 3 convolutions of stride 2 over (time, mel), then a projection: 100 to 25 frames per second."""

    def __init__(self, n_mels: int, channels: int, dim: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, channels, 3, stride=2, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, stride=2, padding=1)
        self.project = nn.Linear(channels * ((n_mels + 3) // 4), dim)
        self.norm = nn.LayerNorm(dim)

    def forward(self, log_mel: Tensor, valid: Tensor) -> Tensor:
        """``log_mel``: ``[batch, 4 * frame, mel]``; ``valid``: ``[batch, frame]``; gives ``[batch, frame, dim]``."""
        x = F.silu(self.first(log_mel.unsqueeze(1)))
        x = x * valid.repeat_interleave(2, dim=1)[:, None, :, None]
        x = F.silu(self.second(x))  # [batch, channel, frame, mel / 4]
        return self.norm(self.project(x.transpose(1, 2).flatten(2)))


class W2vBert(nn.Module):
    """The whole network. ``forward`` gives the losses, ``features`` the vectors that become tokens."""

    def __init__(self, config: W2vBertConfig) -> None:
        super().__init__()
        self.config = config
        dim = config.contrastive.dim
        self.log_mel = LogMel(config.log_mel)
        self.subsampler = Subsampler(config.log_mel.n_mels, config.channels, dim)
        self.mask_vector = nn.Parameter(torch.randn(dim) * 0.1)
        self.contrastive = Conformer(config.contrastive)
        self.masked = Conformer(config.masked)
        self.quantizer = TargetQuantizer(config.quantizer)
        self.to_target = nn.Linear(dim, config.quantizer.target_dim)
        self.to_code = nn.Linear(dim, config.classes or config.quantizer.codes)

    def features(self, waveform: Tensor, lengths: Tensor, layer: int) -> Tensor:
        """Output of block ``layer`` (1-based) of the masked-prediction stack, without masking.

        ``waveform``: ``[batch, time]`` at 16 kHz, time a multiple of 640, zero beyond ``lengths`` (in 640-sample
        frames). Gives ``[batch, frame, dim]``.
        """
        if not 1 <= layer <= self.config.masked.layers:
            last = self.config.masked.layers
            raise ValueError(f"layer {layer} does not exist; the masked stack has layers 1 to {last}")
        log_mel, valid = self.spectrum(waveform, lengths)
        x = self.contrastive(self.subsampler(log_mel, valid), valid)
        return self.masked(x, valid, stop_after=layer)

    def spectrum(self, waveform: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised log-mel ``[batch, 4 * frame, mel]`` and the valid-frame mask ``[batch, frame]``."""
        if waveform.shape[-1] % FRAME_SAMPLES:
            raise ValueError(f"time is {waveform.shape[-1]} samples; pad it to a multiple of {FRAME_SAMPLES}")
        valid = frame_mask(lengths, waveform.shape[-1] // FRAME_SAMPLES)
        per_frame = FRAME_SAMPLES // self.config.log_mel.hop
        return self.log_mel(waveform, valid.repeat_interleave(per_frame, dim=1)), valid

    def usage(self, waveform: Tensor, lengths: Tensor) -> Tensor:
        """Mean soft assignment of the codes over the valid frames, ``[code]`` (see :class:`UsageShare`)."""
        log_mel, valid = self.spectrum(waveform, lengths)
        return self.quantizer(log_mel).usage[valid].mean(dim=0)

    def forward(
        self,
        waveform: Tensor,
        lengths: Tensor,
        mask: Tensor,
        generator: torch.Generator | Sequence[torch.Generator],
        share: UsageShare | None = None,
        labels: Tensor | None = None,
    ) -> Losses:
        """``mask``: bool ``[batch, frame]``, frames to hide (:func:`draw_mask`); ``generator``, or one for each row,
        draws stretch and distractors; ``share``: where the rows are a part of a batch, for the diversity of the whole
        batch; ``labels``: int64 ``[batch, frame]`` where the configuration has ``classes``, -1 where unknown."""
        if (labels is None) != (self.config.classes == 0):
            raise ValueError(f"the model predicts {self.config.classes} given classes; give labels where that is not 0")
        with torch.autocast(waveform.device.type, enabled=False):  # half precision is too coarse for spectra and codes
            log_mel, valid = self.spectrum(waveform, lengths)
            quantized = self.quantizer(log_mel)
            seen = self._stretched(log_mel, generator) if self.training and self.config.warp else log_mel
        x = self.subsampler(seen, valid)
        x = torch.where(mask.unsqueeze(-1), self.mask_vector, x)
        context = self.contrastive(x, valid)
        contrastive = self._contrast(self.to_target(context), quantized, mask, generator)
        asked = valid if self.config.predict_visible else mask
        if labels is not None:
            asked = asked & (labels >= 0)
        logits = self.to_code(self.masked(context, valid)[asked])
        wanted = (quantized.codes if labels is None else labels)[asked]
        masked = F.cross_entropy(logits, wanted) if len(wanted) else logits.sum()
        diversity, perplexity = self._diversity(quantized, valid, share)
        accuracy = (logits.detach().argmax(-1) == wanted).float().mean()
        total = self.config.contrastive_weight * (contrastive + diversity) + masked
        return Losses(total, contrastive, diversity, masked, accuracy, perplexity)

    def _stretched(self, log_mel: Tensor, generator: torch.Generator | Sequence[torch.Generator]) -> Tensor:
        rows = len(log_mel)
        every = [generator] * rows if isinstance(generator, torch.Generator) else generator
        draws = [torch.rand((), generator=one) for one in every]
        factors = 1 + self.config.warp * (2 * torch.stack(draws) - 1)
        return stretch_bands(log_mel, factors.to(log_mel.device), self.config.log_mel)

    def _contrast(
        self,
        guess: Tensor,
        quantized: Quantized,
        mask: Tensor,
        generator: torch.Generator | Sequence[torch.Generator],
    ) -> Tensor:
        """Which of 1 + ``distractors`` masked frames of this utterance is the hidden one (cosine, softmax)."""
        losses, count = [], 0
        for row in range(len(mask)):
            where = mask[row].nonzero().squeeze(1)
            if len(where) < 2:
                continue
            draws = generator if isinstance(generator, torch.Generator) else generator[row]
            others = torch.randint(len(where), (len(where), self.config.distractors), generator=draws)
            chosen = torch.cat([torch.arange(len(where)).unsqueeze(1), others], dim=1).to(mask.device)
            cosine = F.normalize(guess[row, where], dim=-1) @ F.normalize(quantized.targets[row, where], dim=-1).T
            logits = cosine.gather(1, chosen) / self.config.temperature  # [masked frame, 1 + distractor]
            codes = quantized.codes[row, where]
            same = codes[chosen] == codes.unsqueeze(1)
            same[:, 0] = False
            logits = logits.masked_fill(same, float("-inf"))
            losses.append(F.cross_entropy(logits, torch.zeros_like(where), reduction="sum"))
            count += len(where)
        return torch.stack(losses).sum() / count if count else guess.sum() * 0.0

    def _diversity(self, quantized: Quantized, valid: Tensor, share: UsageShare | None) -> tuple[Tensor, Tensor]:
        """``(codes - perplexity) / codes`` of the mean soft assignment (wav2vec 2.0, eq. 4), and codes truly in use."""
        codes = self.config.quantizer.codes
        mean = quantized.usage[valid].mean(dim=0)
        if share is not None:
            mean = share.rest + share.weight * mean
        soft = torch.exp(-(mean * torch.log(mean + 1e-9)).sum())
        used = torch.bincount(quantized.codes[valid], minlength=codes).float() / valid.sum()
        hard = torch.exp(-(used * torch.log(used + 1e-9)).sum())
        return (codes - soft) / codes, hard


def draw_mask(lengths: Tensor, frames: int, config: W2vBertConfig, generator: torch.Generator) -> Tensor:
    """Bool ``[batch, frames]``: spans of ``mask_span`` frames opened at random inside each row; at least one each."""
    valid = frame_mask(lengths, frames)
    opens = (torch.rand(valid.shape, generator=generator) < config.mask_start) & valid
    first = (torch.rand(len(lengths), generator=generator) * lengths).long().clamp(max=frames - 1)
    opens[torch.arange(len(lengths)), first] = True
    spread = F.max_pool1d(F.pad(opens.float(), (config.mask_span - 1, 0)).unsqueeze(1), config.mask_span, stride=1)
    return (spread.squeeze(1) > 0) & valid
