"""Policy: all that turns probabilities into an answer; a run keeps the one that is in force."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tellapart.evaluation.abstention import Abstention
from tellapart.evaluation.class_sets import ClassSets
from tellapart.evaluation.decision import Decision


@dataclass(frozen=True)
class Policy:
    """What is answered: by default the likeliest class, of every image."""

    #: How a class is chosen; None: the likeliest.
    decision: Decision | None = None
    #: Which images are answered "uncertain"; None: none.
    abstention: Abstention | None = None
    #: Which classes are named beside the answer; None: no sets.
    sets: ClassSets | None = None
    #: Whether images unlike the training ones are answered "unknown" though nobody asks.
    unknown: bool = False

    @property
    def rules(self) -> tuple[str, ...]:
        """What is in force, a sentence each, without full stops; empty: the likeliest class."""
        parts = (self.decision, self.abstention, self.sets)
        return (
            *(part.rule for part in parts if part is not None),
            *(("unknown for images unlike the training ones",) if self.unknown else ()),
        )

    @property
    def rule(self) -> str:
        """All of :attr:`rules` as one; "" where the likeliest class is said of every image."""
        return "; ".join(self.rules)

    def extras_to_dict(self) -> dict[str, Any] | None:
        """All but the decision, as ``run.json`` holds it; None where there is nothing."""
        content = {
            **({"abstention": self.abstention.to_dict()} if self.abstention else {}),
            **({"sets": self.sets.to_dict()} if self.sets else {}),
            **({"unknown": True} if self.unknown else {}),
        }
        return content or None

    @classmethod
    def from_dict(cls, decision: Decision | None, extras: Mapping[str, Any] | None) -> Policy:
        """The inverse of :meth:`extras_to_dict`.

        Raises:
            KeyError, TypeError, ValueError: it is none.
        """
        extras = extras or {}
        return cls(
            decision,
            Abstention.from_dict(extras["abstention"]) if "abstention" in extras else None,
            ClassSets.from_dict(extras["sets"]) if "sets" in extras else None,
            bool(extras.get("unknown", False)),
        )
