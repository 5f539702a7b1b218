"""Method ``auto``: its first answer, and the size of the pictures for it.

Frozen features of the default backbone and a probe come first, because on the data sets of the
benchmarks nothing else is near it for the time. What follows is ``tellapart.search``.
"""

from __future__ import annotations

import math

import numpy as np

from tellapart.data.table import ImageTable
from tellapart.recipe import BackboneModel, Recipe
from tellapart.training.by_probe import train_by_probe
from tellapart.training.outcome import Task, Trained

#: Pictures whose headers are read to learn how large pictures are.
_SAMPLE = 64
#: Networks reduce a picture by this much, so sizes are multiples of it.
_STEP = 32
#: Seconds of a processor for a million pixels of features, before any were measured; and how long
#: a first answer may take for them: so many seconds, or this share of the time that is given.
_FEATURES, _FIRST_SECONDS, _FIRST_SHARE = 0.08, 20.0, 0.1
#: Where pictures are small, tuning the network is what gains: the first answer takes less.
_FIRST_SHARE_SMALL = 0.05
#: The first answer's pictures are never smaller than this.
_SMALLEST = 64


def train_auto(task: Task) -> Trained:
    """The first answer: a probe. The search for a better one is the caller's."""
    return train_by_probe(task)


def settle_image_size(recipe: Recipe, table: ImageTable, *, on_processor: bool = True) -> Recipe:
    """The recipe with an image size no larger than the pictures are, where it leaves it open.

    Enlarging a picture a little costs time and adds nothing: for Dogs vs. Cats, whose
    pictures have 200 pixels, 192 instead of 224 takes three quarters of the time and scores
    the same. Pictures below three quarters of the backbone's own size are enlarged to that
    size: on tiny pictures the network needs it.

    Where a search follows, the first answer is to come soon: of very many images smaller pictures
    are taken, and the search tries larger ones.

    Args:
        on_processor: whether no accelerator computes the features.
    """
    if recipe.data.image_size is not None or not isinstance(recipe.model, BackboneModel):
        return recipe
    from tellapart.models.catalogue import backbone_info

    own = backbone_info(recipe.model.backbone, recipe.model.weights).size
    typical = typical_side(table) or own
    size = typical // _STEP * _STEP if 0.75 * own <= typical < own else own
    limit = recipe.time_limit_seconds
    if limit and on_processor:
        share = _FIRST_SHARE_SMALL if typical <= _SMALLEST else _FIRST_SHARE
        seconds = max(_FIRST_SECONDS, share * limit)
        most = math.sqrt(seconds / (_FEATURES * max(1, len(table)))) * 1000
        size = min(size, max(_SMALLEST, int(most) // _STEP * _STEP))
    if size == own:
        return recipe
    return recipe.model_copy(update={"data": recipe.data.model_copy(update={"image_size": size})})


def typical_side(table: ImageTable) -> int:
    """The median of the pictures' shorter sides, in pixels; 0 where none can be read."""
    sides = _shorter_sides(table)
    return int(np.median(sides)) if sides else 0


def _shorter_sides(table: ImageTable) -> list[int]:
    """Shorter side, in pixels, of pictures spread over the table; headers only."""
    from tellapart.pixels.headers import shorter_sides

    rows = np.linspace(0, len(table) - 1, min(_SAMPLE, len(table)), dtype=int).tolist()
    return shorter_sides((table.file(row) for row in rows), most=_SAMPLE)
