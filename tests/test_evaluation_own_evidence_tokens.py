"""Token evidence: its numbers against the model's own losses, the codec's grid, refusal of another model, the file."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile as sf
import torch

from audiolm.delayed import DelayedRows
from audiolm.interchange import find_folder, load_parts
from detectors.artefacts import read_config, read_weights, write_artefact
from evaluation.detect_verdicts import judge_file
from evaluation.own_evidence.detectors import PRETRAINED, TOKEN_EVIDENCE, TokenVectors, all_detectors
from evaluation.own_evidence.fitting import Kept, one_sided
from evaluation.own_evidence.token_table import COLUMNS, agreement, depth_profile, grid, surprise, token_table

RATE_HZ = 16_000
NAMES = list(COLUMNS)


@pytest.fixture(scope="module")
def parts():
    return load_parts(find_folder("nano")[0])[0]


@pytest.fixture(scope="module")
def voice() -> np.ndarray:
    """Two seconds of a made-up voice: harmonics that glide, in syllables."""
    time_s = np.arange(2 * RATE_HZ) / RATE_HZ
    phase = 2 * np.pi * np.cumsum(140 + 30 * np.sin(2 * np.pi * 0.9 * time_s)) / RATE_HZ
    tone = sum(np.sin(k * phase) / k for k in range(1, 25))
    envelope = 0.02 + np.clip(np.sin(2 * np.pi * 3.3 * time_s), 0, None)
    noise = np.random.default_rng(0).standard_normal(time_s.size)
    return (0.08 * envelope * tone + 0.002 * noise).astype(np.float32)


@pytest.fixture(scope="module")
def table(parts, voice):
    return token_table(parts, voice)


@torch.inference_mode()
def codes_of(parts, samples: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Codes and semantic tokens where the table's frames begin."""
    offset, _ = grid(parts.codec, samples)
    count = (len(samples) - offset) // 320
    sound = torch.from_numpy(samples[offset : offset + 320 * count].copy())
    return parts.codec.encode(sound[None])[0], parts.tokenizer.encode(sound[None])[0]


def mean_of(table, name: str) -> float:
    return float(table.values[:, NAMES.index(name)].mean())


def test_surprise_by_hand():
    logits = torch.log(torch.tensor([[0.75, 0.25], [0.5, 0.5]]))
    nats, over = surprise(logits, torch.tensor([1, 0]))
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    np.testing.assert_allclose(nats, [-math.log(0.25), math.log(2)], rtol=1e-6)
    np.testing.assert_allclose(over, [-math.log(0.25) - entropy, 0.0], atol=1e-6)


def test_nats_per_code_are_the_losses_of_the_stages(parts, voice, table):
    codes, semantic = codes_of(parts, voice)
    frames = codes.shape[1]
    with torch.inference_mode():
        coarse = parts.coarse.loss(parts.coarse.batch([semantic.numpy()], [codes[:4].numpy()], [False])).loss
        rows = DelayedRows(semantic[None], codes[None], codes[None])
        delayed = parts.delayed.loss(rows, torch.ones(12))[0]
        window = parts.fine.config.window
        fine = [
            float(parts.fine.loss(parts.fine.batch([c[:4].numpy()], [c[4:].numpy()], [False])).loss) * c.shape[1]
            for c in codes.split(window, dim=1)
        ]
    levels = [mean_of(table, f"coarse stage level {name}") for name in ("1", "2", "3-4")]
    assert (levels[0] + levels[1] + 2 * levels[2]) / 4 == pytest.approx(float(coarse), abs=1e-3)
    levels = [mean_of(table, f"delayed stage level {name}") for name in ("1", "2", "3-4", "5-12")]
    assert (levels[0] + levels[1] + 2 * levels[2] + 8 * levels[3]) / 12 == pytest.approx(float(delayed), abs=1e-3)
    assert mean_of(table, "fine stage") == pytest.approx(sum(fine) / frames, abs=1e-3)


def test_energy_left_below_a_depth_is_the_distance_to_the_decoded_latents(parts, voice):
    sound = torch.from_numpy(voice)
    with torch.inference_mode():
        codes, left = depth_profile(parts.codec, sound)
        latents = parts.codec.latents(sound[None])
        for column, depth in enumerate((1, 4, 8, 12)):
            gone = (latents - parts.codec.quantizer.decode(codes[None, :depth])).square().sum(1)
            np.testing.assert_allclose(left[:, column], (gone / latents.square().sum(1))[0], rtol=1e-3, atol=1e-6)


