"""ABX: warping against enumeration, error against closed forms and a plain triple loop, sampling, averaging order."""

from __future__ import annotations

import itertools
import math
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import norm

from audiolm.audio import AudioClip
from evaluation.bootstrap import Resampler
from evaluation.language.abx import AbxScore, abx_score, relative_reduction
from evaluation.language.abx_cells import AbxDesign, design_cells
from evaluation.language.comparison import compare_representations
from evaluation.language.distances import cut_items, pair_distances
from evaluation.language.dtw import edit_distance, warped_distance
from evaluation.language.features import Representation
from evaluation.language.items import AbxItem

PHONES = ("AA", "IY", "UW")


def paths(height: int, width: int) -> list[list[tuple[int, int]]]:
    """Every warping path from the first to the last cell, written out."""
    if (height, width) == (1, 1):
        return [[(0, 0)]]
    found = []
    for down, right in ((1, 0), (0, 1), (1, 1)):
        if height - down >= 1 and width - right >= 1:
            found += [[*path, (height - 1, width - 1)] for path in paths(height - down, width - right)]
    return found


def enumerated(costs: np.ndarray) -> float:
    """Cheapest total, then fewest cells, over all paths."""
    ranked = [(sum(costs[cell] for cell in path), len(path)) for path in paths(*costs.shape)]
    total, cells = min((round(total, 12), cells) for total, cells in ranked)
    return total / cells


def items_of_design(speakers: int, contexts: int, each: int) -> list[AbxItem]:
    return [
        AbxItem(f"s{s}-{c}-{phone}-{k}", 0.0, 0.12, phone, f"P{c}", f"N{c}", f"s{s}")
        for s in range(speakers)
        for c in range(contexts)
        for phone in PHONES
        for k in range(each)
    ]


def triple_loop(items: list[AbxItem], pieces: list[np.ndarray], mode: str) -> float:
    """The definition, with plain loops and averages of averages."""
    by_pair: dict[tuple[str, str], dict[str, dict[str, dict[tuple[str, str], list[float]]]]] = {}
    for (i, a), (j, b), (k, x) in itertools.product(enumerate(items), repeat=3):
        same_context = (a.previous, a.next) == (b.previous, b.next) == (x.previous, x.next)
        speakers_fit = a.speaker == b.speaker and (a.speaker == x.speaker) == (mode == "within")
        if i == k or a.phone != x.phone or a.phone == b.phone or not same_context or not speakers_fit:
            continue
        near, far = (
            enumerated(np.arccos(np.clip(unit(pieces[n]) @ unit(pieces[k]).T, -1, 1)) / math.pi) for n in (i, j)
        )
        error = 1.0 if near > far + 1e-12 else 0.5 if abs(near - far) <= 1e-12 else 0.0
        of_pair = by_pair.setdefault((a.phone, b.phone), {})
        of_speaker = of_pair.setdefault(a.speaker, {}).setdefault(x.speaker, {})
        of_speaker.setdefault((a.previous, a.next), []).append(error)
    return mean(
        mean(
            mean(mean(mean(cell) for cell in contexts.values()) for contexts in x_speakers.values())
            for x_speakers in speakers.values()
        )
        for speakers in by_pair.values()
    )


def mean(values) -> float:
    return float(np.mean(list(values)))


def unit(frames: np.ndarray) -> np.ndarray:
    return frames / np.linalg.norm(frames, axis=1, keepdims=True)


@pytest.mark.parametrize("decimals", [None, 0], ids=["continuous", "with ties"])
def test_warped_distance_is_the_cheapest_of_all_paths(decimals: int | None) -> None:
    rng = np.random.default_rng(0)
    rows, columns = rng.integers(1, 6, 40), rng.integers(1, 6, 40)
    costs = rng.random((40, 5, 5))
    costs = costs if decimals is None else costs.round(decimals)
    found = warped_distance(costs, rows, columns)
    wanted = [enumerated(costs[k, : rows[k], : columns[k]]) for k in range(40)]
    np.testing.assert_allclose(found, wanted, atol=1e-12)
    turned = warped_distance(costs.transpose(0, 2, 1), columns, rows)
    np.testing.assert_array_equal(found, turned)


