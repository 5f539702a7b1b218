"""The light: what it says of each kind of result, and what is left of a number under a red one."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from made import metrics, trained, two, verdict

from tellapart.verdict.evidence import Frames, Leak, Origin
from tellapart.verdict.light import _RED
from tellapart.verdict.rule import RED
from tellapart.verdict.rules import RULES


def leak(images: int, of: int, lift: float = 0.0, **more: object) -> Leak:
    """Leaked images that raise the accuracy of the others, 80 %, by ``lift``."""
    high = round(10_000 * (0.8 + lift))
    return Leak(
        images=images,
        of=of,
        with_them=two(high, 10_000 - high),
        without_them=two(8_000, 2_000),
        **more,
    )  # type: ignore[arg-type]


@pytest.mark.parametrize(("light", "case"), [
    ("green", {}),
    ("green", {"shown": two(800, 200), "validation": two(800, 200, "validation")}),
    ("red", {"leak": leak(200, 2000)}),  # a tenth
    ("red", {"leak": leak(60, 2000, 0.06)}),  # fewer, but they raise the number by six points
    ("yellow", {"leak": leak(60, 2000)}),
    ("green", {"leak": leak(10, 2000)}),  # half a percent, left out of the number
    ("yellow", {"leak": leak(10, 2000, counted=True)}),  # the same, counted
    ("red", {"leak": leak(100, 2000, counted=True)}),
    ("red", {"shown": two(52, 48)}),
    ("red", {"shown": metrics([[50, 0], [50, 0]])}),
    ("red", {"shown": metrics([[90, 10], [0, 0]])}),
    ("red", {"shown": metrics([[0, 0], [0, 0]])}),
    ("yellow", {"shown": metrics([[45, 5], [5, 45]])}),  # 82.6 to 94.5 %
    ("red", {"shown": metrics([[8, 2], [2, 8]])}),  # 20 images: 58.4 to 91.9 % is no knowledge
    ("yellow", {"shown": two(730, 270)}),  # a shift
    ("yellow", {"shown": metrics([[1700, 100], [100, 100]])}),  # no more than the largest class
    ("yellow", {"shown": metrics([[990, 9, 0], [20, 979, 0], [0, 0, 0]])}),
    ("yellow", {"shown": two(970, 30, "validation"), "test": None}),
    ("yellow", {"groups": 20}),
    ("yellow", {"frames": Frames(images=1200, of=1500, group_by="folder")}),
    ("yellow", {"training": trained(in_epochs=True, ended_by="interrupted",
                                    interruption="stopped at epoch 2 of 30")}),
    ("yellow", {"not_sought": "all alike"}),
    ("yellow", {"not_sought": "not kept", "own": False}),
    ("green", {"not_sought": "all alike",
               "origin": Origin(run="r", folder="/d", group_by="folder")}),
    ("green", {"training": trained(in_epochs=True, ended_by="early stopping")}),
    # What is wrong with a class or with the confidence is no reason to doubt the number.
    ("green", {"shown": metrics([[1000, 0, 0], [0, 1000, 0], [0, 700, 300]]),
               "validation": None}),
    ("green", {"shown": metrics([[970, 30], [30, 970]], sure=0.99)}),
])  # fmt: skip
def test_the_light(light: str, case: dict[str, object]) -> None:
    found = verdict(**case)  # type: ignore[arg-type]
    assert found.light == light, found.reasons


def test_what_is_left_under_a_red_light() -> None:
    assert verdict(leak=leak(200, 2000)).remains == (
        "On the 20,000 clean test images: 80.0 % are right (79.4 to 80.5 %); guessing gives 50.0 %."
    )
    none_left = Leak(images=50, of=50, copies=50)
    found = verdict(metrics([[0, 0], [0, 0]]), leak=none_left)
    assert found.remains == "Nothing is left: none of the images is new to the classifier."
    uneven = verdict(metrics([[178, 2], [20, 0]])).remains
    assert uneven.endswith("89.0 % are right (83.9 to 92.6 %); always answering cat gives 90.0 %.")


def test_the_answer_names_the_weightiest_reason() -> None:
    assert verdict().answer == (
        "Yes: the true accuracy on such images lies between 96.2 and 97.7 % (95 %)."
    )
    assert verdict(two(730, 270)).answer == (
        "With care: the true accuracy on such images lies between 71.0 and 74.9 % (95 %), but "
        "there are doubts."
    )
    assert verdict(leak=leak(200, 2000)).answer == (
        "No: too many of the test images were also used in training."
    )
    assert "expect" not in verdict().answer  # the next images vary more than the true accuracy


def test_every_reason_for_red_has_its_words() -> None:
    from tellapart.verdict import about_classes, about_number

    assert set(_RED) <= {rule.key for rule in RULES if rule.about_number}
    sources = [Path(m.__file__).read_text("utf-8") for m in (about_classes, about_number)]
    assert sum(text.count("RED + ") for text in sources) >= len(_RED) and RED == 90
