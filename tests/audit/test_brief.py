"""The audit before every training: copies, leaks and contradictions by digest."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tellapart.audit.brief import brief_audit
from tellapart.data.table import ImageTable


def table(rows: list[tuple[str, int, str]]) -> ImageTable:
    """(path, label, part) a row."""
    return ImageTable(
        root=Path("/images"),
        paths=tuple(path for path, _, _ in rows),
        labels=np.array([label for _, label, _ in rows], dtype=np.int64),
        parts=np.array([part for _, _, part in rows], dtype="<U10"),
        classes=("cat", "dog"),
    )


def test_nothing_to_say_of_pictures_that_all_differ() -> None:
    found = brief_audit(table([("cat/a.jpg", 0, "train"), ("dog/b.jpg", 1, "test")]), ["1", "2"])
    assert found.sentences == ()
    assert found.leaked == {} and found.copies == () and found.contradictions == ()


def test_leaks_are_named_in_the_later_part() -> None:
    rows = [
        ("train/cat/a.jpg", 0, "train"),
        ("validation/cat/a.jpg", 0, "validation"),
        ("test/cat/x.jpg", 0, "test"),
        ("test/cat/y.jpg", 0, "test"),
        ("validation/dog/b.jpg", 1, "validation"),
        ("test/dog/b.jpg", 1, "test"),
        ("test/dog/c.jpg", 1, "test"),
        ("test/dog/d.jpg", 1, "test"),
    ]
    found = brief_audit(table(rows), ["A", "A", "A", "n", "B", "B", "C", "C"])
    assert found.leaked == {
        "validation": ("validation/cat/a.jpg",),
        "test": ("test/cat/x.jpg", "test/dog/b.jpg"),
    }
    assert found.sentences[0].startswith(
        "2 of 5 test images (40.0 %) are also in train or validation, byte for byte, for example "
        "test/cat/x.jpg"
    )
    assert found.sentences[1] == (
        "1 of 2 validation images (50.0 %) is also in train, byte for byte, for example "
        "validation/cat/a.jpg. The validation score is too good by that; leave it out with "
        "--exclude."
    )
    # c and d are alike, but both in test: a copy, no leak.
    assert found.sentences[2].startswith("1 file is a copy of another in the same class and part")
    assert "test/dog/d.jpg of test/dog/c.jpg" in found.sentences[2]


def test_one_picture_under_two_labels() -> None:
    rows = [("cat/a.jpg", 0, "train"), ("dog/a.jpg", 1, "train"), ("dog/b.jpg", 1, "train")]
    found = brief_audit(table(rows), ["A", "A", "B"])
    assert found.contradictions == (("cat/a.jpg", "dog/a.jpg"),)
    assert found.sentences == (
        "1 picture is there under two labels, for example cat/a.jpg and dog/a.jpg. At most one "
        "is right; look at them and leave the wrong ones out with --exclude.",
    )


def test_copies_in_a_folder_that_is_not_split_yet() -> None:
    rows = [("cat/a.jpg", 0, ""), ("cat/b.jpg", 0, ""), ("cat/c.jpg", 0, ""), ("dog/d.jpg", 1, "")]
    found = brief_audit(table(rows), ["A", "A", "A", "D"])
    assert found.copies == (("cat/a.jpg", "cat/b.jpg", "cat/c.jpg"),)
    assert found.sentences[0].startswith("2 files are copies")
    assert "A random split may put copies on both sides" in found.sentences[0]


def test_names_like_frames_raise_the_question() -> None:
    rows = [
        (f"{name}/video_{i:04d}.jpg", label, "")
        for label, name in enumerate(("cat", "dog"))
        for i in range(20)
    ]
    found = brief_audit(table(rows), [str(i) for i in range(40)])
    assert len(found.sentences) == 1
    assert "--group-by" in found.sentences[0]
    assert found.observations[0].kind == "frames"


def test_control_characters_in_names_do_not_reach_the_terminal() -> None:
    rows = [("cat/a\n\x1b.jpg", 0, "train"), ("dog/a.jpg", 1, "train")]
    sentence = brief_audit(table(rows), ["A", "A"]).sentences[0]
    assert "\n" not in sentence and "\x1b" not in sentence


def test_digests_must_fit_the_table() -> None:
    with pytest.raises(ValueError, match="1 digests for 2 images"):
        brief_audit(table([("a", 0, ""), ("b", 1, "")]), ["A"])