def plain_edit(a: list[int], b: list[int]) -> int:
    if not a or not b:
        return len(a) + len(b)
    return min(plain_edit(a[1:], b) + 1, plain_edit(a, b[1:]) + 1, plain_edit(a[1:], b[1:]) + (a[0] != b[0]))


def test_edit_distance_is_that_of_the_recursion() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.integers(0, 3, (50, 6)), rng.integers(0, 3, (50, 5))
    n, m = rng.integers(1, 7, 50), rng.integers(1, 6, 50)
    wanted = [plain_edit(a[k, : n[k]].tolist(), b[k, : m[k]].tolist()) / max(n[k], m[k]) for k in range(50)]
    np.testing.assert_allclose(edit_distance(a, b, n, m), wanted)


@pytest.mark.parametrize("mode", ["within", "across"])
def test_error_is_that_of_the_triple_loop(mode: str) -> None:
    rng = np.random.default_rng(2)
    items = [item for item in items_of_design(3, 2, 3) if rng.random() < 0.75]
    centres = {phone: rng.standard_normal(4) for phone in PHONES}
    pieces = [centres[i.phone] + 1.2 * rng.standard_normal((int(rng.integers(2, 4)), 4)) for i in items]
    score = abx_score(items, pieces, AbxDesign(mode=mode), distance="angular")
    assert score.error == pytest.approx(triple_loop(items, pieces, mode), abs=1e-12)
    assert 0.05 < score.error < 0.45


def test_equal_features_are_ties_and_separate_ones_are_no_error() -> None:
    items = items_of_design(2, 2, 3)
    one_hot = [np.tile(np.eye(3)[PHONES.index(item.phone)], (3, 1)) for item in items]
    for mode in ("within", "across"):
        design = AbxDesign(mode=mode)
        assert abx_score(items, [np.ones((3, 4))] * len(items), design, distance="angular").error == 0.5
        assert abx_score(items, one_hot, design, distance="angular").error == 0.0
        tokens = [np.full(3, PHONES.index(item.phone)) for item in items]
        assert abx_score(items, tokens, design, distance="identity").error == 0.0
        assert abx_score(items, tokens, design, distance="edit").error == 0.0
        assert abx_score(items, [np.zeros(3, int)] * len(items), design, distance="identity").error == 0.5


def test_random_features_are_at_chance() -> None:
    rng = np.random.default_rng(3)
    items = items_of_design(4, 6, 6)
    pieces = [rng.standard_normal((4, 8)) for _ in items]
    assert abx_score(items, pieces, AbxDesign(), distance="angular").error == pytest.approx(0.5, abs=0.02)


def test_two_gaussians_on_a_circle_have_the_known_error() -> None:
    """One frame each at angles N(0, s) and N(g, s): P(|a - x| > |b - x|) in closed form from two normal variables.

    ``a - x`` and ``b - x`` share x; with u = (a - x) + (b - x) and v = (a - x) - (b - x) the event is u v > 0, and
    u ~ N(g, 6 s^2), v ~ N(-g, 2 s^2) are independent.
    """
    rng = np.random.default_rng(4)
    s, g = 0.15, 0.25
    items = [AbxItem(f"{phone}{k}", 0, 1, phone, "P", "N", f"s{k % 40}") for phone in ("AA", "IY") for k in range(400)]
    angles = [rng.normal(0.0 if item.phone == "AA" else g, s) for item in items]
    pieces = [np.array([[math.cos(t), math.sin(t)]]) for t in angles]
    up, over = norm.cdf(g / (s * math.sqrt(6))), norm.cdf(-g / (s * math.sqrt(2)))
    expected = up * over + (1 - up) * (1 - over)
    score = abx_score(items, pieces, AbxDesign(), distance="angular")
    assert score.triplets == 2 * 40 * 10 * 9 * 10
    assert score.error == pytest.approx(expected, abs=0.02)


