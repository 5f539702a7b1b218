"""Greedy selection against brute force, and what guards it."""

from __future__ import annotations

from itertools import combinations_with_replacement

import numpy as np
import pytest
from numpy.typing import NDArray

from tellapart.training.greedy import select_greedily


def library(
    skills: list[float], images: int, seed: int, num_classes: int = 3
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Classifiers whose logits of the true class are raised by so much, with noise of their own."""
    random = np.random.default_rng(seed)
    labels = random.integers(num_classes, size=images)
    logits = random.normal(size=(len(skills), images, num_classes))
    logits[:, np.arange(images), labels] += np.array(skills)[:, None]
    shifted = np.exp(logits)
    return shifted / shifted.sum(axis=2, keepdims=True), labels


def loss(weights: NDArray[np.float64], probabilities: NDArray[np.float64],
         labels: NDArray[np.int64]) -> float:  # fmt: skip
    mean = np.tensordot(weights, probabilities, axes=1)
    return float(-np.log(mean[np.arange(len(labels)), labels]).mean())


def test_no_handful_with_repeats_is_much_better() -> None:
    """Brute force: every multiset of up to six of four classifiers."""
    probabilities, labels = library([2.0, 1.5, 1.4, 0.2], 120, seed=1)
    found = select_greedily(probabilities, labels, start=1, bags=0)
    assert found.sum() == pytest.approx(1)
    best = min(
        loss(np.bincount(chosen, minlength=4) / len(chosen), probabilities, labels)
        for size in range(1, 7)
        for chosen in combinations_with_replacement(range(4), size)
    )
    assert loss(found, probabilities, labels) <= best + 1e-3
    alone = [loss(np.eye(4)[k], probabilities, labels) for k in range(4)]
    assert loss(found, probabilities, labels) < min(alone)


def test_by_hand() -> None:
    """The first alone has loss log 2 twice; with the second, which knows image 0, less."""
    sure, fair = [0.9, 0.1], [0.5, 0.5]
    probabilities = np.array([[fair, fair], [sure, [0.55, 0.45]], [[0.2, 0.8], [0.8, 0.2]]])
    labels = np.array([0, 1])
    found = select_greedily(probabilities, labels, start=1, bags=0, rounds=1)
    # Start: 1 (0.452 against 0.693 and 1.609). Adding 0 gives (0.7, 0.475), adding itself no
    # change: -log(0.9 * 0.45) / 2 = 0.452 against -log(0.7 * 0.475) / 2 = 0.551.
    np.testing.assert_allclose(found, [0, 1, 0])


def test_bags_and_a_start_of_several_hold_back_what_few_images_say() -> None:
    """Classifiers that are all as good: chosen on 12 images, judged on 4,000 others."""
    wild, held = [], []
    for seed in range(20):
        probabilities, labels = library([1.0] * 8, 4012, seed)
        few, truth = probabilities[:, :12], labels[:12]
        for losses, options in ((wild, {"start": 1, "bags": 0}), (held, {"start": 3, "bags": 20})):
            weights = select_greedily(few, truth, **options)
            losses.append(loss(weights, probabilities[:, 12:], labels[12:]))
    assert np.mean(held) < np.mean(wild)


def test_the_same_seed_gives_the_same_weights_and_nothing_is_refused() -> None:
    probabilities, labels = library([1.0, 1.2, 0.8], 60, seed=3)
    first = select_greedily(probabilities, labels, seed=4)
    np.testing.assert_array_equal(first, select_greedily(probabilities, labels, seed=4))
    with pytest.raises(ValueError, match="nothing to select from"):
        select_greedily(probabilities[:, :0], labels[:0])
