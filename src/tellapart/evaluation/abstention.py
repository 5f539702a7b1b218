"""Abstention: which images are answered "uncertain", and what that promises of the others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: How sure a promise is where nobody says.
SURE = 0.95


@dataclass(frozen=True)
class Abstention:
    """Which images are answered, and what is promised of these answers.

    Attributes:
        above: the confidence, the probability of the answer, above which one is given; 0: always.
        at_most_wrong: the promise: of the images that are answered, at most this share is wrong.
        sure: how sure that is, over the validation images that could have been drawn.
        images: how many validation images chose it.
        answered: the share of them that is answered.

    Raises:
        ValueError: a value is none that can be.
    """

    above: float
    at_most_wrong: float
    sure: float = SURE
    images: int = 0
    answered: float = 1.0

    def __post_init__(self) -> None:
        if not (0 <= self.above <= 1 and 0 < self.at_most_wrong < 1 and 0 < self.sure < 1):
            raise ValueError(f"an abstention {asdict(self)}")

    @property
    def rule(self) -> str:
        """As a sentence without its full stop.

        >>> Abstention(0.8312, 0.02).rule[:38]
        'uncertain up to a confidence of 0.831,'
        """
        promise = (
            f"at most {as_percent(self.at_most_wrong)} of the answers are wrong "
            f"({as_percent(self.sure)} sure)"
        )
        if not self.above:
            return f"every image is answered, and {promise}"
        return f"uncertain up to a confidence of {self.above:.3g}, so that {promise}"

    def answers(self, confidence: NDArray[np.float64]) -> NDArray[np.bool_]:
        """bool (N,): which answers of these confidences are given."""
        given: NDArray[np.bool_] = confidence > self.above
        return given

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as ``run.json`` holds it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Abstention:
        """The inverse of :meth:`to_dict`.

        Raises:
            KeyError, TypeError, ValueError: it is none.
        """
        return cls(
            above=float(content["above"]), at_most_wrong=float(content["at_most_wrong"]),
            sure=float(content["sure"]), images=int(content["images"]),
            answered=float(content["answered"]),
        )  # fmt: skip


def as_percent(share: float) -> str:
    """A round share: ``2 %``, ``0.5 %``.

    >>> as_percent(0.02), as_percent(0.995)
    ('2 %', '99.5 %')
    """
    return f"{100 * share:.4g} %"
