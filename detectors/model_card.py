"""The model card of a trained detector, in Markdown, made from what was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from detectors.assessment import ErrorRow
from detectors.shortcuts import UNFAIR_AUC

__all__ = ["model_card"]

NEVER_SHOWN = (
    "neural text-to-speech, voice conversion, vocoders and codecs of others, but for those the table of clips names",
    "languages other than English, singing, whispering, children, overlapping speakers, music",
    "partly synthetic recordings as such; the timeline comes from 2 s windows",
    "replayed speech, and speech altered to defeat a detector",
)


TITLES = {
    "mel_cnn": "log-mel convolutional detector of synthetic speech",
    "lfcc_gmm": "Gaussian mixtures over linear-frequency cepstra",
    "lfcc_lcnn": "light convolutional network over linear-frequency spectra",
    "graph_attention": "graph-attention network over a spectrum of high time resolution",
    "mel_kinds": "log-mel convolutional detector with an output per kind of sound",
    "fine_statistics": "network over the statistics of bands and of a sound's fine structure",
    "fusion": "weighted sum of the detectors in the folders beside this one",
}


def _percent(value: float) -> str:
    return "-" if value != value else f"{100 * value:.1f}"


def _table(rows: Sequence[ErrorRow]) -> list[str]:
    lines = [
        "| synthetic | condition | against bona fide | EER % | bona fide called synthetic % |"
        " synthetic called bona fide % | Cllr, bits | bona fide clips (speakers) | synthetic clips (voices) |"
        " abstained |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        lines.append(
            f"| {row.generator} | {row.condition} | {row.bona_fide} | {_percent(row.eer)} | {_percent(row.p_miss)} |"
            f" {_percent(row.p_false_alarm)} | {row.cllr_bits:.3f} | {row.n_bona} ({row.n_bona_speakers}) |"
            f" {row.n_synth} ({row.n_synth_speakers}) | {row.n_abstained} |"
        )
    return lines


def _shortcut_lines(probes: Mapping[str, float]) -> list[str]:
    if not probes:
        return []
    worst = max(probes.values())
    verdict = (
        "fair" if worst <= UNFAIR_AUC else f"UNFAIR: {max(probes, key=lambda name: probes[name])} alone tells much"
    )
    return [
        "## Shortcuts",
        "",
        "AUC of single numbers about the recording on the windows the network was shown, after augmentation (0.5:"
        f" useless). Above {UNFAIR_AUC} the data would be called unfair. Worst {worst:.2f}: {verdict}.",
        "",
        "| probe | AUC |",
        "| --- | --- |",
        *[f"| {name} | {value:.3f} |" for name, value in probes.items()],
        "",
    ]


def _kept_lines(config: Mapping[str, Any]) -> list[str]:
    kept, weights = config.get("calibration_only", []), config.get("weights", {})
    shares = ", ".join(f"{name} {value:.3f}" for name, value in weights.items())
    highest = ", ".join(f"{name} {value:.3f}" for name, value in config.get("ceilings", {}).items())
    lines = [f"Weights of the parts: {shares}."] * bool(weights)
    lines += [f"Scores above which a part's window counts for no more: {highest}."] * bool(highest)
    return lines + [f"Kept from training, used to calibrate and to test: {', '.join(kept)}."] * bool(kept)


def model_card(config: Mapping[str, Any], rows: Sequence[ErrorRow]) -> str:
    """Markdown text from a detector's config and its error table on test speakers."""
    training, calibration = config["training"], config["calibration"]
    counts = [f"| {name} | {values['clips']} | {values['speakers']} |" for name, values in training["clips"].items()]
    title = config.get("title", "mel_cnn")
    pooled = ", ".join(f"{name} {value:.4f}" for name, value in training["test_pooled"].items())
    lines = [
        f"# {title}: {TITLES.get(title, 'detector of synthetic speech')}",
        "",
        f"Version {config['version']}. Output: {config['unit']}; {config['polarity']}. Operating point:"
        f" {config['threshold_llr']:.4f} ({config['threshold_source']}). {training['parameters']} parameters.",
        "",
        "## Error rates on test speakers",
        "",
        "Speakers (voices for text-to-speech programs) that were used for nothing else, clips of at most 5 s. EER by"
        " linear interpolation. These generators are the ones of the training data except where the voice or program is"
        " said to be new: **they say nothing about a system that is not in the table.** festival's tested voice,"
        " `kal_diphone`, was never trained on, but is also the source of flite's `kal16`, which was.",
        "",
        *_table(rows),
        "",
        f"All together: {pooled}.",
        "",
        "## Training data (clips and speakers per generator/condition/split)",
        "",
        "Human speech: LibriSpeech, LJ Speech, VCTK, Picovoice and SpeechBrain samples. `held` chose the checkpoint and"
        " fitted the calibration.",
        "",
        "| generator/condition/split | clips | speakers |",
        "| --- | --- | --- |",
        *counts,
        "",
        *_kept_lines(config),
        f"Seed {training['seed']}, {training['steps']} steps. Calibration: prior-weighted"
        f" logistic map, scale {calibration['scale']:.4f}, offset {calibration['offset']:.4f}, on"
        f" {calibration['independent_bona']} bona fide recordings and {calibration['independent_synth']} synthetic"
        " sources; their number bounds the output (Laplace's rule).",
        "",
        *_shortcut_lines(training.get("shortcuts", {})),
        "## What it was never shown",
        "",
        *[f"- {item};" for item in NEVER_SHOWN],
        *[f"- {item};" for item in training["not_shown"]],
        "- and it abstains on under 2 s of speech, silence, heavy clipping, nothing above 3.4 kHz, non-finite samples.",
        "",
        "`reference_scores.json` holds the output on held-out human speech; LibriSpeech is CC BY 4.0",
        "(Vassil Panayotov), the speaker ids are those of the corpus.",
        "",
    ]
    return "\n".join(lines)
