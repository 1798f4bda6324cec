"""How evidence of our own model is fitted: clips made and kept, cut between frames, ridge, written folder, card."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from detectors.artefacts import read_config
from detectors.assessment import ScoredClip
from detectors.calibration import Calibration
from detectors.labelled import LabelledClip
from evaluation.own_evidence.card import exact_interval, kind_rows, own_card
from evaluation.own_evidence.evidence_clips import altered, cut_between
from evaluation.own_evidence.fitting import Fitted, Windows, best_ridge, fit_on, one_sided, score, windows_of, write
from evaluation.own_evidence.generations import own_generations, spread

RATE_HZ = 16_000


def speech(seed: int, gain: float = 0.1) -> np.ndarray:
    time_s = np.arange(3 * RATE_HZ) / RATE_HZ
    envelope = np.clip(np.sin(2 * np.pi * 3.1 * time_s) + 0.4 * np.sin(2 * np.pi * 1.3 * time_s), 0.0, None)
    return ((0.001 + gain * envelope) * np.random.default_rng(seed).standard_normal(time_s.size)).astype(np.float32)


def clip(number: int, generator: str = "bona_fide", split: str = "train", gain: float = 0.1) -> LabelledClip:
    return LabelledClip(
        samples=speech(number, gain),
        generator=generator,
        speaker_id=f"s{number % 3}",
        utterance_id=f"u{number}",
        split=split,
    )


def test_clips_are_spread_over_speakers_before_a_second_one_is_taken():
    clips = [clip(0), clip(3), clip(6), clip(1), clip(2)]
    assert {c.speaker_id for c in spread(clips, 3, 0)} == {"s0", "s1", "s2"}
    assert spread(clips, 3, 0) == spread(clips, 3, 0)
    assert spread(clips, 5, 0, shortest_s=3.5) == []


@dataclass(frozen=True)
class Options:
    guidance: float = 3.0


class Model:
    options = Options()

    def __init__(self) -> None:
        self.calls: list[float] = []

    def describe(self):
        return {"digest": "0123456789abcdef"}

    def continuation(self, prompts, seconds, seeds, options):
        self.calls.append(options.guidance)
        return [speech(int(seed % 97)) for seed in seeds]

    def acoustic_generation(self, clips, seeds, options):
        self.calls.append(options.guidance)
        return [speech(int(seed % 89)) for seed in seeds]


def test_own_clips_are_made_once_with_speaker_and_split_of_their_prompt(tmp_path):
    model, recorded = Model(), [clip(k) for k in range(12)]
    counts = {("continuation", "train"): 10, ("acoustic", "train"): 2}
    made = own_generations(model, recorded, counts, tmp_path, 0)  # type: ignore[arg-type]
    again = own_generations(model, recorded, counts, tmp_path, 0)  # type: ignore[arg-type]
    assert model.calls == [3.0, 1.0, 3.0]
    assert [c.generator for c in made] == ["own_continuation"] * 10 + ["own_acoustic"] * 2
    by_utterance = {c.utterance_id: c.speaker_id for c in recorded}
    assert all(by_utterance[c.utterance_id] == c.speaker_id and c.split == "train" for c in made)
    assert all(np.array_equal(a.samples, b.samples) for a, b in zip(made, again, strict=True))


def test_cuts_lie_between_frames_and_changes_are_named():
    clips = [clip(k) for k in range(4)]
    gone = [3 * RATE_HZ - c.samples.size for c in cut_between(clips, 0, every=2)]
    assert 0 < gone[0] < 320 and 0 < gone[2] < 320 and gone[1] == gone[3] == 0
    assert {c.condition for c in altered(clips[:1], 0)} == {"cut", "half_level", "mp3"}


def level_of(samples: np.ndarray, windows) -> np.ndarray:
    return np.array([[np.log(np.sqrt(np.mean(samples[a:b] ** 2)))] for a, b in windows])


def labelled(split: str, at: int, genuine: float, synthetic: float) -> list[LabelledClip]:
    loud = [clip(at + k, split=split, gain=genuine) for k in range(6)]
    return loud + [clip(at + 10 + k, "own_continuation", split, synthetic) for k in range(6)]


@pytest.mark.usefixtures("everything_is_speech")
def test_a_fit_gives_higher_ratios_to_genuine_clips_and_writes_what_it_measured(tmp_path):
    train, held, test = (labelled(split, at, 0.2, 0.1) for split, at in (("train", 0), ("held", 40), ("test", 80)))
    training, calibration = windows_of(level_of, train), windows_of(level_of, held)
    assert isinstance(training, Windows) and training.shares[training.is_bona_fide].sum() == pytest.approx(1.0)
    head, ridge, rate = best_ridge(training, calibration, (1.0, 3.0))
    assert rate == 0.0 and ridge == 1.0
    fitted, scored_held = fit_on("level", level_of, head, held)
    fitted = Fitted("level", level_of, head, one_sided(fitted.calibration))
    scored = score(fitted, test)
    extra = {"title": "level", "model": "nano", "model_parts": {"codec": "ab"}, "ridge": ridge, "not_shown": ["music"]}
    write(tmp_path, fitted, scored_held, scored, train, extra, lambda c, s: own_card(c, s, ["About."]), about=scored)
    config = read_config(tmp_path)
    assert config["training"]["test_pooled"]["eer_interpolated"] == 0.0
    assert config["threshold_llr"] < 0.0 and config["calibration"]["independent_synth"] == 1
    card = (tmp_path / "README.md").read_text()
    assert "| own_continuation | raw | 6 of 6 | 100.0 [54.1, 100.0]" in card
    assert "| bona_fide | raw | 0 of 6 |" in card and "- codec: `ab`" in card and "- music" in card


def test_a_row_counts_what_lies_below_the_threshold_and_its_exact_interval():
    calibration = Calibration(scale=1.0, offset=0.0, independent_bona=999, independent_synth=999)
    scored = [
        ScoredClip(clip=clip(k, name), duration_s=3.0, raw=raw, reason="")
        for k, (name, raw) in enumerate([("bona_fide", 2.0), ("bona_fide", -2.0), ("espeak", -3.0), ("espeak", 3.0)])
    ]
    genuine, synthetic = kind_rows(scored, calibration, 0.0)
    assert (genuine["called_synthetic"], genuine["clips"], genuine["eer"]) == (1, 2, [None, None])
    assert synthetic["called_synthetic"] == 1 and synthetic["eer"][0] == pytest.approx(0.5)
    assert exact_interval(0, 10)[1] == pytest.approx(1 - 0.025 ** (1 / 10))
    assert exact_interval(10, 10)[0] == pytest.approx(0.025 ** (1 / 10))
    assert exact_interval(5, 10) == pytest.approx((0.1871, 0.8129), abs=1e-4)
