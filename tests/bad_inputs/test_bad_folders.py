"""Folders and tables that cannot be used: one sentence each, and nothing dangerous."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tellapart.data.reading import read_table
from tellapart.errors import DataError


def put(root: Path, *paths: str) -> Path:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(b"picture")
    return root


def message(source: Path, **options: object) -> str:
    with pytest.raises(DataError) as raised:
        read_table(source, **options)  # type: ignore[arg-type]
    text = str(raised.value)
    assert "\n" not in text
    assert text.endswith((".", "?"))
    return text


# --- folders --------------------------------------------------------------------------------


def test_nothing_there(tmp_path: Path) -> None:
    assert message(tmp_path / "gone").startswith("There is no folder or file")


def test_empty_folder(tmp_path: Path) -> None:
    assert "holds no images; it needs one folder of images for each class" in message(tmp_path)
    (tmp_path / "cat").mkdir()
    assert "holds no images in its folders (cat)" in message(tmp_path)


def test_a_file_where_a_folder_is_meant(tmp_path: Path) -> None:
    put(tmp_path, "photo.jpg")
    assert "photo.jpg is a file; give a folder of class folders" in message(tmp_path / "photo.jpg")


def test_one_class_only(tmp_path: Path) -> None:
    put(tmp_path, "cat/1.jpg", "cat/2.jpg")
    assert "one class only ('cat')" in message(tmp_path)


def test_images_without_class_folders(tmp_path: Path) -> None:
    put(tmp_path, "cat.1.jpg", "dog.1.jpg")
    text = message(tmp_path)
    assert "holds 2 images but no class folders" in text
    assert "'tellapart subset'" in text


def test_no_images(tmp_path: Path) -> None:
    put(tmp_path, "cat/notes.txt", "dog/notes.txt")
    text = message(tmp_path)
    assert "no images that can be used; 2 files left out, for example 'cat/notes.txt'" in text


def test_nothing_to_train_on(tmp_path: Path) -> None:
    put(tmp_path, "test/a/1.jpg", "test/b/1.jpg")
    assert "has test images but none to train on" in message(tmp_path)


@pytest.mark.parametrize("name", ["train9", "a/../../other", "/etc"])
def test_part_folder_that_is_not_there_or_outside(tmp_path: Path, name: str) -> None:
    put(tmp_path, "train1/a/1.jpg", "train1/b/1.jpg")
    text = message(tmp_path, train=(name,))
    if name == "train9":
        assert "no folder 'train9' for the train part" in text
        assert "folders there: train1" in text
    else:
        assert "leads out of" in text


def test_one_folder_for_two_parts(tmp_path: Path) -> None:
    put(tmp_path, "x/a/1.jpg", "x/b/1.jpg")
    assert "'x' is named twice" in message(tmp_path, train=("x",), test=("x",))


def test_unreadable_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Monkeypatched, as the tests may run as a user who can read everything."""
    put(tmp_path, "a/1.jpg", "b/1.jpg")
    scandir = os.scandir

    def refuse(path: str | Path) -> object:
        if Path(path).name == "b":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr("tellapart.data.listing.os.scandir", refuse)
    assert "b cannot be read (Permission denied)" in message(tmp_path)


def test_markup_in_class_names_is_only_a_name(tmp_path: Path) -> None:
    name = "<script>alert(1)<"
    put(tmp_path, f"{name}/1.jpg", "b/1.jpg")
    assert read_table(tmp_path).classes == (name, "b")


def test_control_characters_do_not_reach_the_terminal(tmp_path: Path) -> None:
    put(tmp_path, "a\x1b[31m\n/1.jpg")
    assert r"('a\x1b[31m\n')" in message(tmp_path)


@pytest.mark.skipif(os.name != "posix", reason="names are Unicode there")
def test_names_that_are_not_unicode_are_listed(tmp_path: Path) -> None:
    put(tmp_path, "a/1.jpg", "b/1.jpg")
    name = os.fsencode(tmp_path) + b"/a/caf\xe9.jpg"
    try:
        os.close(os.open(name, os.O_CREAT | os.O_WRONLY))
    except OSError:
        pytest.skip("this file system takes Unicode names only")
    (problem,) = read_table(tmp_path).problems
    assert problem.kind == "bad_name"
    assert problem.path.encode("utf-8") == rb"a/caf\udce9.jpg"


