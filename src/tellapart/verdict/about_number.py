"""Rules about the number itself: what it was measured on, and whether that is enough."""

from __future__ import annotations

from tellapart.data.copies import WHY_NOT_SOUGHT
from tellapart.evaluation.metric_table import Metrics
from tellapart.verdict.evidence import Evidence, Leak
from tellapart.verdict.rule import RED, YELLOW, Found
from tellapart.verdict.words import (
    class_named,
    classes_named,
    images_of,
    limits_of,
    one_of,
    points,
    share_of,
    some_images,
    was,
)
from tellapart.wording import are, capital, plural, some_of

#: Width of the accuracy's interval from which images are called few, and far too few.
WIDE, FAR_TOO_WIDE = 0.10, 0.30
#: Share of leaked images, or what they add to the accuracy, that is too much.
LEAKED_SHARE, LEAKED_LIFT = 0.10, 0.05
#: The same where the leaked images count.
COUNTED_SHARE, COUNTED_LIFT = 0.05, 0.02
#: A leaked share below this is told, and no reason to doubt a number without the leaked ones.
HARMLESS_SHARE = 0.01
#: Classes are uneven where the largest has this many times its even share.
UNEVEN = 1.5
#: ... and as good as even up to this.
EVEN = 1.1
#: Of uneven classes, one with fewer images than this hardly counts in the accuracy.
RARE = 10
#: Fewer groups than this are few.
FEW_GROUPS = 30
#: A class that may be found this often, as far as its images show, is not called one that never is.
MAY_BE_FOUND = 0.60
#: Share of images unlike the training ones that is above the usual 5 % beyond chance.
MANY_UNLIKE = 0.10


def no_labels(evidence: Evidence) -> Found | None:
    """There is no labelled image, and none that was taken out as leaked."""
    shown = evidence.shown
    if shown.images or evidence.leak is not None:
        return None
    return Found(
        "too_few",
        RED + 9,
        f"No {one_of(shown.part)} has a label, so nothing can be said about how good the answers "
        "are.",
    )


def leak(evidence: Evidence) -> Found | None:
    """Images of the shown part that were used in training."""
    found, part = evidence.leak, evidence.shown.part
    if found is None:
        if not (evidence.leaks_sought and evidence.shown.images):
            return None
        if evidence.shown.cross_validated:
            return Found(
                "good",
                20,
                "No image was predicted by a model that had seen it, nor a copy of it, as far as "
                "equal files and near copies show.",
            )
        return Found(
            "good",
            20,
            f"No {one_of(part)} was also used in training, as far as equal files and near copies "
            "show.",
        )
    what = (
        f"{capital(some_images(part, found.images, found.of))} {was(found.images)} also used in "
        f"training{_kinds(found)}"
    )
    if found.without_them is None or not found.without_them.images:
        return Found("bad", RED + 7, f"{what}, so nothing is known about other images.")
    if found.counted:
        return Found(
            "bad",
            RED + 7 if is_contaminated(evidence) else YELLOW + 15,
            f"{what}, and {'it counts' if found.images == 1 else 'they count'} here. "
            f"Without {_them(found)} the accuracy is {_accuracy(found.without_them)}.",
        )
    heavy = found.share >= LEAKED_SHARE or found.lift >= LEAKED_LIFT
    weight = RED + 6 if heavy else YELLOW + 10 if found.share >= HARMLESS_SHARE else 30
    with_them = found.with_them.accuracy if found.with_them is not None else None
    compared = (
        f" With {_them(found)} the accuracy would be {share_of(with_them)}."
        if with_them is not None and with_them.known
        else ""
    )
    return Found(
        "bad",
        weight,
        f"{what}; {'it is' if found.images == 1 else 'they are'} left out of the numbers here."
        f"{compared}",
    )


def is_contaminated(evidence: Evidence) -> bool:
    """So many leaked images count that what follows from the numbers would be about them."""
    found = evidence.leak
    if found is None or not found.counted:
        return False
    return found.share >= COUNTED_SHARE or found.lift >= COUNTED_LIFT


