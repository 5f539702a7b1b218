"""The search of ``tellapart train``: what it finds is kept in the run's folder, whole each time.

The test part is read for the first answer and for the final one, and for nothing in between: a
better classifier that the search goes on from is published with its validation numbers alone.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from tellapart.data.folds import together_in
from tellapart.data.pixels import PixelCache
from tellapart.data.split import Splits
from tellapart.errors import FileError, RecipeError, RunError
from tellapart.files import write_text
from tellapart.folders import reason_of, replace_folder
from tellapart.lock import locked
from tellapart.progress import Progress
from tellapart.recipe import Recipe
from tellapart.recipe_reading import load_recipe, recipe_to_yaml
from tellapart.run import Run, open_run
from tellapart.run_info import COMPLETE, INTERRUPTED, RUNNING, write_info
from tellapart.search.budget import Clock, read_time
from tellapart.search.costs import Costs
from tellapart.search.loop import Found, Known, first_trial, search
from tellapart.search.outcome import Outcome, judged, outcome_of_run
from tellapart.search.record import (
    CANDIDATES,
    SEARCH_FILE,
    SearchRecord,
    write_recipe,
    write_record,
)
from tellapart.search.space import Candidate, Facts, first_candidate
from tellapart.search.study import Study, without_test
from tellapart.search.symmetry import keeps_class
from tellapart.search.trials import is_nothing_learned
from tellapart.stopwatch import Stopwatch
from tellapart.training.auto import typical_side
from tellapart.training.callbacks import HistoryFile
from tellapart.training.outcome import Task, Trained
from tellapart.training.scoring import Scored
from tellapart.verbs.preparation import Prepared, choosing_rows
from tellapart.verbs.scoring import publish
from tellapart.wording import duration

#: What a search replaces in a run's folder; all else (explanations, evaluations) stays.
_OWN = frozenset({
    "recipe.yaml", "run.json", "model.safetensors", "history.csv", "predictions", "metrics.json",
    "figures", "report.html", "images.csv", "unknown.safetensors",
    "known.safetensors", "thumbnails.npy", SEARCH_FILE,
    CANDIDATES, "checkpoint",
})  # fmt: skip
#: Said of a run whose search goes on, and by a kill did not.
_NOT_YET = (
    "The search was going on when this was written, and the test part is not read before it has "
    "ended: these are validation numbers, by which this classifier was chosen."
)
#: Where the first answer is wrong about less than this share, frozen features suit the pictures.
_SUITS = 0.1
#: Images to train on below which their own answers may be the best head; and how many times as many
#: the largest class has as the smallest where classes are unequal.
_FEW, _UNEQUAL = 500, 3


def search_seconds(recipe: Recipe, time: str | float | None) -> float:
    """Seconds that training and search may take; 0: the first answer only.

    Args:
        time: as it was given; None: what the recipe says.

    Raises:
        RecipeError: it is no time, or the recipe searches nothing.
    """
    searches = recipe.method == "auto" and recipe.data.cross_validate is None
    if time is None:
        seconds = recipe.time_limit_seconds or 0.0 if searches else 0.0
        return _require_no_int8(recipe, seconds)
    seconds = read_time(time)
    if recipe.data.cross_validate is not None:
        raise RecipeError("--time has no effect beside --cross-validate; leave one of them out.")
    if recipe.method != "auto":
        raise RecipeError(
            f"--time is how long recipe auto searches, and recipe {recipe.name} (method "
            f"'{recipe.method}') is trained as it stands; leave one of the two out."
        )
    return _require_no_int8(recipe, seconds)


def _require_no_int8(recipe: Recipe, seconds: float) -> float:
    """The seconds, if what is searched has the engines that the search counts on.

    Raises:
        RecipeError: a backbone is asked for in int8.
    """
    if seconds and recipe.probe.precision == "int8":
        raise RecipeError(
            "probe.precision=int8 is of one probe, and a search tries many networks; give --time "
            "0, or --recipe probe."
        )
    return seconds


@dataclass
class _Folder:
    """Keeps what a search finds in the run's folder."""

    run: Run
    splits: Splits
    #: Of the classifier that the folder has when the search begins.
    images: PixelCache
    watch: Stopwatch
    costs: Costs
    locks: ExitStack

    def trial(self, record: SearchRecord, candidate: Candidate) -> None:
        """Write down a trial and its recipe."""
        write_recipe(self.run.path, record.trials[-1].number, candidate.recipe)
        write_record(self.run.path, record)

    def best(self, outcome: Outcome, record: SearchRecord) -> None:
        """Replace the folder by one with a better classifier, without a look at the test part."""
        began = self.watch.total()
        trained = replace(outcome.trained, notes=[*outcome.trained.notes, _NOT_YET])
        self.replace(replace(outcome, task=without_test(outcome.task), trained=trained), record)
        self.costs.publishing = max(self.costs.publishing * 0.5, self.watch.total() - began)

    def replace(self, outcome: Outcome, record: SearchRecord) -> None:
        """Fill a folder beside the run's with all that makes a run, and let them change places.

        Raises:
            RunError: it cannot be written; the run is as it was.
        """
        path = self.run.path
        try:
            replace_folder(path, lambda new: self._fill(new, outcome, record), _OWN.__contains__)
        except (OSError, FileError) as error:
            raise RunError(
                f"The better classifier could not be written to {path} ({reason_of(error)}); the "
                f"run has the one before. 'tellapart train --resume {path}' goes on."
            ) from error
        self.run = open_run(path)

    def _fill(self, new: Path, outcome: Outcome, record: SearchRecord) -> None:
        old, task, trained = self.run, outcome.task, outcome.trained
        for name in ("predictions", "figures"):
            (new / name).mkdir()
        recipe = trained.recipe or outcome.candidate.recipe
        write_text(new / "recipe.yaml", recipe_to_yaml(recipe))
        data = replace(old.info.data, fingerprint=task.images.key)
        info = replace(
            old.info, status=RUNNING, stopped="", preprocessing=task.preprocessing.to_dict(),
            data=data, files={}, facts={}, notes=(), model_digest="",
        )  # fmt: skip
        write_info(new / "run.json", asdict(info))
        shutil.copyfile(old.images_file, new / old.images_file.name)
        shutil.copytree(old.path / CANDIDATES, new / CANDIDATES)
        write_record(new, record)
        made = Run(new, old.path)
        if trained.history:
            _write_history(made.history_file, trained.history)
        made = publish(made, task, self.splits, trained, outcome.scored, self.watch)
        if "test" not in task.rows:
            made.update(status=INTERRUPTED, stopped=INTERRUPTED)
        self.locks.enter_context(
            locked(new, f"{old.path} is being trained by another process; wait for its end.")
        )

    def rewrite(self, record: SearchRecord) -> None:
        """Write the report again, with the search in it, about the classifier that is there."""
        from tellapart.report.of_run import write_run_report

        run = self.run
        write_record(run.path, record)
        shown = {part: run.scored_predictions(part) for part in run.parts}
        write_run_report(run, shown, self.images, self.splits, self.watch.rounded())
        self.run = run.update(seconds=self.watch.rounded())


