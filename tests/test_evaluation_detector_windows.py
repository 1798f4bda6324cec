"""Training windows and further sources: even draws, seeds, staged generators, other rates, tags of our own model."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from evaluation_fakes import RATE_HZ, noise_in_syllables

from audiolm.audio import write_audio_blocks
from detectors.kinds import KINDS
from detectors.labelled import BONA_FIDE, LabelledClip
from evaluation.detector_data import DataSizes, mode_clips
from evaluation.detector_neural import NeuralGenerator, resynthesise, train_generator
from evaluation.detector_public import speak_neural
from evaluation.detector_vocoders import phase_rebuilt


def clips() -> list[LabelledClip]:
    cells = [(BONA_FIDE, "raw"), (BONA_FIDE, "own_codec"), ("griffin_lim", "raw"), ("hifigan", "raw")]
    return [
        LabelledClip(
            samples=noise_in_syllables(2.5, 10 * cell + index),
            generator=generator,
            condition=condition,
            speaker_id=f"speaker-{index}",
            utterance_id=f"speech-corpus{index % 2}-{index}",
            split="train",
        )
        for cell, (generator, condition) in enumerate(cells)
        for index in range(4)
    ]


def test_windows_are_half_genuine_follow_their_seed_and_survive_their_file(tmp_path: Path):
    pytest.importorskip("speechbrain")
    from evaluation.detector_windows import WINDOW_SAMPLES, WindowSet, make_windows

    made = make_windows(clips(), 40, 3, rooms=[np.eye(1, 800, dtype=np.float32)[0]])
    assert made.samples.shape == (40, WINDOW_SAMPLES) and made.samples.dtype == np.int16
    assert made.is_bona_fide.sum() == 20
    counts = Counter(made.generators.tolist())
    assert counts["hifigan"] > counts["griffin_lim"] and counts["raw"] > counts["own_codec"] > 0
    assert {KINDS[kind] for kind in made.kinds} == {"recording", "own_codec", "signal_vocoder", "neural_vocoder"}
    again = make_windows(clips(), 40, 3, rooms=[np.eye(1, 800, dtype=np.float32)[0]])
    np.testing.assert_array_equal(made.samples, again.samples)
    made.save(tmp_path / "w.npz")
    np.testing.assert_array_equal(WindowSet.load(tmp_path / "w.npz").samples, made.samples)
    with pytest.raises(ValueError, match="one class is missing"):
        make_windows([clip for clip in clips() if clip.is_bona_fide], 4, 0)


def test_windows_as_files_all_pass_one_of_the_named_codecs(monkeypatch):
    pytest.importorskip("speechbrain")
    import detectors.augmentation as augmentation
    from evaluation.detector_windows import AS_FILES, make_windows

    seen: list[str] = []
    sent = augmentation.through_channel

    def listened(samples: np.ndarray, channel: str, rng: np.random.Generator) -> np.ndarray:
        seen.append(channel)
        return sent(samples, channel, rng)

    monkeypatch.setattr(augmentation, "through_channel", listened)
    make_windows(clips(), 12, 3, changes=AS_FILES)
    assert len(seen) == 12 and set(seen) <= set(AS_FILES.channels)


@pytest.mark.parametrize(("front", "back", "rate_hz"), [("wave", "staged", 24_000), ("mel", "nearest", 16_000)])
def test_generators_in_stages_keep_length_at_any_inner_rate(front, back, rate_hz):
    recordings = [noise_in_syllables(1.0, 1), noise_in_syllables(1.0, 2)]
    plan = NeuralGenerator(
        front=front, back=back, hop=120, width=16, latent=8, bands=24, strides=(5, 4, 6), rate_hz=rate_hz
    )
    network = train_generator(plan, recordings, seed=1, steps=1)
    made = resynthesise(network, recordings[0][:15_001])
    assert made.shape == (15_001,) and np.isfinite(made).all() and np.abs(made).max() <= 1.001


def test_rebuilding_phases_keeps_magnitudes_and_changes_samples():
    samples = noise_in_syllables(1.0, 5)
    made = phase_rebuilt(samples, np.random.default_rng(0))
    frames = [np.abs(np.fft.rfft(one[:15_872].reshape(-1, 512) * np.hanning(512))) for one in (samples, made)]
    assert np.corrcoef(frames[0].ravel(), frames[1].ravel())[0, 1] > 0.6
    assert abs(np.corrcoef(samples, made)[0, 1]) < 0.9


def test_more_training_clips_of_some_and_no_more_tests():
    sizes = DataSizes(per_vocoder={}, per_program={}, more={"hifigan": 3})
    counts = {"train": 10, "held": 2, "test": 4}
    assert sizes.of(counts, "hifigan") == {"train": 30, "held": 2, "test": 4}
    assert sizes.of(counts, "world") == counts


def test_clips_of_one_mode_take_speaker_and_split_from_their_recording(tmp_path: Path):
    recorded = [clip for clip in clips() if clip.is_bona_fide and clip.condition == "raw"]
    tags = {"a": recorded[0].utterance_id, "b": "unknown"}
    for name, utterance_id in tags.items():
        provenance = {"tool": "audiolm-audit", "role": "continuation", "utterance_id": utterance_id, "seed": 1}
        write_audio_blocks(tmp_path / f"{name}.wav", [noise_in_syllables(2.0, 8)], RATE_HZ, provenance)
    found = list(mode_clips(tmp_path, recorded, 0))
    assert [(clip.generator, clip.speaker_id, clip.split) for clip in found] == [
        ("own_continuation", recorded[0].speaker_id, "train")
    ]


def test_a_neural_program_that_is_not_there_says_what_to_install():
    with pytest.raises(ValueError, match="is not installed; install the package"):
        speak_neural("nobody", "x", "hello", np.random.default_rng(0))
