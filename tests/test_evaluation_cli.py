"""The console command: exit codes, one sentence for bad input, JSON lines of ``detect``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from evaluation_fakes import RATE_HZ, FakeEntry, FakeSystem, LevelMetric, tone, write_prompts

import detectors
import evaluation.audit
from audiolm.audio import AudioClip, write_audio
from detectors import Verdict
from evaluation.cli import VERBS, main
from evaluation.scorers import ScorerState

ROOT = Path(__file__).resolve().parents[1]
OUR_VERBS = [verb for verb in VERBS if verb != "train"]


@dataclass
class LoudDetector:
    """Loud is bona fide; no opinion below a second; counts the longest block it was given."""

    name: str = "loud"
    sample_rate_hz: int = RATE_HZ
    threshold_llr: float = 0.0
    longest_block: int = 0

    def judge(self, samples: np.ndarray, sample_rate_hz: int) -> Verdict:
        return self.judge_blocks([samples], sample_rate_hz)

    def judge_blocks(self, blocks, sample_rate_hz: int) -> Verdict:
        total, energy = 0, 0.0
        for block in blocks:
            self.longest_block = max(self.longest_block, len(block))
            total += len(block)
            energy += float(np.square(block, dtype=np.float64).sum())
        if total < sample_rate_hz:
            return Verdict(llr=None, reason="under 1 s")
        llr = float(np.sqrt(energy / total) - 0.1)
        return Verdict(llr=llr, timeline=((0.0, total / sample_rate_hz, llr),))

    def load(self, path: str | None = None, device: str = "cpu") -> LoudDetector:
        return self


@pytest.fixture
def detector(monkeypatch: pytest.MonkeyPatch) -> LoudDetector:
    loud = LoudDetector()
    monkeypatch.setattr(detectors, "discover", lambda: {detectors.DEFAULT_DETECTOR: loud})
    return loud


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    states = [ScorerState(metric=LevelMetric(), status="ready", sentence="")]
    monkeypatch.setattr(evaluation.audit, "discover_generators", lambda: {"audiolm": FakeEntry(FakeSystem())})
    monkeypatch.setattr(evaluation.audit, "select_scorers", lambda names, device="cpu": states)


@pytest.mark.parametrize("verb", OUR_VERBS)
def test_help_has_an_example(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([verb, "--help"]) == 0
    assert f"example:\n  audiolm-audit {verb}" in capsys.readouterr().out


def test_overview_and_unknown_verbs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0 and main([]) == 2
    shown = capsys.readouterr().out
    assert all(verb in shown for verb in VERBS)
    assert main(["audti"]) == 2
    assert "did you mean 'audit'" in capsys.readouterr().err
    assert main(["--version"]) == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["audit", "--prompts", "{t}/nowhere", "--out", "{t}/run"], "no such file or folder"),
        (["audit", "--joined", "--system", "{t}", "--out", "{t}/run"], "name both"),
        (["audit", "--prompts", "{p}", "--out", "{t}/taken"], "not empty"),
        (["audit", "--prompts", "{p}", "--split", "dev", "--out", "{t}/run"], "no utterance of split 'dev'"),
        (["audit", "--prompts", "{p}", "--limit", "0", "--out", "{t}/run"], "limit is 0"),
        (["audit", "--prompts", "{p}", "--scorers", "word_eror", "--out", "{t}/run"], "did you mean 'word_error'"),
        (["generate", "--prompts", "{p}", "--checkpoint", "{t}/none", "--out", "{t}/run"], "{t}/none"),
        (["audit", "--out"], "expected one argument"),
        (["score", "{t}"], "holds no run.json"),
        (["report", "{t}"], "holds no run.json"),
        (["data", "{t}/nowhere"], "no such file or folder"),
        (["detect", "{t}/empty"], "holds no audio file"),
        (["detect", "{p}", "--detector", "mel_cn"], "did you mean 'mel_cnn'"),
    ],
)
def test_bad_input_is_exit_2_and_one_sentence(
    arguments: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = write_prompts(tmp_path / "prompts", speakers=2, each=1, seconds=1.0)
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").write_text("x")
    (tmp_path / "empty").mkdir()
    names = {"t": str(tmp_path), "p": str(manifest)}
    assert main([argument.format(**names) for argument in arguments]) == 2
    error = capsys.readouterr().err
    assert words.format(**names) in error and "Traceback" not in error
    assert not (tmp_path / "run").exists()


def test_audit_exits_1_only_when_a_finding_reaches_the_gate(
    fakes: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = write_prompts(tmp_path / "prompts")
    assert (
        main(
            [
                "audit",
                "--prompts",
                str(manifest),
                "--limit",
                "2",
                "--workers",
                "1",
                "--out",
                str(tmp_path / "a"),
                "--json",
            ]
        )
        == 0
    )
    result = json.loads(capsys.readouterr().out)
    assert Path(result["report"]).is_file() and result["gate_hit"] is False
    at_gate = ["--gate", result["worst_severity"]]
    assert main(["report", str(tmp_path / "a"), *at_gate]) == 1
    assert main(["report", str(tmp_path / "a")]) == 0


def test_generate_twice_gives_the_same_bytes(fakes: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = write_prompts(tmp_path / "prompts")
    options = ["--prompts", str(manifest), "--limit", "3", "--seconds", "1", "--seed", "7"]
    for name in ("a", "b"):
        assert main(["generate", *options, "--out", str(tmp_path / name)]) == 0
    files = {
        name: {
            path.relative_to(tmp_path / name): path.read_bytes() for path in (tmp_path / name / "audio").rglob("*.wav")
        }
        for name in ("a", "b")
    }
    assert files["a"] == files["b"] and len(files["a"]) == 12
    assert "continuation: 3 ok" in capsys.readouterr().out


def test_data_lists_what_cannot_be_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = write_prompts(tmp_path)
    (tmp_path / "s0-0.wav").unlink()
    (tmp_path / "s1-0.wav").write_text("no audio")
    assert main(["data", str(manifest), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["utterances"], facts["usable"], facts["speakers"]) == (12, 10, 4)
    assert facts["hours"] == pytest.approx(50 / 3600, abs=1e-3) and facts["groups"] == {"gender": {"F": 5, "M": 5}}
    assert len(facts["problems"]) == 2 and "row 2" in facts["problems"][0] and "s1-0.wav" in facts["problems"][1]


def test_detect_prints_one_object_per_file(
    detector: LoudDetector, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "clips"
    folder.mkdir()
    sf.write(folder / "a-loud.wav", tone(2.0, 200, 0.5), RATE_HZ)
    sf.write(folder / "b-quiet.wav", tone(2.0, 200, 0.01), RATE_HZ)
    sf.write(folder / "c-short.wav", tone(0.2, 200), RATE_HZ)
    (folder / "d-text.wav").write_text("no audio")
    sf.write(folder / "e-nan.wav", np.full(RATE_HZ * 2, np.nan), RATE_HZ, subtype="FLOAT")
    (folder / "ignored.txt").write_text("not looked at")
    tagged = AudioClip.from_array(tone(2.0, 200, 0.5), RATE_HZ)
    write_audio(folder / "f-tagged.wav", tagged, {"role": "continuation", "seed": 3})
    assert main(["detect", str(folder), str(tmp_path / "gone.wav"), "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [Path(line["path"]).name[0] for line in lines] == list("abcdefg")
    verdicts = [line["verdict"] for line in lines]
    assert verdicts == ["bona fide", "synthetic", *["no opinion"] * 3, "bona fide", "no opinion"]
    for line in lines:
        assert {"path", "llr", "verdict", "reason", "detector"} <= set(line)
        assert (line["llr"] is None) == (line["verdict"] == "no opinion") == bool(line["reason"])
    assert lines[5]["provenance"] == {"role": "continuation", "seed": 3} and "provenance" not in lines[0]
    assert "no such file" in lines[6]["reason"]


def test_detect_of_nothing_but_missing_files_is_exit_2(
    detector: LoudDetector, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["detect", str(tmp_path / "gone.wav"), "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["verdict"] == "no opinion"


def test_detect_reads_long_files_in_blocks(
    detector: LoudDetector, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sf.write(tmp_path / "long.wav", np.tile(tone(60.0, 200), 5), RATE_HZ)
    assert main(["detect", str(tmp_path / "long.wav"), "--json", "--timeline"]) == 0
    line = json.loads(capsys.readouterr().out)
    assert line["timeline"][0][1] == 300.0 and detector.longest_block == 30 * RATE_HZ


def test_the_wait_policy_is_set_before_any_numerical_library_is_loaded() -> None:
    code = (
        "import os, sys; os.environ.pop('OMP_WAIT_POLICY', None); from evaluation.cli import main; main(['--help']);"
        "assert os.environ['OMP_WAIT_POLICY'] == 'passive'; assert not {'torch', 'numpy'} & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False, env=dict(os.environ)
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("verb", "told"), [("audit", "with --resume goes on"), ("table", "can be run again")])
def test_who_interrupts_is_told_how_to_go_on(
    verb: str, told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped(*_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("evaluation.cli._called", stopped)
    assert main([verb]) == 130
    assert told in capsys.readouterr().err
