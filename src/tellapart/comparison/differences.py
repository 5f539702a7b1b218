"""Two runs on the same images: is the difference real, and how large can it be?

One test and one interval that always say the same: the interval is without 0 exactly where the
test calls the difference real.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from tellapart.evaluation.image_groups import ImageGroups
from tellapart.evaluation.intervals import named
from tellapart.number import Number

#: A difference is called real below this corrected p-value.
SIGNIFICANCE = 0.05
#: Beyond so many steps the exact distribution is taken as normal, which it then is.
_EXACT_STEPS = 100_000_000


@dataclass(frozen=True)
class Difference:
    """Images that two runs do not both get right, or both get wrong.

    Attributes:
        ahead, behind: images that only the first run, only the second gets right.
        images: on how many both were scored.
        effect: the design effect of the images' groups, 1 where each stands alone.
        p_value: of the test, not corrected.
        test: what the test is called.
    """

    ahead: int
    behind: int
    images: int
    effect: float
    p_value: float
    test: str

    @property
    def value(self) -> float:
        """Accuracy of the first minus that of the second."""
        return (self.ahead - self.behind) / self.images

    def number(self, level: float, real: bool) -> Number:
        """The difference with the interval whose 0 is tested at ``level``."""
        z = NormalDist().inv_cdf(1.0 - level / 2.0)
        low, high = score_interval(
            self.ahead / self.effect, self.behind / self.effect, self.images / self.effect, z
        )
        if not real:  # the exact test is more cautious than the interval's own
            low, high = min(low, 0.0), max(high, 0.0)
        return Number(self.value, low, high, named("score", self.effect))


def difference_of(
    first: NDArray[np.bool_], second: NDArray[np.bool_], groups: ImageGroups | None = None
) -> Difference:
    """What tells two runs apart.

    The test is McNemar's exact one, or, where images belong together, the exact sign-flip test
    of the groups: were both runs equally good, the images of a group that only one gets right
    would be either's with a chance of one half (with groups of one image it is McNemar's). Its
    p-value is never below that of the interval's score test.

    Args:
        first, second: bool (N,), where each run is right; the same images in the same order.
        groups: which images belong together.
    """
    ahead, behind = int((first & ~second).sum()), int((second & ~first).sum())
    effect, test, exact = 1.0, "McNemar's exact test", mcnemar_exact(ahead, behind)
    if groups is not None:
        signs = first.astype(np.float64) - second
        effect = groups.design_effect(signs)
        sums = np.bincount(groups.numbers, signs, groups.count)
        exact, test = (
            sign_flip_exact(np.rint(sums).astype(np.int64)),
            (f"sign-flip test of {groups.count:,} groups"),
        )
    score = 1.0
    if ahead + behind:
        score = math.erfc(abs(ahead - behind) / math.sqrt(2.0 * (ahead + behind) * effect))
    return Difference(ahead, behind, len(first), effect, max(exact, score), test)


def mcnemar_exact(only_first: int, only_second: int) -> float:
    """Two-sided p-value of McNemar's exact test.

    If both were equally good, an image that only one gets right would be either's with a
    chance of one half (McNemar 1947).

    >>> mcnemar_exact(1, 9)
    0.021484375
    """
    trials, fewer = only_first + only_second, min(only_first, only_second)
    if trials == 0 or 2 * fewer == trials:
        return 1.0
    logs = (
        [
            math.lgamma(trials + 1) - math.lgamma(k + 1) - math.lgamma(trials - k + 1)
            for k in range(fewer + 1)
        ]
        if trials > 1000
        else []
    )
    if not logs:  # exact in whole numbers
        ways = sum(math.comb(trials, k) for k in range(fewer + 1))
        return min(1.0, float(2 * ways / (1 << trials)))
    largest = max(logs)
    total = math.fsum(math.exp(value - largest) for value in logs)
    return min(1.0, 2 * math.exp(largest + math.log(total) - trials * math.log(2)))


def sign_flip_exact(sums: NDArray[np.int64]) -> float:
    """Two-sided p-value: the chance that groups with random signs differ as far in sum.

    Args:
        sums: int64 (groups,), of each group the images that only the first run gets right
            minus those that only the second does.

    >>> sign_flip_exact(np.array([1, 1, 1, 1, -1]))  # as mcnemar_exact(4, 1)
    0.375
    """
    steps = np.abs(sums[sums != 0])
    total, observed = int(steps.sum()), abs(int(sums.sum()))
    if observed == 0:
        return 1.0
    if total * len(steps) > _EXACT_STEPS:
        return math.erfc(observed / math.sqrt(2.0 * float((steps.astype(np.float64) ** 2).sum())))
    chances = np.zeros(2 * total + 1)
    chances[total] = 1.0
    for step in steps.tolist():
        moved = np.zeros_like(chances)
        moved[step:] += chances[:-step]
        moved[:-step] += chances[step:]
        chances = moved / 2.0
    tails = chances[: total - observed + 1].sum() + chances[total + observed :].sum()
    return min(1.0, float(tails))


def score_interval(ahead: float, behind: float, images: float, z: float) -> tuple[float, float]:
    """Tango's (1998) score interval of a difference of two shares of the same images.

    It holds every difference that the score test would not reject, so it contains 0 exactly
    where (ahead - behind)^2 / (ahead + behind) <= z^2, McNemar's test without continuity.

    Args:
        ahead, behind: images that only the first, only the second run gets right; may be
            fractions.
        images: all of them.
        z: the normal quantile, 1.96 for 95 %.
    """
    value = (ahead - behind) / images

    def score(difference: float) -> float:
        """Standard errors from ``difference`` to the measured one, by constrained likelihood."""
        a = 2.0 * images
        b = (2.0 * images - ahead + behind) * difference - ahead - behind
        c = -behind * difference * (1.0 - difference)
        share = (math.sqrt(max(b * b - 4.0 * a * c, 0.0)) - b) / (2.0 * a)
        variance = images * (2.0 * share + difference * (1.0 - difference))
        distance = ahead - behind - images * difference
        if variance <= 0.0:
            return 0.0 if distance == 0.0 else math.copysign(math.inf, distance)
        return distance / math.sqrt(variance)

    def limit(inside: float, outside: float) -> float:
        for _ in range(60):
            middle = (inside + outside) / 2.0
            if abs(score(middle)) <= z:
                inside = middle
            else:
                outside = middle
        return inside

    return limit(value, -1.0), limit(value, 1.0)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's (1979) correction, in the order given.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    count, running = len(p_values), 0.0
    corrected = [0.0] * count
    for rank, index in enumerate(sorted(range(count), key=lambda i: p_values[i])):
        running = max(running, min(1.0, (count - rank) * p_values[index]))
        corrected[index] = running
    return corrected


def holm_levels(p_values: Sequence[float]) -> list[float]:
    """The level at which Holm's procedure tested each, in the order given.

    It goes from the smallest p-value on and stops at the first that is not below its level;
    those after it would have been tested at that level at best.

    >>> [round(level, 4) for level in holm_levels([0.01, 0.04, 0.03])]
    [0.0167, 0.025, 0.025]
    """
    count, rejected = len(p_values), 0
    levels = [0.0] * count
    order = sorted(range(count), key=lambda i: p_values[i])
    corrected = holm(p_values)
    for index in order:
        levels[index] = SIGNIFICANCE / (count - rejected)
        if corrected[index] < SIGNIFICANCE:
            rejected += 1
    return levels


def joined_groups(groupings: Sequence[NDArray[np.int64] | None]) -> NDArray[np.int64] | None:
    """Images that belong together by any of several groupings of the same images."""
    known = [grouping for grouping in groupings if grouping is not None]
    if not known:
        return None
    joined = np.arange(len(known[0]))
    rows = [_numbered(grouping) for grouping in known]
    while True:
        before = joined
        for numbers in rows:
            lowest = np.full(numbers.max(initial=-1) + 1, len(joined))
            np.minimum.at(lowest, numbers, joined)
            joined = lowest[numbers]
        if np.array_equal(joined, before):
            return np.asarray(joined, dtype=np.int64)


def _numbered(grouping: NDArray[np.int64]) -> NDArray[np.int64]:
    """Groups from 0 on; an image with a negative number stands alone."""
    if not len(grouping):
        return grouping
    own = np.where(grouping < 0, grouping.max() + 1 + np.arange(len(grouping)), grouping)
    return np.unique(own, return_inverse=True)[1].astype(np.int64)
