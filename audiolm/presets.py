"""The sizes this project trains, as one table: what each part is made of and how it is trained.

``nano`` is what the package ships; ``base`` is for one GPU and one day; ``paper`` is AudioLM as published. A preset is
a function, since making one costs time; add one by writing the function and entering it in ``PRESETS``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from audiolm.codec.config import CodecConfig, nano_codec, paper_codec
from audiolm.codec.discriminators import DiscriminatorConfig
from audiolm.codec_adversary import AdversaryConfig
from audiolm.delayed import DelayedConfig, nano_delayed, paper_delayed
from audiolm.optimisation import OptimiserConfig
from audiolm.parallel import ParallelConfig, nano_parallel, paper_parallel
from audiolm.semantic import w2v_bert
from audiolm.semantic.conformer import ConformerConfig
from audiolm.semantic.quantizer import QuantizerConfig
from audiolm.semantic.w2v_bert import W2vBertConfig
from audiolm.stages import FRAME_RATE_HZ, WINDOW_S, StageConfig, nano_stage, paper_stage
from audiolm.tokens import Layout
from audiolm.train_codec import CodecTrainingConfig
from audiolm.train_delayed import DelayedTraining
from audiolm.train_parallel import ParallelTraining
from audiolm.train_semantic import W2vBertTraining
from audiolm.train_stages import StageTraining
from audiolm.transformer import TransformerConfig

__all__ = ["PRESETS", "Preset", "load_preset"]

KINDS = ("semantic", "coarse", "fine")
TWO_STAGES = KINDS[:2]
"""Of a codec with so few levels that the coarse stage draws them all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """One size.

    ``summary``: what it is for and why these sizes; ``kind``: manifest kind it is trained on; ``tap_layer`` and
    ``n_semantic``: where semantic tokens come from; ``stages``: by kind, in order; ``parallel``, ``delayed``: the
    second and third acoustic decoder, or None; ``shares``: of a training's time.
    """

    name: str
    summary: str
    codec: CodecConfig
    w2v_bert: W2vBertConfig
    tap_layer: int
    n_semantic: int
    stages: Mapping[str, StageConfig]
    codec_training: CodecTrainingConfig
    w2v_bert_training: W2vBertTraining
    stage_training: Mapping[str, StageTraining]
    shares: Mapping[str, float]
    parallel: ParallelConfig | None = None
    parallel_training: ParallelTraining = field(default_factory=ParallelTraining)
    delayed: DelayedConfig | None = None
    delayed_training: DelayedTraining = field(default_factory=DelayedTraining)
    kind: str = "speech"
    max_seconds_per_speaker: float | None = None

    @property
    def parts(self) -> tuple[str, ...]:
        """Parts in the order in which they are trained."""
        stages = [f"stage-{kind}" for kind in self.stages]
        stages += ["stage-parallel"] if self.parallel is not None else []
        stages += ["stage-delayed"] if self.delayed is not None else []
        return ("codec", "w2v-bert", "semantic", *stages, "model")


def nano() -> Preset:
    """Hours on two CPU cores; all weights together below 60 MB."""
    stages = {kind: nano_stage(kind, n_semantic=1024) for kind in KINDS}
    steps = {"semantic": 4_000, "coarse": 8_000, "fine": 8_000}
    batch = {"semantic": 4, "coarse": 4, "fine": 8}
    return Preset(
        name="nano",
        summary="Shipped with the package: hours on two CPU cores, two hours of speech. Crops of 20, 4 and 1 s and 4"
        " layers of width 256 keep a step at 2,000 to 5,000 tokens, a few seconds of one core.",
        codec=nano_codec(),
        w2v_bert=w2v_bert.nano(),
        tap_layer=2,
        n_semantic=1024,
        stages=stages,
        codec_training=CodecTrainingConfig(),
        w2v_bert_training=W2vBertTraining(
            optimiser=OptimiserConfig(steps=4_000, learning_rate=1.5e-3, weight_decay=0.02)
        ),
        stage_training={
            kind: StageTraining(optimiser=OptimiserConfig(steps=steps[kind]), batch=batch[kind]) for kind in KINDS
        },
        shares={
            "codec": 0.36,
            "w2v-bert": 0.12,
            "stage-semantic": 0.1,
            "stage-coarse": 0.2,
            "stage-fine": 0.14,
            "stage-parallel": 0.08,
            "stage-delayed": 0.3,
        },
        delayed=nano_delayed(n_semantic=1024),
        delayed_training=DelayedTraining(optimiser=OptimiserConfig(steps=8_000, learning_rate=1.5e-3), batch=4),
        parallel=nano_parallel(n_semantic=1024),
        parallel_training=ParallelTraining(optimiser=OptimiserConfig(steps=8_000)),
        max_seconds_per_speaker=300.0,
    )


