"""The words that the sentences of a verdict share: images, classes, shares, differences."""

from __future__ import annotations

import math

from tellapart.number import Number
from tellapart.wording import percent, plural, shown, some_of


def share_of(number: Number | float) -> str:
    """``73.4 %``; never 100 % of what is not all."""
    return percent(number.measured()[0] if isinstance(number, Number) else number)


def limits_of(number: Number) -> str:
    """``69.0 to 77.7 %``."""
    _, low, high = number.measured()
    return f"{share_of(low).removesuffix(' %')} to {share_of(high)}"


def class_named(name: str) -> str:
    """A class in a sentence; one of several words in quotes.

    >>> class_named("cat"), class_named("no tumour")
    ('cat', "'no tumour'")
    """
    text = shown(name)
    return f"'{text}'" if not text or any(c.isspace() for c in text) else text


def classes_named(names: tuple[str, ...] | list[str], last: str = "and", most: int = 3) -> str:
    """Some classes, the first few by name."""
    words = [class_named(name) for name in names[:most]]
    if len(names) > most:
        return f"{', '.join(words)} {last} {len(names) - most:,} more"
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} {last} {words[-1]}"


def images_of(part: str, count: int | None = None) -> str:
    """Images of a part, with their number where one is given.

    >>> images_of("test", 12), images_of("train"), images_of("phone", 1)
    ('12 test images', 'training images', '1 image of phone')
    """
    own = {"train": "training image", "validation": "validation image", "test": "test image"}
    if part in own:
        return plural(count, own[part]) if count is not None else f"{own[part]}s"
    noun = plural(count, "image") if count is not None else "images"
    return f"{noun} of {class_named(part)}"


def some_images(part: str, count: int, total: int) -> str:
    """So many of the images of a part.

    >>> some_images("test", 3, 12), some_images("phone", 12, 12), some_images("train", 1, 1)
    ('3 of 12 test images', 'all 12 images of phone', 'the only training image')
    """
    noun, of, name = one_of(part).partition(" of ")
    return some_of(count, total, noun, of + name)


def one_of(part: str) -> str:
    """``test image``, ``image of phone``: one that is not there.

    >>> one_of("test"), one_of("phone")
    ('test image', 'image of phone')
    """
    return images_of(part, 1).removeprefix("1 ")


def was(count: int) -> str:
    """``was`` for one and for none, else ``were``."""
    return "was" if count in (0, 1) else "were"


def points(value: float) -> str:
    """A difference of shares: ``21.6 points``."""
    text = f"{100 * value:.1f}"
    return f"{text} point{'' if text == '1.0' else 's'}"


def difference(one: Number, other: Number) -> Number:
    """``one`` less ``other`` of two sets of images that share none, with its 95 % interval.

    From the limits of both (MOVER; for proportions Newcombe's method 10, Newcombe 1998), so
    that it knows of groups and small numbers whatever they know.

    >>> found = difference(Number(56 / 70, 0.6915, 0.8777), Number(48 / 80, 0.4904, 0.7003))
    >>> [round(x, 3) for x in found.measured()]
    [0.2, 0.052, 0.334]
    """
    p, p_low, p_high = one.measured()
    q, q_low, q_high = other.measured()
    gap = p - q
    low = gap - math.hypot(p - p_low, q_high - q)
    high = gap + math.hypot(p_high - p, q - q_low)
    return Number(gap, max(-1.0, low), min(1.0, high), "newcombe")