def _them(found: Leak) -> str:
    return "it" if found.images == 1 else "them"


def _kinds(found: Leak) -> str:
    if not (found.copies or found.near):
        return ""
    if not found.near:
        return " (as an equal file)" if found.copies == 1 else " (as equal files)"
    if not found.copies:
        return " (as a near copy)" if found.near == 1 else " (as near copies)"
    equal = "1 as an equal file" if found.copies == 1 else f"{found.copies:,} as equal files"
    near = "1 as a near copy" if found.near == 1 else f"{found.near:,} as near copies"
    return f" ({equal}, {near})"


def _accuracy(metrics: Metrics) -> str:
    return f"{share_of(metrics.accuracy)} ({limits_of(metrics.accuracy)})"


def not_sought(evidence: Evidence) -> Found | None:
    """Copies that were changed could not be told: none found does not mean that there are none."""
    why = WHY_NOT_SOUGHT.get(evidence.not_sought)
    if why is None or not evidence.shown.images:
        return None
    sentence = f"Of the images used in training only equal files could be looked for: {why}"
    origin = evidence.origin
    divided = origin is not None and evidence.shown.part not in origin.given_parts
    if evidence.own and origin is not None and origin.group_by and divided:
        return Found(
            "good", 13, f"{sentence}; what belongs together was kept in one part (--group-by)."
        )
    return Found(
        "too_few",
        YELLOW,
        f"{sentence}. Where pictures of one and the same thing are in training and here, the "
        "number is too good.",
    )


def one_class(evidence: Evidence) -> Found | None:
    """Only one class has images."""
    if len(evidence.present) != 1:
        return None
    part, name = evidence.shown.part, class_named(evidence.present[0])
    return Found(
        "too_few",
        RED + 8,
        f"All {images_of(part)} are labelled {name}, so nothing shows whether the classes are told "
        "apart.",
    )


def single_prediction(evidence: Evidence) -> Found | None:
    """Every image gets the same answer."""
    shown = evidence.shown
    if len(evidence.present) < 2 or shown.predicted_classes != 1:
        return None
    only = next(name for name in shown.classes if shown.per_class[name].predicted)
    others = [shown.per_class[name].recall for name in evidence.present if name != only]
    if all(recall.measured()[2] >= MAY_BE_FOUND for recall in others):
        return None  # so few images of other classes that this may be chance
    return Found(
        "bad",
        RED + 8,
        f"Every {one_of(shown.part)} is called {class_named(only)}: the classifier tells nothing "
        "apart.",
    )


def learned(evidence: Evidence) -> Found | None:
    """Balanced accuracy against guessing."""
    if len(evidence.present) < 2:
        return None
    chance, balanced = evidence.chance, evidence.shown.balanced_accuracy
    value, low, high = balanced.measured()
    numbers = (
        f"averaged over classes {share_of(value)} are right ({limits_of(balanced)}), and guessing "
        f"gives {share_of(chance)}"
    )
    if low > chance:
        return Found("good", 24, f"It is better than guessing: {numbers}.")
    if high >= (1.0 + chance) / 2:
        return Found("too_few", RED + 4, f"Too few images to tell it from guessing: {numbers}.")
    if holds_elsewhere(evidence):
        return Found(
            "bad",
            RED + 5,
            f"On these images it is no better than guessing: {numbers}. What it learned holds for "
            f"{_elsewhere(evidence)}, and not for these.",
        )
    return Found(
        "bad",
        RED + 5,
        f"Nothing was learned, as far as these images show: {numbers}.{_what_train_says(evidence)}",
    )


def holds_elsewhere(evidence: Evidence) -> bool:
    """It is surely better than guessing on other images that it was not trained on."""
    return _other_held_out(evidence) is not None


