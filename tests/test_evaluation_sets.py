"""Distances between sets, likelihood pairs and ranking, memorisation and canaries: closed forms and planted answers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import linalg

from audiolm.audio import AudioClip, write_audio
from evaluation.bootstrap import Resampler
from evaluation.distribution.frechet import extrapolate, frechet_distance
from evaluation.distribution.intervals import jackknife
from evaluation.distribution.kernel import kernel_distance
from evaluation.distribution.neighbours import coverage, precision
from evaluation.likelihood.chance import chance_band, prefer, wilson
from evaluation.likelihood.pairs import CHANGE_S, RATE_HZ, Pair, Voice, make_pair
from evaluation.likelihood.ranking import rank_pairs, rank_scores, read_pairs
from evaluation.memorisation.canaries import extraction_curve, make_canaries
from evaluation.memorisation.mel_index import build_mel_index
from evaluation.memorisation.token_runs import TokenIndex, collapse
from tests.evaluation_fakes import tone


def test_frechet_of_diagonal_gaussians_is_the_closed_form_and_turns_with_nothing() -> None:
    generator = np.random.default_rng(0)
    one, two = generator.standard_normal((2, 300, 5))
    two = two * [1, 2, 3, 4, 5] + 1
    rotation = np.linalg.qr(generator.standard_normal((5, 5)))[0]
    assert frechet_distance(one @ rotation, two @ rotation) == pytest.approx(frechet_distance(one, two), rel=1e-10)
    assert frechet_distance(3 * one, 3 * two) == pytest.approx(9 * frechet_distance(one, two), rel=1e-10)
    assert frechet_distance(one, one + 2.0) == pytest.approx(20.0, rel=1e-9)
    assert frechet_distance(one[:3], two[:3]) >= 0.0  # fewer items than dimensions


def test_frechet_equals_the_formula_with_scipys_matrix_root() -> None:
    generator = np.random.default_rng(1)
    one, two = generator.standard_normal((2, 200, 6)) * [[[1.0]], [[2.0]]]
    covs = [np.cov(items, rowvar=False) for items in (one, two)]
    root = np.real(np.asarray(linalg.sqrtm(covs[0] @ covs[1])))
    expected = np.square(one.mean(0) - two.mean(0)).sum() + np.trace(covs[0] + covs[1] - 2 * root)
    assert frechet_distance(one, two) == pytest.approx(float(expected), rel=1e-8)


def test_finite_sets_of_one_distribution_lie_apart_and_their_extrapolation_does_not() -> None:
    generator = np.random.default_rng(2)
    one, two = generator.standard_normal((2, 500, 24))
    line = extrapolate(one, two, generator)
    assert line.at_size > 0.5 and abs(line.infinite) < 0.25 and line.r2 > 0.95


def test_kernel_distance_is_unbiased_and_equals_its_definition() -> None:
    generator = np.random.default_rng(3)
    draws = (generator.standard_normal((2, 40, 3)) for _ in range(200))
    nulls = [kernel_distance(one, two, 2.0) for one, two in draws]
    assert abs(np.mean(nulls)) < 3 * np.std(nulls) / math.sqrt(200)
    one, two = generator.standard_normal((2, 7, 3))

    def k(a: np.ndarray, b: np.ndarray) -> float:
        return math.exp(-float(np.square(a - b).sum()) / 8.0)

    within = sum(k(a, b) for s in (one, two) for i, a in enumerate(s) for j, b in enumerate(s) if i != j) / 42
    across = sum(k(a, b) for a in one for b in two) / 49
    assert kernel_distance(one, two, 2.0) == pytest.approx(within - 2 * across, abs=1e-12)


def test_a_set_covers_itself_and_one_point_does_not() -> None:
    points = np.random.default_rng(4).standard_normal((60, 3))
    assert coverage(points, points).mean() == 1.0 and precision(points, points).mean() == 1.0
    assert coverage(points, np.repeat(points[:1], 60, axis=0)).mean() < 0.5
    assert precision(points, points + 100.0).mean() == 0.0


def test_the_jackknife_of_a_mean_is_students_interval() -> None:
    values = {"a": 1.0, "b": 2.0, "c": 4.0, "d": 9.0}
    interval = jackknife(
        4.0, list(values), lambda name: float(np.mean([v for other, v in values.items() if other != name]))
    )
    error = np.std(list(values.values()), ddof=1) / 2
    assert interval.high - 4.0 == pytest.approx(3.182446 * error, rel=1e-5)
    assert "fewer than two" in jackknife(1.0, ["a", "a"], lambda name: 0.0).method


def test_bands_of_chance_and_wilson() -> None:
    assert chance_band(200)[1] == pytest.approx(0.57)  # 57.5 % is the first share beyond it
    assert wilson(0.545, 200) == pytest.approx((0.476, 0.613), abs=6e-4)
    assert (prefer(1.0, 2.0), prefer(2.0, 1.0), prefer(1.0, 1.0)) == (1.0, 0.0, 0.5)


def voices(each: int = 3) -> list[Voice]:
    def reader(samples: np.ndarray):
        return lambda: samples

    return [
        Voice(name=f"{s}{i}", speaker=s, groups={"gender": g, "emotion": "sad" if i else "glad"}, duration_s=5.0,
              read=reader(tone(5.0, f + 3 * i)))
        for s, g, f in (("a", "F", 200.0), ("b", "F", 260.0), ("c", "M", 110.0)) for i in range(each)
    ]  # fmt: skip


@pytest.mark.parametrize("kind", ["speaker", "gender", "background", "room", "control"])
def test_pairs_are_alike_before_the_change_and_differ_after(kind: str) -> None:
    pool = voices()
    pair, again, other = (make_pair(kind, pool[0], list(p), s) for p, s in ((pool, 1), (pool, 1), (pool, 2)))
    assert isinstance(pair, Pair) and isinstance(again, Pair) and isinstance(other, Pair)
    change = int((CHANGE_S - 0.05) * RATE_HZ)
    assert len(pair.consistent) == len(pair.changed) == int(2 * CHANGE_S * RATE_HZ)
    before = np.abs(pair.consistent[:change] / np.abs(pair.consistent[:change]).max()
                    - pair.changed[:change] / np.abs(pair.changed[:change]).max())  # fmt: skip
    assert before.max() < 1e-3
    assert np.abs(pair.consistent[change + 3000 :] - pair.changed[change + 3000 :]).max() > 0.01
    np.testing.assert_array_equal(pair.changed, again.changed)
    if kind in ("background", "room"):
        assert not np.array_equal(pair.changed, other.changed)


def test_pairs_without_material_say_why() -> None:
    pool = voices()
    assert make_pair("gender", pool[0], pool[:6], 0) == "needs gender labels and a recording of another gender"
    assert make_pair("speaker", pool[0], pool[:1], 0) == "needs another recording of this speaker"
    assert isinstance(make_pair("sentiment", pool[1], pool, 0), Pair)
    unlabelled = Voice(name="x", speaker="a", groups={}, duration_s=5.0, read=pool[0].read)
    assert "labels of sentiment" in str(make_pair("sentiment", unlabelled, pool, 0))
    short = Voice(name="x", speaker="a", groups={}, duration_s=1.0, read=pool[0].read)
    assert "shorter than 4 s" in str(make_pair("room", short, pool, 0))


class LoudIsUnlikely:
    def token_nats(self, samples: np.ndarray) -> Mapping[str, np.ndarray]:
        frames = len(samples) // 640
        return {"semantic": np.full((1, frames), float(np.abs(samples).mean())), "coarse": np.ones((4, frames))}

    def semantic_tokens(self, samples: np.ndarray) -> np.ndarray:
        return np.zeros(len(samples) // 640, dtype=np.int64)


def test_ranking_counts_pairs_by_both_scorings_and_voices_first(tmp_path: Path) -> None:
    # nats per token are the level: louder is less likely; the long quiet file has the larger sum
    for name, level, seconds in (("q", 0.1, 1.0), ("l", 0.4, 1.0), ("long", 0.1, 9.0)):
        write_audio(tmp_path / f"{name}.wav", AudioClip.from_array(tone(seconds, 200.0, level), RATE_HZ))
    rows = ["id,filename,correct,voice,frequency", "1,q,1,x,oov", "1,l,0,x,oov", "2,long,1,x,1-5", "2,l,0,x,1-5",
            "2,l,1,y,1-5", "2,q,0,y,1-5"]  # fmt: skip
    (tmp_path / "gold.csv").write_text("\n".join(rows) + "\n")
    pairs = read_pairs(tmp_path / "gold.csv")
    system = LoudIsUnlikely()
    files = [path for pair in pairs for path in (pair.positive, pair.negative)]
    found = {
        (row.subset, row.stage, row.scoring): row
        for row in rank_pairs(pairs, rank_scores(files, system, RATE_HZ), Resampler(seed=0))
    }
    assert found["", "semantic", "mean"].interval.estimate == pytest.approx((1.0 + 0.5) / 2)
    assert found["", "semantic", "sum"].interval.estimate == pytest.approx((1.0 + 0.0) / 2)
    assert found["", "coarse", "mean"].interval.estimate == 0.5  # ties
    assert found["oov", "semantic", "sum"].n_pairs == 1 and found["", "semantic", "sum"].n_pairs == 2


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("id,filename,correct\n1,q,1\n", "has no negative file"),
        ("id,filename,correct\n1,q,maybe\n", "needs one row with correct 1"),
        ("a,b\n1,2\n", "use id, positive, negative"),
        ("id,positive,negative\n1,nofile,q\n", "no file 'nofile'"),
        ("id,positive,negative\n", "holds no row"),
    ],
)
def test_broken_pair_tables_are_refused(tmp_path: Path, text: str, complaint: str) -> None:
    write_audio(tmp_path / "q.wav", AudioClip.from_array(tone(1.0, 200.0), RATE_HZ))
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(ValueError, match=complaint):
        read_pairs(tmp_path / "t.csv")


def speech_like(seed: int, seconds: float = 6.0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    steps = np.repeat(generator.uniform(90, 400, int(seconds * 8)), RATE_HZ // 8)
    gate = np.repeat(generator.uniform(0.05, 1, int(seconds * 8)), RATE_HZ // 8)
    phase = 2 * np.pi * np.cumsum(steps) / RATE_HZ
    return (0.05 * gate * sum(np.sin(k * phase) / k for k in range(1, 12))).astype(np.float32)


def test_copies_are_found_whatever_was_done_to_them_and_strangers_are_far() -> None:
    training = [(str(seed), speech_like(seed)) for seed in range(12)]
    index = build_mel_index(training)
    source = training[5][1]
    stranger = index.nearest(speech_like(99))
    assert stranger is not None
    noise = np.random.default_rng(0).standard_normal(len(source)).astype(np.float32) * 2e-4
    excerpt = source[int(1.37 * RATE_HZ) : int(3.6 * RATE_HZ)]
    for copy, limit in ((source, 1e-2), (1.41 * source, 1e-2), (source + noise, 3.0), (excerpt, 4.0)):
        found = index.nearest(copy)
        assert found is not None and found.name == "5" and found.distance_db < limit < stranger.distance_db
    assert index.nearest(np.zeros(3 * RATE_HZ, np.float32)) is None
    assert index.nearest(source[:RATE_HZ]) is None


@given(
    st.lists(st.lists(st.integers(0, 3), max_size=12), min_size=1, max_size=4), st.lists(st.integers(0, 3), max_size=12)
)
@settings(max_examples=60)
def test_longest_shared_run_equals_brute_force(training: list[list[int]], asked: list[int]) -> None:
    parts, own = [collapse(np.array(t)).tolist() for t in training], collapse(np.array(asked)).tolist()
    best = max(
        (n for n in range(len(own) + 1) for i in range(len(own) - n + 1)
         if n == 0 or any(own[i : i + n] == part[j : j + n] for part in parts for j in range(len(part)))),
        default=0,
    )  # fmt: skip
    assert TokenIndex([np.array(t) for t in training]).longest_run(np.array(asked)) == best


def test_the_extraction_curve_of_models_with_known_memory() -> None:
    generator = np.random.default_rng(0)
    canaries = make_canaries(12, 20, [generator.integers(0, 9, 50) for _ in range(5)], generator)
    assert len({tuple(c) for c in canaries}) == 12
    planted = [(canary, 4) for canary in canaries[:4]]
    known = {tuple(c[:5]): c for c, _ in planted}

    def go_on(start: np.ndarray, count: int) -> np.ndarray:
        return known.get(tuple(start), np.full(99, -1))[5 : 5 + count]

    curve = extraction_curve(
        planted, canaries[4:], prefix=5, go_on=go_on, nats=lambda c: 0.0 if tuple(c[:5]) in known else float(c.sum())
    )
    assert [point.repetitions for point in curve] == [0, 4]
    assert curve[0].extracted == 0.0 and curve[0].extracted_upper == pytest.approx(1 - 0.05 ** (1 / 8))
    assert curve[1].matched == curve[1].extracted == 1.0 and curve[1].exposure_bit == pytest.approx(math.log2(9))
    with pytest.raises(ValueError, match="at least one unplanted"):
        extraction_curve(planted, [], prefix=5, go_on=go_on, nats=lambda c: 0.0)
