"""Are two sets of images of one kind? A permutation test on what a network sees of them.

Which statistics, of those that were tried, and how often each notices what: docs/drift.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: Permutations of a test; its smallest p is 1 / (this + 1).
PERMUTATIONS = 999
#: Strata with fewer images of either set are taken together: alone they would tell nothing.
LEAST_STRATUM = 5
#: Principal directions that are compared.
DIRECTIONS = 64
#: Parts of the images that the direction is chosen without, each in its turn.
_FOLDS = 5

Rows = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Draws:
    """The two sets, and how they would have come about by chance.

    Attributes:
        asked: float32 (B + 1, N), 1 where an image counts as one of the first set. The first row
            is as it is; in each of the others the labels of the sets were exchanged among the
            images of each stratum.
        strata: int64 (N,), the stratum of each image.
        images: n, of the first set, whose rows come first.
    """

    asked: Rows
    strata: NDArray[np.int64]
    images: int

    @property
    def others(self) -> int:
        """Images of the second set."""
        return len(self.strata) - self.images

    def differences(self, values: Rows) -> Rows:
        """Mean of the first set less that of the second, (B + 1, ...), of values (N, ...)."""
        first: Rows = self.asked @ values
        rest = values.sum(axis=0, dtype=np.float32) - first
        difference: Rows = first / np.float32(self.images) - rest / np.float32(self.others)
        return difference

    def within_strata(self, values: Rows) -> Rows:
        """Values (N, ...) less the mean of each one's stratum."""
        centred = np.array(values, dtype=np.float32)
        for stratum in np.unique(self.strata):
            rows = self.strata == stratum
            centred[rows] -= centred[rows].mean(axis=0)
        return centred


def draw(
    images: int, strata: NDArray[np.int64], *, permutations: int = PERMUTATIONS, seed: int = 0
) -> Draws:
    """Exchange the labels of two sets at random, within strata.

    Under the hypothesis that the images of a stratum are of one kind, whichever set they are of,
    the first row is as likely as any of the others. How many of each stratum a set has is kept,
    so that other shares of the strata are no evidence against it.

    Args:
        images: n, of the first set.
        strata: int64 (n + m,), of the images of both sets.
    """
    strata = _merged(images, strata)
    asked = np.zeros((permutations + 1, len(strata)), np.float32)
    asked[:, :images] = 1.0
    random = np.random.default_rng(seed)
    for stratum in np.unique(strata):
        rows = np.flatnonzero(strata == stratum)
        asked[1:, rows] = random.permuted(asked[1:, rows], axis=1)
    return Draws(asked, strata, images)


def _merged(images: int, strata: NDArray[np.int64]) -> NDArray[np.int64]:
    """Small strata become one, -1."""
    merged = np.array(strata)
    for stratum in np.unique(strata):
        rows = strata == stratum
        if min(rows[:images].sum(), rows[images:].sum()) < LEAST_STRATUM:
            merged[rows] = -1
    return merged


def tail_ranks(scores: NDArray[np.float64]) -> Rows:
    """float32 (N, 1): weights of scores by their ranks that grow fast towards the highest.

    ``-log(1 - rank / (N + 1))``: a few scores beyond all others weigh as much as many that are
    a little higher (the scores of the exponential distribution, Savage 1956).
    """
    from scipy.stats import rankdata

    weights: Rows = -np.log1p(-rankdata(scores) / (len(scores) + 1)).astype(np.float32)
    return weights[:, None]


def ranks(scores: NDArray[np.float64]) -> Rows:
    """float32 (N, 1): the ranks of scores, equal ones with their mean."""
    from scipy.stats import rankdata

    found: Rows = (rankdata(scores) / len(scores)).astype(np.float32)[:, None]
    return found


def further_out(draws: Draws, distances: NDArray[np.float64]) -> Rows:
    """The statistic (B + 1,) that grows where more of the first set's distances are large."""
    found: Rows = draws.differences(draws.within_strata(tail_ranks(distances)))[:, 0]
    return found


def directions(draws: Draws, features: Rows, most: int = DIRECTIONS) -> Rows:
    """float32 (N, K): features (N, D) in their principal directions within strata, of variance 1.

    K is ``most`` or what a quarter of the images allows: with nearly as many directions as
    images any two sets are apart. The directions are those of both sets together, which no
    exchange of their labels changes.
    """
    from sklearn.utils.extmath import randomized_svd

    centred = draws.within_strata(features)
    images = len(centred)
    most = min(most, max(1, images // 4), *centred.shape)
    vectors, lengths, _ = randomized_svd(centred, most, n_iter=4, random_state=0)
    kept = max(1, int((lengths > 1e-4 * lengths[0]).sum()))
    found: Rows = (vectors[:, :kept] * np.sqrt(images)).astype(np.float32)
    return found


def apart(draws: Draws, coordinates: Rows) -> Rows:
    """The statistic (B + 1,) that grows where the sets' means are apart: Hotelling's, with the
    covariance of both sets together, in whitened coordinates (N, K)."""
    difference = draws.differences(coordinates)
    squares: Rows = (difference**2).sum(axis=1)
    return squares


def other_shares(draws: Draws, one_hot: Rows) -> Rows:
    """The statistic (B + 1,) that grows where classes, float32 (N, C) of ones and zeros, have
    other shares in the two sets: chi-squared of the table, but for a factor."""
    there = one_hot[:, one_hot.any(axis=0)]
    squares: Rows = (draws.differences(there) ** 2 / there.mean(axis=0)).sum(axis=1)
    return squares


def p_values(statistics: Rows) -> NDArray[np.float64]:
    """Of each row of a statistic (B + 1,), the share of all rows that are as large or larger."""
    from scipy.stats import rankdata

    rows = len(statistics)
    found: NDArray[np.float64] = (rows + 1 - rankdata(statistics, method="min")) / rows
    return found


def together(*statistics: Rows) -> float:
    """The p of several statistics of the same draws taken as one, by the sum of the logarithms of
    their p (Fisher's), whose distribution the draws give, however they hang together."""
    logarithms = -np.sum([np.log(p_values(each)) for each in statistics], axis=0)
    # As equal as they are: sums of the same logarithms may differ in their last digits.
    return float(np.mean(logarithms >= logarithms[0] - 1e-9))


def told_apart(draws: Draws, coordinates: Rows, *, seed: int = 0) -> NDArray[np.float64]:
    """float64 (N,): how much each image looks like one of the first set rather than the second.

    The direction between the means of the two sets in coordinates (N, K), for each image chosen
    without it and a fifth of the others.
    """
    random = np.random.default_rng(seed)
    first = draws.asked[0] > 0
    fold = np.zeros(len(first), np.int64)
    for rows in (np.flatnonzero(first), np.flatnonzero(~first)):
        fold[random.permutation(rows)] = np.arange(len(rows)) % _FOLDS
    scores = np.zeros(len(first))
    for number in range(_FOLDS):
        held = fold == number
        ours, theirs = coordinates[first & ~held], coordinates[~first & ~held]
        if len(ours) and len(theirs):
            between = ours.mean(axis=0) - theirs.mean(axis=0)
            scores[held] = coordinates[held] @ between / max(float(np.linalg.norm(between)), 1e-12)
    return scores