def _other_held_out(evidence: Evidence) -> Metrics | None:
    others = [evidence.validation] if evidence.own else [evidence.test, evidence.validation]
    for other in others:
        if other is None or (evidence.own and other.part == evidence.shown.part):
            continue
        present = sum(row.support > 0 for row in other.per_class.values())
        if present < 2 or not other.balanced_accuracy.known:
            continue
        if other.balanced_accuracy.measured()[1] > 1.0 / present:
            return other
    return None


def _elsewhere(evidence: Evidence) -> str:
    """``180 validation images, of which 92.8 % are right``."""
    other = _other_held_out(evidence)
    if other is None:
        return ""
    own = "" if evidence.own else "the run's own "
    return (
        f"{own}{images_of(other.part, other.images)}, of which {share_of(other.accuracy)} are right"
    )


def _what_train_says(evidence: Evidence) -> str:
    """Learned by heart, or not even that."""
    if evidence.train is None or not evidence.train.balanced_accuracy.known:
        return ""
    value, low, _ = evidence.train.balanced_accuracy.measured()
    middle = evidence.chance + 0.25 * (1.0 - evidence.chance)
    if low > middle:
        return (
            f" What it learned are its training images ({share_of(value)} averaged over classes), "
            "and nothing that holds for others."
        )
    if value < middle:
        return (
            f" Its training images were not learned either ({share_of(value)} averaged over "
            "classes)."
        )
    return ""


def few_images(evidence: Evidence) -> Found | None:
    """How well the accuracy is known."""
    shown = evidence.shown
    if not shown.images:
        return None
    value, low, high = shown.accuracy.measured()
    images, more = images_of(shown.part, shown.images), "four times as many"
    if high - low <= WIDE:
        within = points(max(high - value, value - low))
        tell = "tells" if shown.images == 1 else "tell"
        return Found("good", 26, f"{images} {tell} the accuracy to within {within}.")
    few = "is too few, and leaves" if shown.images == 1 else "are few, and leave"
    groups = evidence.groups
    if groups is not None and groups < shown.images:
        images += f" in {plural(groups, 'group')}"
        few = "are few, for images that belong together say little more than one, and leave"
        more = "four times as many groups"
    return Found(
        "too_few",
        RED + 1 if high - low > FAR_TOO_WIDE else YELLOW + 4,
        f"{images} {few} the true accuracy anywhere between "
        f"{limits_of(shown.accuracy).replace(' to ', ' and ')} (95 %); {more} would halve that "
        "range.",
    )


def few_groups(evidence: Evidence) -> Found | None:
    """Images that belong together count little more than one."""
    groups, shown = evidence.groups, evidence.shown
    if groups is None or groups >= min(FEW_GROUPS, shown.images) or not shown.images:
        return None
    return Found(
        "too_few",
        YELLOW + 2,
        f"{images_of(shown.part, shown.images)} "
        + ("all belong together" if groups == 1 else f"belong to only {groups:,} groups")
        + ", and images that belong together say little more than one of them does.",
    )


def majority(evidence: Evidence) -> Found | None:
    """The accuracy against always answering the largest class."""
    shown = evidence.shown
    if len(evidence.present) < 2 or shown.majority_class is None or shown.majority_share is None:
        return None
    share, name = shown.majority_share, class_named(shown.majority_class)
    if share <= EVEN * evidence.chance:
        return None  # one answer for all is as good as guessing, of which `learned` speaks
    value, low, high = shown.accuracy.measured()
    always = f"always answering {name} would be right on {share_of(share)} of the images"
    balanced = f"averaged over classes {share_of(shown.balanced_accuracy)} are right"
    if low <= share:
        middle = share + 0.5 * (1.0 - share)
        if share == 1.0 or high <= middle:
            return Found(
                "bad",
                YELLOW + 13,
                f"The accuracy alone says little: {always}, and {share_of(value)} "
                f"({limits_of(shown.accuracy)}) may be no better than that; {balanced}.",
            )
        return Found(
            "too_few",
            YELLOW + 3,
            f"Too few images to tell the accuracy from that of one answer for all: {always}, and "
            f"it reaches {share_of(value)} ({limits_of(shown.accuracy)}).",
        )
    if share <= UNEVEN * evidence.chance:
        return None
    return Found(
        "good",
        14,
        f"The classes are uneven: {always}; it reaches {share_of(value)}, and {balanced}.",
    )


