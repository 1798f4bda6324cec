"""What training a preset on a large corpus takes: hours, tokens, FLOP, GPU-days, cost, energy, CO2, storage.

    python recipes/scaling/plan.py [--preset paper] [--hours 60000] [--gpu H100] [--gpus 16] [--json]

Everything is computed from the preset (``audiolm-audit train --describe`` shows its share) and from the assumptions,
which are options and are printed with the result; nothing is stored. docs/scaling.md explains the lines.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass, fields
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from audiolm.codec.soundstream import SoundStream
from audiolm.describe import PartFacts, describe_preset
from audiolm.presets import PRESETS, Preset, load_preset
from audiolm.semantic.w2v_bert import FRAME_SAMPLES

GPUS = {"H100": (989.0, 700.0), "H200": (989.0, 700.0), "A100": (312.0, 400.0), "L40S": (362.0, 350.0)}
"""Dense bfloat16 TFLOP/s and board watts, from the makers' data sheets."""
SAMPLE_RATE_HZ = 16_000
TOKEN_BYTES = 2
STATE_BYTES, EXPORT_BYTES = 16, 2
"""Per weight: float32 weight, average and two moments in a state; float16 in an export."""
DEVICE_BYTES = 20
"""Per weight on a GPU under ddp: a state and the gradient."""
GRADIENT_BYTES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Assumptions:
    """What the presets do not say. ``utilisation``: share of the GPU's bf16 peak that training reaches;
    ``shortest_step_s``: what a step takes however small its arithmetic (launching kernels, drawing and cutting crops);
    ``network_gb_per_s``: per GPU, between nodes; ``price_per_gpu_h``: in US dollars; ``host_watts``: of the rest of a
    node, per GPU; ``load``: share of the board's watts drawn; ``pue``: of the data centre; ``grid_kg_per_kwh``: of the
    electricity (US mean 2022, EIA); ``margin``: runs that fail, are evaluated or tried; ``flac``: compressed over
    16-bit size; ``recording_s``: mean length after cutting; ``speeds``: copies of every recording for the stages."""

    hours: float = 60_000.0
    gpu: str = "H100"
    gpus: int = 16
    utilisation: float = 0.35
    shortest_step_s: float = 0.05
    network_gb_per_s: float = 50.0
    price_per_gpu_h: float = 2.5
    host_watts: float = 300.0
    load: float = 0.85
    pue: float = 1.2
    grid_kg_per_kwh: float = 0.39
    margin: float = 0.3
    flac: float = 0.51
    recording_s: float = 30.0
    speeds: int = 1

    @property
    def flop_per_s(self) -> float:
        """Of one GPU, as it is expected in use."""
        return GPUS[self.gpu][0] * 1e12 * self.utilisation

    @property
    def watts(self) -> float:
        """Per GPU, with its share of the node and of the building."""
        return (GPUS[self.gpu][1] * self.load + self.host_watts) * self.pue


def plan(preset: Preset, given: Assumptions) -> dict[str, Any]:
    """The whole plan as numbers."""
    parts = [part_plan(preset, facts, given) for facts in describe_preset(preset)]
    tokens = tokenising(preset, given)
    flop = sum(part["flop"] for part in parts) + tokens["flop"]
    gpu_h = sum(part["gpu_h"] for part in parts) + tokens["gpu_h"]
    with_margin_h = gpu_h * (1 + given.margin)
    energy_mwh = with_margin_h * given.watts / 1e6
    return {
        "preset": preset.name,
        "assumptions": asdict(given),
        "parts": parts,
        "tokenising": tokens,
        "flop": flop,
        "gpu_h": gpu_h,
        "gpu_h_with_margin": with_margin_h,
        "days_in_sequence": gpu_h / given.gpus / 24,
        "days_side_by_side": side_by_side(parts) + tokens["gpu_h"] / given.gpus / 24,
        "cost_usd": with_margin_h * given.price_per_gpu_h,
        "energy_mwh": energy_mwh,
        "co2_t": energy_mwh * given.grid_kg_per_kwh,
        "storage": storage(preset, parts, given),
    }


