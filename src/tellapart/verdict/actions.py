"""What to do next: the few actions that promise most, each with the command that does it.

A table, ranked: the first that the evidence asks for come first. None advises what the run
already does, and none names a command that cannot be run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

from tellapart.evaluation.curve_shape import shape_of
from tellapart.evaluation.learning_curve import class_sentence, doubling_sentence
from tellapart.verdict.about_classes import taken_for_another
from tellapart.verdict.about_fit import is_harder
from tellapart.verdict.about_number import RARE, holds_elsewhere
from tellapart.verdict.commands import go_on, inspect_images, train_again
from tellapart.verdict.evidence import Evidence, Origin
from tellapart.verdict.rule import RED
from tellapart.verdict.verdict import Action, Conclusion
from tellapart.verdict.words import class_named, classes_named, images_of, share_of
from tellapart.wording import duration, plural

#: At most so many are told.
MOST = 4
#: Fine-tuning wants so many images, and promises little beyond this accuracy.
ENOUGH_TO_FINE_TUNE, HARD_TO_BETTER = 200, 0.97
#: Images that a class needs for one in each part.
FEWEST_TO_SPLIT = 3
#: Below so many training images a pretrained network beats one from scratch by far.
FEW_FOR_SCRATCH = 20_000
#: Share of the images for the test where it was too small: twice the usual one.
LARGER_TEST = 0.3

Found = Mapping[str, Conclusion]

#: One action, where the evidence asks for it.
_Advice = Callable[[Evidence, Origin, Found], Action | None]


def actions_of(evidence: Evidence, conclusions: tuple[Conclusion, ...]) -> tuple[Action, ...]:
    """At most :data:`MOST`, the most promising first, no command twice."""
    origin = evidence.origin
    if origin is None:
        return ()
    found = {c.kind: c for c in conclusions}
    made: list[Action] = []
    for advice in _ADVICE:
        action = advice(evidence, origin, found)
        repeats = (
            action is not None
            and action.command
            and any(action.command == other.command for other in made)
        )
        if action is not None and not repeats:
            made.append(action)
    return tuple(made[:MOST])


def _bad(found: Found, *keys: str) -> bool:
    return any(key in found and found[key].judgement == "bad" for key in keys)


def _doubted(found: Found, *keys: str) -> bool:
    """Not good: bad, or too few images to tell."""
    return any(key in found and found[key].judgement != "good" for key in keys)


def _finish(evidence: Evidence, origin: Origin, found: Found) -> Action | None:
    if not evidence.own or not evidence.training.interruption:
        return None
    return Action("finish", "Let training come to its end.", go_on(origin))


def _leave_out_leaks(evidence: Evidence, origin: Origin, found: Found) -> Action | None:
    leak = evidence.leak
    if leak is None or not evidence.own or not _bad(found, "leak"):
        return None
    if leak.counted:
        return Action(
            "no_leaks",
            "Train without --keep-leaks, so that only clean images count.",
            train_again(origin, "--set", "data.keep_leaks=false", start=origin.started_from),
        )
    if found["leak"].weight < RED:
        return None
    return Action(
        "see_leaks",
        f"Look at the {plural(leak.images, 'image')} that {'is' if leak.images == 1 else 'are'} in "
        "training as well, and put new ones in their place: what is left may not be of the kind "
        "that you mean to test.",
        inspect_images(origin),
    )


def _group(evidence: Evidence, origin: Origin, found: Found) -> Action | None:
    frames = evidence.frames
    if not evidence.own or origin.group_by or origin.given_parts:
        return None
    if frames is None:
        return (
            None
            if not _doubted(found, "not_sought")
            else Action(
                "group",
                "If several images show the same thing (one product, one patient), train again "
                "with --group-by, which keeps them in one part.",
            )
        )
    return Action(
        "group",
        f"If these {frames.images:,} images are series, keep each series in one part.",
        train_again(origin, "--group-by", frames.group_by, start=_start_of_others(origin)),
    )


def _look_at_labels(evidence: Evidence, origin: Origin, found: Found) -> Action | None:
    if not evidence.own:
        return None
    if _bad(found, "learned") and not holds_elsewhere(evidence):
        return Action(
            "labels",
            "Look at the labels and the pictures: nothing in them was learned.",
            inspect_images(origin),
        )
    if "sure_mistakes" in found:
        return Action(
            "labels",
            "Look at the mistakes that it was sure of (they come first in the gallery), and for "
            "wrong labels in all images.",
            inspect_images(origin),
        )
    return None


def _start_of_others(origin: Origin) -> str:
    """The run that this one began from, where another division gives its images to no test."""
    return origin.started_from if origin.started_elsewhere else ""


def _same_start(origin: Origin, recipe: str) -> str:
    """The run that this one began from, where the recipe's network has its weights."""
    return origin.started_from if recipe in origin.fits else ""


