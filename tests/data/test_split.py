"""Stratified, seeded splits: how many, which, and that groups stay whole."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold

from tellapart.data.split import _place_exactly, share_out, split, split_groups
from tellapart.data.table import ImageTable
from tellapart.errors import DataError


def table(
    labels: list[int] | NDArray[np.int64],
    parts: list[str] | None = None,
    groups: NDArray[np.int64] | None = None,
) -> ImageTable:
    labels = np.asarray(labels, dtype=np.int64)
    return ImageTable(
        root=Path("photos"),
        paths=tuple(f"{i:06d}.jpg" for i in range(len(labels))),
        labels=labels,
        parts=np.array(parts if parts is not None else [""] * len(labels), dtype="<U10"),
        classes=tuple("abcdefghij"[: labels.max() + 1]),
        groups=groups,
    )


def counts(found: ImageTable) -> dict[str, list[int]]:
    return {
        part: np.bincount(found.labels[found.parts == part], minlength=len(found.classes)).tolist()
        for part in np.unique(found.parts).tolist()
    }


def test_seventy_fifteen_fifteen_by_class() -> None:
    done = split(table([0] * 100 + [1] * 40))
    assert counts(done.table) == {"train": [70, 28], "validation": [15, 6], "test": [15, 6]}
    assert done.table.notes == (
        "Split off from all images (140 images): 21 for validation and 21 for test; "
        "by class, seed 0.",
    )
    assert done.part("test").paths == tuple(sorted(done.part("test").paths))


def test_counts_instead_of_shares() -> None:
    done = split(table([0] * 100 + [1] * 100), validation=50, test=0.1)
    assert counts(done.table) == {"train": [65, 65], "validation": [25, 25], "test": [10, 10]}
    assert counts(split(table([0] * 10 + [1] * 10), validation=0, test=4).table) == {
        "train": [8, 8],
        "test": [2, 2],
    }


def test_only_missing_parts_are_split_off_and_only_from_train() -> None:
    there = table([0, 1] * 50, ["train"] * 80 + ["validation"] * 20)
    done = split(there, validation=0.4, test=0.25).table
    assert counts(done) == {"train": [30, 30], "validation": [10, 10], "test": [10, 10]}
    assert (done.parts == "validation").tolist() == (there.parts == "validation").tolist()
    assert done.notes == (
        "Split off from the train part (80 images): 20 for test; by class, seed 0.",
    )
    whole = table([0, 1] * 3, ["train", "train", "validation", "validation", "test", "test"])
    assert split(whole).table.parts.tolist() == whole.parts.tolist()
    assert split(whole).table.notes == ()


def test_the_seed_decides() -> None:
    rows = table([0] * 200 + [1] * 200)
    first = split(rows, seed=1).table.parts
    assert first.tolist() == split(rows, seed=1).table.parts.tolist()
    assert first.tolist() != split(rows, seed=2).table.parts.tolist()


def test_every_row_is_equally_likely_to_be_tested() -> None:
    """A quarter of 8 images over 400 seeds: each is drawn 100 times, give or take 4 sigma."""
    rows = table([0] * 8 + [1] * 8)
    drawn = sum(
        (split(rows, validation=0, test=0.25, seed=s).table.parts == "test").astype(int)
        for s in range(400)
    )
    assert np.all(np.abs(drawn - 100) < 4 * np.sqrt(400 * 0.25 * 0.75))


def test_largest_remainders_by_hand() -> None:
    """10 of 17, 9, 5 and 2: exact shares 5.15, 2.73, 1.52, 0.61."""
    most = np.array([16, 8, 4, 1])
    assert share_out(np.array([17, 9, 5, 2]), 10, most).tolist() == [5, 3, 1, 1]
    assert share_out(np.array([100, 2]), 10, np.array([99, 1])).tolist() == [9, 1]
    assert share_out(np.array([1000, 3]), 15, np.array([999, 1])).tolist() == [14, 1]


@pytest.mark.parametrize("seed", range(5))
def test_each_class_is_within_one_of_its_share(seed: int) -> None:
    random = np.random.default_rng(seed)
    sizes = random.integers(7, 400, 10)  # 15 % of 7 is just above one
    done = split(table(np.repeat(np.arange(10), sizes)), seed=seed)
    found = counts(done.table)
    for part in ("validation", "test"):
        assert np.all(np.abs(np.array(found[part]) - 0.15 * sizes) < 1)
        assert sum(found[part]) == round(0.15 * sizes.sum())


@pytest.mark.parametrize(
    ("labels", "options", "message"),
    [
        ([0] * 10 + [1] * 2, {}, "class 'b' has 2, and 3 are needed to put one into train, val"),
        ([0] * 10 + [2] * 10, {}, "no images of b to train on"),
        ([0] * 10 + [1] * 10, {"validation": 15, "test": 10}, "15 for validation and 10 for test"),
        ([0] * 10 + [1] * 10, {"validation": 0.6, "test": 0.5}, "too many of 20 images"),
        ([0] * 10 + [1] * 10, {"validation": 1}, "less than one image for each of 2 classes"),
        ([0] * 10 + [1] * 10, {"validation": -0.1}, "--validation -0.1: give a share"),
        ([0] * 10 + [1] * 10, {"test": 1.5}, "--test 1.5: give a share"),
        ([0] * 10 + [1] * 10, {"test": float("nan")}, "--test nan: give a share"),
    ],
)
def test_impossible_splits_say_why(
    labels: list[int], options: dict[str, float], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        split(table(labels), **options)


def test_part_names_are_checked() -> None:
    with pytest.raises(ValueError, match="received 'val'"):
        split(table([0, 1] * 10)).part("val")


# --- groups ---------------------------------------------------------------------------------


def made_groups(seed: int, num_groups: int, mixed: bool) -> tuple[NDArray[np.int64], ...]:
    """Groups of 1 to 30 images, of one class each or of any."""
    random = np.random.default_rng(seed)
    sizes = random.integers(1, 31, num_groups)
    groups = np.repeat(np.arange(num_groups), sizes)
    chances = np.array([0.6, 0.3, 0.1])
    if mixed:
        return random.choice(3, len(groups), p=chances), groups
    return random.choice(3, num_groups, p=chances)[groups], groups


@pytest.mark.parametrize("mixed", [True, False])
@pytest.mark.parametrize("seed", range(4))
def test_groups_are_never_torn_and_classes_keep_their_share(seed: int, mixed: bool) -> None:
    labels, groups = made_groups(seed, 150, mixed)
    done = split(table(labels, groups=groups), validation=0.2, test=0.2, seed=seed).table
    parts_of_group = [set(done.parts[groups == g].tolist()) for g in np.unique(groups)]
    assert all(len(parts) == 1 for parts in parts_of_group)
    sizes = np.bincount(labels)
    for part, wanted in (("train", 0.6), ("validation", 0.2), ("test", 0.2)):
        share = np.bincount(labels[done.parts == part], minlength=3) / sizes
        assert np.all(np.abs(share - wanted) < 0.05)


@pytest.mark.parametrize("mixed", [True, False])
def test_groups_are_shared_out_better_than_by_scikit_learn(mixed: bool) -> None:
    """Five equal parts, the same images: distance from the class counts that were meant."""

    def error(part: NDArray[np.int64], labels: NDArray[np.int64]) -> float:
        found = np.zeros((5, 3))
        np.add.at(found, (part, labels), 1)
        wanted = np.bincount(labels) / 5
        return float(((found - wanted) ** 2 / wanted).sum())

    ours, theirs = [], []
    for seed in range(5):
        labels, groups = made_groups(seed, 200, mixed)
        targets = np.tile(np.maximum(np.bincount(labels) // 5, 1), (5, 1))
        ours.append(error(split_groups(labels, groups, targets, seed), labels))
        folds = StratifiedGroupKFold(5, shuffle=True, random_state=seed)
        part = np.zeros(len(labels), dtype=np.int64)
        for number, (_, held) in enumerate(folds.split(labels, labels, groups)):
            part[held] = number
        theirs.append(error(part, labels))
    assert np.mean(ours) < 0.5 * np.mean(theirs)


def test_single_images_make_up_for_large_groups() -> None:
    """One burst of 40 in each class of 100: everything else fits exactly around it."""
    labels = np.repeat([0, 1], 100)
    groups = np.arange(200)
    groups[:40], groups[100:140] = 1000, 1001
    done = split(table(labels, groups=groups), validation=0.15, test=0.15).table
    assert counts(done) == {"train": [70, 70], "validation": [15, 15], "test": [15, 15]}


def test_the_same_seed_gives_the_same_groups() -> None:
    labels, groups = made_groups(0, 80, True)
    rows = table(labels, groups=groups)
    first = split(rows, seed=3).table.parts.tolist()
    assert first == split(rows, seed=3).table.parts.tolist()
    assert first != split(rows, seed=4).table.parts.tolist()


def test_a_class_in_too_few_groups_is_said() -> None:
    groups = np.array([0] * 10 + [1] * 10 + list(range(2, 22)))
    with pytest.raises(DataError, match="Class 'a' lies in 2 groups, and 3 are needed"):
        split(table([0] * 20 + [1] * 20, groups=groups))


def test_groups_torn_by_the_given_parts_are_said() -> None:
    groups = np.array([0, 1, 2, 0, 0, 1])
    given = ["train", "train", "validation", "validation", "test", "test"]
    notes = split(table([0, 1] * 3, given, groups)).table.notes
    assert notes == (
        "The parts, as they were given, tear 2 groups apart; scores on them may be too good.",
    )


def test_three_large_groups_of_each_class_give_every_part_one() -> None:
    labels, groups = np.repeat([0, 1], 300), np.repeat(np.arange(6), 100)
    done = split(table(labels, groups=groups)).table
    assert counts(done) == {part: [100, 100] for part in ("train", "validation", "test")}


#: Groups as tuples of how many images of each of three classes they hold.
GROUPS = st.lists(
    st.tuples(*[st.sampled_from([0, 0, 1, 2, 5, 40])] * 3).filter(any), min_size=3, max_size=7
)


def feasible(groups: list[tuple[int, ...]]) -> bool:
    """By trying all: can three parts each hold a group of every class?"""
    classes = [i for i in range(3) if any(group[i] for group in groups)]
    return any(
        all(
            any(group[c] for group, place in zip(groups, places, strict=True) if place == part)
            for part in range(3)
            for c in classes
        )
        for places in product(range(3), repeat=len(groups))
    )


@settings(max_examples=300, deadline=None, derandomize=True)
@given(GROUPS, st.integers(0, 5))
def test_no_part_lacks_a_class_where_whole_groups_allow_it(
    groups: list[tuple[int, ...]], seed: int
) -> None:
    present = [i for i in range(3) if any(group[i] for group in groups)]
    rows = [
        (present.index(c), g)
        for g, group in enumerate(groups)
        for c in present
        for _ in range(group[c])
    ]
    labels, members = (np.array(column, dtype=np.int64) for column in zip(*rows, strict=True))
    images = np.bincount(labels)
    if images.min() < 3:
        return  # refused before groups are looked at
    targets = np.maximum(1, np.round(np.outer([0.7, 0.15, 0.15], images))).astype(np.int64)
    assigned = split_groups(labels, members, targets, seed)
    cells = np.zeros((3, len(present)), dtype=np.int64)
    np.add.at(cells, (assigned, labels), 1)
    for g in range(len(groups)):
        assert len(np.unique(assigned[members == g])) <= 1
    assert (cells > 0).all() == feasible(groups)


def test_a_class_that_no_whole_group_can_bring_is_said() -> None:
    """Groups of classes ab, ac, bc and abc: whichever way, one of three parts lacks a class."""
    labels = np.array([0, 1] * 5 + [0, 2] * 5 + [1, 2] * 5 + [0, 1, 2] * 5)
    groups = np.repeat([0, 1, 2, 3], [10, 10, 10, 15])
    try:
        notes = split(table(labels, groups=groups)).table.notes
    except DataError as error:
        notes = (str(error),)
    assert any("Whole groups leave no images of" in note for note in notes)


@pytest.mark.parametrize("missing", [1, 2])
def test_what_rounding_down_leaves_is_given_out(missing: int) -> None:
    given = share_out(np.full(3, 10), 9 + missing, np.full(3, 10))
    assert sorted(given.tolist()) == [3] * (3 - missing) + [4] * missing


def test_the_exact_placement_is_the_best_of_all() -> None:
    """Against trying every placement of five groups: deviations are shares of the targets."""
    random = np.random.default_rng(0)
    compared = 0
    for _ in range(12):
        counts = random.integers(0, 9, (5, 2)) * (random.random((5, 2)) < 0.8)
        counts[counts.sum(axis=1) == 0, 0] = 1
        targets = np.stack([np.ceil(counts.sum(axis=0) * share) for share in (0.6, 0.2, 0.2)])
        targets = np.maximum(targets, 1).astype(np.int64)
        members = [(np.flatnonzero(row), row[row > 0]) for row in counts]
        costs = {}
        for placed in product(range(3), repeat=5):
            got = np.stack([counts[np.array(placed) == part].sum(axis=0) for part in range(3)])
            if (got > 0).all():
                costs[placed] = float((np.abs(got - targets) / targets).sum())
        found = _place_exactly(members, targets)
        assert (found is None) == (not costs)
        if found is not None:
            compared += 1
            assert costs[tuple(found.tolist())] == pytest.approx(min(costs.values()))
    assert compared >= 3
