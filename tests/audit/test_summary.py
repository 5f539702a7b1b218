"""One sentence a kind of finding."""

from __future__ import annotations

from tellapart.audit.finding import Finding
from tellapart.audit.summary import summarise


def found(kind: str, paths: tuple[str, ...], sentence: str = "It is so.") -> Finding:
    nothing = ("",) * len(paths)
    return Finding(kind, paths, nothing, nothing, 1.0, sentence, "Look at it.")


def test_several_of_a_kind_become_one_sentence_with_the_first_as_example() -> None:
    (told,) = summarise(
        [
            found("near_duplicate", ("a", "b"), "a is b cropped."),
            found("near_duplicate", ("c", "d")),
        ]
    )
    assert told.sentence == (
        "2 pictures are there more than once, slightly changed. The clearest: a is b cropped."
    )
    assert told.paths == ("a", "b", "c", "d")
    assert told.level == "warning"


def test_one_of_a_kind_and_every_shortcut_speak_for_themselves() -> None:
    told = summarise(
        [
            found("blank", ("a",), "a is blank."),
            found("shortcut", (), "All cats are PNG."),
            found("shortcut", (), "All dogs are 200 x 200."),
        ]
    )
    assert [one.sentence for one in told] == [
        "a is blank.",
        "All cats are PNG.",
        "All dogs are 200 x 200.",
    ]


def test_leaks_are_problems_and_unreadable_files_are_told_elsewhere() -> None:
    told = summarise([found("leak", ("a", "b")), found("truncated", ("c",)), found("new", ("d",))])
    assert [(one.kind, one.level) for one in told] == [("leak", "problem"), ("new", "note")]


def test_leaks_are_told_as_shares_of_their_part() -> None:
    leaks = [
        Finding("leak", ("train/a", f"test/{n}"), ("x", "x"), ("train", "test"), 1.0,
                "The same picture.", "Leave it out.", exclude=(f"test/{n}",))
        for n in range(3)
    ]  # fmt: skip
    (told,) = summarise(leaks, {"train": 50, "validation": 0, "test": 12})
    assert told.sentence.startswith(
        "3 of 12 test images (25.0 %) are also in an earlier part. The clearest: "
    )
