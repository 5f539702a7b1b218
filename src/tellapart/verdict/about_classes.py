"""Rules about single classes: which are missed, and what they are taken for."""

from __future__ import annotations

from dataclasses import dataclass

from tellapart.evaluation.intervals import wilson
from tellapart.evaluation.metric_table import ClassMetrics
from tellapart.verdict.about_number import MAY_BE_FOUND
from tellapart.verdict.evidence import Evidence
from tellapart.verdict.rule import YELLOW, Found
from tellapart.verdict.words import (
    class_named,
    classes_named,
    images_of,
    limits_of,
    one_of,
    share_of,
    some_images,
    was,
)
from tellapart.wording import are, capital

#: A class with fewer images than this has a recall that is hardly known.
FEW_IMAGES = 30
#: A class that is surely found less often than this is weak.
OFTEN = 0.60
#: So much below the accuracy, beyond chance, is weak as well.
BEHIND = 0.15
#: Share of a class that gets one wrong answer, its lower limit, and the images, that are much.
MUCH, SURELY, AT_LEAST = 0.15, 0.08, 5
#: So many classes or confusions are named in a sentence.
NAMED = 3
#: Beyond so many classes the best and the worst differ by chance alone.
FEW_CLASSES = 10


def never_predicted(evidence: Evidence) -> Found | None:
    """Classes with images that are never the answer."""
    rows = evidence.shown.per_class
    names = [name for name in evidence.present if not rows[name].predicted]
    if not names or len(evidence.present) < 2:
        return None
    images = sum(rows[name].support for name in names)
    what = (
        f"{classes_named(names)} {are(len(names))} never the answer, although "
        f"{images_of(evidence.shown.part, images)} {are(images)} labelled so"
    )
    if all(rows[name].recall.measured()[2] >= MAY_BE_FOUND for name in names):
        return Found("too_few", 39, f"{what}: too few images to tell how often that is so.")
    return Found("bad", YELLOW + 14, f"{what}.")


def weak_class(evidence: Evidence) -> Found | None:
    """Classes that are found less often than the number says."""
    shown = evidence.shown
    if len(evidence.present) < 2:
        return None
    answered = [name for name in evidence.present if shown.per_class[name].predicted]
    least = shown.accuracy.measured()[1]
    weak = [n for n in answered if _is_weak(shown.per_class[n], least)]
    if weak:
        weak.sort(key=lambda name: shown.per_class[name].recall.measured()[2])
        told = "; ".join(_found_in(evidence, name) for name in weak[:NAMED])
        rest = len(weak) - NAMED
        weak_too = "class is" if rest == 1 else "classes are"
        more = f"; {rest:,} more {weak_too} weak, too" if rest > 0 else ""
        return Found("bad", 86, f"{told}{more}.")
    doubtful = [n for n in answered if shown.per_class[n].recall.measured()[0] < 0.5]
    if not doubtful:
        return None
    doubtful.sort(key=lambda name: shown.per_class[name].recall.measured()[0])
    told = "; ".join(_found_in(evidence, name) for name in doubtful[:NAMED])
    return Found("too_few", 40, f"{told}: too few images to tell whether that is usual.")


def _is_weak(row: ClassMetrics, least_accuracy: float) -> bool:
    high = row.recall.measured()[2]
    return high < OFTEN or high < least_accuracy - BEHIND


def _found_in(evidence: Evidence, name: str) -> str:
    """``fox is found in 15 of its 50 test images, 30.0 % (19.1 to 43.8 %)``."""
    row, part = evidence.shown.per_class[name], evidence.shown.part
    found = round(row.recall.measured()[0] * row.support)
    images = f"{found:,} of its {images_of(part, row.support)}"
    if row.support == 1:
        images = f"its only {one_of(part)}" if found else f"no {one_of(part)} of the only one"
    elif not found:
        images = f"none of its {images_of(part, row.support)}"
    return (
        f"{class_named(name)} is found in {images}, {share_of(row.recall)} "
        f"({limits_of(row.recall)})"
    )


@dataclass(frozen=True)
class _Confusion:
    """Images of one class that were called another, and the other way round."""

    true: str
    answer: str
    images: int
    support: int
    back: int
    back_support: int

    @property
    def share(self) -> float:
        return self.images / self.support

    @property
    def least(self) -> float:
        """Lower limit of the share."""
        return wilson(self.images, self.support)[0]


