"""A classifier on features: regularised logistic regression, its strength chosen honestly.

The features of a frozen network are standardised with the training images' mean and
deviation, a multinomial logistic regression is fitted for each strength, and the one with
the lowest log loss on the validation images is kept. With few validation images the
strength is chosen by stratified cross-validation on the training images instead.
Standardisation is folded into the result, so a probe is one linear layer.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tellapart.errors import DataError
from tellapart.machine import single_threaded
from tellapart.progress import SILENT, Progress
from tellapart.recipe import ProbeSettings


@dataclass(frozen=True)
class Probe:
    """A linear layer on features, and how its strength was chosen."""

    weight: NDArray[np.float32]  # (num_classes, num_features)
    bias: NDArray[np.float32]  # (num_classes,)
    strength: float
    #: Log loss of each strength tried, on the images that chose.
    losses: dict[float, float]
    chosen_by: str  # "validation", "cross-validation", or "given" where there was one alone

    def logits(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits of features (N, num_features) -> (N, num_classes)."""
        result: NDArray[np.float32] = features @ self.weight.T + self.bias
        return result


def train_probe(
    train_features: NDArray[np.float32],
    train_labels: NDArray[np.int64],
    validation_features: NDArray[np.float32],
    validation_labels: NDArray[np.int64],
    settings: ProbeSettings,
    *,
    num_classes: int,
    seed: int = 0,
    progress: Progress = SILENT,
) -> Probe:
    """Fit logistic regressions of several strengths and keep the best.

    Args:
        train_features: float32 (V, N, D), V views of each training image.
        train_labels: (N,), each class present.
        validation_features: float32 (V, M, D); M may be 0.
        num_classes: width of the result.

    Returns:
        The probe; for several views its logits are meant to be averaged over views.

    Raises:
        DataError: a class has no training image, or only one and nothing else can choose.
    """
    fewest = int(np.bincount(train_labels, minlength=num_classes).min())
    # One strength and no image to tell its loss on: there is nothing to choose.
    given = len(settings.strengths) == 1 and not len(validation_labels)
    if fewest == 0 or (fewest == 1 and not len(validation_labels) and not given):
        raise DataError(
            f"A class has {'one training image' if fewest else 'no training images'}, too few to "
            "choose a strength; give it more, or leave the class out."
        )
    views, count, width = train_features.shape
    stacked = train_features.reshape(views * count, width)
    mean = stacked.mean(axis=0, dtype=np.float64).astype(np.float32)
    scale = stacked.std(axis=0, dtype=np.float64).astype(np.float32)
    scale[scale < 1e-6] = 1.0
    x = (stacked - mean) / scale
    y = np.tile(train_labels, views)
    held_out = (validation_features - mean) / scale
    # Folds need two images of each class.
    enough = len(validation_labels) >= settings.cross_validate_below or fewest == 1

    losses: dict[float, float] = {}
    solutions: dict[float, tuple[NDArray[np.float32], NDArray[np.float32]]] = {}
    start: NDArray[np.float64] | None = None
    with (
        progress.stage("Fitting the probe", len(settings.strengths), "strengths") as stage,
        single_threaded("sklearn.linear_model"),
    ):
        for strength in sorted(settings.strengths):
            weight, bias = fit_at_strength(x, y, strength, settings, num_classes, start)
            start = np.concatenate([weight, bias[:, None]], axis=1).astype(np.float64)
            solutions[strength] = (weight, bias)
            if given:
                losses[strength] = np.nan
            elif enough:
                logits = (held_out @ weight.T + bias).mean(axis=0)
                losses[strength] = log_loss(logits, validation_labels)
            else:
                losses[strength] = _cross_validated_loss(
                    x, y, count, strength, settings, num_classes, seed
                )
            stage.advance()
            if _getting_worse(list(losses.values())):
                break
    best = min(losses, key=lambda strength: losses[strength])
    weight, bias = solutions[best]
    weight = weight / scale
    return Probe(
        weight=weight.astype(np.float32),
        bias=(bias - weight @ mean).astype(np.float32),
        strength=best,
        losses={} if given else losses,
        chosen_by="given" if given else "validation" if enough else "cross-validation",
    )


def log_loss(logits: NDArray[np.floating], labels: NDArray[np.int64]) -> float:
    """Mean negative log probability of the true labels, in nats."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    log_total = np.log(np.exp(shifted).sum(axis=1))
    return float(np.mean(log_total - shifted[np.arange(len(labels)), labels]))


def _getting_worse(losses: list[float]) -> bool:
    """Strengths rise, so two worse losses in a row mean that the best is behind us."""
    return len(losses) >= 3 and losses[-1] > losses[-2] > min(losses[:-1])


def fit_at_strength(
    x: NDArray[np.float32],
    y: NDArray[np.int64],
    strength: float,
    settings: ProbeSettings,
    num_classes: int,
    start: NDArray[np.float64] | None,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Weights (num_classes, D) and bias (num_classes,) of one strength.

    The penalty is that of scikit-learn's LogisticRegression: C times the summed log loss
    plus half the squared weights. Fitting starts from the next smaller strength's solution.
    """
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(
        C=strength,
        class_weight="balanced" if settings.class_weight == "balanced" else None,
        max_iter=500,
        tol=1e-4,
        warm_start=True,
    )
    binary = num_classes == 2
    if start is not None:
        # scikit-learn keeps one row for two classes: the difference of the two.
        rows = start[1:] - start[:1] if binary else start
        model.coef_, model.intercept_ = rows[:, :-1].copy(), rows[:, -1].copy()
        model.classes_ = np.arange(num_classes)
    with warnings.catch_warnings():
        # Few images of many classes; that y are class numbers is known here.
        warnings.filterwarnings("ignore", message="The number of unique classes is greater")
        model.fit(x, y)
    weight, bias = model.coef_, model.intercept_
    if binary:
        weight = np.concatenate([-weight / 2, weight / 2])
        bias = np.concatenate([-bias / 2, bias / 2])
    return weight.astype(np.float32), bias.astype(np.float32)


def _cross_validated_loss(
    x: NDArray[np.float32],
    y: NDArray[np.int64],
    count: int,
    strength: float,
    settings: ProbeSettings,
    num_classes: int,
    seed: int,
) -> float:
    """Mean log loss over folds of the training images; views of an image share a fold."""
    from sklearn.model_selection import StratifiedKFold

    labels = y[:count]
    views = len(y) // count
    smallest = int(np.bincount(labels, minlength=num_classes).min())
    folds = StratifiedKFold(min(5, smallest), shuffle=True, random_state=seed)
    x_views = x.reshape(views, count, -1)
    total = 0.0
    for fitted, held_out in folds.split(np.zeros(count), labels):
        weight, bias = fit_at_strength(
            x_views[:, fitted].reshape(-1, x.shape[1]),
            np.tile(labels[fitted], views),
            strength,
            settings,
            num_classes,
            None,
        )
        logits = (x_views[:, held_out] @ weight.T + bias).mean(axis=0)
        total += log_loss(logits, labels[held_out]) * len(held_out)
    return total / count
