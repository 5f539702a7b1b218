"""Images that belong together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tellapart.data.groups import find_groups, frames_note, join_groups, with_groups
from tellapart.data.reading import read_table
from tellapart.data.table import ImageTable
from tellapart.errors import DataError

PATHS = ["cat/p1_a.jpg", "cat/p2_a.jpg", "dog/p1_b.jpg", "dog/other.jpg"]


def test_pattern_folder_and_column() -> None:
    groups, notes = find_groups(PATHS, r"/p(\d)_")
    assert groups.tolist() == [0, 1, 0, 2]
    assert notes == (
        r"1 of 4 images have no group by '/p(\d)_' and stand alone, for example dog/other.jpg.",
    )
    assert find_groups(PATHS, "folder")[0].tolist() == [0, 0, 1, 1]
    columns = {"patient": ["x", "y", "", ""]}
    assert find_groups(PATHS, "patient", columns)[0].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("group_by", "message"),
    [
        ("patient", r"neither a column nor 'folder'.*lacks a \(group\).*columns there: path, x"),
        ("p(", "nor a regular expression .*unterminated"),
        (r"zz(\d)", "matches none of 4 paths, for example 'cat/p1_a.jpg'"),
        ("near-duplicates", "come from the pictures"),
    ],
)
def test_what_cannot_be_a_group(group_by: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        find_groups(PATHS, group_by, {"path": PATHS, "x": PATHS})


def test_ready_groups_are_joined_with_those_there() -> None:
    """0-1 by the first, 1-2 by the second: 0, 1 and 2 must stay together."""
    first, second = np.array([7, 7, 3, 4]), np.array([0, 1, 1, 2])
    assert join_groups(first, second).tolist() == [0, 0, 0, 1]
    table = ImageTable(
        Path(), tuple(PATHS), np.zeros(4, np.int64), np.array([""] * 4), ("a", "b"), first
    )
    joined = with_groups(table, second).groups
    assert joined is not None
    assert joined.tolist() == [0, 0, 0, 1]
    with pytest.raises(ValueError, match="groups must be 4 integers"):
        with_groups(table, [1, 2])


def folder(names: list[str]) -> tuple[list[str], np.ndarray]:
    paths = [f"{c}/{n}.jpg" for c in ("a", "b") for n in names]
    return paths, np.repeat([0, 1], len(names))


@pytest.mark.parametrize(
    "names",
    [
        [f"video_{i:04d}" for i in range(20)],
        [f"IMG_20240501_101010_BURST{i:03d}" for i in range(20)],
        [f"frame{i}" for i in range(0, 100, 5)],
        [f"patient{p}_{i:03d}" for p in range(4) for i in range(5)],
    ],
)
def test_names_of_frames_raise_the_question(names: list[str]) -> None:
    note = frames_note(*folder(names))
    assert note is not None
    assert note.startswith("40 of 40 images look by their names like frames")
    assert "--group-by" in note


@pytest.mark.parametrize(
    "names",
    [
        [f"cat.{i}" for i in range(20)],
        [f"{i:04d}" for i in range(20)],
        [f"IMG_{i:04d}" for i in range(100, 120)],
        [f"image ({i})" for i in range(20)],
        [f"{i * i * 7919 % 10007:05d}_{i * 31 % 17}" for i in range(20)],
        [f"cell_clip{i * i * i}" for i in range(20)],
    ],
)
def test_ordinary_numbering_does_not(names: list[str]) -> None:
    assert frames_note(*folder(names)) is None


def test_numbered_files_in_folders_below_the_classes() -> None:
    """cat/garden/001.jpg: each folder may be one film; cat/001.jpg is none."""
    labels = np.repeat([0, 1], 20)
    nested = [f"{c}/film{f}/{i:03d}.jpg" for c in "ab" for f in range(4) for i in range(5)]
    note = frames_note(nested, labels, ("a", "b"))
    assert note is not None
    flat = [f"train{p}/{c}/{i:03d}.jpg" for c in "ab" for p in range(4) for i in range(5)]
    assert frames_note(flat, labels, ("a", "b")) is None


def test_the_suggested_grouping_works(tmp_path: Path) -> None:
    """What the note says can be typed as it stands."""
    for name in ("a", "b"):
        for patient in range(4):
            for number in range(5):
                file = tmp_path / name / f"patient{name}{patient}_{number}.jpg"
                file.parent.mkdir(exist_ok=True)
                file.write_bytes(b"picture")
    table = read_table(tmp_path)
    (note,) = table.notes
    suggested = note.rpartition("--group-by ")[2].rstrip(".").strip("'")
    groups = read_table(tmp_path, group_by=suggested).groups
    assert groups is not None
    assert np.bincount(groups).tolist() == [5] * 8
