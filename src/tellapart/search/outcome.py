"""Outcome: a candidate that was trained and scored on validation, in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tellapart.evaluation.intervals import proportion
from tellapart.evaluation.predictions import Predictions
from tellapart.number import Number
from tellapart.prediction.classifier import Description
from tellapart.run import Run
from tellapart.search.choose import losses_of
from tellapart.search.costs import answer_cost
from tellapart.search.folds import held_out_by_folds
from tellapart.search.space import Candidate
from tellapart.search.study import Study
from tellapart.training.outcome import Task, Trained
from tellapart.training.scoring import Scored


@dataclass(frozen=True)
class Outcome:
    """All that publishing a candidate needs. ``task`` has its test part; nothing here read it."""

    candidate: Candidate
    task: Task
    trained: Trained
    scored: Scored
    #: What judges it in the place of its own answers for validation: answers of folds, for more
    #: images; or those of an ensemble by weights that other images chose.
    held_out: Predictions | None = None

    @property
    def validation(self) -> Predictions | None:
        """What it says of the validation images that choose."""
        if self.held_out is not None:
            return self.held_out
        found, choosing = self.scored.validation, self.task.choosing
        if found is None or choosing is None or len(found) == len(choosing):
            return found
        chosen = {self.task.images.table.paths[row] for row in choosing.tolist()}
        return found.select(np.array([path in chosen for path in found.paths]))

    @property
    def losses(self) -> NDArray[np.float64]:
        """Log loss of each validation image that chooses: float64 (N,)."""
        found = self.validation
        return losses_of(found) if found is not None else np.zeros(0)

    @property
    def errors(self) -> int:
        """Validation images that it says something wrong of."""
        found = self.validation
        if found is None:
            return 0
        return int((found.probabilities.argmax(axis=1) != found.labels).sum())

    @property
    def accuracy(self) -> Number:
        """On the validation images that choose, with its interval."""
        number = len(self.validation or ())
        return proportion(number - self.errors, number, "no validation images")

    @property
    def cost(self) -> float:
        """What an answer costs, beside others."""
        return answer_cost(self.candidate.recipe, self.candidate.size)


def judged(outcome: Outcome, study: Study) -> Outcome:
    """A probe with what folds say of it, where few images choose; any other outcome as it is."""
    if outcome.candidate.recipe.method == "fit" or study.together is None or not study.by_folds:
        return outcome
    return replace(outcome, held_out=held_out_by_folds(outcome.task, study.together))


def shared(outcomes: Sequence[Outcome]) -> list[Predictions]:
    """What each says of those images that all of them are judged by, in one order."""
    found = [o.validation for o in outcomes if o.validation is not None]
    if len(found) < len(outcomes):
        raise ValueError("an outcome without validation images")
    common = set.intersection(*(set(one.paths) for one in found))
    if all(len(one) == len(common) for one in found) and len({one.paths for one in found}) == 1:
        return found
    rows = [{path: row for row, path in enumerate(one.paths)} for one in found]
    order = [path for path in found[0].paths if path in common]
    return [
        one.select(np.array([of[path] for path in order], np.int64))
        for one, of in zip(found, rows, strict=True)
    ]


def outcome_of_run(run: Run, study: Study, candidate: Candidate) -> Outcome:
    """The classifier of a finished run as an outcome, so that a search can go on from it.

    Args:
        candidate: what the run's record says of it.

    Raises:
        RunError: a file of the run is damaged.
        DataError: its images cannot be read as they were.
    """
    classifier = run.classifier(study.device)
    recipe = candidate.recipe
    task = study.task(recipe)
    info = run.info
    of = classifier.description
    trained = Trained(
        state=classifier.state(),
        frozen_backbone=of.frozen_backbone if isinstance(of, Description) else "",
        logits=None,
        total_parameters=info.parameters.total,
        trainable_parameters=info.parameters.trainable,
        history=run.history(),
        description=classifier.description,
        facts=dict(info.facts),
        notes=info.notes,
        recipe=recipe,
    )
    validation = run.predictions("validation") if "validation" in run.parts else None
    return Outcome(
        candidate, task, trained,
        Scored(classifier, classifier.description, validation, run.decision),
    )  # fmt: skip
