"""Rule: one question to the evidence, as a row of the table in :mod:`tellapart.verdict.rules`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tellapart.verdict.evidence import Evidence
from tellapart.verdict.verdict import Conclusion, Judgement

#: A conclusion about the number of at least this weight makes the light red, or yellow.
RED, YELLOW = 90, 60


@dataclass(frozen=True)
class Found:
    """What a rule finds: a judgement, how much it matters, and the sentence."""

    judgement: Judgement
    weight: int
    sentence: str


@dataclass(frozen=True)
class Rule:
    """One question.

    Attributes:
        key: its name; ``docs/reading-a-report.md`` has its condition under this name.
        question: what it asks.
        find: the answer; None where the evidence does not bear on it.
        about_number: what it finds is a reason for the colour of the light.
        unless: keys of earlier rules; where one of them found something that is not good,
            this one is silent, because its sentence would contradict theirs or be beside the
            point.
    """

    key: str
    question: str
    find: Callable[[Evidence], Found | None]
    about_number: bool = False
    unless: tuple[str, ...] = ()

    def ask(self, evidence: Evidence) -> Conclusion | None:
        """Its conclusion, whatever other rules say."""
        found = self.find(evidence)
        if found is None:
            return None
        return Conclusion(self.key, found.judgement, found.weight, found.sentence)
