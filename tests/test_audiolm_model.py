"""Models as folders and from the hub: what is written, what is refused, what is fetched."""

from __future__ import annotations

import hashlib
import json
import sys
import types
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torchaudio
from audiolm_tiny import N_SEMANTIC, noise, tiny_model

from audiolm import hub
from audiolm.checkpoint import CheckpointError
from audiolm.codec import SoundStream
from audiolm.codec.protocol import AcousticTokenizer
from audiolm.delayed import DelayedStage
from audiolm.interchange import FOLDERS
from audiolm.model import AudioLM
from audiolm.parallel import ParallelStage
from audiolm.precision import PRECISIONS, check_precision
from audiolm.semantic import bundles
from audiolm.semantic.tokenizer import TokenizerConfig, W2vBertTokenizer


def usable_precisions() -> list[str]:
    usable = []
    for precision in PRECISIONS:
        try:
            check_precision(precision, "cpu")
        except ValueError:
            continue
        usable.append(precision)
    return usable


def test_a_saved_model_loads_and_says_what_it_is(tmp_path: Path) -> None:
    model = tiny_model()
    assert model.describe()["digest"] is None
    model.save_pretrained(tmp_path / "m", {"why": "test"})
    loaded = AudioLM.from_pretrained(tmp_path / "m")
    described = loaded.describe()
    assert described["digest"] == model.describe()["digest"]
    assert described["parameters"] == sum(part["parameters"] for part in described["parts"].values()) > 0
    json.dumps(described)
    again = AudioLM.from_pretrained(tmp_path / "m")
    clip = noise(3_000, 3)
    np.testing.assert_array_equal(loaded.resynthesise([clip])[0], again.resynthesise([clip])[0])


def test_an_exchanged_part_is_refused_by_name(tmp_path: Path) -> None:
    tiny_model().save_pretrained(tmp_path)
    weights = tmp_path / "stage_fine" / "model.safetensors"
    weights.write_bytes((tmp_path / "stage_coarse" / "model.safetensors").read_bytes())
    with pytest.raises(CheckpointError, match=r"stage_fine.*SHA-256"):
        AudioLM.from_pretrained(tmp_path)


def test_parts_that_were_not_trained_together_are_refused() -> None:
    parts = tiny_model().parts
    stack = parts.tokenizer.config.model  # type: ignore[attr-defined]
    other = W2vBertTokenizer.untrained(TokenizerConfig(model=stack, tap_layer=1, n_tokens=N_SEMANTIC + 1))
    with pytest.raises(CheckpointError, match="made for 12 semantic tokens, the tokenizer has 13"):
        AudioLM(parts._replace(tokenizer=other))
    with pytest.raises(CheckpointError, match="give the coarse stage"):
        AudioLM(parts._replace(coarse=parts.fine))


def test_a_missing_model_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such model folder"):
        AudioLM.from_pretrained(tmp_path / "nothing")


def test_other_decoders_travel_with_the_model(tmp_path: Path) -> None:
    model = tiny_model()
    model.save_pretrained(tmp_path / "both")
    loaded = AudioLM.from_pretrained(tmp_path / "both")
    assert loaded.decoders == ("autoregressive", "parallel", "delayed")
    assert {"stage_parallel", "stage_delayed"} <= set(loaded.digests)
    once = AudioLM(model.parts._replace(parallel=None, delayed=None))
    once.save_pretrained(tmp_path / "one")
    assert AudioLM.from_pretrained(tmp_path / "one").decoders == ("autoregressive",)
    assert not (tmp_path / "one" / "stage_parallel").exists()


def test_another_models_decoder_is_refused() -> None:
    parts = tiny_model().parts
    assert parts.parallel is not None and parts.delayed is not None
    slow = DelayedStage(replace(parts.delayed.config, n_levels=4))
    with pytest.raises(CheckpointError, match="stage delayed: models 4 levels, the other stages 5"):
        AudioLM(parts._replace(delayed=slow))
    few = ParallelStage(replace(parts.parallel.config, n_levels=4))
    with pytest.raises(CheckpointError, match="models 4 levels, the other stages 5"):
        AudioLM(parts._replace(parallel=few))
    other = ParallelStage(replace(parts.parallel.config, n_semantic=3))
    with pytest.raises(CheckpointError, match="stage parallel: made for 3 semantic tokens"):
        AudioLM(parts._replace(parallel=other))


def test_the_card_states_parts_digests_and_counts(tmp_path: Path) -> None:
    model = tiny_model()
    model.save_pretrained(tmp_path / "m", {"data": "noise"})
    card = (tmp_path / "m" / "README.md").read_text(encoding="utf-8")
    for name in FOLDERS:
        weights = (tmp_path / "m" / name / "model.safetensors").read_bytes()
        assert hashlib.sha256(weights).hexdigest() in card
    assert model.parts.fine is not None
    fine = sum(weight.numel() for weight in model.parts.fine.parameters())
    assert f"| {fine:,} |" in card and '"data": "noise"' in card and model.describe()["digest"] in card


def test_a_changed_weight_gives_another_digest(tmp_path: Path) -> None:
    model = tiny_model()
    model.save_pretrained(tmp_path / "a")
    before = model.describe()["digest"]
    with torch.no_grad():
        model.parts.coarse.head[0, 0] += 1.0
    model.save_pretrained(tmp_path / "b")
    assert model.describe()["digest"] != before and model.name == "b"


