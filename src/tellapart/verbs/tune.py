"""``tellapart tune``: the best settings of one recipe, searched by Optuna on validation."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np

from tellapart.data.pixels import PixelCache
from tellapart.data.source import Source
from tellapart.data.table import PARTS
from tellapart.durations import seconds_of
from tellapart.errors import DataError, RecipeError, RunError, TellapartError
from tellapart.files import write_text
from tellapart.folders import make_folder
from tellapart.lock import locked
from tellapart.machine import resolve_device
from tellapart.models.inputs import preprocessing_for
from tellapart.notebook import card
from tellapart.pixels.preprocessing import Preprocessing
from tellapart.progress import DEFAULT, SILENT, Progress
from tellapart.recipe import Recipe
from tellapart.recipe_reading import apply_settings, load_recipe, recipe_to_yaml
from tellapart.result import DONE, ShortRepr
from tellapart.run import Run, RunGiven, open_run, remove_run, require_free, run_name
from tellapart.run_info import COMPLETE
from tellapart.stopwatch import Stopwatch
from tellapart.training.outcome import Task
from tellapart.training.ways import check_trainable, way_of
from tellapart.tuning.loop import Clock, Search, measure_own, run_trials, summary_counts
from tellapart.tuning.objective import objective_named
from tellapart.tuning.place import Asked, Place, settings_text, space_to_json
from tellapart.tuning.rows import OWN, TrialRow, best_of, rows_of, write_rows
from tellapart.tuning.space import Tuned, read_space, space_for, with_values
from tellapart.tuning.study import (
    check_names,
    end_stale_trials,
    mend_journal,
    open_study,
    require_optuna,
)
from tellapart.verbs.preparation import Prepared, choosing_rows, prepare
from tellapart.verbs.train import resume as resume_run
from tellapart.verbs.train import train
from tellapart.wording import duration, percent, plural, shown, texts

#: What of the images a tuning is begun with, and goes on with.
_IMAGES = ("folder", "classes", "group_by", "exclude", "root", "path_column", "label_column",
           "min_images", "ignore_unknown")  # fmt: skip
#: The best trials that the command prints.
_SHOWN = 5
#: Seconds between two writings of the page while trials go on.
_PAGE_SECONDS = 15.0


@dataclass(frozen=True, repr=False)
class Tuning(ShortRepr):
    """A tuning as it stands: its trials, and the run of the best settings."""

    path: Path
    recipe: Recipe
    #: The title of what is made small, such as "log loss".
    objective: str
    rows: tuple[TrialRow, ...]
    #: The run of the best settings; None where this process only added trials.
    winner: Run | None
    #: Why it ended.
    ended: str
    #: How often test images were scored by a run of this tuning.
    test_evaluations: int = 0

    @property
    def report(self) -> Path:
        """The page to look at."""
        return Place(self.path).report

    @property
    def best(self) -> TrialRow | None:
        """The best row on validation; the recipe as it stands is one of them."""
        return best_of(self.rows)

    @property
    def exit_code(self) -> int:
        return DONE

    def sentences(self) -> list[str]:
        """What was tried, what came of it, and how far the number can be believed."""
        counts = summary_counts(self.rows)
        own = next((row for row in self.rows if row.number == OWN), None)
        best = self.best
        found = [
            f"{plural(sum(counts.values()), 'trial')} of {self.recipe.name}: {counts['complete']} "
            f"to the end, {counts['pruned']} ended early, {counts['failed']} failed; "
            f"{self.ended}."
        ]
        if best is None or best.outcome is None:
            return found
        text = (
            f"Best on validation: {best.name}, {self.objective} {best.outcome.objective:.4f}, "
            f"accuracy {percent(best.outcome.accuracy)}"
        )
        if own is not None and own.outcome is not None and own is not best:
            text += (
                f" (the recipe as it is: {own.outcome.objective:.4f}, "
                f"{percent(own.outcome.accuracy)})"
            )
        found.append(f"{text}.")
        if not sum(counts.values()):
            found.append(
                "The time was enough for the recipe as it is alone: go on with 'tellapart tune "
                f"--resume {shown(self.path)} --time 30m'."
            )
        elif best.number == OWN:
            found.append("No settings that were tried are better than the recipe's own.")
        else:
            found.append(f"Its settings: {settings_text(best.settings)}.")
        if self.winner is not None:
            found += self._test_sentences(best, 1 + counts["complete"])
        return found

    def _test_sentences(self, best: TrialRow, candidates: int) -> Iterator[str]:
        if self.winner is None or best.outcome is None or "test" not in self.winner.metrics:
            return
        accuracy = self.winner.accuracy("test")
        if not accuracy.known:
            return
        lost = 100 * (best.outcome.accuracy - accuracy.measured()[0])
        yield (
            f"On the test part, which chose nothing: accuracy {accuracy.with_limits(2)}. "
            f"Validation says {abs(lost):.1f} points {'more' if lost >= 0 else 'less'}: it is the "
            f"best of {candidates}, chosen by that number."
        )
        if self.test_evaluations > 1:
            yield (
                f"The test part was scored {self.test_evaluations} times, once for each winner; "
                "none of it chose."
            )

    def lines(self) -> Iterator[str]:
        """What the command prints; the last line is the folder."""
        yield from self.sentences()
        best = sorted(
            (row for row in self.rows if row.outcome is not None),
            key=lambda row: row.outcome.objective if row.outcome else 0.0,
        )
        for row in best[:_SHOWN]:
            if row.outcome is not None:
                yield (
                    f"  {row.outcome.objective:.4f}  {percent(row.outcome.accuracy):>7}  "
                    f"{duration(row.outcome.seconds):>11}  {row.name}"
                )
        yield "report.html, trials.csv, best.yaml and the winner's run are in"
        yield shown(self.path)

    def to_json(self) -> dict[str, Any]:
        best = self.best
        return {
            "tuning": str(self.path),
            "objective": self.objective,
            "ended": self.ended,
            "counts": summary_counts(self.rows),
            "best": best.to_json() if best is not None else None,
            "winner": dict(self.winner.to_json()) if self.winner is not None else None,
            "test_evaluations": self.test_evaluations,
            "trials": [row.to_json() for row in self.rows],
        }

    def _repr_html_(self) -> str:
        return card(f"Tuning of {self.recipe.name}", sentences=self.sentences())


def tune(
    folder: str | Path | None = None,
    *,
    recipe: str | Path | None = None,
    time: str | float = "1h",
    trials: int | None = None,
    space: str | Path | None = None,
    objective: str = "log_loss",
    sampler: str = "tpe",
    pruner: str = "median",
    settings: Iterable[str] = (),
    runs: str | Path = "runs",
    run: str | Path | None = None,
    resume: RunGiven | None = None,
    seed: int | None = None,
    device: str = "auto",
    validation: float | None = None,
    test: float | None = None,
    classes: Sequence[str] = (),
    group_by: str | None = None,
    exclude: str | Path | None = None,
    root: str | Path | None = None,
    path_column: str | None = None,
    label_column: str | None = None,
    min_images: int = 0,
    ignore_unknown: bool = False,
    progress: Progress = DEFAULT,
) -> Tuning:
    """Search the settings of one recipe that do best on validation, and train with them.

    Optuna (Akiba et al. 2019) proposes settings and ends what looks hopeless; each trial trains
    without a look at the test part. In the end the best settings are trained as a run of their
    own, whose test part is scored once.

    Args:
        folder: the images, as for ``train``.
        recipe: name of a recipe of method probe or fit, or a YAML file.
        time: for all of it, the winner's training included: seconds, or as in "45m".
        trials: at most so many trials in this call; None: as many as the time allows.
        space: a YAML file of settings and ranges; None: those of the table for the method.
        objective: what is made small on validation: "log_loss", "error" or "balanced_error".
        sampler: Optuna's way to propose: "tpe", "gp", "qmc" or "random".
        pruner: Optuna's way to end hopeless trials: "median", "hyperband" or "none".
        settings, seed, validation, test: laid over the recipe, as for ``train``.
        runs: where the tuning's folder goes; run: this folder exactly.
        resume: the folder of a tuning to go on with. While another process tunes it, this one
            adds trials to it and leaves the end to the other.
        classes, group_by, exclude, root, path_column, label_column, min_images, ignore_unknown:
            how the images are read, as for ``train``.

    Returns:
        The tuning; ``winner`` is a run like any other, ``report`` the page to look at.

    Raises:
        TellapartError: something in the arguments or in the folder is wrong, or the time is too
            short for one training; no folder is left behind.
    """
    given = dict(locals())
    start = monotonic()
    seconds = seconds_of(time)
    require_optuna()
    if trials is not None and trials < 1:
        raise TellapartError(f"--trials {trials}: give a number from 1 up.")
    kind = resolve_device(device)
    if resume is not None:
        place = Place(Path(resume))
        asked, base, ranges = place.read()
        prepared = _prepare(asked.images, base, kind, progress)
        if prepared.images.key != asked.fingerprint:
            raise RunError(
                f"The images of {shown(place.path)} have changed since it began, or are decoded "
                "by another version; tune anew on them."
            )
        return _tune(place, asked, prepared, ranges, start, seconds, trials, progress)
    if folder is None:
        raise TellapartError("Which images? Give their folder: 'tellapart tune FOLDER'.")
    if recipe is None:
        raise TellapartError("Which recipe? Name it: --recipe probe, --recipe finetune, ...")
    check_names(sampler, pruner)
    objective_named(objective)
    base = _recipe(recipe, settings, seed, validation, test)
    ranges = read_space(space, base) if space is not None else space_for(base)
    if run is not None:
        require_free(Path(run))
    images = _images({name: given[name] for name in _IMAGES})
    prepared = _prepare(images, base, kind, progress)
    asked = Asked(images, objective, sampler, pruner, prepared.images.key, space_to_json(ranges))
    place = _new_place(asked, base, Path(runs), Path(run) if run is not None else None)
    try:
        return _tune(place, asked, prepared, ranges, start, seconds, trials, progress)
    except BaseException as error:
        if not place.best_file.is_file():  # nothing was measured that could be gone on with
            remove_run(Run(place.path))
        elif not isinstance(error, TellapartError):
            progress.note(f"Go on with 'tellapart tune --resume {place.path}'.")
        raise


# --- what is asked for ----------------------------------------------------------------------


def _recipe(
    recipe: str | Path,
    settings: Iterable[str],
    seed: int | None,
    validation: float | None,
    test: float | None,
) -> Recipe:
    overlay = {"seed": seed, "data.validation": validation, "data.test": test}
    given = [f"{key}={value}" for key, value in overlay.items() if value is not None]
    base = apply_settings(load_recipe(recipe), [*texts(settings), *given])
    check_trainable(base)
    if base.data.cross_validate is not None:
        raise RecipeError(
            f"data.cross_validate={base.data.cross_validate}: a tuning chooses on one validation "
            "part; leave it out, and cross-validate the recipe that wins."
        )
    return base


def _images(given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that say which images, as JSON has them; paths from the root on."""
    plain = dict(given)
    for name in ("folder", "exclude", "root"):
        if plain[name] is not None:
            plain[name] = str(Path(plain[name]).absolute())
    plain["classes"] = list(texts(given["classes"]))
    return plain


