"""One trial: train a recipe without a look at the test part, and score it on validation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from time import monotonic, perf_counter
from typing import Any

from tellapart.progress import SILENT, Progress, Work
from tellapart.training.callbacks import Callback
from tellapart.training.outcome import Task
from tellapart.training.position import INTERRUPTED, TIME_LIMIT
from tellapart.training.scoring import score_validation
from tellapart.training.ways import train_task, way_of
from tellapart.tuning.objective import Objective, error_of, log_loss_of
from tellapart.tuning.rows import PRUNED, Outcome


class EndedEarlyError(Exception):
    """A trial that did not come to its end; ``reason`` is PRUNED or TIME_LIMIT."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Watch(Callback):
    """Tells Optuna of each epoch's validation loss, and ends what is hopeless or out of time."""

    def __init__(
        self, trial: Any = None, deadline: float | None = None,
        each: Callable[[], None] = lambda: None,
    ) -> None:
        """``trial`` None: nothing is pruned. ``deadline`` is one of ``time.monotonic``."""
        self._trial, self.deadline, self._each = trial, deadline, each
        #: Epochs so far, of all stages.
        self.epochs = 0

    def end_epoch(self, history: Sequence[Mapping[str, float]]) -> str | None:
        """Report the newest epoch; a word where the training should end."""
        self.epochs += 1
        self._each()
        if self._trial is not None:
            self._trial.report(history[-1]["validation_data_loss"], self.epochs)
            if self._trial.should_prune():
                return PRUNED
        if self.deadline is not None and monotonic() + history[-1]["seconds"] > self.deadline:
            return TIME_LIMIT
        return None


class UntilDeadline:
    """Progress that ends the work at the first step after the deadline; it reports nothing."""

    def __init__(self, deadline: float, progress: Progress = SILENT) -> None:
        """``deadline`` is one of ``time.monotonic``; what is reported goes on to ``progress``."""
        self._deadline, self._progress = deadline, progress

    @contextmanager
    def stage(self, name: str, total: int | None, unit: str = "") -> Iterator[Work]:
        """A stage whose work ends in time."""
        with self._progress.stage(name, total, unit) as work:
            yield _TimedWork(work, self._deadline)

    def note(self, text: str) -> None:
        """Hand the note on."""
        self._progress.note(text)


class _TimedWork:
    def __init__(self, work: Work, deadline: float) -> None:
        self._work, self._deadline = work, deadline

    def advance(self, amount: int = 1) -> None:
        self._work.advance(amount)
        if monotonic() > self._deadline:
            raise EndedEarlyError(TIME_LIMIT)

    def status(self, text: str) -> None:
        self._work.status(text)


def try_task(task: Task, objective: Objective, watch: Watch) -> Outcome:
    """Train a task and score it on validation.

    Args:
        task: of the recipe that is tried; its test part is taken away first.

    Raises:
        EndedEarlyError: the watch ended it.
        KeyboardInterrupt: Ctrl-C, at whatever epoch.
        TellapartError: the recipe and the images do not go together, or the result is nonsense.
    """
    started = perf_counter()
    blind = replace(task.without_test(), callbacks=(*task.callbacks, watch))
    if not way_of(task.recipe).trains_in_epochs and watch.deadline is not None:
        blind = replace(blind, progress=UntilDeadline(watch.deadline, task.progress))
    trained = train_task(blind)
    if trained.stopped is not None:
        if trained.stopped.reason == INTERRUPTED:
            raise KeyboardInterrupt
        raise EndedEarlyError(trained.stopped.reason)
    validation = score_validation(blind, trained).validation
    if validation is None:
        raise ValueError("tuning without validation images")
    return Outcome(
        objective=objective.of(validation),
        accuracy=1.0 - error_of(validation),
        log_loss=log_loss_of(validation),
        seconds=perf_counter() - started,
        epochs=watch.epochs,
    )
