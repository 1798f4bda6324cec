"""The second family of recognisers: real loading and decoding, with a small random network in place of the weights."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
import torchaudio

from audiolm.audio import AudioClip
from evaluation.asr import find_recogniser, transcribe
from evaluation.asr.wav2vec2 import greedy_text

LABELS = ("-", "|", "a", "b", "c")
PARAMS: dict[str, Any] = {
    "extractor_mode": "group_norm", "extractor_conv_layer_config": [(8, 10, 5), (8, 8, 8), (8, 8, 8)],
    "extractor_conv_bias": False, "encoder_embed_dim": 16, "encoder_projection_dropout": 0.1,
    "encoder_pos_conv_kernel": 8, "encoder_pos_conv_groups": 2, "encoder_num_layers": 1, "encoder_num_heads": 2,
    "encoder_attention_dropout": 0.1, "encoder_ff_interm_features": 16, "encoder_ff_interm_dropout": 0.1,
    "encoder_dropout": 0.1, "encoder_layer_norm_first": False, "encoder_layer_drop": 0.1,
}  # fmt: skip


@dataclass
class SmallBundle:
    """What torchaudio's bundle gives, with a network of a few thousand weights."""

    _normalize_waveform: bool
    _path: str = "tiny.pth"
    _remove_aux_axis: tuple[int, ...] = (1, 2, 3)
    _params: dict[str, Any] = field(default_factory=lambda: PARAMS | {"aux_num_out": len(LABELS)})

    def get_labels(self) -> tuple[str, ...]:
        return LABELS


@pytest.fixture(params=[False, True], ids=["as it is", "normalised"])
def bundle(request, monkeypatch, tmp_path) -> SmallBundle:
    """A bundle under a real name, its weights saved as fairseq's: with three letters more."""
    bundle = SmallBundle(request.param)
    torch.manual_seed(3)
    weights = torchaudio.models.wav2vec2_model(**bundle._params).state_dict()
    for key in ("aux.weight", "aux.bias"):
        rows = weights[key]
        weights[key] = torch.cat([rows[:1], torch.full_like(rows[:3], 50.0), rows[1:]])
    torch.save(weights, tmp_path / "tiny.pth")
    monkeypatch.setattr(torchaudio.pipelines, "WAV2VEC2_ASR_BASE_960H", bundle)
    monkeypatch.setenv("AUDIOLM_WAV2VEC2_DIR", str(tmp_path))
    return bundle


def sounds() -> list[AudioClip]:
    generator = np.random.default_rng(0)
    return [AudioClip.from_array(0.1 * generator.standard_normal(n).astype(np.float32), 16_000) for n in (90, 9000)]


def test_greedy_decoding_merges_repetitions_and_drops_blanks() -> None:
    frames = [2, 2, 0, 2, 1, 1, 3, 0, 0, 4, 4]
    assert greedy_text(np.eye(5)[frames], LABELS) == "aa bc"
    assert greedy_text(np.eye(5)[[0, 0, 1, 0]], LABELS) == ""


def test_texts_are_those_of_the_network_and_depend_on_no_neighbour(bundle) -> None:
    recogniser = find_recogniser("wav2vec2:base-960h")
    assert recogniser.status()[0] == "ready"
    short, longer = sounds()
    together = transcribe([short, longer], recogniser="wav2vec2:base-960h")
    assert together == [transcribe([clip], recogniser="wav2vec2:base-960h")[0] for clip in (short, longer)]
    torch.manual_seed(3)
    model = torchaudio.models.wav2vec2_model(**bundle._params).eval()
    waveform = torch.from_numpy(longer.samples)[None]
    if bundle._normalize_waveform:
        waveform = (waveform - waveform.mean()) / (waveform.var(correction=0) + 1e-5).sqrt()
    with torch.inference_mode():
        best = model(waveform)[0][0].argmax(dim=1)
    letters = torch.unique_consecutive(best).tolist()
    said = "".join(LABELS[letter] for letter in letters if letter).replace("|", " ").split()
    assert together[1] == " ".join(said)
    assert together[1]


def test_weights_decide_the_fingerprint(bundle, tmp_path) -> None:
    before = find_recogniser("wav2vec2:base-960h").fingerprint()
    assert "WAV2VEC2_ASR_BASE_960H" in before["asr"] and len(before["asr_model_sha256"]) == 64
    (tmp_path / "tiny.pth").write_bytes(b"other")
    assert find_recogniser("wav2vec2:base-960h").fingerprint() != before


def test_missing_or_other_weights_are_said(bundle, tmp_path) -> None:
    torch.save({"aux.weight": torch.zeros(5, 5), "aux.bias": torch.zeros(5)}, tmp_path / "tiny.pth")
    with pytest.raises(ValueError, match=r"tiny\.pth: is not WAV2VEC2_ASR_BASE_960H"):
        find_recogniser("wav2vec2:base-960h").load("cpu")
    (tmp_path / "tiny.pth").unlink()
    assert "AUDIOLM_WAV2VEC2_DIR" in find_recogniser("wav2vec2:base-960h").status()[1]
    with pytest.raises(ValueError, match="no weights at"):
        find_recogniser("wav2vec2:base-960h").load("cpu")
    with pytest.raises(ValueError, match="no bundle 'huge'"):
        find_recogniser("wav2vec2:huge")
    with pytest.raises(ValueError, match="no recogniser 'wav2vec2'"):
        find_recogniser("wav2vec2")
