"""Choosing among settings on images that training did not use, without believing chance.

The best of several losses is partly luck. So the simplest setting is taken that is worse than
the best by no more than one standard error (Breiman et al. 1984, section 3.4.3; the error here
is that of the difference, image by image, since all settings are judged on the same images).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tellapart.evaluation.calibration import choose_temperature
from tellapart.models.feature_heads import FeatureHead
from tellapart.recipe import ProbeSettings

Floats = NDArray[np.float32]
Labels = NDArray[np.int64]
#: Features (V, N, D) and labels (N,) to a head for each setting, in one order.
FitAll = Callable[[Floats, Labels], Sequence[FeatureHead]]


@dataclass(frozen=True)
class ProbeData:
    """What a head on features is fitted to, and chosen by.

    ``train`` is float32 (V, N, D), V views of each image; ``validation`` (V, M, D), where M may
    be 0. Every class has a training image.
    """

    train: Floats
    labels: Labels
    validation: Floats
    validation_labels: Labels
    num_classes: int
    seed: int = 0

    @property
    def fewest(self) -> int:
        """Training images of the rarest class."""
        return int(np.bincount(self.labels, minlength=self.num_classes).min())

    def validation_chooses(self, settings: ProbeSettings) -> bool:
        """Whether validation has images enough; folds of train do otherwise, if they can."""
        return len(self.validation_labels) >= settings.cross_validate_below or self.fewest == 1


@dataclass(frozen=True)
class Judged:
    """What images that were not fitted say of each setting: float64 (settings, images)."""

    losses: NDArray[np.float64]
    by: str  # "validation" or "cross-validation"

    @property
    def means(self) -> list[float]:
        """The mean loss of each setting."""
        means: list[float] = self.losses.mean(axis=1).tolist()
        return means


def judge(fit_all: FitAll, data: ProbeData, settings: ProbeSettings) -> Judged:
    """Losses of every setting on validation, or over folds of the training images."""
    if data.validation_chooses(settings):
        logits = [mean_logits(h, data.validation) for h in fit_all(data.train, data.labels)]
        return Judged(calibrated_losses(logits, data.validation_labels), "validation")
    parts: list[list[Floats]] = []
    order: list[Labels] = []
    for fitted, held_out in folds(data):
        heads = fit_all(data.train[:, fitted], data.labels[fitted])
        parts.append([mean_logits(head, data.train[:, held_out]) for head in heads])
        order.append(held_out)
    joined = [np.concatenate(of_setting) for of_setting in zip(*parts, strict=True)]
    return Judged(calibrated_losses(joined, data.labels[np.concatenate(order)]), "cross-validation")


def folds(data: ProbeData) -> list[tuple[Labels, Labels]]:
    """Rows to fit and rows held out, five times at most, each class in each."""
    from sklearn.model_selection import StratifiedKFold

    split = StratifiedKFold(min(5, data.fewest), shuffle=True, random_state=data.seed)
    return list(split.split(np.zeros(len(data.labels)), data.labels))


def mean_logits(head: FeatureHead, features: Floats) -> Floats:
    """Logits (N, C) of features (V, N, D), averaged over the views."""
    result: Floats = head.logits(features).mean(axis=0)
    return result


def calibrated_losses(logits: Sequence[Floats], labels: Labels) -> NDArray[np.float64]:
    """Log loss of each image, in nats, of each setting at the temperature that suits it.

    A classifier is calibrated after it is chosen, so how sure a setting is by itself is no
    reason to choose it.

    Args:
        logits: (N, C) for each setting.

    Returns:
        float64 (settings, N).
    """
    rows = np.arange(len(labels))
    found = []
    for of_setting in logits:
        scaled = of_setting.astype(np.float64) / choose_temperature(of_setting, labels)
        shifted = scaled - scaled.max(axis=1, keepdims=True)
        found.append(np.log(np.exp(shifted).sum(axis=1)) - shifted[rows, labels])
    return np.stack(found)


def simplest_near_best(losses: NDArray[np.float64]) -> int:
    """The first setting that is no worse than the best by more than one standard error.

    Args:
        losses: float64 (settings, images), the simplest setting first.

    >>> rough, good = np.array([0.9, 0.2, 0.8, 0.3]), np.array([0.2, 0.2, 0.1, 0.2])
    >>> simplest_near_best(np.stack([rough, good + 0.001 * rough, good]))
    2
    >>> simplest_near_best(np.stack([rough, good + [0.1, 0.0, 0.0, -0.09], good]))
    1
    """
    best = int(losses.mean(axis=1).argmin())
    worse = losses - losses[best]
    errors = worse.std(axis=1, ddof=1) / np.sqrt(losses.shape[1]) if losses.shape[1] > 1 else 0.0
    return int(np.flatnonzero(worse.mean(axis=1) <= errors)[0])
