"""Tokens of the training recordings: computed once per pair of tokenizers, in shards, read from disk as needed.

A shard holds the tokens of up to 64 recordings and is named by the digest of both tokenizers and of these recordings.
So new recordings cost only their own shards, other tokenizers never meet old tokens, and several writers are safe:
a shard appears whole, and whoever makes it makes the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import logging
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file

from audiolm.checkpoint import part_digest, stored_part
from audiolm.codec.protocol import AcousticTokenizer, load_acoustic
from audiolm.dataset import Recording
from audiolm.runtime import Runtime
from audiolm.semantic.tokenizer import SemanticTokenizer, load_tokenizer
from audiolm.train_stages import TokenisedUtterance
from audiolm.whole_files import whole_file

__all__ = ["SHARD_RECORDINGS", "tokenised"]

logger = logging.getLogger(__name__)

MAX_SECONDS = 40.0
"""Longer recordings are cut here: the longest training crop is 30 s."""
SHARD_RECORDINGS = 64
SEMANTIC_SAMPLES = 640
"""Samples of a semantic token; recordings are filled up with silence to a whole number of them."""
VERSION = 2


def tokenised(
    recordings: Sequence[Recording],
    codec_folder: Path,
    semantic_folder: Path,
    cache_folder: Path,
    runtime: Runtime | None = None,
) -> list[TokenisedUtterance]:
    """Tokens of ``recordings`` (int16, memory-mapped); what the cache lacks is computed, shared out over processes."""
    runtime = runtime or Runtime()
    tokenizers = [part_digest(folder, stored_part(folder)) for folder in (codec_folder, semantic_folder)]
    shards = [recordings[at : at + SHARD_RECORDINGS] for at in range(0, len(recordings), SHARD_RECORDINGS)]
    paths = [cache_folder / f"tokens-{_key(tokenizers, shard)[:16]}.safetensors" for shard in shards]
    missing = [index for index, path in enumerate(paths) if not path.exists()]
    runtime.barrier()  # nobody writes before everybody has looked: all share out the same list
    own = missing[runtime.rank :: runtime.world]
    if own:
        codec = load_acoustic(codec_folder).to(runtime.device)
        tokenizer = load_tokenizer(semantic_folder).to(str(runtime.device))
        cache_folder.mkdir(parents=True, exist_ok=True)
        for done, index in enumerate(own):
            logger.info("tokens: shard %d of %d", done + 1, len(own))
            _write(paths[index], shards[index], codec, tokenizer, runtime.device)
    runtime.barrier()
    unseen = [path for path in paths if not path.exists()]
    if unseen:
        raise ValueError(
            f"{unseen[0]}: made by another process and not seen by process {runtime.rank} ({len(unseen)} such); all"
            " nodes must see one --out, on a shared file system"
        )
    found = []
    for shard, path in zip(shards, paths, strict=True):
        arrays = _mapped(path)
        found += [TokenisedUtterance(arrays[f"{i}/semantic"], arrays[f"{i}/codes"]) for i in range(len(shard))]
    return found


def _key(tokenizers: Sequence[str], shard: Sequence[Recording]) -> str:
    digest = hashlib.sha256(json.dumps([VERSION, *tokenizers]).encode())
    for item in shard:
        start = zlib.crc32(np.ascontiguousarray(item.samples[:16_000]).tobytes())
        digest.update(f"{item.utterance_id}:{len(item.samples)}:{start};".encode())
    return digest.hexdigest()


def _write(
    path: Path,
    shard: Sequence[Recording],
    codec: AcousticTokenizer,
    tokenizer: SemanticTokenizer,
    device: torch.device,
) -> None:
    arrays: dict[str, np.ndarray] = {}
    for index, item in enumerate(shard):
        samples = item.samples[: int(MAX_SECONDS * codec.sample_rate_hz)]
        samples = np.pad(samples, (0, -len(samples) % SEMANTIC_SAMPLES))
        row = torch.from_numpy(samples)[None].to(device)
        arrays[f"{index}/semantic"] = tokenizer.encode(row)[0].cpu().numpy().astype(np.int16)
        arrays[f"{index}/codes"] = codec.encode(row)[0].cpu().numpy().astype(np.int16)
    with whole_file(path) as temporary:
        save_file(arrays, temporary)


def _mapped(path: Path) -> dict[str, np.ndarray]:
    """The int16 arrays of a safetensors file as views of the file itself (length, JSON header, then the data)."""
    with path.open("rb") as stream:
        (length,) = struct.unpack("<Q", stream.read(8))
        header = json.loads(stream.read(length))
    data = np.memmap(path, dtype=np.int16, mode="r", offset=8 + length)
    arrays = {}
    for name, entry in header.items():
        if name != "__metadata__":
            start, stop = (offset // 2 for offset in entry["data_offsets"])
            arrays[name] = data[start:stop].reshape(entry["shape"])
    return arrays
