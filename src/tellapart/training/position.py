"""How far a training has come, and why it ended before its last epoch."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

EARLY_STOPPING, INTERRUPTED, TIME_LIMIT = "early stopping", "interrupted", "time limit"


@dataclass(frozen=True)
class Stopped:
    """A training that ended before its last epoch."""

    #: ``EARLY_STOPPING``, ``INTERRUPTED``, ``TIME_LIMIT``, or what a callback said.
    reason: str
    #: Epochs that were done, of those that were asked for.
    epoch: int
    target_epochs: int
    #: Which stage of the recipe's this was, from 1.
    stage: int = 1
    num_stages: int = 1

    @property
    def as_planned(self) -> bool:
        """Whether the recipe itself asks to end so: nothing is left to go on with."""
        return self.reason == EARLY_STOPPING

    def text(self) -> str:
        """For example ``stopped at epoch 2 of 30 in stage 1 of 2 (interrupted)``."""
        stage = f" in stage {self.stage} of {self.num_stages}" if self.num_stages > 1 else ""
        return f"stopped at epoch {self.epoch} of {self.target_epochs}{stage} ({self.reason})"


@dataclass
class Position:
    """How far a training has come; a checkpoint keeps all of it."""

    target_epochs: int
    epoch: int = 0
    best_epoch: int = 0
    best_loss: float = math.inf
    averaged_steps: int = 0
    #: "" or why training ended before its target.
    stopped: str = ""
    history: list[dict[str, float]] = field(default_factory=list)
    #: Into how many pieces a batch is cut so that it fits into memory.
    pieces: int = 1

    @property
    def seconds(self) -> float:
        """Training and validation so far."""
        return sum(row["seconds"] for row in self.history)
