"""How good is a classifier trained in the same way on other images? By repeats and refits.

The images are divided into folds again and again, each time in another way, and the whole
procedure is repeated beside every fold: divide the rest, fit probes, choose the strength. What
the accuracies say together is in :mod:`tellapart.evaluation.resampled`.
"""

from __future__ import annotations

import numpy as np

from tellapart.data.folds import assign_folds, divide_rest
from tellapart.data.table import ImageTable
from tellapart.evaluation.resampled import accuracy_of_procedure
from tellapart.number import Number
from tellapart.progress import SILENT, Progress
from tellapart.training.refits import Refits, chosen_accuracy

#: Repeats of few images, and of many, where a repeat costs more and adds less.
_MOST, _FEWEST = 10, 2
#: Images that all repeats together train on, about.
_IMAGES_IN_ALL = 20_000


def repeats_for(images: int) -> int:
    """How often images are divided into folds: 10 times up to 2,000, twice from 10,000 on.

    >>> repeats_for(300), repeats_for(5_000), repeats_for(25_000)
    (10, 4, 2)
    """
    return max(_FEWEST, min(_MOST, _IMAGES_IN_ALL // max(images, 1)))


def refit_procedure(
    refits: Refits,
    together: ImageTable,
    *,
    folds: int,
    repeats: int,
    validation: float,
    seed: int = 0,
    progress: Progress = SILENT,
) -> Number:
    """Accuracy of the procedure with its 95 % interval.

    Args:
        together: the table of the images with the groups that must not be torn.
        validation: share or number of the images beside a fold that choose.

    Raises:
        DataError: a class is too small for so many folds.
    """
    accuracies = []
    with progress.stage("Repeating with other folds", repeats * folds, "refits") as stage:
        for repeat in range(repeats):
            assigned = assign_folds(together, folds, seed=seed + 7919 * (repeat + 1))
            for fold in range(1, folds + 1):
                rest = np.flatnonzero(assigned != fold)
                chosen = divide_rest(together.select(rest), validation, seed=seed + repeat)
                tested = np.flatnonzero(assigned == fold)
                accuracies.append(chosen_accuracy(refits, rest[~chosen], rest[chosen], tested))
                stage.advance()
    images = len(together)
    return accuracy_of_procedure(
        np.array(accuracies), tested=images / folds, ratio=1.0 / (folds - 1)
    )
