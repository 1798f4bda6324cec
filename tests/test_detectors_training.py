"""Training: sampling balance, channels, augmentation, resume to the same bytes, and that it learns at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from detectors.assessment import ScoredClip, calibrate, error_table, reference_rows, score_clips
from detectors.augmentation import AugmentConfig, augment_batch
from detectors.calibration import Calibration
from detectors.channels import CHANNELS, through_channel
from detectors.labelled import LabelledClip, count_clips, load_clips, save_clips
from detectors.networks.mel_cnn import MelCnnConfig
from detectors.training import TrainConfig, WindowSampler, crop, fit, held_out_scores

RATE_HZ = 16_000
TINY = MelCnnConfig(widths=(4, 4, 6, 6, 8, 8))


def clip(seed: int, generator: str, split: str = "train", condition: str = "raw", speaker: str = "") -> LabelledClip:
    """Bona fide: noise with a slow beat; synthetic: noise with a fast one."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(int(2.5 * RATE_HZ)) / RATE_HZ
    beat_hz = rng.uniform(2.0, 4.0) if generator == "bona_fide" else rng.uniform(9.0, 14.0)
    envelope = 0.02 + np.clip(np.sin(2 * np.pi * beat_hz * time_s + rng.uniform(0, 6)), 0.0, None)
    return LabelledClip(
        samples=(0.1 * envelope * rng.standard_normal(time_s.size)).astype(np.float32),
        generator=generator,
        speaker_id=speaker or f"{split}-{seed}",
        utterance_id=f"{generator}-{seed}",
        split=split,
        condition=condition,
    )


def both_classes(count: int, split: str, first: int) -> list[LabelledClip]:
    return [clip(first + k, "bona_fide" if k % 2 else "beater", split) for k in range(count)]


def test_half_of_each_batch_is_bona_fide_and_channels_fall_alike_on_both_classes():
    clips = []
    for generator, counts in {"bona_fide": (40, 5), "lpc": (3, 30), "griffin_lim": (20, 2)}.items():
        for condition, count in zip(("raw", "mp3"), counts, strict=True):
            mark = {"bona_fide": 0.1, "lpc": 0.3, "griffin_lim": 0.5}[generator] + (0.1 if condition == "mp3" else 0.0)
            made = clip(1, generator, condition=condition)
            marked = np.full(made.samples.size, mark, np.float32)
            clips += [LabelledClip(**{**_fields(made), "samples": marked})] * count
    sampler, rng = WindowSampler(clips), np.random.default_rng(0)
    draws = [sampler.draw(40, rng) for _ in range(100)]
    marks = (10 * np.concatenate([windows[:, 0] for windows, _ in draws])).round().astype(int)
    labels = np.concatenate([label for _, label in draws])
    assert labels.mean() == 0.5
    assert set(marks[labels == 1]) == {1, 2}
    assert np.mean(marks[labels == 1] == 2) == pytest.approx(0.4, abs=0.04)
    assert np.mean(np.isin(marks[labels == 0], [4, 6])) == pytest.approx(0.4, abs=0.04)
    assert np.mean(marks[labels == 0] <= 4) == pytest.approx(0.5, abs=0.04)
    assert len({windows.shape[1] for windows, _ in draws}) > 50


def _fields(made: LabelledClip) -> dict[str, object]:
    return {name: getattr(made, name) for name in LabelledClip.__dataclass_fields__}


@pytest.mark.parametrize("size", [1, 99, 100, 101, 350])
def test_crop_always_has_the_length_and_repeats_short_clips(size):
    samples = np.arange(size, dtype=np.float32)
    for where in (0.0, 0.5, 0.999):
        cut = crop(samples, 100, where)
        assert cut.size == 100
        assert np.all(np.diff(cut) % size == 1 % size)


@pytest.mark.parametrize("name", sorted(CHANNELS))
def test_channels_keep_length_and_speech_and_change_something(name):
    samples = clip(3, "bona_fide").samples
    sent = through_channel(samples, name, np.random.default_rng(0))
    again = through_channel(samples, name, np.random.default_rng(0))
    assert sent.shape == samples.shape and sent.dtype == np.float32
    np.testing.assert_array_equal(sent, again)
    assert not np.array_equal(sent, samples)
    power = [10 * np.log10(np.abs(np.fft.rfft(x)[2500:7500]) ** 2 + 1e-9).mean() for x in (samples, sent)]
    assert abs(power[0] - power[1]) < 6.0  # 1 to 3 kHz passes


def test_telephone_has_no_band_above_4_khz_and_an_unknown_channel_is_refused():
    sent = through_channel(clip(3, "bona_fide").samples, "telephone", np.random.default_rng(0))
    spectrum = np.abs(np.fft.rfft(sent)) ** 2
    edge = int(4_500 * sent.size / RATE_HZ)
    assert spectrum[edge:].sum() < 1e-3 * spectrum.sum()
    with pytest.raises(ValueError, match="unknown channel 'pigeon'"):
        through_channel(sent, "pigeon", np.random.default_rng(0))


