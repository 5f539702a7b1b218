"""Images that belong together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tellapart.data.groups import (
    find_groups,
    frames_note,
    frames_of_note,
    join_groups,
    with_groups,
)
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


def test_ready_groups_are_whole_numbers_also_where_there_were_none() -> None:
    table = ImageTable(Path(), tuple(PATHS), np.zeros(4, np.int64), np.array([""] * 4), ("a", "b"))
    groups = with_groups(table, np.array([9, 4, 9, 5], np.int16)).groups
    assert groups is not None and groups.dtype == np.int64
    assert groups.tolist() == [2, 0, 2, 1]


def test_joined_groups_are_the_smallest_that_neither_numbering_tears() -> None:
    """Compared with merging sets, one pair after the other, over made numberings."""
    random = np.random.default_rng(0)
    for _ in range(50):
        first, second = random.integers(0, 12, (2, 15))
        sets = [{row} for row in range(15)]
        for numbers in (first, second):
            for row in range(15):
                for other in np.flatnonzero(numbers == numbers[row]):
                    merged = sets[row] | sets[other]
                    for member in merged:
                        sets[member] = merged
        joined = join_groups(first, second)
        assert [set(np.flatnonzero(joined == joined[row])) for row in range(15)] == sets
        assert joined.dtype == np.int64


def test_what_a_note_of_frames_says_is_read_again() -> None:
    paths, labels = folder([f"video_{i:04d}" for i in range(700)])
    others = [f"a/x{i * i * 7919 % 100003}.jpg" for i in range(100)]
    note = frames_note([*paths, *others], np.concatenate([labels, np.zeros(100, np.int64)]))
    assert note is not None and note.startswith("1,400 of 1,500 images")
    assert frames_of_note(["Something else.", note]) == (1400, 1500, "near-duplicates")
    assert frames_of_note(["Something else."]) is None


def test_ids_raise_the_question_from_three_on() -> None:
    for classes, asked in ((("a", "b"), False), (("a", "b", "c"), True)):
        names = [f"{c}/patient{k}_{i:03d}.jpg" for k, c in enumerate(classes) for i in range(9)]
        labels = np.repeat(np.arange(len(classes)), 9)
        assert (frames_note(names, labels) is not None) == asked
    # Beside patients, ordinary numbers are no frames.
    paths = [f"a/patient{p}_{i:03d}.jpg" for p in range(3) for i in range(4)]
    plain = [f"a/IMG_{i:04d}.jpg" for i in range(8)]
    note = frames_note([*paths, *plain], np.zeros(20, np.int64))
    assert note is not None and note.startswith("12 of 20 images")
    glued = [f"a/b{p}X{i:03d}.jpg" for p in range(4) for i in range(5)]
    assert frames_note(glued, np.zeros(20, np.int64)) is None


def test_a_fifth_of_the_images_and_six_are_enough_to_ask() -> None:
    for frames, others, asked in ((6, 24, True), (6, 25, False), (5, 3, False), (6, 0, True)):
        paths = [f"a/video_{i}.jpg" for i in range(frames)]
        paths += [f"a/x{i * i * 7919 % 100003}y.jpg" for i in range(others)]
        note = frames_note(paths, np.zeros(len(paths), np.int64))
        assert (note is not None) == asked, (frames, others)


def test_a_grouping_is_suggested_that_leaves_three_groups_a_class() -> None:
    def suggested(series: int) -> str:
        names = [f"{c}/{c}{p}_frame{i}.jpg" for c in "ab" for p in range(series) for i in range(5)]
        note = frames_note(names, np.repeat([0, 1], 5 * series))
        assert note is not None
        return note.rpartition("--group-by ")[2]

    assert suggested(3) == r"'^(.*?)\d+\.\w+$'."
    assert suggested(2) == "near-duplicates."
