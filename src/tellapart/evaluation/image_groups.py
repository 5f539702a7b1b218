"""Images that belong together: how far a group makes them say the same thing twice.

Twenty photographs of one patient are not twenty independent images. The variance of a number
is then the sum of squares of the groups' influences, not of the images' (the sandwich variance
of a cluster sample). How many times larger it is, is called the design effect (Kish 1965); a
number measured on so many images is known as well as on that many fewer.
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

        The measured ratio of the groups' sum of squares to the images' is drawn a little to
        its value where all images of a group are alike, since few wrong images say little
        about whether they come in groups. Then it is raised by the square of Student's
        quantile over the normal one, with one degree of freedom fewer than there are groups
        (Korn and Graubard 1998): a variance from few groups is rough.

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
        sizes = np.bincount(numbers, minlength=count)
        worst = float((sizes.astype(np.float64) ** 2).sum()) / images
        centred = influence - influence.mean()
        squares = centred**2
        alone = float(squares.sum())
        effect = worst
        if alone > 0.0:
            sums = np.bincount(numbers, centred, count)
            together = float((sums**2).sum()) * count / max(count - 1, 1)
            moving = alone**2 / float((squares**2).sum())
            effect = (moving * together / alone + _WORST_CASE * worst) / (moving + _WORST_CASE)
        freedom = max(images / worst - 1.0, 1.0)
        return max(1.0, effect) * (student_quantile(freedom) / Z) ** 2


def image_groups(groups: NDArray[np.int64] | None) -> ImageGroups | None:
    """Groups by their numbers (negative: the image stands alone); None if all stand alone."""
    if groups is None or not len(groups):
        return None
    alone = groups < 0
    own = np.where(alone, groups.max() + 1 + np.arange(len(groups)), groups)
    found, numbers = np.unique(own, return_inverse=True)
    return None if len(found) == len(groups) else ImageGroups(numbers, len(found))