def base() -> Preset:
    """One GPU, one day, some hundred hours of speech (LibriSpeech is 960)."""
    transformer = TransformerConfig(
        layers=12, heads=8, dim=512, ff_dim=1536, positions="rope", norm="rms", feed_forward="gated", qk_norm=True
    )
    stack = ConformerConfig(dim=512, heads=8, layers=6, ff_factor=4)
    return Preset(
        name="base",
        summary="One GPU, one day, hundreds of hours of speech. The published codec at its own size (it is small); a"
        " w2v-BERT of 12 blocks of width 512; stages of 12 layers of width 512 with rotary positions, whose attention"
        " is fused. Crops as published, batches of some 60,000 tokens, so that steps fill the GPU.",
        codec=paper_codec(),
        w2v_bert=W2vBertConfig(
            contrastive=stack, masked=stack, quantizer=QuantizerConfig(codes=512, target_dim=256), distractors=100
        ),
        tap_layer=4,
        n_semantic=500,
        stages={kind: _base_stage(kind, transformer) for kind in KINDS},
        codec_training=replace(
            CodecTrainingConfig(),
            optimiser=_rate(150_000, 3e-4, betas=(0.8, 0.99)),
            batch=32,
            quantize_from=500,
            adversary=_adversary(150_000, start=20_000),
        ),
        w2v_bert_training=W2vBertTraining(optimiser=_rate(80_000, 5e-4, warmup=4_000), batch=48, crop_s=12.0),
        stage_training={
            "semantic": StageTraining(optimiser=_rate(40_000, 6e-4), batch=80),
            "coarse": StageTraining(optimiser=_rate(100_000, 6e-4), batch=28),
            "fine": StageTraining(optimiser=_rate(80_000, 6e-4), batch=32),
        },
        shares={
            "codec": 0.35,
            "w2v-bert": 0.18,
            "stage-semantic": 0.07,
            "stage-coarse": 0.2,
            "stage-fine": 0.12,
            "stage-parallel": 0.08,
            "stage-delayed": 0.2,
        },
        delayed=DelayedConfig(n_semantic=500, transformer=transformer),
        delayed_training=DelayedTraining(optimiser=_rate(100_000, 6e-4), batch=64),
        parallel=ParallelConfig(
            n_semantic=500, code_dim=128, conformer=ConformerConfig(dim=512, heads=8, layers=12, ff_factor=4)
        ),
        parallel_training=ParallelTraining(optimiser=_rate(60_000, 5e-4), batch=32),
    )


def paper() -> Preset:
    """As published (AudioLM, sections III and IV; SoundStream C = 32; w2v-BERT XL)."""
    layouts = {kind: Layout(kind=kind, n_semantic=1024, n_coarse=4, n_fine=8) for kind in KINDS}
    return Preset(
        name="paper",
        summary="As published: SoundStream with C = 32 and 12 levels of 1,024 codes, w2v-BERT XL with 1,024 clusters of"
        " its 7th masked-prediction block, three stages of 12 layers, 16 heads, width 1,024 and T5 bias, batches of"
        " 256 crops of 30, 10 and 3 s, one million steps each; the parallel decoder at SoundStorm's size. Rates and"
        " schedules are ours: none are published.",
        codec=paper_codec(),
        w2v_bert=w2v_bert.paper(),
        tap_layer=7,
        n_semantic=1024,
        stages={kind: paper_stage(layouts[kind]) for kind in KINDS},
        codec_training=replace(
            CodecTrainingConfig(),
            optimiser=_rate(1_000_000, 1e-4, betas=(0.8, 0.99)),
            batch=128,
            quantize_from=500,
            adversary=_adversary(1_000_000, start=0),
        ),
        w2v_bert_training=W2vBertTraining(optimiser=_rate(400_000, 4e-4, warmup=25_000), batch=256, crop_s=16.0),
        stage_training={
            kind: StageTraining(optimiser=_rate(1_000_000, 2e-4, warmup=10_000), batch=256) for kind in KINDS
        },
        shares={
            "codec": 0.12,
            "w2v-bert": 0.24,
            "stage-semantic": 0.1,
            "stage-coarse": 0.28,
            "stage-fine": 0.2,
            "stage-parallel": 0.06,
            "stage-delayed": 0.1,
        },
        delayed=paper_delayed(),
        delayed_training=DelayedTraining(optimiser=_rate(400_000, 2e-4, warmup=10_000), batch=256),
        parallel=paper_parallel(),
        parallel_training=ParallelTraining(optimiser=_rate(400_000, 2e-4, warmup=10_000), batch=256),
    )