def side_by_side(parts: list[dict[str, Any]]) -> float:
    """Days where every part has ``gpus`` of its own: codec beside w2v-BERT, then all language models at once."""
    tokenizers = [part["days"] for part in parts if part["part"] in ("codec", "w2v-bert")]
    return max(tokenizers) + max(part["days"] for part in parts if part["part"].startswith("stage-"))


def part_plan(preset: Preset, facts: PartFacts, given: Assumptions) -> dict[str, Any]:
    """One part: passes over the corpus, time of a step, GPU-hours. The longest of arithmetic, network and floor counts;
    the network works beside the arithmetic."""
    crops, crop_s = batch_of(preset, facts.part)
    compute_s = facts.flops_per_step / given.flop_per_s / given.gpus
    exchanged = 2 * GRADIENT_BYTES * facts.parameters * (given.gpus - 1) / given.gpus
    network_s = exchanged / given.network_gb_per_s / 1e9
    bounds = {"arithmetic": compute_s, "network": network_s, "launching": given.shortest_step_s}
    bound = max(bounds, key=lambda name: bounds[name])
    step_s = bounds[bound]
    return {
        "part": facts.part,
        "parameters": facts.parameters,
        "steps": facts.steps,
        "tokens": facts.tokens_per_step * facts.steps,
        "passes": crops * crop_s * facts.steps / (given.hours * 3600),
        "flop": facts.flops_per_step * facts.steps,
        "step_s": step_s,
        "bound_by": bound,
        "crops_per_gpu": crops / given.gpus,
        "gpu_h": step_s * facts.steps * given.gpus / 3600,
        "days": step_s * facts.steps / 86400,
        "state_gib_per_gpu": DEVICE_BYTES * facts.parameters / 2**30,
    }


def batch_of(preset: Preset, part: str) -> tuple[int, float]:
    """Crops of a step and their seconds."""
    if part == "codec":
        return preset.codec_training.batch, preset.codec_training.seconds
    if part == "w2v-bert":
        return preset.w2v_bert_training.batch, preset.w2v_bert_training.crop_s
    others = {
        "stage-parallel": (preset.parallel, preset.parallel_training),
        "stage-delayed": (preset.delayed, preset.delayed_training),
    }
    if part in others:
        config, training = others[part]
        if config is None:
            raise ValueError(f"preset {preset.name!r} has no {part}")
        return training.batch, (training.crop or config.window) / preset.codec.frame_rate_hz
    kind = part.removeprefix("stage-")
    rate = preset.codec.frame_rate_hz if kind != "semantic" else SAMPLE_RATE_HZ / FRAME_SAMPLES
    return preset.stage_training[kind].batch, preset.stages[kind].window / rate


def tokenising(preset: Preset, given: Assumptions) -> dict[str, float]:
    """One pass of both encoders over the corpus."""
    speech_s = given.hours * 3600 * given.speeds
    flop = speech_s * (codec_flop_per_s(preset) + semantic_flop_per_s(preset))
    return {"flop": flop, "gpu_h": flop / given.flop_per_s / 3600}


def codec_flop_per_s(preset: Preset) -> float:
    """Encoder and code search for a second of sound."""
    config = preset.codec
    with torch.device("meta"):
        codec = SoundStream(config).eval()
        counter = FlopCounterMode(display=False)
        with counter, torch.no_grad():
            codec.latents(torch.empty(1, SAMPLE_RATE_HZ))
    search = 2 * config.n_levels * config.codebook_size * config.latent_dim
    return counter.get_total_flops() + search * config.frame_rate_hz


def semantic_flop_per_s(preset: Preset) -> float:
    """w2v-BERT forwards, for a second of sound; the blocks above the tapped one are counted too (a few per cent)."""
    training = preset.w2v_bert_training
    facts = next(row for row in describe_preset(preset) if row.part == "w2v-bert")
    return facts.flops_per_step / 3 / training.batch / training.crop_s