def rare_class(evidence: Evidence) -> Found | None:
    """Uneven classes, of which some have next to no images: the accuracy is not about them."""
    shown = evidence.shown
    if len(evidence.present) < 2 or (shown.majority_share or 0.0) <= UNEVEN * evidence.chance:
        return None
    rows = shown.per_class
    rare = [name for name in evidence.present if rows[name].support < RARE]
    if not rare:
        return None
    images = sum(rows[name].support for name in rare)
    found = sum(round(rows[name].recall.measured()[0] * rows[name].support) for name in rare)
    value = shown.accuracy.measured()[0]
    it = "it" if len(rare) == 1 else "them"
    without = (
        f": were {it} never found, it would still be {share_of(value - found / shown.images)}"
        if found
        else ""
    )
    return Found(
        "too_few",
        YELLOW + 1,
        f"Only {images_of(shown.part, images)} {are(images)} of {classes_named(rare)}, so the "
        f"accuracy says next to nothing about {it}{without}.",
    )


def missing_classes(evidence: Evidence) -> Found | None:
    """Classes that nothing was measured on."""
    names = evidence.absent
    if not names or len(evidence.present) < 2:
        return None
    return Found(
        "bad",
        YELLOW + 12,
        f"There is no {one_of(evidence.shown.part)} of {classes_named(names, 'or')}, so the number "
        f"says nothing about {'it' if len(names) == 1 else 'them'}.",
    )


def no_test(evidence: Evidence) -> Found | None:
    """The validation part stands in for a test."""
    if not (evidence.own and evidence.shown.part == "validation"):
        return None
    return Found(
        "bad",
        YELLOW + 5,
        "There is no test part: the number is that of the validation images, which also chose "
        "what was kept, so it is a little too good.",
    )


def frames(evidence: Evidence) -> Found | None:
    """Names that look like a series, in a folder that was divided image by image."""
    found = evidence.frames
    if found is None or not evidence.own:
        return None
    return Found(
        "too_few",
        YELLOW + 6,
        f"{capital(some_of(found.images, found.of, 'image'))} look by their names like frames of a "
        "video, a burst or one series; where neighbours are in different parts, the number is too "
        "good.",
    )


def unlike(evidence: Evidence) -> Found | None:
    """Images unlike those that it was trained on."""
    share = evidence.unlike
    if share is None or not share.known or not evidence.shown.images:
        return None
    value, low, high = share.measured()
    what = f"{share_of(value)} of the {images_of(evidence.shown.part)}"
    if low > MANY_UNLIKE:
        return Found(
            "bad",
            YELLOW + 7,
            f"{what} are unlike any that it was trained on (5 % would be usual).",
        )
    if high <= 2 * MANY_UNLIKE:
        return Found("good", 16, f"{what} are unlike those that it was trained on, which is usual.")
    return None


def interrupted(evidence: Evidence) -> Found | None:
    """Training did not come to its end."""
    where = evidence.training.interruption
    if not where:
        return None
    return Found(
        "bad",
        YELLOW + 11,
        f"Training did not come to its end: it {where}. The numbers are of what it had learned by "
        "then.",
    )


def borderline(evidence: Evidence) -> Found | None:
    """Pairs across parts that may be copies."""
    pairs = evidence.borderline
    if not pairs:
        return None
    what = (
        "images in different folds"
        if evidence.shown.cross_validated
        else f"a {one_of(evidence.shown.part)} and one of another part"
    )
    return Found(
        "too_few",
        13,
        f"{plural(pairs, 'pair')} of {what} look{'s' if pairs == 1 else ''} alike, though not "
        "enough to be taken for copies.",
    )
