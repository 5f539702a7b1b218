"""What counts as a copy, what leaks, and splits that keep copies together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from made_images import CHANGES, photograph, resized
from tellapart.data.copies import ALL_ALIKE, MOST_COPIES, copies_of, find_copies, split_apart
from tellapart.data.pixels import load_pixels
from tellapart.data.reading import read_table
from tellapart.data.table import ImageTable
from tellapart.pixels.preprocessing import Preprocessing
from tellapart.pixels.similarity import SimilarPairs

SIZE = Preprocessing(height=64, width=64, fit="squash", interpolation="bilinear",
                     mean=(0, 0, 0), std=(1, 1, 1))  # fmt: skip


def pairs(*given: tuple[int, int, float]) -> SimilarPairs:
    first, second, scores = zip(*given, strict=True) if given else ((), (), ())
    return SimilarPairs(
        np.array(first, np.int64), np.array(second, np.int64), np.array(scores, np.float32)
    )


def table(parts: list[str], labels: list[int]) -> ImageTable:
    return ImageTable(
        root=Path(),
        paths=tuple(f"{row:03d}.jpg" for row in range(len(parts))),
        labels=np.array(labels, np.int64),
        parts=np.array(parts, "<U10"),
        classes=tuple("abc"[: max(labels) + 1]),
    )


def write(folder: Path, count: int = 8) -> None:
    """Parts with ``count`` pictures a class, all different."""
    seed = 0
    for part in ("train", "validation", "test"):
        for name in ("ash", "oak"):
            (folder / part / name).mkdir(parents=True)
            for number in range(count):
                photograph(seed).save(folder / part / name / f"{number}.png")
                seed += 1


def test_changed_copies_in_later_parts_are_found_and_nothing_else(tmp_path: Path) -> None:
    write(tmp_path)
    planted = {}
    for number, change in enumerate(CHANGES):
        with Image.open(tmp_path / "train" / "ash" / f"{number}.png") as image:
            change(image, tmp_path / "test" / "ash" / f"copy{number}.jpg")
        planted[f"test/ash/copy{number}.jpg"] = "near"
    with Image.open(tmp_path / "train" / "oak" / "0.png") as image:
        resized(image, tmp_path / "validation" / "oak" / "copy.jpg")
        ImageOps.mirror(image).save(tmp_path / "test" / "oak" / "mirrored.jpg")
        image.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "test" / "oak" / "turned.png")
    for name in ("validation/oak/copy.jpg", "test/oak/mirrored.jpg", "test/oak/turned.png"):
        planted[name] = "near"
    same = tmp_path / "test" / "oak" / "same.png"
    same.write_bytes((tmp_path / "validation" / "oak" / "1.png").read_bytes())
    planted["test/oak/same.png"] = "copy"

    images = load_pixels(read_table(tmp_path), SIZE)
    found = find_copies(images)
    leaked = found.leaked(images.table.parts)
    marked = {p: how for p, how in zip(images.table.paths, leaked.tolist(), strict=True) if how}
    assert marked == planted
    again = find_copies(images)  # from the cache
    assert np.array_equal(again.groups, found.groups)


def test_what_is_split_never_has_a_copy_on_both_sides(tmp_path: Path) -> None:
    number = 0
    for name in ("ash", "oak"):
        (tmp_path / name).mkdir()
        for seed in range(20):
            image = photograph(number)
            image.save(tmp_path / name / f"{seed:02d}.png")
            if seed < 8:
                CHANGES[seed % 4](image, tmp_path / name / f"{seed:02d}-copy.jpg")
            number += 1
    table = read_table(tmp_path)
    images = load_pixels(table, SIZE)
    found = find_copies(images)
    for seed in range(3):
        done = split_apart(images.table, found, validation=0.2, test=0.2, seed=seed).table
        parts = dict(zip(done.paths, done.parts.tolist(), strict=True))
        for path, part in parts.items():
            if path.endswith("-copy.jpg"):
                assert parts[path.replace("-copy.jpg", ".png")] == part
        assert done.groups is None  # those that the user gave
        counts = {part: int((done.parts == part).sum()) for part in ("validation", "test")}
        assert all(9 <= count <= 14 for count in counts.values())  # 0.2 of 56 is 11.2


def test_the_order_of_parts_decides_which_copy_is_leaked() -> None:
    parts = ["test", "train", "validation", "test", "validation"]
    found = copies_of(
        ["A", "B", "C", "D", "E"], np.zeros(5, np.int64),
        pairs((0, 2, 0.97), (3, 4, 0.99), (1, 4, 0.96)),
    )  # fmt: skip
    names = np.array(parts)
    assert found.leaked(names).tolist() == ["near", "", "", "near", "near"]
    assert (
        not copies_of(["A", "A"], np.zeros(2, np.int64), pairs()).leaked(np.array(["", ""])).any()
    )


def test_equal_files_are_copies_whatever_else_is_alike() -> None:
    found = copies_of(["A", "A", "B"], np.zeros(3, np.int64), pairs((0, 2, 0.97)))
    parts = np.array(["train", "test", "test"])
    assert found.leaked(parts).tolist() == ["", "copy", "near"]
    assert found.groups.tolist() == [0, 0, 0]


@pytest.mark.parametrize("size", [MOST_COPIES, MOST_COPIES + 1])
def test_a_large_group_of_look_alikes_is_shown_and_not_dropped(size: int) -> None:
    total = 4 * size
    near = pairs(*((row, row + 1, 0.97) for row in range(size - 1)))
    digests = [str(row) for row in range(total - 1)] + ["0"]
    found = copies_of(digests, np.zeros(total, np.int64), near)
    parts = np.array(["train", "test"] * (total // 2))
    leaked = found.leaked(parts)
    if size > MOST_COPIES:
        assert (leaked != "").sum() == 1 and leaked[-1] == "copy"
        assert len(found.borderline_across(parts).first) == size - 1
    else:
        assert (leaked == "near").sum() == size // 2
        assert not len(found.borderline_across(parts).first)


def test_a_group_does_not_swallow_a_class() -> None:
    labels = np.array([0] * 6 + [1] * 12)
    near = pairs(*((row, row + 1, 0.97) for row in range(5)), (6, 7, 0.99))
    found = copies_of([str(row) for row in range(18)], labels, near)
    assert len(np.unique(found.groups)) == 17  # only the pair of the second class


def test_pairs_below_the_limit_are_borderline() -> None:
    found = copies_of(["A", "B", "C"], np.zeros(3, np.int64), pairs((0, 1, 0.94), (1, 2, 0.97)))
    across = found.borderline_across(np.array(["train", "test", "test"]))
    assert list(zip(across.first, across.second, strict=True)) == [(0, 1)]
    assert not found.leaked(np.array(["train", "test", "test"])).any()


def test_a_class_of_copies_alone_is_split_and_counts_as_leaked() -> None:
    """Three equal files are no three pictures; the split is made and says so by its leaks."""
    labels = [0] * 3 + [1] * 9
    digests = ["same"] * 3 + [str(row) for row in range(9)]
    found = copies_of(digests, np.array(labels), pairs())
    done = split_apart(table([""] * 12, labels), found, validation=1 / 3, test=1 / 3, seed=0)
    first = done.table.parts[:3]
    assert sorted(first.tolist()) == ["test", "train", "validation"]
    assert set(found.leaked(done.table.parts)[:3]) == {"", "copy"}
    assert done.table.notes[-1] == (
        "Not kept in one part: near copies and equal files, for a class has too few different "
        "pictures to put one into each part. Those that are now in two parts count as leaked."
    )


def test_near_copies_that_had_to_be_torn_are_said() -> None:
    """Each class has three pictures that are near copies: equal files there are none."""
    near = pairs((0, 1, 0.98), (1, 2, 0.98), (0, 2, 0.98))
    labels = [0] * 3 + [1] * 9
    found = copies_of([str(row) for row in range(12)], np.array(labels), near)
    done = split_apart(table([""] * 12, labels), found, validation=1 / 3, test=1 / 3, seed=0)
    assert "Not kept in one part: near copies, for a class" in done.table.notes[-1]


def test_without_copies_the_split_is_what_it_was() -> None:
    from tellapart.data.split import split

    labels = [0, 1, 2] * 20
    given = table([""] * 60, labels)
    found = copies_of([str(row) for row in range(60)], np.array(labels), pairs())
    ours = split_apart(given, found, validation=0.2, test=0.2, seed=3).table
    plain = split(given, validation=0.2, test=0.2, seed=3).table
    assert ours.parts.tolist() == plain.parts.tolist()
    assert ours.notes == plain.notes


def test_of_pictures_that_are_all_alike_only_equal_files_are_copies(tmp_path: Path) -> None:
    """As photographs of solar cells: one pattern, a little different each time."""
    random = np.random.default_rng(5)
    pattern = random.normal(128, 40, (64, 64, 3))
    for part, count in (("train", 30), ("validation", 12), ("test", 18)):
        for name in ("good", "bad"):
            folder = tmp_path / part / name
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = np.clip(pattern + random.normal(0, 8, pattern.shape), 0, 255)
                Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number}.png")
    again = tmp_path / "test/good/again.png"
    again.write_bytes((tmp_path / "train/good/0.png").read_bytes())
    images = load_pixels(read_table(tmp_path), SIZE)
    found = find_copies(images)
    assert found.not_sought == ALL_ALIKE and not len(found.borderline.first)
    leaked = found.leaked(images.table.parts)
    assert [images.table.paths[row] for row in np.flatnonzero(leaked != "")] == [
        "test/good/again.png"
    ]
    assert find_copies(images).not_sought == ALL_ALIKE  # from the cache
