"""``tellapart train``: a folder of labelled images in, a run folder out."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from tellapart.cache import Record, recorded
from tellapart.data.source import Source
from tellapart.data.table import PARTS, ImageTable
from tellapart.errors import RecipeError, RunError, TrainingError
from tellapart.extras import require_pytorch
from tellapart.machine import resolve_device
from tellapart.progress import DEFAULT, SILENT, Progress
from tellapart.recipe import Recipe
from tellapart.recipe_reading import apply_settings, load_recipe, with_decision
from tellapart.run import (
    Run,
    RunGiven,
    create_run,
    open_run,
    remove_run,
    require_free,
    run_name,
    training_lock,
)
from tellapart.run_images import write_images
from tellapart.run_info import (
    COMPLETE,
    RUNNING,
)
from tellapart.search.budget import Clock, read_time
from tellapart.search.record import SearchRecord, read_record
from tellapart.stopwatch import Stopwatch
from tellapart.training.outcome import Task, Trained
from tellapart.training.remember import same_contents
from tellapart.training.saved_work import found_in_cache
from tellapart.training.scoring import Scored, score_validation
from tellapart.training.together import (
    companions,
    is_main_process,
    main_first,
    num_processes,
    require_devices,
    said_by_main,
)
from tellapart.training.ways import check_trainable, train_task, way_of
from tellapart.verbs.cross_validation import check_cross_validation, has_fold
from tellapart.verbs.cross_validation import cross_validate as cross_validate_run
from tellapart.verbs.preparation import Prepared, choosing_rows, parts_of, prepare
from tellapart.verbs.run_description import (
    assignment,
    leaks_of,
    new_run_info,
    num_groups,
    stored_images,
)
from tellapart.verbs.scoring import publish
from tellapart.verbs.searching import (
    begin_search,
    resume_search,
    search_on,
    search_seconds,
    time_left,
)
from tellapart.wording import listed, texts


def train(
    folder: str | Path,
    *,
    recipe: str | Path = "auto",
    settings: Iterable[str] = (),
    runs: str | Path = "runs",
    run: str | Path | None = None,
    seed: int | None = None,
    device: str = "auto",
    devices: int = 1,
    time: str | float | None = None,
    validation: float | None = None,
    test: float | None = None,
    fit: str | None = None,
    positive: str | None = None,
    cost_miss: float | None = None,
    classes: Sequence[str] = (),
    group_by: str | None = None,
    exclude: str | Path | None = None,
    root: str | Path | None = None,
    path_column: str | None = None,
    label_column: str | None = None,
    min_images: int = 0,
    ignore_unknown: bool = False,
    keep_leaks: bool = False,
    cross_validate: int | None = None,
    from_run: RunGiven | None = None,
    feedback: str | Path | None = None,
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
        devices: processes that train together, each on a GPU of its own or all on the CPU.
        time: how long recipe auto may train and search, from the call on: "30s", "5m", "2h", or
            seconds; 0: the first answer only; None: the recipe's, which is 5 minutes for auto.
        validation, test: share of the images (below 1) or number of images, where the
            folder does not say; None: the recipe's.
        fit: "squash", "crop" or "pad" for pictures that are not square.
        positive: the class that is looked for: it is said from a probability on that is chosen on
            the validation images, so that mistakes cost least; None: the recipe's, which is
            usually to say the likeliest class.
        cost_miss: what missing ``positive`` costs, where a false alarm costs 1; None: the
            recipe's, usually 1.
        classes: class order; empty: alphabetical.
        group_by: how images that belong together are found; see ``read_table``.
        exclude: a CSV whose column ``path`` names images to leave out.
        root: folder that the paths of a table start from.
        path_column, label_column: columns of a table; None: found by their usual names.
        min_images: leave out classes with fewer images to train on.
        ignore_unknown: leave out images of classes that the train part does not have.
        keep_leaks: keep images that an earlier part has, or a near copy of them, in the headline
            of each part, to compare with a published number; without them is the second number.
        cross_validate: folds in which every image is held out once, by a model of its own that
            has not seen it; the numbers are those of all images, and the classifier is trained
            on all of them. None: the recipe's, usually none.
        from_run: start from the weights of this run, which must have the same network.
        feedback: a folder of corrected pictures by class, as ``tellapart serve --feedback`` keeps
            them; they are in the train part only.
        tensorboard: also write TensorBoard logs, into the run folder.

    Returns:
        The finished run; ``run.report`` is the page to look at.

    Raises:
        TellapartError: something in the arguments or in the folder is wrong; no run folder
            is left behind. Where only the disk or the like failed after an epoch, it stays,
            and ``resume`` goes on with it.
    """
    given = dict(locals())
    if devices > 1:
        require_pytorch("Training in several processes")
        _refuse_companions(recipe, settings, cross_validate)
        return _with_companions(train, given)
    watch, progress = Stopwatch(), progress if is_main_process() else SILENT
    if cross_validate is not None and cross_validate < 2:
        raise RecipeError(
            f"--cross-validate {cross_validate}: give 2 folds or more; 5 or 10 are usual."
        )
    resolved = _resolve_recipe(
        recipe, settings, seed, validation, test, fit, keep_leaks, cross_validate
    )
    resolved = with_decision(resolved, positive, cost_miss)
    check_cross_validation(resolved, from_run=from_run is not None, num_processes=num_processes())
    check_trainable(resolved, from_run=from_run is not None, num_processes=num_processes())
    clock = Clock(search_seconds(resolved, time))
    if resolved.method == "auto":
        resolved = resolved.model_copy(update={"time_limit_seconds": clock.seconds or None})
    source = Source(
        folder=Path(folder),
        classes=texts(classes) or resolved.data.classes,
        train=resolved.data.train_folders,
        validation=resolved.data.validation_folders,
        test=resolved.data.test_folders,
        group_by=group_by,
        exclude=Path(exclude) if exclude is not None else None,
        root=Path(root) if root is not None else None,
        ignore_unknown=ignore_unknown,
        path_column=path_column,
        label_column=label_column,
        min_images=min_images,
        feedback=Path(feedback) if feedback is not None else None,
    )
    if run is not None and is_main_process():
        require_free(Path(run))
    parent = open_run(from_run) if from_run is not None else None
    start = parent.classifier().state() if parent is not None else None
    kind = resolve_device(device)
    with recorded() as record:
        prepared = main_first(kind, lambda: prepare(source, resolved, kind, watch, progress))
        if not is_main_process():
            return _take_part(Run(Path(said_by_main(kind, ""))), prepared, start)
        info = new_run_info(source, prepared, parent)
        usual = Path(runs) / run_name(source.display_name, resolved.name, datetime.now())
        path = Path(run) if run is not None else usual
        made = create_run(path, prepared.recipe, info, numbered=run is None)
        said_by_main(kind, str(made.path))
        with training_lock(made):
            return _train_new(made, prepared, watch, record, progress, start, tensorboard, clock)


