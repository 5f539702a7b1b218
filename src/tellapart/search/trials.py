"""Trying one candidate: train it in memory, score it on validation, and record what became of it.

A candidate that crashes or runs out of memory is recorded with its sentence, and the search goes
on: it cost its time and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from time import perf_counter

import numpy as np

from tellapart.deadline import OutOfTimeError, UntilDeadline
from tellapart.progress import Progress
from tellapart.recipe import BackboneModel
from tellapart.search.budget import Clock
from tellapart.search.costs import Costs, networks_of
from tellapart.search.outcome import Outcome, judged
from tellapart.search.plan import Planned
from tellapart.search.record import Status
from tellapart.search.space import Candidate
from tellapart.search.study import Study
from tellapart.search.timing import seconds_an_image
from tellapart.training.outcome import Task
from tellapart.training.position import INTERRUPTED
from tellapart.training.scoring import score_validation
from tellapart.training.ways import train_task

#: A probe is ended after so many times what it should have cost, and some seconds.
_MOST_TIMES, _GRACE = 3.0, 10.0


@dataclass(frozen=True)
class Tried:
    """What became of a candidate; ``outcome`` is None where there is no result."""

    status: Status
    seconds: float
    outcome: Outcome | None = None
    error: str = ""


def try_candidate(
    planned: Planned, study: Study, costs: Costs, clock: Clock, progress: Progress
) -> Tried:
    """Train and score a candidate; it is ended where it would overrun the time.

    Raises:
        KeyboardInterrupt: Ctrl-C, which ends the search.
    """
    started = perf_counter()
    candidate = planned.candidate
    finishing = costs.finishing(study, candidate.recipe, candidate.size)
    end = started + clock.left()
    scoring = costs.scoring(study, candidate.recipe, candidate.size)
    last = end - 0.7 * finishing
    if candidate.recipe.method != "fit":  # whose epochs were counted out; a probe's time is a guess
        last = min(last, started + _MOST_TIMES * planned.seconds + _GRACE)
    timed = UntilDeadline(progress, last, notes=False)
    try:
        outcome = _outcome(candidate, study, costs, timed, end - finishing - scoring)
        # Publishing is not ended when the candidate's own time is over.
        outcome = replace(outcome, task=replace(outcome.task, progress=progress))
    except OutOfTimeError:
        return Tried("out of time", perf_counter() - started, error="It took longer than expected.")
    except Exception as error:  # whatever it is, it is written down and the others are tried
        free_memory_of(error)
        return Tried("failed", perf_counter() - started, error=sentence_of(error))
    return Tried("done", perf_counter() - started, outcome)


def _outcome(
    candidate: Candidate, study: Study, costs: Costs, progress: Progress, deadline: float
) -> Outcome:
    task = study.task(candidate.recipe, progress, deadline)
    costs.sizes.add(candidate.size)
    seen = task.without_test()
    extracting = perf_counter()
    trained = train_task(seen)
    if trained.stopped is not None and trained.stopped.reason == INTERRUPTED:
        raise KeyboardInterrupt
    was_cut_short = trained.stopped is not None and not trained.stopped.as_planned
    if not was_cut_short:
        _learn_rates(candidate, study, costs, perf_counter() - extracting)
    if trained.stopped is not None and was_cut_short:
        note = f"Its time was over: {trained.stopped.text()}."
        trained = replace(trained, stopped=None, notes=[*trained.notes, note])
    scored = score_validation(seen, trained)
    return judged(Outcome(candidate, replace(task, deadline=None), trained, scored), study)


def _learn_rates(candidate: Candidate, study: Study, costs: Costs, seconds: float) -> None:
    """What the training says of this machine's speed."""
    recipe = candidate.recipe
    if recipe.method == "fit":
        costs.saw_tuning(seconds, study, recipe, candidate.size)
    if recipe.method != "probe":
        return
    networks = networks_of(recipe, candidate.size)
    known = {(*network, view) for network in networks for view in recipe.probe.views}
    fresh = known - costs.extracted
    if len(networks) == 1 and fresh:
        extraction = seconds - costs.head_on(study) * len(recipe.probe.views) - 3.0
        backbone, size = networks[0]
        costs.saw_features(extraction, len(study.table) * len(fresh), size, backbone)
    if not fresh and not study.by_folds:
        costs.saw_head(seconds, recipe)
    costs.extracted |= known
    costs.sizes |= {size for _, size in networks}


def measure_training(
    candidate: Candidate, study: Study, costs: Costs, clock: Clock, progress: Progress
) -> None:
    """Measure a training step, so that the epochs of this and later candidates fit the time."""
    deadline = perf_counter() + clock.left()
    task: Task = study.task(candidate.recipe, UntilDeadline(progress, deadline, notes=False))
    costs.sizes.add(candidate.size)
    model = candidate.recipe.model
    if isinstance(model, BackboneModel):
        seconds = seconds_an_image(task.without_test())
        costs.saw_training(seconds, candidate.size, model.backbone)


def sentence_of(error: BaseException) -> str:
    """An error as a sentence for people; of a crash, its kind and first line."""
    from tellapart.errors import TellapartError

    if isinstance(error, TellapartError):
        return str(error)
    if isinstance(error, MemoryError) or "out of memory" in str(error).lower():
        return "It needs more memory than there is."
    lines = str(error).strip().splitlines()
    return f"It crashed: {type(error).__name__}{': ' + lines[0][:200] if lines else ''}."


def free_memory_of(error: BaseException) -> None:
    """Give back what a failed candidate held, its traceback's variables included."""
    from tellapart.training.memory import free_memory

    error.__traceback__ = None
    free_memory()


def is_nothing_learned(outcome: Outcome, largest_share: float) -> bool:
    """Whether the best candidate is not above saying always the most frequent class by more
    than chance."""
    accuracy = outcome.accuracy
    return bool(accuracy.known and np.isfinite(largest_share) and
                accuracy.measured()[1] <= largest_share)  # fmt: skip
