"""Averages over classes, worked out from small confusion matrices class by class."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from tellapart.evaluation.averages import Matrix, averages, class_shares, matrix_of
from tellapart.evaluation.image_groups import image_groups
from tellapart.evaluation.intervals import wilson, wilson_from_variance
from tellapart.evaluation.metrics import confusion_matrix
from tellapart.evaluation.predictions import Predictions

MATRICES = [
    [[8, 2], [1, 4]],
    [[30, 0], [0, 6]],
    [[9, 1, 0], [2, 5, 1], [1, 0, 3]],
    [[1, 0, 0], [0, 2, 0], [0, 1, 20]],
]


def matrix(counts: list[list[int]], groups: NDArray[np.int64] | None = None) -> Matrix:
    size = len(counts)
    cells = [(t, p) for t in range(size) for p in range(size) for _ in range(counts[t][p])]
    labels, called = (np.array(column, dtype=np.int64) for column in zip(*cells, strict=True))
    made = Predictions(
        "test", tuple("abcdefgh"[:size]), tuple(map(str, range(len(labels)))), labels,
        np.eye(size)[called], groups=groups,
    )  # fmt: skip
    return matrix_of(made, confusion_matrix(made), image_groups(made.groups))


def of_classes(counts: list[list[int]]) -> list[tuple[int, int, int]]:
    """Right, labelled and called images of each class."""
    sums = np.array(counts)
    return [
        (int(sums[i, i]), int(sums[i].sum()), int(sums[:, i].sum())) for i in range(len(counts))
    ]


def expected(
    values: list[float],
    lows: list[float],
    highs: list[float],
    spreads: list[float],
    pulled: list[float],
    share: list[float],
    together: list[list[float]],
    effect: float = 1.0,
) -> tuple[float, float, float]:
    """The wider, on each side, of MOVER's limits and of Wilson's at Jeffreys' variance."""
    rows = range(len(values))

    def length(distances: list[float]) -> float:
        return math.sqrt(sum(
            share[i] * distances[i] * share[j] * distances[j] * together[i][j]
            for i in rows for j in rows
        ))  # fmt: skip

    value = sum(s * v for s, v in zip(share, values, strict=True))
    low = value - length([v - low for v, low in zip(values, lows, strict=True)])
    high = value + length([high - v for v, high in zip(values, highs, strict=True)])
    variance = length(spreads) ** 2 * effect
    centre = sum(s * p for s, p in zip(share, pulled, strict=True))
    other = wilson_from_variance(value, variance, centre * (1 - centre) / variance)
    return value, max(0.0, min(low, other[0])), min(1.0, max(high, other[1]))


@pytest.mark.parametrize("counts", MATRICES)
@pytest.mark.parametrize("name", ["recall", "precision"])
def test_averages_of_shares(counts: list[list[int]], name: str) -> None:
    rows = of_classes(counts)
    pairs = [(right, labelled if name == "recall" else called) for right, labelled, called in rows]
    alone = [[float(i == j) for j in range(len(rows))] for i in range(len(rows))]
    limits = [wilson(*pair) for pair in pairs]
    pulled = [(right + 0.5) / (trials + 1) for right, trials in pairs]
    spreads = [math.sqrt(p * (1 - p) / n) for p, (_, n) in zip(pulled, pairs, strict=True)]
    images = sum(labelled for _, labelled, _ in rows)
    shares = {
        False: [1 / len(rows)] * len(rows),
        True: [labelled / images for _, labelled, _ in rows],
    }
    for weighted, share in shares.items():
        if weighted and name == "recall":
            continue  # the accuracy, by the jackknife
        wanted = expected(
            [right / trials for right, trials in pairs], [low for low, _ in limits],
            [high for _, high in limits], spreads, pulled, share, alone,
        )  # fmt: skip
        found = getattr(averages(matrix(counts), weighted=weighted), name)
        assert found.measured() == pytest.approx(wanted), weighted
        assert (found.method, found.note) == ("combined", "")