class Echo:
    """A codec whose sound is its codes; ``lost``: a level that comes back otherwise."""

    config = SimpleNamespace(front_end="seanet")

    def __init__(self, lost: int | None = None) -> None:
        self.lost = lost

    def decode(self, codes: torch.Tensor) -> torch.Tensor:
        return codes

    def encode(self, sound: torch.Tensor) -> torch.Tensor:
        back = sound.clone()
        if self.lost is not None:
            back[:, self.lost] += 1
        return back


def test_all_codes_of_a_fixed_point_are_kept_and_those_of_a_lost_level_are_not():
    codes = torch.arange(12).reshape(3, 4)
    assert agreement(Echo(), codes).all()  # type: ignore[arg-type]
    np.testing.assert_array_equal(agreement(Echo(1), codes).mean(axis=1), [1.0, 0.0, 1.0])  # type: ignore[arg-type]


def test_the_codecs_grid_is_found_in_its_own_output_and_stands_out_there(parts, voice):
    with torch.inference_mode():
        made = parts.codec.decode(parts.codec.encode(torch.from_numpy(voice)[None]))[0].numpy()
    (at, height), (moved, _), (_, of_none) = (grid(parts.codec, s) for s in (made, made[120:], voice))
    assert at in (0, 40, 280)
    assert moved in (160, 200, 240)
    assert height > 1.5 * of_none


def test_a_long_recording_has_one_row_per_frame_and_a_snippet_none(parts):
    rng = np.random.default_rng(1)
    long = token_table(parts, (0.05 * rng.standard_normal(10 * RATE_HZ)).astype(np.float32))
    gaps = np.diff(long.centres)
    assert (gaps > 0).all() and gaps.max() < 3 * 320
    assert len(token_table(parts, np.zeros(1_000, np.float32)).centres) == 0


def test_window_numbers_are_means_of_the_frames_inside_and_the_table_is_made_once():
    calls = []

    def table_of(samples):
        calls.append(samples)
        return np.arange(10) * 320.0 + 160, np.arange(20.0).reshape(10, 2)

    vectors, samples = TokenVectors(table_of), np.zeros(3200, np.float32)
    np.testing.assert_array_equal(vectors(samples, [(0, 640), (640, 1600)]), [[1.0, 2.0], [6.0, 7.0]])
    np.testing.assert_array_equal(vectors(samples, [(3000, 3010)]), [[18.0, 19.0]])
    assert len(calls) == 1


def test_kept_numbers_are_made_once_per_sound(tmp_path):
    calls = []
    kept = Kept(lambda samples: calls.append(1) or {"sum": samples.sum(keepdims=True)}, tmp_path, "key")
    assert kept(np.ones(4, np.float32))["sum"] == kept(np.ones(4, np.float32))["sum"] == 4.0
    assert kept(np.ones(5, np.float32))["sum"] == 5.0
    assert len(calls) == 2


def test_what_shows_no_sign_of_our_model_is_no_evidence_of_a_person():
    detector = TOKEN_EVIDENCE.load()
    assert detector.calibration.highest_llr == pytest.approx(math.log(2))
    assert detector.calibration.lowest_llr < detector.threshold_llr < 0.0
    assert one_sided(detector.calibration) == detector.calibration


def test_another_models_digest_is_refused_in_one_sentence(tmp_path):
    shipped = PRETRAINED / "token_evidence"
    config = read_config(shipped)
    other = {**config, "model_parts": {**config["model_parts"], "stage_coarse": "0" * 64}}
    write_artefact(tmp_path / "t", read_weights(shipped, config), other, {})
    with pytest.raises(ValueError, match=r"fitted to another model: other weights of stage_coarse than nano has now"):
        TOKEN_EVIDENCE.load(str(tmp_path / "t"))
    shutil.copytree(shipped, tmp_path / "u")
    (tmp_path / "u" / "model.safetensors").write_bytes(b"x")
    with pytest.raises(ValueError, match="SHA-256"):
        TOKEN_EVIDENCE.load(str(tmp_path / "u"))


@pytest.mark.usefixtures("everything_is_speech")
def test_a_file_is_judged_with_its_numbers_named_and_twice_the_same(tmp_path, voice):
    path = tmp_path / "voice.wav"
    sf.write(path, np.tile(voice, 2), RATE_HZ)
    detector = all_detectors()["token_evidence"].load()
    line, again = (judge_file(detector, Path(path), "balanced") for _ in range(2))
    assert json.dumps(line) == json.dumps(again)
    named = {part["name"]: part for part in line["evidence"]}
    assert named["token_evidence"]["llr"] == line["llr"]
    assert {"codec grid", "coarse stage level 1", "coarse codes kept by one more pass"} <= set(named)
    assert named["coarse stage level 1"]["unit"] == "nats per code"
    assert named["coarse stage level 1"]["bona_fide"][0] < named["coarse stage level 1"]["bona_fide"][1]
    assert line["timeline"]
