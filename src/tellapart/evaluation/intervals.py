"""95 % intervals: how far chance could move a number measured on so many images.

The method of each stands in its ``Number.method``; docs/how-numbers-are-computed.md has the
formulas, their sources and how often each covers the truth in simulations:

* ``wilson``: a proportion (accuracy, precision, recall), or F1 of a class, which grows with one.
* ``combined``: an average of classes, from the classes' own limits.
* ``jackknife``: a smooth function of the images (AUC, average precision, weighted recall and
  F1). Its variance is the sum of squares of each image's influence (the infinitesimal jackknife;
  for the AUC this is DeLong's variance, DeLong et al. 1988, see :func:`ranking.auc_variance`).
  Limits are Wilson's at the number of images for which a proportion would have that variance,
  so they stay within 0..1.
* ``gamma``: the mean of a skewed loss (log loss, Brier score).
* ``simulation``: the calibration error, over seeded draws of how many images of each bin are
  right.

Each with ", grouped images" where images belong together: then it is the interval of fewer
images, by the design effect (:mod:`tellapart.evaluation.image_groups`).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from tellapart.number import Number, undefined

#: Half-width of a 95 % interval in standard errors: the normal distribution's 0.975 quantile.
Z = 1.959963984540054

RESAMPLES = 2000

#: A loss that cannot exceed this is bounded: the Brier score.
_BOUNDED = 2.0


def wilson(successes: float, trials: float) -> tuple[float, float]:
    """Wilson's 95 % interval of a proportion (Wilson 1927); ``trials`` > 0.

    >>> low, high = wilson(90, 100)
    >>> round(low, 4), round(high, 4)
    (0.8256, 0.9448)
    """
    share = successes / trials
    factor = 1.0 / (1.0 + Z * Z / trials)
    centre = factor * (share + Z * Z / (2.0 * trials))
    half = factor * Z * np.sqrt(share * (1.0 - share) / trials + Z * Z / (4.0 * trials**2))
    # At 0 and 1 rounding would leave a limit a hair away from the value.
    low = 0.0 if share <= 0.0 else min(float(centre - half), share)
    high = 1.0 if share >= 1.0 else max(float(centre + half), share)
    return low, high


def wilson_from_variance(value: float, variance: float, trials: float) -> tuple[float, float]:
    """Wilson's interval for a number in 0..1 of known variance.

    A proportion ``value`` has this variance at ``value (1 - value) / variance`` images;
    ``trials`` images are assumed where the value is 0 or 1 or the variance vanishes.
    """
    spread = value * (1.0 - value)
    if spread < 1e-12 or variance <= 0.0:  # a mean of ones may round to just below 1
        return wilson(value * trials, trials)
    effective = spread / variance
    return wilson(value * effective, effective)


def proportion(successes: int, trials: int, reason: str, effect: float = 1.0) -> Number:
    """A share of images with Wilson's interval; undefined, with ``reason``, of none.

    Args:
        effect: the design effect of the images' groups; the interval is that of as many times
            fewer images.
    """
    if trials == 0:
        return undefined(reason)
    limits = wilson(successes / effect, trials / effect)
    return Number(successes / trials, *limits, named("wilson", effect))


def named(method: str, effect: float) -> str:
    """The name of a method where it knows groups, and where there are none."""
    return method if effect == 1.0 else f"{method}, grouped images"


def combined(
    values: NDArray[np.float64],
    lows: NDArray[np.float64],
    highs: NDArray[np.float64],
    weights: NDArray[np.float64],
    correlation: NDArray[np.float64] | None = None,
) -> tuple[float, float]:
    """Limits of a weighted sum from the limits of its terms, each by its own skewed interval.

    The distances of the terms from their limits are added as standard errors would be (MOVER,
    Zou and Donner 2008), the lower ones for the lower limit, the upper for the upper.

    Args:
        values, lows, highs, weights: (terms,).
        correlation: (terms, terms) of the terms' errors; independent if None.
    """
    value = float(weights @ values)
    spreads = []
    for distance in (weights * (values - lows), weights * (highs - values)):
        others = distance if correlation is None else correlation @ distance
        spreads.append(float(np.sqrt(max(float(distance @ others), 0.0))))
    return max(0.0, value - spreads[0]), min(1.0, value + spreads[1])


def mean_loss(
    losses: NDArray[np.float64], if_wrong: float, largest: float, effect: float = 1.0
) -> Number:
    """The mean of a loss (>= 0), which is skewed: few images are wrong, and they cost most.

    Limits are those of a gamma distribution with the mean's variance (Fay and Feuer 1997).
    For the mean and its variance half an image more is wrong, as in Jeffreys' interval of a
    count (the mid-p form of Fay and Kim 2017): if no image is wrong, the next may still be.
    The limits of a loss that can be anything are at Student's quantile.

    Args:
        losses: float64 (N,), N >= 1.
        if_wrong: the loss of a wrong image.
        largest: what the mean cannot exceed; infinite if it can be anything.
        effect: the design effect of the images' groups.
    """
    value = float(losses.mean())
    images = len(losses) / effect
    step = if_wrong / images
    centre = value + step / 2.0
    variance = float(losses.var()) / images + step**2 / 2.0
    if centre <= 0.0 or variance <= 0.0:
        return Number(value, value, value, named("gamma", effect))
    freedom = 2.0 * centre**2 / variance
    # What has no largest value may have a long tail, of which few images show too little.
    far = student_quantile(max(len(losses) - 1.0, 1.0)) if largest > _BOUNDED else Z
    low, high = (centre * chi_squared(freedom, z) / freedom for z in (-far, far))
    return Number(value, min(low, value), min(max(high, value), largest), named("gamma", effect))


def chi_squared(freedom: float, z: float) -> float:
    """Quantile of chi squared at the normal quantile ``z`` (Wilson and Hilferty 1931).

    >>> round(chi_squared(10.0, Z), 1)  # exact: 20.48
    20.5
    """
    part = 2.0 / (9.0 * freedom)
    return float(freedom * max(0.0, 1.0 - part + z * np.sqrt(part)) ** 3)


def student_quantile(freedom: float) -> float:
    """Student's 0.975 quantile at any number of degrees of freedom > 0.

    >>> round(student_quantile(1.0), 3), round(student_quantile(19.0), 3)
    (12.706, 2.093)
    """
    from scipy.special import stdtrit

    return float(stdtrit(freedom, 0.975))


def calibration_limits(
    images: NDArray[np.int64],
    right: NDArray[np.float64],
    confidence: NDArray[np.float64],
    seed: int,
    resamples: int = RESAMPLES,
    effect: float = 1.0,
) -> tuple[float, float]:
    """Limits of a calibration error, the sum over bins of |right - confidence| / N.

    Chance alone opens gaps between confidence and accuracy, so the error is biased upwards,
    the more the better calibrated the classifier is. The lower limit is therefore found by
    drawing the number of right images of each bin anew as if the gaps were a part t of the error,
    shared among the bins as by those that were measured: it is the smallest such error of which
    at least 2.5 % of the draws come to the error that was measured. It is 0 where 5 % of those at
    t = 0 do, for there the upper limit cannot fail. A bin's share is its gap less what chance
    alone would open (the positive part of James and Stein 1961): shared among all bins, most of
    an error would drown in chance, and the limit be too high. The upper limit adds the distances
    of the bins from the far end of Wilson's interval of their accuracy (:func:`combined`): a
    bin of few images, all right, may hide wrong ones.

    Args:
        images: int64 (bins,), images of each bin, at least one.
        right: float64 (bins,), how many of them are predicted right.
        confidence: float64 (bins,), sum of their confidences.
        seed: of the draws.
        effect: the design effect of the images' groups.
    """
    total = float(images.sum())
    expected = np.clip(confidence / images, 0.0, 1.0)  # a sum of ones may round above them
    accuracy, weights = right / images, images / total
    gaps = np.abs(accuracy - expected)
    error = float(weights @ gaps)
    known = np.maximum(np.rint(images / effect), 1.0).astype(np.int64)
    random = np.random.default_rng(seed)

    shape = _beyond_chance(accuracy - expected, expected, known)
    total_shape = float(weights @ np.abs(shape))
    if total_shape > 0.0:
        shape = np.clip(expected + shape * (error / total_shape), 0.0, 1.0) - expected
    else:
        shape = accuracy - expected
    whole = float(weights @ np.abs(shape))

    def reaches(part: float, share: float = 0.025) -> bool:
        """Gaps of this part of the shape come to the measured error often enough."""
        drawn = random.binomial(known, expected + part * shape, (resamples, len(images))) / known
        return bool((np.abs(drawn - expected) @ weights >= error).mean() >= share)

    low, beyond = 0.0, 1.0
    if not reaches(0.0, 0.05):
        for _ in range(7):
            middle = (low + beyond) / 2.0
            low, beyond = (low, middle) if reaches(middle) else (middle, beyond)
        low = (low + beyond) / 2.0
    ends = [wilson(r / effect, n / effect) for r, n in zip(right, images, strict=True)]
    farthest = np.array(
        [
            max(abs(end - mean) for end in limits)
            for limits, mean in zip(ends, expected, strict=True)
        ]
    )
    _, high = combined(gaps, gaps, np.maximum(farthest, gaps), weights)
    likely = (right + 0.5) / (images + 1.0)
    spread = float(np.sqrt((weights**2 * likely * (1.0 - likely) / images).sum() * effect))
    return min(low * whole, error), min(1.0, max(error, high, error + Z * spread))


def _beyond_chance(
    gaps: NDArray[np.float64], expected: NDArray[np.float64], images: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Gaps of bins without what chance alone opens: g max(0, 1 - s^2 / g^2)."""
    chance = np.maximum(expected * (1.0 - expected), 0.25 / (images + 1.0)) / images
    kept: NDArray[np.float64] = gaps * np.maximum(0.0, 1.0 - chance / np.maximum(gaps**2, 1e-12))
    return kept


