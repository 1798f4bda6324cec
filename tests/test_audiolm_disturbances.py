"""What training crops of the w2v-BERT are heard through: rooms, narrow bands, noise."""

from __future__ import annotations

import numpy as np
import pytest

from audiolm.semantic.conformer import ConformerConfig
from audiolm.semantic.disturbances import SNR_DB, Disturbances, disturbed, in_room, narrowed
from audiolm.semantic.quantizer import QuantizerConfig
from audiolm.semantic.w2v_bert import W2vBertConfig
from audiolm.train_semantic import W2vBertTask, W2vBertTraining

STACK = ConformerConfig(dim=16, heads=2, layers=1, ff_factor=2)
TINY = W2vBertConfig(contrastive=STACK, masked=STACK, quantizer=QuantizerConfig(codes=8), channels=4)


def crops(rows: int = 6, samples: int = 16_000) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((rows, samples)).astype(np.float32) * 0.1


def test_no_share_changes_nothing_and_the_crops_themselves_are_never_touched() -> None:
    waves = crops()
    kept = waves.copy()
    heard = disturbed(waves, [16_000] * 6, Disturbances(), np.random.default_rng(1))
    assert np.array_equal(heard, waves) and heard is not waves
    changed = disturbed(waves, [16_000] * 6, Disturbances(room=1, narrow=1, noise=1), np.random.default_rng(1))
    assert np.array_equal(waves, kept) and all(not np.array_equal(a, b) for a, b in zip(changed, waves, strict=True))


def test_noise_keeps_the_drawn_ratio_and_ends_with_the_sound() -> None:
    waves = crops(40)
    waves[:, 12_000:] = 0.0
    heard = disturbed(waves, [12_000] * 40, Disturbances(noise=1), np.random.default_rng(2))
    assert np.array_equal(heard[:, 12_000:], waves[:, 12_000:])
    noise = (heard - waves)[:, :12_000]
    ratio_db = 10 * np.log10(np.mean(waves[:, :12_000] ** 2, axis=1) / np.mean(noise**2, axis=1))
    assert SNR_DB[0] - 0.1 <= ratio_db.min() < 12 and 23 < ratio_db.max() <= SNR_DB[1] + 0.1


def test_a_narrow_band_loses_what_is_above_it_and_nothing_below() -> None:
    sound = crops(1)[0].astype(np.float64)
    before, after = np.fft.rfft(sound), np.fft.rfft(narrowed(sound, np.random.default_rng(3)))
    below, above = slice(0, 2_999), slice(7_900, None)
    assert np.allclose(before[below], after[below]) and np.abs(after[above]).max() < 0.1 * np.abs(before[above]).mean()


def test_a_room_keeps_the_direct_sound_and_decays_by_60_db() -> None:
    impulse = np.zeros(16_000)
    impulse[100] = 1.0
    heard = in_room(impulse, np.random.default_rng(4))
    assert np.allclose(heard[:100], 0, atol=1e-12) and heard[100] == pytest.approx(1.0)
    tail = np.abs(heard[101:])
    last = int(np.flatnonzero(tail > 1e-9)[-1])
    early, late = (np.sqrt(np.mean(tail[at : at + last // 10] ** 2)) for at in (0, last - last // 10))
    assert 0.1 <= last / 16_000 <= 0.5 and 20 * np.log10(early / late) == pytest.approx(54, abs=5)


def test_short_crops_stay_and_shares_are_checked() -> None:
    waves = crops(2)
    every = Disturbances(room=1, narrow=1, noise=1)
    assert np.array_equal(disturbed(waves, [6_000, 6_000], every, np.random.default_rng(5)), waves)
    with pytest.raises(ValueError, match="noise is 2; use a share from 0 to 1"):
        Disturbances(noise=2)


def test_training_hears_them_and_validation_does_not() -> None:
    speech = list(crops(4, 32_000))
    losses = []
    for shares in (Disturbances(), Disturbances(noise=1), Disturbances(noise=1)):
        training = W2vBertTraining(batch=4, crop_s=1.0, validation_crops=4, disturbances=shares)
        task = W2vBertTask(speech, speech, TINY, training)
        before = task.validate()
        losses.append((before, task.training_step(0)["total"]))
    assert losses[0][0] == losses[1][0] and losses[0][1] != losses[1][1] and losses[1] == losses[2]
