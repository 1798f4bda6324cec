"""The doctor: every plug-in is listed with a known state, and a broken one is reported instead of raising."""

from __future__ import annotations

import pytest

from evaluation.discovery import discover_metrics
from evaluation.doctor import STATES, diagnose


def test_every_scorer_and_back_end_is_listed_once() -> None:
    lines = diagnose()
    names = [line["name"] for line in lines]
    assert len(names) == len(set(names))
    assert set(discover_metrics()) <= set(names)
    assert {"recogniser pocketsphinx", "speaker encoder ge2e", "speaker encoder ecapa"} <= set(names)
    for line in lines:
        assert set(line) == {"name", "state", "sentence", "extra"}
        assert line["state"] in STATES
        assert line["sentence"]


def test_embedded_back_ends_are_ready() -> None:
    states = {line["name"]: line["state"] for line in diagnose()}
    for name in ("word_error", "speaker_similarity", "acoustic_consistency", "signal_quality", "pitch"):
        assert states[name] == "ready", name


def test_a_wrong_choice_is_a_line_and_not_a_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUDIOLM_ASR", "kaldi")
    monkeypatch.setenv("AUDIOLM_SPEAKER", "nobody")
    lines = {line["name"]: line for line in diagnose()}
    assert lines["word_error"]["state"] == "missing"
    assert "kaldi" in lines["word_error"]["sentence"]
    assert "nobody" in lines["speaker_similarity"]["sentence"]
