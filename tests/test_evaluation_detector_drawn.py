"""Tokens and harmonics drawn at random: what they keep of a recording, and what they change."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from detectors.kinds import BONA_FIDE_KINDS, KINDS, kind_of
from detectors.labelled import LabelledClip
from evaluation.acoustics.f0 import summarise_pitch
from evaluation.detector_codecs import own_codec
from evaluation.detector_harmonics import _minimum_phase, harmonics_drawn
from evaluation.detector_levels import at_level_of
from evaluation.detector_more import _coded, _Source, drawn_often
from evaluation.detector_rules import _decided, _edges, _joined, _straight, rules_drawn
from evaluation.detector_tokens import _drawn_codes, tokens_drawn

RATE_HZ = 16_000


def voiced(seconds: float = 1.5, f0_hz: float = 130.0) -> np.ndarray:
    time_s = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    sound = sum(np.sin(2 * np.pi * f0_hz * k * time_s + k * k) / k for k in range(1, 50))
    envelope = 0.6 + 0.4 * np.sin(2 * np.pi * 3.0 * time_s)
    noise = 0.002 * np.random.default_rng(0).standard_normal(time_s.size)
    return (0.1 * envelope * sound + noise).astype(np.float32)


@pytest.mark.parametrize("make", [tokens_drawn, harmonics_drawn, rules_drawn])
def test_length_level_and_bytes_are_kept(make):
    sound = voiced()
    for seed in range(4):
        made = make(sound, np.random.default_rng(seed))
        assert made.shape == sound.shape and made.dtype == np.float32
        assert np.isfinite(made).all() and np.abs(made).max() <= 1.0
        np.testing.assert_array_equal(made, make(sound, np.random.default_rng(seed)))
        assert np.sqrt(np.mean(made**2)) == pytest.approx(np.sqrt(np.mean(sound**2)), rel=0.02)
        assert np.abs(made - sound).max() > 1e-3


@pytest.mark.parametrize("make", [tokens_drawn, harmonics_drawn, rules_drawn])
def test_silence_and_noise_without_pitch_are_taken(make):
    for sound in (np.zeros(8_000, np.float32), np.random.default_rng(1).normal(0, 0.05, 8_000).astype(np.float32)):
        assert np.isfinite(make(sound, np.random.default_rng(2))).all()


def test_harmonics_stand_at_the_recording_s_pitch_but_for_a_drawn_factor():
    factors = []
    for seed in range(8):
        pitch = summarise_pitch(harmonics_drawn(voiced(), np.random.default_rng(seed)), RATE_HZ)
        if pitch is not None:  # one whose voiced part is nearly all noise has none
            factor = pitch.median_hz / 130.0
            factors.append(factor / 2.0 ** np.round(np.log2(factor)))  # drawn phases lead YIN an octave astray
    assert len(factors) >= 5 and all(0.88 < factor < 1.14 for factor in factors)
    assert sum(abs(factor - 1.0) < 0.02 for factor in factors) >= 2


def test_rules_keep_few_targets_and_plain_ways_between_them():
    rng = np.random.default_rng(3)
    for _ in range(6):
        edges = _edges(300, 80, rng)
        assert edges[0] == 0 and edges[-1] == 300 and (np.diff(edges) > 0).all()
        log = rng.standard_normal((300, 5))
        joined = _joined(log, edges, rng)
        middles = (edges[:-1] + edges[1:]) // 2
        assert joined.shape == log.shape
        assert joined.max() <= log[middles].max() + 1e-9  # nothing but targets, and what lies between two of them
        pitch = _straight(100.0 + 20.0 * np.sin(np.arange(16_000) / 900.0), rng)
        bends = np.abs(np.diff(np.log(pitch), 2)) > 1e-7
        assert pitch.min() > 60.0 and bends.sum() <= 2 + 16_000 / RATE_HZ / 0.12


def test_a_sound_of_the_rules_is_voiced_or_not_by_segment():
    voiced_part = np.repeat([0.9, 0.2, 0.7], 4_000)
    decided = _decided(voiced_part, np.asarray([0, 4_000, 8_000, 12_000]), np.random.default_rng(1))
    assert decided[2_000] > 0.99 > 0.01 > decided[6_000] and decided[10_000] > 0.99


def test_minimum_phase_is_that_of_a_filter_known_to_have_it():
    bins = np.exp(-2j * np.pi * np.arange(513) / 1024)
    response = 1.0 / (1.0 - 0.9 * bins)  # one pole inside the unit circle
    found = _minimum_phase(np.abs(response)[None])[0]
    np.testing.assert_allclose(found, np.angle(response), atol=0.01)


def test_codes_are_drawn_only_so_far_as_they_are_free(monkeypatch):
    """With no freedom the codes are those of the codec; with more, ever fewer are."""
    codec = own_codec()
    with torch.inference_mode():
        latents = codec.latents(torch.from_numpy(voiced())[None])[0].T
        true = codec.quantizer.encode(latents.T[None])[0]
        kept = []
        for freedom in (1e-6, 0.15, 3.0):
            monkeypatch.setattr("evaluation.detector_tokens.FREEDOM", (freedom, freedom))
            codes = [_drawn_codes(latents, codec.quantizer.codebooks, np.random.default_rng(seed)) for seed in range(5)]
            kept.append(float(np.mean([(code[0] == true[0]).float().mean() for code in codes])))
    assert kept[0] == 1.0 > kept[1] > kept[2]


def test_what_is_drawn_often_is_synthetic():
    for name in (*drawn_often(), "hifigan_chained"):
        assert KINDS.index(kind_of(name, "raw")) >= BONA_FIDE_KINDS


def test_level_and_length_are_those_of_the_recording():
    sound = voiced(0.5)
    short, long = at_level_of(7.0 * sound[:4_000], sound), at_level_of(np.tile(sound, 2), sound)
    assert short.shape == long.shape == sound.shape and not short[4_000:].any()
    assert np.mean(short**2) == pytest.approx(float(np.mean(sound**2)), rel=1e-4)
    np.testing.assert_allclose(long, sound, atol=1e-6)


def test_recordings_through_our_codec_stay_genuine_beside_drawn_ones():
    clip = LabelledClip(
        samples=voiced(5.0), generator="bona_fide", speaker_id="a", utterance_id="x-one-1", split="train"
    )
    made = list(_coded(_Source([clip]), 3, seed=1))
    assert len(made) == 3 and all(one.is_bona_fide and one.condition == "own_codec" for one in made)
    assert {KINDS.index(kind_of(one.generator, one.condition)) for one in made} == {1}
    assert all(np.isfinite(one.samples).all() and 2.5 < one.samples.size / RATE_HZ <= 4.0 for one in made)
