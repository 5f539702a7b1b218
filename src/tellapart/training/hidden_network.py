"""A network with one hidden layer on features, stopped where held-out images say so.

Trained with AdamW and dropout on standardised features; the standardisation is folded into its
first layer. With few validation images the width and the number of epochs are those that folds
of the training images prefer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tellapart.machine import single_threaded
from tellapart.models.feature_heads import HiddenLayerHead
from tellapart.progress import SILENT, Progress
from tellapart.recipe import ProbeSettings
from tellapart.training.fitted import FittedHead
from tellapart.training.selection import (
    ProbeData,
    calibrated_losses,
    folds,
    mean_logits,
    simplest_near_best,
)

Floats = NDArray[np.float32]
Labels = NDArray[np.int64]

EPOCHS, PATIENCE = 80, 8
LEARNING_RATE, WEIGHT_DECAY, DROPOUT = 1e-3, 1e-2, 0.25
#: Steps of an epoch where there are many images; batches have at least so many images.
_STEPS, _SMALLEST_BATCH = 60, 32


@dataclass(frozen=True)
class _Course:
    """One training: the head after its best epoch, and which that was, counted from 1."""

    head: HiddenLayerHead
    epoch: int


def fit_hidden_network(
    data: ProbeData, settings: ProbeSettings, progress: Progress = SILENT
) -> FittedHead:
    """The network whose width held-out images prefer, trained until they no longer gain.

    With ``class_weight: balanced`` the loss of each image is weighed by how rare its class is;
    with ``sampler: balanced`` an epoch shows each class equally often.
    """
    with single_threaded("torch"):
        return _fitted(data, settings, progress)


def _fitted(data: ProbeData, settings: ProbeSettings, progress: Progress) -> FittedHead:
    widths = sorted(set(settings.units))  # the narrowest is the simplest

    def trained(
        features: Floats,
        labels: Labels,
        units: int,
        *,
        held_out: tuple[Floats, Labels] | None,
        epochs: int = EPOCHS,
    ) -> _Course:
        return _train(
            features, labels, units, num_classes=data.num_classes, settings=settings,
            held_out=held_out, epochs=epochs, seed=data.seed,
        )  # fmt: skip

    if data.validation_chooses(settings):
        held_out = (data.validation, data.validation_labels)
        with progress.stage("Fitting the probe", len(widths), "networks") as stage:
            courses = []
            for units in widths:
                courses.append(trained(data.train, data.labels, units, held_out=held_out))
                stage.advance()
        logits = [mean_logits(course.head, data.validation) for course in courses]
        losses = calibrated_losses(logits, data.validation_labels)
        chosen = courses[simplest_near_best(losses)]
        by = "validation"
    else:
        losses, epochs = _over_folds(data, widths, trained, progress)
        best = simplest_near_best(losses)
        chosen = trained(data.train, data.labels, widths[best], held_out=None, epochs=epochs[best])
        by = "cross-validation"
    return FittedHead(
        chosen.head,
        {
            "units": len(chosen.head.hidden_bias),
            "epochs": chosen.epoch,
            "units_chosen_by": by,
            "units_log_losses": {
                str(units): float(loss)
                for units, loss in zip(widths, losses.mean(axis=1), strict=True)
            },
        },
    )


def _over_folds(
    data: ProbeData,
    widths: Sequence[int],
    trained: Callable[..., _Course],
    progress: Progress,
) -> tuple[NDArray[np.float64], list[int]]:
    """Losses (widths, N) of images held out, and the usual number of epochs of each width."""
    split = folds(data)
    logits: list[list[Floats]] = [[] for _ in widths]
    epochs: list[list[int]] = [[] for _ in widths]
    with progress.stage("Fitting the probe", len(widths) * len(split), "networks") as stage:
        for fitted, rows in split:
            held_out = (data.train[:, rows], data.labels[rows])
            for number, units in enumerate(widths):
                course = trained(
                    data.train[:, fitted], data.labels[fitted], units, held_out=held_out
                )
                logits[number].append(mean_logits(course.head, held_out[0]))
                epochs[number].append(course.epoch)
                stage.advance()
    truth = data.labels[np.concatenate([rows for _, rows in split])]
    losses = calibrated_losses([np.concatenate(parts) for parts in logits], truth)
    return losses, [round(float(np.median(found))) for found in epochs]


def _train(
    features: Floats,
    labels: Labels,
    units: int,
    *,
    num_classes: int,
    settings: ProbeSettings,
    held_out: tuple[Floats, Labels] | None,
    epochs: int,
    seed: int,
) -> _Course:
    """Train on features (V, N, D), of which each epoch draws a view of each image."""
    import torch
    from torch import nn
    from torch.nn import functional

    from tellapart.training.batches import balanced_plan, shuffled_plan
    from tellapart.training.objective import balanced_weights

    views, number, width = features.shape
    flat = features.reshape(-1, width)
    mean = flat.mean(axis=0, dtype=np.float64).astype(np.float32)
    scale = flat.std(axis=0, dtype=np.float64).astype(np.float32)
    scale[scale < 1e-6] = 1.0
    x = torch.from_numpy((features - mean) / scale)
    y = torch.from_numpy(labels)
    random = torch.Generator().manual_seed(seed)
    weights = balanced_weights(labels, num_classes) if settings.class_weight == "balanced" else None

    def drawn(rows: int, columns: int) -> nn.Parameter:  # He et al. 2015
        return nn.Parameter(torch.randn(rows, columns, generator=random) * (2 / columns) ** 0.5)

    first, second = drawn(units, width), drawn(num_classes, units)
    first_bias, second_bias = (
        nn.Parameter(torch.zeros(units)),
        nn.Parameter(torch.zeros(num_classes)),
    )
    optimizer = torch.optim.AdamW(
        [{"params": [first, second], "weight_decay": WEIGHT_DECAY},
         {"params": [first_bias, second_bias], "weight_decay": 0.0}],
        lr=LEARNING_RATE,
    )  # fmt: skip
    batch = max(_SMALLEST_BATCH, -(-number // _STEPS))

    def head() -> HiddenLayerHead:
        with torch.no_grad():
            folded = (first / torch.from_numpy(scale)).numpy()
            bias = (first_bias - torch.from_numpy(folded @ mean)).numpy()
            return HiddenLayerHead(
                folded.copy(), bias.copy(), second.numpy().copy(), second_bias.numpy().copy()
            )

    best, best_loss, best_epoch = head(), np.inf, 0
    for epoch in range(1, epochs + 1):
        view = torch.randint(views, (number,), generator=random)
        if settings.sampler == "balanced":
            plan = balanced_plan(y, batch, random)
        else:
            plan = shuffled_plan(number, batch, random)
        for ids in plan:
            inputs = x[view[ids], ids]
            hidden = functional.relu(functional.linear(inputs, first, first_bias))
            kept = torch.rand(hidden.shape, generator=random) >= DROPOUT
            logits = functional.linear(hidden * kept / (1 - DROPOUT), second, second_bias)
            losses = functional.cross_entropy(logits, y[ids], reduction="none")
            if weights is not None:
                losses = losses * weights[y[ids]]
            optimizer.zero_grad()
            losses.mean().backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        if held_out is None:
            continue
        now = head()
        loss = float(calibrated_losses([mean_logits(now, held_out[0])], held_out[1]).mean())
        if loss < best_loss:
            best, best_loss, best_epoch = now, loss, epoch
        elif epoch - best_epoch >= PATIENCE:
            break
    return _Course(best, best_epoch) if held_out is not None else _Course(head(), epochs)
