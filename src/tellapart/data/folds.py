"""Folds of cross-validation: stratified, seeded, and never a group of images torn apart."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tellapart.data.groups import with_groups
from tellapart.data.listing import plural, shown
from tellapart.data.split import split, split_each_class, split_groups
from tellapart.data.table import ImageTable
from tellapart.errors import DataError, RecipeError

#: Images (or groups) of a class that are left beside a held-out fold: one to train on, one to
#: choose by; and those that a class needs to be held out at all.
_BESIDE, _FEWEST = 2, 3


def assign_folds(table: ImageTable, folds: int, *, seed: int = 0) -> NDArray[np.int64]:
    """The fold of each image, 1 to ``folds``, int64 (N,): that in which it is held out.

    Each class is shared out over the folds to within one image (with groups: as nearly as whole
    groups allow).

    Args:
        table: images that are all to be held out once; its groups stay together.
        seed: the same table and seed give the same folds.

    Raises:
        RecipeError: there are fewer than two folds.
        DataError: a class has too few images, or groups, for so many folds.
    """
    if folds < 2:
        raise RecipeError(f"--cross-validate {folds}: give 2 folds or more; 5 or 10 are usual.")
    _require_enough(table, folds)
    labels = table.labels
    targets = _targets(labels, folds, len(table.classes))
    if table.groups is None:
        assigned = split_each_class(labels, targets, seed)
    else:
        # A part's target is divided by; a class of fewer images than folds is in some of them.
        assigned = split_groups(labels, table.groups, np.maximum(targets, 1), seed)
        _require_left_over(table, assigned, folds)
    return assigned + 1


def divide_rest(table: ImageTable, validation: float, *, seed: int = 0) -> NDArray[np.bool_]:
    """Which of the images beside a held-out fold choose: bool (N,); the others train.

    Args:
        table: the images that are not held out.
        validation: share or number of them.

    Raises:
        DataError: a class is too small to train on and to choose by.
    """
    whole = replace(table, parts=np.full(len(table), "", "<U10"), notes=())
    chosen: NDArray[np.bool_] = (
        split(whole, validation=validation, test=0.0, seed=seed).table.parts == "validation"
    )
    return chosen


def _targets(labels: NDArray[np.int64], folds: int, classes: int) -> NDArray[np.int64]:
    """Images of each class for each fold, (folds, classes): equal shares, and what is left over
    goes round, so that folds are of one size as well."""
    counts = np.bincount(labels, minlength=classes)
    targets = np.repeat((counts // folds)[None], folds, axis=0).astype(np.int64)
    place = 0
    for label, left in enumerate((counts % folds).tolist()):
        for step in range(left):
            targets[(place + step) % folds, label] += 1
        place += left
    return targets


def _units(table: ImageTable) -> NDArray[np.int64]:
    """Of each class the number of what cannot be torn: its groups, or its images, (classes,)."""
    if table.groups is None:
        return np.bincount(table.labels, minlength=len(table.classes)).astype(np.int64)
    pairs = np.unique(np.stack([table.labels, table.groups]), axis=1)
    return np.bincount(pairs[0], minlength=len(table.classes)).astype(np.int64)


def _require_enough(table: ImageTable, folds: int) -> None:
    units = _units(table)
    smallest = int(units.argmin())
    number, noun = int(units[smallest]), "image" if table.groups is None else "group"
    together = "" if table.groups is None else " of images that belong together"
    left = number - -(-number // folds)
    if number >= folds and left >= _BESIDE:
        return
    name = shown(table.classes[smallest])
    if number < _FEWEST:
        advice = f"add images of it, or leave classes so small out with --min-images {_FEWEST}"
    else:
        most = f"{number} or less" if number > _FEWEST else str(number)
        advice = f"give --cross-validate {most}, or add images of it"
    raise DataError(
        f"--cross-validate {folds}: class '{name}' has {plural(number, noun)}{together}, too few "
        f"to hold out a {_part_of(folds)} of them at a time and to train and choose on the rest; "
        f"{advice}."
    )


def _part_of(folds: int) -> str:
    return {2: "half", 3: "third", 4: "quarter", 5: "fifth", 10: "tenth"}.get(folds, f"{folds}th")


def _require_left_over(table: ImageTable, assigned: NDArray[np.int64], folds: int) -> None:
    """Whole groups must leave every class enough outside each fold, and no fold empty."""
    for fold in range(folds):
        rest = assigned != fold
        if rest.all():
            raise DataError(
                f"--cross-validate {folds}: the groups are too few and too unequal to fill "
                f"{folds} folds; give fewer folds, or group by something finer."
            )
        lacking = np.flatnonzero(_units(table.select(rest)) < _BESIDE)
        if len(lacking):
            name = shown(table.classes[int(lacking[0])])
            raise DataError(
                f"--cross-validate {folds}: whole groups leave too few of class '{name}' beside "
                "one of the folds; give fewer folds, or group by something finer."
            )


def without_parts(table: ImageTable) -> ImageTable:
    """The images that are cross-validated: those of no part, of train and of validation.

    Given test images stay out of it altogether, unread, and a note says so.
    """
    test = table.parts == "test"
    kept = table.select(~test) if test.any() else table
    notes = []
    if (kept.parts == "validation").any():
        notes.append("The train and validation images of the folder are cross-validated together.")
    if number := int(test.sum()):
        notes.append(
            f"The {plural(number, 'test image')} of the folder {'is' if number == 1 else 'are'} "
            "left alone; 'tellapart evaluate RUN FOLDER' scores the finished classifier on "
            f"{'it' if number == 1 else 'them'}."
        )
    parts = np.full(len(kept), "", "<U10")
    return replace(kept, parts=parts, notes=(*table.notes, *notes))


def together_in(table: ImageTable, copies: NDArray[np.int64]) -> ImageTable:
    """The table with the groups that a fold must not tear: its own, and copies of one picture.

    ``groups`` is None where every image stands alone.
    """
    joined = with_groups(table, copies)
    alone = joined.groups is None or len(np.unique(joined.groups)) == len(joined)
    return replace(joined, groups=None) if alone else joined
