"""Images that belong together: how far a group makes them say the same thing twice.

Twenty photographs of one patient are not twenty independent images: the variance of a number is
larger, by what is called the design effect (Kish 1965). A number measured on so many images is
known as well as on that many fewer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tellapart.evaluation.intervals import Z, student_quantile

#: Weight of the worst case, "images of a group are all alike", against the measured spread, in
#: images that move the number. It decides where nothing or hardly anything is wrong.
_WORST_CASE = 0.5


@dataclass(frozen=True, eq=False)
class ImageGroups:
    """Which images of a part belong together.

    Attributes:
        numbers: int64 (N,), the group of each image, from 0; every group has an image.
        count: how many groups there are.
    """

    numbers: NDArray[np.int64]
    count: int

    def design_effect(
        self,
        influence: NDArray[np.floating[Any]] | NDArray[np.bool_],
        rows: NDArray[np.int64] | None = None,
    ) -> float:
        """How many times fewer images would tell as much, if each stood alone; at least 1.

        It is 1 + (m - 1) r (Kish 1965): m is the size of the group that an image is in, on
        average, and r how alike the images of one group are, the correlation of their influences,
        to which a group counts by its images and not by its pairs. With groups of one size this
        is the ratio of the groups' sum of squares to the images' (the sandwich variance). With
        unequal ones that ratio is about the few largest groups, so that intervals from it hold
        the truth too rarely.

        Few wrong images say little about whether they come in groups, so the effect is drawn a
        little to its value where all images of a group are alike. Then it is raised by the square
        of Student's quantile over the normal one, with one degree of freedom fewer than there are
        groups (Korn and Graubard 1998): a variance from few groups is rough.

        Args:
            influence: (N,) or (len(rows),), how far each image moves the number; its mean is
                taken off.
            rows: the images that the number is about, all if None.
        """
        numbers, count = self.numbers, self.count
        if rows is not None:
            found, numbers = np.unique(numbers[rows], return_inverse=True)
            count = len(found)
        images = len(numbers)
        if count == images:
            return 1.0
        sizes = np.bincount(numbers, minlength=count).astype(np.float64)
        worst = float((sizes**2).sum()) / images  # the group that an image is in, on average
        centred = influence - influence.mean()
        squares = centred**2
        alone = float(squares.sum())
        effect = worst
        if alone > 0.0:
            alike = _alike(numbers, sizes, centred)
            measured = max(0.0, 1.0 + (worst - 1.0) * alike) * count / max(count - 1, 1)
            moving = alone**2 / float((squares**2).sum())
            effect = (moving * measured + _WORST_CASE * worst) / (moving + _WORST_CASE)
        freedom = max(images / worst - 1.0, 1.0)
        return max(1.0, effect) * (student_quantile(freedom) / Z) ** 2


def _alike(
    numbers: NDArray[np.int64], sizes: NDArray[np.float64], centred: NDArray[np.float64]
) -> float:
    """Correlation of values of one group, 1 at most; 1 where no two values can be compared.

    Each group's mean product of two of its images, weighted by its images, over their mean
    square; groups of one image have no pair.
    """
    pairs = sizes > 1
    squares = np.bincount(numbers, centred**2, len(sizes))[pairs]
    sums = np.bincount(numbers, centred, len(sizes))[pairs]
    products = (sums**2 - squares) / (sizes[pairs] - 1.0)
    total = float(squares.sum())
    return float(products.sum()) / total if total > 0.0 else 1.0


def image_groups(groups: NDArray[np.int64] | None) -> ImageGroups | None:
    """Groups by their numbers (negative: the image stands alone); None if all stand alone."""
    if groups is None or not len(groups):
        return None
    alone = groups < 0
    own = np.where(alone, groups.max() + 1 + np.arange(len(groups)), groups)
    found, numbers = np.unique(own, return_inverse=True)
    return None if len(found) == len(groups) else ImageGroups(numbers, len(found))