def _write_history(file: Path, history: Sequence[Mapping[str, float]]) -> None:
    """``history.csv`` of a training whose epochs were not written as they came."""
    for number in sorted({int(row["stage"]) for row in history}):
        earlier = [row for row in history if row["stage"] < number]
        own = [row for row in history if row["stage"] == number]
        HistoryFile(file, number, earlier).end_epoch(own)


def search_on(
    run: Run,
    prepared: Prepared,
    task: Task,
    trained: Trained,
    scored: Scored,
    clock: Clock,
    watch: Stopwatch,
    progress: Progress,
) -> Run:
    """Go on from the first answer, which is published, until the time is over.

    Returns:
        The run, whose folder has the best that was found.

    Raises:
        RunError: the folder cannot be written; it has the best before.
    """
    size = task.preprocessing.height
    first = Outcome(first_candidate(task.recipe, size), task, trained, scored)
    study = study_of(prepared)
    if clock.left() > 0:
        first = judged(first, study)
    record = SearchRecord(
        len(first.losses), clock.seconds, (first_trial(first, clock.used()),),
        by_folds=first.held_out is not None,
    )  # fmt: skip
    if clock.left() <= 0:
        progress.note(
            f"The first answer alone took {duration(clock.used())}, longer than the "
            f"{duration(clock.seconds)} that were given; nothing more was tried."
        )
    (run.path / CANDIDATES).mkdir(exist_ok=True)
    write_recipe(run.path, 1, first.candidate.recipe)
    write_record(run.path, record)
    costs = _costs_of(watch, task)
    return _search(run, prepared, study, first, first, record, clock, costs, watch, progress)


def _search(
    run: Run,
    prepared: Prepared,
    study: Study,
    first: Outcome,
    best: Outcome,
    record: SearchRecord,
    clock: Clock,
    costs: Costs,
    watch: Stopwatch,
    progress: Progress,
) -> Run:
    with ExitStack() as locks:
        folder = _Folder(run, prepared.splits, best.task.images, watch, costs, locks)

        guess = _guess(study, first)
        seen: list[Facts] = []

        def facts(look: bool) -> Facts:
            if look and not seen:
                seen.append(_looked(study, first, guess))
            return seen[0] if seen else guess

        with watch.stage("Search"):
            known = [Known(1, first)]
            if best is not first:
                known.append(Known(record.best.number, best))
            found = search(study, facts, known, record, clock, costs, folder, progress)
        _say_end(found, study, progress)
        has_test = bool(len(best.task.rows["test"]))
        if found.best is best and ("test" in folder.run.parts or not has_test):
            folder.rewrite(found.record)
        else:
            folder.replace(found.best, found.record)
        if found.interrupted:
            folder.run = folder.run.update(status=INTERRUPTED, stopped=INTERRUPTED)
        elif folder.run.status != COMPLETE:
            folder.run = folder.run.update(status=COMPLETE, stopped="")
        return folder.run


