"""Trial after trial until the time is up: Optuna proposes, a trial answers.

Several processes may be in this loop on one study at a time, each with its own clock.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from time import monotonic, perf_counter
from typing import TYPE_CHECKING, Any

from tellapart.errors import TellapartError, TrainingError
from tellapart.leftovers import owner
from tellapart.progress import Work
from tellapart.recipe import Recipe
from tellapart.training.outcome import Task
from tellapart.training.position import TIME_LIMIT
from tellapart.training.ways import check_trainable, way_of
from tellapart.tuning.objective import Objective
from tellapart.tuning.rows import COMPLETE, FAILED, OWN, PRUNED, TrialRow, best_of, rows_of
from tellapart.tuning.space import Tuned, with_values
from tellapart.tuning.study import distributions, values_of
from tellapart.tuning.trial import EndedEarlyError, Watch, try_task
from tellapart.wording import shortened, shown

if TYPE_CHECKING:
    import optuna

#: Trials in a row that all fail before the tuning gives up: the fault is not in their settings.
FAILURES = 5
#: Proposals in a row that were tried already before the tuning ends: nothing new is left.
REPEATS = 25


@dataclass
class Clock:
    """The time of one process; all moments are those of ``time.monotonic``."""

    start: float
    deadline: float
    #: Seconds of tuning that had passed before this process began.
    earlier: float = 0.0
    #: How often the winner's trial is paid again, when it is trained at the end: 0 where this
    #: process does not, or finds its features in the cache.
    winner_factor: float = 1.0
    #: For what follows training: scoring the test part, and the report.
    winner_seconds: float = 6.0

    @property
    def passed(self) -> float:
        """Seconds of tuning so far, those of earlier calls included."""
        return self.earlier + monotonic() - self.start

    def trials_end(self, best: TrialRow | None) -> float:
        """When the last trial must have ended, so that the winner can be trained."""
        if best is None or best.outcome is None:
            return self.deadline
        return self.deadline - self.winner_factor * best.outcome.seconds - self.winner_seconds


@dataclass(frozen=True)
class Search:
    """All that the trials of a tuning share."""

    study: optuna.Study
    recipe: Recipe
    space: Sequence[Tuned]
    objective: Objective
    #: Makes the task of a recipe: its pixels at the size that it asks for.
    task_of: Callable[[Recipe], Task]
    clock: Clock
    #: Called after each trial with all rows.
    told: Callable[[Sequence[TrialRow]], None]
    #: Whether somebody else says that it is over.
    is_over: Callable[[], bool] = lambda: False

    def rows(self) -> tuple[TrialRow, ...]:
        return rows_of(self.study, self.space)


def measure_own(search: Search) -> None:
    """Measure the recipe as it stands, with which every trial is compared.

    Raises:
        TrainingError: not even that comes to an end in the time given.
    """
    started = perf_counter()
    # The winner takes about as long again.
    watch = Watch(deadline=(search.clock.start + search.clock.deadline) / 2)
    try:
        outcome = try_task(search.task_of(search.recipe), search.objective, watch)
    except EndedEarlyError:
        seconds = perf_counter() - started
        so_far, more = "", 4 * seconds
        if way_of(search.recipe).trains_in_epochs:
            epochs = sum(stage.epochs for stage in search.recipe.stages)
            so_far = f": {watch.epochs} of {epochs} epochs were done"
            more = 3 * epochs * seconds / max(1, watch.epochs)
        raise TrainingError(
            f"Half of the time is up, and the recipe {search.recipe.name} has not been trained "
            f"once{so_far}; give more, such as --time {math.ceil(more / 60)}m."
        ) from None
    search.study.set_user_attr(
        "own", {"outcome": outcome.to_json(), "after_seconds": search.clock.passed}
    )
    search.told(search.rows())


def run_trials(search: Search, work: Work, *, most: int | None = None) -> str:
    """Try settings until the time is up, ``most`` trials are done, or nothing new is left.

    Returns:
        Why it ended, in a few words.

    Raises:
        TrainingError: the first trials all fail.
        KeyboardInterrupt: Ctrl-C; the trial in progress is marked as failed.
    """
    ranges = distributions(search.space)
    done = failures = repeats = 0
    at = monotonic()

    def advance() -> None:
        nonlocal at
        whole = int(monotonic() - at)
        work.advance(whole)
        at += whole

    while most is None or done < most:
        rows = search.rows()
        best = best_of(rows)
        end = search.clock.trials_end(best)
        if monotonic() + _usual_seconds(rows, search.recipe) > end:
            return "the time is up"
        if search.is_over():
            return "the process that leads has ended the tuning"
        trial = search.study.ask(ranges)
        trial.set_user_attr("owner", owner())
        if (known := _tried(rows, values_of(trial, search.space))) is not None:
            _tell(search, trial, known)
            repeats += 1
            if repeats == REPEATS:
                return "nothing new is left to try"
            continue
        repeats = 0
        work.status(_status(trial.number, best))
        problem = _one_trial(search, trial, end, advance)
        done += 1
        advance()
        search.told(search.rows())
        failures = failures + 1 if problem else 0
        if failures == FAILURES and done == failures:
            raise TrainingError(f"The first {FAILURES} trials all failed; the last one: {problem}")
    return f"{most} trials are done"


def _one_trial(search: Search, trial: Any, end: float, each: Callable[[], None]) -> str:
    """Train what a trial proposes and tell Optuna; returns what went wrong, or ""."""
    from optuna.trial import TrialState

    started, problem = perf_counter(), ""
    watch = Watch(trial, end, each)
    state, outcome = TrialState.FAIL, None
    try:
        recipe = with_values(search.recipe, values_of(trial, search.space))
        check_trainable(recipe)
        outcome = try_task(search.task_of(recipe), search.objective, watch)
        state = TrialState.COMPLETE
    except EndedEarlyError as early:
        state = TrialState.PRUNED
        if early.reason == TIME_LIMIT:
            problem = "the time was up"
    except KeyboardInterrupt:
        problem = "interrupted"
        raise
    # Settings that diverge, or need more memory than there is, are an answer about these settings.
    except (TellapartError, MemoryError, RuntimeError) as error:
        problem = _problem(error)
    finally:
        attributes: dict[str, Any] = {
            "seconds": perf_counter() - started,
            "epochs": watch.epochs,
            "after_seconds": search.clock.passed,
        }
        if outcome is not None:
            attributes["outcome"] = outcome.to_json()
        if problem:
            attributes["problem"] = problem
        for name, value in attributes.items():
            trial.set_user_attr(name, value)
        search.study.tell(trial, outcome.objective if outcome else None, state=state)
    return problem if state == TrialState.FAIL else ""


def _tell(search: Search, trial: Any, known: TrialRow) -> None:
    """Settings that were tried already have the answer that they had."""
    from optuna.trial import TrialState

    if known.outcome is None:
        search.study.tell(trial, state=TrialState.FAIL)
        return
    trial.set_user_attr("outcome", known.outcome.to_json())
    trial.set_user_attr("after_seconds", search.clock.passed)
    trial.set_user_attr("problem", f"as {known.name}")
    search.study.tell(trial, known.outcome.objective)


def _tried(rows: Sequence[TrialRow], values: object) -> TrialRow | None:
    return next(
        (row for row in rows if row.number != OWN and row.state in (COMPLETE, FAILED)
         and row.settings == values),
        None,
    )  # fmt: skip


def _usual_seconds(rows: Sequence[TrialRow], recipe: Recipe) -> float:
    """How long a trial that comes to its end usually takes.

    The recipe as it stands is a cold start, which says nothing where features are kept.
    """
    done = [row.seconds for row in rows if row.state == COMPLETE and row.seconds]
    trials = done[1:] if done and rows[0].number == OWN else done
    if not trials and way_of(recipe).trains_in_epochs:
        trials = done
    return median(trials) if trials else 0.0


def _problem(error: BaseException) -> str:
    """One short line, whatever a library put into its error."""
    text = " ".join(str(error).split()) or type(error).__name__
    if not isinstance(error, TellapartError):
        text = f"{type(error).__name__}: {text}"
    return shortened(shown(text), 300)


def _status(number: int, best: TrialRow | None) -> str:
    if best is None or best.outcome is None:
        return f"trial {number}"
    return f"trial {number}; best so far {best.outcome.objective:.4f} ({best.name})"


def summary_counts(rows: Sequence[TrialRow]) -> dict[str, int]:
    """How many trials ended in each way, the recipe as it stands left out."""
    states = [row.state for row in rows if row.number != OWN]
    return {state: states.count(state) for state in (COMPLETE, PRUNED, FAILED)}
