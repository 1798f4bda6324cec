"""An outside system's files as continuations of prompts: found by id, judged as they are, beside ceiling and floor."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from audiolm.audio import AudioClip, write_audio
from evaluation.audit import run_generation
from evaluation.cli import main
from evaluation.config import RunConfig
from evaluation.oracles._sounds import voice
from evaluation.outside_files import FILES, JOINED
from evaluation.records import GenerationRecord

PROMPT_S = 1.5


def _write(path: Path, samples: np.ndarray, rate_hz: int = 16_000) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_audio(path, AudioClip.from_array(samples, rate_hz))


def _sound(seed: int, seconds: float) -> np.ndarray:
    hiss = 0.01 * np.random.default_rng(seed).normal(size=int(seconds * 16_000))
    return (0.5 * voice(seconds=seconds)[: len(hiss)] + hiss).astype(np.float32)


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    """Three recordings of two speakers, and a system that made something of the first two."""
    folder = tmp_path / "prompts"
    lines = ["utterance_id,audio_path,speaker_id"]
    for number, speaker in enumerate(("a", "b", "a")):
        _write(folder / f"u{number}.wav", _sound(number, 4.0))
        lines.append(f"u{number},u{number}.wav,{speaker}")
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def _run(prompts: Path, system: Path, out: Path, name: str = FILES) -> dict[str, GenerationRecord]:
    config = RunConfig(prompts=str(prompts), system=name, checkpoint=str(system), prompt_s=PROMPT_S)
    return {record.item_id: record for record in run_generation(config, out)}


def test_a_file_is_the_continuation_of_the_prompt_it_is_named_after(prompts: Path, tmp_path: Path) -> None:
    _write(tmp_path / "vox" / "u0.wav", _sound(10, 2.0), 24_000)
    _write(tmp_path / "vox" / "u1.flac", _sound(11, 2.0))
    found = _run(prompts, tmp_path / "vox", tmp_path / "run")
    assert {record.role for record in found.values()} == {"reference", "continuation", "shuffled"}
    first = found["vox:continuation:u0"]
    assert (first.status, first.sample_rate_hz, first.wall_s, first.prompt_s) == ("ok", 24_000, 0.0, PROMPT_S)
    assert first.duration_s == pytest.approx(2.0 * 16 / 24)
    assert found["vox:shuffled:u0"].content_sha256 == found["vox:continuation:u1"].content_sha256
    lost = found["vox:continuation:u2"]
    assert lost.status == "failed" and "u2.wav" in lost.reason


def test_files_that_start_with_their_prompt_are_cut_where_that_is_said_and_refused_where_not(
    prompts: Path, tmp_path: Path
) -> None:
    for number in range(3):
        whole = AudioClip.from_file(prompts / f"u{number}.wav").samples
        _write(tmp_path / "vox" / f"u{number}.wav", 0.5 * whole[: 16_000 if number == 2 else len(whole)])
    told = _run(prompts, tmp_path / "vox", tmp_path / "told", JOINED)
    assert told["vox:continuation:u0"].duration_s == pytest.approx(4.0 - PROMPT_S)
    assert "no more than its prompt" in told["vox:continuation:u2"].reason
    untold = _run(prompts, tmp_path / "vox", tmp_path / "untold")
    assert "--joined" in untold["vox:continuation:u0"].reason


def test_folders_by_role_and_other_files_in_the_folder(prompts: Path, tmp_path: Path) -> None:
    _write(tmp_path / "vox" / "codec" / "u0.wav", _sound(10, 4.0))
    _write(tmp_path / "vox" / "continuation" / "u0.wav", _sound(11, 2.0))
    found = _run(prompts, tmp_path / "vox", tmp_path / "run")
    assert {record.role for record in found.values()} == {"reference", "codec", "continuation", "shuffled"}


def test_a_folder_of_other_names_is_refused_before_anything_is_made(prompts: Path, tmp_path: Path) -> None:
    _write(tmp_path / "vox" / "clip7.wav", _sound(10, 2.0))
    with pytest.raises(ValueError, match=r"by utterance id, for instance u0\.wav"):
        _run(prompts, tmp_path / "vox", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_id_that_leads_out_of_the_folder_finds_nothing(tmp_path: Path) -> None:
    _write(tmp_path / "secret.wav", _sound(1, 1.0))
    (tmp_path / "vox").mkdir()
    from evaluation.outside_files import OutsideFiles

    system = OutsideFiles(tmp_path / "vox", joined=False)
    assert system.find("continuation", "../secret") is None
    assert system.find("continuation", "x" * 5000) is None
    assert system.find("continuation", "a\0b") is None


def test_joined_needs_both_names(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["audit", "--joined", "--system", str(tmp_path), "--out", str(tmp_path / "x")]) == 2
    assert "name both" in capsys.readouterr().err
