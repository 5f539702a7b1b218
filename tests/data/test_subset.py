"""So many images a class, each picture once."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tellapart.data.problems import Problem
from tellapart.data.reading import read_table
from tellapart.data.subset import _PASSED_OVER, _Image, _new_pictures, subset
from tellapart.errors import DataError, FileError


def numbered(folder: Path, count: int = 30) -> Path:
    """One folder with cat.0.jpg ... and dog.0.jpg ..., as document 002 has them."""
    folder.mkdir()
    for name in ("cat", "dog"):
        for number in range(count):
            (folder / f"{name}.{number}.jpg").write_text(f"{name} {number}")
    return folder


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_numbered_files_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    source, out = numbered(tmp_path / "all"), tmp_path / "small"
    before = names(source)
    done = subset(source, out, train=10, validation=2, test=3)
    expected = {
        f"{part}/{name}/{name}.{number}.jpg"
        for part, numbers in (
            ("train", range(10)),
            ("validation", range(10, 12)),
            ("test", range(12, 15)),
        )
        for name in ("cat", "dog")
        for number in numbers
    }
    assert names(out) == expected
    assert (out / "test/dog/dog.12.jpg").read_text() == "dog 12"
    assert done.counts["validation"] == {"cat": 2, "dog": 2}
    assert names(source) == before
    assert {path.name for path in tmp_path.iterdir()} == {"all", "small"}


def test_random_order_is_seeded(tmp_path: Path) -> None:
    source = numbered(tmp_path / "all")
    for out, seed in (("one", 1), ("again", 1), ("two", 2)):
        subset(source, tmp_path / out, train=5, validation=5, test=0, order="random", seed=seed)
    assert names(tmp_path / "one") == names(tmp_path / "again") != names(tmp_path / "two")
    assert not (tmp_path / "one/test").exists()


def test_the_same_picture_is_never_taken_twice(tmp_path: Path) -> None:
    source = numbered(tmp_path / "all")
    (source / "cat.1.jpg").write_text("cat 0")
    (source / "dog.3.jpg").write_text("cat 0")
    (source / "cat.12.jpg").write_text("cat 3")
    done = subset(source, tmp_path / "small", train=10, validation=5, test=5)
    contents = [p.read_bytes() for p in (tmp_path / "small").rglob("*.jpg")]
    assert len(contents) == len(set(contents)) == 40
    assert [(p.path, p.reason) for p in done.skipped] == [
        ("cat.1.jpg", "The same picture as cat.0.jpg."),
        ("dog.3.jpg", "The same picture as cat.0.jpg."),
        ("cat.12.jpg", "The same picture as cat.3.jpg."),
    ]


def test_a_tree_with_parts_is_drawn_part_by_part(
    tmp_path: Path, image_folder: Callable[..., Path]
) -> None:
    source = image_folder(parts={"train": 8, "test": 4})
    subset(source, tmp_path / "out", train=3, validation=2, test=4)
    assert names(tmp_path / "out/train/red") == {"0000.jpg", "0001.jpg", "0002.jpg"}
    assert names(tmp_path / "out/validation/red") == {"0003.jpg", "0004.jpg"}
    made = (tmp_path / "out/test/red/0000.jpg").read_bytes()
    assert made == (source / "test/red/0000.jpg").read_bytes()
    assert read_table(tmp_path / "out").classes == ("blue", "red")


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_links_point_at_the_source(tmp_path: Path) -> None:
    source = numbered(tmp_path / "all")
    subset(source, tmp_path / "small", train=2, validation=1, test=1, link=True)
    link = tmp_path / "small/train/cat/cat.1.jpg"
    assert link.is_symlink()
    assert link.resolve() == (source / "cat.1.jpg").resolve()
    assert len(read_table(tmp_path / "small")) == 8


def test_links_into_a_zip_are_refused_since_its_files_are_unpacked_for_a_while_only(
    tmp_path: Path, image_folder: Callable[..., Path]
) -> None:
    folder = image_folder(per_class=4)
    archive = Path(shutil.make_archive(str(tmp_path / "photos"), "zip", folder))
    wanted = {"train": 2, "validation": 1, "test": 1}
    with pytest.raises(DataError, match=r"photos.zip is a zip.* leave --link out, or extract it"):
        subset(archive, tmp_path / "out", link=True, **wanted)
    assert not (tmp_path / "out").exists()
    assert subset(archive, tmp_path / "out", **wanted).counts["train"] == {"blue": 2, "red": 2}


def test_what_cannot_be_read_is_not_called_a_picture_that_was_there_before(
    tmp_path: Path,
) -> None:
    source = numbered(tmp_path / "all", 4)
    (source / "dog.1.jpg").write_text("dog 0")
    (source / "cat.0.jpg").unlink()
    (source / "cat.0.jpg").mkdir()  # as good as a file that may not be read, for root too
    problems: list[Problem] = []

    images = [_Image(source / f"{n}.jpg", f"{n}.jpg") for n in ("cat.0", "dog.0", "dog.1")]
    taken = list(_new_pictures(images, {}, problems))

    assert [image.path for image in taken] == ["dog.0.jpg"]
    assert [problem.kind for problem in problems] == ["unreadable", "duplicate"]
    assert set(_PASSED_OVER) == {"unreadable", "duplicate"}


def test_an_image_that_goes_while_it_is_copied_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = numbered(tmp_path / "all")
    copy = shutil.copyfile

    def delete_first(file: Path, target: Path) -> object:
        (source / "cat.1.jpg").unlink(missing_ok=True)
        return copy(file, target)

    monkeypatch.setattr("tellapart.data.subset.shutil.copyfile", delete_first)
    with pytest.raises(DataError, match=r"cat\.1\.jpg was there a moment ago"):
        subset(source, tmp_path / "x", train=2, validation=0, test=2)
    assert {path.name for path in tmp_path.iterdir()} == {"all"}


def test_equal_names_in_deeper_folders_do_not_overwrite(tmp_path: Path) -> None:
    for name in ("a", "b"):
        for day in ("mon", "tue"):
            (tmp_path / "all" / name / day).mkdir(parents=True)
            (tmp_path / "all" / name / day / "1.jpg").write_text(f"{name} {day}")
    subset(tmp_path / "all", tmp_path / "small", train=2, validation=0, test=0, classes=("a", "b"))
    assert len(names(tmp_path / "small")) == 4


def test_nothing_is_written_where_it_cannot_be_done(tmp_path: Path) -> None:
    source = numbered(tmp_path / "all")
    full = tmp_path / "full"
    full.mkdir()
    (full / "mine.txt").write_text("keep me")
    cases: list[tuple[Path, dict[str, object], str]] = [
        (full, {}, "is there already and not an empty folder"),
        (source / "small", {}, "lies inside"),
        (tmp_path / "x", {"train": 29}, r"'cat' has 30 of 34; 'dog' has 30 of 34; ask for fewer"),
        (tmp_path / "x", {"train": 0, "validation": 0, "test": 0}, "needs --train, --validation"),
        (tmp_path / "x", {"train": -1}, "give a whole number"),
        (tmp_path / "x", {"order": "shuffled"}, "sorted or random"),
    ]
    for out, options, message in cases:
        wanted: dict[str, object] = {"train": 10, "validation": 2, "test": 3, **options}
        with pytest.raises(DataError, match=message):
            subset(source, out, **wanted)  # type: ignore[arg-type]
    assert (full / "mine.txt").read_text() == "keep me"
    assert {path.name for path in tmp_path.iterdir()} == {"all", "full"}


def test_too_few_different_pictures(tmp_path: Path) -> None:
    source = numbered(tmp_path / "all", 10)
    (source / "dog.9.jpg").write_text("dog 0")
    with pytest.raises(DataError, match=r"'dog' .* has too few different pictures: 1 of 2 found"):
        subset(source, tmp_path / "x", train=8, validation=0, test=2)
    assert not (tmp_path / "x").exists()


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = numbered(tmp_path / "all")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tellapart.data.subset.shutil.copyfile", fail)
    with pytest.raises(FileError, match="cannot be written: No space left on device"):
        subset(source, tmp_path / "x", train=2, validation=0, test=2)
    assert {path.name for path in tmp_path.iterdir()} == {"all"}


def test_class_names_cannot_climb_out(tmp_path: Path) -> None:
    source = tmp_path / "all"
    source.mkdir()
    for number in range(3):
        (source / f"x.{number}.jpg").write_text(f"x{number}")
    table = ["path,label"] + [f"x.{n}.jpg,{'../../evil' if n else 'fine'}" for n in range(3)]
    (tmp_path / "all/t.csv").write_text("\n".join(table))
    with pytest.raises(DataError, match=r"class '../../evil' cannot be the name of a folder"):
        subset(source / "t.csv", tmp_path / "y" / "z", train=1, validation=0, test=0)
    assert {path.name for path in tmp_path.iterdir()} <= {"all", "y"}