def _refuse_companions(
    recipe: str | Path, settings: Iterable[str], cross_validate: int | None
) -> None:
    """Before other processes are started: folds are trained in one."""
    resolved = _resolve_recipe(recipe, settings, None, None, None, None, False, cross_validate)
    check_cross_validation(resolved, from_run=False, num_processes=2)


def _train_new(
    made: Run,
    prepared: Prepared,
    watch: Stopwatch,
    record: Record,
    progress: Progress,
    start: Mapping[str, Any] | None,
    tensorboard: bool,
    clock: Clock,
) -> Run:
    """Train a run that was just made; it stays only if something can go on with it."""
    try:
        task = _task(made, prepared, progress, start_state=start, tensorboard=tensorboard)
        write_images(made.images_file, stored_images(prepared))  # resuming reads them
        answer = _train_and_publish(made, task, prepared, watch, record)
    except BaseException as error:
        # Without an epoch to go on from there is nothing to keep, and where the recipe is at
        # fault (a loss that is no number) going on would end the same way. Ctrl-C, a full disk
        # and the like leave what '--resume' goes on with.
        if isinstance(error, TrainingError | RecipeError) or not _has_checkpoint(made):
            remove_run(made)
        else:
            progress.note(f"Go on with 'tellapart train --resume {made.path}'.")
        raise
    return _searched(answer, task, prepared, clock, watch, progress)


