"""Choosing among candidates on the same validation images, without believing chance.

The log loss of calibrated probabilities decides, image by image, because it moves where the
number of mistakes does not yet. Two guards hold back chance, both the one-standard-error rule
(Breiman et al. 1984, section 3.4.3) on paired differences: the first answer gives way only to what
is better by more than a standard error, and what answers in a quarter of the time is taken where
it is worse than the best by less than one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tellapart.evaluation.predictions import Predictions

#: Probabilities below this are counted as this: one image must not decide.
_LEAST = 1e-6
#: What costs this many times less is taken though it is a little worse.
CHEAPER = 4.0
#: Standard errors that the mean loss must measure, so that a gain could be shown.
_SHOWN_BY = 2.0


def losses_of(predictions: Predictions) -> NDArray[np.float64]:
    """Log loss of each image, in nats: float64 (N,)."""
    found = predictions.probabilities[np.arange(len(predictions)), predictions.labels]
    losses: NDArray[np.float64] = -np.log(np.maximum(found.astype(np.float64), _LEAST))
    return losses


def chosen(losses: Sequence[NDArray[np.float64]], costs: Sequence[float]) -> int:
    """The number of the candidate that is taken.

    Args:
        losses: of each candidate the log loss of each of the same images, float64 (N,). The first
            is the first answer.
        costs: what an answer of each costs, beside the others.

    >>> rough, good = np.full(100, 0.3), np.linspace(0.1, 0.3, 100)
    >>> chosen([rough, good, good + 0.001], [1.0, 2.0, 2.0])
    1
    >>> chosen([rough, good, good + np.tile([0.1, -0.09], 50)], [1.0, 8.0, 2.0])
    2
    """
    lowest = int(np.argmin([one.mean() for one in losses]))
    if not _is_beyond_chance(losses[0], losses[lowest]) and costs[0] <= costs[lowest]:
        return 0
    as_good = [
        number for number, one in enumerate(losses)
        if costs[number] * CHEAPER <= costs[lowest] and not _is_beyond_chance(one, losses[lowest])
    ]  # fmt: skip
    return min(as_good, key=lambda number: float(losses[number].mean()), default=lowest)


def _is_beyond_chance(worse: NDArray[np.float64], better: NDArray[np.float64]) -> bool:
    """Whether one is worse by more than a standard error of the paired difference."""
    gains = worse - better
    return float(gains.mean()) > standard_error(gains)


def standard_error(differences: NDArray[np.float64]) -> float:
    """Standard error of the mean of differences, image by image."""
    if len(differences) < 2:
        return math.inf
    return float(differences.std(ddof=1) / math.sqrt(len(differences)))


def can_show_gain(losses: NDArray[np.float64]) -> bool:
    """Whether a candidate's gain on these images could be told from chance.

    What takes the same share of each image's loss gains that share of the mean, with that share
    of its standard error: the share does not matter. With k confident mistakes among images that
    are clear the mean is sqrt(k) standard errors; two, four such mistakes, are asked. With few
    images, where every answer is a little unsure, fewer mistakes do.

    Args:
        losses: of the best so far, the log loss of each image, float64 (N,).

    >>> can_show_gain(np.array([3.0] * 5 + [0.0] * 995)), can_show_gain(np.array([3.0, 0.0] * 2))
    (True, False)
    >>> can_show_gain(np.array([0.9] + [0.15] * 39))
    True
    """
    mean = losses.mean() if len(losses) >= 2 else 0.0
    return bool(mean > 0 and mean >= _SHOWN_BY * standard_error(losses))


def expected_mistakes(errors: int, losses: NDArray[np.float64]) -> float:
    """Mistakes that a classifier may be expected to make on so many images.

    Those that it made, or, if that is more, those that its calibrated probabilities tell of: a
    few images show few mistakes of a classifier that is unsure of all of them.

    >>> expected_mistakes(0, -np.log(np.full(40, 0.9)))
    4.0
    """
    return max(float(errors), float(np.round((1 - np.exp(-losses)).sum(), 9)))
