"""The search: try what promises most, keep the best, end when time or promise is over.

Whoever calls it writes: a :class:`Writer` is told of each trial and of each new best, so that the
run's folder holds the best so far at every moment.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from tellapart.deadline import OutOfTimeError
from tellapart.progress import Progress
from tellapart.search.budget import Clock
from tellapart.search.choose import can_show_gain, chosen, losses_of
from tellapart.search.costs import Costs
from tellapart.search.ensembles import plan_ensemble, try_ensemble
from tellapart.search.outcome import Outcome, shared
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
class Known:
    """A candidate that was trained, and the number of its trial."""

    number: int
    outcome: Outcome


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
    known: Sequence[Known],
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
        known: the candidates that can be chosen: the first answer first, the one in force last.
        record: of what was tried so far; its first trial is the first answer.
        clock: of this sitting; ``record.seconds_before`` counts the sittings before it.
        progress: gets the table of candidates as lines, and the bars of their work.
    """
    for line in [header(record), *(line_of(trial) for trial in record.trials)]:
        progress.note(line)
    pool = [*known]
    best = pool[-1]
    looked = False
    unpublished = False
    ended = "" if clock.left() > 0 else "The time was over with the first answer."
    try:
        while not ended:
            following = _next(study, facts(looked), best.outcome, record, clock, costs, progress)
            if isinstance(following, Ended):
                together = _together(study, pool, record, clock, costs)
                if together is None:
                    ended = following.why
                    break
                following = together
            if not looked and following.candidate.depends_on_facts:
                looked = True
            elif unpublished:
                writer.best(best.outcome, record)
                unpublished = False
            else:
                progress.note(next_line(following.candidate.description, following.why))
                tried = _tried(following, pool, study, costs, clock, progress)
                number = len(record.trials) + 1
                if tried.outcome is not None:
                    pool.append(Known(number, tried.outcome))
                before, best = best, _in_force(pool)
                unpublished |= best is not before
                record = record.with_trial(
                    _trial(number, following, tried, best, record, clock), best.number
                )
                writer.trial(record, following.candidate)
                progress.note(line_of(record.trials[-1], record.best))
    except KeyboardInterrupt:
        ended = INTERRUPTED
        progress.note("Interrupted: the best so far is kept.")
    more = "" if ended == INTERRUPTED else _more(study, facts(looked), best.outcome, record, costs)
    return Found(best.outcome, replace(record, ended=ended, more=more))


def _more(study: Study, facts: Facts, best: Outcome, record: SearchRecord, costs: Costs) -> str:
    """What would be tried if there were no end to the time, as a sentence; "" if nothing would."""
    state = State(study, facts, best, record.trials, math.inf, math.inf)
    found = next_candidate(state, costs)
    if isinstance(found, Ended):
        return ""
    return (
        f"With more time {found.candidate.description} would come next, because {found.why}; "
        "'tellapart train --resume' with --time goes on."
    )


def _in_force(pool: Sequence[Known]) -> Known:
    """The candidate that validation chooses."""
    if len(pool) == 1:
        return pool[0]
    said = shared([one.outcome for one in pool])
    return pool[chosen([losses_of(one) for one in said], [one.outcome.cost for one in pool])]


def _together(
    study: Study, pool: Sequence[Known], record: SearchRecord, clock: Clock, costs: Costs
) -> Planned | None:
    """The last candidate: the best together; None where there is no time, or nothing to join."""
    best = _in_force(pool).outcome
    if not can_show_gain(best.losses):
        return None
    planned = plan_ensemble([one.outcome for one in pool], record.trials)
    if planned is None:
        return None
    finishing = costs.finishing(study, planned.candidate.recipe, planned.candidate.size)
    return planned if planned.seconds + finishing <= clock.left() else None


def _tried(
    following: Planned, pool: Sequence[Known], study: Study, costs: Costs, clock: Clock,
    progress: Progress,
) -> Tried:  # fmt: skip
    if following.candidate.family == "ensemble":
        return try_ensemble(following, [one.outcome for one in pool], study, progress)
    return try_candidate(following, study, costs, clock, progress)


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


def _trial(
    number: int, following: Planned, tried: Tried, best: Known, record: SearchRecord, clock: Clock
) -> Trial:
    """What is written down of a trial."""
    found = tried.outcome
    return Trial(
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
        became_best=best.number == number,
        recipe=recipe_name(number),
    )
