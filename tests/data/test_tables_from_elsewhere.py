"""Tables made on other systems and by other programs: what is understood, and what is said."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import pytest

from tellapart.data.reading import read_table
from tellapart.data.table import ImageTable
from tellapart.errors import DataError


def put(root: Path, *paths: str) -> Path:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(b"picture")
    return root


def write(folder: Path, text: str | bytes, name: str = "t.csv") -> Path:
    (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode("utf-8"))
    return folder / name


def labels(table: ImageTable) -> dict[str, str]:
    return {p: table.classes[i] for p, i in zip(table.paths, table.labels, strict=True)}


def parts(table: ImageTable) -> dict[str, str]:
    return dict(zip(table.paths, table.parts.tolist(), strict=True))


# --- how a path is written --------------------------------------------------------------------

NFC, NFD = (unicodedata.normalize(form, "img/caf\u00e9.jpg") for form in ("NFC", "NFD"))


@pytest.mark.parametrize(
    ("file", "written"),
    [
        ("img/1.jpg", "img\\1.jpg"),
        ("img/sub/1.jpg", ".\\img\\sub\\1.jpg"),
        (NFD, NFC),
        (NFC, NFD),
        (unicodedata.normalize("NFD", "caf\u00e9/1.jpg"), "caf\u00e9/1.jpg"),
        ("img/1.jpg", "img/1"),
        ("img/v1.2.png", "img/v1.2"),
        (NFD, NFC.removesuffix(".jpg")),
        ("img/IMG_1.JPG", "img/img_1.jpg"),
        ("img/1.jpg", " img/1.jpg "),
        ("img/a, b.jpg", '"img/a, b.jpg"'),
        ("img/ x.jpg", '"img/ x.jpg"'),
    ],
)
def test_ways_to_write_a_path(tmp_path: Path, file: str, written: str) -> None:
    put(tmp_path, file, "img/other.jpg")
    table = read_table(write(tmp_path, f"path,label\n{written},a\nimg/other.jpg,b\n"))
    assert labels(table) == {file: "a", "img/other.jpg": "b"}
    assert table.file(table.paths.index(file)).read_bytes() == b"picture"


def test_file_address(tmp_path: Path) -> None:
    put(tmp_path, "a b.jpg", "2.jpg")
    text = f"path,label\n{(tmp_path / 'a b.jpg').as_uri()},a\n2.jpg,b\n"
    assert read_table(write(tmp_path, text)).paths == ("2.jpg", "a b.jpg")


def test_the_file_as_written_wins(tmp_path: Path) -> None:
    """``1`` is a file of its own here, and no short form of ``1.jpg``."""
    put(tmp_path, "1", "1.jpg", "2.jpg", "2.JPG")
    (tmp_path / "1").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(8))
    table = read_table(write(tmp_path, "path,label\n1,a\n1.jpg,b\n2.jpg,a\n2.JPG,b\n"))
    assert labels(table) == {"1": "a", "1.jpg": "b", "2.JPG": "b", "2.jpg": "a"}


def test_an_id_that_several_files_have(tmp_path: Path) -> None:
    put(tmp_path, "1.jpg", "1.png", "1.txt", "2.jpg", "3.jpg")
    table = read_table(write(tmp_path, "image_id,label\n1,a\n2,a\n3,b\n"))
    assert table.paths == ("2.jpg", "3.jpg")
    (problem,) = table.problems
    assert (problem.path, problem.kind) == ("1", "ambiguous")
    assert problem.reason == "t.csv line 2 may mean any of 1.jpg, 1.png; write the whole name."


@pytest.mark.parametrize("path", ["..\\secret.jpg", "a\\..\\..\\secret.jpg", "file:///etc/passwd"])
def test_no_way_of_writing_leads_out(tmp_path: Path, path: str) -> None:
    put(tmp_path, "secret.jpg", "root/1.jpg")
    with pytest.raises(DataError, match=r"t.csv line 3: the path '.*leads out of"):
        read_table(write(tmp_path / "root", f"path,label\n1.jpg,a\n{path},b\n"))


def test_a_path_of_another_computer(tmp_path: Path) -> None:
    put(tmp_path, "1.jpg")
    with pytest.raises(DataError, match=r"line 2: the path 'C:\\pics\\1.jpg' is one of another"):
        read_table(write(tmp_path, "path,label\nC:\\pics\\1.jpg,a\n1.jpg,b\n"))


def test_where_the_images_are_is_found(tmp_path: Path) -> None:
    put(tmp_path, "pictures/1.jpg", "pictures/2.jpg")
    source = write(tmp_path, "path,label\n1,a\n2,b\n")
    with pytest.raises(DataError) as raised:
        read_table(source)
    assert f"with --root: 1 is in {tmp_path / 'pictures'}." in str(raised.value)
    assert len(read_table(source, root=tmp_path / "pictures")) == 2


def test_a_list_to_leave_out_is_read_in_the_same_ways(tmp_path: Path) -> None:
    put(tmp_path, NFD, "img/1.jpg", "img/2.jpg", "img/3.jpg", "img2/3.jpg")
    source = write(tmp_path / "img", f"{NFC}\nimg\\1.jpg\nimg/2\n", "out.txt")
    assert read_table(tmp_path, exclude=source, classes=("img", "img2")).paths == (
        "img/3.jpg",
        "img2/3.jpg",
    )


# --- how a label is written -------------------------------------------------------------------


def test_spaces_after_commas(tmp_path: Path) -> None:
    put(tmp_path, "1.jpg", "2.jpg")
    table = read_table(write(tmp_path, 'path, label\n1.jpg, a\n2.jpg, "b, c"\n'))
    assert labels(table) == {"1.jpg": "a", "2.jpg": "b, c"}


def test_what_is_no_label_in_json(tmp_path: Path) -> None:
    put(tmp_path, *(f"{n}.jpg" for n in range(8)))
    given = [1, 1.0, 2.5, True, ["a", "b"], {"a": 1}, float("nan"), None]
    rows = [{"path": f"{n}.jpg", "label": label} for n, label in enumerate(given)]
    table = read_table(write(tmp_path, json.dumps(rows), "t.json"))
    assert labels(table) == {"0.jpg": "1", "1.jpg": "1", "2.jpg": "2.5", "3.jpg": "True"}
    assert [(p.path, p.kind, p.reason) for p in table.problems] == [
        ("4.jpg", "bad_label", "t.json entry 5 gives it a list, which is no label."),
        ("5.jpg", "bad_label", "t.json entry 6 gives it an object, which is no label."),
        ("6.jpg", "bad_label", "t.json entry 7 gives it NaN, which is no label."),
        ("7.jpg", "no_label", "t.json entry 8 gives it no label."),
    ]


def test_what_is_no_label_in_parquet(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    put(tmp_path, "1.jpg", "2.jpg", "3.jpg")
    columns = {"path": ["1.jpg", "2.jpg", "3.jpg"], "label": [0.0, 1.0, float("nan")]}
    parquet.write_table(pyarrow.table(columns), tmp_path / "t.parquet")
    table = read_table(tmp_path / "t.parquet")
    assert labels(table) == {"1.jpg": "0", "2.jpg": "1"}
    assert table.problems[0].reason == "t.parquet row 3 gives it NaN, which is no label."

    columns = {"image": [{"bytes": b"x", "path": "1.jpg"}], "label": ["a"]}
    parquet.write_table(pyarrow.table(columns), tmp_path / "hf.parquet")
    with pytest.raises(DataError, match="row 1: the column 'image' holds an object and not paths"):
        read_table(tmp_path / "hf.parquet")


def test_labels_of_a_csv_stay_as_they_are_written(tmp_path: Path) -> None:
    put(tmp_path, "1.jpg", "2.jpg", "3.jpg", "4.jpg")
    table = read_table(write(tmp_path, "path,label\n1.jpg,NA\n2.jpg,None\n3.jpg,007\n4.jpg,07\n"))
    assert table.classes == ("007", "07", "NA", "None")
    assert "'007' and '07'" in table.notes[0]


# --- parts ------------------------------------------------------------------------------------


def test_is_valid_of_fastai(tmp_path: Path) -> None:
    put(tmp_path, "1.jpg", "2.jpg", "3.jpg", "4.jpg")
    rows = "1.jpg,a,False,0\n2.jpg,b,,0\n3.jpg,a,True,0\n4.jpg,b,False,1\n"
    table = read_table(write(tmp_path, f"name,label,is_valid,is_test\n{rows}"), path_column="name")
    assert parts(table) == {
        "1.jpg": "train", "2.jpg": "train", "3.jpg": "validation", "4.jpg": "test",
    }  # fmt: skip
    assert table.notes[0] == "The parts are those of 'is_valid' and 'is_test' in the table."
    with pytest.raises(DataError, match="line 3: 'maybe' in the column 'is_valid' is neither True"):
        read_table(write(tmp_path, "path,label,is_valid\n1.jpg,a,1\n2.jpg,b,maybe\n"))
    with pytest.raises(DataError, match="line 3 is in two parts"):
        read_table(write(tmp_path, "path,label,is_valid,is_test\n1.jpg,a,0,0\n2.jpg,b,1,1\n"))


def test_a_split_column_wins_and_other_names_are_understood(tmp_path: Path) -> None:
    put(tmp_path, "1.jpg", "2.jpg", "3.jpg")
    text = "path,label,is_valid,split\n1.jpg,a,1,Training\n2.jpg,b,0,train_set\n3.jpg,a,1,TEST\n"
    assert read_table(write(tmp_path, text)).parts.tolist() == ["train", "train", "test"]
    text = "path,label,phase\n1.jpg,a,train\n2.jpg,b,train\n3.jpg,a,val\n"
    table = read_table(write(tmp_path, text))
    assert table.parts.tolist() == ["train", "train", "validation"]
    assert table.notes[0] == "The parts are those of 'phase' in the table."


def test_a_label_column_of_train_and_test_is_no_part(tmp_path: Path) -> None:
    put(tmp_path, "1.jpg", "2.jpg")
    table = read_table(write(tmp_path, "path,label\n1.jpg,train\n2.jpg,test\n"))
    assert table.classes == ("test", "train")
    assert table.parts.tolist() == ["", ""]


def test_an_image_in_two_parts_stays_in_the_first_of_test_validation_train(tmp_path: Path) -> None:
    put(tmp_path, *(f"{n}.jpg" for n in range(5)))
    text = (
        "path,label,split\n0.jpg,a,train\n1.jpg,b,train\n"
        "2.jpg,a,train\n2.jpg,a,test\n"
        "3.jpg,b,validation\n./3.jpg,b,train\n"
        "4.jpg,a,test\n4.jpg,b,train\n"
    )
    table = read_table(write(tmp_path, text))
    assert parts(table) == {
        "0.jpg": "train", "1.jpg": "train", "2.jpg": "test", "3.jpg": "validation",
    }  # fmt: skip
    assert "1 image listed for several parts, used for test only: 2.jpg (t.csv line 4, " in (
        " ".join(table.notes)
    )
    assert "used for validation only: 3.jpg" in " ".join(table.notes)
    assert [(p.path, p.kind) for p in table.problems] == [("4.jpg", "label_conflict")]


def test_columns_stay_in_step_where_rows_go(tmp_path: Path) -> None:
    put(tmp_path, "1.jpg", "2.jpg", "3.jpg")
    text = "path,label,patient\n1.jpg,a,p\n2.jpg,b,q\n1.jpg,a,p\ngone.jpg,b,r\n3.jpg,b,p\n"
    table = read_table(write(tmp_path, text), group_by="patient")
    assert table.groups is not None
    assert table.groups.tolist() == [0, 1, 0]


# --- encodings and options --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("path,label\n1.jpg,\u00e4\n".encode("utf-16"), "is UTF-16 text, not UTF-8; save it again"),
        ("path,label\n1.jpg,\u00e4\n".encode("latin-1"), "is not UTF-8 text; save it again as UTF"),
    ],
)
def test_other_encodings_say_how_to_save(tmp_path: Path, content: bytes, said: str) -> None:
    with pytest.raises(DataError) as raised:
        read_table(write(tmp_path, content))
    assert said in str(raised.value)
    assert "'CSV UTF-8'" in str(raised.value)


def test_a_table_without_a_first_line(tmp_path: Path) -> None:
    put(tmp_path, "1.jpg", "2.jpg")
    with pytest.raises(DataError, match=r"first line must name the columns \(path,label\)"):
        read_table(write(tmp_path, "1.jpg,a\n2.jpg,b\n"))


def test_options_of_tables_without_effect_are_said(tmp_path: Path) -> None:
    put(tmp_path, "a/1.jpg", "b/1.jpg")
    table = read_table(tmp_path, path_column="x", root=tmp_path)
    assert table.notes[0].startswith("--path-column and --root without effect")


def test_a_line_for_excel_is_no_header(tmp_path: Path) -> None:
    put(tmp_path, "1.jpg", "2.jpg")
    table = read_table(write(tmp_path, "sep=;\npath;label\n1.jpg;a\n2.jpg;b\ngone.jpg;b\n"))
    assert labels(table) == {"1.jpg": "a", "2.jpg": "b"}
    assert table.problems[0].reason.startswith("t.csv line 5 names it")


def test_columns_of_the_one_table_of_a_folder(tmp_path: Path) -> None:
    put(tmp_path, "img/1.jpg", "img/2.jpg")
    write(tmp_path, "who,tags\nimg/1.jpg,a\nimg/2.jpg,b\n")
    assert read_table(tmp_path, path_column="who", label_column="tags").classes == ("a", "b")
    write(tmp_path, "path,label\n1.jpg,a\n2.jpg,b\n")
    assert read_table(tmp_path, root=tmp_path / "img").file(0) == tmp_path / "img/1.jpg"


# --- small classes ----------------------------------------------------------------------------


def test_min_images_leaves_small_classes_out_of_every_part(tmp_path: Path) -> None:
    put(tmp_path, *(f"train/{c}/{n}.jpg" for c in "ab" for n in range(3)))
    put(tmp_path, "train/rare/1.jpg", "train/few/1.jpg", "train/few/2.jpg", "test/rare/1.jpg")
    put(tmp_path, "test/a/1.jpg", "test/b/1.jpg")
    table = read_table(tmp_path, min_images=3)
    assert table.classes == ("a", "b")
    assert len(table) == 8
    assert table.notes == (
        "Left out by --min-images 3, with fewer images to train on: few (2), rare (1).",
    )
    assert read_table(tmp_path, min_images=2).classes == ("a", "b", "few")
    with pytest.raises(DataError, match=r"--min-images 4 leaves 0 of 4 classes"):
        read_table(tmp_path, min_images=4)


# --- tables of programs and archives ------------------------------------------------------------


def test_rows_of_separators_only_are_no_rows(tmp_path: Path) -> None:
    """As Excel writes them below a table: nothing is missing."""
    put(tmp_path, "1.jpg", "2.jpg")
    table = read_table(write(tmp_path, "path,label,\n1.jpg,a,\n,,\n2.jpg,b,\n" + ",,\n" * 9))
    assert labels(table) == {"1.jpg": "a", "2.jpg": "b"}
    assert table.problems == ()


def test_a_row_with_too_few_values_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"line 2 has 2 values under 3 columns; an empty value"):
        read_table(write(tmp_path, "path,label,note\n1.jpg,a\n"))


def test_two_columns_of_one_name_stop(tmp_path: Path) -> None:
    put(tmp_path, "1.jpg", "2.jpg")
    with pytest.raises(DataError, match="2 columns named 'label'"):
        read_table(write(tmp_path, "path,label,label\n1.jpg,a,x\n2.jpg,b,y\n"))
    table = read_table(write(tmp_path, "path,label,note,note\n1.jpg,a,x,\n2.jpg,b,y,\n"))
    assert table.classes == ("a", "b")


def test_a_part_column_about_something_else_is_passed_over_and_said(tmp_path: Path) -> None:
    put(tmp_path, "1.jpg", "2.jpg", "3.jpg")
    head = "path,label,part,usage\n"
    rows = "1.jpg,a,head,Training\n2.jpg,b,tail,Training\n3.jpg,a,head,PublicTest\n"
    table = read_table(write(tmp_path, head + rows))
    assert parts(table) == {"1.jpg": "train", "2.jpg": "train", "3.jpg": "test"}
    assert table.notes[0].startswith("The column 'part' of the table names no parts")
    with pytest.raises(DataError, match=r"line 2: the column 'split' holds 'head', which is no"):
        read_table(write(tmp_path, "path,label,split\n1.jpg,a,head\n2.jpg,b,tail\n"))
    with pytest.raises(DataError, match=r"line 3: the column 'set' holds nothing, which is no"):
        read_table(write(tmp_path, "path,label,set\n1.jpg,a,train\n2.jpg,b,\n"))


def test_a_column_a_class_is_named(tmp_path: Path) -> None:
    put(tmp_path, "1.jpg", "2.jpg")
    with pytest.raises(DataError, match="cat, dog hold 0 and 1, as one column a class does"):
        read_table(write(tmp_path, "filename, cat, dog\n1.jpg, 1, 0\n2.jpg, 0, 1\n"))


def test_an_address_on_the_web_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is an address on the web"):
        read_table(write(tmp_path, "path,label\nhttps://example.org/1.jpg,a\n"))


@pytest.mark.parametrize("wrapper", ["", "pets/"])
def test_a_table_in_the_folder_of_each_part(tmp_path: Path, wrapper: str) -> None:
    """As imagefolders of Hugging Face have them: all parts are read, not the first alone.

    Each table says the labels of its own files: those of test are the other way round.
    """
    said = {"train": {"a1.jpg": "cat", "b1.jpg": "dog"}, "test": {"a2.jpg": "dog", "b2.jpg": "cat"}}
    for part, rows in said.items():
        put(tmp_path, *(f"{wrapper}{part}/{name}" for name in rows))
        lines = "".join(f"{name},{label}\n" for name, label in rows.items())
        write(tmp_path / wrapper / part, "file_name,label\n" + lines, "metadata.csv")
    put(tmp_path, f"{wrapper}validation/x.jpg")
    table = read_table(tmp_path)
    assert parts(table) == {
        f"{wrapper}{part}/{name}": part for part, rows in said.items() for name in rows
    }
    assert labels(table) == {
        f"{wrapper}{part}/{name}": label
        for part, rows in said.items() for name, label in rows.items()
    }  # fmt: skip
    assert "Left out, as no table lies in it: validation." in table.notes


def test_tables_named_after_parts(tmp_path: Path) -> None:
    put(tmp_path, *(f"images/{n}.jpg" for n in range(4)))
    write(tmp_path, "path,label\nimages/0.jpg,a\nimages/1.jpg,b\n", "train.csv")
    write(tmp_path, "path,label\nimages/2.jpg,a\nimages/3.jpg,b\n", "test.csv")
    table = read_table(tmp_path)
    assert table.parts.tolist() == ["train", "train", "test", "test"]


def test_the_one_table_with_labels_among_other_files(tmp_path: Path) -> None:
    put(tmp_path, "images/0.jpg", "images/1.jpg")
    write(tmp_path, "path,label\nimages/0.jpg,a\nimages/1.jpg,b\n", "labels.csv")
    write(tmp_path, "{}", "notes.json")
    assert labels(read_table(tmp_path)) == {"images/0.jpg": "a", "images/1.jpg": "b"}


def test_tables_in_class_folders_are_said(tmp_path: Path) -> None:
    put(tmp_path, "a/1.jpg", "b/2.jpg")
    write(tmp_path / "a", "path,label\n1.jpg,x\n", "labels.csv")
    table = read_table(tmp_path)
    assert table.classes == ("a", "b")
    assert any("the table a/labels.csv; if it says" in note for note in table.notes)
