"""What a comparison of images with those of training says, in sentences."""

from __future__ import annotations

from tellapart.monitoring.compare import FOREIGN_SHARE, LEVEL, ClassShare, Compared
from tellapart.number import Number
from tellapart.wording import listed, percent, plural

#: From this p on a difference of confidence is worth a sentence of its own; it decides nothing.
_TELLING = 0.01


def headline(compared: Compared) -> str:
    """The answer, in a sentence."""
    one = compared.images == 1
    images = "This one image" if one else f"These {plural(compared.images, 'image')}"
    if compared.outcome == "too few":
        return f"{images} {'is' if one else 'are'} too few to tell."
    if compared.outcome == "alike":
        return f"{images} show no sign of looking other than those of training."
    if compared.pictures_differ or not compared.shares_differ:
        return f"{images} {'looks' if one else 'look'} other than those of training."
    return f"{images} look like those of training, but the classes come in other shares."


def sentences(compared: Compared) -> list[str]:
    """What the answer goes by, a sentence each."""
    return [
        chance(compared), unlike(compared), altogether(compared), shares(compared),
        confidence(compared), noticeable(compared),
    ]  # fmt: skip


def chance(compared: Compared) -> str:
    """What the deciding test says."""
    against = known_images(compared)
    p = p_text(compared.tests.all)
    if compared.outcome == "drifted":
        return f"Chance alone would hardly set them so far apart from {against}: {p}."
    return f"From {against} they differ no more than by chance: {p}."


def known_images(compared: Compared) -> str:
    """What they are held against."""
    trained = compared.known - compared.validation
    validation = plural(compared.validation, "validation image")
    return validation + (f" and {plural(trained, 'training image')}" if trained else "")


def unlike(compared: Compared) -> str:
    """How many are far from every training image."""
    share = compared.unknown
    count = int(compared.far.sum())
    return (
        f"{plural(count, 'image')}, {_limits(share)}, "
        f"{'is' if count == 1 else 'are'} far from every training image; "
        f"{percent(compared.expected_unknown, 0)} of images of the same kind would be."
    )


def altogether(compared: Compared) -> str:
    """How they look as a whole."""
    found = (
        "As a whole they are set apart" if compared.tests.altogether <= LEVEL
        else "As a whole nothing sets them apart"
    )  # fmt: skip
    sentence = f"{found} ({p_text(compared.tests.altogether)})"
    if compared.separation is None:
        return f"{sentence}."
    return (
        f"{sentence}; told from those by looks {compared.separation:.2f}, where 0.5 is "
        "guessing and 1 is always."
    )


def shares(compared: Compared) -> str:
    """How frequent the classes are."""
    largest = sorted(compared.classes, key=lambda share: -abs(share.asked - share.known))[:3]
    told = listed([_moved(share) for share in largest], 3)
    p = p_text(compared.tests.shares)
    if compared.tests.shares <= LEVEL:
        return f"Other classes are frequent ({p}): {told}."
    return f"The classes are as frequent as in validation, within chance ({p}): {told}."


def confidence(compared: Compared) -> str:
    """How sure the classifier is."""
    ours, theirs = percent(compared.confidence), percent(compared.known_confidence)
    moved = "lower" if compared.confidence < compared.known_confidence else "higher"
    p = p_text(compared.tests.confidence)
    if compared.tests.confidence <= _TELLING:
        return f"Confidence is {moved} than in validation: {ours} on average, not {theirs} ({p})."
    return f"Confidence is {ours} on average, in validation {theirs} ({p})."


def noticeable(compared: Compared) -> str:
    """What would have been noticed among so many images."""
    share = compared.noticeable
    if share is None:
        return "Among so few images no test would notice others."
    told = (
        f"Among so many images a share of {percent(share, 0)} that is clearly of another kind is "
        "noticed nine times out of ten"
    )
    if share > FOREIGN_SHARE:
        return f"{told}; for {percent(FOREIGN_SHARE, 0)} it takes more images."
    return f"{told}; images that are nearly alike take more."


def _limits(share: Number) -> str:
    """A share with its interval: 20.5 % (15.5 to 26.6 %)."""
    if share.value is None or share.low is None or share.high is None:
        return share.reason
    low, high = percent(share.low).removesuffix(" %"), percent(share.high)
    return f"{percent(share.value)} ({low} to {high})"


def p_text(p: float) -> str:
    """A p as it stands in sentences."""
    return f"p = {p:.3f}" if p >= 0.0015 else f"p = {p:.4f}"


def _moved(share: ClassShare) -> str:
    return f"{share.name} {percent(share.asked, 0)} (validation {percent(share.known, 0)})"
