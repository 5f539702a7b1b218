"""Who leads, in full sentences; what they say was written down by hand."""

from __future__ import annotations

import pytest

from tellapart.comparison.standing import Standing, standing_sentences

ACCURACIES = {
    "a": ("96.00 %", "95 to 97"), "b": ("95.00 %", "94 to 96"),
    "c": ("94.00 %", "93 to 95"), "d": ("60.00 %", "57 to 63"),
}  # fmt: skip


def said(
    standing: Standing, trained: dict[str, int] | None = None, names: str = "abcd",
    images: int = 1_200,
) -> list[str]:  # fmt: skip
    accuracies = {name: ACCURACIES[name] for name in names}
    return standing_sentences(standing, accuracies, trained or {}, "test", images)


def test_who_wins() -> None:
    wins = Standing("a", "test", worse=("b", "c"))
    assert wins.winner == "a"
    assert said(wins, names="abc") == [
        "a is the most accurate on the 1,200 test images: 96.00 % (95 to 97).",
        "It is better than each of the others by more than chance.",
    ]
    by_validation = Standing("a", "validation", worse=("b",))
    assert said(by_validation, {"a": 2, "b": 1}, "ab") == [
        "a is the most accurate on the 1,200 test images: 96.00 % (95 to 97).",
        "By validation, which ranks the runs, it is first as well.",
    ]


@pytest.mark.parametrize("others", [{"level": ("b",)}, {"better": ("b",)}])
def test_a_leader_that_is_not_better_than_all_is_no_winner(
    others: dict[str, tuple[str, ...]],
) -> None:
    assert Standing("a", "validation", worse=("c",), **others).winner == ""


def test_one_or_several_are_better_than_the_first_by_validation() -> None:
    assert said(Standing("c", "validation", worse=("d",), better=("b",)), names="bcd") == [
        "No clear winner: validation puts c first (94.00 % on the 1,200 test images), but "
        "b (95.00 %) is more accurate there by more than chance.",
        "c is better than d by more than chance.",
    ]
    two = said(Standing("c", "validation", better=("a", "b")), names="abc")
    assert two[0].endswith("but a (96.00 %) and b (95.00 %) are more accurate there by more than "
                           "chance.")  # fmt: skip
    several = Standing("d", "validation", better=("a", "b", "c"))
    assert said(several) == [
        "No clear winner: validation puts d first (60.00 % on the 1,200 test images), but "
        "a (96.00 %), b (95.00 %) and c (94.00 %) are more accurate there by more than chance.",
    ]


def test_two_that_cannot_be_told_apart() -> None:
    two = Standing("a", "validation", level=("b",))
    sentence = (
        "No clear winner: a and b cannot be told apart on the 1,200 test images "
        "(96.00 % and 95.00 %)."
    )
    assert said(two, names="ab") == [sentence]
    assert said(two, {"a": 3_000, "b": 20}, "ab") == [
        sentence, "b trained fewer parameters: 20 instead of 3,000.",
    ]  # fmt: skip
    assert said(two, {"a": 0, "b": 20}, "ab")[1:] == [
        "a trained fewer parameters: 0 instead of 20.",
    ]
    assert said(two, {"a": 20, "b": 20}, "ab") == said(two, {"b": 20}, "ab") == [sentence]


def test_several_that_may_be_as_good_and_the_cheapest_of_them() -> None:
    standing = Standing("a", "validation", worse=("d",), level=("b", "c"))
    assert said(standing, {"a": 9_000, "b": 1_500, "c": 1_600, "d": 7}) == [
        "No clear winner: a leads by validation (96.00 % on the 1,200 test images), and "
        "b (95.00 %) and c (94.00 %) may be as good.",
        "Of these, b trained the fewest parameters: 1,500.",
        "a is better than d by more than chance.",
    ]
    by_test = Standing("a", "test", worse=("c", "d"), level=("b",))
    assert said(by_test, {"a": 5, "b": 6}, images=30) == [
        "No clear winner: a leads (96.00 % on the 30 test images), and b (95.00 %) may be as good.",
        "a trained fewer parameters: 5 instead of 6.",
        "a is better than c and d by more than chance.",
    ]


def test_two_that_trained_equally_few_are_not_named() -> None:
    standing = Standing("a", "validation", level=("b", "c"))
    assert len(said(standing, {"a": 9, "b": 5, "c": 5}, "abc")) == 1
    assert len(said(standing, {"a": 5, "b": 9, "c": 9}, "abc")) == 2


def test_better_runs_count_among_those_that_may_be_cheapest() -> None:
    standing = Standing("c", "validation", level=("b",), better=("a",))
    assert said(standing, {"a": 1, "b": 2, "c": 3}, "abc")[1:] == [
        "Of these, a trained the fewest parameters: 1.",
    ]
