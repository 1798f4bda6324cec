"""Marks of generated clips: read as they are, and after what happens to files."""

from __future__ import annotations

from pathlib import Path

import pytest
from report_run_folder import TinyRun

from audiolm.audio import AudioClip, write_audio
from reports.artefacts import open_run
from reports.audio_players import ClipDesk
from reports.context import GENERATED_ROLES, Context
from reports.marking import HANDLING, surviving_shares, tagged_share
from reports.policy import load_policy


@pytest.fixture
def context(tmp_path: Path) -> Context:
    """Every generated clip is marked but those of the first speaker's first utterance."""
    folder = TinyRun(tmp_path / "run", speakers=3, per_speaker=2).write()
    run = open_run(folder)
    rows = run.generations.to_dict("records")
    made = [row for row in rows if row["role"] in GENERATED_ROLES and row["status"] == "ok"]
    bare = min(row["utterance_id"] for row in made)
    for row in made:
        tag = {} if row["utterance_id"] == bare else {"system": row["system"], "role": row["role"], "seed": 7}
        path = folder / str(row["audio_path"])
        write_audio(path, AudioClip.from_file(path), tag)
    return Context(run=run, policy=load_policy(None), desk=ClipDesk(run))


def test_clips_without_a_mark_are_counted_and_named(context: Context) -> None:
    share, bare = tagged_share(context)
    assert share is not None and share.estimate == pytest.approx(5 / 6) and share.n_speakers == 3
    assert bare and len({item.split("/")[-1] for item in bare}) >= 1
    assert len(bare) * 6 == share.n_items


def test_a_mark_survives_copying_and_nothing_that_carries_only_the_sound(context: Context) -> None:
    survived = surviving_shares(context)
    assert {name: share.estimate for name, share in survived.items() if share} == {
        name: float(name == "copied") for name in HANDLING
    }
    tagged, bare = tagged_share(context)
    copied = survived["copied"]
    assert tagged is not None and copied is not None and copied.n_items == tagged.n_items - len(bare)


def test_without_clips_nothing_is_said(tmp_path: Path) -> None:
    run = open_run(TinyRun(tmp_path / "run", speakers=2, per_speaker=1).write(audio=False))
    context = Context(run=run, policy=load_policy(None), desk=ClipDesk(run))
    assert tagged_share(context) == (None, []) and surviving_shares(context)["copied"] is None
