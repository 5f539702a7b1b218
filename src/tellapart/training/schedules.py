"""The learning rate: a function of the step, times what the plateau rule made of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from tellapart.recipe import EarlyStopping, ReduceOnPlateau, TrainingStage

#: One-cycle starts at 1/25 of the highest rate and ends at 1/10,000 of the first.
ONE_CYCLE_START = 1 / 25
ONE_CYCLE_END = ONE_CYCLE_START / 1e4


@dataclass(frozen=True)
class Schedule:
    """One course of the learning rate that a recipe can name."""

    name: str
    #: The rate as a multiple of the highest, of: steps done before this one, steps of the
    #: whole stage, and the share of them in which the rate rises.
    factor: Callable[[int, int, float], float]
    has_warmup: bool = True


def _constant(step: int, total_steps: int, warmup: float) -> float:
    return 1.0


def _cosine(step: int, total_steps: int, warmup: float) -> float:
    """Up in a straight line during the warm-up, then down to 0 along a half cosine."""
    rise = round(warmup * total_steps)
    if step < rise:
        return (step + 1) / rise
    return _between(1.0, 0.0, (step - rise) / max(total_steps - rise, 1))


def _one_cycle(step: int, total_steps: int, warmup: float) -> float:
    """PyTorch's ``OneCycleLR`` with ``pct_start=warmup``."""
    peak = max(warmup * total_steps - 1, 0.0)
    if step < peak:
        return _between(ONE_CYCLE_START, 1.0, step / peak)
    return _between(1.0, ONE_CYCLE_END, (step - peak) / max(total_steps - 1 - peak, 1.0))


def _between(start: float, end: float, share: float) -> float:
    """From start to end along a half cosine."""
    return end + (start - end) * (1 + math.cos(math.pi * min(share, 1.0))) / 2


#: A new one is a function above, a row here, and its name in ``recipe.TrainingStage``.
SCHEDULES: Mapping[str, Schedule] = MappingProxyType(
    {
        row.name: row
        for row in (
            Schedule("constant", _constant, has_warmup=False),
            Schedule("cosine", _cosine),
            Schedule("one_cycle", _one_cycle),
        )
    }
)


def schedule_factor(stage: TrainingStage, step: int, total_steps: int) -> float:
    """The learning rate at a step as a multiple of ``stage.learning_rate``.

    Args:
        stage: its ``schedule`` and ``warmup`` are used.
        step: steps done before this one, from 0.
        total_steps: steps of the whole stage.
    """
    return SCHEDULES[stage.schedule].factor(step, total_steps, stage.warmup)


@dataclass
class Plateau:
    """Keras' ReduceLROnPlateau on the validation loss."""

    settings: ReduceOnPlateau | None
    learning_rate: float
    scale: float = 1.0
    best: float = math.inf
    wait: int = 0

    def end_epoch(self, validation_loss: float) -> bool:
        """Count an epoch; returns whether the learning rate was cut.

        An epoch counts as progress if it is better by more than ``minimum_change``; after
        ``patience`` epochs without it the rate is multiplied by ``factor``.
        """
        if self.settings is None:
            return False
        waited = _wait(self, validation_loss, self.settings.minimum_change)
        lowest = self.settings.minimum_learning_rate / self.learning_rate
        if waited < self.settings.patience or self.scale <= lowest:
            return False
        self.scale = max(self.scale * self.settings.factor, lowest)
        self.wait = 0
        return True


@dataclass
class Patience:
    """Keras' EarlyStopping on the validation loss."""

    settings: EarlyStopping | None
    best: float = math.inf
    wait: int = 0

    def end_epoch(self, validation_loss: float) -> bool:
        """Count an epoch; returns whether training should stop."""
        if self.settings is None:
            return False
        waited = _wait(self, validation_loss, self.settings.minimum_change)
        return waited >= self.settings.patience


def _wait(rule: Plateau | Patience, validation_loss: float, minimum_change: float) -> int:
    """Count an epoch: how many there were in a row, up to this one, without progress."""
    if validation_loss < rule.best - minimum_change:
        rule.best, rule.wait = validation_loss, 0
    else:
        rule.wait += 1
    return rule.wait
