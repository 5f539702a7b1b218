"""Metrics of a part with and without the images that an earlier part has too."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

import numpy as np

from tellapart.evaluation.metric_table import Metrics
from tellapart.evaluation.metrics import evaluate_predictions
from tellapart.evaluation.predictions import Predictions
from tellapart.number import undefined
from tellapart.wording import some_of

#: What is added to a part's name for the metrics of all images, and of the clean ones.
WITH, WITHOUT = "_with_leaked", "_without_leaked"


def metrics_of(
    predictions: Predictions,
    leaked: Collection[str],
    *,
    keep_leaks: bool = False,
    seed: int = 0,
) -> dict[str, Metrics]:
    """The metrics of a part by their names in ``metrics.json``, the headline's first.

    ``part`` is about the clean images, and ``part_with_leaked`` about all; with ``keep_leaks``
    ``part`` is about all, and ``part_without_leaked`` about the clean ones. Without a leak
    there is the first alone.

    Args:
        leaked: paths of the images that an earlier part has.
        seed: of what is drawn for the calibration error's interval.
    """
    part = predictions.part
    clean = np.array([path not in leaked for path in predictions.paths], np.bool_)
    everything = evaluate_predictions(predictions, seed=seed)
    if clean.all():
        return {part: everything}
    without = evaluate_predictions(predictions.select(clean), seed=seed)
    if not clean.any():
        number = len(predictions)
        without = replace(without, accuracy=undefined(
            f"{some_of(number, number, f'{part} image')} {'was' if number == 1 else 'were'} seen "
            "in training"
        ))  # fmt: skip
    if keep_leaks:
        return {part: everything, part + WITHOUT: without}
    return {part: without, part + WITH: everything}


def leak_sentence(metrics: Mapping[str, Metrics]) -> str:
    """What the leak is worth, of what :func:`metrics_of` gave; "" without a leak."""
    if len(metrics) == 1:
        return ""
    (part, shown), (name, other) = metrics.items()
    clean, everything = (other, shown) if name.endswith(WITHOUT) else (shown, other)
    leaked = everything.images - clean.images
    if everything.images == 1:
        return f"{part.capitalize()}: the only image was seen in training, so it says nothing."
    text = f"{part.capitalize()}: {everything.accuracy.percent(2)} of all {everything.images:,}"
    if not clean.images:
        return f"{text} images are right, but all were seen in training, so it says nothing."
    those = "one that was" if leaked == 1 else f"{leaked:,} images that were"
    return (
        f"{text} are right, and without the {those} seen in training "
        f"{clean.accuracy.percent(2)} of the other {clean.images:,}."
    )
