"""Nearest neighbours on features: for very few images, where little can be fitted.

Nothing is learned but how many neighbours vote. That needs no folds: each training image is
judged by its nearest among the others.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tellapart.errors import DataError
from tellapart.models.feature_heads import NeighboursHead, unit
from tellapart.progress import SILENT, Progress
from tellapart.recipe import ProbeSettings
from tellapart.training.fitted import FittedHead
from tellapart.training.selection import (
    ProbeData,
    calibrated_losses,
    mean_logits,
    simplest_near_best,
)

#: Training images beyond which their features would make the model large and slow.
MOST_REFERENCES = 5000


def fit_neighbours(
    data: ProbeData, settings: ProbeSettings, progress: Progress = SILENT
) -> FittedHead:
    """The number of neighbours that held-out images prefer, and the training images' features.

    With ``class_weight: balanced`` the votes for a class weigh as much as those for any other,
    all training images taken together.

    Raises:
        DataError: there are too many training images, views counted.
    """
    views, number, width = data.train.shape
    if views * number > MOST_REFERENCES:
        raise DataError(
            f"probe.head=neighbours keeps the features of every training image, and {number:,} "
            f"images in {views} {'view' if views == 1 else 'views'} are more than the "
            f"{MOST_REFERENCES:,} that it can keep; set probe.head=logistic."
        )
    by_validation = data.validation_chooses(settings)
    flat = data.train.reshape(-1, width)
    mean = flat.mean(axis=0, dtype=np.float64).astype(np.float32)
    labels = np.tile(data.labels, views)
    weights = np.ones(data.num_classes)
    if settings.class_weight == "balanced":
        counts = np.bincount(data.labels, minlength=data.num_classes)
        weights = number / (data.num_classes * counts)
    votes = np.zeros((len(flat), data.num_classes), np.float32)
    votes[np.arange(len(flat)), labels] = weights[labels]
    head = NeighboursHead(unit(flat - mean), votes, mean, 1)
    # Many votes are smoother, so the larger number is the simpler setting.
    most = len(flat) - (0 if by_validation else views)
    counts_tried = sorted({min(count, most) for count in settings.neighbours}, reverse=True)
    with progress.stage("Fitting the probe", len(counts_tried), "settings") as stage:
        logits = []
        for count in counts_tried:
            tried = NeighboursHead(head.references, votes, mean, count)
            logits.append(
                mean_logits(tried, data.validation)
                if by_validation
                else _left_out(tried, data.train)
            )
            stage.advance()
    truth = data.validation_labels if by_validation else data.labels
    losses = calibrated_losses(logits, truth)
    count = counts_tried[simplest_near_best(losses)]
    return FittedHead(
        NeighboursHead(head.references, votes, mean, count),
        {
            "neighbours": count,
            "neighbours_chosen_by": "validation" if by_validation else "leaving one image out",
            "neighbours_log_losses": {
                str(tried): float(loss)
                for tried, loss in zip(counts_tried, losses.mean(axis=1), strict=True)
            },
        },
    )


def _left_out(head: NeighboursHead, train: NDArray[np.float32]) -> NDArray[np.float32]:
    """Logits (N, C) of training images (V, N, D), each without its own views among the voters."""
    views, number, _ = train.shape
    found = []
    for row in range(number):
        others = np.arange(views * number) % number != row
        without = NeighboursHead(head.references[others], head.votes[others], head.mean, head.count)
        found.append(mean_logits(without, train[:, row : row + 1])[0])
    return np.stack(found)
