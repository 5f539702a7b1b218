"""What may be done to a picture without changing its class, as the first answer sees it.

A classifier that knows upright pictures is asked about mirrored and turned ones. Where it is
right about as often, they look like pictures of their class: a solar cell has no up, a dog has.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tellapart.cache import text_digest
from tellapart.engines.features import extract
from tellapart.recipe import BackboneModel
from tellapart.search.outcome import Outcome

#: Images that are looked at, at most, and by how much the accuracy may fall beside what it is
#: above saying always the most frequent class.
_MOST, _SHARE = 200, 0.25
#: Heads that are one linear layer, by which the views can be judged.
_LINEAR = ("logistic", "discriminant")


def keeps_class(first: Outcome, views: Sequence[str], largest_share: float) -> bool:
    """Whether these views of validation images are known as well as the images themselves.

    Args:
        first: a probe.
        views: names in :data:`tellapart.pixels.views.VIEWS`.
        largest_share: what saying always the most frequent class gets right.
    """
    task, model = first.task, first.task.recipe.model
    if not isinstance(model, BackboneModel) or task.recipe.probe.head not in _LINEAR:
        return False
    rows = task.rows["validation"]
    if not len(rows):
        return False
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
        return False
    upright_features = first.trained.features(rows)
    found = extract(
        model, task.preprocessing, images, views=views, device=task.device, progress=task.progress
    ).values
    state, labels = first.trained.state, task.labels[rows]
    weight, bias = state["head.output.weight"], state["head.output.bias"]
    right = [
        float(np.mean((values @ weight.T + bias).argmax(axis=1) == labels))
        for values in (upright_features, *found)
    ]
    upright, moved = right[0], min(right[1:])
    allowed = max(_SHARE * (upright - largest_share), 1 / np.sqrt(len(rows)) * 0.5)
    return upright > largest_share and moved >= upright - allowed
