"""The shipped fusion: its size, what it says of genuine speech it was not made from, and of that speech after edits."""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from audiolm.audio import AudioClip
from detectors.fusion import DETECTOR, PRETRAINED
from detectors.post_processing import POST_PROCESSING
from evaluation.manifest import read_utterances

CORPUS = Path(os.environ.get("AUDIOLM_CORPUS", "../shared/corpus"))
MOST_BYTES = 10_000_000
RATE_HZ = 16_000


def test_all_shipped_detectors_together_stay_below_ten_megabytes():
    assert sum(path.stat().st_size for path in PRETRAINED.rglob("*") if path.is_file()) < MOST_BYTES


def test_few_genuine_clips_of_test_speakers_are_called_synthetic_in_any_condition():
    shipped = DETECTOR.load()
    judged: dict[str, list[float]] = defaultdict(list)
    for row in shipped.reference_scores():
        if row["split"] == "test" and row["llr"] is not None:
            judged[row["condition"]].append(row["llr"])
    assert {"raw", "own_codec", "gsm", "opus", "telephone"} <= set(judged)
    rates = {name: float(np.mean(np.asarray(values) < shipped.threshold_llr)) for name, values in judged.items()}
    assert max(rates.values()) <= 0.05, rates


def _recordings(count: int) -> list[np.ndarray]:
    found: dict[str, np.ndarray] = {}
    for row in read_utterances(CORPUS / "manifest.csv", split="test"):
        if row.speaker_id not in found and len(found) < count:
            samples = AudioClip.from_file(row.audio_path).at_rate(RATE_HZ).samples
            if samples.size > 4 * RATE_HZ:
                found[row.speaker_id] = samples[: 5 * RATE_HZ]
    return list(found.values())


@pytest.mark.skipif(not (CORPUS / "manifest.csv").exists(), reason=f"no corpus at {CORPUS} (set AUDIOLM_CORPUS)")
@pytest.mark.parametrize("change", ["pitch -1 semitone", "pitch +1 semitone", "pink noise, 10 dB"])
def test_an_edited_recording_stays_a_recording(change: str):
    shipped, verdicts = DETECTOR.load(), []
    for index, samples in enumerate(_recordings(8)):
        edited = POST_PROCESSING[change](samples, np.random.default_rng(index))
        verdicts.append(shipped.judge(edited, RATE_HZ).llr)
    called = [llr < shipped.threshold_llr for llr in verdicts if llr is not None]
    assert len(called) >= 6
    assert sum(called) <= 2, verdicts
