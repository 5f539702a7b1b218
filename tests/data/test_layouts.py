"""What counts as an image, and which folders mean which part."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tellapart.data.listing import natural_key
from tellapart.data.reading import read_table
from tellapart.data.table import ImageTable
from tellapart.errors import DataError

PNG = b"\x89PNG\r\n\x1a\n" + bytes(8)


def put(root: Path, *paths: str, content: bytes = b"picture") -> Path:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)
    return root


def rows(table: ImageTable) -> list[tuple[str, str, str]]:
    """Path, class name and part of every image."""
    names = [table.classes[i] for i in table.labels]
    return list(zip(table.paths, names, table.parts.tolist(), strict=True))


def test_class_folders_in_alphabetical_order(tmp_path: Path) -> None:
    put(tmp_path, "dog/b.jpg", "dog/a.JPG", "cat/x.PnG", "cat/deeper/still/y.webp")
    table = read_table(tmp_path)
    assert table.classes == ("cat", "dog")
    assert rows(table) == [
        ("cat/deeper/still/y.webp", "cat", ""),
        ("cat/x.PnG", "cat", ""),
        ("dog/a.JPG", "dog", ""),
        ("dog/b.jpg", "dog", ""),
    ]
    assert table.file(3) == tmp_path / "dog/b.jpg"


@pytest.mark.parametrize(
    ("train", "validation", "test"),
    [
        ("train", "validation", "test"),
        ("training", "val", "testing"),
        ("Train", "VALID", "Test"),
        ("TRAINING", "Val", "TESTING"),
    ],
)
def test_part_folders_by_any_of_their_names(
    tmp_path: Path, train: str, validation: str, test: str
) -> None:
    for part in (train, validation, test):
        put(tmp_path, f"{part}/a/1.jpg", f"{part}/b/1.jpg")
    found = {path.split("/")[0]: part for path, _, part in rows(read_table(tmp_path))}
    assert found == {train: "train", validation: "validation", test: "test"}


def test_numbered_train_folders_form_one_part(tmp_path: Path) -> None:
    for folder in ("train1", "train2", "train10", "test"):
        put(tmp_path, f"{folder}/a/{folder}.jpg", f"{folder}/b/{folder}.jpg")
    parts = read_table(tmp_path).parts.tolist()
    assert (parts.count("train"), parts.count("test")) == (6, 2)


def test_a_train_folder_without_a_number_wins(tmp_path: Path) -> None:
    for folder in ("train", "train2"):
        put(tmp_path, f"{folder}/a/1.jpg", f"{folder}/b/1.jpg")
    table = read_table(tmp_path)
    assert table.paths == ("train/a/1.jpg", "train/b/1.jpg")
    assert table.notes == ("Left out, beside the parts: train2.",)


def test_named_folders_win_and_the_rest_is_found(tmp_path: Path) -> None:
    for folder in ("train1", "train2", "train3", "test"):
        put(tmp_path, f"{folder}/a/1.jpg", f"{folder}/b/1.jpg")

    table = read_table(tmp_path, validation=("train2",))
    found = {path.split("/")[0]: part for path, _, part in rows(table)}
    assert found == {"train1": "train", "train2": "validation", "train3": "train", "test": "test"}

    table = read_table(tmp_path, train=("train1", "train3"))
    found = {path.split("/")[0]: part for path, _, part in rows(table)}
    assert found == {"train1": "train", "train3": "train", "test": "test"}
    assert "Left out, beside the parts: train2." in table.notes

    table = read_table(tmp_path, train=("train*",), test=("test",))
    assert table.parts.tolist().count("train") == 6


def test_a_folder_named_train_that_holds_pictures_is_a_class(tmp_path: Path) -> None:
    put(tmp_path, "train/1.jpg", "tram/1.jpg", "test/1.jpg")
    assert read_table(tmp_path).classes == ("test", "train", "tram")


def test_one_wrapping_folder_is_looked_through(tmp_path: Path) -> None:
    put(tmp_path, "photos-main/data/train/a/1.jpg", "photos-main/data/train/b/1.jpg")
    table = read_table(tmp_path)
    assert rows(table)[0] == ("photos-main/data/train/a/1.jpg", "a", "train")


def test_unlabelled_test_folder_is_left_out_and_said(tmp_path: Path) -> None:
    put(tmp_path, "train/a/1.jpg", "train/b/1.jpg", "test1/1.jpg")
    table = read_table(tmp_path)
    assert len(table) == 2
    assert "Left out, beside the parts: test1 (no class folders in it)." in table.notes


def test_system_and_hidden_files_are_ignored_silently(tmp_path: Path) -> None:
    put(tmp_path, "a/1.jpg", "b/1.jpg", "a/Thumbs.db", "a/.DS_Store", "a/._1.jpg", "b/desktop.ini")
    put(tmp_path, "__MACOSX/a/._1.jpg", ".git/x.jpg", "a/.ipynb_checkpoints/1.jpg", "README.md")
    table = read_table(tmp_path)
    assert table.paths == ("a/1.jpg", "b/1.jpg")
    assert table.problems == ()
    assert table.notes == ()


def test_files_that_are_no_images_are_listed_with_the_reason(tmp_path: Path) -> None:
    put(tmp_path, "a/1.jpg", "b/1.jpg", "a/notes.txt", "b/camera.CR2", "stray.jpg")
    put(tmp_path, "a/nothing.jpg", content=b"")
    put(tmp_path, "a/download", "b/picture.jpg_large", content=PNG)
    table = read_table(tmp_path)
    assert table.paths == ("a/1.jpg", "a/download", "b/1.jpg", "b/picture.jpg_large")
    assert [(p.path, p.kind) for p in table.problems] == [
        ("a/notes.txt", "not_an_image"),
        ("a/nothing.jpg", "empty"),
        ("b/camera.CR2", "not_an_image"),
        ("stray.jpg", "no_class"),
    ]
    assert "CR2 pictures are not read" in table.problems[2].reason


def test_empty_class_folder_is_no_class_and_said(tmp_path: Path) -> None:
    put(tmp_path, "a/1.jpg", "b/1.jpg")
    (tmp_path / "c").mkdir()
    table = read_table(tmp_path)
    assert table.classes == ("a", "b")
    assert table.notes == ("No images in 1 folder, taken for no class: c.",)


def test_unicode_newline_and_long_names(tmp_path: Path) -> None:
    names = ["猫/é ü.jpg", "b/line\nbreak.jpg", f"b/{'x' * 200}.jpg", "b/'; rm -rf $HOME.jpg"]
    put(tmp_path, *names)
    assert read_table(tmp_path).paths == tuple(sorted(names))


def test_accents_written_in_two_ways_are_one_class(tmp_path: Path) -> None:
    put(tmp_path, "train/caf\u00e9/1.jpg", "train/bar/1.jpg", "test/cafe\u0301/1.jpg")
    table = read_table(tmp_path)
    assert table.classes == ("bar", "caf\u00e9")
    assert rows(table)[0] == ("test/cafe\u0301/1.jpg", "caf\u00e9", "test")


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_links_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    put(tmp_path, "elsewhere/1.jpg", "elsewhere/2.jpg", "photos/b/1.jpg")
    photos = tmp_path / "photos"
    (photos / "a").symlink_to(tmp_path / "elsewhere")
    (photos / "b/again").symlink_to(photos)
    (photos / "b/lost.jpg").symlink_to(tmp_path / "gone.jpg")
    (photos / "b/self.jpg").symlink_to("self.jpg")
    table = read_table(photos)
    assert table.paths == ("a/1.jpg", "a/2.jpg", "b/1.jpg")
    assert {(p.path, p.kind) for p in table.problems} == {
        ("b/again", "loop"),
        ("b/lost.jpg", "missing"),
        ("b/self.jpg", "unreadable"),
    }


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_two_folders_that_link_to_each_other_end(tmp_path: Path) -> None:
    put(tmp_path, "a/1.jpg", "b/1.jpg")
    (tmp_path / "a/to_b").symlink_to(tmp_path / "b")
    (tmp_path / "b/to_a").symlink_to(tmp_path / "a")
    paths = read_table(tmp_path).paths
    assert paths == ("a/1.jpg", "a/to_b/1.jpg", "b/1.jpg", "b/to_a/1.jpg")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes there")
def test_a_pipe_does_not_hang_the_listing(tmp_path: Path) -> None:
    put(tmp_path, "a/1.jpg", "b/1.jpg")
    os.mkfifo(tmp_path / "a/pipe")
    assert [p.reason for p in read_table(tmp_path).problems] == ["It is no ordinary file."]


def test_two_folders_for_one_part_must_be_told_apart(tmp_path: Path) -> None:
    for part in ("train", "val", "validation"):
        put(tmp_path, f"{part}/a/1.jpg", f"{part}/b/1.jpg")
    with pytest.raises(DataError, match=r"several validation folders \(val, validation\)"):
        read_table(tmp_path)
    assert len(read_table(tmp_path, validation=("val",))) == 4


def test_numbers_in_names_sort_as_numbers() -> None:
    names = ["cat.10.jpg", "cat.9.jpg", "a", "1", "cat.100.jpg"]
    assert sorted(names, key=natural_key) == ["1", "a", "cat.9.jpg", "cat.10.jpg", "cat.100.jpg"]