def _searched(
    answer: Answer,
    task: Task,
    prepared: Prepared,
    clock: Clock,
    watch: Stopwatch,
    progress: Progress,
) -> Run:
    """The run after the search that method auto makes from its first answer, if it has time."""
    if answer.trained is None or answer.scored is None or not clock.seconds:
        return answer.run
    return search_on(
        answer.run, prepared, task, answer.trained, answer.scored, clock, watch, progress
    )


def _with_companions(verb: Callable[..., Run], given: dict[str, Any]) -> Run:
    """Call a verb in as many processes as were asked for; this one is the main one."""
    progress, devices = given.pop("progress"), given.pop("devices")
    require_devices(resolve_device(given["device"]), devices)
    plain = {name: _as_plain(value) for name, value in given.items()}
    with companions(devices, plain, "tellapart.verbs.companion"):
        return verb(**plain, progress=progress)


def _as_plain(value: Any) -> Any:
    """An argument as JSON has it."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return [*value] if isinstance(value, Iterable) and not isinstance(value, str) else value


def _take_part(
    run: Run, prepared: Prepared, start: Mapping[str, Any] | None, extend: int = 0
) -> Run:
    """Train beside the main process, which writes everything; the run is whole afterwards."""
    task = _task(run, prepared, SILENT, start_state=start, extend=extend)
    train_task(replace(task.without_test(), history_file=None))
    said_by_main(prepared.device, "")
    return run


def resume(
    run: RunGiven,
    *,
    extend: int = 0,
    time: str | float | None = None,
    device: str = "auto",
    devices: int = 1,
    progress: Progress = DEFAULT,
) -> Run:
    """Go on with a run that was killed or interrupted, or add epochs to a finished one.

    Args:
        run: the run, or its folder.
        extend: epochs to add to a finished training; 0: only what is left of it.
        time: how long a search goes on, as for ``train``; None: what was left of its time.
        devices: processes that train together, as for ``train``.

    Raises:
        RunError: it is finished and nothing is to be added, its images have changed, or what
            it would go on from is gone. The run is left as it was.
    """
    given = dict(locals())
    if devices > 1:
        require_pytorch("Training in several processes")
        check_cross_validation(
            open_run(run, complete=False).recipe, from_run=False, num_processes=devices
        )
        return _with_companions(resume, given)
    if not is_main_process():
        return _resume(open_run(run, complete=False), extend, None, device, SILENT, {})
    opened = open_run(run, complete=False)
    with training_lock(opened), recorded() as record:
        # Read again: whoever trained it until now may have just come to its end.
        done = _resume(open_run(run, complete=False), extend, time, device, progress, record)
    if isinstance(run, Run):
        run.reread()
    return done


def _resume(
    opened: Run,
    extend: int,
    time: str | float | None,
    device: str,
    progress: Progress,
    record: Record,
) -> Run:
    if extend < 0:
        raise RunError(f"--extend {extend}: give the number of epochs to add to {opened.path}.")
    watch, before = Stopwatch(), opened.info
    searched = read_record(opened.path)
    if not extend and (searched is not None or _has_first_answer_only(opened, time)):
        return _resume_search(opened, searched, time, device, watch, progress)
    clock = Clock(search_seconds(opened.recipe, time))
    if opened.status == COMPLETE and not extend and not _is_being_extended(opened):
        raise RunError(f"{opened.path} is finished; --extend N adds N epochs to it.")
    if extend:
        _refuse_to_extend(opened)
    start = None
    if before.parent:
        start = open_run(before.parent).classifier().state()
    source = opened.source
    kind = resolve_device(device)
    check_trainable(opened.recipe, num_processes=num_processes())
    check_cross_validation(opened.recipe, from_run=False, num_processes=num_processes())
    prepared = main_first(
        kind, lambda: prepare(source, opened.recipe, kind, watch, progress, opened.images)
    )
    _refuse_other_images(opened, prepared, progress)
    _require_same_labels(opened, prepared.splits.table)
    if not is_main_process():
        return _take_part(opened, prepared, start, extend)
    task = _task(opened, prepared, progress, start_state=start, extend=extend)
    answer = _train_and_publish(opened, task, prepared, watch, record)
    return _searched(answer, task, prepared, clock, watch, progress)


def _has_first_answer_only(run: Run, time: str | float | None) -> bool:
    """Whether a search is to begin from a first answer that is there: one was asked for and was
    killed before it had begun, or is asked for now."""
    return (
        run.status == COMPLETE and run.recipe.method == "auto"
        and bool(search_seconds(run.recipe, time))
    )  # fmt: skip


def _resume_search(
    opened: Run,
    searched: SearchRecord | None,
    time: str | float | None,
    device: str,
    watch: Stopwatch,
    progress: Progress,
) -> Run:
    """Go on with the search of a run, in the parts and with the images that it began with.

    Args:
        searched: None: the run has its first answer only, and the search begins.

    Raises:
        RunError: its search has ended and no time is given, or its images have changed.
    """
    if time is None and searched is not None and opened.status == COMPLETE and searched.ended:
        raise RunError(
            f"The search of {opened.path} has ended; --time 5m goes on with it for five minutes."
        )
    if searched is None:
        seconds, recipe = search_seconds(opened.recipe, time), opened.recipe
    else:
        seconds = time_left(searched) if time is None else read_time(time)
        recipe = load_recipe(opened.path / searched.trials[0].recipe)
    clock = Clock(seconds)
    prepared = prepare(
        opened.source, recipe, resolve_device(device), watch, progress, opened.images
    )
    table = prepared.splits.table
    if not same_contents(opened.images, table.paths, prepared.images.digests) or (
        {(image.part, image.path) for image in opened.images} != parts_of(table)
    ):
        raise RunError(
            f"The images of {opened.path} have changed since it began; train anew on them."
        )
    _require_same_labels(opened, table)
    if searched is None:
        return begin_search(opened, prepared, clock, watch, progress)
    return resume_search(opened, searched, prepared, clock, watch, progress)


def _require_same_labels(run: Run, table: ImageTable) -> None:
    """The images must be of the classes and parts, and under the paths, that they were.

    Raises:
        RunError: they are not.
    """
    before = run.info
    if table.classes != before.classes:
        raise RunError(
            f"The classes of {run.path} have changed since it began: they were "
            f"{listed(before.classes)} and are {listed(table.classes)}; put them back, or train "
            "anew."
        )
    if before.data.assignment and assignment(table) != before.data.assignment:
        raise RunError(
            f"The classes, parts or names of the images of {run.path} have changed since it "
            "began; put them back, or train anew."
        )


def _refuse_to_extend(run: Run) -> None:
    """Epochs can be added to a training in epochs whose last checkpoint is there.

    Raises:
        RunError: they cannot.
    """
    if run.recipe.data.cross_validate is not None:
        raise RunError(
            f"{run.path} was cross-validated, and its epochs are those that the folds chose, so "
            "none can be added; train anew with that many more epochs."
        )
    if not way_of(run.recipe).trains_in_epochs:
        raise RunError(f"{run.path} was not trained in epochs, so none can be added.")
    from tellapart.training.checkpoint import load_checkpoint

    last = f"stage-{len(run.recipe.stages)}"
    if load_checkpoint(run.checkpoint_folder / last) is None:
        raise RunError(
            f"The checkpoint of {run.path} is not there ({run.checkpoint_folder / last}), so no "
            "epochs can be added; train from the beginning with that many more epochs."
        )


def _refuse_other_images(run: Run, prepared: Prepared, progress: Progress) -> None:
    """What a run goes on with are the images, in the parts, that it began with.

    Raises:
        RunError: they are not.
    """
    if prepared.images.key == run.info.data.fingerprint:
        return
    stored, table = run.images, prepared.splits.table
    if not stored:  # interrupted in an older version, which wrote them down only in the end
        raise RunError(
            f"The images of {run.path} have changed since it began, or this version reads them "
            "otherwise; train anew on them."
        )
    if not same_contents(stored, table.paths, prepared.images.digests):
        raise RunError(f"The images of {run.path} have changed since it began; train anew on them.")
    if {(image.part, image.path) for image in stored} != parts_of(table):
        raise RunError(
            f"The images of {run.path} would be divided into other parts now than when it began; "
            "train anew on them."
        )
    progress.note(
        f"The images of {run.path} are the same, but are decoded by another version of tellapart "
        "or Pillow than when it began, so that single pixels may differ."
    )


def _has_checkpoint(run: Run) -> bool:
    return has_fold(run) or any(run.checkpoint_folder.rglob("*.safetensors"))


def _is_being_extended(run: Run) -> bool:
    """Whether epochs were added to a finished run and are not all done."""
    if not way_of(run.recipe).trains_in_epochs or run.recipe.data.cross_validate is not None:
        return False
    from tellapart.training.by_fit import is_unfinished

    return is_unfinished(run.recipe, run.checkpoint_folder)


def _resolve_recipe(
    recipe: str | Path,
    settings: Iterable[str],
    seed: int | None,
    validation: float | None,
    test: float | None,
    fit: str | None,
    keep_leaks: bool,
    cross_validate: int | None,
) -> Recipe:
    """The recipe with the command line laid over it."""
    given = {
        "seed": seed,
        "data.validation": validation,
        "data.test": test,
        "data.fit": fit,
        "data.keep_leaks": "true" if keep_leaks else None,
        "data.cross_validate": cross_validate,
    }
    overlay = [f"{key}={value}" for key, value in given.items() if value is not None]
    return apply_settings(load_recipe(recipe), [*texts(settings), *overlay])


def _task(
    run: Run,
    prepared: Prepared,
    progress: Progress,
    *,
    start_state: Mapping[str, Any] | None = None,
    tensorboard: bool = False,
    extend: int = 0,
) -> Task:
    table = prepared.splits.table
    return Task(
        recipe=prepared.recipe,
        images=prepared.images,
        labels=table.labels,
        rows={part: np.flatnonzero(table.parts == part) for part in PARTS},
        classes=table.classes,
        preprocessing=prepared.preprocessing,
        device=prepared.device,
        progress=progress,
        checkpoint_folder=run.checkpoint_folder,
        history_file=run.history_file,
        tensorboard_folder=run.path / "tensorboard" if tensorboard else None,
        start_state=start_state,
        extend=extend,
        choosing=choosing_rows(prepared),
    )


@dataclass(frozen=True)
class Answer:
    """A run that was published, and what it was made of."""

    run: Run
    #: None of a cross-validated run, of which nothing is searched.
    trained: Trained | None = None
    scored: Scored | None = None


def _train_and_publish(
    run: Run, task: Task, prepared: Prepared, watch: Stopwatch, record: Record
) -> Answer:
    """Train and choose without a look at the test part, which only the last step reads."""
    if prepared.folds is not None:
        return Answer(cross_validate_run(run, task, prepared, prepared.folds, watch, record))
    with watch.stage("Train"):
        trained = train_task(task.without_test())
    from_cache = found_in_cache(record)
    with watch.stage("Predict"):
        scored = score_validation(task.without_test(), trained)
    # Until here a finished run that is extended stays as it was; from here its files change.
    data = replace(
        run.info.data, fingerprint=prepared.images.key, leaks=leaks_of(prepared),
        groups=num_groups(prepared),
    )  # fmt: skip
    run = run.update(status=RUNNING, stopped="", data=data, files={}, from_cache=from_cache)
    write_images(run.images_file, stored_images(prepared))
    run = publish(run, task, prepared.splits, trained, scored, watch)
    if trained.stopped is None:  # else the other processes are not where this one is
        said_by_main(task.device, "")
    return Answer(run, trained, scored)