def _could_be_better(evidence: Evidence) -> bool:
    """The accuracy is not surely as high as another way of training is likely to bring it."""
    value = evidence.shown.accuracy.value
    return value is not None and value < HARD_TO_BETTER


def _use_pretrained(evidence: Evidence, origin: Origin, found: Found) -> Action | None:
    training = evidence.training
    if training.pretrained or not evidence.own or not _could_be_better(evidence):
        return None
    if not 0 < evidence.train_images < FEW_FOR_SCRATCH:
        return None
    return Action(
        "pretrained",
        f"Start from a network that was trained on millions of photographs: with "
        f"{images_of('train', evidence.train_images)} it usually wins by far.",
        train_again(origin, recipe="auto"),
    )


def _fine_tune(evidence: Evidence, origin: Origin, found: Found) -> Action | None:
    training = evidence.training
    if not (training.pretrained and training.frozen and evidence.own):
        return None
    if evidence.train_images < ENOUGH_TO_FINE_TUNE or not _could_be_better(evidence):
        return None
    if _bad(found, "learned") and holds_elsewhere(evidence):
        return None  # it does learn; what these images lack is others like them
    room = (
        "nothing shows that it sees, as it is, what tells these classes apart"
        if _bad(found, "learned")
        else f"{share_of(evidence.shown.accuracy)} leaves room for it"
    )
    return Action(
        "fine_tune",
        "Fine-tune: let the pretrained network itself learn from your images, of which only its "
        f"last layer has learned so far; {room}.",
        train_again(
            origin, recipe="finetune", start=origin.run if "finetune" in origin.fits else ""
        ),
    )


def _augment(evidence: Evidence, origin: Origin, found: Found) -> Action | None:
    training = evidence.training
    if not _bad(found, "fitting") or not evidence.own or training.augmented:
        return None
    if _bad(found, "learned"):
        return None  # changed copies of images in which nothing is found promise nothing
    if not training.pretrained:
        return None  # the pretrained network promises more
    recipe = "frozen-augmented" if training.frozen else "finetune"
    return Action(
        "augment",
        "Augment: train on changed copies of each image, so that less is learned by heart.",
        train_again(origin, recipe=recipe, start=_same_start(origin, recipe)),
    )


def _freeze(evidence: Evidence, origin: Origin, found: Found) -> Action | None:
    training = evidence.training
    if not _bad(found, "fitting") or not evidence.own or training.frozen:
        return None
    if not (training.pretrained and training.augmented):
        return None
    return Action(
        "freeze",
        "Leave the pretrained network as it is: fewer weights learn less by heart.",
        train_again(
            origin, recipe="frozen-augmented", start=_same_start(origin, "frozen-augmented")
        ),
    )


