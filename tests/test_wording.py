"""Numbers, names and lists of names in sentences."""

from __future__ import annotations

import doctest

import pytest

from tellapart import wording
from tellapart.wording import did_you_mean, listed, nearest, percent, shortened, shown


def test_the_examples_are_right() -> None:
    assert doctest.testmod(wording).failed == 0


@pytest.mark.parametrize(
    ("names", "most", "last", "expected"),
    [
        ((), 3, "and", "none"),
        (("cat",), 3, "and", "cat"),
        (("cat", "dog"), 3, "and", "cat and dog"),
        (("cat", "dog", "owl"), 3, "and", "cat, dog and owl"),
        (("cat", "dog", "owl", "pig", "rat"), 3, "and", "cat, dog, owl and 2 more"),
        (("cat", "dog", "owl"), 10, "", "cat, dog, owl"),
        (("cat\x1b[2J", "dog\n"), 10, "or", r"cat\x1b[2J or dog\n"),
    ],
)
def test_names_are_listed(names: tuple[str, ...], most: int, last: str, expected: str) -> None:
    assert listed(names, most, last) == expected


def test_the_nearest_name_is_offered_and_none_where_none_is_near() -> None:
    assert did_you_mean("Dgo", ["cat", "dog"]) == " Did you mean 'dog'?"
    assert did_you_mean("CATS", ["cats", "dogs"]) == " Did you mean 'cats'?"
    assert did_you_mean("cifar", ["cifar-resnet", "ucmerced"]) == " Did you mean 'cifar-resnet'?"
    assert did_you_mean("zebra", ["cat", "dog"]) == ""
    assert nearest("conv", ["conv2", "conv1", "head"], most=2) == ["conv1", "conv2"]


@pytest.mark.parametrize(
    ("share", "decimals", "text"),
    [
        (0.5, 0, "50 %"), (0.996, 0, "99.6 %"), (0.9996, 0, "> 99.9 %"), (1.0, 0, "100 %"),
        (0.9995, 1, "99.95 %"), (0.99994, 1, "99.99 %"), (0.99996, 1, "> 99.99 %"),
        (1 - 1e-12, 1, "> 99.99 %"), (0.0004, 1, "0.04 %"), (1e-9, 1, "< 0.01 %"),
        (0.0, 1, "0.0 %"), (0.99996, 2, "99.996 %"), (0.9999, 2, "99.99 %"), (0.3, 2, "30.00 %"),
        (-0.0123, 1, "-1.2 %"), (1.25, 1, "125.0 %"),
    ],
)  # fmt: skip
def test_nearly_all_and_hardly_any_are_not_rounded_to_all_and_none(
    share: float, decimals: int, text: str
) -> None:
    assert percent(share, decimals) == text


def test_what_a_terminal_would_obey_is_shown_as_text() -> None:
    assert shown("a\x1b[31mred\r\n\u202eb\udcff") == r"a\x1b[31mred\r\n\u202eb\udcff"
    assert shown("Größe 猫.jpg") == "Größe 猫.jpg"


def test_long_text_keeps_both_ends() -> None:
    assert shortened("short", 10) == "short"
    assert shortened("abcdefghijklmnop", 9) == "abc...nop"
