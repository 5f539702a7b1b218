"""Which images belong together, and what that costs, by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import t

from tellapart.evaluation.image_groups import image_groups
from tellapart.evaluation.intervals import Z, wilson


def raised(groups: float) -> float:
    """Student's quantile over the normal one, squared, for so many groups of equal size."""
    return float(t.ppf(0.975, max(groups - 1.0, 1.0)) / Z) ** 2


def test_groups_by_their_numbers() -> None:
    found = image_groups(np.array([7, 3, 7, -1, -1, 9]))
    assert found is not None and found.count == 5
    numbers = found.numbers.tolist()
    assert numbers[0] == numbers[2] and len(set(numbers)) == 5
    assert sorted(set(numbers)) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("alone", [None, [], [4, 2, 9], [-1, -1], [5, -1, -1]])
def test_images_that_all_stand_alone_are_no_groups(alone: list[int] | None) -> None:
    assert image_groups(None if alone is None else np.array(alone, dtype=np.int64)) is None


def test_an_image_that_stands_alone_is_in_no_other_group() -> None:
    """Its own number is one that no group has, also not the largest."""
    found = image_groups(np.array([-1, 1, 1, 0, 2]))
    assert found is not None and found.count == 4
    assert found.numbers[0] not in found.numbers[1:]


def test_the_effect_by_hand() -> None:
    """Groups of 3, 2, 2 and 1. Influences 2, 2, -1, -1, -1, 2, -1, -2: mean 0.

    Group of 3: sum 3, squares 4 + 4 + 1 = 9, so its pairs come to (9 - 9) / 2 = 0. Groups of 2:
    (4 - 2) / 1 = 2 and (1 - 5) / 1 = -4. In all -2 over 9 + 2 + 5 = 16.

    2, 2, 2, -1, -1, -1, -1, -2: the group of 3 has (36 - 12) / 2 = 12, each of 2 has 2: 16 over
    12 + 2 + 2 = 16, all alike. 2, 2, -1, -2, -2, 1, 1, -1: 0, 8 and 2 over 9 + 8 + 2. The group
    that an image is in has (9 + 4 + 4 + 1) / 8 = 9 / 4 images.
    """
    groups = image_groups(np.array([0, 0, 0, 1, 1, 2, 2, 3]))
    size = 9 / 4
    for influence, alike in (
        ([2, 2, -1, -1, -1, 2, -1, -2], -2 / 16),
        ([2, 2, 2, -1, -1, -1, -1, -2], 1),
        ([2, 2, -1, -2, -2, 1, 1, -1], (0 + 8 + 2) / 19),
    ):
        values = np.array(influence, dtype=np.float64)
        squares = values**2
        assert values.sum() == 0
        moving = squares.sum() ** 2 / (squares**2).sum()
        measured = (1 + (size - 1) * alike) * 4 / 3
        expected = (moving * measured + 0.5 * size) / (moving + 0.5) * raised(8 / size)
        assert groups.design_effect(values) == pytest.approx(expected)
        assert groups.design_effect(values + 5.0) == pytest.approx(expected)


def test_copies_in_groups_of_unequal_sizes_are_known_as_well_as_their_groups() -> None:
    """50 groups of about 10 copies, nine in ten groups right: the interval holds that.

    By the groups' sum of squares it held it in 91 % of such sets: which sizes the few wrong
    groups have is chance, and where they are small the interval is too short.
    """
    random, held = np.random.default_rng(0), 0
    for _ in range(600):
        sizes = random.geometric(0.1, 50)
        right = np.repeat(random.random(50) < 0.9, sizes)
        effect = image_groups(np.repeat(np.arange(50), sizes)).design_effect(right)
        low, high = wilson(right.sum() / effect, len(right) / effect)
        held += low <= 0.9 <= high
    assert 0.94 < held / 600 < 0.99


def test_the_effect_of_many_groups_by_hand() -> None:
    """100 groups of 2, half of them all right, the others half: student's quantile is near 1.98.

    Images: 150 right of 200, deviations 1/4 and -3/4: 150 / 16 + 50 * 9 / 16 = 37.5.
    Groups: 50 sums of 1/2 and 50 of -1/2: 25, times 100 / 99.
    """
    groups = image_groups(np.repeat(np.arange(100), 2))
    right = np.tile([True, True, True, False], 50)
    together = 25 * 100 / 99
    moving = 37.5**2 / (150 / 4**4 + 50 * (3 / 4) ** 4)
    ratio = (moving * together / 37.5 + 0.5 * 2) / (moving + 0.5)
    assert ratio < 1.0  # images of a group differ more than others: still at least 1
    assert groups.design_effect(right) == pytest.approx(raised(100), rel=1e-4)
    same = np.repeat(np.arange(100) % 4 > 0, 2)  # both of a group alike
    deviations = np.where(same, 1 / 4, -3 / 4)
    alone, sums = float((deviations**2).sum()), 2 * deviations[::2]
    together = float((sums**2).sum()) * 100 / 99
    moving = alone**2 / float((deviations**4).sum())
    expected = (moving * together / alone + 0.5 * 2) / (moving + 0.5) * raised(100)
    assert groups.design_effect(same) == pytest.approx(expected, rel=1e-4)
    assert expected == pytest.approx(2.08, abs=0.01)


def test_only_the_groups_of_the_rows_count() -> None:
    """Of rows 2, 3 and 4 two belong together: sizes 1 and 2, worst (1 + 4) / 3."""
    groups = image_groups(np.array([0, 0, 0, 1, 1, 2, 2]))
    rows, worst = np.array([2, 3, 4]), 5 / 3
    influence = np.array([1.0, -1.0, 0.0])
    # Deviations 1, -1, 0; sums of groups 1 and -1: 2 * 2 / 1 = 4 against 2; moving 4 / 2 = 2.
    expected = (2 * 2 + 0.5 * worst) / 2.5
    assert groups.design_effect(influence, rows) / groups.design_effect(
        np.zeros(3), rows
    ) == pytest.approx(expected / worst)
    assert groups.design_effect(influence[:2], np.array([0, 6])) == 1.0


def test_where_nothing_differs_the_worst_case_is_taken() -> None:
    """All images right: two groups of 10 and one of 5 may each be one image."""
    groups = image_groups(np.repeat([4, 5, 6], [10, 10, 5]))
    worst = 225 / 25
    assert groups.design_effect(np.ones(25)) == pytest.approx(worst * raised(25 / worst))
    even = image_groups(np.repeat(np.arange(50), 4))
    assert even.design_effect(np.ones(200)) == pytest.approx(4 * raised(50), rel=1e-3)
    few = image_groups(np.array([0] * 30 + [1]))  # counts as hardly more than one group
    worst = 901 / 31
    assert few.design_effect(np.ones(31)) / worst == pytest.approx(
        even_two().design_effect(np.ones(4)) / 2
    )


def even_two():  # one degree of freedom, the fewest there can be
    return image_groups(np.array([0, 0, 1, 1]))
