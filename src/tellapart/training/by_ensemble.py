"""Train an ensemble: its members one after the other, then how much each counts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tellapart.data.pixels import prepared_otherwise
from tellapart.errors import RecipeError
from tellapart.models.inputs import preprocessing_for, recipe_of_member
from tellapart.prediction.joint import join, joined_logits
from tellapart.recipe import Recipe
from tellapart.training.greedy import select_greedily
from tellapart.training.outcome import Task, Trained
from tellapart.training.scoring import Scored, logits_of, score_validation


@dataclass(frozen=True)
class Candidate:
    """One trained classifier that may be a member, and the task that it was trained by."""

    task: Task
    trained: Trained
    scored: Scored

    @property
    def name(self) -> str:
        return self.task.recipe.name


def train_by_ensemble(task: Task, train: Callable[[Task], Trained]) -> Trained:
    """Train every member, then weigh them by greedy selection on validation.

    Args:
        train: trains a task by the way that its recipe names.
    """
    candidates: list[Candidate] = []
    for own in members_of(task.recipe):
        candidate = _candidate(task, own, train)
        candidates.append(candidate)
        if candidate.trained.stopped is not None and not candidate.trained.stopped.as_planned:
            break
    given = task.recipe.ensemble.weights[: len(candidates)]
    weights = np.array(given) if sum(given) else weigh(task, candidates)
    return ensemble_of(task, candidates, weights)


def members_of(recipe: Recipe) -> list[Recipe]:
    """The recipe of each member."""
    return [recipe_of_member(recipe, member) for member in recipe.ensemble.members]


def check_ensemble(recipe: Recipe, check: Callable[[Recipe], None]) -> None:
    """Refuse what cannot be trained; reads no image.

    Raises:
        RecipeError: there are fewer than two members, or one cannot be trained.
    """
    if len(recipe.ensemble.members) < 2:
        raise RecipeError(
            f"The recipe {recipe.name} has method 'ensemble', which needs two members and more; "
            "name them under ensemble.members."
        )
    for member in members_of(recipe):
        if member.probe.precision == "int8":
            raise RecipeError(
                f"probe.precision=int8 is of one probe, not of an ensemble's member "
                f"('{member.name}'); set it to auto there."
            )
        check(member)


def weigh(task: Task, candidates: Sequence[Candidate]) -> NDArray[np.float64]:
    """Weights (M,) that validation chooses; alike where there are no validation images."""
    labels = task.labels_of("validation")
    found = [candidate.scored.validation for candidate in candidates]
    known = [predictions.probabilities for predictions in found if predictions is not None]
    if len(known) < len(found):
        return np.full(len(found), 1 / len(found))
    return select_greedily(np.stack(known), labels, seed=task.recipe.seed)


def ensemble_of(
    task: Task, candidates: Sequence[Candidate], weights: NDArray[np.float64]
) -> Trained:
    """Trained classifiers of one task's images as one, a mean of their probabilities.

    Args:
        candidates: of the same images, parts and classes.
        weights: (M,); candidates of weight 0 are left out.
    """
    kept = [number for number, weight in enumerate(weights) if weight > 0]
    chosen = [candidates[number] for number in kept]
    if len(chosen) == 1:
        return _alone(chosen[0], candidates, weights)
    members = [(candidate.trained.state, candidate.scored.description) for candidate in chosen]
    state, description = join(members, "mean", weights[kept].tolist())
    heaviest = chosen[description.heaviest]
    has_logits = all(candidate.trained.logits is not None for candidate in chosen)

    def logits(rows: NDArray[np.int64]) -> NDArray[np.float32]:
        of_members = [logits_of(c.task, c.trained, c.scored.classifier, rows) for c in chosen]
        return joined_logits(of_members, description)

    return Trained(
        state=state,
        frozen_backbone="",
        logits=logits if has_logits else None,
        total_parameters=sum(candidate.trained.total_parameters for candidate in chosen),
        trainable_parameters=sum(candidate.trained.trainable_parameters for candidate in chosen),
        features=heaviest.trained.features,
        engine_name=heaviest.trained.engine_name,
        description=description,
        facts={"members": _facts(candidates, weights)},
        notes=[f"{c.name}: {note}" for c in candidates for note in c.trained.notes],
        stopped=candidates[-1].trained.stopped,
    )


def _candidate(task: Task, recipe: Recipe, train: Callable[[Task], Trained]) -> Candidate:
    preprocessing = preprocessing_for(recipe.model, recipe.data)
    folder = task.checkpoint_folder
    own = replace(
        task,
        recipe=recipe,
        images=prepared_otherwise(task.images, preprocessing, progress=task.progress),
        preprocessing=preprocessing,
        checkpoint_folder=folder / recipe.name if folder is not None else None,
        history_file=None,
        tensorboard_folder=None,
    )
    task.progress.note(f"Member {recipe.name}:")
    trained = train(own)
    return Candidate(own, trained, score_validation(own, trained))


def _alone(
    candidate: Candidate, candidates: Sequence[Candidate], weights: NDArray[np.float64]
) -> Trained:
    """The only member that counts, as it would be without the others."""
    return replace(
        candidate.trained,
        recipe=None,
        description=replace(candidate.scored.description, temperature=1.0),
        facts={"members": _facts(candidates, weights)},
    )


def _facts(
    candidates: Sequence[Candidate], weights: NDArray[np.float64]
) -> list[dict[str, object]]:
    return [
        {
            "name": candidate.name,
            "weight": round(float(weight), 4),
            "temperature": candidate.scored.description.temperature,
            **candidate.trained.facts,
        }
        for candidate, weight in zip(candidates, weights, strict=True)
    ]
