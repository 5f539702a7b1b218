"""What is settled before a training: the images, the copies among them, their parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tellapart.audit.brief import BriefAudit, brief_audit
from tellapart.data.copies import CLEAN, Copies, find_copies, split_apart
from tellapart.data.folds import assign_folds, together_in, without_parts
from tellapart.data.pixels import PixelCache
from tellapart.data.source import Source
from tellapart.data.split import Splits, split
from tellapart.data.table import ImageTable
from tellapart.errors import RecipeError
from tellapart.evaluation.choosing import require_choosable
from tellapart.machine import keep_memory
from tellapart.models.inputs import preprocessing_of
from tellapart.openmp import wait_briefly
from tellapart.pixels.preprocessing import Preprocessing
from tellapart.progress import Progress
from tellapart.recipe import Recipe
from tellapart.run_images import StoredImage
from tellapart.stopwatch import Stopwatch
from tellapart.training.auto import settle_image_size
from tellapart.training.unused import unused_settings
from tellapart.wording import did_you_mean, listed, shown

#: Clean validation images from which on they alone choose.
_FEWEST_TO_CHOOSE = 20


@dataclass(frozen=True)
class Prepared:
    """Everything that is settled before training starts."""

    source: Source
    recipe: Recipe
    splits: Splits
    images: PixelCache
    preprocessing: Preprocessing
    device: str
    audit: BriefAudit
    copies: Copies
    #: Of each image CLEAN, COPY or NEAR, str (N,).
    leaked: NDArray[np.str_]
    #: In which fold each image is held out, from 1, int64 (N,); None: without cross-validation,
    #: with which all images are in the train part.
    folds: NDArray[np.int64] | None = None


def prepare(
    source: Source,
    recipe: Recipe,
    device: str,
    watch: Stopwatch,
    progress: Progress,
    stored: Sequence[StoredImage] = (),
) -> Prepared:
    """Read the folder, decode its images, look for copies among them and split them.

    ``stored`` are the images of a run that is gone on with.
    """
    wait_briefly()
    keep_memory()
    with watch.stage("Find images"):
        table = source.read(progress)
        # What cannot be split, or decided on, is said before any image is decoded.
        if recipe.data.cross_validate is not None:
            table = without_parts(table)
            _require_positive(table, recipe)
            assign_folds(table, recipe.data.cross_validate, seed=recipe.seed)
        else:
            _require_decidable(_split(table, recipe).table, recipe)
    if recipe.method == "auto":
        recipe = source.with_files(
            lambda: settle_image_size(recipe, table, on_processor=device == "cpu")
        )
    preprocessing = preprocessing_of(recipe)
    with watch.stage("Decode images"):
        images = source.pixels(table, preprocessing, progress=progress)
    with watch.stage("Look for copies"):
        copies = find_copies(images, progress=progress)
        folds = None
        if recipe.data.cross_validate is not None:
            splits, folds = _fold(images.table, copies, recipe, recipe.data.cross_validate)
        else:
            splits = _split_apart(images.table, copies, recipe, stored)
        leaked = copies.leaked(splits.table.parts)
    if folds is None:
        _require_decidable(splits.table, recipe)
    audit = brief_audit(splits.table, images.digests, copies, left_out=not recipe.data.keep_leaks)
    unused = unused_settings(recipe)
    for sentence in [*unused, *splits.table.notes[len(table.notes) :], *audit.sentences]:
        progress.note(sentence)
    return Prepared(
        source, recipe, splits, images, preprocessing, device, audit, copies, leaked, folds
    )


def _fold(
    table: ImageTable, copies: Copies, recipe: Recipe, number: int
) -> tuple[Splits, NDArray[np.int64]]:
    """All images in the train part, and the fold of each; copies are in one fold.

    Raises:
        DataError: a class is too small for so many folds.
    """
    together = together_in(table, copies.groups)
    folds = assign_folds(together, number, seed=recipe.seed)
    whole = (
        ""
        if together.groups is None
        else (", whole groups" if table.groups is not None else ", copies kept together")
    )
    note = (
        f"Cross-validation in {number} folds: every image is held out once, by class{whole}, "
        f"seed {recipe.seed}."
    )
    trained = np.full(len(table), "train", "<U10")
    return Splits(replace(table, parts=trained, notes=(*table.notes, note))), folds


def _split_apart(
    table: ImageTable, copies: Copies, recipe: Recipe, stored: Sequence[StoredImage]
) -> Splits:
    """Split a table, copies kept together; the parts of an older run as it made them.

    Older versions did not look for copies. Their runs are gone on with in the parts that they
    began with, if these are what such a version would make of the table.
    """
    splits = split_apart(
        table, copies, validation=recipe.data.validation, test=recipe.data.test, seed=recipe.seed
    )
    before = {(image.part, image.path) for image in stored}
    if before and before != parts_of(splits.table):
        as_older = _split(table, recipe)
        if before == parts_of(as_older.table):
            return as_older
    return splits


def parts_of(table: ImageTable) -> set[tuple[str, str]]:
    """Part and path of every image."""
    return set(zip(table.parts.tolist(), table.paths, strict=True))


def _require_decidable(table: ImageTable, recipe: Recipe) -> None:
    """The class that is looked for must be one, and validation must have images to choose on.

    Raises:
        RecipeError: there is no such class.
        DataError: the validation part has no images of it, or of no other class.
    """
    positive = recipe.decision.positive
    _require_positive(table, recipe)
    if positive is not None:
        require_choosable(table.labels[table.parts == "validation"], table.classes, positive)


def _require_positive(table: ImageTable, recipe: Recipe) -> None:
    """The class that is looked for must be one.

    Raises:
        RecipeError: there is no such class.
    """
    positive = recipe.decision.positive
    if positive is None or positive in table.classes:
        return
    hint = did_you_mean(positive, table.classes)
    raise RecipeError(
        f"--positive (decision.positive): there is no class '{shown(positive)}'.{hint} The "
        f"classes are {listed(table.classes, 20, 'and')}."
    )


def _split(table: ImageTable, recipe: Recipe) -> Splits:
    return split(table, validation=recipe.data.validation, test=recipe.data.test, seed=recipe.seed)


def choosing_rows(prepared: Prepared) -> NDArray[np.int64] | None:
    """Rows of the validation images that choose; None: all of them.

    Leaked ones do not choose, unless they are kept on purpose, or hardly any others are there
    (or none of the class that is looked for): a choice by a handful of images is a worse one.
    """
    table = prepared.splits.table
    rows = np.flatnonzero(table.parts == "validation")
    clean = rows[prepared.leaked[rows] == CLEAN]
    if prepared.recipe.data.keep_leaks or len(clean) == len(rows):
        return None
    positive = prepared.recipe.decision.positive
    if positive is not None:
        looked_for = table.labels[clean] == table.classes.index(positive)
        if looked_for.all() or not looked_for.any():
            return None
    return clean if len(clean) >= min(_FEWEST_TO_CHOOSE, len(rows) / 2) else None
