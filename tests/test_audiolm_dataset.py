"""Training data: packs, folders of speakers, and the token cache."""

from __future__ import annotations

import importlib.util
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from audiolm import token_cache
from audiolm.audio import AudioClip, write_audio
from audiolm.dataset import Chances, Recording, check_disjoint, draw_crops, read_recordings, split_of_speaker
from audiolm.packed_speech import PackedSamples, read_pack, write_pack
from audiolm.runtime import Runtime
from audiolm.token_cache import tokenised
from audiolm.train_stages import TokenisedUtterance

RATE = 16_000
ROOT = Path(__file__).parents[1]


def noise(count: int, seed: int) -> np.ndarray:
    return (0.2 * np.random.default_rng(seed).standard_normal(count)).clip(-1, 1).astype(np.float32)


def rows(count: int) -> list[tuple[dict[str, str], np.ndarray]]:
    return [
        (
            {
                "utterance_id": f"u{index}",
                "speaker": f"s{index % 3}",
                "split": "dev" if index % 3 == 2 else "train",
                "kind": "speech",
            },
            noise(4_000 + 100 * index, index),
        )
        for index in range(count)
    ]


def test_a_pack_keeps_every_sample_within_half_a_step(tmp_path: Path) -> None:
    files = write_pack(tmp_path, rows(6), RATE, piece_bytes=2**16 + 20_000)
    assert len(files) > 2 and all(path.stat().st_size < 2**16 + 20_000 for path in files)
    packed = read_pack(tmp_path, RATE)
    assert [row["utterance_id"] for row, _ in packed] == [row["utterance_id"] for row, _ in rows(6)]
    for (_, samples), (_, original) in zip(packed, rows(6), strict=True):
        assert len(samples) == len(original)
        assert np.abs(samples[:] - original).max() <= 1 / 32768
        assert np.array_equal(samples[100:300], samples[:][100:300]) and samples[5_000_000:].shape == (0,)


def test_a_pack_trains_like_recordings_in_memory(tmp_path: Path) -> None:
    write_pack(tmp_path, rows(6), RATE)
    packed = read_recordings(tmp_path, split="train", sample_rate_hz=RATE)
    assert [item.utterance_id for item in packed] == ["u0", "u1", "u3", "u4"]
    assert all(isinstance(item.samples, PackedSamples) for item in packed)
    loaded = [Recording(item.utterance_id, item.speaker_id, item.samples[:]) for item in packed]
    draws = [draw_crops(found, batch=4, length=900, rng=np.random.default_rng(3)) for found in (packed, loaded)]
    assert torch.equal(*draws)
    capped = read_recordings(tmp_path, split="train", sample_rate_hz=RATE, max_seconds_per_speaker=0.1)
    assert [item.speaker_id for item in capped] == ["s0", "s1"]


def test_a_damaged_pack_is_refused_by_name(tmp_path: Path) -> None:
    files = write_pack(tmp_path, rows(3), RATE)
    with pytest.raises(ValueError, match="packed at 16000 Hz, 8000 Hz are needed"):
        read_recordings(tmp_path, split="train", sample_rate_hz=8_000)
    files[0].write_bytes(files[0].read_bytes()[:1000])
    with pytest.raises(ValueError, match="speech-00000.safetensors: cannot be read"):
        read_recordings(tmp_path, split="train", sample_rate_hz=RATE)
    (tmp_path / "pack.json").write_text("{}")
    with pytest.raises(ValueError, match="is not the index of a pack"):
        read_recordings(tmp_path, split="train", sample_rate_hz=RATE)


def test_a_folder_of_speakers_is_shared_out_by_speaker(tmp_path: Path) -> None:
    for index in range(4):
        (tmp_path / f"speaker{index}" / "chapter").mkdir(parents=True)
        for take in range(2):
            clip = AudioClip.from_array(noise(1_600, 10 * index + take), RATE)
            write_audio(tmp_path / f"speaker{index}" / "chapter" / f"{take}.wav", clip)
    training, held_out = (read_recordings(tmp_path, split=split, sample_rate_hz=RATE) for split in ("train", "dev"))
    assert len(training) + len(held_out) == 8 and held_out
    check_disjoint(training, held_out)
    assert training[0].utterance_id == f"{training[0].speaker_id}-chapter-0"
    shares = [split_of_speaker(f"speaker-{index}") for index in range(2_000)]
    assert 0.03 < shares.count("dev") / len(shares) < 0.07
    (tmp_path / "silent").mkdir()
    with pytest.raises(ValueError, match="holds no audio"):
        read_recordings(tmp_path / "silent", split="train", sample_rate_hz=RATE)


def test_a_speaker_in_both_splits_is_refused() -> None:
    a, b = (Recording("u", speaker, noise(100, 0)) for speaker in ("alice", "bob"))
    unknown = Recording("u", "", noise(100, 0))
    check_disjoint([a, unknown], [b, unknown])
    with pytest.raises(ValueError, match="'alice' is in the training split and held out"):
        check_disjoint([a, b], [a])


class _Codec:
    """A codec whose codes say which samples it saw: the sign of each 320-sample block's mean."""

    sample_rate_hz = RATE
    calls = 0

    def to(self, _device: object) -> _Codec:
        return self

    def encode(self, samples: torch.Tensor) -> torch.Tensor:
        _Codec.calls += 1
        return (samples.unflatten(1, (-1, 320)).mean(-1) > 0).long()[:, None].expand(-1, 2, -1) * 300


class _Semantic:
    n_tokens = 2

    def to(self, _device: object) -> _Semantic:
        return self

    def encode(self, samples: torch.Tensor) -> torch.Tensor:
        return (samples.unflatten(1, (-1, 640)).mean(-1) > 0).long()


