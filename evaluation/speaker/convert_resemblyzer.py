"""Turns the encoder checkpoint inside the Resemblyzer wheel into ``pretrained/ge2e.safetensors``.

Run once by the maintainers: ``python -m evaluation.speaker.convert_resemblyzer <pretrained.pt> <ge2e.safetensors>``.
The checkpoint is read with ``weights_only``, so nothing in it is executed; the training loss's two tensors are dropped.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from pathlib import Path

__all__ = ["convert"]


def convert(checkpoint: Path, target: Path) -> str:
    """Write the LSTM and linear weights of ``checkpoint`` to ``target`` in half precision; returns the file's sha256.

    Raises:
        ValueError: the checkpoint does not hold this encoder.
    """
    import torch
    from safetensors.torch import save_file

    state = torch.load(checkpoint, map_location="cpu", weights_only=True).get("model_state")
    kept = {
        name: tensor.half().contiguous()
        for name, tensor in (state or {}).items()
        if name.startswith(("lstm.", "linear."))
    }
    if len(kept) != 14:
        raise ValueError(f"{checkpoint}: holds {len(kept)} of the encoder's 14 tensors; give its pretrained.pt")
    save_file(kept, target, metadata={"origin": "Resemblyzer 0.1.4, Apache-2.0"})
    return hashlib.sha256(target.read_bytes()).hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path, help="resemblyzer/pretrained.pt of the wheel")
    parser.add_argument("target", type=Path, help="file to write")
    arguments = parser.parse_args()
    sys.stdout.write(convert(arguments.checkpoint, arguments.target) + "\n")


if __name__ == "__main__":
    main()