def storage(preset: Preset, parts: list[dict[str, Any]], given: Assumptions) -> dict[str, float]:
    """Bytes of audio, tokens and checkpoints; a state exists twice while the new one is written."""
    speech_s = given.hours * 3600
    pcm = speech_s * SAMPLE_RATE_HZ * 2
    per_s = SAMPLE_RATE_HZ / FRAME_SAMPLES + preset.codec.frame_rate_hz * preset.codec.n_levels
    weights = sum(part["parameters"] for part in parts)
    return {
        "audio_flac": pcm * given.flac,
        "audio_pack": pcm,
        "tokens": speech_s * per_s * TOKEN_BYTES * given.speeds,
        "token_files": speech_s / given.recording_s * given.speeds / 64,
        "states": 2 * STATE_BYTES * max(part["parameters"] for part in parts) + STATE_BYTES * weights,
        "exports": EXPORT_BYTES * weights,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", choices=tuple(PRESETS), default="paper")
    parser.add_argument("--json", action="store_true", help="print all numbers as JSON")
    for field in fields(Assumptions):
        choices = tuple(GPUS) if field.name == "gpu" else None
        kind = type(field.default)
        name = "--" + field.name.replace("_", "-")
        parser.add_argument(name, type=kind, default=field.default, choices=choices, help=f"(default: {field.default})")
    options = vars(parser.parse_args())
    preset, as_json = load_preset(options.pop("preset")), options.pop("json")
    if options["gpus"] < 1 or not 0 < options["utilisation"] <= 1:
        raise SystemExit("give 1 GPU or more, and a utilisation above 0 and up to 1")
    found = plan(preset, Assumptions(**options))
    print(json.dumps(found, indent=2) if as_json else table(found))


def table(found: dict[str, Any]) -> str:
    """The plan as Markdown."""
    given = found["assumptions"]
    lines = [
        f"Preset {found['preset']}, {given['hours']:,.0f} hours, {given['gpus']} x {given['gpu']}"
        f" at {given['utilisation']:.0%} of the bf16 peak.",
        "",
        "| part | weights | steps | tokens | passes | FLOP | s per step | bound by | GPU-hours | days |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {row['part']} | {row['parameters'] / 1e6:,.1f} M | {row['steps']:,} | {row['tokens']:.2e} |"
        f" {row['passes']:,.1f} | {row['flop']:.2e} | {row['step_s']:.3f} | {row['bound_by']} | {row['gpu_h']:,.0f} |"
        f" {row['days']:.1f} |"
        for row in found["parts"]
    ]
    tokens = found["tokenising"]
    lines += [
        f"| tokenising | | | | 1 | {tokens['flop']:.2e} | | arithmetic | {tokens['gpu_h']:,.0f} |"
        f" {tokens['gpu_h'] / given['gpus'] / 24:.1f} |",
        f"| together | | | | | {found['flop']:.2e} | | | {found['gpu_h']:,.0f} | {found['days_in_sequence']:.1f} |",
        "",
        f"Side by side, each part on {given['gpus']} GPUs of its own: {found['days_side_by_side']:.1f} days.",
        f"With {given['margin']:.0%} for failed and trial runs: {found['gpu_h_with_margin']:,.0f} GPU-hours,"
        f" {found['cost_usd']:,.0f} USD, {found['energy_mwh']:.1f} MWh, {found['co2_t']:.1f} t CO2.",
        "",
        "| stored | size |",
        "| --- | --- |",
        *(
            f"| {name} | {value:,.0f} |" if name == "token_files" else f"| {name} | {value / 1e9:,.0f} GB |"
            for name, value in found["storage"].items()
        ),
        "",
        "Assumptions: " + ", ".join(f"{name} {value}" for name, value in given.items()) + ".",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
