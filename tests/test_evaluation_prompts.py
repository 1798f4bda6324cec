"""The shipped prompts: complete, small, long enough to be prompt and continuation, and labelled for what they are."""

from __future__ import annotations

import csv
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from audiolm.audio import AudioClip, read_provenance
from evaluation.manifest import prompts_origin, read_utterances
from evaluation.prompts_source import embedded_manifest
from evaluation.records import Utterance

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pyright: ignore[reportMissingImports]

PLAN = Path(__file__).resolve().parents[1] / "recipes" / "prompts" / "plan.toml"
SHORTEST_S = 4.5
LARGEST_BYTES = 2_000_000


@pytest.fixture(scope="module")
def utterances() -> list[Utterance]:
    return read_utterances(embedded_manifest())


def test_every_row_is_usable_and_synthetic(utterances: list[Utterance]) -> None:
    assert len(utterances) == 16
    assert [utterance.problem for utterance in utterances if utterance.problem] == []
    assert prompts_origin(utterances) == "synthetic"
    assert all(utterance.licence and utterance.groups.keys() >= {"gender", "accent"} for utterance in utterances)


def test_speakers_can_be_resampled_and_shuffled(utterances: list[Utterance]) -> None:
    clips = Counter(utterance.speaker_id for utterance in utterances)
    assert len(clips) >= 6
    assert min(clips.values()) >= 2


def test_audio_is_what_the_manifest_says(utterances: list[Utterance]) -> None:
    for utterance in utterances:
        clip = AudioClip.from_file(utterance.audio_path)
        assert clip.sample_rate_hz == 16_000
        assert clip.duration_s >= SHORTEST_S
        assert utterance.duration_s == pytest.approx(clip.duration_s, abs=1e-3)
        assert float(np.abs(clip.samples).max()) == pytest.approx(0.5, abs=1e-3)
        assert read_provenance(utterance.audio_path)["origin"] == "synthetic"


def test_folder_is_small_and_holds_nothing_else(utterances: list[Utterance]) -> None:
    folder = embedded_manifest().parent
    files = {path.name: path.stat().st_size for path in folder.iterdir() if path.is_file()}
    assert sum(files.values()) < LARGEST_BYTES
    named = {utterance.audio_path.name for utterance in utterances}
    assert set(files) == named | {"manifest.csv", "README.md", "VERSIONS.txt"}


@pytest.mark.skipif(not PLAN.is_file(), reason="runs in a checkout only")
def test_manifest_follows_the_plan() -> None:
    plan = tomllib.loads(PLAN.read_text(encoding="utf-8"))
    planned = [(voice["speaker_id"], sentence) for voice in plan["voices"] for sentence in voice["sentences"]]
    with embedded_manifest().open(encoding="utf-8", newline="") as stream:
        written = [(row["speaker_id"], row["transcript"]) for row in csv.DictReader(stream)]
    assert written == planned
    assert all(10 <= len(sentence.split()) <= 20 for _, sentence in planned)
    assert len({sentence for _, sentence in planned}) == len(planned)
