"""Cross-validation, a fold at a time and in memory: train, choose, and score what was held out.

Every image is held out once, and predicted by a classifier that has seen neither it nor a copy
of it. The rest of the images is divided into those that train and those that choose (strength,
epoch, temperature, decision), as in any training. The classifier that stays is trained on all
images with the choices of the folds: nothing is left to choose it by.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from statistics import median_low

import numpy as np
from numpy.typing import NDArray

from tellapart.data.folds import divide_rest
from tellapart.data.table import ImageTable
from tellapart.evaluation.calibration import with_temperature
from tellapart.evaluation.decision import Decision
from tellapart.evaluation.predictions import Predictions
from tellapart.progress import SILENT, Progress, Work
from tellapart.recipe import Recipe
from tellapart.training.outcome import Task, Trained
from tellapart.training.scoring import score_part, score_validation
from tellapart.training.ways import train_task
from tellapart.wording import plural

#: In a training on all images, so many of them are watched, which choose nothing.
_WATCHED = 64


@dataclass(frozen=True)
class HeldOut:
    """What one fold's classifier said of the images that it had not seen, and what it chose."""

    fold: int
    predictions: Predictions
    temperature: float
    decision: Decision | None = None
    #: Of a probe.
    strength: float | None = None
    #: Of a training in epochs: the epoch that was kept in each stage.
    epochs: tuple[int, ...] = ()
    seconds: float = 0.0


def one_way(recipe: Recipe) -> Recipe:
    """The recipe that each fold is trained by: for method ``auto`` its first answer, the probe."""
    return recipe.model_copy(update={"method": "probe"}) if recipe.method == "auto" else recipe


def fold_task(task: Task, together: ImageTable, folds: NDArray[np.int64], fold: int) -> Task:
    """The task in which one fold is held out as the test part.

    Args:
        task: of all images.
        together: their table with the groups that must not be torn.
        folds: int64 (N,), the fold of each image.

    Raises:
        DataError: a class has too few images beside the fold.
    """
    rest = np.flatnonzero(folds != fold)
    chosen = divide_rest(together.select(rest), task.recipe.data.validation, seed=task.recipe.seed)
    rows = {
        "train": rest[~chosen],
        "validation": rest[chosen],
        "test": np.flatnonzero(folds == fold),
    }
    checkpoint = task.checkpoint_folder
    return replace(
        task,
        recipe=one_way(task.recipe),
        rows=rows,
        choosing=None,
        checkpoint_folder=checkpoint / f"fold-{fold}" if checkpoint is not None else None,
        history_file=None,
        tensorboard_folder=None,
    )


def train_fold(task: Task, fold: int) -> HeldOut:
    """Train on what :func:`fold_task` leaves, and score the fold.

    Raises:
        KeyboardInterrupt: the training was interrupted; going on trains the rest of it.
        TellapartError: as ``train_task``.
    """
    trained = train_task(task.without_test())
    if trained.stopped is not None:
        raise KeyboardInterrupt(trained.stopped.text())
    scored = score_validation(task.without_test(), trained)
    found = score_part(task, trained, scored, "test")
    if found is None:
        raise ValueError(f"fold {fold} holds out no image")
    return HeldOut(
        fold=fold,
        predictions=replace(found, folds=np.full(len(found), fold, np.int64)),
        temperature=scored.description.temperature,
        decision=scored.decision,
        strength=trained.facts.get("strength"),
        epochs=tuple(stage["best_epoch"] for stage in trained.facts.get("stages", ())),
    )


