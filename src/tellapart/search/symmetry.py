"""What may be done to a picture without changing its class, as the first answer sees it.

A classifier that knows upright pictures is asked about mirrored and turned ones. Where it is
right about as often, they look like pictures of their class: a solar cell has no up, a dog has.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tellapart.engines.features import extract
from tellapart.recipe import BackboneModel
from tellapart.search.outcome import Outcome

#: Images that are looked at, at most, and by how much the accuracy may fall beside what it is
#: above saying always the most frequent class.
_MOST, _SHARE = 400, 0.25


def keeps_class(first: Outcome, views: Sequence[str], largest_share: float) -> bool:
    """Whether these views of validation images are known as well as the images themselves.

    Args:
        first: a probe.
        views: names in :data:`tellapart.pixels.views.VIEWS`.
        largest_share: what saying always the most frequent class gets right.
    """
    task, model = first.task, first.task.recipe.model
    if not isinstance(model, BackboneModel) or first.validation is None:
        return False
    rows = task.rows["validation"][:_MOST]
    if not len(rows):
        return False
    images = replace(
        task.images,
        table=task.images.table.select(rows),
        pixels=task.images.pixels[rows],
        digests=tuple(task.images.digests[row] for row in rows.tolist()),
        key=f"{task.images.key}-first-{len(rows)}-of-validation",
    )
    shown = ("original", *views)
    found = extract(
        model, task.preprocessing, images, views=shown, device=task.device, progress=task.progress
    ).values
    weight, bias = first.trained.state["head.output.weight"], first.trained.state["head.output.bias"]
    labels = task.labels[rows]
    right = [float(np.mean((f @ weight.T + bias).argmax(axis=1) == labels)) for f in found]
    upright, moved = right[0], min(right[1:])
    allowed = max(_SHARE * (upright - largest_share), 1 / np.sqrt(len(rows)) * 0.5)
    return upright > largest_share and moved >= upright - allowed