def _source(images: Mapping[str, Any], recipe: Recipe) -> Source:
    given = dict(images)
    for name in ("exclude", "root"):
        given[name] = Path(given[name]) if given[name] is not None else None
    return Source(
        folder=Path(given.pop("folder")),
        classes=tuple(given.pop("classes")) or recipe.data.classes,
        train=recipe.data.train_folders,
        validation=recipe.data.validation_folders,
        test=recipe.data.test_folders,
        **given,
    )


def _prepare(
    images: Mapping[str, Any], recipe: Recipe, device: str, progress: Progress
) -> Prepared:
    """The images in their parts.

    Raises:
        DataError: there are none that could choose.
    """
    prepared = prepare(_source(images, recipe), recipe, device, Stopwatch(), progress)
    if not (prepared.splits.table.parts == "validation").any():
        raise DataError(
            "Tuning chooses by validation images, and there are none; give --validation a share, "
            "such as 0.15."
        )
    return prepared


def _new_place(asked: Asked, recipe: Recipe, runs: Path, exact: Path | None) -> Place:
    def fill(new: Path) -> None:
        Place(new).write(asked, recipe)

    name = Source(Path(asked.images["folder"])).display_name
    wanted = exact or runs / run_name(name, f"tune-{recipe.name}", datetime.now())
    try:
        if exact is not None and exact.is_dir():
            fill(exact)
            return Place(exact)
        return Place(make_folder(wanted, fill))
    except OSError as error:
        raise RunError(
            f"The folder {shown(wanted)} cannot be made: {error.strerror}; choose another with "
            "--runs."
        ) from error


