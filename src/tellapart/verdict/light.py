"""The light: can the number be believed, why, and where not, what is left of it?"""

from __future__ import annotations

from collections.abc import Sequence

from tellapart.evaluation.metric_table import Metrics
from tellapart.verdict.about_number import UNEVEN, holds_elsewhere
from tellapart.verdict.evidence import Evidence
from tellapart.verdict.rule import RED, YELLOW
from tellapart.verdict.rules import RULES
from tellapart.verdict.verdict import Conclusion, Light
from tellapart.verdict.words import class_named, images_of, limits_of, share_of

_ABOUT_NUMBER = frozenset(rule.key for rule in RULES if rule.about_number)

#: What takes the ground from the number, in the words of the answer.
_RED: dict[str, str] = {
    "no_labels": "no image has a label, so there is no number",
    "leak": "too many of the {images} were also used in training",
    "one_class": "its images are all of one class",
    "single_prediction": "the classifier gives the same answer to every image",
    "learned": "nothing shows that the classifier is better than guessing",
    "few_images": "it was measured on too few images",
}


def is_reason(conclusion: Conclusion) -> bool:
    """Whether it bears on the number, so that it stands beside the light."""
    if conclusion.kind not in _ABOUT_NUMBER:
        return False
    return conclusion.judgement == "good" or conclusion.weight >= YELLOW


def light_of(conclusions: Sequence[Conclusion]) -> Light:
    """Red or yellow by the weightiest reason that is not good, else green."""
    doubts = [c.weight for c in conclusions if is_reason(c) and c.judgement != "good"]
    worst = max(doubts, default=0)
    return "red" if worst >= RED else "yellow" if worst >= YELLOW else "green"


def reasons_of(conclusions: Sequence[Conclusion]) -> tuple[Conclusion, ...]:
    """Why the light has its colour: what speaks against the number, or, green, for it."""
    doubts = tuple(c for c in conclusions if is_reason(c) and c.judgement != "good")
    return doubts or tuple(c for c in conclusions if is_reason(c))


def answer_of(light: Light, evidence: Evidence, conclusions: Sequence[Conclusion]) -> str:
    """One sentence beside the light."""
    if light == "red":
        first = reasons_of(conclusions)[0].kind
        if first == "learned" and holds_elsewhere(evidence):
            return "No: on these images nothing shows that it is better than guessing."
        return f"No: {_RED[first].format(images=images_of(evidence.shown.part))}."
    lies = (
        f"the true accuracy on such images lies between "
        f"{limits_of(evidence.shown.accuracy).replace(' to ', ' and ')} (95 %)"
    )
    return f"Yes: {lies}." if light == "green" else f"With care: {lies}, but there are doubts."


def remains_of(light: Light, evidence: Evidence) -> str:
    """What is left of a number with a red light; "" for the others."""
    if light != "red":
        return ""
    leak, shown = evidence.leak, evidence.shown
    if leak is not None:
        clean = leak.without_them
        if clean is None or not clean.images:
            return "Nothing is left: none of the images is new to the classifier."
        return f"On the {_clean(clean)}: {_rest(clean)}"
    if not shown.images:
        return "Nothing is left to measure."
    return f"On {images_of(shown.part, shown.images)}: {_rest(shown)}"


def _clean(metrics: Metrics) -> str:
    text = images_of(metrics.part, metrics.images)
    count, _, noun = text.partition(" ")
    return f"{count} clean {noun}" if metrics.images != 1 else f"one clean {noun}"


def _rest(metrics: Metrics) -> str:
    """As in "30.3 % are right (22.8 to 39.0 %); guessing gives 25.0 %."."""
    present = sum(row.support > 0 for row in metrics.per_class.values())
    value = metrics.accuracy.measured()[0]
    if metrics.images == 1:
        return f"it is {'right' if value else 'wrong'}."
    guess, share = "", metrics.majority_share or 0.0
    if present > 1 and share > UNEVEN / present:
        name = class_named(metrics.majority_class or "")
        guess = f"; always answering {name} gives {share_of(share)}"
    elif present > 1:
        among = (
            "" if present == len(metrics.classes) else f" among the {present} classes with images"
        )
        guess = f"; guessing{among} gives {share_of(1.0 / present)}"
    return f"{share_of(value)} are right ({limits_of(metrics.accuracy)}){guess}."