def test_augmentation_is_seeded_bounded_and_16_bit():
    windows = np.stack([clip(k, "bona_fide").samples for k in range(6)])
    noises = [np.random.default_rng(1).standard_normal(60_000).astype(np.float32)]
    first = augment_batch(windows, AugmentConfig(), noises, np.random.default_rng(7))
    np.testing.assert_array_equal(first, augment_batch(windows, AugmentConfig(), noises, np.random.default_rng(7)))
    assert not np.array_equal(first, augment_batch(windows, AugmentConfig(), noises, np.random.default_rng(8)))
    assert np.abs(first).max() <= 1.0
    np.testing.assert_allclose(first * 32767.0, np.round(first * 32767.0), atol=1e-2)


def test_noise_is_mixed_at_the_drawn_ratio():
    only_noise = AugmentConfig(
        noise_share=1.0, snr_db=(10.0, 10.0), equaliser_share=0.0, low_pass_share=0.0, reverb_share=0.0
    )
    clean = clip(0, "bona_fide").samples.astype(np.float64)
    noisy = augment_batch(clean[None].astype(np.float32), only_noise, [], np.random.default_rng(0))[0]
    gain = np.dot(noisy, clean) / np.dot(clean, clean)
    rest = noisy - gain * clean
    assert 10 * np.log10(np.sum((gain * clean) ** 2) / np.sum(rest**2)) == pytest.approx(10.0, abs=0.3)


def test_training_learns_resumes_to_the_same_weights_and_leaves_global_randomness_alone(tmp_path: Path):
    training, held = both_classes(16, "train", 0), both_classes(8, "held", 100)
    config = TrainConfig(steps=24, batch=12, check_every=8, network=TINY, learning_rate=1e-2, patience=9)
    state = torch.random.get_rng_state()
    whole, history = fit(training, held, config)
    assert torch.equal(state, torch.random.get_rng_state())
    assert history[-1]["held_loss"] < 0.9 * history[0]["held_loss"]
    scores = held_out_scores(whole, held)
    assert min(scores[1::2]) > max(scores[0::2])
    _interrupt_after(16, training, held, config, tmp_path)
    resumed, resumed_history = fit(training, held, config, work=tmp_path)
    assert resumed_history == history
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name
    with pytest.raises(ValueError, match="another configuration"):
        fit(training, held, TrainConfig(steps=35, network=TINY), work=tmp_path)


def _interrupt_after(steps: int, training: list, held: list, config: TrainConfig, work: Path) -> None:
    class PulledPlug(Exception):
        pass

    class Noises(list):
        def __init__(self) -> None:
            super().__init__()
            self.batches = 0

        def __iter__(self):
            self.batches += 1
            if self.batches > steps * config.batch * config.augment.noise_share:
                raise PulledPlug
            return super().__iter__()

    with pytest.raises(PulledPlug):
        fit(training, held, config, noises=Noises(), work=work)
    assert (work / "state.safetensors").exists()


def test_training_refuses_shared_speakers_and_a_missing_class():
    training = both_classes(4, "train", 0)
    with pytest.raises(ValueError, match="split by speaker"):
        fit(training, training, TrainConfig(network=TINY))
    with pytest.raises(ValueError, match="one class is missing"):
        fit(training[1::2], both_classes(4, "held", 50), TrainConfig(network=TINY))


def test_clips_survive_their_file(tmp_path: Path):
    clips = both_classes(4, "train", 0)
    save_clips(tmp_path / "clips.safetensors", clips)
    for kept, made in zip(load_clips(tmp_path / "clips.safetensors"), clips, strict=True):
        np.testing.assert_allclose(kept.samples, made.samples, atol=1 / 32767)
        assert {**_fields(kept), "samples": 0} == {**_fields(made), "samples": 0}
    assert count_clips(clips)["beater/raw/train"] == {"clips": 2, "speakers": 2}


def test_assessment_counts_abstentions_and_compares_within_a_condition():
    def scored(generator: str, condition: str, raw: float, reason: str = "", seed: int = 0) -> ScoredClip:
        made = clip(seed, generator, "test", condition)
        return ScoredClip(clip=made, duration_s=2.5, raw=raw, reason=reason)

    items = [
        *[scored("bona_fide", "raw", 2.0 + k, seed=k) for k in range(3)],
        *[scored("bona_fide", "own_codec", -2.0, seed=k) for k in range(2)],
        scored("bona_fide", "raw", float("nan"), "under 1 s of speech", 9),
        *[scored("own_acoustic", "raw", -1.0, seed=k) for k in range(2)],
    ]
    identity = Calibration(scale=1.0, offset=0.0, independent_bona=10**6, independent_synth=10**6)
    plain, codec = error_table(items, identity, 0.0)[:2]
    assert (plain.bona_fide, plain.eer, plain.n_bona, plain.n_abstained) == ("raw", 0.0, 3, 1)
    assert (codec.bona_fide, codec.p_miss) == ("own_codec", 1.0)
    assert codec.eer == 1.0
    rows = reference_rows(items, identity)
    assert len(rows) == 6
    assert [row["llr"] for row in rows if row["reason"]] == [None]
    assert calibrate([*items[:3], *items[6:]]).independent_bona == 3


def test_scores_of_clips_do_not_depend_on_the_other_clips():
    clips = both_classes(4, "test", 0)

    def score(blocks, rate_hz):
        return float(np.mean(next(iter(blocks)))), [], ""

    together = score_clips(score, clips)
    assert [item.raw for item in together] == [score_clips(score, [each])[0].raw for each in clips]
    assert together[0].clip.samples.size == 0