# --- the search -----------------------------------------------------------------------------


def _tune(
    place: Place,
    asked: Asked,
    prepared: Prepared,
    space: tuple[Tuned, ...],
    start: float,
    seconds: float,
    trials: int | None,
    progress: Progress,
) -> Tuning:
    """Trials until the time is up, then the winner's run; or only trials, beside a leader."""
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(place.path, "led by another process"))
            leads = True
        except RunError:
            leads = False
        if leads:
            mend_journal(place.journal)
        study = open_study(
            place.journal, sampler=asked.sampler, pruner=asked.pruner, seed=prepared.recipe.seed
        )
        earlier = max((row.after_seconds for row in rows_of(study, space)), default=0.0)
        clock = Clock(start, start + seconds, earlier)
        if not leads:
            clock = replace(clock, winner_factor=0.0, winner_seconds=0.0)
        elif not way_of(prepared.recipe).trains_in_epochs:
            clock = replace(clock, winner_factor=0.0)
        session = int(study.user_attrs.get("session", 0))
        title, shown_at = objective_named(asked.objective).title, -_PAGE_SECONDS

        def told(rows: Sequence[TrialRow]) -> None:
            nonlocal shown_at
            if not leads:
                return
            _keep(place, prepared.recipe, rows, space)
            if monotonic() - shown_at > _PAGE_SECONDS:
                so_far = Tuning(place.path, prepared.recipe, title, tuple(rows), None, "it goes on")
                _write_page(so_far, asked, space)
                shown_at = monotonic()

        search = Search(
            study, prepared.recipe, space, objective_named(asked.objective),
            _Tasks(prepared, _source(asked.images, prepared.recipe)).task_of, clock, told,
            lambda: not leads and int(study.user_attrs.get("ended", -1)) >= session,
        )  # fmt: skip
        if leads:
            session += 1
            study.set_user_attr("session", session)
            if stale := end_stale_trials(study):
                progress.note(f"{plural(stale, 'trial')} did not finish: the process was killed.")
            if "own" not in study.user_attrs:
                progress.note(f"First the recipe {prepared.recipe.name} as it is.")
                loud = _Tasks(prepared, _source(asked.images, prepared.recipe), progress)
                measure_own(replace(search, task_of=loud.task_of))
        else:
            progress.note(
                f"Another process leads the tuning in {shown(place.path)}; this one adds trials."
            )
        left = max(1, round(clock.deadline - monotonic()))
        with progress.stage("Tuning", left, "s") as work:
            ended = run_trials(search, work, most=trials)
        rows = search.rows()
        if not leads:
            return Tuning(place.path, prepared.recipe, title, rows, None, ended)
        study.set_user_attr("ended", session)
        _keep(place, prepared.recipe, rows, space)
        winner, times = _train_winner(place, asked, prepared, rows, study, progress)
        tuning = Tuning(place.path, prepared.recipe, title, rows, winner, ended, times)
        _write_page(tuning, asked, space)
        return tuning


