"""What follows training: save the classifier, score validation and then test, write the report."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tellapart.audit.brief import BriefAudit, without_leaks
from tellapart.data.split import Splits
from tellapart.evaluation.predictions import Predictions
from tellapart.files import write_json, write_text
from tellapart.machine import peak_memory_bytes
from tellapart.pixels.views import TEST_TIME_VIEWS
from tellapart.prediction.classifier import (
    Classifier,
    Description,
    load_classifier,
    save_classifier,
    to_probabilities,
)
from tellapart.recipe import Recipe
from tellapart.recipe_reading import recipe_to_yaml
from tellapart.run import COMPLETE, INTERRUPTED, Run
from tellapart.stopwatch import Stopwatch
from tellapart.training.outcome import Task, Trained
from tellapart.training.unused import unused_settings

#: So many views of train images are predicted after training in epochs, but of no fewer images.
_TRAIN_VIEWS, _LEAST_TRAIN_IMAGES = 2_500, 300


def finish(
    run: Run,
    task: Task,
    splits: Splits,
    audit: BriefAudit,
    trained: Trained,
    watch: Stopwatch,
) -> Run:
    """Save the classifier, score validation and then test once, and write the report."""
    from tellapart.evaluation.calibration import fit_temperature
    from tellapart.evaluation.metrics import evaluate_predictions
    from tellapart.report.of_run import write_run_report
    from tellapart.training.remember import learn_unknown, store_images

    recipe = trained.recipe or task.recipe
    if trained.recipe is not None:
        write_text(run.path / "recipe.yaml", recipe_to_yaml(recipe))
    description = Description(
        classes=splits.table.classes,
        preprocessing=task.preprocessing,
        model=recipe.model,
        test_time=recipe.test_time,
        frozen_backbone=trained.frozen_backbone,
    )
    with watch.stage("Save the model"):
        save_classifier(run.model_file, trained.state, description)
        classifier = load_classifier(run.model_file, device=task.device)
    predictions: dict[str, Predictions] = {}
    with watch.stage("Predict"):
        every_one = np.arange(len(task.rows["validation"]))
        of_validation = _logits(task, trained, classifier, "validation", every_one)
        if len(of_validation):
            # The validation images choose; the temperature is one more thing they choose.
            temperature = fit_temperature(
                _with_two_columns(of_validation, description), task.labels_of("validation")
            )
            description = replace(description, temperature=temperature)
            save_classifier(run.model_file, trained.state, description)
        for part in ("train", "validation", "test"):
            paths = splits.part(part).paths
            chosen = np.arange(len(paths))
            if part == "train" and trained.logits is None:
                chosen = _sample(len(paths), recipe)
            logits = of_validation
            if part != "validation":
                logits = _logits(task, trained, classifier, part, chosen)
            if len(logits):
                predictions[part] = Predictions(
                    part=part,
                    classes=splits.table.classes,
                    paths=tuple(paths[i] for i in chosen.tolist()),
                    labels=task.labels_of(part)[chosen],
                    probabilities=to_probabilities(logits, description),
                )
    with watch.stage("Learn what is unknown"):
        unknown = learn_unknown(task, trained, classifier)
        if unknown is not None:
            unknown.save(run.unknown_file)
    with watch.stage("Measure"):
        metrics = {
            part: evaluate_predictions(p, seed=recipe.seed) for part, p in predictions.items()
        }
        notes = [*unused_settings(task.recipe), *trained.notes]
        for part, p in predictions.items():
            p.save(run.predictions_file(part))
            leaked = set(audit.leaked.get(part, ()))
            sentence = without_leaks(p.paths, p.correct, tuple(leaked))
            if sentence:
                notes.append(f"{part.capitalize()}: {sentence}")
                task.progress.note(notes[-1])
                clean = p.select(np.array([path not in leaked for path in p.paths]))
                metrics[f"{part}_without_leaked"] = evaluate_predictions(clean, seed=recipe.seed)
        write_json(run.path / "metrics.json", metrics)
        store_images(task, splits.table.paths, run.images_file)
    run = run.update(
        parameters={"total": trained.total_parameters, "trainable": trained.trainable_parameters},
        temperature=description.temperature,
        facts=dict(trained.facts),
        notes=notes,
        stopped=trained.stopped,
        test_evaluations=1 if "test" in predictions else 0,
    )
    with watch.stage("Write the report"):
        write_run_report(run, predictions, task.cache, splits, watch.rounded())
    return run.update(
        status=INTERRUPTED if trained.stopped == "interrupted" else COMPLETE,
        seconds=watch.rounded(),
        peak_memory_bytes=peak_memory_bytes(),
    )


def _with_two_columns(logits: np.ndarray[Any, Any], description: Description) -> Any:
    """Logits with one column a class; a sigmoid's single logit is the second class's."""
    if description.model.output == "sigmoid" and logits.shape[1] == 1:
        return np.concatenate([np.zeros_like(logits), logits], axis=1)
    return logits


def _sample(number: int, recipe: Recipe) -> NDArray[np.int64]:
    """Positions of the train images that are predicted: enough to say how far train is ahead.

    All of them would take as long as an epoch where each is seen in several views.
    """
    size = max(_LEAST_TRAIN_IMAGES, _TRAIN_VIEWS // len(TEST_TIME_VIEWS[recipe.test_time]))
    if number <= size:
        return np.arange(number)
    order = np.random.default_rng(recipe.seed).permutation(number)
    return np.sort(order[:size])


def _logits(
    task: Task, trained: Trained, classifier: Classifier, part: str, chosen: NDArray[np.int64]
) -> Any:
    rows = task.rows[part][chosen]
    if trained.logits is not None:
        return trained.logits(rows)
    return classifier.logits(task.cache.pixels[rows], progress=task.progress)
