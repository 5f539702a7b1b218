"""Choosing the decision on validation images: from which probability on is a mistake cheapest?

Probabilities that are right leave nothing to choose: where a miss costs c false alarms, an image
is called positive from 1 / (1 + c) on. The validation images are there to say whether they lean:
the log odds of all images are moved by one number, that under which the class comes up as often
as it does there, held back towards 0 because few images say little.

Measured (``benchmarks/decision_costs.py``, real and simulated, 30 to 300 validation images): the
threshold with the least cost on validation itself, the other obvious choice, costs nearly three
times as much above the best possible one, for it follows the few images nearest the line.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tellapart.errors import DataError
from tellapart.evaluation.decision import Decision
from tellapart.evaluation.predictions import Predictions
from tellapart.wording import shown

#: How much is needed to believe that the probabilities lean: the precision of a normal prior of
#: the lean, as much as 20 images of probability one half say.
HELD_BACK = 5.0
#: Log odds of a probability that is 0 or 1 in floating point; leans are smaller than twice that.
_LARGEST = -math.log(np.finfo(np.float64).eps)


def choose_decision(
    validation: Predictions | None,
    positive: str,
    *,
    cost_miss: float = 1.0,
    cost_false_alarm: float = 1.0,
) -> Decision:
    """The decision whose mistakes are expected to cost least.

    Args:
        validation: what the calibrated classifier says of validation images; whatever decision it
            was at does not matter.
        positive: the class that is looked for; with more than two it is told apart from all
            others together.
        cost_miss, cost_false_alarm: above 0; only their ratio matters.

    Raises:
        DataError: there is no such class, or validation has no images of it or of no other.
        ValueError: a cost is none.
    """
    if validation is None:
        raise DataError(_needs(positive))
    known = validation.select(validation.labelled)
    require_choosable(known.labels, known.classes, positive)
    column = known.classes.index(positive)
    threshold = least_cost_threshold(
        known.labels == column,
        known.probabilities[:, column],
        cost_miss=cost_miss,
        cost_false_alarm=cost_false_alarm,
    )
    return Decision(positive, threshold, cost_miss, cost_false_alarm, len(known))


def require_choosable(labels: NDArray[np.int64], classes: Sequence[str], positive: str) -> None:
    """Validation labels (N,) must have images of the class and of another one.

    Raises:
        DataError: they do not, or there is no such class.
    """
    if positive not in classes:
        raise DataError(
            f"There is no class '{shown(positive)}' to decide on; the classes are "
            f"{', '.join(map(shown, classes))}."
        )
    of_class = int((labels == list(classes).index(positive)).sum())
    if not 0 < of_class < int((labels >= 0).sum()):
        raise DataError(_needs(positive))


def least_cost_threshold(
    truth: NDArray[np.bool_],
    scores: NDArray[np.float64],
    *,
    cost_miss: float,
    cost_false_alarm: float,
) -> float:
    """From which probability on a positive call is expected to cost less than none.

    Args:
        truth: bool (N,), the validation images that are positive.
        scores: float64 (N,), their probabilities of being so, 0..1.
    """
    return 1.0 / (1.0 + cost_miss / cost_false_alarm * math.exp(lean(truth, scores)))


def lean(truth: NDArray[np.bool_], scores: NDArray[np.float64]) -> float:
    """By how much the log odds of a class are too low (above 0) or too high.

    The b that solves ``sum of sigmoid(log odds + b) + HELD_BACK b = number of positives``: the
    most likely one where b is drawn from a normal distribution with variance 1 / HELD_BACK.

    >>> abs(round(lean(np.array([True, False]), np.array([0.5, 0.5])), 12))
    0.0
    """
    limited = np.clip(scores, math.exp(-_LARGEST), 1.0 - math.exp(-_LARGEST))
    log_odds, positives = np.log(limited / (1.0 - limited)), int(truth.sum())
    low, high = -2 * _LARGEST, 2 * _LARGEST
    for _ in range(80):
        middle = (low + high) / 2
        surplus = float((1.0 / (1.0 + np.exp(-(log_odds + middle)))).sum()) - positives
        low, high = (middle, high) if surplus + HELD_BACK * middle < 0 else (low, middle)
    return (low + high) / 2


def _needs(positive: str) -> str:
    return (
        f"The threshold for '{shown(positive)}' is chosen on validation images, and these must be "
        "some of that class and some of others; give more by --validation, or a validation part "
        "that has both."
    )
