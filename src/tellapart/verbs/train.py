"""``tellapart train``: a folder of labelled images in, a run folder out."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from tellapart.audit.brief import BriefAudit, brief_audit
from tellapart.data.groups import with_groups
from tellapart.data.pixels import PixelCache, load_pixels
from tellapart.data.reading import read_table
from tellapart.data.split import Splits, split
from tellapart.data.table import PARTS, ImageTable
from tellapart.errors import RunError, TellapartError
from tellapart.machine import describe_machine, keep_memory, resolve_device
from tellapart.models.inputs import preprocessing_for
from tellapart.pixels.preprocessing import Preprocessing
from tellapart.prediction.classifier import load_classifier
from tellapart.progress import DEFAULT, Progress
from tellapart.recipe import Recipe
from tellapart.recipe_reading import apply_settings, load_recipe
from tellapart.run import (
    COMPLETE,
    RUNNING,
    Run,
    RunGiven,
    create_run,
    new_run_path,
    open_run,
    remove_run,
)
from tellapart.stopwatch import Stopwatch
from tellapart.training.auto import settle_image_size
from tellapart.training.outcome import Task, Trained
from tellapart.training.unused import unused_settings
from tellapart.verbs.scoring import finish

#: The value of ``group_by`` that keeps pictures together which show the same.
NEAR_DUPLICATES = "near-duplicates"


@dataclass(frozen=True)
class Source:
    """Where the images are and how they are read: with the recipe, all that repeats a run."""

    folder: str
    classes: tuple[str, ...] = ()
    group_by: str | None = None
    exclude: str | None = None
    root: str | None = None
    ignore_unknown: bool = False


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
    from_run: RunGiven | None = None,
    tensorboard: bool = False,
    progress: Progress = DEFAULT,
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
        from_run: start from the weights of this run, which must have the same network.
        tensorboard: also write TensorBoard logs, into the run folder.

    Returns:
        The finished run; ``run.report`` is the page to look at.

    Raises:
        TellapartError: something in the arguments or in the folder is wrong; no run folder
            is left behind.
    """
    watch = Stopwatch()
    resolved = _resolve_recipe(recipe, settings, seed, validation, test, fit)
    source = Source(
        folder=str(folder),
        classes=tuple(classes),
        group_by=group_by,
        exclude=str(exclude) if exclude is not None else None,
        root=str(root) if root is not None else None,
        ignore_unknown=ignore_unknown,
    )
    parent = open_run(from_run) if from_run is not None else None
    start = load_classifier(parent.model_file).state() if parent is not None else None
    prepared = _prepare(source, resolved, resolve_device(device), watch, progress)
    path = Path(run) if run is not None else new_run_path(
        Path(runs), _data_name(folder), resolved.name, datetime.now()
    )
    info = _run_info(source, prepared)
    info["parent"] = str(parent.path) if parent is not None else None
    made = create_run(path, prepared.recipe, info)
    try:
        task = _task(made, prepared, progress, start_state=start, tensorboard=tensorboard)
        return _train_and_finish(made, task, prepared, watch)
    except TellapartError:
        remove_run(made)
        raise


def resume(
    run: RunGiven, *, extend: int = 0, device: str = "auto", progress: Progress = DEFAULT
) -> Run:
    """Go on with a run that was killed or interrupted, or add epochs to a finished one.

    Args:
        run: the run folder.
        extend: epochs to add to a finished training; 0: only what is left of it.

    Raises:
        RunError: it is finished and nothing is to be added, or its images have changed.
    """
    watch = Stopwatch()
    opened = open_run(run, complete=False)
    if opened.status == COMPLETE and not extend:
        raise RunError(f"{opened.path} is finished; --extend N adds N epochs to it.")
    if extend and opened.recipe.method != "fit":
        raise RunError(f"{opened.path} was not trained in epochs, so none can be added.")
    given = opened.info["source"]
    source = Source(**{**given, "classes": tuple(given["classes"])})
    parent = opened.info.get("parent")
    start = load_classifier(Path(parent) / "model.safetensors").state() if parent else None
    prepared = _prepare(source, opened.recipe, resolve_device(device), watch, progress)
    if prepared.cache.key != opened.info["data"]["fingerprint"]:
        raise RunError(
            f"The images of {opened.path} have changed since it began; train anew on them."
        )
    opened = opened.update(status=RUNNING)
    task = _task(opened, prepared, progress, start_state=start, extend=extend)
    return _train_and_finish(opened, task, prepared, watch)


