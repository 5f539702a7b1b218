"""Folds: stratified, seeded, whole groups, and refused where a class is too small."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tellapart.data.folds import assign_folds, divide_rest, together_in, without_parts
from tellapart.data.table import ImageTable
from tellapart.errors import DataError, RecipeError


def table_of(
    labels: list[int], groups: list[int] | None = None, parts: list[str] | None = None
) -> ImageTable:
    return ImageTable(
        root=Path("photos"),
        paths=tuple(f"{row:03}.jpg" for row in range(len(labels))),
        labels=np.array(labels),
        parts=np.array(parts if parts is not None else [""] * len(labels), "<U10"),
        classes=tuple("abcdefgh"[: max(labels) + 1]),
        groups=None if groups is None else np.array(groups),
    )


def counts(table: ImageTable, folds: NDArray[np.int64]) -> NDArray[np.int64]:
    """(folds, classes)"""
    found = np.zeros((folds.max(), len(table.classes)), np.int64)
    np.add.at(found, (folds - 1, table.labels), 1)
    return found


def test_each_class_and_the_folds_themselves_are_even_to_within_one_image() -> None:
    table = table_of([0] * 23 + [1] * 48 + [2] * 7)
    folds = assign_folds(table, 5, seed=3)
    assert set(folds.tolist()) == {1, 2, 3, 4, 5}
    found = counts(table, folds)
    assert (found.max(axis=0) - found.min(axis=0) <= 1).all()
    assert found.sum(axis=1).max() - found.sum(axis=1).min() <= 1
    assert (assign_folds(table, 5, seed=3) == folds).all()
    assert (assign_folds(table, 5, seed=4) != folds).any()


def test_a_group_is_in_one_fold_and_classes_stay_about_even() -> None:
    random = np.random.default_rng(0)
    groups = random.integers(0, 40, 200)
    labels = groups % 2
    table = table_of(labels.tolist(), groups.tolist())
    folds = assign_folds(table, 5)
    for group in np.unique(groups):
        assert len(set(folds[groups == group].tolist())) == 1
    found = counts(table, folds)
    assert (found > 0).all() and found.max() <= 2 * found.min()


def test_beside_a_fold_both_those_that_train_and_those_that_choose_have_every_class() -> None:
    table = table_of([0] * 6 + [1] * 30)
    folds = assign_folds(table, 3)
    for fold in (1, 2, 3):
        rest = table.select(folds != fold)
        chosen = divide_rest(rest, 0.15)
        assert set(rest.labels[chosen].tolist()) == set(rest.labels[~chosen].tolist()) == {0, 1}


@pytest.mark.parametrize("folds", [1, 0, -3])
def test_fewer_than_two_folds_are_refused(folds: int) -> None:
    with pytest.raises(RecipeError, match=rf"--cross-validate {folds}: give 2 folds or more"):
        assign_folds(table_of([0] * 10 + [1] * 10), folds)


@pytest.mark.parametrize(
    ("sizes", "folds", "advice"),
    [
        ((20, 4), 5, "class 'b' has 4 images.*give --cross-validate 4 or less"),
        ((20, 3), 5, "class 'b' has 3 images.*give --cross-validate 3, or"),
        ((20, 3), 2, "class 'b' has 3 images.*hold out a half.*give --cross-validate 3, or"),
        ((20, 2), 2, "class 'b' has 2 images.*leave classes so small out with --min-images 3"),
        ((20, 1), 2, "class 'b' has 1 image, .*--min-images 3"),
    ],
)
def test_a_class_too_small_for_so_many_folds(
    sizes: tuple[int, int], folds: int, advice: str
) -> None:
    with pytest.raises(DataError, match=advice):
        assign_folds(table_of([0] * sizes[0] + [1] * sizes[1]), folds)


@pytest.mark.parametrize(("number", "folds"), [(3, 3), (4, 2), (4, 4), (5, 5)])
def test_the_smallest_class_that_does(number: int, folds: int) -> None:
    table = table_of([0] * 20 + [1] * number)
    found = assign_folds(table, folds)
    for fold in range(1, folds + 1):
        rest = table.select(found != fold)
        assert divide_rest(rest, 0.15).any()


def test_groups_count_and_not_their_images() -> None:
    table = table_of([0] * 20 + [1] * 20, [*range(20), *([20] * 10), *([21] * 10)])
    with pytest.raises(DataError, match="class 'b' has 2 groups of images that belong together"):
        assign_folds(table, 5)


def test_given_test_images_stay_out_of_it_and_a_note_says_so() -> None:
    table = table_of([0, 0, 0, 1, 1, 1], parts=["train", "validation", "test"] * 2)
    kept = without_parts(table)
    assert len(kept) == 4 and set(kept.parts.tolist()) == {""}
    assert "train and validation images of the folder are cross-validated together" in kept.notes[0]
    assert "2 test images of the folder are left alone" in kept.notes[1]
    assert not without_parts(table_of([0, 1])).notes


def test_copies_join_the_groups_of_the_table() -> None:
    table = table_of([0, 0, 1, 1], groups=[0, 1, 2, 3])
    assert together_in(table, np.array([0, 1, 2, 3])).groups is None
    joined = together_in(table, np.array([0, 0, 2, 3])).groups
    assert joined is not None and joined[0] == joined[1] and len(set(joined.tolist())) == 3
