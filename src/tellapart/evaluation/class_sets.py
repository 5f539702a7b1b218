"""Sets of classes that hold the true one as often as wished: split conformal prediction.

An image's set has every class whose probability is at least a threshold: that which all but a share
``1 - coverage`` of the validation images reach with their true class, counted as if there were one
image more (Vovk et al. 2005; Sadinle et al. 2019, "Least ambiguous set-valued classifiers"). A new
image like those of validation then has its true class in its set with at least that chance, over
the drawing of both. The answer is in the set in any case, so that none is empty.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tellapart.errors import DataError
from tellapart.evaluation.intervals import proportion
from tellapart.evaluation.predictions import Predictions
from tellapart.number import Number


@dataclass(frozen=True)
class ClassSets:
    """Which classes are in the set of an image.

    Attributes:
        least: the probability from which a class is in it.
        coverage: how often the true class is in it, as promised.
        images: how many validation images chose it.

    Raises:
        ValueError: a value is none that can be.
    """

    least: float
    coverage: float
    images: int = 0

    def __post_init__(self) -> None:
        if not (0 <= self.least <= 1 and 0 < self.coverage < 1):
            raise ValueError(f"sets {asdict(self)}")

    @property
    def rule(self) -> str:
        """As a sentence without its full stop.

        >>> ClassSets(0.12, 0.9).rule
        'sets of the classes from a probability of 0.12 on, which hold the true one for 90 %'
        """
        return (
            f"sets of the classes from a probability of {self.least:.3g} on, which hold the true "
            f"one for {100 * self.coverage:.4g} %"
        )

    def members(
        self, probabilities: NDArray[np.float64], predicted: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        """bool (N, C): which classes are in each set, of probabilities (N, C) and answers (N,)."""
        inside: NDArray[np.bool_] = probabilities >= self.least
        inside[np.arange(len(inside)), predicted] = True
        return inside

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as ``run.json`` holds it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> ClassSets:
        """The inverse of :meth:`to_dict`.

        Raises:
            KeyError, TypeError, ValueError: it is none.
        """
        return cls(float(content["least"]), float(content["coverage"]), int(content["images"]))


def choose_sets(validation: Predictions, coverage: float) -> ClassSets:
    """The smallest sets that hold the true class as often as wished.

    Raises:
        DataError: validation has too few images for that.
    """
    known = validation.select(validation.labelled)
    true = known.probabilities[np.arange(len(known)), known.labels]
    least = least_probability(true, coverage)
    if least is None:
        fewest = math.ceil(round(1.0 / (1.0 - coverage), 6)) - 1
        raise DataError(
            f"Sets that hold the true class for {100 * coverage:.4g} % need at least {fewest:,} "
            f"validation images; there are {len(known):,}. Ask for less, or train with more "
            "validation images."
        )
    return ClassSets(least, coverage, len(known))


def least_probability(true: NDArray[np.float64], coverage: float) -> float | None:
    """The threshold, from the probabilities (N,) of the true classes; None: too few images."""
    rank = math.floor(round((1.0 - coverage) * (len(true) + 1), 9))
    return float(np.sort(true)[rank - 1]) if rank >= 1 else None


@dataclass(frozen=True)
class SetsMeasured:
    """What sets do on some images."""

    #: Share of the images whose set has the true class.
    held: Number
    #: Classes in a set, on average.
    mean_size: float
    #: What was promised of ``held``.
    coverage: float

    @property
    def sentence(self) -> str:
        """``sets hold the true class for 91.0 % (…), with 1.3 classes; 90 % promised``."""
        return (
            f"sets hold the true class for {self.held.with_limits()}, with {self.mean_size:.2f} "
            f"classes on average; {100 * self.coverage:.4g} % promised"
        )

    def to_json(self) -> dict[str, Any]:
        return {"held": self.held.to_json(), "mean_size": self.mean_size,
                "coverage": self.coverage}  # fmt: skip


def measure_sets(predictions: Predictions, sets: ClassSets) -> SetsMeasured:
    """What sets do on labelled images."""
    known = predictions.select(predictions.labelled)
    members = sets.members(known.probabilities, known.predicted)
    held = int(members[np.arange(len(known)), known.labels].sum()) if len(known) else 0
    size = float(members.sum(axis=1).mean()) if len(known) else 0.0
    return SetsMeasured(
        proportion(held, len(known), "there are no labelled images"), size, sets.coverage
    )