@pytest.mark.parametrize("counts", MATRICES)
def test_macro_f1(counts: list[list[int]]) -> None:
    rows, size = of_classes(counts), len(counts)
    images = sum(labelled for _, labelled, _ in rows)

    def f1(share: float) -> float:
        return 2 * share / (1 + share)

    values, lows, highs, pulled, spreads, too_low = [], [], [], [], [], 0.0
    for right, labelled, called in rows:
        union = labelled + called - right
        low, high = wilson(right, union)
        p = (right + 0.5) / (union + 1)
        values.append(f1(right / union))
        lows.append(f1(low))
        highs.append(f1(high))
        pulled.append(f1(p))
        spreads.append(math.sqrt(p * (1 - p) / union) * 2 / (1 + p) ** 2)
        wrong = union - right
        too_low += 2 * right * wrong / (2 * right + wrong) ** 3 / size
    # Mistakes of t called p, with half an image of each class spread over the others' rows.
    wrong_at = [
        [0.0 if t == p else counts[t][p] + 0.5 * rows[p][1] / max(images - rows[t][1], 1)
         for p in range(size)] for t in range(size)
    ]  # fmt: skip
    spread, slope = [], []
    for i in range(size):
        right = rows[i][0] + 0.5
        mistakes = sum(wrong_at[i]) + sum(row[i] for row in wrong_at)
        value = 2 * right / (2 * right + mistakes)
        spread.append(math.sqrt(right * (1 - value) ** 2 + mistakes * (value / 2) ** 2))
        slope.append(value / 2)
    together = [
        [1.0 if i == j else
         (wrong_at[i][j] + wrong_at[j][i]) * slope[i] * slope[j] / spread[i] / spread[j]
         for j in range(size)] for i in range(size)
    ]  # fmt: skip
    value, low, high = expected(values, lows, highs, spreads, pulled, [1 / size] * size, together)
    wanted = (value, min(low + too_low, value), min(1.0, high + too_low))
    assert averages(matrix(counts), weighted=False).f1.measured() == pytest.approx(wanted)


def test_groups_make_the_terms_those_of_fewer_images() -> None:
    """Each image three times: with groups of three, limits as of a third of the images."""
    counts = [[24, 6], [3, 12]]
    groups = np.repeat(np.arange(15), 3)
    grouped = averages(matrix(counts, groups), weighted=False)
    # The influence of an image on macro recall: (right - recall of its class) / images of it / 2.
    known = matrix(counts, groups)
    right = (known.labels == known.predicted).astype(float)
    influence = np.where(known.labels == 0, (right - 0.8) / 30, (right - 0.8) / 15) / 2
    effect = known.groups.design_effect(influence)
    assert effect > 2.5
    pulled = [(24 + 0.5) / 31, (12 + 0.5) / 16]
    limits = [wilson(24 / effect, 30 / effect), wilson(12 / effect, 15 / effect)]
    wanted = expected(
        [0.8, 0.8], [low for low, _ in limits], [high for _, high in limits],
        [math.sqrt(p * (1 - p) / n) for p, n in zip(pulled, (30, 15), strict=True)],
        pulled, [0.5, 0.5], [[1, 0], [0, 1]], effect,
    )  # fmt: skip
    assert grouped.recall.measured() == pytest.approx(wanted)
    assert grouped.recall.method == "combined, grouped images"
    assert grouped.f1.method == "combined, grouped images"


