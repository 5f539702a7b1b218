"""``tellapart train``: a folder of labelled images in, a run folder out."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tellapart.audit.brief import BriefAudit, brief_audit
from tellapart.cache import Record, recorded, text_digest
from tellapart.data.copies import CLEAN, COPY, NEAR, Copies, find_copies, split_apart
from tellapart.data.groups import with_groups
from tellapart.data.pixels import PixelCache
from tellapart.data.source import Source
from tellapart.data.split import Splits, split
from tellapart.data.table import PARTS, ImageTable
from tellapart.errors import RecipeError, RunError, TrainingError
from tellapart.evaluation.choosing import require_choosable
from tellapart.machine import describe_machine, keep_memory, resolve_device
from tellapart.models.inputs import preprocessing_for
from tellapart.pixels.preprocessing import Preprocessing
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
from tellapart.run_images import StoredImage, write_images
from tellapart.run_info import (
    COMPLETE,
    FORMAT,
    RUNNING,
    BorderlinePair,
    DataInfo,
    Leaks,
    LeftOut,
    RunInfo,
)
from tellapart.stopwatch import Stopwatch
from tellapart.training.auto import settle_image_size
from tellapart.training.outcome import Task
from tellapart.training.remember import same_contents
from tellapart.training.saved_work import found_in_cache
from tellapart.training.scoring import score_validation
from tellapart.training.together import (
    companions,
    is_main_process,
    main_first,
    num_processes,
    require_devices,
    said_by_main,
)
from tellapart.training.unused import unused_settings
from tellapart.training.ways import check_trainable, train_task, way_of
from tellapart.verbs.scoring import publish
from tellapart.wording import did_you_mean, listed, shown, texts


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
        devices: processes that train together, each on a GPU of its own or all on the CPU.
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
        from_run: start from the weights of this run, which must have the same network.
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
        return _with_companions(train, given)
    watch, progress = Stopwatch(), progress if is_main_process() else SILENT
    resolved = _resolve_recipe(recipe, settings, seed, validation, test, fit, keep_leaks)
    resolved = with_decision(resolved, positive, cost_miss)
    check_trainable(resolved, from_run=from_run is not None, num_processes=num_processes())
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
    )
    if run is not None and is_main_process():
        require_free(Path(run))
    parent = open_run(from_run) if from_run is not None else None
    start = parent.classifier().state() if parent is not None else None
    kind = resolve_device(device)
    with recorded() as record:
        prepared = main_first(kind, lambda: _prepare(source, resolved, kind, watch, progress))
        if not is_main_process():
            return _take_part(Run(Path(said_by_main(kind, ""))), prepared, start)
        info = _run_info(source, prepared, parent)
        usual = Path(runs) / run_name(source.display_name, resolved.name, datetime.now())
        path = Path(run) if run is not None else usual
        made = create_run(path, prepared.recipe, info, numbered=run is None)
        said_by_main(kind, str(made.path))
        with training_lock(made):
            return _train_new(made, prepared, watch, record, progress, start, tensorboard)


def _train_new(
    made: Run,
    prepared: _Prepared,
    watch: Stopwatch,
    record: Record,
    progress: Progress,
    start: Mapping[str, Any] | None,
    tensorboard: bool,
) -> Run:
    """Train a run that was just made; it stays only if something can go on with it."""
    try:
        task = _task(made, prepared, progress, start_state=start, tensorboard=tensorboard)
        write_images(made.images_file, _stored_images(prepared))  # resuming reads them
        return _train_and_publish(made, task, prepared, watch, record)
    except BaseException as error:
        # Without an epoch to go on from there is nothing to keep, and where the recipe is at
        # fault (a loss that is no number) going on would end the same way. Ctrl-C, a full disk
        # and the like leave what '--resume' goes on with.
        if isinstance(error, TrainingError | RecipeError) or not _has_checkpoint(made):
            remove_run(made)
        else:
            progress.note(f"Go on with 'tellapart train --resume {made.path}'.")
        raise


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
    run: Run, prepared: _Prepared, start: Mapping[str, Any] | None, extend: int = 0
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
    device: str = "auto",
    devices: int = 1,
    progress: Progress = DEFAULT,
) -> Run:
    """Go on with a run that was killed or interrupted, or add epochs to a finished one.

    Args:
        run: the run, or its folder.
        extend: epochs to add to a finished training; 0: only what is left of it.
        devices: processes that train together, as for ``train``.

    Raises:
        RunError: it is finished and nothing is to be added, its images have changed, or what
            it would go on from is gone. The run is left as it was.
    """
    given = dict(locals())
    if devices > 1:
        return _with_companions(resume, given)
    if not is_main_process():
        return _resume(open_run(run, complete=False), extend, device, SILENT, {})
    opened = open_run(run, complete=False)
    with training_lock(opened), recorded() as record:
        # Read again: whoever trained it until now may have just come to its end.
        return _resume(open_run(run, complete=False), extend, device, progress, record)


def _resume(
    opened: Run, extend: int, device: str, progress: Progress, record: Record
) -> Run:
    if extend < 0:
        raise RunError(f"--extend {extend}: give the number of epochs to add to {opened.path}.")
    watch, before = Stopwatch(), opened.info
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
    prepared = main_first(
        kind, lambda: _prepare(source, opened.recipe, kind, watch, progress, opened.images)
    )
    _refuse_other_images(opened, prepared, progress)
    _require_same_labels(opened, prepared.splits.table)
    if not is_main_process():
        return _take_part(opened, prepared, start, extend)
    task = _task(opened, prepared, progress, start_state=start, extend=extend)
    return _train_and_publish(opened, task, prepared, watch, record)


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
    if before.data.assignment and _assignment(table) != before.data.assignment:
        raise RunError(
            f"The classes, parts or names of the images of {run.path} have changed since it "
            "began; put them back, or train anew."
        )


def _assignment(table: ImageTable) -> str:
    """The digest of the path, class and part of every image."""
    names = [table.classes[label] for label in table.labels]
    return text_digest(*table.classes, *table.paths, *names, *table.parts.tolist())


def _refuse_to_extend(run: Run) -> None:
    """Epochs can be added to a training in epochs whose last checkpoint is there.

    Raises:
        RunError: they cannot.
    """
    if not way_of(run.recipe).trains_in_epochs:
        raise RunError(f"{run.path} was not trained in epochs, so none can be added.")
    from tellapart.training.checkpoint import load_checkpoint

    last = f"stage-{len(run.recipe.stages)}"
    if load_checkpoint(run.checkpoint_folder / last) is None:
        raise RunError(
            f"The checkpoint of {run.path} is not there ({run.checkpoint_folder / last}), so no "
            "epochs can be added; train from the beginning with that many more epochs."
        )


def _refuse_other_images(run: Run, prepared: _Prepared, progress: Progress) -> None:
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
        raise RunError(
            f"The images of {run.path} have changed since it began; train anew on them."
        )
    if {(image.part, image.path) for image in stored} != _parts_of(table):
        raise RunError(
            f"The images of {run.path} would be divided into other parts now than when it began; "
            "train anew on them."
        )
    progress.note(
        f"The images of {run.path} are the same, but are decoded by another version of tellapart "
        "or Pillow than when it began, so that single pixels may differ."
    )


def _has_checkpoint(run: Run) -> bool:
    return any(run.checkpoint_folder.rglob("*.safetensors"))


def _is_being_extended(run: Run) -> bool:
    """Whether epochs were added to a finished run and are not all done."""
    if not way_of(run.recipe).trains_in_epochs:
        return False
    from tellapart.training.by_fit import is_unfinished

    return is_unfinished(run.recipe, run.checkpoint_folder)


@dataclass(frozen=True)
class _Prepared:
    """Everything that is settled before training starts."""

    recipe: Recipe
    splits: Splits
    images: PixelCache
    preprocessing: Preprocessing
    device: str
    audit: BriefAudit
    copies: Copies
    #: Of each image CLEAN, COPY or NEAR, str (N,).
    leaked: NDArray[np.str_]


def _prepare(
    source: Source,
    recipe: Recipe,
    device: str,
    watch: Stopwatch,
    progress: Progress,
    stored: Sequence[StoredImage] = (),
) -> _Prepared:
    """Read the folder, decode its images, look for copies among them and split them.

    ``stored`` are the images of a run that is gone on with.
    """
    keep_memory()
    with watch.stage("Find images"):
        table = source.read(progress)
        # What cannot be split, or decided on, is said before any image is decoded.
        _require_decidable(_split(table, recipe).table, recipe)
    if recipe.method == "auto":
        recipe = settle_image_size(recipe, table)
    preprocessing = preprocessing_for(recipe.model, recipe.data)
    with watch.stage("Decode images"):
        images = source.pixels(table, preprocessing, progress=progress)
    with watch.stage("Look for copies"):
        copies = find_copies(images, progress=progress)
        splits = _split_apart(images.table, copies, recipe, stored)
        leaked = copies.leaked(splits.table.parts)
    _require_decidable(splits.table, recipe)
    audit = brief_audit(
        splits.table, images.digests, copies, left_out=not recipe.data.keep_leaks
    )
    unused = unused_settings(recipe)
    for sentence in [*unused, *splits.table.notes[len(table.notes) :], *audit.sentences]:
        progress.note(sentence)
    return _Prepared(recipe, splits, images, preprocessing, device, audit, copies, leaked)


def _split_apart(
    table: ImageTable, copies: Copies, recipe: Recipe, stored: Sequence[StoredImage]
) -> Splits:
    """Split a table, copies kept together; the parts of an older run as it made them.

    Older versions did not look for copies. Their runs are gone on with in the parts that they
    began with, if these are what such a version would make of the table.
    """
    splits = split_apart(
        table, copies, validation=recipe.data.validation, test=recipe.data.test, seed=recipe.seed
    )
    before = {(image.part, image.path) for image in stored}
    if before and before != _parts_of(splits.table):
        as_older = _split(table, recipe)
        if before == _parts_of(as_older.table):
            return as_older
    return splits


def _parts_of(table: ImageTable) -> set[tuple[str, str]]:
    return set(zip(table.parts.tolist(), table.paths, strict=True))


def _resolve_recipe(
    recipe: str | Path,
    settings: Iterable[str],
    seed: int | None,
    validation: float | None,
    test: float | None,
    fit: str | None,
    keep_leaks: bool,
) -> Recipe:
    """The recipe with the command line laid over it."""
    given = {
        "seed": seed, "data.validation": validation, "data.test": test, "data.fit": fit,
        "data.keep_leaks": "true" if keep_leaks else None,
    }
    overlay = [f"{key}={value}" for key, value in given.items() if value is not None]
    return apply_settings(load_recipe(recipe), [*texts(settings), *overlay])


def _require_decidable(table: ImageTable, recipe: Recipe) -> None:
    """The class that is looked for must be one, and validation must have images to choose on.

    Raises:
        RecipeError: there is no such class.
        DataError: the validation part has no images of it, or of no other class.
    """
    positive = recipe.decision.positive
    if positive is None:
        return
    if positive not in table.classes:
        hint = did_you_mean(positive, table.classes)
        raise RecipeError(
            f"--positive (decision.positive): there is no class '{shown(positive)}'.{hint} The "
            f"classes are {listed(table.classes, 20, 'and')}."
        )
    require_choosable(table.labels[table.parts == "validation"], table.classes, positive)


def _split(table: ImageTable, recipe: Recipe) -> Splits:
    return split(
        table, validation=recipe.data.validation, test=recipe.data.test, seed=recipe.seed
    )


def _run_info(source: Source, prepared: _Prepared, parent: Run | None) -> RunInfo:
    """What is known of a run from the start."""
    from tellapart import __version__

    table = prepared.splits.table
    return RunInfo(
        format=FORMAT,
        status=RUNNING,
        tellapart=__version__,
        created=datetime.now().astimezone().isoformat(timespec="seconds"),
        command=" ".join(["tellapart", *sys.argv[1:]]),
        classes=table.classes,
        preprocessing=prepared.preprocessing.to_dict(),
        source=source.to_dict(),
        data=DataInfo(
            root=str(table.root),
            fingerprint=prepared.images.key,
            images=len(table),
            counts={part: _class_counts(table, part) for part in PARTS},
            assignment=_assignment(table),
            notes=table.sentences,
            left_out=tuple(LeftOut(p.path, p.reason, p.kind) for p in table.problems[:1000]),
            num_left_out=len(table.problems),
            audit=tuple(prepared.audit.sentences),
            leaks=_leaks(prepared),
            groups=_num_groups(prepared),
        ),
        seed=prepared.recipe.seed,
        device=prepared.device,
        machine=describe_machine(prepared.device),
        parent=str(parent.path.absolute()) if parent is not None else None,
    )


#: Borderline pairs that ``run.json`` names.
_MOST_BORDERLINE = 20


def _leaks(prepared: _Prepared) -> dict[str, Leaks]:
    """What earlier parts have of validation and of test."""
    table, leaked = prepared.splits.table, prepared.leaked
    pairs = prepared.copies.borderline_across(table.parts)
    found = {}
    for part in PARTS[1:]:
        of_part = table.parts == part
        if not of_part.any():
            continue
        later = [
            BorderlinePair(table.paths[i], table.paths[j], round(float(score), 4))
            for i, j, score in zip(
                pairs.first.tolist(), pairs.second.tolist(), pairs.scores, strict=True
            )
            if part in (table.parts[i], table.parts[j])
        ]
        found[part] = Leaks(
            images=int(of_part.sum()),
            copies=int((leaked[of_part] == COPY).sum()),
            near=int((leaked[of_part] == NEAR).sum()),
            borderline=tuple(later[:_MOST_BORDERLINE]),
            num_borderline=len(later),
            not_sought=prepared.copies.not_sought,
        )
    return found


def _groups(prepared: _Prepared) -> NDArray[np.int64]:
    """Numbers of the images that belong together, as copies or as the table says: (N,)."""
    groups = with_groups(prepared.splits.table, prepared.copies.groups).groups
    return np.zeros(0, np.int64) if groups is None else groups


def _num_groups(prepared: _Prepared) -> int:
    return int((np.bincount(_groups(prepared), minlength=1) > 1).sum())


def _stored_images(prepared: _Prepared) -> list[StoredImage]:
    """What ``images.csv`` says: by part, and in it by path."""
    table, groups = prepared.splits.table, _groups(prepared)
    sizes = np.bincount(groups, minlength=1)
    return [
        StoredImage(
            part,
            prepared.images.digests[row],
            table.paths[row],
            int(groups[row]) if sizes[groups[row]] > 1 else None,
            prepared.leaked[row],
        )
        for part in PARTS
        for row in np.flatnonzero(table.parts == part).tolist()
    ]


def _choosing(prepared: _Prepared) -> NDArray[np.int64] | None:
    """Rows of the validation images that choose; None: all of them.

    Leaked ones do not choose, unless they are kept on purpose, or hardly any others are there
    (or none of the class that is looked for): a choice by a handful of images is a worse one.
    """
    table = prepared.splits.table
    rows = np.flatnonzero(table.parts == "validation")
    clean = rows[prepared.leaked[rows] == CLEAN]
    if prepared.recipe.data.keep_leaks or len(clean) == len(rows):
        return None
    positive = prepared.recipe.decision.positive
    if positive is not None:
        looked_for = table.labels[clean] == table.classes.index(positive)
        if looked_for.all() or not looked_for.any():
            return None
    return clean if len(clean) >= min(_FEWEST_TO_CHOOSE, len(rows) / 2) else None


#: Clean validation images from which on they alone choose.
_FEWEST_TO_CHOOSE = 20


def _class_counts(table: ImageTable, part: str) -> dict[str, int]:
    labels = table.labels[table.parts == part]
    counts = np.bincount(labels, minlength=len(table.classes)).tolist()
    return dict(zip(table.classes, counts, strict=True))


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
        choosing=_choosing(prepared),
    )


def _train_and_publish(
    run: Run, task: Task, prepared: _Prepared, watch: Stopwatch, record: Record
) -> Run:
    """Train and choose without a look at the test part, which only the last step reads."""
    with watch.stage("Train"):
        trained = train_task(task.without_test())
    from_cache = found_in_cache(record)
    with watch.stage("Predict"):
        scored = score_validation(task.without_test(), trained)
    # Until here a finished run that is extended stays as it was; from here its files change.
    data = replace(
        run.info.data, fingerprint=prepared.images.key, leaks=_leaks(prepared),
        groups=_num_groups(prepared),
    )  # fmt: skip
    run = run.update(
        status=RUNNING, stopped="", data=data, files={}, from_cache=from_cache
    )
    write_images(run.images_file, _stored_images(prepared))
    run = publish(run, task, prepared.splits, trained, scored, watch)
    if trained.stopped is None:  # else the other processes are not where this one is
        said_by_main(task.device, "")
    return run
