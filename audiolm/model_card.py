"""The README.md that travels with a saved model: what it is made of and how to tell that it is unaltered."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

__all__ = ["model_card"]

ROLES = {
    "codec": "sound to acoustic codes and back",
    "semantic": "sound to semantic tokens, 25 per second",
    "stage_semantic": "language model over semantic tokens",
    "stage_coarse": "language model over the coarse codes",
    "stage_fine": "language model over the fine codes",
    "stage_parallel": "all codes by masked parallel decoding (second decoder)",
    "stage_delayed": "all codes, a frame per step (third decoder)",
}


def model_card(description: Mapping[str, Any], record: Mapping[str, Any]) -> str:
    """Markdown with the front matter of the Hugging Face hub.

    ``description``: what :meth:`audiolm.AudioLM.describe` gives; ``record``: provenance as it was saved, JSON values.
    """
    parts: Mapping[str, Mapping[str, Any]] = description["parts"]
    rows = [
        f"| `{name}` | {ROLES.get(name, '')} | {part['parameters']:,} | `{part['weights_sha256']}` |"
        for name, part in parts.items()
    ]
    lines = [
        "---",
        "library_name: audiolm-audit",
        "pipeline_tag: audio-to-audio",
        "tags: [audiolm, speech, audio-generation]",
        "---",
        f"# {description['name']}",
        "",
        f"An AudioLM of {description['parameters']:,} weights at {description['sample_rate_hz']} Hz: it continues a"
        " recording, says its content again with drawn acoustics, or speaks from nothing. Everything it makes is"
        " synthetic and is to be labelled so.",
        "",
        "## Parts",
        "",
        "Each folder holds `config.json` and `model.safetensors`; the digests are checked on load.",
        "",
        "| part | does | weights | SHA-256 of model.safetensors |",
        "| --- | --- | --- | --- |",
        *rows,
        "",
        f"Digest of the whole: `{description['digest']}`",
        "",
        "## Use",
        "",
        "```python",
        "from audiolm import AudioLM",
        "",
        'model = AudioLM.from_pretrained("path/to/this/folder")  # or the hub id owner/name@revision',
        "clip, = model.continuation([prompt], seconds=4.0, seeds=[0])  # float32 at "
        f"{description['sample_rate_hz']} Hz",
        "```",
        "",
        "## Record",
        "",
        "```json",
        json.dumps(dict(record), indent=2, sort_keys=True),
        "```",
        "",
        "Not said here, and for whoever trained the model to add: data, measures, failures seen, risks.",
    ]
    return "\n".join(lines) + "\n"