def prediction_interval(
    right: int, images: int, future: int, effect: float = 1.0
) -> tuple[int, int]:
    """How many of the next ``future`` images will be right, with a chance of 95 %.

    This is wider than the interval of the accuracy: that one is about the accuracy on all images
    of the kind, and a sentence such as "the true accuracy lies between 69 and 78 %" goes with
    it; "of the next 100 images expect 62 to 84 right" goes with this one. A beta-binomial
    distribution from Jeffreys' prior (half an image right, half an image wrong).

    Args:
        right, images: what was measured.
        future: how many images will come, each for itself.
        effect: the design effect of the groups of the measured images.

    >>> prediction_interval(90, 100, 100)
    (80, 97)
    """
    a, b = right / effect + 0.5, (images - right) / effect + 0.5
    chances, chance = np.empty(future + 1), 0.0
    for count in range(future + 1):  # logarithms of neighbours' ratios, from 0 right on
        chances[count] = chance
        if count < future:
            chance += math.log((future - count) * (count + a))
            chance -= math.log((count + 1) * (future - count - 1 + b))
    shares = np.exp(chances - chances.max())
    so_far = np.cumsum(shares / shares.sum())
    low, high = np.searchsorted(so_far, (0.025, 0.975))
    return int(low), int(min(high, future))
