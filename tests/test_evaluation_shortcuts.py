"""Shortcut audit of files and runs, leave-one-out folds: what is there is found, what is not is not."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from audiolm.audio import AudioClip, write_audio
from detectors.labelled import BONA_FIDE, LabelledClip, save_clips
from evaluation.cli import main
from evaluation.leave_out import codec_matrix, generator_matrix, read_clip_cache
from evaluation.shortcut_audit import audit_files

RATE_HZ = 16_000


def hum(seed: int, seconds: float = 1.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    gate = np.repeat(rng.random(int(seconds * 10)) < 0.6, RATE_HZ // 10)
    return (0.1 * rng.standard_normal(gate.size) * gate + 1e-4 * rng.standard_normal(gate.size)).astype(np.float32)


def folder(path: Path, *, synthetic_rate_hz: int = RATE_HZ) -> Path:
    lines = []
    for number in range(12):
        is_bona = number % 2 == 0
        write_audio(
            path / f"c{number}.wav", AudioClip.from_array(hum(number), RATE_HZ if is_bona else synthetic_rate_hz)
        )
        lines.append(f"s{number % 4} c{number} - {'-' if is_bona else 'A1'} {'bonafide' if is_bona else 'spoof'}")
    (path / "p.txt").write_text("\n".join(lines))
    return path / "p.txt"


def test_the_rate_of_the_files_is_found_and_called_unfair(tmp_path, capsys):
    protocol = folder(tmp_path, synthetic_rate_hz=22_050)
    arguments = ["detect-shortcuts", "--protocol", str(protocol), "--audio", str(tmp_path)]
    assert main([*arguments, "--json", "--figure", str(tmp_path / "f.svg")]) == 0
    found = json.loads(capsys.readouterr().out)
    rows = {row["probe"]: row for row in found["probes"]}
    assert not found["fair"] and rows["rate_hz"]["auc"] == 1.0 and rows["rate_hz"]["unfair"]
    assert rows["rate_hz"]["higher_means"] == "synthetic" and rows["bits"]["auc"] == 0.5
    assert (tmp_path / "f.svg").read_text().endswith("</svg>\n")
    assert main(arguments) == 0 and "UNFAIR" in capsys.readouterr().out


def test_an_auc_is_that_of_scikit_learn(tmp_path):
    files = []
    for number, level in enumerate([0.9, 0.5, 0.7, 0.2, 0.6, 0.1]):
        samples = np.full(RATE_HZ, 0.0, np.float32)
        samples[100] = level
        write_audio(tmp_path / f"{number}.wav", AudioClip.from_array(samples, RATE_HZ))
        files.append((tmp_path / f"{number}.wav", number < 3, f"s{number}"))
    row = next(row for row in audit_files(files) if row["probe"] == "peak")
    assert row["auc"] == pytest.approx(roc_auc_score([1, 1, 1, 0, 0, 0], [0.9, 0.5, 0.7, 0.2, 0.6, 0.1]), abs=1e-4)
    with pytest.raises(ValueError, match="give both"):
        audit_files(files[:3])


def labelled() -> list[LabelledClip]:
    """Genuine clips pulse slowly; ``fast`` and ``faster`` pulse quickly, ``odd`` as genuine ones do."""
    clips = []
    for split, count in (("train", 12), ("held", 6), ("test", 6)):
        for number in range(count):
            for generator, rate_hz in ((BONA_FIDE, 3.0), ("fast", 20.0), ("faster", 24.0), ("odd", 3.0)):
                for condition in ("raw", "mp3"):
                    rng = np.random.default_rng([number, len(split), len(generator), len(condition)])
                    time_s = np.arange(2 * RATE_HZ) / RATE_HZ
                    pulse = 0.5 + 0.5 * np.sin(2 * np.pi * rate_hz * rng.uniform(0.9, 1.1) * time_s)
                    clips.append(
                        LabelledClip(
                            samples=(0.1 * pulse * rng.standard_normal(time_s.size)).astype(np.float32),
                            generator=generator,
                            speaker_id=f"{split}-{number % 3}",
                            utterance_id=f"{split}-{number}",
                            split=split,
                            condition=condition,
                        )
                    )
    return clips


def test_a_generator_like_others_is_caught_unseen_and_one_like_speech_is_not(tmp_path):
    save_clips(tmp_path / "a.safetensors", labelled())
    save_clips(tmp_path / "b.safetensors", labelled()[:5])  # kept once
    clips = read_clip_cache(tmp_path)
    assert len(clips) == len(labelled())
    found = generator_matrix(clips)
    rates = {row["name"]: row["eer"] for row in found["rows"]}
    assert rates["fast"] < 0.1 and rates["faster"] < 0.1 and rates["odd"] > 0.3
    assert found["worst"] == "odd" and found["macro_eer"] == pytest.approx(np.mean(list(rates.values())), abs=1e-5)
    assert len(found["matrix_eer"]) == 3 and found["rows"][0]["n_bona_fide"] == 6
    channels = codec_matrix(clips)
    assert channels["names"] == ["mp3", "raw"] and channels["rows"][0]["n_synthetic"] == 18


def test_the_verb_says_what_is_missing(tmp_path, capsys):
    assert main(["detect-leave-out", str(tmp_path)]) == 2 and "holds no clips" in capsys.readouterr().err
    save_clips(tmp_path / "a.safetensors", [clip for clip in labelled() if clip.generator in (BONA_FIDE, "fast")])
    assert main(["detect-leave-out", str(tmp_path), "--what", "generator"]) == 2
    assert "leaving one out needs two" in capsys.readouterr().err
    assert main(["detect-leave-out", str(tmp_path), "--what", "codec", "--out", str(tmp_path / "o")]) == 0
    assert "| mp3 |" in capsys.readouterr().out and (tmp_path / "o" / "leave_codec_out.svg").exists()
