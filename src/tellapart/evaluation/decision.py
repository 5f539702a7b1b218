"""Decision: how a class is chosen from probabilities; a run keeps the one that is in force."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Decision:
    """One class is looked for: say it from this probability on, else the likeliest other class.

    With more than two classes it is this class against all others; what mistakes among the
    others cost is not asked.

    Attributes:
        positive: the class that is looked for.
        threshold: the probability of ``positive`` from which an image is called so; above 1:
            never.
        cost_miss: what an image of ``positive`` that is called otherwise costs.
        cost_false_alarm: what an image of another class that is called ``positive`` costs.
        images: how many validation images chose the threshold.
        wish: what the threshold was chosen for; with "precision" or "recall" costs do not count.
        wished: the precision or recall that was wished for, 0..1.

    Raises:
        ValueError: the threshold is no number from 0 up, a cost none above 0, or a wish none.
    """

    positive: str
    threshold: float
    cost_miss: float = 1.0
    cost_false_alarm: float = 1.0
    images: int = 0
    wish: Literal["cost", "precision", "recall"] = "cost"
    wished: float = 0.0

    def __post_init__(self) -> None:
        if self.wish not in ("cost", "precision", "recall") or not 0 <= self.wished <= 1:
            raise ValueError(f"a wish for {self.wish!r} of {self.wished}")
        if not 0 <= self.threshold < math.inf:
            raise ValueError(f"a threshold of {self.threshold}")
        for cost in (self.cost_miss, self.cost_false_alarm):
            if not 0 < cost < math.inf:
                raise ValueError(f"a cost of {cost}")

    @property
    def rule(self) -> str:
        """The rule and its reason, as a sentence without its full stop.

        >>> Decision("defective", 0.1512, cost_miss=5.0).rule
        "'defective' from a probability of 0.151 on (a miss costs 5 times a false alarm)"
        """
        return f"'{self.positive}' from a probability of {self.threshold:.3g} on ({self.why})"

    @property
    def why(self) -> str:
        """What the threshold was chosen for.

        >>> Decision("defective", 0.8, cost_miss=0.25).why
        'a miss costs 0.25 times a false alarm'
        """
        if self.wish != "cost":
            return f"{self.wish} at least {self.wished:.4g} on validation"
        ratio = self.cost_miss / self.cost_false_alarm
        if ratio == 1:
            return "a miss costs as much as a false alarm"
        return f"a miss costs {ratio:.4g} times a false alarm"

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as ``run.json`` holds it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Decision:
        """The inverse of :meth:`to_dict`; keys that this version does not know are passed over.

        Raises:
            KeyError, TypeError, ValueError: it is none.
        """
        return cls(
            positive=str(content["positive"]),
            threshold=float(content["threshold"]),
            cost_miss=float(content["cost_miss"]),
            cost_false_alarm=float(content["cost_false_alarm"]),
            images=int(content.get("images", 0)),
            wish=content.get("wish", "cost"),
            wished=float(content.get("wished", 0.0)),
        )


def decided(
    probabilities: NDArray[np.floating[Any]], classes: Sequence[str], decision: Decision | None
) -> NDArray[np.int64]:
    """The class of each image, int64 (N,), from its probabilities (N, C).

    Without a decision the likeliest class; of equally likely ones the first.

    Raises:
        ValueError: the decision is about none of these classes.

    >>> decided(np.array([[0.8, 0.2], [0.9, 0.1]]), ["good", "bad"], Decision("bad", 0.2))
    array([1, 0])
    """
    if not len(probabilities):
        return np.zeros(0, dtype=np.int64)
    if decision is None:
        return np.asarray(probabilities.argmax(axis=1), dtype=np.int64)
    if decision.positive not in classes:
        raise ValueError(f"the decision is about '{decision.positive}', which is no class here")
    column = list(classes).index(decision.positive)
    others = np.array(probabilities, dtype=np.float64)
    others[:, column] = -1.0
    called = probabilities[:, column] >= decision.threshold
    return np.where(called, column, others.argmax(axis=1)).astype(np.int64)
