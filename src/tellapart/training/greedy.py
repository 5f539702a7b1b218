"""Greedy selection of an ensemble: which classifiers, and how much each counts.

Caruana et al. 2004, "Ensemble selection from libraries of models": to an ensemble the classifier
is added, again and again, that makes the mean of its probabilities best on held-out images; one
that is added more than once counts more. Held-out images can be overfitted in this way, too.
Two guards are the paper's: the ensemble starts from the best few, and weights are the mean over
bags. Its bags are of models, of which it has thousands; of a handful a bag may lack all good ones,
so that ours are of images.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: No classifier is taken to be surer of a wrong answer than this.
_SMALLEST = 1e-12


def select_greedily(
    probabilities: NDArray[np.float64],
    labels: NDArray[np.int64],
    *,
    rounds: int = 30,
    start: int = 2,
    bags: int = 20,
    seed: int = 0,
) -> NDArray[np.float64]:
    """The weight of each classifier in a mean of their probabilities, by log loss.

    Args:
        probabilities: float64 (M, N, C) of M classifiers on N held-out images, calibrated.
        labels: int64 (N,), the classes of the images.
        rounds: classifiers that are added, one at a time; the best ensemble on the way counts.
        start: so many of the best begin together.
        bags: samples of the images, drawn with replacement, each of which selects; 0: all of the
            images select, once.
        seed: of the samples.

    Returns:
        float64 (M,), 0..1, sum 1.

    Raises:
        ValueError: there are no classifiers or no images.
    """
    if not probabilities.size:
        raise ValueError(f"nothing to select from: probabilities of shape {probabilities.shape}")
    # All that log loss looks at: the probability of the true class, (M, N).
    of_truth = np.maximum(probabilities[:, np.arange(len(labels)), labels], _SMALLEST)
    if not bags:
        return _selected(of_truth, rounds, start)
    random = np.random.default_rng(seed)
    samples = [random.integers(len(labels), size=len(labels)) for _ in range(bags)]
    weights = np.mean([_selected(of_truth[:, rows], rounds, start) for rows in samples], axis=0)
    return np.asarray(weights / weights.sum())


def _selected(of_truth: NDArray[np.float64], rounds: int, start: int) -> NDArray[np.float64]:
    """Weights (M,) by what M classifiers give the true class of N images, (M, N)."""
    losses = -np.log(of_truth).mean(axis=1)
    first = np.argsort(losses, kind="stable")[:start]
    counts = np.bincount(first, minlength=len(of_truth)).astype(np.float64)
    total = of_truth[first].sum(axis=0)
    best, least = counts.copy(), float(-np.log(total / counts.sum()).mean())
    for _ in range(rounds):
        joined = -np.log((total + of_truth) / (counts.sum() + 1)).mean(axis=1)
        added = int(joined.argmin())
        counts[added] += 1
        total = total + of_truth[added]
        if joined[added] < least - 1e-12:
            best, least = counts.copy(), float(joined[added])
    return np.asarray(best / best.sum())
