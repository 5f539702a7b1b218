"""Intervals from accuracies that share images: repeats over splits and refits.

Accuracies of one set of images, divided again and again into those that train and those that
test, are not independent: their variance over the number of repeats is far too small. Nadeau
and Bengio (2003, "Inference for the generalization error", section 3) add to 1/J, of J
accuracies, the ratio of tested to trained images, which stands for what they have in common.
With the folds of repeated cross-validation as the J splits this is the corrected repeated
k-fold test of Bouckaert and Frank (2004). How often the intervals hold what they are meant to
is measured by ``benchmarks/coverage_of_refits.py``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tellapart.evaluation.intervals import Z, student_quantile, wilson_from_variance
from tellapart.number import Number, undefined


def corrected_mean(values: NDArray[np.float64], ratio: float) -> tuple[float, float, float]:
    """Mean of J values of as many splits, its corrected variance, and Student's quantile.

    Args:
        values: float64 (J,), J >= 2.
        ratio: tested images over training images.

    >>> mean, variance, quantile = corrected_mean(np.array([0.8, 0.9, 1.0]), 0.25)
    >>> round(mean, 3), round(variance, 5), round(quantile, 3)
    (0.9, 0.00583, 4.303)
    """
    count = len(values)
    variance = (1.0 / count + ratio) * float(values.var(ddof=1))
    return float(values.mean()), variance, student_quantile(count - 1)


def accuracy_of_procedure(accuracies: NDArray[np.float64], tested: float, ratio: float) -> Number:
    """The accuracy of a classifier trained in the same way on other images of this kind.

    The corrected variance as Wilson's interval of a proportion has it, so that it stays within
    0..1 and is skewed as a proportion near its end is.

    Args:
        accuracies: float64 (J,), one a split.
        tested: images that were tested in a split, in the mean.
        ratio: tested images over training images.
    """
    if len(accuracies) < 2:
        return undefined("there is one split only")
    mean, variance, quantile = corrected_mean(accuracies, ratio)
    # Where every split came out alike, by chance or because all are right: as for a proportion.
    alike = tested / (1.0 / len(accuracies) + ratio)
    low, high = wilson_from_variance(mean, variance * (quantile / Z) ** 2, alike)
    return Number(mean, low, high, "corrected resampling")


def mean_difference(differences: NDArray[np.float64], ratio: float) -> Number:
    """A mean of paired differences, one a split, with Student's corrected interval."""
    if len(differences) < 2:
        return undefined("there is one split only")
    mean, variance, quantile = corrected_mean(differences, ratio)
    half = quantile * float(np.sqrt(variance))
    return Number(mean, mean - half, mean + half, "corrected resampling")
