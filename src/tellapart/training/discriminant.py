"""Shrinkage discriminant analysis on features, its shrinkage chosen on held-out images.

Classes are taken for normal clouds of one shape, whose covariance is moved towards a ball
(Friedman 1989; scikit-learn's ``LinearDiscriminantAnalysis(solver="lsqr", shrinkage=...)`` gives
the same layer). A ball has the same axes as any covariance, so that all shrinkages cost one
decomposition.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tellapart.machine import single_threaded
from tellapart.models.feature_heads import FeatureHead, LinearHead
from tellapart.progress import SILENT, Progress
from tellapart.recipe import ProbeSettings
from tellapart.training.fitted import FittedHead
from tellapart.training.selection import ProbeData, judge, simplest_near_best

#: How far the two largest logits of a training image may be apart, on average.
LARGEST_SURENESS = 5.0

Floats = NDArray[np.float32]
Labels = NDArray[np.int64]


def fit_discriminant(
    data: ProbeData, settings: ProbeSettings, progress: Progress = SILENT
) -> FittedHead:
    """The discriminant analysis whose shrinkage held-out images prefer.

    With ``class_weight: balanced`` all classes are taken to be as frequent and weigh alike in
    the covariance.
    """
    # More shrinkage is the simpler setting; one single image a class leaves no covariance.
    shrinkages = sorted(settings.shrinkages, reverse=True)
    balanced = settings.class_weight == "balanced"

    def fit_all(features: Floats, labels: Labels) -> Sequence[FeatureHead]:
        heads = discriminants(
            features, labels, shrinkages, num_classes=data.num_classes, balanced=balanced
        )
        return [_less_sure(head, features) for head in heads]

    with progress.stage("Fitting the probe", None), single_threaded("numpy.linalg"):
        judged = judge(fit_all, data, settings)
        chosen = simplest_near_best(judged.losses)
        head = fit_all(data.train, data.labels)[chosen]
    return FittedHead(
        head,
        {
            "shrinkage": shrinkages[chosen],
            "shrinkage_chosen_by": judged.by,
            "shrinkage_log_losses": dict(zip(map(str, shrinkages), judged.means, strict=True)),
        },
    )


def _less_sure(head: LinearHead, features: Floats) -> LinearHead:
    """The head with logits divided by one number, so that a temperature can calibrate it.

    Where images are fewer than features the clouds look far apart, and logits of training images
    differ by hundreds, which no temperature in its limits would make up for.
    """
    ordered = np.sort(head.logits(features), axis=-1)
    sureness = float((ordered[..., -1] - ordered[..., -2]).mean())
    factor = np.float32(max(1.0, sureness / LARGEST_SURENESS))
    return LinearHead(head.weight / factor, head.bias / factor)


def discriminants(
    features: Floats,
    labels: Labels,
    shrinkages: Sequence[float],
    *,
    num_classes: int,
    balanced: bool = False,
) -> list[LinearHead]:
    """A linear layer for each shrinkage.

    Args:
        features: float32 (V, N, D); each view of an image counts as an image.
        labels: (N,), each class present.
        shrinkages: 0 (the covariance as it is) to 1 (a ball).
        balanced: classes count alike, whatever their number of images.
    """
    views, _, width = features.shape
    # A pretrained network's features differ in scale; the ball is one of standardised features.
    x = features.reshape(-1, width).astype(np.float64)
    mean, scale = x.mean(axis=0), x.std(axis=0)
    scale[scale < 1e-6] = 1.0
    x = (x - mean) / scale
    y = np.tile(labels, views)
    counts = np.bincount(y, minlength=num_classes)
    share = np.full(num_classes, 1 / num_classes) if balanced else counts / len(y)
    centres = np.stack([x[y == label].mean(axis=0) for label in range(num_classes)])
    inside = (x - centres[y]) * np.sqrt(share / counts)[y][:, None]
    variances, axes = _principal_axes(inside)
    ball = variances.sum() / width
    along = centres @ axes.T
    beyond = centres - along @ axes
    heads = []
    for shrinkage in shrinkages:
        floor = max(shrinkage * ball, 1e-6)
        weight = (along / ((1 - shrinkage) * variances + floor)) @ axes + beyond / floor
        bias = np.log(share) - 0.5 * (weight * centres).sum(axis=1)
        weight /= scale
        heads.append(
            LinearHead(weight.astype(np.float32), (bias - weight @ mean).astype(np.float32))
        )
    return heads


def _principal_axes(
    inside: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Variances (K,) and axes (K, D) of ``inside.T @ inside``; in all other directions it is 0.

    K is the smaller of the number of rows and of columns.
    """
    if len(inside) < inside.shape[1]:
        _, spread, axes = np.linalg.svd(inside, full_matrices=False)
        return spread**2, axes
    variances, columns = np.linalg.eigh(inside.T @ inside)
    return np.maximum(variances, 0), columns.T
