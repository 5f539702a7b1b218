"""The best candidates together: a mean of what they say, weighed on the validation images.

Which members count, and how much, is chosen by greedy selection (Caruana et al. 2004). What it is
judged by are answers for images that had no part in the weights: each half of validation is
answered with the weights that the other half chose.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from tellapart.evaluation.predictions import Predictions
from tellapart.models.inputs import member_of
from tellapart.progress import Progress
from tellapart.recipe import JoinedModel, Recipe
from tellapart.search.outcome import Outcome, shared
from tellapart.search.plan import Planned
from tellapart.search.record import Trial
from tellapart.search.space import Candidate
from tellapart.search.study import Study
from tellapart.search.trials import Tried, free_memory_of, sentence_of
from tellapart.training.by_ensemble import Candidate as Member
from tellapart.training.by_ensemble import ensemble_of
from tellapart.training.greedy import select_greedily
from tellapart.training.scoring import score_validation

#: So many candidates are asked, the best by log loss; who counts less than this is left out.
_MOST_MEMBERS, _LEAST_WEIGHT = 5, 0.1
#: Validation images below which nothing is weighed.
_LEAST_IMAGES = 20
#: Seconds of an ensemble: its members have answered for validation already.
_SECONDS = 5.0


def plan_ensemble(outcomes: Sequence[Outcome], trials: Sequence[Trial]) -> Planned | None:
    """The best of these together; None where fewer than two count, or they were tried before."""
    members = _best_of(outcomes)
    if len(members) < 2 or len(shared(members)[0]) < _LEAST_IMAGES:
        return None
    weights = _weights(members)
    kept = [number for number, weight in enumerate(weights) if weight >= _LEAST_WEIGHT]
    if len(kept) < 2:
        return None
    members, weights = [members[number] for number in kept], weights[kept]
    weights = weights / weights.sum()
    name = "together-" + "-and-".join(member.candidate.name for member in members)
    if any(trial.name == name for trial in trials):
        return None
    first = outcomes[0].candidate.recipe
    recipe = Recipe.model_validate(
        first.model_dump(mode="json") | {
            "name": "auto-together", "title": f"The best {len(members)} together",
            "method": "ensemble",
            "ensemble": {
                "members": [member_of(m.candidate.recipe).model_dump(mode="json") for m in members],
                "weights": [round(weight, 4) for weight in weights.tolist()],
            },
        }
    )  # fmt: skip
    candidate = Candidate(
        name, f"the best {len(members)} together", "ensemble", recipe, outcomes[0].candidate.size,
        0.1, "what several say together is often better than what the best says",
    )  # fmt: skip
    texts = ", ".join(member.candidate.description for member in members)
    return Planned(candidate, _SECONDS, f"{candidate.because}; it is the mean of: {texts}")


def try_ensemble(
    planned: Planned, outcomes: Sequence[Outcome], study: Study, progress: Progress
) -> Tried:
    """Join the members and judge them by images that did not weigh them."""
    started = perf_counter()
    names = {member.name for member in planned.candidate.recipe.ensemble.members}
    members = [o for o in _best_of(outcomes) if o.candidate.recipe.name in names]
    try:
        outcome = _joined(planned.candidate, members, study, progress)
    except Exception as error:  # whatever it is, it is written down and the best alone is kept
        free_memory_of(error)
        return Tried("failed", perf_counter() - started, error=sentence_of(error))
    return Tried("done", perf_counter() - started, outcome)


def _joined(
    candidate: Candidate, members: Sequence[Outcome], study: Study, progress: Progress
) -> Outcome:
    task = study.task(candidate.recipe, progress)
    seen = task.without_test()
    joined = [Member(m.task, replace(m.trained, stopped=None), m.scored) for m in members]
    trained = ensemble_of(seen, joined, np.array(candidate.recipe.ensemble.weights))
    scored = score_validation(seen, trained)
    return Outcome(candidate, task, trained, scored, _held_out(members))


def _best_of(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Those that can be members, the best by log loss first."""
    fit = [
        outcome for outcome in outcomes
        if outcome.candidate.recipe.method in ("probe", "fit")
        and not isinstance(outcome.candidate.recipe.model, JoinedModel)
        and outcome.validation is not None
    ]  # fmt: skip
    return sorted(fit, key=lambda outcome: float(outcome.losses.mean()))[:_MOST_MEMBERS]


def _weights(
    members: Sequence[Outcome], rows: NDArray[np.int64] | slice = slice(None)
) -> NDArray[np.float64]:
    """What each counts (M,), by these of the validation images that choose."""
    found = shared(members)
    probabilities = np.stack([one.probabilities for one in found]).astype(np.float64)
    return select_greedily(probabilities[:, rows], found[0].labels[rows])


def _held_out(members: Sequence[Outcome]) -> Predictions:
    """Answers for each half of validation with the weights that the other half chose."""
    found = shared(members)
    probabilities = np.stack([one.probabilities for one in found])
    order = np.random.default_rng(0).permutation(len(found[0]))
    mean = np.empty_like(probabilities[0])
    for half in (0, 1):
        weights = _weights(members, order[1 - half :: 2])
        rows = order[half::2]
        mean[rows] = np.tensordot(weights.astype(mean.dtype), probabilities[:, rows], axes=1)
    return replace(found[0], probabilities=mean, decision=None)
