"""What may be done to a picture without changing its class, as the first answer sees it.

A classifier that knows upright pictures is asked about mirrored and turned ones. Where it is
right about as often, they look like pictures of their class: a solar cell has no up, a dog has.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tellapart.cache import text_digest
from tellapart.engines.features import extract
from tellapart.recipe import BackboneModel
from tellapart.search.choose import standard_error
from tellapart.search.outcome import Outcome

#: Images that are looked at, at most, and how much of what is known beyond chance may be lost with
#: a view, a standard error aside. Turned by a quarter or a half, of solar cells 18 and 4 % are
#: lost, within a standard error; of brain scans 20 and 15, of cats and dogs 25 and 45 %, far more.
_MOST, _SHARE = 200, 0.05
#: Heads that are one linear layer, by which the views can be judged.
_LINEAR = ("logistic", "discriminant")


def keeps_class(first: Outcome, views: Sequence[str], largest_share: float) -> bool:
    """Whether these views of validation images are known as well as the images themselves.

    Args:
        first: a probe.
        views: names in :data:`tellapart.pixels.views.VIEWS`.
        largest_share: what saying always the most frequent class gets right.
    """
    right = right_by_view(first, views)
    if right is None:
        return False
    upright, *moved = right
    above_chance = float(upright.mean()) - largest_share
    return above_chance > 0 and all(is_bearable(upright - one, above_chance) for one in moved)


def is_bearable(lost: NDArray[np.float64], above_chance: float) -> bool:
    """Whether so little of what a classifier knows is lost in a view that pictures may be so moved.

    Args:
        lost: of each image: 1 where only the upright one is known, -1 where only the moved one is.
        above_chance: accuracy on upright images, above that of the most frequent class.

    >>> is_bearable(np.repeat([1.0, 0.0], [4, 196]), 0.48)
    True
    >>> is_bearable(np.repeat([1.0, 0.0], [20, 180]), 0.48)
    False
    """
    return bool(lost.mean() - standard_error(lost) <= _SHARE * above_chance)


def right_by_view(first: Outcome, views: Sequence[str]) -> list[NDArray[np.float64]] | None:
    """Whether each of some validation images is known: upright, then in each view; float64 (N,).

    None where the first answer has no linear head, or there are no validation images.
    """
    task, model = first.task, first.task.recipe.model
    if not isinstance(model, BackboneModel) or task.recipe.probe.head not in _LINEAR:
        return None
    rows = task.rows["validation"]
    if not len(rows):
        return None
    # Spread over the table, which goes by class.
    rows = rows[np.linspace(0, len(rows) - 1, min(_MOST, len(rows)), dtype=int)]
    images = replace(
        task.images,
        table=task.images.table.select(rows),
        pixels=task.images.pixels[rows],
        digests=tuple(task.images.digests[row] for row in rows.tolist()),
        key=f"{task.images.key}-{text_digest(*map(str, rows.tolist()))}",
    )
    if first.trained.features is None:
        return None
    upright_features = first.trained.features(rows)
    found = extract(
        model, task.preprocessing, images, views=views, device=task.device, progress=task.progress
    ).values
    state, labels = first.trained.state, task.labels[rows]
    weight, bias = state["head.output.weight"], state["head.output.bias"]
    return [
        ((values @ weight.T + bias).argmax(axis=1) == labels).astype(np.float64)
        for values in (upright_features, *found)
    ]
