"""Policy: all that turns probabilities into an answer; a run keeps the one that is in force."""

from __future__ import annotations

from dataclasses import dataclass

from tellapart.evaluation.decision import Decision


@dataclass(frozen=True)
class Policy:
    """What is answered: by default the likeliest class, of every image."""

    #: How a class is chosen; None: the likeliest.
    decision: Decision | None = None