def _say_end(found: Found, study: Study, progress: Progress) -> None:
    if not found.interrupted:
        progress.note(" ".join(filter(None, (found.record.ended, found.record.more))))
    if is_nothing_learned(found.best, study.largest_share):
        progress.note(
            "Nothing was learned: the best candidate is not above always saying the most frequent "
            "class by more than chance. 'tellapart inspect' shows what may be wrong with the "
            "images and labels."
        )


def study_of(prepared: Prepared) -> Study:
    """What the candidates are trained on and judged by."""
    table = prepared.splits.table
    return Study(
        prepared.source, table, prepared.device, choosing_rows(prepared),
        together_in(table, prepared.copies.groups),
    )  # fmt: skip


def _guess(study: Study, first: Outcome) -> Facts:
    """What the space depends on, by the files' headers."""
    size = first.candidate.size
    suits = first.errors <= _SUITS * len(first.losses)
    side = study.source.with_files(lambda: typical_side(study.table)) or size
    labels = study.table.labels[study.rows("train")]
    counts = np.bincount(labels, minlength=len(study.table.classes))
    unequal = bool(counts.min() and counts.max() >= _UNEQUAL * counts.min())
    return Facts(
        first.candidate.recipe, size, side, suits=suits, few=len(labels) < _FEW, unequal=unequal
    )


def _looked(study: Study, first: Outcome, guess: Facts) -> Facts:
    """The same, with what leaves the class of a picture as it is."""
    chance = study.largest_share
    mirrors = keeps_class(first, ("flip",), chance)
    turns = mirrors and keeps_class(first, ("turn_90", "turn_180"), chance)
    return replace(guess, mirrors=mirrors, turns=turns)


def _costs_of(watch: Stopwatch, task: Task) -> Costs:
    """What the first answer says of this machine."""
    costs = Costs()
    seconds = watch.seconds
    number = max(1, len(task.images))
    if (decoding := seconds.get("Decode images", 0.0)) > 0.5:
        costs.decoding = decoding / number
    costs.publishing = 2.0 + sum(
        seconds.get(name, 0.0)
        for name in ("Predict", "Learn what is unknown", "Save the model", "Measure",
                     "Keep what was seen", "Write the report")
    )  # fmt: skip
    size = task.preprocessing.height
    costs.sizes.add(size)
    backbone = getattr(task.recipe.model, "backbone", "")
    costs.extracted |= {(backbone, size, view) for view in task.recipe.probe.views}
    costs.saw_features(
        seconds.get("Train", 0.0) - 3.0, number * len(task.recipe.probe.views), size, backbone
    )
    return costs


def begin_search(
    run: Run, prepared: Prepared, clock: Clock, watch: Stopwatch, progress: Progress
) -> Run:
    """Search from the first answer of a run that has nothing else, as if it had just been given.

    Raises:
        RunError: the folder cannot be written; it has the best before.
    """
    task = study_of(prepared).task(prepared.recipe, progress)
    first = _first_again(task, prepared.recipe, progress)
    return search_on(run, prepared, task, first.trained, first.scored, clock, watch, progress)


def resume_search(
    run: Run,
    record: SearchRecord,
    prepared: Prepared,
    clock: Clock,
    watch: Stopwatch,
    progress: Progress,
) -> Run:
    """Go on with the search of a run, from what its record says was tried."""
    study = study_of(prepared)
    recipe = load_recipe(run.path / record.trials[0].recipe)
    task = study.task(recipe, progress)
    best_recipe = load_recipe(run.path / record.best.recipe)
    trial = record.best
    size = best_recipe.data.image_size or task.preprocessing.height
    candidate = Candidate(trial.name, trial.description, trial.family, best_recipe, size, 1.0, "")
    best = outcome_of_run(run, study, candidate)
    best = judged(best, study) if record.by_folds else best
    if record.best.number == 1:
        first = best
    else:
        first = _first_again(task, recipe, progress)
        first = judged(first, study) if record.by_folds else first
    record = replace(
        record, seconds=record.seconds_used + clock.seconds, seconds_before=record.seconds_used,
        ended="", more="",
    )  # fmt: skip
    costs = Costs()
    costs.sizes |= {task.preprocessing.height, size}
    return _search(run, prepared, study, first, best, record, clock, costs, watch, progress)


def _first_again(task: Task, recipe: Recipe, progress: Progress) -> Outcome:
    """The first answer, whose features are usually in the cache."""
    from tellapart.training.scoring import score_validation
    from tellapart.training.ways import train_task

    trained = train_task(task.without_test())
    scored = score_validation(task.without_test(), trained)
    size = task.preprocessing.height
    return Outcome(first_candidate(recipe, size), task, trained, scored)


def time_left(record: SearchRecord) -> float:
    """Seconds of the time asked for that a search which was cut off did not use."""
    return max(0.0, record.seconds - record.seconds_used)
