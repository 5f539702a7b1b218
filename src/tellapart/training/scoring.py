"""What follows training, a step at a time and in memory: calibrate, and score a part.

Nothing here writes a file. A task without its test part (:meth:`Task.without_test`) can be
scored on validation, which is all that a search over candidates may look at.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tellapart.evaluation.choosing import choose_decision
from tellapart.evaluation.decision import Decision
from tellapart.evaluation.predictions import Predictions
from tellapart.pixels.views import TEST_TIME_VIEWS
from tellapart.prediction.answering import Calibrated, to_probabilities
from tellapart.prediction.classifier import Description
from tellapart.prediction.stored import AnyClassifier, AnyDescription, any_in_memory
from tellapart.recipe import JoinedModel, Recipe
from tellapart.run_info import PredictionInfo
from tellapart.training.outcome import Task, Trained

#: So many views of train images are predicted after training in epochs, but of no fewer images.
_TRAIN_VIEWS, _LEAST_TRAIN_IMAGES = 2_500, 300


@dataclass(frozen=True)
class Scored:
    """A classifier as it came out of training, calibrated, and what it says of validation."""

    #: Open for more images; its own description has no temperature yet.
    classifier: AnyClassifier
    #: With the temperature.
    description: AnyDescription
    #: None where there are no validation images.
    validation: Predictions | None
    #: What the recipe asks for, chosen on validation; None: the likeliest class is said.
    decision: Decision | None = None


def score_validation(task: Task, trained: Trained) -> Scored:
    """Calibrate and decide on the validation part and score it; no other part is looked at.

    Raises:
        DataError: a decision is asked for, and validation lacks the images to choose it on.
    """
    description, classifier = _uncalibrated(task, trained)
    rows = task.rows["validation"]
    logits = logits_of(task, trained, classifier, rows)
    description = calibrate(logits, task.labels[rows], description)
    validation = _predictions(task, "validation", rows, logits, description)
    wished = recipe_of(task, trained).decision
    if wished.positive is None:
        return Scored(classifier, description, validation)
    decision = choose_decision(validation, wished.positive, cost_miss=wished.cost_miss or 1.0)
    if validation is not None:
        validation = replace(validation, decision=decision)
    return Scored(classifier, description, validation, decision)


def score_by_held_out(task: Task, trained: Trained, held_out: Predictions) -> Scored:
    """Calibrate and decide by what other classifiers, trained in the same way, said of images
    that they had not seen: the folds of a cross-validation.

    Args:
        task, trained: of the classifier that was trained on all images.
        held_out: at temperature 1.

    Raises:
        DataError: a decision is asked for, and there are no images to choose it on.
    """
    from tellapart.evaluation.calibration import (
        choose_temperature,
        log_probabilities,
        with_temperature,
    )

    description, classifier = _uncalibrated(task, trained)
    temperature = choose_temperature(log_probabilities(held_out.probabilities), held_out.labels)
    description = replace(description, temperature=temperature)
    wished = recipe_of(task, trained).decision
    decision = None
    if wished.positive is not None:
        calibrated = with_temperature(held_out, temperature)
        decision = choose_decision(calibrated, wished.positive, cost_miss=wished.cost_miss or 1.0)
    return Scored(classifier, description, None, decision)


def _uncalibrated(task: Task, trained: Trained) -> tuple[AnyDescription, AnyClassifier]:
    """What came out of training, without a temperature."""
    description = _described(task, trained)
    return description, any_in_memory(trained.state, description, device=task.device)


def calibrate(
    logits: NDArray[np.float32], labels: NDArray[np.int64], description: AnyDescription
) -> AnyDescription:
    """The description with the temperature that fits held-out logits best.

    The validation images choose; the temperature is one more thing they choose. Without
    images it stays as it is.

    Args:
        logits: (N, num_classes), or (N, 1) of one sigmoid output.
        labels: (N,), class numbers.
    """
    if not len(logits):
        return description
    from tellapart.evaluation.calibration import choose_temperature

    temperature = choose_temperature(_with_two_columns(logits, description), labels)
    return replace(description, temperature=temperature)


def score_part(task: Task, trained: Trained, scored: Scored, part: str) -> Predictions | None:
    """What the calibrated classifier says of one part; None where it has no images.

    After training in epochs only a sample of the train images is predicted: all of them
    would take as long as an epoch where each is seen in several views.

    Raises:
        KeyError: the task does not have the part (see :meth:`Task.without_test`).
    """
    rows = task.rows[part]
    if part == "validation" and len(rows) == len(scored.validation or ()):
        return scored.validation  # else it chose without the leaked ones
    if part == "train" and trained.logits is None:
        rows = rows[_sample(len(rows), recipe_of(task, trained))]
    logits = logits_of(task, trained, scored.classifier, rows)
    found = _predictions(task, part, rows, logits, scored.description)
    return replace(found, decision=scored.decision) if found is not None else None


def logits_of(
    task: Task, trained: Trained, classifier: AnyClassifier, rows: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Logits of rows of the task's images: those that training has at hand, or computed now."""
    if trained.logits is not None:
        return trained.logits(rows)
    return classifier.logits_of(task.images, rows, progress=task.progress)


def recipe_of(task: Task, trained: Trained) -> Recipe:
    """The recipe as it was in the end."""
    return trained.recipe or task.recipe


def predicted_by(trained: Trained, classifier: AnyClassifier) -> PredictionInfo | None:
    """What computed the predictions: the engine of the features, or the classifier's own.

    None where that is not known: features that an older version left in the cache.
    """
    name = trained.engine_name if trained.logits is not None else classifier.engine_name
    if not name:
        return None
    engine, precision = name.split()[:2]
    return PredictionInfo(engine, precision)


def _described(task: Task, trained: Trained) -> AnyDescription:
    """What the classifier is, by its training or by recipe and preprocessing."""
    if trained.description is not None:
        return trained.description
    recipe = recipe_of(task, trained)
    if isinstance(recipe.model, JoinedModel):
        raise ValueError("several backbones describe themselves")
    return Description(
        classes=task.classes,
        preprocessing=task.preprocessing,
        model=recipe.model,
        test_time=recipe.test_time,
        frozen_backbone=trained.frozen_backbone,
    )


def _predictions(
    task: Task,
    part: str,
    rows: NDArray[np.int64],
    logits: NDArray[np.float32],
    description: Calibrated,
) -> Predictions | None:
    if not len(logits):
        return None
    return Predictions(
        part=part,
        classes=task.classes,
        paths=tuple(task.images.table.paths[row] for row in rows.tolist()),
        labels=task.labels[rows],
        probabilities=to_probabilities(logits, description),
    )


def _with_two_columns(logits: NDArray[Any], description: Calibrated) -> NDArray[Any]:
    """Logits with one column a class; a sigmoid's single logit is the second class's."""
    if description.single_output and logits.shape[1] == 1:
        return np.concatenate([np.zeros_like(logits), logits], axis=1)
    return logits


def _sample(number: int, recipe: Recipe) -> NDArray[np.int64]:
    """Positions of the train images that are predicted: enough to say how far train is ahead."""
    size = max(_LEAST_TRAIN_IMAGES, _TRAIN_VIEWS // len(TEST_TIME_VIEWS[recipe.test_time]))
    if number <= size:
        return np.arange(number)
    order = np.random.default_rng(recipe.seed).permutation(number)
    return np.sort(order[:size])