@dataclass(frozen=True)
class _Prepared:
    """Everything that is settled before training starts."""

    recipe: Recipe
    splits: Splits
    cache: PixelCache
    preprocessing: Preprocessing
    device: str
    audit: BriefAudit


def _prepare(
    source: Source, recipe: Recipe, device: str, watch: Stopwatch, progress: Progress
) -> _Prepared:
    """Read the folder, decode its images and split them."""
    keep_memory()
    with watch.stage("Find images"):
        table = read_table(
            source.folder,
            classes=source.classes or recipe.data.classes,
            train=recipe.data.train_folders,
            validation=recipe.data.validation_folders,
            test=recipe.data.test_folders,
            group_by=None if source.group_by == NEAR_DUPLICATES else source.group_by,
            root=source.root,
            exclude=source.exclude,
            ignore_unknown=source.ignore_unknown,
            progress=progress,
        )
        _split(table, recipe)  # what cannot be split is said before any image is decoded
    if recipe.method == "auto":
        recipe = settle_image_size(recipe, table)
    preprocessing = preprocessing_for(recipe.model, recipe.data)
    with watch.stage("Decode images"):
        cache = load_pixels(table, preprocessing, progress=progress)
        if source.group_by == NEAR_DUPLICATES:
            from tellapart.audit.checks import near_duplicate_groups

            groups = near_duplicate_groups(cache, progress=progress)
            cache = replace(cache, table=with_groups(cache.table, groups))
        splits = _split(cache.table, recipe)
    audit = brief_audit(splits.table, cache.digests)
    unused = unused_settings(recipe)
    for sentence in [*unused, *splits.table.notes[len(table.notes) :], *audit.sentences]:
        progress.note(sentence)
    return _Prepared(recipe, splits, cache, preprocessing, device, audit)


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


def _run_info(source: Source, prepared: _Prepared) -> dict[str, Any]:
    """What ``run.json`` says from the start."""
    from tellapart import __version__

    table, cache = prepared.splits.table, prepared.cache
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
        "command": " ".join(["tellapart", *sys.argv[1:]]),
        "classes": list(table.classes),
        "preprocessing": prepared.preprocessing.to_dict(),
        "source": asdict(source),
        "data": {
            "source": str(Path(source.folder).resolve()),
            "root": str(table.root),
            "fingerprint": cache.key,
            "images": len(table),
            "counts": counts,
            "notes": list(table.notes),
            "left_out": [
                {"path": p.path, "kind": p.kind, "reason": p.reason} for p in table.problems[:1000]
            ],
            "num_left_out": len(table.problems),
            "audit": list(prepared.audit.sentences),
        },
        "seed": prepared.recipe.seed,
        "device": prepared.device,
        "machine": describe_machine(),
    }


def _task(
    run: Run,
    prepared: _Prepared,
    progress: Progress,
    *,
    start_state: Mapping[str, Any] | None = None,
    tensorboard: bool = False,
    extend: int = 0,
) -> Task:
    table = prepared.splits.table
    return Task(
        recipe=prepared.recipe,
        cache=prepared.cache,
        labels=table.labels,
        rows={part: np.flatnonzero(table.parts == part) for part in PARTS},
        num_classes=len(table.classes),
        preprocessing=prepared.preprocessing,
        device=prepared.device,
        progress=progress,
        checkpoint_folder=run.checkpoint_folder,
        history_file=run.history_file,
        tensorboard_folder=run.path / "tensorboard" if tensorboard else None,
        start_state=start_state,
        extend=extend,
    )


def _train_and_finish(run: Run, task: Task, prepared: _Prepared, watch: Stopwatch) -> Run:
    try:
        with watch.stage("Train"):
            trained = _train(task)
    except KeyboardInterrupt:  # before the first epoch was done
        task.progress.note(f"'tellapart train --resume {run.path}' goes on with it.")
        raise
    return finish(run, task, prepared.splits, prepared.audit, trained, watch)


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
