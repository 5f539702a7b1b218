"""What the classifier will do, a sentence a class, at the decision in force."""

from __future__ import annotations

from tellapart.evaluation.metric_table import ClassMetrics, Metrics
from tellapart.number import Number
from tellapart.verdict.evidence import Evidence
from tellapart.verdict.verdict import ClassSentence
from tellapart.verdict.words import class_named, classes_named, images_of, one_of
from tellapart.wording import are, plural

#: Below so many images "of 100" would pretend to know what nobody can.
FEWEST = 10
#: More classes without images than this share a sentence.
MOST_ABSENT = 3


def class_sentences(evidence: Evidence) -> tuple[ClassSentence, ...]:
    """The worst class first: by the upper limit of F1, so that few images alone do not make a
    class the worst; classes without images last."""
    shown = evidence.shown
    if not shown.images:
        return ()

    def order(name: str) -> tuple[bool, float]:
        row = shown.per_class[name]
        return not row.support, row.f1.high if row.f1.high is not None else 1.0

    absent = evidence.absent if len(evidence.absent) > MOST_ABSENT else ()
    told = [
        ClassSentence(name, _sentence(shown, name, shown.per_class[name])
                      + _left_uncertain(evidence, name), shown.per_class[name].support)
        for name in sorted(shown.classes, key=order) if name not in absent
    ]  # fmt: skip
    if absent:
        told.append(ClassSentence("", _of_absent(shown, absent), 0))
    return tuple(told)


def _of_absent(metrics: Metrics, names: tuple[str, ...]) -> str:
    """One sentence about many classes without images."""
    called = sum(metrics.per_class[name].predicted for name in names)
    so = "none is called so" if not called else f"{called:,} {are(called)} called so, wrongly"
    return (
        f"There is no {one_of(metrics.part)} of {classes_named(names, 'or')}, so nothing says how "
        f"many of theirs it finds; of the images of other classes {so}."
    )


def _sentence(metrics: Metrics, name: str, row: ClassMetrics) -> str:
    called = class_named(name)
    if not row.support:
        # All that are called so are wrong here, which says nothing of the answer elsewhere.
        also = _when_called(row, called)
        if row.predicted:
            also = f"; {plural(row.predicted, 'image')} of others {are(row.predicted)} called so"
        return (
            f"There is no {one_of(metrics.part)} of {called}, so nothing says how many it finds"
            f"{also}."
        )
    found = round(row.recall.measured()[0] * row.support)
    # Where there are no other images, none of those that it calls so can be wrong.
    also = "" if row.support == metrics.images else _when_called(row, called)
    if row.support < FEWEST:
        return (
            f"Only {images_of(metrics.part, row.support)} {are(row.support)} of {called}: it finds "
            f"{_of_few(found, row.support)}{also}. That is too few to say what is usual."
        )
    return f"Of 100 images of {called} it finds {_of_100(row.recall)}{also}."


def _left_uncertain(evidence: Evidence, name: str) -> str:
    """How many images of a class are not answered; the numbers before are as if all were."""
    left, images = evidence.uncertain.get(name, 0), evidence.shown.per_class[name].support
    if not left:
        return ""
    return f" Of these {images:,} it answers {left:,} as uncertain instead, right or wrong."


def _of_few(found: int, images: int) -> str:
    if images == 1:
        return "it" if found else "not even that one"
    if not found:
        return "none of them"
    if found < images:
        return f"{found} of them"
    return "both" if images == 2 else f"all {images}"


def _when_called(row: ClassMetrics, called: str) -> str:
    """How often the answer is right where it is given."""
    if not row.predicted:
        return f"; it calls no image {called}"
    right = round(row.precision.measured()[0] * row.predicted)
    if row.predicted < FEWEST:
        if row.predicted == 1:
            return f"; the one image that it calls {called} is {'right' if right else 'wrong'}"
        every = "both" if row.predicted == 2 else "all"
        rights = every if right == row.predicted else f"{right}" if right else "none"
        return f"; of the {row.predicted} that it calls {called} {rights} {are(right)} right"
    return f"; of 100 that it calls {called} {_of_100(row.precision)} are right"


def _of_100(share: Number) -> str:
    """``72 (60 to 82)``."""
    value, low, high = share.measured()
    return f"{_whole(value)} ({_whole(low)} to {_whole(high)})"


def _whole(share: float) -> str:
    """Of a hundred; what is neither none nor all is not rounded to it."""
    text = f"{100 * share:.0f}"
    if text in ("0", "100") and 0.0 < share < 1.0:
        return f"{min(max(100 * share, 0.1), 99.9):.1f}"
    return text
