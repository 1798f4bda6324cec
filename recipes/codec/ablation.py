"""Which losses of the nano codec earn their place: equal steps of each variant, measured on held-out speakers.

    python recipes/codec/ablation.py --data ../shared/corpus/manifest.csv --out runs/ablation [--steps 250] [--json]

Every variant is a recipe file and one ``audiolm-audit train codec --resume``; stop it at any moment and run it again.
Needs pesq (extra ``quality``). Discriminators play from an eighth of the steps on.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from pesq import pesq  # pyright: ignore[reportMissingImports]
from pystoi import stoi  # pyright: ignore[reportMissingImports]

from audiolm.codec.losses import MelLoss
from audiolm.codec.soundstream import SoundStream
from audiolm.dataset import Recording, read_recordings

ADVERSARY = "[codec.adversary]\nstart = {start}\n"
VARIANTS = {
    "reconstruction alone (shipped)": "",
    "+ discriminator, balanced gradients": ADVERSARY,
    "+ discriminator, same weights unbalanced": ADVERSARY + "balanced = false\n",
    "reconstruction, log magnitudes alone": 'loss_weights = [["compressed", 0.0], ["band", 0.0]]\n',
    "reconstruction, all weights 1": 'loss_weights = [["compressed", 1.0]]\n',
}
RATE_HZ, HEARD_S = 16_000, 5
COLUMNS = ("stoi", "pesq_wb", "mel", "code_usage", "core_s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=250)
    parser.add_argument("--only", type=int, nargs="*", help="numbers of the variants (default: all)")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    chosen = options.only if options.only is not None else range(len(VARIANTS))
    names = list(VARIANTS)
    for number in chosen:
        trained(names[number], options.data, options.out / str(number), options.steps)
    heard = one_per_speaker(read_recordings(options.data, split="dev", sample_rate_hz=RATE_HZ))
    rows = [{"variant": names[n], "speakers": len(heard)} | measured(options.out / str(n), heard) for n in chosen]
    if options.json:
        print(json.dumps(rows))
        return
    print(f"{'variant':44}" + "".join(f"{name:>12}" for name in COLUMNS))
    for row in rows:
        print(f"{row['variant']:44}" + "".join(f"{row[name]:12.3f}" for name in COLUMNS))


def trained(name: str, data: Path, out: Path, steps: int) -> None:
    """Train one variant as a user would; nothing is done where it is finished."""
    record = out / "codec" / "training.json"
    if record.is_file() and json.loads(record.read_text(encoding="utf-8"))["finished"]:
        return
    out.mkdir(parents=True, exist_ok=True)
    recipe = out / "recipe.toml"
    text = 'preset = "nano"\n[codec]\n' + VARIANTS[name].format(start=steps // 8)
    recipe.write_text(text + f"[codec.optimiser]\nsteps = {steps}\nlearning_rate = 1e-3\n", encoding="utf-8")
    command = [sys.executable, "-m", "audiolm", "codec", "--recipe", str(recipe), "--data", str(data)]
    command += ["--out", str(out), "--resume", "--save-every", "50", "--validate-every", str(steps)]
    subprocess.run(command, check=True)


def one_per_speaker(recordings: list[Recording]) -> list[Recording]:
    """The first recording of each speaker."""
    return list({item.speaker_id: item for item in reversed(recordings)}.values())


@torch.inference_mode()
def measured(folder: Path, heard: list[Recording]) -> dict[str, float]:
    """Means over recordings at all levels, and what the training took."""
    codec = SoundStream.load(folder / "codec" / "export")
    mel_loss = MelLoss(RATE_HZ)
    rows = []
    for item in heard:
        samples = torch.from_numpy(item.samples[: HEARD_S * RATE_HZ])[None]
        output = codec.decode(codec.encode(samples))[:, : samples.shape[1]]
        pair = samples[0].numpy(), output[0].numpy()
        rows.append((stoi(*pair, RATE_HZ), pesq(RATE_HZ, *pair, "wb"), float(mel_loss(output, samples))))
    means = dict(zip(COLUMNS, np.mean(rows, axis=0).tolist(), strict=False))
    record = json.loads((folder / "codec" / "training.json").read_text(encoding="utf-8"))
    usage = record["validation"]["code_usage"]
    return means | {"code_usage": usage, "core_s": record["energy"]["cpu_core_s"]}


if __name__ == "__main__":
    main()