def confusion(evidence: Evidence) -> Found | None:
    """One class that is often taken for another."""
    if len(evidence.present) < 2:
        return None
    part = evidence.shown.part
    pairs = _confusions(evidence)
    if not pairs:
        return None
    much = _frequent(pairs)
    if much:
        named: list[_Confusion] = []
        for pair in much:  # of two that are taken for each other, one sentence tells both
            if not any((pair.true, pair.answer) == (n.answer, n.true) for n in named):
                named.append(pair)
        told = "; ".join(_told(pair, part) for pair in named[:NAMED])
        return Found("bad", 84, f"{capital(told)}.")
    first = max(pairs, key=lambda p: (p.images, p.share))
    if any(p.share >= MUCH for p in pairs):
        first = max(pairs, key=lambda p: (p.share, p.images))
        return Found(
            "too_few",
            9,
            "Too few images to tell whether a class is often taken for another: "
            f"{_told(first, part)}.",
        )
    return Found(
        "good",
        15,
        f"No class is often taken for another; the most frequent mistake is "
        f"{class_named(first.true)} called {class_named(first.answer)}, {first.images:,} of "
        f"{images_of(part, first.support)}.",
    )


def taken_for_another(evidence: Evidence) -> str:
    """The class that is surely taken for another most: ``fox, like those that it calls cat``.

    Both where the other is taken for it about as often: which of the two needs images more cannot
    be told then.
    """
    pair = _frequent(_confusions(evidence))[0]
    true, answer = class_named(pair.true), class_named(pair.answer)
    if _is_mutual(pair):
        return f"{true} and {answer}, like those that it takes for one another"
    return f"{true}, like those that it calls {answer}"


def _frequent(pairs: list[_Confusion]) -> list[_Confusion]:
    """Those that are surely much, the surest first."""
    much = [p for p in pairs if p.share >= MUCH and p.images >= AT_LEAST and p.least >= SURELY]
    return sorted(much, key=lambda p: (-p.least, -p.images))


def _is_mutual(pair: _Confusion) -> bool:
    """The other way round is at least half as frequent."""
    return bool(pair.back) and pair.back / pair.back_support >= pair.share / 2


def _told(pair: _Confusion, part: str) -> str:
    """``27 of 105 test images labelled tumour were called 'no tumour'``, and the other way."""
    text = (
        f"{some_images(part, pair.images, pair.support)} labelled {class_named(pair.true)} "
        f"{was(pair.images)} called {class_named(pair.answer)}"
    )
    if _is_mutual(pair):
        back = f"{pair.back:,} of {pair.back_support:,}"
        if pair.back == pair.back_support:
            back = "the only one" if pair.back == 1 else f"all {pair.back:,}"
        return f"{text}, and {back} the other way round"
    return text


def _confusions(evidence: Evidence) -> list[_Confusion]:
    classes, matrix = evidence.shown.classes, evidence.shown.confusion_matrix
    rows = evidence.shown.per_class
    return [
        _Confusion(true, answer, matrix[i][j], rows[true].support, matrix[j][i],
                   rows[answer].support)
        for i, true in enumerate(classes) for j, answer in enumerate(classes)
        if i != j and matrix[i][j]
    ]  # fmt: skip


def classes_alike(evidence: Evidence) -> Found | None:
    """The class that is found best against the one that is found worst."""
    rows = evidence.shown.per_class
    names = sorted(evidence.present, key=lambda name: rows[name].recall.measured()[0])
    if not 2 <= len(names) <= FEW_CLASSES:
        return None
    worst, best = rows[names[0]], rows[names[-1]]
    if worst.recall.value == best.recall.value:
        return Found(
            "good",
            8,
            f"All classes are found equally often: {share_of(worst.recall)} of the images of each.",
        )
    numbers = (
        f"{share_of(worst.recall)} of {images_of(evidence.shown.part, worst.support)} of "
        f"{class_named(names[0])} ({limits_of(worst.recall)}) and {share_of(best.recall)} of "
        f"{best.support:,} of {class_named(names[-1])} ({limits_of(best.recall)})"
    )
    if worst.recall.measured()[2] < best.recall.measured()[1]:
        return Found("bad", 34, f"The classes are not found equally often: {numbers}.")
    return Found(
        "good",
        7,
        f"The classes are found about equally often: {numbers}; the difference may be chance.",
    )


def few_class_images(evidence: Evidence) -> Found | None:
    """Classes whose numbers are rough."""
    rows = evidence.shown.per_class
    few = [name for name in evidence.present if rows[name].support < FEW_IMAGES]
    if not few:
        return None
    part = evidence.shown.part
    if len(few) == len(evidence.present) > 1:
        return Found(
            "too_few",
            38,
            f"Every class has fewer than {FEW_IMAGES} {images_of(part)}, so what is "
            "said of single classes is rough.",
        )
    return Found(
        "too_few",
        38,
        f"{classes_named(few)} {'has' if len(few) == 1 else 'have'} fewer than {FEW_IMAGES} "
        f"{images_of(part)}, so what is said of {'it' if len(few) == 1 else 'them'} is rough.",
    )


def no_mistakes(evidence: Evidence) -> Found | None:
    """Every image is right."""
    if evidence.mistakes or not evidence.shown.images:
        return None
    return Found("good", 23, f"No {one_of(evidence.shown.part)} is wrong.")
