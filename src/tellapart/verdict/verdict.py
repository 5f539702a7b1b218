"""Verdict: what the first screen of a report says, as plain data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Light = Literal["green", "yellow", "red"]
"""Whether the headline number can be believed: yes, with care, no."""

Judgement = Literal["good", "bad", "too_few"]
"""What came of a question: it is in order, it is not, too few images to tell."""


@dataclass(frozen=True)
class Conclusion:
    """One thing that the numbers say, by one rule.

    Attributes:
        kind: the rule's key, for example "leak" or "overfitting".
        judgement: of the question that the rule asks.
        weight: how much it matters, the largest first; 0 is told only in the folded part.
        sentence: plain text with the numbers; class names stand in it as they are.
    """

    kind: str
    judgement: Judgement
    weight: int
    sentence: str


@dataclass(frozen=True)
class ClassSentence:
    """What the classifier will do with the images of one class, at the decision in force.

    Many classes without images share one sentence, which has no name.
    """

    name: str
    #: "Of 100 images of ... it finds 72 (60 to 82); of 100 that it calls ... 91 (...) are right."
    sentence: str
    images: int


@dataclass(frozen=True)
class Action:
    """What to do next: why, and the command that does it; "" where no command does."""

    kind: str
    sentence: str
    command: str = ""


@dataclass(frozen=True)
class Verdict:
    """Can the number be believed, what will the classifier do, and what next?

    Attributes:
        light: of the headline number.
        answer: one sentence beside the light.
        reasons: why the light has its colour, the weightiest first.
        remains: where the light is red, what is left of the number; else "".
        classes: a sentence a class, the worst class first.
        actions: what promises most, first.
        findings: everything else that the rules say, the weightiest first.
    """

    light: Light
    answer: str
    reasons: tuple[Conclusion, ...] = ()
    remains: str = ""
    classes: tuple[ClassSentence, ...] = ()
    actions: tuple[Action, ...] = ()
    findings: tuple[Conclusion, ...] = ()
