"""Splits of whole groups on numbers small enough to work out by hand, and what is said of them."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tellapart.data import split as split_module
from tellapart.data.split import (
    _check_grouped,
    _error,
    _fill,
    _place,
    _place_needed_first,
    parts_split_off,
    share_out,
    split,
    split_groups,
)
from tellapart.data.table import ImageTable
from tellapart.errors import DataError


def _table(
    labels: list[int], groups: list[int] | None = None, parts: list[str] | None = None
) -> ImageTable:
    return ImageTable(
        root=Path("photos"),
        paths=tuple(f"{i:06d}.jpg" for i in range(len(labels))),
        labels=np.array(labels, dtype=np.int64),
        parts=np.array(parts or [""] * len(labels), dtype="<U10"),
        classes=tuple("abcdefghij"[: max(labels) + 1]) if labels else ("a",),
        groups=None if groups is None else np.array(groups, dtype=np.int64),
    )


def _refusal(table: ImageTable, **options: float) -> str:
    with pytest.raises(DataError) as error:
        split(table, **options)
    return str(error.value)


def _members(
    cells: NDArray[np.int64],
) -> list[tuple[NDArray[np.int64], NDArray[np.float64]]]:
    """Images by group and class -> what the placements take."""
    return [(np.flatnonzero(row), row[row > 0].astype(np.float64)) for row in cells]


# --- what is said -------------------------------------------------------------------------------


def test_refusals_in_full() -> None:
    assert _refusal(_table([])) == "There are no images to train on in photos."
    assert _refusal(_table([0, 0, 0, 2, 2, 2])) == (
        "There are no images of b to train on; add some, or leave the class out."
    )
    assert _refusal(_table([0] * 9 + [1, 1, 2])) == (
        "Too few images to split: class 'b' has 2, 'c' has 1, and 3 are needed to put one into "
        "train, validation and test; add images, or do without a test part, with --test 0."
    )
    assert _refusal(_table([0] * 9 + [1] * 9 + [2])) == (
        "Too few images to split: class 'c' has 1, and 3 are needed to put one into train, "
        "validation and test; add images, or leave classes so small out with --min-images 3."
    )
    assert _refusal(_table([0] * 9 + [1]), test=0) == (
        "Too few images to split: class 'b' has 1, and 2 are needed to put one into train, "
        "validation; add images."
    )
    assert _refusal(_table([*range(7)] * 2)).startswith(
        "Too few images to split: class 'a' has 2, 'b' has 2, 'c' has 2, 'd' has 2, 'e' has 2 and "
        "2 more have as few, and 3 are needed"
    )
    assert _refusal(_table([0, 1] * 9), test=1) == (
        "--test 1 is less than one image for each of 2 classes."
    )
    assert _refusal(_table([0, 1] * 9), validation=9, test=8) == (
        "9 for validation and 8 for test are too many of 18 images: the train part needs at "
        "least one image of each class; lower --validation or --test."
    )
    assert _refusal(_table([0, 1] * 9), validation=1.5) == (
        "--validation 1.5: give a share from 0 to below 1, or a whole number of images."
    )
    assert _refusal(_table([0] * 10 + [1] * 10, [0] * 10 + list(range(1, 11)))) == (
        "Class 'a' lies in 1 group, and 3 are needed to put one into train, validation and test "
        "without tearing a group; group by something finer, or make the parts by hand."
    )


def test_the_most_that_can_be_asked_for() -> None:
    """18 images of two classes leave 16: the train part keeps one of each."""
    done = split(_table([0, 1] * 9), validation=8, test=8).table
    found = {part: int((done.parts == part).sum()) for part in ("train", "validation", "test")}
    assert found == {"train": 2, "validation": 8, "test": 8}
    assert split(_table([0, 1] * 3), validation=2, test=2).table.notes == (
        "Split off from all images (6 images): 2 for validation and 2 for test; by class, seed 0.",
    )


def test_notes_of_whole_groups() -> None:
    labels, groups = [0, 1] * 6, [g for g in range(6) for _ in range(2)]
    done = split(_table(labels, groups), validation=0, test=4, seed=7).table
    assert done.notes == (
        "Split off from all images (12 images): 4 for test; by class, whole groups, seed 7.",
    )
    assert parts_split_off(done.notes) == ("test",)
    torn = split(_table([0, 1, 0, 1], [5, 5, 5, 9], ["train", "train", "test", "validation"]))
    assert torn.table.notes == (
        "The parts, as they were given, tear 1 group apart; scores on them may be too good.",
    )
    whole = split(_table([0, 1, 0, 1], [5, 5, 8, 9], ["train", "train", "test", "validation"]))
    assert whole.table.notes == ()


def test_a_class_that_groups_cannot_bring_is_named() -> None:
    """Three groups of class a and b, three of a and c; two parts can have each, never all three.

    Groups: ab, ac, bc and abc (as many as it takes that each class lies in three groups).
    """
    labels = [0, 1] * 5 + [0, 2] * 5 + [1, 2] * 5 + [0, 1, 2] * 5
    groups = [0] * 10 + [1] * 10 + [2] * 10 + [3] * 15
    said = split(_table(labels, groups)).table
    lacking = {
        part: [c for i, c in enumerate("abc") if i not in said.labels[said.parts == part]]
        for part in ("validation", "test")
    }
    expected = tuple(
        f"Whole groups leave no images of {names[0]} for {part}."
        for part, names in lacking.items()
        if len(names) == 1
    )
    assert expected and said.notes[1:] == expected


# --- how many ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lacking", "count", "expected"),
    [
        ([7.0, 2.0, 1.0], 10, [7, 2, 1]),
        ([7.0, 2.0, 1.0], 5, [4, 1, 0]),  # 3.5, 1, 0.5: the first of two halves
        ([-4.0, 3.0, 1.0], 8, [0, 6, 2]),  # what has too many gets none
        ([-1.0, -2.0, 0.0], 3, [3, 0, 0]),  # train takes the rest
        ([1.0, 1.0, 1.0], 5, [2, 2, 1]),
    ],
)
def test_single_images_go_where_they_lack(
    lacking: list[float], count: int, expected: list[int]
) -> None:
    assert _fill(np.array(lacking), count).tolist() == expected


@pytest.mark.parametrize(
    ("counts", "total", "most", "expected"),
    [
        ([10, 10], 4, [9, 9], [2, 2]),
        ([97, 1, 1, 1], 5, [90, 1, 1, 1], [2, 1, 1, 1]),
        ([8, 4, 4], 6, [7, 1, 3], [3, 1, 2]),  # 3, 1.5, 1.5: the second is full
        ([8, 8], 20, [7, 7], [7, 7]),  # no more than there is
        ([4, 4, 4], 2, [3, 3, 3], [1, 1, 1]),  # no less than one each
    ],
)
def test_largest_remainders(
    counts: list[int], total: int, most: list[int], expected: list[int]
) -> None:
    given = share_out(np.array(counts), total, np.array(most))
    assert given.tolist() == expected


def test_the_distance_from_what_was_asked() -> None:
    """(2 - 1)^2 / 1 + (1 - 2)^2 / 2 = 1.5; a class that a part lacks weighs 10^12."""
    labels = np.zeros(3, np.int64)
    targets = np.array([[1], [2]])
    assert _error(np.array([0, 0, 1]), labels, targets) == 1.5
    assert _error(np.array([0, 1, 1]), labels, targets) == 0.0
    assert _error(np.array([0, 0, 0]), labels, targets) == 1e12 + 4 / 1 + 4 / 2


# --- which groups -------------------------------------------------------------------------------


def test_large_groups_first_by_hand() -> None:
    """Sizes that halve: their order is certain. Costs are (2 * over * n + n^2) / target.

    100 goes to train (96 wanted), 50 to validation (48 wanted), and test, of which 48 are
    wanted, too, gets 25, 10, 5 and 2.
    """
    sizes = np.array([10, 100, 2, 50, 5, 25])
    placed = _place(
        _members(sizes[:, None]),
        sizes,
        np.arange(6),
        np.array([[96], [48], [48]]),
        np.random.default_rng(0),
    )
    assert placed.tolist() == [2, 0, 2, 1, 2, 2]


def test_single_images_fill_up_what_groups_leave() -> None:
    """A group of 4 of class a in train (6 wanted) leaves 2, 3 and 1; of class b 1, 1 and 1."""
    cells = np.array([[4, 0], *[[1, 0]] * 6, *[[0, 1]] * 3])
    targets = np.array([[6, 1], [3, 1], [1, 1]])
    placed = _place(
        _members(cells), cells.sum(axis=1), np.array([0]), targets, np.random.default_rng(3)
    )
    found = np.zeros_like(targets)
    np.add.at(found, placed, cells)
    assert found.tolist() == targets.tolist()


@pytest.mark.parametrize("seed", range(6))
def test_groups_of_one_class_lie_nearly_as_well_as_they_can(seed: int) -> None:
    """Against trying all 3^7 placements."""
    random = np.random.default_rng(seed)
    sizes = random.integers(2, 20, 7)
    total = int(sizes.sum())
    targets = np.maximum(1, np.round(np.array([[0.6], [0.2], [0.2]]) * total)).astype(np.int64)
    groups = np.repeat(np.arange(7), sizes)
    labels = np.zeros(total, np.int64)
    best = min(
        _error(np.array(placed)[groups], labels, targets) for placed in product(range(3), repeat=7)
    )
    found = _error(split_groups(labels, groups, targets, seed), labels, targets)
    assert found <= best + 0.15


@pytest.mark.parametrize("seed", range(8))
def test_needed_groups_are_placed_first(seed: int) -> None:
    """Class c lies in three groups alone: each part gets one, and the rest comes near."""
    random = np.random.default_rng(seed)
    cells = np.zeros((12, 3), np.int64)
    cells[:, 0], cells[:6, 1] = random.integers(2, 6, 12), random.integers(1, 4, 6)
    cells[:3, 2] = 2
    targets = np.round(np.outer([0.5, 0.25, 0.25], cells.sum(axis=0))).astype(np.int64)
    targets = np.maximum(targets, 1)
    placed = _place_needed_first(_members(cells), targets, random)
    found = np.zeros_like(targets)
    np.add.at(found, placed, cells)
    assert (found > 0).all()
    assert sorted(placed[:3].tolist()) == [0, 1, 2]
    assert (np.abs(found - targets)[:, 0] <= 5).all()
    assert (np.abs(found - targets)[:, 1] <= 3).all()


@pytest.mark.parametrize(
    ("assigned", "said"),
    [
        ([0, 0, 0, 0, 1, 1, 1, 1], "Whole groups leave no images of b for train"),
        ([0, 0, 0, 0, 0, 0, 0, 0], "Whole groups leave no images of a, b for test"),
    ],
)
def test_train_needs_every_class_and_a_part_some_images(assigned: list[int], said: str) -> None:
    labels = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    groups = np.arange(8)
    table = _table(labels.tolist(), groups.tolist())
    with pytest.raises(DataError, match=said):
        _check_grouped(table, labels, groups, np.array(assigned), ["test"])
    uneven = np.array([1, 1, 0, 0, 0, 0, 0, 0])
    assert _check_grouped(table, labels, groups, uneven, ["test"]) == [
        "Whole groups leave no images of b for test."
    ]


def test_what_is_not_needed_goes_where_it_is_missed() -> None:
    """One class, sizes 64, 32, 16, 8, 4 and 2, wanted 66, 32 and 28: none is off by more than 4."""
    sizes = np.array([64, 32, 16, 8, 4, 2])
    targets = np.array([[66], [32], [28]])
    placed = _place_needed_first(_members(sizes[:, None]), targets, np.random.default_rng(0))
    found = np.bincount(placed, weights=sizes, minlength=3)
    assert np.abs(found - targets[:, 0]).max() <= 4


@pytest.mark.parametrize(("counts", "total", "most", "expected"), [
    ([7, 7], 5, [6, 6], [3, 2]),  # 2.5 each: one is missing, and goes to the first
    ([1, 1, 98], 10, [9, 9, 97], [1, 1, 8]),  # one too many: the one that has most too many gives
    ([1, 1, 1, 97], 6, [5, 5, 5, 96], [1, 1, 1, 3]),  # 0.06 each are raised to 1: 5.82 falls to 3
])  # fmt: skip
def test_one_more_and_one_less(
    counts: list[int], total: int, most: list[int], expected: list[int]
) -> None:
    assert share_out(np.array(counts), total, np.array(most)).tolist() == expected


def test_a_part_leaves_one_image_of_each_class_for_every_later_one() -> None:
    """Class b has three images: validation wants two of them by its share and gets one."""
    done = split(_table([0] * 6 + [1] * 3), validation=0.6, test=0.12).table
    found = {
        part: np.bincount(done.labels[done.parts == part], minlength=2).tolist()
        for part in ("train", "validation", "test")
    }
    assert found == {"train": [1, 1], "validation": [4, 1], "test": [1, 1]}


def test_names_of_parts_are_written_out_whatever_was_there() -> None:
    """No part was longer than "test" before: "validation" is not cut to its length."""
    table = _table([0, 1] * 10, parts=["test"] * 4 + [""] * 16)
    assert table.parts.dtype == np.dtype("<U10")
    short = replace(table, parts=table.parts.astype("<U4"))
    done = split(short, validation=4).table
    assert set(done.parts.tolist()) == {"train", "validation", "test"}
    only_test = split(_table([0, 1] * 10), validation=0, test=4).table
    assert set(only_test.parts.tolist()) == {"train", "test"}


def test_an_exact_placement_is_that_of_the_groups() -> None:
    """Groups ab, ac, bc, abc, abc: only two placements give each part each class."""
    cells = np.array([[1, 1, 0], [1, 0, 1], [0, 1, 1], [1, 1, 1], [1, 1, 1]])
    rows = [(label, group) for group in range(5) for label in np.flatnonzero(cells[group])]
    labels, groups = (np.array(column) for column in zip(*rows, strict=True))
    assigned = split_groups(labels, groups, np.ones((3, 3), np.int64), 0)
    for part in range(3):
        assert set(labels[assigned == part].tolist()) == {0, 1, 2}
    # Of 300 images in five such groups, too, and the shape of the answer is one part an image.
    assert assigned.shape == labels.shape
    alone = [len({int(assigned[i]) for i in np.flatnonzero(groups == g)}) for g in range(5)]
    assert alone == [1] * 5


def test_very_many_groups_are_tried_fewer_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """32 orders for up to 1,562 groups of several images, then fewer, and always one."""
    tried: list[int] = []
    original = split_module._place

    def counted(*args: object) -> object:
        tried.append(1)
        return original(*args)

    monkeypatch.setattr(split_module, "_place", counted)
    targets = np.array([[60], [40]])
    for groups_in_all, groups, tries in ((32 * 50, 50, 32), (10 * 50, 50, 10), (20, 50, 1),
                                         (7, 0, 7)):  # fmt: skip
        tried.clear()
        monkeypatch.setattr(split_module, "_GROUPS_IN_ALL", groups_in_all)
        members = np.repeat(np.arange(50), 2) if groups else np.arange(100)
        split_groups(np.zeros(100, np.int64), members, targets, 0)
        assert len(tried) == tries


def test_rare_classes_come_first_where_groups_are_needed() -> None:
    """Class b lies in three groups, which all have a; were a placed first, b might lack."""
    for seed in range(20):
        cells = np.array([[5, 0]] * 3 + [[5, 1]] * 3 + [[5, 0]] * 3)
        targets = np.array([[27, 1], [9, 1], [9, 1]])
        placed = _place_needed_first(_members(cells), targets, np.random.default_rng(seed))
        found = np.zeros_like(targets)
        np.add.at(found, placed, cells)
        assert found[:, 1].tolist() == [1, 1, 1]
        assert (np.abs(found - targets)[:, 0] <= 5).all()
