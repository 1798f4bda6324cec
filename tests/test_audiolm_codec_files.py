"""From file to file: exact lengths, provenance, resampling without seams, usage, and the command line."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch

from audiolm.audio import AudioClip, AudioError, read_provenance, stream_blocks, write_audio
from audiolm.codec import CodecConfig, SoundStream
from audiolm.codec.bitstream import BitstreamError, read_codes, read_header
from audiolm.codec.files import _at_rate, decode_file, encode_file, open_codec
from audiolm.codec.usage import code_usage
from evaluation.cli import main


@lru_cache
def weights() -> SoundStream:
    config = CodecConfig(
        front_end="spectral",
        latent_dim=8,
        n_levels=3,
        codebook_size=16,
        encoder_channels=(8, 8),
        decoder_channels=(8, 8),
        encoder_units=(1, 1),
        decoder_units=(1, 1),
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        codec = SoundStream(config).eval()
    noise = torch.randn(4, 16_000, generator=torch.Generator().manual_seed(1)) * 0.1
    with torch.no_grad():
        codec.quantizer.initialise(codec.latents(noise).transpose(1, 2).flatten(0, 1), torch.Generator().manual_seed(2))
    return codec


@pytest.fixture
def stored(tmp_path) -> Path:
    weights().save(tmp_path / "tiny", {"steps": 0})
    return tmp_path / "tiny"


def recording(path: Path, seconds: float, rate: int = 16_000) -> Path:
    samples = 0.1 * np.random.default_rng(0).standard_normal(int(seconds * rate))
    write_audio(path, AudioClip.from_array(samples, rate))
    return path


@pytest.mark.parametrize("samples", [1, 319, 320, 321, 64_001])
def test_lengths_codes_and_provenance_survive(tmp_path, stored, samples: int) -> None:
    named = open_codec(stored)
    source = recording(tmp_path / "in.wav", samples / 16_000)
    header = encode_file(named, source, tmp_path / "a.sst")
    assert (header.samples, header.frames) == (samples, -(-samples // 320))
    clip = AudioClip.from_file(source)
    codes = np.concatenate(list(read_codes(tmp_path / "a.sst")), axis=1)
    assert np.array_equal(codes, named.codec.encode(torch.from_numpy(clip.samples)[None])[0].numpy())
    decode_file(named, tmp_path / "a.sst", tmp_path / "out.wav")
    heard = AudioClip.from_file(tmp_path / "out.wav")
    wanted = named.codec.decode(torch.from_numpy(codes)[None])[0, :samples].numpy()
    assert len(heard.samples) == samples
    assert np.abs(heard.samples - wanted).max() < 1e-4
    provenance = read_provenance(tmp_path / "out.wav")
    assert (provenance["role"], provenance["codec_sha256"]) == ("codec", named.digest)


def test_fewer_levels_cost_fewer_bits(tmp_path, stored) -> None:
    named = open_codec(stored)
    source = recording(tmp_path / "in.wav", 1.0)
    full, one = (encode_file(named, source, tmp_path / f"{n}.sst", n) for n in (3, 1))
    assert one.payload_bps * 3 == full.payload_bps == 600
    decode_file(named, tmp_path / "3.sst", tmp_path / "few.wav", n_levels=1)
    decode_file(named, tmp_path / "1.sst", tmp_path / "one.wav")
    assert np.array_equal(
        AudioClip.from_file(tmp_path / "few.wav").samples, sf.read(tmp_path / "one.wav")[0].astype("f4")
    )
    for wrong in (0, 4):
        with pytest.raises(ValueError, match=f"levels is {wrong}; codec 'tiny' has 1 to 3"):
            encode_file(named, source, tmp_path / "no.sst", wrong)
    with pytest.raises(ValueError, match="has 1 to 1"):
        decode_file(named, tmp_path / "1.sst", tmp_path / "no.wav", 2)


def test_another_codec_is_refused_and_nothing_is_left(tmp_path, stored) -> None:
    named = open_codec(stored)
    encode_file(named, recording(tmp_path / "in.wav", 0.5), tmp_path / "a.sst")
    other = SoundStream(weights().config)
    other.save(tmp_path / "other", {})
    with pytest.raises(BitstreamError, match="was encoded by codec 'tiny' .* not by 'other'"):
        decode_file(open_codec(tmp_path / "other"), tmp_path / "a.sst", tmp_path / "out.wav")
    data = (tmp_path / "a.sst").read_bytes()
    (tmp_path / "a.sst").write_bytes(data[:-9])
    with pytest.raises(BitstreamError, match=r"block 0 of 1 \(0\.00 to 0\.50 s\) is cut off"):
        decode_file(named, tmp_path / "a.sst", tmp_path / "out.wav")
    assert not [path for path in tmp_path.iterdir() if path.name.endswith(("out.wav", ".tmp"))]


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 48_000])
@pytest.mark.parametrize("block_s", [0.05, 0.333, 9.0])
def test_resampling_in_blocks_has_no_seams(tmp_path, rate: int, block_s: float) -> None:
    source = recording(tmp_path / "in.wav", 1.2345, rate)
    whole = AudioClip.from_file(source).at_rate(16_000).samples
    pieces = np.concatenate(list(_at_rate(stream_blocks(source, block_s=block_s), 16_000)))
    assert pieces.shape == whole.shape
    assert np.abs(pieces - whole).max() < 1e-6


def test_usage_counts_match_hand_computed_entropy() -> None:
    level_a = [0] * 4 + [1] * 2 + [2] + [3]  # 1.75 bit
    usage = code_usage([np.array([level_a[:5], [7] * 5]), np.array([[level_a[5:], [7] * 3]])], 8)
    a, b = usage.levels
    assert (a.used, a.share, a.frames) == (4, 0.5, 8)
    assert a.entropy_bit == pytest.approx(1.75)
    assert a.corrected_bit == pytest.approx(1.75 + 3 / (16 * np.log(2)))
    assert (b.used, b.entropy_bit) == (1, 0.0)
    assert code_usage([np.zeros((1, 1), np.int64)], 8).levels[0].reachable_share == pytest.approx(1 / 8)
    assert b.reachable_share == pytest.approx(1 - (7 / 8) ** 8)
    assert usage.mean_share == pytest.approx((0.5 + 0.125) / 2)
    with pytest.raises(ValueError, match="no codes"):
        code_usage([], 8)
    with pytest.raises(ValueError, match=r"must lie in \[0, 8\)"):
        code_usage([np.array([[8]])], 8)
    with pytest.raises(ValueError, match="measure them apart"):
        code_usage([np.array([[1]]), np.array([[1], [2]])], 8)


def test_command_line_from_file_to_file(tmp_path, stored, capsys) -> None:
    source, packed, out = recording(tmp_path / "in.wav", 2.5, 22_050), tmp_path / "a.sst", tmp_path / "out.flac"
    assert main(["codec", "encode", str(source), str(packed), "--codec", str(stored), "--levels", "2"]) == 0
    assert "2 levels x 16 codes, codec tiny" in capsys.readouterr().out
    assert main(["codec", "decode", str(packed), str(out), "--codec", str(stored), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["samples"] == 40_000 == sf.info(out).frames
    assert main(["codec", "info", str(packed), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["payload_bits_per_second"], facts["file_bytes"]) == (400, packed.stat().st_size)
    assert read_header(packed).n_blocks == facts["blocks"] == 3
    assert main(["codec", "usage", str(source), "--codec", str(stored), "--json"]) == 0
    usage = json.loads(capsys.readouterr().out)
    assert [level["frames"] for level in usage["levels"]] == [125] * 3
    assert main(["codec", "usage", str(packed), "--codec", str(stored)]) == 0
    assert "of 16" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["encode", "none.wav", "a.sst"], "none.wav: no such file"),
        (["encode", "in.wav", "in.wav"], "give one that ends in .sst"),
        (["encode", "in.wav", "a.sst", "--codec", "nowhere"], "nowhere: no such model folder"),
        (["decode", "in.wav", "b.wav"], "is not a .sst file"),
        (["info", "none.sst"], "cannot be read"),
    ],
)
def test_wrong_use_is_one_sentence_and_exit_code_2(tmp_path, stored, monkeypatch, capsys, arguments, sentence) -> None:
    monkeypatch.chdir(tmp_path)
    recording(tmp_path / "in.wav", 0.1)
    if "--codec" not in arguments and arguments[0] != "info":
        arguments = [*arguments, "--codec", str(stored)]
    assert main(["codec", *arguments]) == 2
    said = capsys.readouterr().err
    assert sentence in said and said.count("\n") == 1


def test_blocks_of_nothing_are_refused() -> None:
    with pytest.raises(AudioError, match="before its first block"):
        list(_at_rate(iter(()), 16_000))
