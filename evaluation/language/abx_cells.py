"""Which items are compared: cells of one context, one pair of phones and one or two speakers, subsampled by seed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from evaluation.language.items import AbxItem

__all__ = ["CONTEXTS", "MODES", "AbxDesign", "Cells", "design_cells"]

MODES = ("within", "across")
CONTEXTS = ("triphone", "any")


@dataclass(frozen=True, slots=True, kw_only=True)
class AbxDesign:
    """How cells are made.

    ``context``: ``triphone`` compares phones between the same neighbours, ``any`` ignores the neighbours. At most
    ``max_items`` items stand on each side of a cell and at most ``max_x_speakers`` speakers give the x of a pair in
    mode ``across`` (ZeroSpeech's 10 and 5); what is beyond is drawn by ``seed``.
    """

    mode: str = "within"
    context: str = "triphone"
    max_items: int = 10
    max_x_speakers: int = 5
    seed: int = 3459

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ValueError(f"mode is {self.mode!r}; use one of {', '.join(MODES)}")
        if self.context not in CONTEXTS:
            raise ValueError(f"context is {self.context!r}; use one of {', '.join(CONTEXTS)}")
        if self.max_items < 2 or self.max_x_speakers < 1:
            raise ValueError("max_items must be 2 or more and max_x_speakers 1 or more")


@dataclass(frozen=True, slots=True)
class Cells:
    """Cells in flat arrays.

    ``shapes``: numbers of x, a and b ``[cell, 3]``; ``same_keys``: pairs (a, x) as ``a * items + x`` (smaller index
    first), cell after cell, x outer and a inner, from ``same_start[cell]`` on; ``other_keys``: pairs (b, x) likewise.
    ``speaker``, ``x_speaker``, ``pair``: of each cell, as numbers; ``speakers``: their names.
    """

    shapes: np.ndarray
    same_keys: np.ndarray
    other_keys: np.ndarray
    same_start: np.ndarray
    other_start: np.ndarray
    speaker: np.ndarray
    x_speaker: np.ndarray
    pair: np.ndarray
    speakers: tuple[str, ...]


class _Cell(NamedTuple):
    speaker: str
    x_speaker: str
    phones: tuple[str, str]
    shape: tuple[int, int, int]
    same: np.ndarray
    other: np.ndarray


def design_cells(items: Sequence[AbxItem], usable: Sequence[bool], design: AbxDesign) -> Cells:
    """All cells of the usable items.

    Raises:
        ValueError: there is none; the message says what a cell needs.
    """
    groups = _groups(items, usable, design)
    cells: list[_Cell] = []
    for (context, speaker, phone), side in groups.items():
        rivals = [other for other in groups.phones_of[context, speaker] if other != phone]
        if rivals:
            x_sides = _x_sides(groups, context, speaker, phone, side, design)
            cells += [
                _cell(len(items), groups, (context, speaker, phone, rival), x_speaker, x_side)
                for rival in rivals
                for x_speaker, x_side in x_sides
            ]
    if not cells:
        need = "two items of one phone and one of another" if design.mode == "within" else "a second speaker's item"
        wider = ", or compare phones whatever stands beside them: --context any" if design.context != "any" else ""
        raise ValueError(
            f"no ABX triplet: no context ({design.context}) of any speaker holds {need}; use more speech{wider}"
        )
    speakers = tuple(sorted({cell.speaker for cell in cells} | {cell.x_speaker for cell in cells}))
    return _flatten(cells, speakers)


class _Groups(dict[tuple[str, str, str], np.ndarray]):
    """Item numbers by (context, speaker, phone), at most ``max_items`` each."""

    def __init__(self) -> None:
        super().__init__()
        self.phones_of: dict[tuple[str, str], list[str]] = defaultdict(list)
        self.speakers_of: dict[tuple[str, str], list[str]] = defaultdict(list)


def _groups(items: Sequence[AbxItem], usable: Sequence[bool], design: AbxDesign) -> _Groups:
    members: dict[tuple[str, str, str], list[int]] = defaultdict(list)
    for index, item in enumerate(items):
        if usable[index]:
            context = f"{item.previous} {item.next}" if design.context == "triphone" else ""
            members[context, item.speaker, item.phone].append(index)
    rng = np.random.default_rng([design.seed, 0])
    groups = _Groups()
    for key in sorted(members):
        numbers = np.array(members[key])
        if len(numbers) > design.max_items:
            numbers = np.sort(rng.choice(numbers, design.max_items, replace=False))
        groups[key] = numbers
        groups.phones_of[key[0], key[1]].append(key[2])
        groups.speakers_of[key[0], key[2]].append(key[1])
    return groups


def _x_sides(
    groups: _Groups, context: str, speaker: str, phone: str, side: np.ndarray, design: AbxDesign
) -> list[tuple[str, np.ndarray]]:
    """Who gives x, and their items; within a speaker x comes from the side of a itself."""
    if design.mode == "within":
        return [(speaker, side)] if len(side) > 1 else []
    others = [name for name in groups.speakers_of[context, phone] if name != speaker]
    if len(others) > design.max_x_speakers:
        text = f"{design.seed}\0{context}\0{speaker}\0{phone}".encode()
        rng = np.random.default_rng([design.seed, *text])
        others = sorted(rng.choice(others, design.max_x_speakers, replace=False).tolist())
    return [(name, groups[context, name, phone]) for name in others]


def _cell(count: int, groups: _Groups, place: tuple[str, str, str, str], x_speaker: str, x_side: np.ndarray) -> _Cell:
    context, speaker, phone, rival = place
    a_side, b_side = groups[context, speaker, phone], groups[context, speaker, rival]
    a, x = np.meshgrid(a_side, x_side)  # [x, a]
    same = _keys(a, x, count)
    own = x_speaker == speaker
    if own:
        same = same[a != x]  # x is not its own a; each x keeps all but one
    b, x = np.meshgrid(b_side, x_side)
    shape = (len(x_side), len(a_side) - own, len(b_side))
    return _Cell(speaker, x_speaker, (phone, rival), shape, same.ravel(), _keys(b, x, count).ravel())


def _keys(one: np.ndarray, other: np.ndarray, count: int) -> np.ndarray:
    return np.minimum(one, other).astype(np.int64) * count + np.maximum(one, other)


def _flatten(cells: Sequence[_Cell], speakers: tuple[str, ...]) -> Cells:
    number = {name: index for index, name in enumerate(speakers)}
    pairs = {phones: index for index, phones in enumerate(sorted({cell.phones for cell in cells}))}
    same_sizes = np.array([len(cell.same) for cell in cells])
    other_sizes = np.array([len(cell.other) for cell in cells])
    return Cells(
        shapes=np.array([cell.shape for cell in cells]),
        same_keys=np.concatenate([cell.same for cell in cells]),
        other_keys=np.concatenate([cell.other for cell in cells]),
        same_start=np.cumsum(same_sizes) - same_sizes,
        other_start=np.cumsum(other_sizes) - other_sizes,
        speaker=np.array([number[cell.speaker] for cell in cells]),
        x_speaker=np.array([number[cell.x_speaker] for cell in cells]),
        pair=np.array([pairs[cell.phones] for cell in cells]),
        speakers=speakers,
    )