def test_rotation_and_scale_change_nothing() -> None:
    rng = np.random.default_rng(5)
    items = items_of_design(2, 2, 4)
    pieces = [rng.standard_normal((3, 5)) + PHONES.index(item.phone) for item in items]
    turn, _ = np.linalg.qr(rng.standard_normal((5, 5)))
    design = AbxDesign(mode="across")
    plain = abx_score(items, pieces, design, distance="angular")
    turned = abx_score(items, [7.0 * piece @ turn for piece in pieces], design, distance="angular")
    np.testing.assert_allclose(plain.errors, turned.errors, atol=1e-9)


def test_contexts_are_averaged_before_speakers_before_pairs() -> None:
    """One speaker with ten bad contexts weighs as much as one with a single good context."""
    items, pieces = [], []
    for speaker, contexts, good in (("s0", 10, False), ("s1", 1, True)):
        for c in range(contexts):
            for phone in ("AA", "IY"):
                for k in range(2):
                    items.append(AbxItem(f"{speaker}{c}{phone}{k}", 0, 1, phone, f"P{c}", "N", speaker))
                    pieces.append(np.eye(2)[[int(phone == "IY") if good else 0] * 2])
    assert abx_score(items, pieces, AbxDesign(), distance="angular").error == pytest.approx(0.25)


def test_sampling_is_bounded_seeded_and_covers_all_without_need() -> None:
    items = items_of_design(8, 1, 12)
    everything = [True] * len(items)
    cells = design_cells(items, everything, AbxDesign(mode="across", max_items=4, max_x_speakers=3, seed=1))
    assert cells.shapes.max() == 4
    assert len(cells.shapes) == 8 * 6 * 3
    again = design_cells(items, everything, AbxDesign(mode="across", max_items=4, max_x_speakers=3, seed=1))
    other = design_cells(items, everything, AbxDesign(mode="across", max_items=4, max_x_speakers=3, seed=2))
    np.testing.assert_array_equal(cells.same_keys, again.same_keys)
    assert not np.array_equal(cells.same_keys, other.same_keys)
    whole = design_cells(items, everything, AbxDesign(max_items=12))
    assert int(whole.shapes.prod(axis=1).sum()) == 8 * 6 * 12 * 11 * 12


def test_frames_are_those_whose_centre_lies_in_the_item() -> None:
    frames = np.arange(10)[:, None]
    items = [
        AbxItem("f", onset, offset, "AA", "P", "N", "s") for onset, offset in ((0.1, 0.22), (0.0, 0.4), (0.1, 0.13))
    ]
    first, whole, short = cut_items(items, {"f": frames}, 25.0)
    assert first is not None and first.ravel().tolist() == [2, 3, 4]  # centres 0.10, 0.14, 0.18; 0.22 is outside
    assert whole is not None and len(whole) == 10
    assert short is None
    (kept,) = cut_items(items[2:], {"f": frames}, 25.0, min_frames=1)
    assert kept is not None and kept.ravel().tolist() == [2]
    with pytest.raises(ValueError, match="check the frame rate \\(100 Hz\\)"):
        cut_items(items, {"f": frames}, 100.0)
    with pytest.raises(ValueError, match="no such utterance"):
        cut_items(items, {}, 25.0)


def test_distances_do_not_depend_on_the_batch() -> None:
    rng = np.random.default_rng(6)
    pieces = [rng.standard_normal((int(n), 6)) for n in rng.integers(2, 9, 30)]
    first, second = rng.integers(0, 30, 200), rng.integers(0, 30, 200)
    together = pair_distances(pieces, first, second, "angular")
    alone = [pair_distances(pieces, first[k : k + 1], second[k : k + 1], "angular")[0] for k in range(0, 200, 20)]
    np.testing.assert_allclose(together[::20], alone, atol=1e-12)


