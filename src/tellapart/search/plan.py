"""What comes next, and why: the most promise a second among what fits into the time left."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tellapart.extras import pytorch_is_here
from tellapart.recipe import BackboneModel
from tellapart.search.choose import can_show_gain, expected_mistakes
from tellapart.search.costs import Costs
from tellapart.search.outcome import Outcome
from tellapart.search.record import Trial
from tellapart.search.space import (
    Candidate,
    Facts,
    probe_candidates,
    probe_name,
    tuning_candidates,
)
from tellapart.search.study import Study
from tellapart.wording import duration, percent, plural

#: Share of the whole time that one probe, and all of them, may take before a tuning was tried.
_ONE_PROBE, _ALL_PROBES = 0.2, 0.4
#: A tuning gets this share of what is left, so that writing the result keeps its room.
_OF_LEFT = 0.9
#: Log loss of a probe on a larger backbone that was not tried, beside the first answer's.
_LARGER = 0.9
#: What a kind of candidate promises once one of it was tried: it came best, or it did not. (What
#: a training gained, the best has: its log loss says so.)
_AFTER_SUCCESS, _AFTER_FAILURE, _AFTER_FAILED_PROBE = 0.7, 0.35, 0.8
#: What a whole training must still promise after a candidate before it, as a share.
_STILL_PROMISED = 0.9
#: Of trainings of all layers the quickest counts among those that promise so much of the best one.
_AS_GOOD = 0.95
#: Mistakes that a candidate must promise to put right (a probe, which costs little: or a share of
#: the images, if that is less); the log loss shows what is less than one.
_LEAST_GAIN, _LEAST_SHARE = 0.5, 0.005
#: A tuning of a kind that was tried is repeated only with this much more work.
_MORE_WORK = 1.6


@dataclass(frozen=True)
class Planned:
    """The next candidate, what it should cost in seconds, and why it is the next."""

    candidate: Candidate
    seconds: float
    why: str


@dataclass(frozen=True)
class Ended:
    """Nothing more is tried; why, as a sentence."""

    why: str


@dataclass(frozen=True)
class State:
    """Where a search stands."""

    study: Study
    facts: Facts
    best: Outcome
    trials: Sequence[Trial]
    #: Seconds of the whole search and what is left of them.
    seconds: float
    left: float


def next_candidate(state: State, costs: Costs) -> Planned | Ended:
    """The candidate with the most promise a second that fits, or why there is none."""
    errors, images = state.best.errors, len(state.best.losses)
    noun = "image" if state.study.by_folds else "validation image"
    if not images:
        return Ended("There are no validation images, by which a candidate could be chosen.")
    made = f"{plural(errors, 'mistake') if errors else 'no mistake'} on {plural(images, noun)}"
    if not can_show_gain(state.best.losses):
        return Ended(f"The best so far makes {made}: no candidate could show more than chance.")
    room = state.left - costs.finishing(state.study, state.best.candidate.recipe,
                                        state.best.candidate.size)  # fmt: skip
    mistakes = expected_mistakes(errors, state.best.losses)
    least_of_probe = min(_LEAST_GAIN, _LEAST_SHARE * images)
    tried = {trial.name for trial in state.trials}
    found: list[Planned] = []
    too_dear = 0
    tunings = _tunings(state, costs, room)
    whole = _whole_promise(tunings, state, tried)
    for candidate in [*probe_candidates(state.facts, state.best.candidate), *tunings]:
        if candidate.name in tried or _is_old_news(candidate, state):
            continue
        seconds = costs.of(state.study, candidate.recipe, candidate.size)
        gain = promise_of(candidate, state) * mistakes
        if gain < (least_of_probe if candidate.family == "probe" else _LEAST_GAIN):
            continue
        if seconds > _allowed(candidate, state, room, bool(tunings)):
            too_dear += 1
            continue
        if candidate.family == "full" and promise_of(candidate, state) < _AS_GOOD * whole:
            continue  # each fills the time that is left: the other one would not follow it
        if candidate.family == "partial" and promise_of(candidate, state) < whole:
            later = _whole_promise(_tunings(state, costs, room - seconds), state, tried)
            if later < _STILL_PROMISED * whole:
                continue
        why = (
            f"{candidate.because}; {_might_go(promise_of(candidate, state), errors)} might go "
            f"for about {duration(seconds)}"
        )
        found.append(Planned(candidate, seconds, why))
    if found:
        return max(found, key=lambda p: promise_of(p.candidate, state) / max(p.seconds, 1.0))
    if too_dear or _would_gain_with_time(state, costs, tried, mistakes):
        return Ended(
            f"The {duration(max(0.0, state.left))} left are too short for what is left."
            f"{_not_possible()}"
        )
    return Ended(
        "Nothing that is left promises a gain that could be told from chance: the best so far "
        f"makes {made}.{_not_possible()}"
    )


def _might_go(promise: float, errors: int) -> str:
    """Mistakes that a candidate might put right, in words."""
    if errors < 2:
        return f"{percent(promise, 0)} of the mistakes on many images"
    return f"{plural(min(errors, max(1, round(promise * errors))), 'mistake')} of {errors}"


def _not_possible() -> str:
    """What could not be tried here, as a sentence behind others; "" where everything could."""
    if pytorch_is_here():
        return ""
    return " Tuning the network was not tried: it needs PyTorch (pip install 'tellapart[train]')."


def _tunings(state: State, costs: Costs, room: float) -> list[Candidate]:
    """The trainings that so many seconds allow."""
    seconds = max(0.0, _OF_LEFT * room)
    return list(tuning_candidates(state.facts, state.study, costs, seconds))


def _whole_promise(tunings: Sequence[Candidate], state: State, tried: set[str]) -> float:
    """The most that a training of all layers promises, of those that were not tried.

    What the last stages gain, a training of all layers gains as well: it is not to be cut
    short for them.
    """
    return max(
        (
            promise_of(candidate, state)
            for candidate in tunings
            if candidate.family == "full"
            and candidate.name not in tried
            and not _is_old_news(candidate, state)
        ),
        default=0.0,
    )


def _would_gain_with_time(state: State, costs: Costs, tried: set[str], mistakes: float) -> bool:
    """Whether a tuning that does not fit any more promises something."""
    return any(
        candidate.name not in tried
        and not _is_old_news(candidate, state)
        and promise_of(candidate, state) * mistakes >= _LEAST_GAIN
        for candidate in tuning_candidates(state.facts, state.study, costs, math.inf)
    )


def promise_of(candidate: Candidate, state: State) -> float:
    """The share of the best's mistakes that it may put right; none where it is not above 0.

    What candidates of its kind have shown on these images counts.
    """
    kind = _kind(candidate.family)
    promise = candidate.promise
    if kind == "tuning":
        promise = 1 - (1 - promise) * _probe_beside_best(candidate, state)
    for trial in state.trials[1:]:
        if trial.status != "done" or _kind(trial.family) != kind:
            continue
        if kind == "tuning":
            promise *= 1.0 if trial.became_best else _AFTER_FAILURE
        else:
            promise *= _AFTER_SUCCESS if trial.became_best else _AFTER_FAILED_PROBE
    if kind == "probe" and _kind(state.best.candidate.family) != "probe":
        promise *= 0.1  # a probe would have to be better than what came after the probes
    return promise


def _probe_beside_best(candidate: Candidate, state: State) -> float:
    """Log loss of a probe on the candidate's backbone, as a share of the best's.

    Of a backbone that was not tried it is a guess. 1 where nothing is known.
    """
    losses = {trial.name: trial.log_loss for trial in state.trials if trial.log_loss}
    first, best = losses.get("first"), float(state.best.losses.mean())
    model, first_model = candidate.recipe.model, state.facts.recipe.model
    if first is None or best <= 0 or not isinstance(model, BackboneModel):
        return 1.0
    stem = probe_name(model.backbone, 0).removesuffix("0")
    own = [loss for name, loss in losses.items() if name.removeprefix(stem).isdigit()]
    if isinstance(first_model, BackboneModel) and model.backbone == first_model.backbone:
        own.append(first)
    return min(own, default=_LARGER * first) / best


def _allowed(candidate: Candidate, state: State, room: float, tunable: bool) -> float:
    """Seconds that a candidate may take: probes leave the most for a tuning that is to come."""
    tuned = any(_kind(trial.family) == "tuning" for trial in state.trials)
    if _kind(candidate.family) == "tuning" or tuned or not tunable:
        return _OF_LEFT * room
    spent = sum(trial.seconds for trial in state.trials if trial.family == "probe")
    if math.isinf(room):
        return room
    return min(_OF_LEFT * room, _ONE_PROBE * state.seconds, _ALL_PROBES * state.seconds - spent)


def _kind(family: str) -> str:
    if family == "ensemble":
        return "ensemble"
    return "tuning" if family in ("partial", "full") else "probe"


def _is_old_news(candidate: Candidate, state: State) -> bool:
    """Whether a tuning is hardly more than one of the same network that was tried."""
    if candidate.family != "full":
        return False
    for trial in state.trials:
        if trial.family == "full":
            network, size, epochs = _of_name(trial.name)
            own_network, own_size, own_epochs = _of_name(candidate.name)
            more = own_epochs * own_size**2 / (epochs * size**2)
            if network == own_network and more < _MORE_WORK:
                return True
    return False


def _of_name(name: str) -> tuple[str, int, int]:
    """Network, size and epochs in the name of a tuning."""
    network, size, epochs = name.removeprefix("tune-").rsplit("-", 2)
    return network, int(size), int(epochs)
