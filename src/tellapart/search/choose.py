"""Choosing among candidates on the same validation images, without believing chance.

The log loss of calibrated probabilities decides, image by image, because it moves where the
number of mistakes does not yet. A candidate whose answers cost more must be better than the one
in force by more than one standard error of their paired difference (Breiman et al. 1984, section
3.4.3); one whose answers cost less may be worse by as much; between equals the better one is
taken.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from tellapart.evaluation.predictions import Predictions

#: Probabilities below this are counted as this: one image must not decide.
_LEAST = 1e-6
#: Answers of this many times the cost are dearer; what differs by less costs the same.
DEARER = 1.25


def losses_of(predictions: Predictions) -> NDArray[np.float64]:
    """Log loss of each image, in nats: float64 (N,)."""
    found = predictions.probabilities[np.arange(len(predictions)), predictions.labels]
    losses: NDArray[np.float64] = -np.log(np.maximum(found.astype(np.float64), _LEAST))
    return losses


def is_better(
    challenger: NDArray[np.float64],
    holder: NDArray[np.float64],
    *,
    cost: float,
    first: bool = False,
) -> bool:
    """Whether a candidate takes the place of the one in force.

    Args:
        challenger, holder: log loss of each of the same images, float64 (N,).
        cost: how many times as much the challenger's answers cost.
        first: the holder is the first answer, which only more than chance replaces.

    >>> rough, good = np.full(100, 0.3), np.linspace(0.1, 0.3, 100)
    >>> is_better(good, rough, cost=2.0), is_better(rough, good, cost=0.5)
    (True, False)
    """
    gains = holder - challenger
    gain = float(gains.mean())
    error = standard_error(gains)
    if cost > DEARER or (first and cost > 1 / DEARER):
        return gain > error
    if cost < 1 / DEARER:
        return gain > -error
    return gain > 0.0


def standard_error(differences: NDArray[np.float64]) -> float:
    """Standard error of the mean of differences, image by image."""
    if len(differences) < 2:
        return math.inf
    return float(differences.std(ddof=1) / math.sqrt(len(differences)))


def can_show_gain(errors: int, images: int) -> bool:
    """Whether so many mistakes on so many images leave room for a gain that is more than chance.

    A candidate that puts half of the mistakes right and makes no others would gain e/2 of n
    images, with a standard error of about sqrt(e/2)/n: with fewer than four mistakes even that
    is within 1.4 standard errors.
    """
    return images >= 2 and errors >= 4
