"""All that a training is after an epoch: saved, and put back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from tellapart.errors import RunError
from tellapart.training.checkpoint import (
    load_checkpoint,
    save_checkpoint,
    with_prefix,
    without_prefix,
)
from tellapart.training.learner import Learner
from tellapart.training.position import Position
from tellapart.training.schedules import Patience, Plateau
from tellapart.training.sentinels import ChanceWatch


@dataclass(frozen=True)
class Rules:
    """What looks at each epoch's numbers and acts on them."""

    plateau: Plateau
    patience: Patience
    chance: ChanceWatch

    def numbers(self) -> dict[str, dict[str, float]]:
        """What each has counted, without its settings."""
        return {
            name: {key: v for key, v in vars(rule).items() if isinstance(v, int | float)}
            for name, rule in vars(self).items()
        }

    def restore(self, numbers: Mapping[str, Mapping[str, float]]) -> None:
        """Go on from what ``numbers`` gave."""
        for name, rule in vars(self).items():
            vars(rule).update(numbers[name])


@dataclass
class TrainingState:
    """Weights, rules and position of a training, and the weights of its best epoch."""

    learner: Learner
    rules: Rules
    position: Position
    #: What must be the same for a checkpoint to be continued; plain data for JSON.
    identity: Mapping[str, Any]
    best_state: dict[str, Tensor] = field(default_factory=dict)

    def save(self, folder: Path) -> None:
        """Write all that ``resume`` reads."""
        tensors = self.learner.tensors() | with_prefix("best.", self.best_state)
        if self.learner.average is not None:
            self.position.averaged_steps = self.learner.average.steps
        facts = {"training": dict(self.identity), "position": asdict(self.position)}
        save_checkpoint(folder, tensors, {**facts, **self.rules.numbers()})

    def resume(self, folder: Path | None, extend: int) -> None:
        """Go to where a checkpoint left off, if there is one.

        Raises:
            RunError: it is damaged, or of another training; or there is none to extend.
        """
        saved = load_checkpoint(folder) if folder is not None else None
        if saved is None:
            if extend:
                raise RunError(
                    f"There is no checkpoint in {folder} to extend by {extend} epochs; train "
                    "from the beginning with that many more epochs."
                )
            return
        tensors, facts = saved
        different = [k for k, v in self.identity.items() if facts["training"].get(k) != v]
        if different:
            raise RunError(
                f"The checkpoint in {folder} is of another training (its "
                f"{', '.join(different)} differ); delete the folder, or use the settings it "
                "began with."
            )
        at = self.position = Position(**facts["position"])
        self.learner.restore(tensors, at.averaged_steps)
        self.best_state = without_prefix("best.", tensors)
        self.rules.restore(facts)
        if extend and (at.stopped or at.epoch >= at.target_epochs):
            at.target_epochs, at.stopped = at.epoch + extend, ""
            self.rules.patience.wait = 0
