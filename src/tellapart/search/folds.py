"""Judging a probe where few images choose: every image that trains or chooses is held out once.

With some tens of validation images a difference between candidates drowns in chance. Features are
in the cache, so that a probe is fitted again for each fold in next to no time, and every image is
answered by one that had not seen it, nor a copy of it: repeated, stratified cross-validation in
whole groups (Kohavi 1995).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tellapart.data.folds import assign_folds, divide_rest
from tellapart.data.table import ImageTable
from tellapart.errors import DataError
from tellapart.evaluation.predictions import Predictions
from tellapart.progress import SILENT
from tellapart.training.cross_validation import joined, train_fold
from tellapart.training.outcome import Task

#: Folds, and how often the images are divided into them anew.
FOLDS, REPEATS = 5, 2
#: Of the images beside a fold, so many choose strength and temperature.
_CHOOSING = 0.2


def held_out_by_folds(task: Task, together: ImageTable) -> Predictions | None:
    """Calibrated answers for all images that train or choose, each by probes that had not seen it.

    Args:
        task: of a probe.
        together: the table of all images of the task, with the groups that must not be torn.

    Returns:
        The mean over the repeats, in the order of the table; None where a class is too small.

    Raises:
        OutOfTimeError: the task's progress says so.
    """
    choosing = task.choosing if task.choosing is not None else task.rows["validation"]
    known = np.sort(np.concatenate([task.rows["train"], choosing]))
    table = together.select(known)
    paths = [task.images.table.paths[row] for row in known.tolist()]
    repeats: list[Predictions] = []
    try:
        with task.progress.stage("Cross-validating", FOLDS * REPEATS, "folds") as work:
            for repeat in range(REPEATS):
                folds = assign_folds(table, FOLDS, seed=task.recipe.seed + 7919 * repeat)
                found = []
                for fold in range(1, FOLDS + 1):
                    rest = known[folds != fold]
                    chosen = divide_rest(
                        table.select(folds != fold), _CHOOSING, seed=task.recipe.seed
                    )
                    rows = {
                        "train": rest[~chosen], "validation": rest[chosen],
                        "test": known[folds == fold],
                    }  # fmt: skip
                    own = replace(task, rows=rows, choosing=None, progress=SILENT)
                    found.append(train_fold(own, fold))
                    work.advance()
                repeats.append(joined(found, paths))
    except DataError:  # a class is too small to be held out: the validation part judges
        return None
    mean = np.mean([one.probabilities for one in repeats], axis=0)
    return replace(repeats[0], part="validation", probabilities=mean, folds=None, fold_decisions=())