def _more_epochs(evidence: Evidence, origin: Origin, found: Found) -> Action | None:
    training = evidence.training
    if not (evidence.own and _bad(found, "epochs") and training.in_epochs):
        return None
    shape = shape_of(training.history)
    if shape is None or shape.kind != "falling":
        return None
    number = max(5, len(training.history) // 2)
    seconds = training.seconds_an_epoch
    time = f", about {duration(number * seconds)} on the same machine" if seconds else ""
    return Action(
        "more_epochs",
        f"Train for {number} more epochs{time}.",
        go_on(origin, "--extend", str(number)),
    )


def _balance(evidence: Evidence, origin: Origin, found: Found) -> Action | None:
    """Rare classes that are missed count more."""
    training = evidence.training
    if not evidence.own or training.balanced:
        return None
    if not (
        _bad(found, "weak_class", "single_prediction", "majority")
        or _doubted(found, "never_predicted")
    ):
        return None
    counts = {name: n for name, n in evidence.counts.get("train", {}).items() if n}
    if len(counts) < 2 or max(counts.values()) < 2 * min(counts.values()):
        return None
    rare = min(counts, key=counts.__getitem__)
    section = "training" if training.in_epochs else "probe"
    return Action(
        "balance",
        f"Let rare classes count more: {class_named(rare)} has only {counts[rare]:,} of "
        f"{images_of('train', sum(counts.values()))}.",
        train_again(origin, "--set", f"{section}.class_weight=balanced", start=origin.started_from),
    )


def _more_images(evidence: Evidence, origin: Origin, found: Found) -> Action | None:
    """What refits on fewer images say of more of them."""
    curve = evidence.curve
    if curve is None or not evidence.own or curve.hardly_helps:
        return None
    told = doubling_sentence(curve)
    if curve.next_class is not None:
        more = f" {told}" if curve.helps else ""
        return Action("more_images", f"{class_sentence(curve)}{more}")
    return Action("more_images", f"Collect more images. {told}") if curve.helps else None


def _more_of_class(evidence: Evidence, origin: Origin, found: Found) -> Action | None:
    curve = evidence.curve
    if curve is not None and (curve.hardly_helps or curve.helps or curve.next_class is not None):
        return None  # what was measured says more than the mistakes do
    if not evidence.own or not _bad(found, "weak_class", "confusion", "never_predicted"):
        return None
    if _bad(found, "learned"):
        return None  # more of the same promise nothing
    if not _bad(found, "weak_class", "never_predicted"):
        return Action("more_images", f"Collect more images of {taken_for_another(evidence)}.")
    rows = evidence.shown.per_class
    worst = min(evidence.present, key=lambda name: rows[name].recall.measured()[2])
    has = evidence.counts.get("train", {}).get(worst)
    now = f", which has {has:,} to train on" if has else ""
    return Action(
        "more_images",
        f"Collect more images of {class_named(worst)}{now}, like those that it gets wrong.",
    )


def _more_test_images(evidence: Evidence, origin: Origin, found: Found) -> Action | None:
    asks = ("few_images", "few_groups", "missing_classes", "one_class", "rare_class")
    learned = found.get("learned")
    if not _doubted(found, *asks) and (learned is None or learned.judgement != "too_few"):
        return None
    images, part = evidence.shown.images, evidence.shown.part
    if evidence.absent:
        return Action(
            "larger_test", f"Collect {images_of(part)} of {classes_named(evidence.absent, 'and')}."
        )
    rows = evidence.shown.per_class
    rare = [name for name in evidence.present if rows[name].support < RARE]
    if rare and not _doubted(found, "few_images", "few_groups", "one_class"):
        few = sum(rows[name].support for name in rare)
        return Action(
            "larger_test",
            f"Collect more images of {classes_named(rare)}: {images_of(part, few)} "
            f"{'says' if few == 1 else 'say'} too little.",
        )
    if evidence.shown.cross_validated:
        if _more_images(evidence, origin, found) is not None:
            return None  # it asks for them already
        return Action(
            "larger_test",
            f"Collect more images: every one of the {images:,} was tested already, and they say "
            "too little.",
        )
    all_images = sum(sum(counts.values()) for counts in evidence.counts.values())
    splits_test = evidence.own and part == "test" and "test" not in origin.given_parts
    if splits_test and 0 < images < 0.8 * LARGER_TEST * all_images:
        return Action(
            "larger_test",
            f"Keep more images for the test, or better, collect more: {images_of(part, images)} "
            f"{'says' if images == 1 else 'say'} too little.",
            train_again(origin, "--test", f"{LARGER_TEST:g}", start=_start_of_others(origin)),
        )
    return Action("larger_test", f"Collect more {images_of(part)}.")


def _make_test(evidence: Evidence, origin: Origin, found: Found) -> Action | None:
    if not _bad(found, "no_test"):
        return None
    parts = (evidence.counts.get(part, {}) for part in ("train", "validation"))
    images: Counter[str] = Counter()
    for counts in parts:
        images.update(counts)
    if min(images.values(), default=0) < FEWEST_TO_SPLIT and not origin.given_parts:
        return Action("make_test", "Collect images for a test that nothing is chosen by.")
    return Action(
        "make_test",
        "Keep images for a test that nothing is chosen by.",
        train_again(origin, "--test", "0.15", start=_start_of_others(origin)),
    )


def _images_like_these(evidence: Evidence, origin: Origin, found: Found) -> Action | None:
    harder = _bad(found, "shift") and is_harder(evidence)
    if not (harder or _bad(found, "unlike")):
        return None
    return Action(
        "like_these",
        f"Train on images like the {images_of(evidence.shown.part)} too: from the same places, "
        "cameras and days.",
    )


#: The most promising first.
_ADVICE: tuple[_Advice, ...] = (
    _finish,
    _leave_out_leaks,
    _make_test,
    _group,
    _use_pretrained,
    _look_at_labels,
    _images_like_these,
    _fine_tune,
    _balance,
    _more_epochs,
    _augment,
    _freeze,
    _more_images,
    _more_of_class,
    _more_test_images,
)