@pytest.fixture
def cached(monkeypatch: pytest.MonkeyPatch) -> None:
    """Foreign tokenizers, known to the cache by folder name alone."""
    _Codec.calls = 0
    monkeypatch.setattr(token_cache, "load_acoustic", lambda _folder: _Codec())
    monkeypatch.setattr(token_cache, "load_tokenizer", lambda _folder: _Semantic())
    monkeypatch.setattr(token_cache, "stored_part", lambda folder: folder.name)
    monkeypatch.setattr(token_cache, "part_digest", lambda folder, part: f"{folder}{part}")
    monkeypatch.setattr(token_cache, "SHARD_RECORDINGS", 2)


@pytest.mark.usefixtures("cached")
def test_tokens_are_computed_once_per_shard_and_mapped(tmp_path: Path) -> None:
    speech = [Recording(f"u{index}", "s", noise(3_000 + index, index)) for index in range(5)]
    first = tokenised(speech, Path("codec"), Path("semantic_bundle"), tmp_path)
    assert _Codec.calls == 5 and len(list(tmp_path.glob("*.safetensors"))) == 3
    for item, tokens in zip(speech, first, strict=True):
        padded = np.pad(item.samples, (0, -len(item.samples) % 640))
        assert np.array_equal(tokens.codes[1], 300 * (padded.reshape(-1, 320).mean(1) > 0))
        assert np.array_equal(tokens.semantic, padded.reshape(-1, 640).mean(1) > 0)
        assert isinstance(tokens.codes.base, np.memmap) or isinstance(tokens.codes, np.memmap)
    tokenised(speech, Path("codec"), Path("semantic_bundle"), tmp_path)
    assert _Codec.calls == 5
    tokenised([*speech[:4], speech[4], Recording("new", "s", noise(700, 9))], Path("codec"), Path("b"), tmp_path)
    assert _Codec.calls == 11
    changed = [Recording("u0", "s", -noise(3_000, 0)), *speech[1:]]
    tokenised(changed, Path("codec"), Path("semantic_bundle"), tmp_path)
    assert _Codec.calls == 13


class _OneOfTwo(Runtime):
    """Process ``rank`` of two, as threads that wait for each other."""

    world = 2

    def __init__(self, rank: int, meeting: threading.Barrier | None) -> None:
        super().__init__()
        self.rank, self.meeting = rank, meeting

    def barrier(self) -> None:
        if self.meeting is not None:
            self.meeting.wait(20)


@pytest.mark.usefixtures("cached")
def test_a_process_that_comes_late_leaves_no_shard_out(tmp_path: Path) -> None:
    speech = [Recording(f"u{index}", "s", noise(3_000 + index, index)) for index in range(9)]
    meeting = threading.Barrier(2)

    def one(rank: int) -> list[TokenisedUtterance]:
        time.sleep(0.5 * rank)
        return tokenised(speech, Path("codec"), Path("semantic"), tmp_path, _OneOfTwo(rank, meeting))

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(one, range(2))
    assert len(list(tmp_path.glob("*.safetensors"))) == 5 and _Codec.calls == 9
    assert all(np.array_equal(a.codes, b.codes) for a, b in zip(first, second, strict=True))


@pytest.mark.usefixtures("cached")
def test_nodes_without_a_common_disk_are_told_so(tmp_path: Path) -> None:
    speech = [Recording(f"u{index}", "s", noise(3_000, index)) for index in range(5)]
    with pytest.raises(ValueError, match="not seen by process 0 .*shared file system"):
        tokenised(speech, Path("codec"), Path("semantic"), tmp_path, _OneOfTwo(0, None))


def test_chances_are_those_of_numpys_choice() -> None:
    lengths = np.random.default_rng(0).integers(0, 50, 200)
    chances = Chances(lengths)
    for seed in range(20):
        drawn = chances.draw(64, np.random.default_rng(seed))
        assert np.array_equal(drawn, np.random.default_rng(seed).choice(200, size=64, p=lengths / lengths.sum()))
    with pytest.raises(ValueError, match="3 recordings hold no samples"):
        Chances([0, 0, 0])


def test_a_corpus_packed_by_several_jobs_is_read_as_one(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("pack_recipe", ROOT / "recipes" / "nano" / "pack.py")
    assert spec is not None and spec.loader is not None
    recipe = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(recipe)
    lengths = {"a": 10_000, "b": 40_000, "c": 63_000, "d": 64_000}
    lines = ["utterance_id,path,split,speaker"]
    for seed, (name, length) in enumerate(lengths.items()):
        write_audio(tmp_path / f"{name}.flac", AudioClip(noise(length, seed), RATE))
        lines.append(f"{name},{name}.flac,train,{name}")
    (tmp_path / "m.csv").write_text("\n".join(lines) + "\n")
    for place in range(2):
        out = str(tmp_path / "packs" / f"{place}")
        command = ["--data", str(tmp_path / "m.csv"), "--out", out, "--shard", f"{place}/2", "--cut-seconds", "1.5"]
        assert recipe.main(command) == 0
    found = read_recordings(tmp_path / "packs", split="train", sample_rate_hz=RATE)
    cut = ["a", "c-0000", "c-0001", "b-0000", "b-0001", "d-0000", "d-0001", "d-0002"]
    assert [item.utterance_id for item in found] == cut
    for name, length in lengths.items():
        parts = [item.samples[:] for item in found if item.utterance_id.startswith(name)]
        assert sum(map(len, parts)) == length and min(map(len, parts)) >= min(length, RATE)
        whole = AudioClip.from_file(tmp_path / f"{name}.flac").samples
        assert np.abs(np.concatenate(parts) - whole).max() <= 1 / 32768
    with pytest.raises(SystemExit):
        recipe.main(["--data", "x", "--out", "y", "--shard", "2/2"])
