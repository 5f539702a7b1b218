"""Rules about fitting (train against validation) and shift (validation against test)."""

from __future__ import annotations

from tellapart.evaluation.metric_table import Metrics
from tellapart.number import Number
from tellapart.verdict.about_number import is_contaminated
from tellapart.verdict.evidence import Evidence
from tellapart.verdict.rule import YELLOW, Found
from tellapart.verdict.words import difference, images_of, points, share_of

#: Surely more than this ahead on train is overfitting; surely less than the other is not.
SMALL_GAP, LARGE_GAP = 0.05, 0.10
#: Surely more than this between validation and test is a shift; surely less is none.
SMALL_SHIFT, LARGE_SHIFT = 0.02, 0.10
#: Of the way from guessing to all right on its own training images: surely less is too little.
FITTED = 0.70


def underfitting(evidence: Evidence) -> Found | None:
    """Train itself is low."""
    train = evidence.train
    if train is None or not train.images or len(_present(train)) < 2:
        return None
    balanced = train.balanced_accuracy
    _, low, high = balanced.measured()
    chance = 1.0 / len(_present(train))
    line = chance + FITTED * (1.0 - chance)
    if high < line:
        return Found(
            "bad",
            78,
            f"It does not fit even its own training images: {_of_train(evidence)} are right"
            f"{_and_held_out(evidence)}.",
        )
    if low < line:
        return None
    return Found("good", 4, f"It fits its training images: {_of_train(evidence)} are right.")


def fitting(evidence: Evidence) -> Found | None:
    """Is it better on what it was trained on than on what it was not?"""
    other = _held_out(evidence)
    if evidence.train is None or not evidence.train.images or other is None:
        return None
    gap = difference(evidence.train.accuracy, other.accuracy)
    _, low, high = gap.measured()
    numbers = (
        f"{_of_train(evidence)} and {share_of(other.accuracy)} of "
        f"{images_of(other.part, other.images)} are right, {_apart(gap)}"
    )
    apart = (
        "" if other.part == "validation" else
        " Without validation images nothing tells whether that comes from training or from "
        "images of another kind."
    )  # fmt: skip
    if low > SMALL_GAP:
        return Found("bad", 72, f"It overfits: {numbers}.{apart}")
    if high < LARGE_GAP:
        return Found("good", 22, f"It hardly overfits: {numbers}.")
    return Found("too_few", 11, f"Too few images to tell whether it overfits: {numbers}.{apart}")


def shift(evidence: Evidence) -> Found | None:
    """Are the shown images of the kind that it was chosen on?"""
    shown = evidence.shown
    before = _reference(evidence)
    if before is None or not before.images or not shown.images or is_contaminated(evidence):
        return None
    gap = difference(before.accuracy, shown.accuracy)
    _, low, high = gap.measured()
    numbers = (
        f"{share_of(before.accuracy)} of {_own(evidence, before)} and {share_of(shown.accuracy)} "
        f"of {images_of(shown.part, shown.images)} are right, {_apart(gap)}"
    )
    here = images_of(shown.part)
    if low > SMALL_SHIFT:
        return Found(
            "bad",
            YELLOW + 9,
            f"The {here} are harder: {numbers}. They may be of another kind, from other places, "
            "cameras or days.",
        )
    if high < -SMALL_SHIFT:
        return Found(
            "bad",
            YELLOW + 8,
            f"The {here} are easier: {numbers}. Look whether they are of the kind that is meant, "
            "or are known from training.",
        )
    if low > -LARGE_SHIFT and high < LARGE_SHIFT:
        return Found("good", 18, f"The {here} are about as hard: {numbers}.")
    return Found("too_few", 10, f"Too few images to tell whether the {here} are harder: {numbers}.")


def is_harder(evidence: Evidence) -> bool:
    """The shown images are those on which it is right less often."""
    before, now = _reference(evidence), evidence.shown.accuracy.value
    was = before.accuracy.value if before is not None else None
    return was is not None and now is not None and now < was


def _own(evidence: Evidence, metrics: Metrics) -> str:
    """``500 validation images``, of the run's own where the shown ones are not."""
    if evidence.own:
        return images_of(metrics.part, metrics.images)
    return f"the run's own {images_of(metrics.part, metrics.images)}"


def _reference(evidence: Evidence) -> Metrics | None:
    """What the shown part is held against: validation, or the run's own test for new images."""
    if not evidence.own:
        return evidence.test or evidence.validation
    return evidence.validation if evidence.shown.part == "test" else None


def _held_out(evidence: Evidence) -> Metrics | None:
    """What train is held against: validation, else the run's own test."""
    for metrics in (evidence.validation, evidence.test):
        if metrics is not None and metrics.images:
            return metrics
    return None


def _of_train(evidence: Evidence) -> str:
    """``98.0 % of a sample of 300 training images``."""
    train = evidence.train
    if train is None:
        return ""
    sample = "a sample of " if evidence.train_is_sample else ""
    return f"{share_of(train.accuracy)} of {sample}{images_of('train', train.images)}"


def _and_held_out(evidence: Evidence) -> str:
    other = _held_out(evidence)
    if other is None:
        return ""
    return f", and {share_of(other.accuracy)} of {images_of(other.part, other.images)}"


def _apart(gap: Number) -> str:
    """Without its sign: ``a difference of 7.9 points (5.2 to 10.7)``."""
    value, low, high = gap.measured()
    if value < 0:
        low, high = -high, -low
    return f"a difference of {points(abs(value))} ({_signed(low)} to {_signed(high)})"


def _signed(value: float) -> str:
    text = f"{100 * value:.1f}"
    return "0.0" if text == "-0.0" else text.replace("-", "\N{MINUS SIGN}")


def _present(metrics: Metrics) -> list[str]:
    return [name for name, row in metrics.per_class.items() if row.support]