def test_interval_and_reduction_are_over_speakers_and_paired() -> None:
    rng = np.random.default_rng(7)
    items = items_of_design(12, 3, 3)
    noise = [rng.standard_normal((2, 3)) for _ in items]
    signal = [np.eye(3)[[PHONES.index(item.phone)] * 2] for item in items]
    poor = [n + s for n, s in zip(noise, signal, strict=True)]
    good = [n + 2 * s for n, s in zip(noise, signal, strict=True)]
    scores = [abx_score(items, pieces, AbxDesign(mode="across"), distance="angular") for pieces in (poor, good)]
    resampler = Resampler(seed=0, replicates=200)
    interval = scores[0].interval(resampler)
    assert interval.low < scores[0].error < interval.high and interval.high - interval.low < 0.2
    gain = relative_reduction(scores[1], scores[0], resampler)
    assert gain.estimate == pytest.approx(1 - scores[1].error / scores[0].error)
    assert 0 < gain.low < gain.estimate < gain.high <= 1
    nothing = relative_reduction(scores[0], scores[0], resampler)
    assert (nothing.low, nothing.estimate, nothing.high) == (0.0, 0.0, 0.0)
    with pytest.raises(ValueError, match="different triplets"):
        relative_reduction(scores[0], abx_score(items, poor, AbxDesign(), distance="angular"), resampler)


def test_a_speaker_drawn_twice_counts_twice() -> None:
    score = AbxScore(
        mode="across",
        errors=np.array([0.0, 1.0, 0.5]),
        speaker=np.array([0, 1, 2]),
        x_speaker=np.array([1, 2, 0]),
        pair=np.array([0, 0, 0]),
        speakers=("a", "b", "c"),
        triplets=3,
        cells=3,
    )
    assert score.error == pytest.approx(0.5)
    assert score.weighted(np.array([1.0, 2.0, 0.0])) == pytest.approx(0.0)
    assert score.weighted(np.array([0.0, 2.0, 1.0])) == pytest.approx(1.0)
    assert math.isnan(score.weighted(np.array([3.0, 0.0, 0.0])))


def test_tokens_may_be_compared_by_their_centroids() -> None:
    """Two tokens of one phone and one of another: identity sees three strangers, the centroids two near ones."""
    centroids = np.array([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]])
    token_of = {"AA0": 0, "AA1": 1, "IY0": 2, "IY1": 2}
    items = [AbxItem(f"{p}{k}", 0.0, 0.1, p, "P", "N", "s") for p in ("AA", "IY") for k in range(2)]
    clip = AudioClip.from_array(np.zeros(1600, np.float32), 16_000)
    clips = {item.file: partial(AudioClip, clip.samples, 16_000, Path(item.file)) for item in items}

    def encode(one: AudioClip) -> np.ndarray:
        return np.full(10, token_of[str(one.source)])

    tokens = Representation("tokens", encode, 100.0, True, centroids)
    resampler = Resampler(seed=0)
    found = [
        compare_representations(items, clips, [tokens], [AbxDesign()], resampler=resampler, distance=distance)[0]
        for distance in ("identity", "centroid")
    ]
    assert [row.error.estimate for row in found] == [0.25, 0.0]  # AA against IY: ties; IY against AA: right
    bare = Representation("bare", encode, 100.0, True)
    (row,) = compare_representations(items, clips, [bare], [AbxDesign()], resampler=resampler, distance="centroid")
    assert (row.distance, row.error.estimate) == ("identity", 0.25)


def test_what_cannot_be_scored_is_said() -> None:
    items = items_of_design(1, 1, 1)
    with pytest.raises(ValueError, match="no ABX triplet.*two items of one phone"):
        design_cells(items, [True] * 3, AbxDesign())
    with pytest.raises(ValueError, match="no ABX triplet.*second speaker"):
        design_cells(items, [True] * 3, AbxDesign(mode="across"))
    with pytest.raises(ValueError, match="mode is 'between'"):
        AbxDesign(mode="between")
    with pytest.raises(ValueError, match="angular is for features"):
        pair_distances([np.zeros(3, int)] * 2, np.array([0]), np.array([1]), "angular")
    with pytest.raises(ValueError, match="identity is for tokens"):
        pair_distances([np.zeros((3, 2))] * 2, np.array([0]), np.array([1]), "identity")