class _Tasks:
    """The tasks of a tuning's recipes: one split, and pixels at the size that each asks for."""

    def __init__(self, prepared: Prepared, source: Source, progress: Progress = SILENT) -> None:
        self._prepared, self._source, self._progress = prepared, source, progress
        self._pixels: dict[Preprocessing, PixelCache] = {prepared.preprocessing: prepared.images}

    def task_of(self, recipe: Recipe) -> Task:
        """The task of a recipe.

        Raises:
            DataError: the pictures cannot be decoded any more as they were at first.
        """
        prepared = self._prepared
        table = prepared.splits.table
        preprocessing = preprocessing_for(recipe.model, recipe.data)
        if preprocessing not in self._pixels:
            found = self._source.pixels(
                self._source.read(), preprocessing, group=False, progress=self._progress
            )
            if found.table.paths != table.paths:
                raise DataError("The images have changed since the tuning began; tune anew.")
            self._pixels[preprocessing] = found
        return Task(
            recipe=recipe,
            images=self._pixels[preprocessing],
            labels=table.labels,
            rows={part: np.flatnonzero(table.parts == part) for part in PARTS},
            classes=table.classes,
            preprocessing=preprocessing,
            device=prepared.device,
            progress=self._progress,
            choosing=choosing_rows(prepared),
        )


