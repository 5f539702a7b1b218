"""One trial: train a recipe without a look at the test part, and score it on validation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from time import monotonic, perf_counter
from typing import Any

from tellapart.deadline import OutOfTimeError, UntilDeadline
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
        self,
        trial: Any = None,
        deadline: float | None = None,
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
        blind = replace(blind, progress=UntilDeadline(task.progress, watch.deadline, now=monotonic))
    try:
        trained = train_task(blind)
        if trained.stopped is not None:
            if trained.stopped.reason == INTERRUPTED:
                raise KeyboardInterrupt
            raise EndedEarlyError(trained.stopped.reason)
        validation = score_validation(blind, trained).validation
    except OutOfTimeError as error:
        raise EndedEarlyError(TIME_LIMIT) from error
    if validation is None:
        raise ValueError("tuning without validation images")
    return Outcome(
        objective=objective.of(validation),
        accuracy=1.0 - error_of(validation),
        log_loss=log_loss_of(validation),
        seconds=perf_counter() - started,
        epochs=watch.epochs,
    )