def test_a_bundle_as_semantic_back_end_round_trips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def network() -> torch.nn.Module:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            layers = [(8, 10, 5), (8, 3, 2), (8, 3, 2), (8, 3, 2), (8, 3, 2), (8, 2, 2), (8, 2, 2)]
            return torchaudio.models.wav2vec2_model(
                "group_norm", layers, False, 16, 0.0, 8, 2, 2, 2, 0.0, 24, 0.0, 0.0, False, 0.0, None
            ).eval()

    monkeypatch.setattr(torchaudio.pipelines, "HUBERT_BASE", types.SimpleNamespace(get_model=network))
    config = bundles.BundleTokenizerConfig(layer=2, n_tokens=N_SEMANTIC)
    speech = [noise(12_000, 1)]
    parts = tiny_model().parts._replace(tokenizer=bundles.BundleTokenizer.fit(config, network(), speech, seed=0))
    model = AudioLM(parts)
    model.save_pretrained(tmp_path)
    loaded = AudioLM.from_pretrained(tmp_path)
    wave = torch.from_numpy(noise(9_000, 2))[None]
    agreement = (loaded.parts.tokenizer.encode(wave) == model.parts.tokenizer.encode(wave)).float().mean()
    assert agreement > 0.8  # centroids are stored as float16
    assert loaded.acoustic_generation(speech, [1])[0].shape == (12_000,)


def test_a_codec_of_another_rate_is_refused() -> None:
    parts = tiny_model().parts
    codec = SoundStream(replace(parts.codec.config, sample_rate_hz=24_000))  # type: ignore[attr-defined]
    with pytest.raises(CheckpointError, match="320 samples at 24000 Hz; the stages need 320 at 16000"):
        AudioLM(parts._replace(codec=codec))


def test_our_codec_is_an_acoustic_tokenizer() -> None:
    codec = tiny_model().parts.codec
    assert isinstance(codec, AcousticTokenizer)
    assert codec.frame_rate_hz == codec.sample_rate_hz / codec.hop
    codes = codec.encode(torch.from_numpy(noise(1_000, 1))[None], 2)
    assert codes.shape == (1, 2, 4) and codec.decode(codes).shape == (1, 1_280)


@pytest.mark.parametrize(
    ("source", "is_id"),
    [
        ("owner/name", True),
        ("owner/name@v1.0", True),
        ("nano2", False),
        ("../x", False),
        ("a/b/c", False),
        ("/a", False),
    ],
)
def test_hub_ids_are_told_from_paths(source: str, is_id: bool) -> None:
    assert hub.is_hub_id(source) == is_id


def fake_hub(monkeypatch: pytest.MonkeyPatch, fetch: object) -> None:
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetch)


def test_a_hub_id_fetches_weights_and_settings_only_at_its_revision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_model().save_pretrained(tmp_path)
    asked: list[tuple[str, str | None, list[str]]] = []

    def fetch(name: str, *, revision: str | None, allow_patterns: list[str]) -> str:
        asked.append((name, revision, allow_patterns))
        return str(tmp_path)

    fake_hub(monkeypatch, fetch)
    assert AudioLM.from_pretrained("someone/speech").name == "someone/speech"
    AudioLM.from_pretrained("someone/speech@abc123")
    AudioLM.from_pretrained("someone/speech", revision="v2")
    assert [entry[:2] for entry in asked] == [
        ("someone/speech", None),
        ("someone/speech", "abc123"),
        ("someone/speech", "v2"),
    ]
    assert asked[0][2] == ["*.json", "*.safetensors"]
    with pytest.raises(CheckpointError, match="names revision 'a' but 'b' was asked for"):
        AudioLM.from_pretrained("someone/speech@a", revision="b")


def test_a_hub_that_cannot_be_reached_is_one_clear_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub.errors import LocalEntryNotFoundError

    def fetch(*_: object, **__: object) -> str:
        raise LocalEntryNotFoundError("cannot find the files in the local cache, and no connection\nlong story")

    fake_hub(monkeypatch, fetch)
    with pytest.raises(
        CheckpointError, match=r"owner/name: no such folder, and the hub gave no model \(cannot find"
    ) as e:
        AudioLM.from_pretrained("owner/name")
    assert "\n" not in str(e.value)


def test_without_the_extra_a_hub_id_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(CheckpointError, match=r"audiolm-audit\[hub\]"):
        AudioLM.from_pretrained("owner/name")


def test_a_folder_named_like_a_hub_id_is_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_model().save_pretrained(tmp_path / "owner" / "name")
    monkeypatch.chdir(tmp_path)
    assert AudioLM.from_pretrained("owner/name").name == "name"


def test_devices_and_precisions_that_are_not_there_are_refused(tmp_path: Path) -> None:
    tiny_model().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="device is 'tpu'"):
        AudioLM.from_pretrained(tmp_path, device="tpu")
    with pytest.raises(ValueError, match="precision is 'int4'"):
        AudioLM.from_pretrained(tmp_path, precision="int4")  # type: ignore[arg-type]


@pytest.mark.skipif("int8" not in usable_precisions(), reason="this processor has no int8 arithmetic")
def test_a_model_held_in_int8_speaks_and_is_not_saved(tmp_path: Path) -> None:
    tiny_model().save_pretrained(tmp_path / "m")
    model = AudioLM.from_pretrained(tmp_path / "m", precision="int8")
    assert model.describe()["precision"] == "int8"
    made = model.continuation([noise(9_000, 1)], 0.5, [1])[0]
    assert made.shape == (8_000,) and np.isfinite(made).all()
    with pytest.raises(ValueError, match="int8"):
        model.save_pretrained(tmp_path / "again")