# --- the winner -----------------------------------------------------------------------------


def _best_recipe(recipe: Recipe, rows: Sequence[TrialRow]) -> Recipe:
    best = best_of(rows)
    return with_values(recipe, best.settings) if best is not None else recipe


def _train_winner(
    place: Place,
    asked: Asked,
    prepared: Prepared,
    rows: Sequence[TrialRow],
    study: Any,
    progress: Progress,
) -> tuple[Run, int]:
    """The run of the best settings, and how often the test part was scored by such a run."""
    wanted = _best_recipe(prepared.recipe, rows)
    if (place.winner / "run.json").is_file():
        known = open_run(place.winner, complete=False)
        same = known.recipe.model_copy(update={"test_time": wanted.test_time}) == wanted
        if same and known.status == COMPLETE:
            return known, _times(study)
        if same:
            return _counted(resume_run(known, device=prepared.device, progress=progress), study)
        remove_run(known)  # other settings have turned out better since
    images = dict(asked.images)
    made = train(
        images.pop("folder"), recipe=place.best_file, run=place.winner, device=prepared.device,
        time=0 if wanted.method == "auto" else None, progress=progress, **images,
    )  # fmt: skip
    if made.status != COMPLETE:
        raise KeyboardInterrupt
    return _counted(made, study)


def _times(study: Any) -> int:
    return int(study.user_attrs.get("test_evaluations", 0))


def _counted(run: Run, study: Any) -> tuple[Run, int]:
    study.set_user_attr("test_evaluations", _times(study) + 1)
    return run, _times(study)


def _keep(place: Place, recipe: Recipe, rows: Sequence[TrialRow], space: tuple[Tuned, ...]) -> None:
    """Bring best.yaml and trials.csv up to what is known."""
    write_text(place.best_file, recipe_to_yaml(_best_recipe(recipe, rows)))
    write_rows(place.trials_file, rows, space)


def _write_page(tuning: Tuning, asked: Asked, space: tuple[Tuned, ...]) -> None:
    from tellapart.report.of_tuning import write_tuning_report

    name = Source(Path(asked.images["folder"])).display_name
    write_tuning_report(
        tuning.report, tuning.recipe, tuning.rows, space,
        title=f"{name}: {tuning.recipe.name} tuned", objective=tuning.objective,
        sentences=tuning.sentences(), winner=tuning.winner,
        command=_command(asked.images, Place(tuning.path).best_file),
        facts={"Images": asked.images["folder"], "Sampler": asked.sampler,
               "Pruner": asked.pruner, "Seed": str(tuning.recipe.seed)},
    )  # fmt: skip


def _command(images: Mapping[str, Any], best: Path) -> str:
    """The command that trains with the best settings again."""
    words = ["tellapart", "train", str(images["folder"]), "--recipe", str(best.absolute())]
    for name in _IMAGES[1:]:
        value = images[name]
        option = f"--{name.replace('_', '-')}"
        if value is True:
            words.append(option)
        elif value:
            words += [option, ",".join(value) if isinstance(value, list) else str(value)]
    return shlex.join(words)