def piano() -> Preset:
    """AudioLM on piano as published: a codec of 3 levels of 16,384 codes, and two stages (AudioLM, section IV-F)."""
    layouts = {
        kind: Layout(kind=kind, n_semantic=1024, n_coarse=3, codebook_size=16_384)  # type: ignore[arg-type]
        for kind in TWO_STAGES
    }
    speech = paper()
    return replace(
        speech,
        name="piano",
        summary="Piano as published: the speech codec's network with 3 levels of 16,384 codes, all drawn by the coarse"
        " stage, no fine stage; all else as preset paper. The semantic block and number of clusters for piano are not"
        " published; those of speech stand.",
        codec=replace(paper_codec(), n_levels=3, codebook_size=16_384),
        stages={kind: paper_stage(layouts[kind]) for kind in TWO_STAGES},
        stage_training={kind: speech.stage_training[kind] for kind in TWO_STAGES},
        shares={"codec": 0.2, "w2v-bert": 0.3, "stage-semantic": 0.15, "stage-coarse": 0.35},
        parallel=None,
        delayed=None,
        kind="piano",
    )


def piano_nano() -> Preset:
    """Piano in minutes on one CPU core, ten minutes of music: what ``recipes/piano`` trains."""
    coarse = nano_stage("coarse", n_semantic=64, n_coarse=3)
    stack = ConformerConfig(dim=128, heads=4, layers=2, ff_factor=2)
    return Preset(
        name="piano-nano",
        summary="Minutes on one CPU core, ten minutes of piano. Deviations from preset piano: 3 levels of 1,024 codes"
        " (ten minutes hold 30,000 frames, too few for 16,384), the shipped codec's magnitude front end, 64 semantic"
        " tokens, crops of 20 and 6 s.",
        codec=replace(nano_codec(), n_levels=3),
        w2v_bert=W2vBertConfig(contrastive=stack, masked=stack, channels=8, mask_start=0.09, mask_span=5),
        tap_layer=2,
        n_semantic=64,
        stages={"semantic": nano_stage("semantic", n_semantic=64), "coarse": replace(coarse, window=300)},
        codec_training=CodecTrainingConfig(),
        w2v_bert_training=W2vBertTraining(
            optimiser=OptimiserConfig(steps=800, learning_rate=2e-3, weight_decay=0.02), batch=8
        ),
        stage_training={
            kind: StageTraining(optimiser=OptimiserConfig(steps=1_000), batch=batch)
            for kind, batch in (("semantic", 4), ("coarse", 4))
        },
        shares={"codec": 0.35, "w2v-bert": 0.15, "stage-semantic": 0.1, "stage-coarse": 0.4},
        kind="piano",
    )


PRESETS: dict[str, Callable[[], Preset]] = {
    "nano": nano,
    "base": base,
    "paper": paper,
    "piano": piano,
    "piano-nano": piano_nano,
}


def load_preset(name: str) -> Preset:
    """The preset of that name.

    Raises:
        ValueError: there is none.
    """
    if name not in PRESETS:
        raise ValueError(f"there is no preset {name!r}; use one of {', '.join(PRESETS)}")
    return PRESETS[name]()


def _base_stage(kind: str, transformer: TransformerConfig) -> StageConfig:
    layout = Layout(kind=kind, n_semantic=500, n_coarse=4, n_fine=8, time_positions=True)  # type: ignore[arg-type]
    window = int(WINDOW_S[kind] * FRAME_RATE_HZ[kind])
    return StageConfig(layout=layout, transformer=transformer, window=window, aligned=kind != "semantic")


def _adversary(steps: int, *, start: int) -> AdversaryConfig:
    """The published discriminators at their own width."""
    default = AdversaryConfig()
    optimiser = replace(default.optimiser, steps=steps)
    return replace(default, optimiser=optimiser, start=start, discriminator=DiscriminatorConfig())


def _rate(
    steps: int, learning_rate: float, *, warmup: int = 2_000, betas: tuple[float, ...] = (0.9, 0.98)
) -> OptimiserConfig:
    decay = 0.01 if betas[0] < 0.9 else 0.05
    return OptimiserConfig(
        steps=steps,
        learning_rate=learning_rate,
        warmup_steps=warmup,
        betas=betas,
        weight_decay=decay,
        ema_decay=0.9995,
    )
