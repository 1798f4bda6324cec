"""The best of several w2v-BERTs, its clusters, and the semantic tokens of all recordings, on a GPU in seconds.

    python recipes/nano/lease/tokens.py --speech DIR/speech.safetensors --clusters 1024 512 --out OUT \\
        OUT/w2v-A OUT/w2v-B ...
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file
from speech import FRAME, LONGEST, SPEEDS, read_speech
from torch import Tensor
from w2v_bert import played_at

from audiolm import checkpoint
from audiolm.semantic.kmeans import Clusters, assign
from audiolm.semantic.tokenizer import TokenizerConfig, W2vBertTokenizer
from audiolm.semantic.w2v_bert import PART, W2vBert, W2vBertConfig

ROUNDS, BATCH = 60, 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--speech", type=Path, required=True)
    parser.add_argument("--clusters", type=int, nargs="+", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--wait", type=float, default=0.0, help="seconds that trainings may still need")
    parser.add_argument("--device", default="cuda")
    options = parser.parse_args()
    device = torch.device(options.device)
    started = time.monotonic()
    recordings = read_speech(options.speech)
    records = [path / "training.json" for path in options.folders]
    while not all(path.exists() for path in records) and time.monotonic() < started + options.wait:
        time.sleep(0.5)
    there = [path for path in records if path.exists()]
    folder = min(there, key=lambda path: json.loads(path.read_text())["best"]["masked"]).parent
    mapping, state, record = checkpoint.load_part(folder / "export", PART)  # half precision, as users will load it
    config = checkpoint.config_from_dict(W2vBertConfig, mapping)
    model = checkpoint.build(lambda: W2vBert(config), state, folder).eval().to(device)
    waves = [
        played_at(torch.from_numpy(wave).to(device), speed)[:LONGEST]
        for speed in SPEEDS
        for wave, _ in recordings["train"]
    ] + [torch.from_numpy(wave).to(device) for wave, _ in recordings["dev"]]
    features = features_of(model, waves, config.masked.layers)
    print(f"{folder} {sum(map(len, features))} frames {time.monotonic() - started:.0f} s", flush=True)
    own = len(recordings["train"])  # the first of SPEEDS is 1
    for count in options.clusters:
        clusters = clustered(torch.cat(features[:own]), count)
        tokens = [assign(rows, clusters).cpu().numpy().astype(np.int16) for rows in features]
        found = np.bincount(np.concatenate(tokens[:own]), minlength=count) / sum(map(len, tokens[:own]))
        used = found[found > 0]
        print(
            f"{count} clusters: perplexity {np.exp(-(used * np.log(used)).sum()):.0f},"
            f" {time.monotonic() - started:.0f} s",
            flush=True,
        )
        save_file({str(i): row for i, row in enumerate(tokens)}, options.out / f"tokens-{count}.safetensors")
        tokenizer = W2vBertTokenizer(
            TokenizerConfig(model=config, tap_layer=config.masked.layers, n_tokens=count), model, clusters
        )
        kmeans = {
            "n_clusters": count,
            "tap_layer": config.masked.layers,
            "frames": int(sum(map(len, features[:own]))),
            "rounds": ROUNDS,
        }
        about = {"w2v_bert": record, "kmeans": kmeans, "recordings": own, "text_informed": True}
        tokenizer.cpu().save(options.out / f"semantic-{count}", about)
        model.to(device)


@torch.inference_mode()
def features_of(model: W2vBert, waves: list[Tensor], layer: int) -> list[Tensor]:
    """Features ``[frame, dim]`` of each waveform, the last frame filled up with silence; like lengths together."""
    frames = [-(-len(wave) // FRAME) for wave in waves]
    order = sorted(range(len(waves)), key=frames.__getitem__)
    found: list[Tensor] = [torch.empty(0)] * len(waves)
    for at in range(0, len(order), BATCH):
        rows = order[at : at + BATCH]
        longest = frames[rows[-1]]
        batch = torch.zeros(len(rows), longest * FRAME, device=waves[0].device)
        for place, index in enumerate(rows):
            batch[place, : len(waves[index])] = waves[index]
        lengths = torch.tensor([frames[index] for index in rows], device=batch.device)
        for index, row in zip(rows, model.features(batch, lengths, layer), strict=True):
            found[index] = row[: frames[index]]
    return found


@torch.inference_mode()
def clustered(features: Tensor, count: int) -> Clusters:
    """k-means (Lloyd) over ``[frame, dim]``, every dimension normalised; clusters that lose all frames start anew."""
    generator = torch.Generator(features.device).manual_seed(1)
    mean, deviation = features.mean(0), features.std(0, correction=0).clamp(min=1e-5)
    normal = (features - mean) / deviation
    centroids = normal[torch.randperm(len(normal), generator=generator, device=normal.device)[:count]].clone()
    for _ in range(ROUNDS):
        nearest = torch.cat(
            [(centroids.square().sum(1) - 2 * part @ centroids.T).argmin(1) for part in normal.split(50_000)]
        )
        sums = torch.zeros_like(centroids).index_add_(0, nearest, normal)
        sizes = torch.bincount(nearest, minlength=count)
        empty = (sizes == 0).nonzero().squeeze(1)
        centroids = sums / sizes.clamp(min=1)[:, None]
        if len(empty):
            centroids[empty] = normal[
                torch.randint(len(normal), (len(empty),), generator=generator, device=normal.device)
            ]
    return Clusters(mean, deviation, centroids)


if __name__ == "__main__":
    main()
