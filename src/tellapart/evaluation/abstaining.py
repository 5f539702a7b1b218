"""Abstaining: only confident answers are given, so that of those few are wrong, as promised.

The promise is one of selective risk: of the images that are answered, at most a share ``r`` is
wrong, in the long run, and this holds for all but a share ``1 - sure`` of the validation sets that
could have been drawn. It is found as in Geifman & El-Yaniv 2017 ("Selective classification for deep
neural networks"), by the exact binomial tail on validation images, but with fixed sequence testing
(Bauer 1991; Angelopoulos et al. 2021, "Learn then test") in the place of their search.

Why it holds: of N images with independent confidences, the k most confident lie above the
confidence t of the next one, and given t they are a sample of all images above t. So their mistakes
are binomial, and "more than r are wrong above t" can be tested. The shares k / N are fixed
beforehand, and so is the order in which they are tested: from each of :data:`STARTS` upwards until
a test fails, each start at its part of the error.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tellapart.errors import DataError
from tellapart.evaluation.abstention import SURE, Abstention, as_percent
from tellapart.evaluation.intervals import proportion
from tellapart.evaluation.predictions import Predictions
from tellapart.number import Number

#: Shares of the images that may be answered, the most confident ones, from which tests begin.
STARTS = (0.25, 0.5, 0.75, 1.0)
#: Shares between two tests.
_STEP = 0.01


def choose_abstention(
    validation: Predictions, at_most_wrong: float, *, sure: float = SURE
) -> Abstention:
    """The abstention that answers most and keeps the promise.

    Args:
        validation: at the decision in force.
        at_most_wrong: above 0, below 1.

    Raises:
        DataError: validation has too few images for the promise, or too many of its most confident
            answers are wrong.
    """
    known = validation.select(validation.labelled)
    above = abstain_up_to(known.confidence, known.correct, at_most_wrong, sure=sure)
    if above is None:
        raise DataError(_refusal(known, at_most_wrong, sure))
    given = known.confidence > above
    return Abstention(above, at_most_wrong, sure, len(known), float(given.mean()))


def abstain_up_to(
    confidence: NDArray[np.float64],
    correct: NDArray[np.bool_],
    at_most_wrong: float,
    *,
    sure: float = SURE,
) -> float | None:
    """The lowest confidence above which answers may be given; 0: all may, None: none can be proven.

    Args:
        confidence: float64 (N,), 0..1.
        correct: bool (N,), whether the answer is right.
    """
    from scipy.stats import binom

    images = len(confidence)
    order = np.argsort(-confidence, kind="stable")
    ranked, mistakes = confidence[order], np.cumsum(~correct[order])
    shares = np.arange(round(min(STARTS) / _STEP), round(1 / _STEP) + 1) * _STEP
    ranks = np.minimum(np.ceil(np.round(shares * images, 6)).astype(int), images)
    # Answered are those above the next one: of images as confident as that, none.
    above = np.append(ranked, 0.0)[ranks]
    given = np.searchsorted(-ranked, -above, side="left")
    wrong = np.append(0, mistakes)[given]
    proven = (given > 0) & (binom.cdf(wrong, given, at_most_wrong) <= (1.0 - sure) / len(STARTS))
    starts = [round((start - min(STARTS)) / _STEP) for start in STARTS]
    reached = [
        float(above[i])
        for start in starts
        for i in takewhile(proven.__getitem__, range(start, len(shares)))
    ]
    return min(reached, default=None)


def fewest_images(at_most_wrong: float, sure: float = SURE) -> int:
    """How many answers without a mistake prove the promise.

    >>> fewest_images(0.02)
    217
    """
    return math.ceil(math.log((1.0 - sure) / len(STARTS)) / math.log1p(-at_most_wrong))


def _refusal(known: Predictions, at_most_wrong: float, sure: float) -> str:
    wish = f"At most {as_percent(at_most_wrong)} wrong, {as_percent(sure)} sure, cannot be promised"
    fewest = fewest_images(at_most_wrong, sure)
    if len(known) < fewest:
        return (
            f"{wish} from {len(known):,} validation images: it takes at least {fewest:,}, and more "
            "where some are wrong. Ask for less, or train with more validation images."
        )
    order = np.argsort(-known.confidence, kind="stable")
    first = order[: max(1, len(order) // 5)]
    wrong = int((~known.correct[first]).sum())
    return (
        f"{wish}: of the {len(first):,} most confident of {len(known):,} validation images "
        f"{wrong:,} are wrong. Ask for less, or train a better classifier."
    )


@dataclass(frozen=True)
class Answered:
    """What abstaining does on some images."""

    #: Share of the images that are answered.
    share: Number
    #: Share of the answers that is wrong.
    wrong: Number
    #: What was promised of it.
    at_most_wrong: float

    @property
    def sentence(self) -> str:
        """``answered 91.0 % (…), of these wrong 1.2 % (…); at most 2 % promised``."""
        return (
            f"answered {self.share.with_limits()}, of these wrong {self.wrong.with_limits()}; "
            f"at most {as_percent(self.at_most_wrong)} promised"
        )

    def to_json(self) -> dict[str, Any]:
        return {"share": self.share.to_json(), "wrong": self.wrong.to_json(),
                "at_most_wrong": self.at_most_wrong}  # fmt: skip


def measure_answered(predictions: Predictions) -> Answered | None:
    """What abstaining does on labelled images; None where every image is answered anyway."""
    if predictions.abstention is None:
        return None
    given = predictions.answered[predictions.labelled]
    wrong = given & ~predictions.correct[predictions.labelled]
    return Answered(
        proportion(int(given.sum()), len(given), "there are no labelled images"),
        proportion(int(wrong.sum()), int(given.sum()), "no image is answered"),
        predictions.abstention.at_most_wrong,
    )
