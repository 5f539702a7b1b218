"""One class map, manifests, class order, files left out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tellapart.data.reading import read_table, read_unlabelled
from tellapart.data.table import ImageTable, Problem
from tellapart.errors import DataError


def put(root: Path, *paths: str) -> Path:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(b"picture")
    return root


def labels(table: ImageTable) -> dict[str, str]:
    return {p: table.classes[i] for p, i in zip(table.paths, table.labels, strict=True)}


# --- one class map --------------------------------------------------------------------------


def test_parts_are_matched_by_name_when_one_lacks_the_first_class(tmp_path: Path) -> None:
    put(tmp_path, "train/a/1.jpg", "train/b/1.jpg", "train/c/1.jpg")
    put(tmp_path, "validation/b/1.jpg", "validation/c/1.jpg")
    table = read_table(tmp_path)
    assert table.classes == ("a", "b", "c")
    assert labels(table)["validation/b/1.jpg"] == "b"
    assert table.labels.tolist() == [0, 1, 2, 1, 2]
    assert table.notes == ("No images of a in the validation part.",)


def test_class_that_train_lacks_stops_unless_left_out(tmp_path: Path) -> None:
    put(tmp_path, "train/a/1.jpg", "train/b/1.jpg", "test/a/1.jpg", "test/z/1.jpg", "test/z/2.jpg")
    with pytest.raises(DataError, match=r"Class not in the train part: 'z' \(2 images in test\)"):
        read_table(tmp_path)
    table = read_table(tmp_path, ignore_unknown=True)
    assert table.classes == ("a", "b")
    assert len(table) == 3
    assert table.notes[0] == "Left out, not in the train part: 'z' (2 images in test)."


def test_class_order_of_the_user(tmp_path: Path) -> None:
    put(tmp_path, "car/1.jpg", "other/1.jpg", "bus/1.jpg")
    assert read_table(tmp_path, classes=("other", "car", "bus")).classes == ("other", "car", "bus")
    table = read_table(tmp_path, classes=("other", "car"), ignore_unknown=True)
    assert labels(table) == {"car/1.jpg": "car", "other/1.jpg": "other"}
    assert table.labels.tolist() == [1, 0]
    with pytest.raises(DataError, match="Class not among the classes given: 'bus'"):
        read_table(tmp_path, classes=("other", "car"))
    with pytest.raises(DataError, match=r"no images of class 'othr'.*Did you mean 'other'\?"):
        read_table(tmp_path, classes=("othr", "car", "bus"))
    assert read_table(tmp_path, classes=("o*", "[bc]*")).classes == ("other", "bus", "car")


def test_a_known_class_without_images_is_said_not_refused(tmp_path: Path) -> None:
    """Scoring a folder with the classes of a run: it need not hold all of them."""
    put(tmp_path, "dog/1.jpg")
    table = read_table(tmp_path, classes=("cat", "dog"))
    assert table.labels.tolist() == [1]
    assert table.notes == ("No images of cat in the folder.",)


# --- the table itself -----------------------------------------------------------------------


def test_select_and_without(tmp_path: Path) -> None:
    put(tmp_path, "a/1.jpg", "a/2.jpg", "b/1.jpg")
    table = read_table(tmp_path, group_by=r"/(\d)")
    assert table.select([2, 0]).paths == ("b/1.jpg", "a/1.jpg")
    assert table.select(np.array([False, True, True])).groups is not None
    assert table.select(np.array([False, True, True])).groups.tolist() == [1, 0]  # type: ignore[union-attr]
    bad = Problem("a/2.jpg", "unreadable", "It is cut off.")
    left = table.without([bad])
    assert left.paths == ("a/1.jpg", "b/1.jpg")
    assert left.labels.tolist() == [0, 1]
    assert left.problems == (bad,)
    assert table.select([]).paths == ()


def test_unlabelled_images(tmp_path: Path) -> None:
    put(tmp_path, "x/2.jpg", "z.png", "1.png", "x/notes.txt", ".hidden.jpg")
    table = read_unlabelled(tmp_path)
    assert table.paths == ("1.png", "x/2.jpg", "z.png")
    assert table.labels.tolist() == [-1, -1, -1]
    assert [p.path for p in table.problems] == ["x/notes.txt"]
    assert read_unlabelled(tmp_path / "1.png").file(0) == tmp_path / "1.png"
    with pytest.raises(DataError, match="There is no folder or file"):
        read_unlabelled(tmp_path / "gone")


# --- manifests ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("t.csv", 'path,label\nimg/1.jpg,007\n"img/2, old.jpg",NA\n'),
        ("t.csv", "\ufeffImage_Path;x;Class\nimg/1.jpg;;007\nimg/2, old.jpg;;NA\n"),
        ("t.tsv", "filename\tcategory\nimg/1.jpg\t007\nimg/2, old.jpg\tNA\n"),
        (
            "t.json",
            json.dumps(
                [
                    {"path": "img/1.jpg", "label": "007"},
                    {"path": "img/2, old.jpg", "label": "NA", "more": 1},
                ]
            ),
        ),
        (
            "t.jsonl",
            '{"path": "img/1.jpg", "label": "007"}\n\n{"path": "img/2, old.jpg", "label": "NA"}\n',
        ),
    ],
)
def test_tables_keep_labels_exactly_as_written(tmp_path: Path, name: str, text: str) -> None:
    put(tmp_path, "img/1.jpg", "img/2, old.jpg", "img/not named.jpg")
    (tmp_path / name).write_text(text, encoding="utf-8")
    table = read_table(tmp_path / name)
    assert labels(table) == {"img/1.jpg": "007", "img/2, old.jpg": "NA"}
    assert table.root == tmp_path


def test_parquet(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    put(tmp_path, "1.jpg", "2.jpg", "3.jpg")
    columns: dict[str, Any] = {
        "path": ["1.jpg", "2.jpg", "3.jpg"],
        "label": [0, 1, None],
        "split": ["train", "test", "train"],
    }
    parquet.write_table(pyarrow.table(columns), tmp_path / "t.parquet")
    table = read_table(tmp_path / "t.parquet", classes=("1", "0"))
    assert labels(table) == {"1.jpg": "0", "2.jpg": "1"}
    assert table.parts.tolist() == ["train", "test"]
    assert [(p.path, p.kind) for p in table.problems] == [("3.jpg", "no_label")]


def test_columns_by_name_root_and_split_column(tmp_path: Path) -> None:
    put(tmp_path / "pictures", "1.jpg", "2.jpg", "3.jpg")
    source = tmp_path / "tables" / "t.csv"
    source.parent.mkdir()
    source.write_text("id,kind,Split\n1.jpg,a,TRAIN\n2.jpg,b,training\n3.jpg,a,Val\n")
    table = read_table(source, path_column="id", label_column="kind", root=tmp_path / "pictures")
    assert table.parts.tolist() == ["train", "train", "validation"]
    assert table.file(0) == tmp_path / "pictures/1.jpg"


def test_absolute_path_inside_the_root_is_made_relative(tmp_path: Path) -> None:
    put(tmp_path, "1.jpg", "2.jpg")
    (tmp_path / "t.csv").write_text(f"path,label\n{tmp_path / '1.jpg'},a\n./x/../2.jpg,b\n")
    assert read_table(tmp_path / "t.csv").paths == ("1.jpg", "2.jpg")


def test_rows_that_repeat_or_contradict(tmp_path: Path) -> None:
    put(tmp_path, "1.jpg", "2.jpg", "3.jpg")
    (tmp_path / "t.csv").write_text("path,label\n1.jpg,a\n2.jpg,b\n3.jpg,a\n1.jpg,a\n3.jpg,b\n")
    table = read_table(tmp_path / "t.csv")
    assert table.paths == ("1.jpg", "2.jpg")
    assert [(p.path, p.kind) for p in table.problems] == [("3.jpg", "label_conflict")]
    assert table.problems[0].reason == "t.csv line 4 and t.csv line 6 give it two labels."
    assert table.notes == (
        "1 image listed more than once, used once: 1.jpg (t.csv line 2, t.csv line 5).",
    )
    assert table.left_out == "1 of 3 files left out: 1 listed under two labels (3.jpg)."


def test_one_table_for_each_part(tmp_path: Path) -> None:
    put(tmp_path, "1.jpg", "2.jpg", "3.jpg")
    (tmp_path / "train.csv").write_text("path,label\n1.jpg,a\n2.jpg,b\n")
    (tmp_path / "test.csv").write_text("path,label\n3.jpg,b\n")
    table = read_table(tmp_path, train=("train.csv",), test=("test.csv",))
    assert table.parts.tolist() == ["train", "train", "test"]
    (tmp_path / "test.csv").write_text("path,label\n2.jpg,b\n")
    (tmp_path / "train.csv").write_text("path,label\n1.jpg,a\n2.jpg,b\n3.jpg,b\n")
    table = read_table(tmp_path, train=("train.csv",), test=("test.csv",))
    assert dict(zip(table.paths, table.parts.tolist(), strict=True)) == {
        "1.jpg": "train", "2.jpg": "test", "3.jpg": "train",
    }  # fmt: skip
    assert table.notes[0] == (
        "1 image listed for several parts, used for test only: "
        "2.jpg (train.csv line 3, test.csv line 2)."
    )


def test_folder_with_a_table_and_no_class_folders(tmp_path: Path) -> None:
    put(tmp_path, "images/1.jpg", "images/2.jpg")
    (tmp_path / "labels.csv").write_text("file,label\nimages/1.jpg,a\nimages/2.jpg,b\n")
    table = read_table(tmp_path)
    assert labels(table) == {"images/1.jpg": "a", "images/2.jpg": "b"}
    assert table.notes == ("Read as the table labels.csv says.",)


# --- leaving images out ---------------------------------------------------------------------


def test_exclude_list(tmp_path: Path) -> None:
    photos = put(tmp_path / "photos", "a/1.jpg", "a/2.jpg", "b/1.jpg", "b/2.jpg")
    (tmp_path / "fix.csv").write_text("path,why\na/1.jpg,dark\nb/9.jpg,?\n")
    table = read_table(photos, exclude=tmp_path / "fix.csv")
    assert table.paths == ("a/2.jpg", "b/1.jpg", "b/2.jpg")
    assert table.problems == (Problem("a/1.jpg", "excluded", "Left out by fix.csv line 2."),)
    assert table.notes == ("fix.csv leaves out 1 path that no image has: b/9.jpg.",)

    (tmp_path / "list.txt").write_text("b/1.jpg\n\na/2.jpg\r\n")
    assert read_table(photos, exclude=tmp_path / "list.txt").paths == ("a/1.jpg", "b/2.jpg")
    with pytest.raises(DataError, match="There is no list"):
        read_table(photos, exclude=tmp_path / "gone.csv")


def test_exclude_keeps_group_columns_in_step(tmp_path: Path) -> None:
    put(tmp_path, "1.jpg", "2.jpg", "3.jpg")
    (tmp_path / "t.csv").write_text("path,label,patient\n3.jpg,a,p\n2.jpg,b,q\n1.jpg,b,p\n")
    (tmp_path / "out.txt").write_text("2.jpg")
    table = read_table(tmp_path / "t.csv", group_by="patient", exclude=tmp_path / "out.txt")
    assert table.groups is not None
    assert table.groups.tolist() == [0, 0]