def test_the_influence_of_an_image_on_an_average_of_precisions_and_of_f1() -> None:
    """Found by adding a little of an image: the effect of groups is that of these influences."""
    counts = np.array([[9, 1, 0], [2, 5, 1], [1, 0, 3]], dtype=float)

    def average(cells: NDArray[np.float64], name: str, weighted: bool) -> float:
        right, labelled, called = np.diag(cells), cells.sum(axis=1), cells.sum(axis=0)
        ratio = right / called if name == "precision" else 2 * right / (labelled + called)
        share = labelled / labelled.sum() if weighted else np.full(3, 1 / 3)
        return float(share @ ratio)

    groups = np.arange(22) // 2
    known = matrix(counts.astype(int).tolist(), groups)
    for name, weighted in (("precision", False), ("precision", True), ("f1", False)):
        moved = np.empty((3, 3))
        for cell in np.ndindex(3, 3):
            up, down = counts.copy(), counts.copy()
            up[cell] += 1e-4
            down[cell] -= 1e-4
            moved[cell] = (average(up, name, weighted) - average(down, name, weighted)) / 2e-4
        effect = known.groups.design_effect(moved[known.labels, known.predicted])
        assert effect > 1.2
        number = getattr(averages(known, weighted=weighted), name)
        plain = getattr(averages(matrix(counts.astype(int).tolist()), weighted=weighted), name)
        assert number.value == pytest.approx(plain.value)
        assert number.measured()[1] < plain.measured()[1]
        if name == "precision" and not weighted:
            rows = of_classes(counts.astype(int).tolist())
            limits = [wilson(right / effect, called / effect) for right, _, called in rows]
            pulled = [(right + 0.5) / (called + 1) for right, _, called in rows]
            spreads = [math.sqrt(p * (1 - p) / called)
                       for p, (_, _, called) in zip(pulled, rows, strict=True)]  # fmt: skip
            wanted = expected(
                [right / called for right, _, called in rows], [low for low, _ in limits],
                [high for _, high in limits], spreads, pulled, [1 / 3] * 3, np.eye(3).tolist(),
                effect,
            )  # fmt: skip
            assert number.measured() == pytest.approx(wanted)


def test_classes_that_an_average_leaves_out_are_named() -> None:
    absent = averages(matrix([[5, 1, 0], [2, 3, 0], [0, 0, 0]]), weighted=False)
    assert (
        absent.recall.note
        == absent.precision.note
        == ("averaged over 2 of 3 classes: c without images")
    )
    assert absent.recall.value == pytest.approx((5 / 6 + 3 / 5) / 2)
    assert absent.precision.value == pytest.approx((5 / 7 + 3 / 4) / 2)
    assert absent.recall.low is not None
    never = averages(matrix([[5, 1, 0], [2, 3, 0], [3, 0, 0]]), weighted=False)
    assert never.precision.note == (
        "averaged over 2 of 3 classes: c never predicted, which leaves its precision undefined; no "
        "interval, for more images could add them"
    )
    assert never.precision.value == pytest.approx((5 / 10 + 3 / 4) / 2)
    assert (never.precision.low, never.precision.method) == (None, None)
    assert never.recall.value == pytest.approx((5 / 6 + 3 / 5 + 0) / 3) and never.recall.note == ""
    weighted = averages(matrix([[5, 1, 0], [2, 3, 0], [3, 0, 0]]), weighted=True)
    assert weighted.precision.value == pytest.approx((6 * 5 / 10 + 5 * 3 / 4) / 11)
    several = averages(
        matrix([[5, 0, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0], *[[0] * 6] * 3]),
        weighted=False,
    ).precision
    assert several.note == (
        "averaged over 1 of 6 classes: b and c never predicted, which leaves its precision "
        "undefined; d, e and f without images; no interval, for more images could add them"
    )


def test_where_nothing_can_be_averaged_there_is_a_reason() -> None:
    empty = Matrix(np.zeros((2, 2), np.int64), ("a", "b"), *np.zeros((2, 0), np.int64), None)
    assert averages(empty, weighted=True).recall.reason == "there are no labelled images"
    assert averages(empty, weighted=False).f1.reason == "there are no labelled images"
    elsewhere = averages(matrix([[0, 0, 4], [0, 0, 3], [0, 0, 0]]), weighted=False)
    assert elsewhere.precision.reason == "no class with images is ever predicted"
    assert elsewhere.recall.value == elsewhere.f1.value == 0.0


def test_the_shares_of_a_class_that_is_not_there() -> None:
    rows = class_shares(matrix([[5, 1, 0], [2, 0, 0], [0, 0, 0]]))
    assert rows[2].precision.reason == "c is never predicted"
    assert rows[2].recall.reason == rows[2].f1.reason == "no image is c"
    assert rows[1].precision.value == rows[1].recall.value == rows[1].f1.value == 0.0
    assert rows[0].f1.value == pytest.approx(2 * 5 / (6 + 7))
    low, high = wilson(5, 8)
    assert rows[0].f1.measured()[1:] == pytest.approx((2 * low / (1 + low), 2 * high / (1 + high)))
    assert {row.method for row in (rows[0].precision, rows[0].recall, rows[0].f1)} == {"wilson"}