# --- tables ---------------------------------------------------------------------------------


def write(folder: Path, text: str | bytes, name: str = "t.csv") -> Path:
    (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode("utf-8"))
    return folder / name


def test_missing_column_names_file_and_columns(tmp_path: Path) -> None:
    put(tmp_path, "1.jpg")
    text = message(write(tmp_path, "path,kind\n1.jpg,a\n"))
    assert "t.csv has no label column; its columns are path, kind" in text
    assert "--label-column" in text
    text = message(write(tmp_path, "path,label\n1.jpg,a\n"), path_column="where")
    assert "t.csv has no column 'where'; its columns are path, label" in text


@pytest.mark.parametrize("path", ["../secret.jpg", "a/../../secret.jpg", "/etc/passwd", "a\0b"])
def test_path_outside_the_root(tmp_path: Path, path: str) -> None:
    root = put(tmp_path / "root", "1.jpg")
    put(tmp_path, "secret.jpg")
    text = message(write(root, f"path,label\n1.jpg,a\n{path},b\n"))
    assert "t.csv line 3: the path '" in text
    assert "leads out of" in text
    assert "--root" in text


def test_row_that_points_to_no_file_is_listed_with_its_line(tmp_path: Path) -> None:
    put(tmp_path, "1.jpg", "2.jpg", "folder.jpg/x")
    rows = 'path,label\n1.jpg,a\n"gone\n.jpg",a\n2.jpg,b\nlost.jpg,b\nfolder.jpg,b\n'
    table = read_table(write(tmp_path, rows))
    assert table.paths == ("1.jpg", "2.jpg")
    assert [(p.path, p.kind, p.reason) for p in table.problems] == [
        ("folder.jpg", "not_an_image", "t.csv line 7 names it, but it is no file."),
        ("gone\n.jpg", "missing", "t.csv line 3 names it, but there is no such file."),
        ("lost.jpg", "missing", "t.csv line 6 names it, but there is no such file."),
    ]


def test_no_file_is_there(tmp_path: Path) -> None:
    text = message(write(tmp_path, "path,label\nx/1.jpg,a\nx/2.jpg,b\n"))
    assert "none of 2 files that it names is under" in text
    assert "--root" in text


def test_class_called_dot_dot_is_only_a_name(tmp_path: Path) -> None:
    put(tmp_path, "1.jpg", "2.jpg")
    assert read_table(write(tmp_path, "path,label\n1.jpg,..\n2.jpg,a\n")).classes == ("..", "a")


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("t.csv", "", "t.csv has no rows"),
        ("t.csv", "path,label\n", "t.csv has no rows"),
        ("t.csv", "path,label\n1.jpg,a,b\n", "t.csv line 2 has 3 values under 2 columns"),
        ("t.csv", 'path,label\n"1.jpg,a\n', "is not valid CSV"),
        ("t.csv", b"path,label\n\xff\xfe,a\n", "t.csv is not UTF-8 text"),
        ("t.csv", "path,label,split\n1.jpg,a,fold1\n", "line 2: the column 'split' holds 'fold1'"),
        ("t.json", "{", "t.json is not valid JSON"),
        ("t.json", "5", "t.json is not valid JSON"),
        ("t.json", '{"1.jpg": "a"}', "must be a list of objects"),
        ("t.jsonl", '{"path": "1.jpg"}\nnot json\n', "t.jsonl is not valid JSON"),
        ("t.parquet", "no parquet", "t.parquet is not valid Parquet"),
    ],
)
def test_damaged_tables(tmp_path: Path, name: str, text: str | bytes, expected: str) -> None:
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    put(tmp_path, "1.jpg")
    assert expected in message(write(tmp_path, text, name))


def test_very_deep_json_ends_in_a_sentence(tmp_path: Path) -> None:
    assert "is not valid JSON" in message(write(tmp_path, "[" * 200_000, "t.json"))
