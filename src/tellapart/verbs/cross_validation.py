"""``train --cross-validate K``: the folds of a run, one after another, and its classifier.

A fold that is done is kept in the run folder, so that going on after a kill or Ctrl-C begins
with the next one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from tellapart.cache import Record
from tellapart.data.folds import together_in
from tellapart.data.table import ImageTable
from tellapart.errors import RecipeError, RunError
from tellapart.evaluation.decision import Decision
from tellapart.evaluation.learning_curve import save_curve
from tellapart.evaluation.predictions import load_predictions
from tellapart.files import write_json
from tellapart.folders import remove_whole
from tellapart.progress import SILENT, Progress
from tellapart.recipe import Recipe
from tellapart.run import Run
from tellapart.run_images import write_images
from tellapart.run_info import RUNNING, CrossValidation, FoldInfo, read_object
from tellapart.stopwatch import Stopwatch
from tellapart.training.cross_validation import (
    FoldProgress,
    HeldOut,
    carry_over,
    fold_task,
    joined,
    one_way,
    train_fold,
    train_on_all,
    uncalibrated,
)
from tellapart.training.growth import measure_growth
from tellapart.training.outcome import Task
from tellapart.training.procedure import refit_procedure, repeats_for
from tellapart.training.refits import Refits, near_strengths
from tellapart.training.saved_work import found_in_cache
from tellapart.training.scoring import score_by_held_out
from tellapart.training.ways import way_of
from tellapart.verbs.preparation import Prepared
from tellapart.verbs.run_description import leaks_of, num_groups, stored_images
from tellapart.verbs.scoring import HeldOutAnswers, publish
from tellapart.wording import duration, percent

#: Images that say from which distance on an image is called unknown.
_ENOUGH_APART = 100


def check_cross_validation(recipe: Recipe, *, from_run: bool, num_processes: int) -> None:
    """Refuse what does not go with cross-validation, before any image is read.

    Raises:
        RecipeError: it does not.
    """
    if recipe.data.cross_validate is None:
        return
    if from_run:
        raise RecipeError(
            "--from with --cross-validate: the weights of that run may come from images that a "
            "fold holds out, which then would not be new; leave one of them out."
        )
    if num_processes > 1:
        raise RecipeError(
            "--cross-validate trains its folds one after another in one process; leave --devices "
            "out."
        )


def cross_validate(
    run: Run,
    task: Task,
    prepared: Prepared,
    folds_of: NDArray[np.int64],
    watch: Stopwatch,
    record: Record,
) -> Run:
    """Train and score every fold that is not done, then the classifier on all images.

    Args:
        task: of all images, which are its train part.
        folds_of: int64 (N,), the fold of each image.

    Raises:
        RunError: what is kept of a fold is damaged, or is of other folds.
        KeyboardInterrupt: Ctrl-C; the folds that are done are kept.
    """
    together = together_in(prepared.splits.table, prepared.copies.groups)
    number, progress = int(folds_of.max()), task.progress
    in_epochs = way_of(one_way(task.recipe)).trains_in_epochs
    if not in_epochs:  # once, where its own bar can be seen
        with watch.stage("Train"):
            _features(task)
    done = _kept_folds(run, task.images.table.paths, folds_of)
    with watch.stage("Train"):
        trained_here = 0.0
        bar: Progress = SILENT if in_epochs else progress
        with bar.stage("Cross-validating", number + 1, "models") as work:
            for fold in range(1, number + 1):
                if fold not in done:
                    started = perf_counter()
                    own = fold_task(
                        _quietly(task, in_epochs, f"Fold {fold} of {number}"),
                        together, folds_of, fold,
                    )  # fmt: skip
                    held_out = train_fold(own, fold)
                    held_out = replace(held_out, seconds=perf_counter() - started)
                    _keep_fold(run, held_out)
                    done[fold] = held_out
                    trained_here += held_out.seconds
                    if in_epochs:
                        left = (number + 1 - fold) * held_out.seconds
                        progress.note(_fold_line(held_out, number, left))
                work.advance()
            folds = [done[fold] for fold in sorted(done)]
            recipe, told = carry_over(task.recipe, folds)
            trained = train_on_all(_quietly(task, in_epochs, "All images"), recipe)
            work.advance()
    from_cache = found_in_cache(record)
    validated = CrossValidation(tuple(_info_of(fold) for fold in folds), told)
    if not in_epochs:
        with watch.stage("Refit"):
            validated = _refitted(run, task, together, validated)
    held_out_answers = joined(folds, task.images.table.paths)
    scored = score_by_held_out(task, trained, joined(uncalibrated(folds), task.images.table.paths))
    data = replace(
        run.info.data, fingerprint=prepared.images.key, leaks=leaks_of(prepared),
        groups=num_groups(prepared),
    )  # fmt: skip
    run = run.update(
        status=RUNNING,
        stopped="",
        data=data,
        files={},
        from_cache=from_cache,
        cross_validation=validated,
    )
    write_images(run.images_file, stored_images(prepared))
    reference = None
    if trained.features is not None:  # those of the frozen backbone, whatever was trained on
        apart = folds_of <= _folds_apart(folds_of)
        reference = replace(
            task,
            rows={"train": np.flatnonzero(~apart), "validation": np.flatnonzero(apart),
                  "test": np.zeros(0, np.int64)},
        )  # fmt: skip
    run = publish(
        run, task, prepared.splits, trained, scored, watch,
        HeldOutAnswers(held_out_answers, reference, told),
    )  # fmt: skip
    if run.checkpoint_folder.is_dir():
        remove_whole(run.checkpoint_folder)
    return run


def _refitted(
    run: Run, task: Task, together: ImageTable, validated: CrossValidation
) -> CrossValidation:
    """How good the same training is on other images, and what more images would buy.

    The latter goes into the run's ``learning_curve.json``.
    """
    strengths = sorted({fold.strength for fold in validated.folds if fold.strength is not None})
    if not strengths:
        return validated
    settings, number = task.recipe.probe, len(validated.folds)
    refits = Refits(
        _features(task),
        task.labels,
        settings,
        near_strengths(settings.strengths, strengths[len(strengths) // 2]),
        task.num_classes,
    )
    repeats = repeats_for(len(together))
    procedure = refit_procedure(
        refits, together, folds=number, repeats=repeats,
        validation=task.recipe.data.validation, seed=task.recipe.seed, progress=task.progress,
    )  # fmt: skip
    curve = measure_growth(refits, together, seed=task.recipe.seed, folds=number,
                           progress=task.progress)  # fmt: skip
    save_curve(run.curve_file, curve)
    return replace(validated, procedure=procedure.to_json(), repeats=repeats)


def _folds_apart(folds_of: NDArray[np.int64]) -> int:
    """How many of the folds say how unlike the others usual images are: enough images, and at
    most half of the folds."""
    sizes = np.cumsum(np.bincount(folds_of)[1:])
    enough = int(np.count_nonzero(sizes < _ENOUGH_APART)) + 1
    return min(enough, max(1, len(sizes) // 2))


def has_fold(run: Run) -> bool:
    """Whether a fold is done, with which going on begins."""
    return any(run.checkpoint_folder.glob("fold-*.json"))


def _features(task: Task) -> NDArray[np.float32]:
    """Features of all images, (V, N, D), which stay in the cache, where every fold finds them."""
    from tellapart.engines.features import extract
    from tellapart.training.by_probe import checked_backbone

    found: NDArray[np.float32] = extract(
        checked_backbone(task.recipe),
        task.preprocessing,
        task.images,
        views=task.recipe.probe.views,
        device=task.device,
        progress=task.progress,
    ).values
    return found


def _quietly(task: Task, in_epochs: bool, name: str) -> Task:
    """The task with progress that suits a fold: named stages, or none beside the bar of all."""
    return replace(task, progress=FoldProgress(task.progress, name) if in_epochs else SILENT)


def _fold_line(fold: HeldOut, number: int, seconds_left: float) -> str:
    right = float(fold.predictions.correct.mean())
    return (
        f"Fold {fold.fold} of {number}: {percent(right)} of {len(fold.predictions):,} images "
        f"right; about {duration(seconds_left)} left."
    )


def _info_of(fold: HeldOut) -> FoldInfo:
    predictions = replace(fold.predictions, decision=fold.decision)
    return FoldInfo(
        images=len(predictions),
        right=int(predictions.correct.sum()),
        temperature=fold.temperature,
        decision=fold.decision.to_dict() if fold.decision is not None else None,
        strength=fold.strength,
        epochs=fold.epochs,
        seconds=round(fold.seconds, 3),
    )


# --- what is kept of a fold -----------------------------------------------------------------


@dataclass(frozen=True)
class _Kept:
    """The JSON file of a fold that is done; its predictions lie beside it."""

    temperature: float
    decision: Mapping[str, Any] | None
    strength: float | None
    epochs: tuple[int, ...]
    seconds: float


@cache
def _of_kept() -> TypeAdapter[_Kept]:
    return TypeAdapter(_Kept)


def _files(run: Run, fold: int) -> tuple[Path, Path]:
    folder = run.checkpoint_folder
    return folder / f"fold-{fold}.csv", folder / f"fold-{fold}.json"


def _keep_fold(run: Run, held_out: HeldOut) -> None:
    """Write a fold down; its JSON file comes last and says that it is done."""
    table, facts = _files(run, held_out.fold)
    facts.parent.mkdir(exist_ok=True)
    held_out.predictions.save(table)
    kept = _Kept(
        held_out.temperature,
        held_out.decision.to_dict() if held_out.decision is not None else None,
        held_out.strength,
        held_out.epochs,
        held_out.seconds,
    )
    write_json(facts, asdict(kept))
    checkpoint = run.checkpoint_folder / f"fold-{held_out.fold}"
    if checkpoint.is_dir():
        remove_whole(checkpoint)


def _kept_folds(run: Run, paths: Sequence[str], folds_of: NDArray[np.int64]) -> dict[int, HeldOut]:
    """The folds that are done, by number.

    Raises:
        RunError: a file is damaged, or the fold holds out other images now.
    """
    found = {}
    for fold in range(1, int(folds_of.max()) + 1):
        table, facts = _files(run, fold)
        if not facts.is_file():
            continue
        try:
            kept = _of_kept().validate_json(json.dumps(read_object(facts)), strict=True)
            decision = None if kept.decision is None else Decision.from_dict(kept.decision)
        except (ValidationError, KeyError, TypeError, ValueError) as error:
            raise RunError(
                f"{facts} is damaged; delete it to train the fold again, and go on."
            ) from error
        predictions = load_predictions(table, "test")
        rows = np.flatnonzero(folds_of == fold).tolist()
        if predictions.paths != tuple(paths[row] for row in rows):
            raise RunError(
                f"Fold {fold} of {run.path} would hold out other images now than when it was "
                "trained; train anew on them."
            )
        found[fold] = HeldOut(
            fold, predictions, kept.temperature, decision, kept.strength, kept.epochs,
            kept.seconds,
        )  # fmt: skip
    return found
