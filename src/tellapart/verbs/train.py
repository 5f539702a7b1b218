"""``tellapart train``: a folder of labelled images in, a run folder out."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from tellapart.data.pixels import PixelCache, load_pixels
from tellapart.data.preprocessing import Preprocessing
from tellapart.data.split import Splits, split
from tellapart.data.table import PARTS, ImageTable, read_table
from tellapart.errors import TellapartError
from tellapart.evaluation.predictions import Predictions
from tellapart.machine import describe_machine, keep_memory, peak_memory_bytes, resolve_device
from tellapart.models.classifier import Classifier, Description, load_classifier, save_classifier
from tellapart.models.classifier import to_probabilities
from tellapart.models.inputs import preprocessing_for
from tellapart.progress import SILENT, Progress
from tellapart.recipe import Recipe, apply_settings, load_recipe, recipe_to_yaml
from tellapart.run import (
    COMPLETE,
    INTERRUPTED,
    Run,
    create_run,
    new_run_path,
    remove_run,
    write_json,
    write_text,
)
from tellapart.stopwatch import Stopwatch
from tellapart.training.outcome import Task, Trained


def train(
    folder: str | Path,
    *,
    recipe: str | Path = "auto",
    settings: Iterable[str] = (),
    runs: str | Path = "runs",
    run: str | Path | None = None,
    seed: int | None = None,
    device: str = "auto",
    validation: float | None = None,
    test: float | None = None,
    fit: str | None = None,
    classes: Sequence[str] = (),
    group_by: str | None = None,
    exclude: str | Path | None = None,
    root: str | Path | None = None,
    ignore_unknown: bool = False,
    progress: Progress = SILENT,
) -> Run:
    """Train a classifier on a folder of labelled images, evaluate it and write its report.

    Args:
        folder: class folders; part folders above class folders; a table; or a zip.
        recipe: name of a recipe, or a YAML file.
        settings: ``key=value`` strings laid over the recipe.
        runs: where run folders go; run: this run's folder exactly.
        seed: of the split and of training; None: the recipe's.
        device: "auto", "cpu", "cuda", "mps", ...
        validation, test: share of the images (below 1) or number of images, where the
            folder does not say; None: the recipe's.
        fit: "squash", "crop" or "pad" for pictures that are not square.
        classes: class order; empty: alphabetical.
        group_by: how images that belong together are found; see ``read_table``.
        exclude: a CSV whose column ``path`` names images to leave out.
        root: folder that the paths of a table start from.
        ignore_unknown: leave out images of classes that the train part does not have.

    Returns:
        The finished run; ``run.report`` is the page to look at.

    Raises:
        TellapartError: something in the arguments or in the folder is wrong; no run folder
            is left behind.
    """
    watch = Stopwatch()
    command = " ".join(["tellapart", *sys.argv[1:]])
    keep_memory()
    resolved_device = resolve_device(device)
    resolved = _resolve_recipe(recipe, settings, seed, validation, test, fit)
    with watch.stage("Find images"):
        table = read_table(
            folder,
            classes=tuple(classes) or resolved.data.classes,
            train=resolved.data.train_folders,
            validation=resolved.data.validation_folders,
            test=resolved.data.test_folders,
            group_by=group_by,
            root=root,
            exclude=exclude,
            ignore_unknown=ignore_unknown,
            progress=progress,
        )
        _split(table, resolved)  # what cannot be split is said before any image is decoded
    preprocessing = preprocessing_for(resolved.model, resolved.data)
    with watch.stage("Decode images"):
        cache = load_pixels(table, preprocessing, progress=progress)
        splits = _split(cache.table, resolved)
    path = Path(run) if run is not None else new_run_path(
        Path(runs), _data_name(folder), resolved.name, datetime.now()
    )
    info = _run_info(folder, command, resolved, splits, cache, preprocessing, resolved_device)
    made = create_run(path, resolved, info)
    task = _task(made, resolved, splits, cache, preprocessing, resolved_device, progress)
    try:
        with watch.stage("Train"):
            trained = _train(task)
        return _finish(made, task, splits, trained, watch)
    except TellapartError:
        remove_run(made)
        raise


def _resolve_recipe(
    recipe: str | Path,
    settings: Iterable[str],
    seed: int | None,
    validation: float | None,
    test: float | None,
    fit: str | None,
) -> Recipe:
    """The recipe with the command line laid over it."""
    given = {
        "seed": seed, "data.validation": validation, "data.test": test, "data.fit": fit,
    }
    overlay = [f"{key}={value}" for key, value in given.items() if value is not None]
    return apply_settings(load_recipe(recipe), [*settings, *overlay])


def _split(table: ImageTable, recipe: Recipe) -> Splits:
    return split(
        table, validation=recipe.data.validation, test=recipe.data.test, seed=recipe.seed
    )


def _data_name(folder: str | Path) -> str:
    path = Path(folder).resolve()
    return path.stem if path.is_file() else path.name


def _run_info(
    folder: str | Path,
    command: str,
    recipe: Recipe,
    splits: Splits,
    cache: PixelCache,
    preprocessing: Preprocessing,
    device: str,
) -> dict[str, Any]:
    """What ``run.json`` says from the start."""
    from tellapart import __version__

    table = splits.table
    counts = {
        part: dict(
            zip(
                table.classes,
                np.bincount(
                    table.labels[table.parts == part], minlength=len(table.classes)
                ).tolist(),
                strict=True,
            )
        )
        for part in PARTS
    }
    return {
        "tellapart": __version__,
        "created": datetime.now().astimezone().isoformat(timespec="seconds"),
        "command": command,
        "classes": list(table.classes),
        "preprocessing": preprocessing.to_dict(),
        "data": {
            "source": str(Path(folder).resolve()),
            "root": str(table.root),
            "fingerprint": cache.key,
            "images": len(table),
            "counts": counts,
            "notes": list(table.notes),
            "left_out": [
                {"path": p.path, "kind": p.kind, "reason": p.reason} for p in table.problems[:1000]
            ],
            "num_left_out": len(table.problems),
        },
        "seed": recipe.seed,
        "device": device,
        "machine": describe_machine(),
    }


def _task(
    run: Run,
    recipe: Recipe,
    splits: Splits,
    cache: PixelCache,
    preprocessing: Preprocessing,
    device: str,
    progress: Progress,
) -> Task:
    table = splits.table
    return Task(
        recipe=recipe,
        cache=cache,
        labels=table.labels,
        rows={part: np.flatnonzero(table.parts == part) for part in PARTS},
        num_classes=len(table.classes),
        preprocessing=preprocessing,
        device=device,
        progress=progress,
        checkpoint_folder=run.checkpoint_folder,
        history_file=run.history_file,
    )


def _train(task: Task) -> Trained:
    """Hand the task to the way of training that its recipe names."""
    if task.recipe.method == "fit":
        from tellapart.training.by_fit import train_by_fit

        return train_by_fit(task)
    if task.recipe.method == "auto":
        from tellapart.training.auto import train_auto

        return train_auto(task)
    from tellapart.training.by_probe import train_by_probe

    return train_by_probe(task)


def _finish(run: Run, task: Task, splits: Splits, trained: Trained, watch: Stopwatch) -> Run:
    """Save the classifier, score validation and then test once, and write the report."""
    from tellapart.evaluation.calibration import fit_temperature
    from tellapart.evaluation.metrics import evaluate_predictions
    from tellapart.report.of_run import write_run_report

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
        logits = _logits(task, trained, classifier, "validation")
        if len(logits):
            # The validation images choose; the temperature is one more thing they choose.
            temperature = fit_temperature(
                _with_two_columns(logits, description), task.labels_of("validation")
            )
            description = replace(description, temperature=temperature)
            save_classifier(run.model_file, trained.state, description)
        for part in ("train", "validation", "test"):
            if part != "validation":
                logits_of_part = _logits(task, trained, classifier, part)
            else:
                logits_of_part = logits
            if len(logits_of_part):
                predictions[part] = Predictions(
                    part=part,
                    classes=splits.table.classes,
                    paths=splits.part(part).paths,
                    labels=task.labels_of(part),
                    probabilities=to_probabilities(logits_of_part, description),
                )
    with watch.stage("Measure"):
        metrics = {
            part: evaluate_predictions(p, seed=recipe.seed) for part, p in predictions.items()
        }
        for part, p in predictions.items():
            p.save(run.predictions_file(part))
        write_json(run.path / "metrics.json", metrics)
    run = run.update(
        parameters={"total": trained.total_parameters, "trainable": trained.trainable_parameters},
        temperature=description.temperature,
        facts=dict(trained.facts),
        notes=list(trained.notes),
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


def _logits(task: Task, trained: Trained, classifier: Classifier, part: str) -> Any:
    rows = task.rows[part]
    if trained.logits is not None:
        return trained.logits(rows)
    return classifier.logits(task.cache.pixels[rows], progress=task.progress)


def result_of(run: Run) -> Mapping[str, Any]:
    """What ``tellapart train --json`` prints: the metrics, and where the run is."""
    return {"run": str(run.path), **run.metrics}
