"""The search: try what promises most, keep the best, end when time or promise is over.

Whoever calls it writes: a :class:`Writer` is told of each trial and of each new best, so that the
run's folder holds the best so far at every moment.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from tellapart.deadline import OutOfTimeError
from tellapart.progress import Progress
from tellapart.search.budget import Clock
from tellapart.search.choose import is_better
from tellapart.search.costs import Costs
from tellapart.search.outcome import Outcome
from tellapart.search.plan import Ended, Planned, State, next_candidate
from tellapart.search.record import SearchRecord, Trial, recipe_name
from tellapart.search.space import Candidate, Facts
from tellapart.search.study import Study
from tellapart.search.table import header, line_of, next_line
from tellapart.search.trials import Tried, measure_training, sentence_of, try_candidate

INTERRUPTED = "It was interrupted."


class Writer(Protocol):
    """Who keeps what the search finds."""

    def trial(self, record: SearchRecord, candidate: Candidate) -> None:
        """A candidate was tried, the last of the record."""

    def best(self, outcome: Outcome, record: SearchRecord) -> None:
        """There is a new best, and the search goes on."""


@dataclass(frozen=True)
class Found:
    """What a search came to."""

    best: Outcome
    record: SearchRecord

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C ended it."""
        return self.record.ended == INTERRUPTED


def first_trial(first: Outcome, seconds: float) -> Trial:
    """The first answer as the first row of the record."""
    has_result = bool(len(first.losses))
    return Trial(
        number=1, name=first.candidate.name, family="first",
        description=first.candidate.description,
        why="It is the quickest answer there is.", status="done", seconds=round(seconds, 2),
        ended=round(seconds, 2), accuracy=first.accuracy.to_json() if has_result else None,
        log_loss=float(first.losses.mean()) if has_result else None, became_best=True,
        recipe=recipe_name(1),
    )  # fmt: skip


def search(
    study: Study,
    facts: Callable[[bool], Facts],
    best: Outcome,
    record: SearchRecord,
    clock: Clock,
    costs: Costs,
    writer: Writer,
    progress: Progress,
) -> Found:
    """Go on from a first answer until the time is over or nothing promises more.

    Args:
        facts: what the space depends on, guessed, or (True) with a look at the images; it is
            looked when a candidate is next that depends on it.
        best: the classifier in force.
        record: of what was tried so far; its first trial is the first answer.
        clock: of this sitting; ``record.seconds_before`` counts the sittings before it.
        progress: gets the table of candidates as lines, and the bars of their work.
    """
    for line in [header(), *(line_of(trial) for trial in record.trials)]:
        progress.note(line)
    looked = False
    unpublished = False
    ended = "" if clock.left() > 0 else "The time was over with the first answer."
    try:
        while not ended:
            following = _next(study, facts(looked), best, record, clock, costs, progress)
            if isinstance(following, Ended):
                ended = following.why
            elif not looked and following.candidate.depends_on_facts:
                looked = True
            elif unpublished:
                writer.best(best, record)
                unpublished = False
            else:
                progress.note(next_line(following.candidate.description, following.why))
                tried = try_candidate(following, study, costs, clock, progress)
                best, record, wins = _judged(following, tried, best, record, clock)
                unpublished |= wins
                writer.trial(record, following.candidate)
                progress.note(line_of(record.trials[-1], record.best))
    except KeyboardInterrupt:
        ended = INTERRUPTED
        progress.note("Interrupted: the best so far is kept.")
    return Found(best, replace(record, ended=ended))


def _next(
    study: Study, facts: Facts, best: Outcome, record: SearchRecord, clock: Clock, costs: Costs,
    progress: Progress,
) -> Planned | Ended:  # fmt: skip
    """The next candidate; where it is the first training, its steps are measured before."""

    def planned() -> Planned | Ended:
        state = State(study, facts, best, record.trials, clock.seconds, clock.left())
        return next_candidate(state, costs)

    following = planned()
    if (
        isinstance(following, Planned)
        and following.candidate.recipe.method == "fit"
        and "training" not in costs.measured
    ):
        costs.measured.add("training")
        try:
            measure_training(following.candidate, study, costs, clock, progress)
        except OutOfTimeError:
            return Ended("The time was over before a training could begin.")
        except Exception as error:  # the training itself will say what is wrong, and be recorded
            progress.note(f"A training step could not be measured. {sentence_of(error)}")
            return following
        return planned()
    return following


def _judged(
    following: Planned, tried: Tried, best: Outcome, record: SearchRecord, clock: Clock
) -> tuple[Outcome, SearchRecord, bool]:
    """The best after a trial, the record with it, and whether it is the new best."""
    found = tried.outcome
    wins = found is not None and is_better(
        found.losses, best.losses, cost=found.cost / best.cost,
        first=best.candidate.family == "first",
    )  # fmt: skip
    number = len(record.trials) + 1
    trial = Trial(
        number=number,
        name=following.candidate.name,
        family=following.candidate.family,
        description=following.candidate.description,
        why=following.why,
        status=tried.status,
        seconds=round(tried.seconds, 2),
        ended=round(record.seconds_before + clock.used(), 2),
        accuracy=found.accuracy.to_json() if found is not None else None,
        log_loss=float(found.losses.mean()) if found is not None else None,
        error=tried.error,
        became_best=wins,
        recipe=recipe_name(number),
    )
    return (found if found is not None and wins else best), record.with_trial(trial), wins
