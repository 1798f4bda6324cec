"""ViSQOL: what counts as ready, what is undefined, and the package itself where it is installed."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from audiolm.audio import AudioClip
from evaluation.metrics import ScoreInput, Skipped
from evaluation.metrics import visqol_quality as module
from evaluation.metrics.visqol_quality import METRIC, visqol_speech
from evaluation.oracles._sounds import voice
from evaluation.selftest import run_oracles


class Judge:
    """Answers as the package does."""

    def __init__(self, moslqo: float = 3.0, error: Exception | None = None) -> None:
        self.moslqo, self.error, self.lengths = moslqo, error, []

    def measure_from_arrays(self, recording, copy, sample_rate):
        self.lengths.append((len(recording), len(copy), recording.dtype, sample_rate))
        if self.error:
            raise self.error
        return SimpleNamespace(moslqo=self.moslqo, vnsim=0.5)


def scored(monkeypatch, judge: Judge, recording: np.ndarray, copy: np.ndarray):
    monkeypatch.setattr(module, "new_judge", lambda: judge)
    clips = [AudioClip.from_array(samples.astype(np.float32), 16_000) for samples in (copy, recording)]
    item = ScoreInput(item_id="i", role="codec", clip=clips[0], recording=clips[1])
    return METRIC.load("cpu")([item])[0]


def test_both_sides_are_cut_to_one_length(monkeypatch) -> None:
    judge = Judge(3.5)
    assert scored(monkeypatch, judge, voice(), voice()[:-300]) == {"visqol_speech": 3.5, "vnsim": 0.5}
    assert judge.lengths == [(47_700, 47_700, np.float64, 16_000)]


def test_what_is_undefined_has_a_reason_and_no_number(monkeypatch) -> None:
    silent = scored(monkeypatch, Judge(), voice(), 0.0 * voice())
    assert isinstance(silent, Skipped) and "silent" in silent.reason
    other = scored(monkeypatch, Judge(), voice(), voice(seconds=2.0))
    assert isinstance(other, Skipped) and "1.00 s" in other.reason
    refused = visqol_speech(Judge(error=ValueError("no patch")), voice(), voice())
    assert isinstance(refused, Skipped) and "no patch" in refused.reason
    assert isinstance(visqol_speech(Judge(float("nan")), voice(), voice()), Skipped)


def test_without_the_lattice_network_there_is_no_score(monkeypatch) -> None:
    for absent in ("visqol", "ai_edge_litert"):
        monkeypatch.setattr(module, "find_spec", lambda name, absent=absent: None if name == absent else object())
        state, sentence = METRIC.status()
        assert state == "missing" and "audiolm-audit[visqol]" in sentence


def test_its_oracles_tell_the_lattice_from_the_polynomial() -> None:
    pytest.importorskip("visqol")
    pytest.importorskip("ai_edge_litert")
    rows = run_oracles(["visqol"])
    assert len(rows) == 2 and all(row["met"] for row in rows)
    speech = voice(noise=0.01)
    same = visqol_speech(module.new_judge(), speech, speech)
    assert isinstance(same, dict) and same["vnsim"] == pytest.approx(1.0, abs=1e-6)