def carry_over(recipe: Recipe, folds: Sequence[HeldOut]) -> tuple[Recipe, str]:
    """The recipe that all images are trained by, and what of it the folds chose, in a sentence.

    Of strengths and of epochs the median of the folds; with an even number of folds the lower
    of the two in the middle. Early stopping is off, for no image is left to stop by.
    """
    way = one_way(recipe)
    if not folds[0].epochs:
        strengths = [fold.strength for fold in folds if fold.strength is not None]
        if not strengths:  # a head of another kind, whose settings folds of all images choose
            return way, (
                "Trained on all images, among which folds chose its settings once more; the "
                "temperature is chosen on all held-out answers."
            )
        strength = median_low(strengths)
        probe = way.probe.model_copy(update={"strengths": (strength,)})
        return way.model_copy(update={"probe": probe}), (
            f"Trained on all images at strength {strength:g}, the median of the folds; the "
            "temperature is chosen on all held-out answers."
        )
    epochs = [median_low(numbers) for numbers in zip(*(f.epochs for f in folds), strict=True)]
    stages = [
        stage.model_copy(update={"epochs": max(1, number), "early_stopping": None})
        for stage, number in zip(way.stages, epochs, strict=True)
    ]
    fine_tuning = stages[1] if len(stages) > 1 else None
    told = " and then ".join(plural(stage.epochs, "epoch") for stage in stages)
    final = way.model_copy(update={"training": stages[0], "fine_tuning": fine_tuning})
    return final, (
        f"Trained on all images for {told}, the median of the epochs that the folds kept; the "
        "temperature is chosen on all held-out answers."
    )


def train_on_all(task: Task, recipe: Recipe) -> Trained:
    """Train the classifier that stays.

    Args:
        task: of all images, in its train part.
        recipe: from :func:`carry_over`.

    Raises:
        KeyboardInterrupt: the training was interrupted.
    """
    rows = dict(task.rows)
    if recipe.method == "fit":
        # The loop watches some images each epoch; they are training images and choose nothing.
        random = np.random.default_rng(task.recipe.seed)
        every = rows["train"]
        rows["validation"] = np.sort(random.choice(every, min(_WATCHED, len(every)), replace=False))
    checkpoint = task.checkpoint_folder
    final = replace(
        task,
        recipe=recipe,
        rows=rows,
        keep_last=True,
        history_file=None,
        checkpoint_folder=checkpoint / "all" if checkpoint is not None else None,
    )
    trained = train_task(final.without_test())
    if trained.stopped is not None:
        raise KeyboardInterrupt(trained.stopped.text())
    settled = trained.recipe or recipe
    kept = task.recipe.model_copy(update={"test_time": settled.test_time})
    return replace(trained, recipe=kept, history=())


def joined(folds: Sequence[HeldOut], paths: Sequence[str]) -> Predictions:
    """What the folds said of all images, in the order of ``paths``, as the part "test"."""
    row = {
        path: (fold, place) for fold in folds for place, path in enumerate(fold.predictions.paths)
    }
    order = [row[path] for path in paths]
    decisions = tuple(fold.decision for fold in folds if fold.decision is not None)
    return Predictions(
        part="test",
        classes=folds[0].predictions.classes,
        paths=tuple(paths),
        labels=np.array([f.predictions.labels[k] for f, k in order], np.int64),
        probabilities=np.array([f.predictions.probabilities[k] for f, k in order], np.float64),
        folds=np.array([f.fold for f, _ in order], np.int64),
        fold_decisions=decisions,
    )


def uncalibrated(folds: Sequence[HeldOut]) -> list[HeldOut]:
    """The folds with probabilities as trained, at temperature 1."""
    return [
        replace(fold, predictions=with_temperature(fold.predictions, 1.0 / fold.temperature))
        for fold in folds
    ]


class FoldProgress:
    """Progress whose stages say which fold they belong to."""

    def __init__(self, inner: Progress, name: str) -> None:
        self._inner, self._name = inner, name

    def stage(self, name: str, total: int | None, unit: str = "") -> AbstractContextManager[Work]:
        """As the inner one's, its name after the fold's."""
        return self._inner.stage(f"{self._name}: {name}", total, unit)

    def note(self, text: str) -> None:
        """Lines of single epochs and the like are too many for all folds: none is told."""
        SILENT.note(text)
