"""Predicting for work: into a file that grows and is gone on with, into folders, from lists."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parent))

from trained import quick_run

import tellapart as ta
from tellapart import files as files_module
from tellapart.cli import app
from tellapart.data.given import count_files, each_file, files_of, read_list
from tellapart.errors import DataError, FileError, RunError
from tellapart.lock import locked
from tellapart.prediction import classifier as classifier_module
from tellapart.prediction import predictor as predictor_module
from tellapart.run import Run
from tellapart.verbs.predict import Predicted

ENDINGS = (".csv", ".jsonl", ".parquet")


@pytest.fixture(scope="module")
def run(image_folder: Callable[..., Path]) -> Run:
    folder = image_folder(per_class=20)
    return quick_run(folder, folder.parent / "run", epochs=1)


@pytest.fixture(scope="module")
def other(image_folder: Callable[..., Path]) -> Run:
    folder = image_folder(per_class=20)
    return quick_run(folder, folder.parent / "run", epochs=1, seed=7)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Eleven pictures in two folders, one file that is none, and a note."""
    folder = tmp_path / "photos"
    for number in range(11):
        place = folder / ("a" if number < 6 else "b")
        place.mkdir(parents=True, exist_ok=True)
        colour = (200, 20, 20 * number) if number % 2 else (20, 20 * number, 200)
        Image.new("RGB", (40, 32), colour).save(place / f"{number % 6}.png")
    (folder / "b" / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing")
    (folder / "notes.txt").write_text("no picture")
    return folder


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predictor_module, "BATCH_IMAGES", 4)


def rows_of(file: Path) -> list[dict[str, object]]:
    """What a file says, read by others than us."""
    if file.suffix == ".csv":
        with file.open(newline="", encoding="utf-8") as opened:
            return list(csv.DictReader(opened))
    if file.suffix == ".parquet":
        import pandas as pd

        return pd.read_parquet(file).to_dict("records")
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()]


@pytest.mark.parametrize("ending", ENDINGS)
def test_every_format_says_what_the_list_says(
    run: Run, photos: Path, tmp_path: Path, ending: str
) -> None:
    out = tmp_path / "new" / f"answers{ending}"
    told = ta.predict(run, photos, out=out)
    assert isinstance(told, Predicted) and told.exit_code == 1
    expected = {a.path: a for a in run.predict(photos)}
    rows = rows_of(out)
    assert {row["path"] for row in rows} == set(expected) and len(rows) == 12
    for row in rows:
        answer = expected[str(row["path"])]
        assert row["model"] == run.info.model_digest[:16]
        if answer.error:
            assert row["error"] == answer.error and not row.get("prediction")
            continue
        assert row["prediction"] == answer.prediction and not row.get("error")
        values = row["probabilities"] if ending == ".jsonl" else row
        for name, value in answer.probabilities.items():
            assert float(values[name]) == pytest.approx(value, abs=1e-5)  # type: ignore[index]
    assert (told.failed, told.images, told.before) == (1, 12, 0)
    assert sorted(p.name for p in out.parent.iterdir()) == [out.name]
    assert next(iter(told.lines())) == "12 images"
    assert "  1 could not be read, the reasons are in the column 'error'" in told.lines()


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_second_time_does_nothing_and_new_files_are_added(
    run: Run, photos: Path, tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / f"answers{ending}"
    ta.predict(run, photos / "a", out=out)
    before = out.read_bytes()
    decoded: list[int] = []
    original = classifier_module.decode_many

    def counting(given, preprocessing):  # type: ignore[no-untyped-def]
        decoded.append(len(given))
        return original(given, preprocessing)

    monkeypatch.setattr(classifier_module, "decode_many", counting)
    again = ta.predict(run, photos / "a", out=out)
    assert (again.before, again.images, again.exit_code, decoded) == (6, 6, 0, [])
    assert out.read_bytes() == before or ending == ".parquet"
    more = ta.predict(run, photos, out=out)
    assert (more.before, more.images, more.failed, sum(decoded)) == (6, 12, 1, 6)
    assert len(rows_of(out)) == 12 == len({row["path"] for row in rows_of(out)})
    # What could not be read stays a failure of the whole, and is not tried again.
    last = ta.predict(run, photos, out=out)
    assert (last.before, last.failed, last.exit_code, sum(decoded)) == (12, 1, 1, 6)


@pytest.mark.parametrize("ending", [".csv", ".jsonl"])
def test_a_torn_line_is_mended_wherever_it_is_torn(
    run: Run, photos: Path, tmp_path: Path, ending: str
) -> None:
    odd = photos / "b" / 'two\r\nlines, "quoted".png'
    shutil.copy(photos / "a" / "0.png", odd)
    out, whole = tmp_path / f"answers{ending}", tmp_path / f"whole{ending}"
    ta.predict(run, photos, out=whole)
    content = whole.read_bytes()
    expected = rows_of(whole)
    ends = range(0, len(content) + 1, 97)
    for end in ends:
        out.write_bytes(content[:end])
        ta.predict(run, photos, out=out)
        assert out.read_bytes() == content, end
    assert len(expected) == 13 and str(odd) in {row["path"] for row in expected}


def test_killed_anywhere_parquet_comes_out_the_same(run: Run, photos: Path, tmp_path: Path) -> None:
    whole, lines = tmp_path / "whole.parquet", tmp_path / "x.jsonl"
    ta.predict(run, photos, out=whole)
    ta.predict(run, photos, out=lines)
    content = lines.read_bytes()
    expected = rows_of(whole)
    out = tmp_path / "answers.parquet"
    beside = tmp_path / "answers.parquet.jsonl"
    for end in (0, 100, len(content) // 2, len(content) - 1, len(content)):
        out.unlink(missing_ok=True)
        beside.write_bytes(content[:end])
        ta.predict(run, photos, out=out)
        assert str(rows_of(out)) == str(expected) and not beside.exists()
    # The kill came when the table was there and its lines were not yet gone.
    beside.write_bytes(content)
    again = ta.predict(run, photos, out=out)
    assert again.before == 12 and str(rows_of(out)) == str(expected) and not beside.exists()


@pytest.mark.parametrize("ending", ENDINGS)
def test_answers_of_two_models_are_never_in_one_file(
    run: Run, other: Run, photos: Path, tmp_path: Path, ending: str
) -> None:
    out = tmp_path / f"answers{ending}"
    ta.predict(run, photos / "a", out=out)
    before = out.read_bytes()
    with pytest.raises(DataError, match="holds answers of another model, or by other rules"):
        ta.predict(other, photos, out=out)
    assert out.read_bytes() == before
    assert sorted(p.name for p in tmp_path.glob("answers*")) in (
        [out.name], [out.name, f"{out.name}.jsonl"],
    )  # fmt: skip


@pytest.mark.parametrize(("ending", "content"), [
    (".csv", "path,label\na.jpg,cat\n"), (".csv", "path,prediction"), (".csv", "x"),
    (".jsonl", '{"name": 1}'), (".jsonl", "[]\n"), (".jsonl", '{"path": "a.jpg"}\n'),
    (".parquet", "no table"),
])  # fmt: skip
def test_files_of_others_are_left_alone(
    run: Run, photos: Path, tmp_path: Path, ending: str, content: str
) -> None:
    out = tmp_path / f"mine{ending}"
    out.write_text(content)
    if content == "path,prediction":  # which is how ours begins, cut off by a kill
        ta.predict(run, photos / "a", out=out)
        assert len(rows_of(out)) == 6
        return
    with pytest.raises(DataError, match=r"another model|is no Parquet table|is damaged"):
        ta.predict(run, photos / "a", out=out)
    assert out.read_text() == content


def test_a_damaged_row_in_the_middle_is_said(run: Run, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "answers.csv"
    ta.predict(run, photos, out=out)
    lines = out.read_bytes().split(b"\r\n")
    lines[3] = b"what,is,this"
    out.write_bytes(b"\r\n".join(lines))
    with pytest.raises(DataError, match="is damaged: row 4 is no answer"):
        ta.predict(run, photos, out=out)


@pytest.mark.parametrize(
    "changes", [{"path": 5}, {"path": None}, {"prediction": ["a"]}, {"probabilities": 5}]
)
def test_a_row_that_somebody_changed_is_said(
    changes: dict[str, Any], run: Run, photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "answers.jsonl"
    ta.predict(run, photos / "a", out=out)
    first, *others = out.read_text().splitlines(keepends=True)
    changed = json.dumps({**json.loads(first), **changes}) + "\n" + "".join(others)
    out.write_text(changed)
    with pytest.raises(DataError, match="is damaged: row 1 is no answer"):
        ta.predict(run, photos, out=out)
    out.write_text('{"path": ' + "[" * 100_000 + "\n")
    with pytest.raises(DataError, match="is damaged: row 1 is no answer"):
        ta.predict(run, photos, out=out)


def test_a_table_whose_rows_are_damaged_is_said(run: Run, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "answers.parquet"
    ta.predict(run, photos / "a", out=out)
    content = bytearray(out.read_bytes())
    content[4:60] = b"\xff" * 56  # the first column; what the table's end says is whole
    out.write_bytes(content)
    with pytest.raises(DataError, match="is damaged"):
        ta.predict(run, photos, out=out)
    assert out.read_bytes() == bytes(content)


def test_a_full_disk_in_the_middle_leaves_whole_rows(
    run: Run, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk takes half of the second batch and then nothing."""
    out, whole = tmp_path / "answers.csv", tmp_path / "whole.csv"
    ta.predict(run, photos, out=whole)
    size = whole.stat().st_size
    append = files_module.GrowingFile.append

    class Full:
        """A file on a disk that has room for so many bytes."""

        def __init__(self, file, room: int) -> None:  # type: ignore[no-untyped-def]
            self._file, self._room = file, room

        def write(self, piece: memoryview) -> int:
            if not self._room:
                raise OSError(errno.ENOSPC, "No space left on device")
            taken = self._file.write(piece[: self._room])
            self._room -= taken
            return taken

        def __getattr__(self, name: str) -> object:
            return getattr(self._file, name)

    def limited(self, piece: bytes) -> None:  # type: ignore[no-untyped-def]
        if not isinstance(self._file, Full):
            self._file = Full(self._file, size // 2)
        append(self, piece)

    monkeypatch.setattr(files_module.GrowingFile, "append", limited)
    with pytest.raises(FileError, match=r"answers.csv cannot be written: No space left.*free some"):
        ta.predict(run, photos, out=out)
    there = out.read_bytes()
    assert there.endswith(b"\r\n") and whole.read_bytes().startswith(there) and len(there) > 100
    monkeypatch.undo()
    assert ta.predict(run, photos, out=out).before > 0
    assert sorted(out.read_bytes().splitlines()) == sorted(whole.read_bytes().splitlines())


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes with names")
@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_a_pipe_in_the_files_place_is_not_waited_for(
    ending: str, run: Run, photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / f"answers{ending}"
    os.mkfifo(out)
    with pytest.raises(FileError, match="no file that can grow"):
        ta.predict(run, photos, out=out)


def test_only_one_process_writes_to_a_file(run: Run, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "answers.csv"
    ta.predict(run, photos, out=out)
    with locked(out, "held"), pytest.raises(RunError, match="Another process writes to"):
        ta.predict(run, photos, out=out)


@pytest.mark.parametrize(("name", "said"), [
    ("answers.txt", "must be one of .csv, .jsonl, .ndjson, .parquet"),
    ("answers", "must be one of"),
])  # fmt: skip
def test_an_unknown_ending_is_said_before_any_work(
    run: Run, photos: Path, tmp_path: Path, name: str, said: str
) -> None:
    with pytest.raises(DataError, match=said):
        ta.predict(run, photos, out=tmp_path / name)
    assert not (tmp_path / name).exists()
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(FileError, match="it is a folder"):
        ta.predict(run, photos, out=tmp_path / "folder.csv")


def test_a_name_that_is_no_unicode_is_written_and_found_again(
    run: Run, photos: Path, tmp_path: Path
) -> None:
    name = b"caf\xe9.png".decode("utf-8", "surrogateescape")
    shutil.copy(photos / "a" / "0.png", photos / "a" / name)
    for ending in ENDINGS:
        out = tmp_path / f"answers{ending}"
        assert ta.predict(run, photos / "a", out=out).images == 7
        assert ta.predict(run, photos / "a", out=out).before == 7
        out.read_bytes().decode("utf-8") if ending != ".parquet" else None
        assert any(str(row["path"]).endswith((r"caf\udce9.png", "caf\udce9.png"))
                   for row in rows_of(out))  # fmt: skip
        assert len(rows_of(out)) == 7
    ta.predict(run, photos / "a", sort_into=tmp_path / "sorted")
    assert sum(p.name == name for p in (tmp_path / "sorted").rglob("*")) == 1


# --- lists --------------------------------------------------------------------------------


def test_lists_by_lines_and_by_zero_bytes() -> None:
    assert [str(p) for p in read_list(io.BytesIO(b"a b.jpg\r\n\nc.jpg"))] == ["a b.jpg", "c.jpg"]
    assert [str(p) for p in read_list(io.BytesIO(b"a\nb.jpg\0c.jpg\0"))] == ["a\nb.jpg", "c.jpg"]
    assert [os.fsencode(p) for p in read_list(io.BytesIO(b"caf\xe9.jpg\n"))] == [b"caf\xe9.jpg"]
    many = b"".join(b"%06d.jpg\n" % i for i in range(20_000))  # several chunks
    assert [str(p) for p in read_list(io.BytesIO(many))] == many.decode().split()


@pytest.mark.parametrize(("content", "said"), [
    (b"", "names no files"),
    (b"\n\n", "names no files"),
    (b"gone.jpg\nlost.jpg\n", "None of the first 2 files .* is there, such as gone.jpg"),
    (b"path,label\n" + b"x.jpg,cat\n" * 500, "None of the first 100 files"),
    (b"\x89PNG\r\n\x1a\n" + bytes(50), "holds a picture"),
    (b"x" * 200_000, "longer than any path"),
    (b"a.jpg\n" * 12_000 + b"b\0c\n", "None of the first 100|zero bytes"),
])  # fmt: skip
def test_what_is_no_list_is_a_sentence(content: bytes, said: str) -> None:
    with pytest.raises(DataError, match=said):
        list(each_file(["-"], stdin=io.BytesIO(content)))


def test_a_list_on_standard_input(run: Run, photos: Path, tmp_path: Path) -> None:
    listed = f"{photos / 'a' / '0.png'}\n{photos / 'gone.png'}\n{photos / 'b'}\n"
    out = tmp_path / "answers.csv"
    words = ["predict", str(run.path), "-", "--out", str(out)]
    done = CliRunner().invoke(app, words, input=listed)
    assert done.exit_code == 1 and len(rows_of(out)) == 8
    (gone,) = [row for row in rows_of(out) if str(row["path"]).endswith("gone.png")]
    assert "No such file" in str(gone["error"])
    done = CliRunner().invoke(app, ["predict", str(run.path), "-", "--format", "csv"], input=listed)
    assert done.exit_code == 1 and len(list(csv.reader(io.StringIO(done.stdout)))) == 9


def test_walking_gives_the_files_of_the_list_in_bounded_portions(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tellapart.data import listing

    others: list[str] = []
    walked = list(each_file([photos], on_other=others.append))
    assert walked == files_of(photos) and others == ["notes.txt"]
    monkeypatch.setattr(listing, "_SORTED_TOGETHER", 2)
    assert sorted(each_file([photos])) == files_of(photos)
    assert count_files([photos, photos / "a"]) == 18 and count_files(["-"]) is None
    with pytest.raises(DataError, match=r"There is no file .*gone"):
        count_files([photos, photos / "gone"])


# --- sorting ------------------------------------------------------------------------------


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes()
            for p in folder.rglob("*") if p.is_file()}  # fmt: skip


def test_files_are_copied_into_the_folders_of_their_answers(
    run: Run, photos: Path, tmp_path: Path
) -> None:
    before = contents(photos)
    answers = [a for a in run.predict(photos) if not a.error]
    told = ta.predict(run, photos, sort_into=tmp_path / "sorted")
    found = contents(tmp_path / "sorted")
    # Both folders have a 0.png and so on: none replaces another.
    assert len(found) == 11 == len(set(found)) and contents(photos) == before
    assert sorted(found.values()) == sorted(Path(a.path).read_bytes() for a in answers)
    for answer in answers:
        stem = Path(answer.path).stem
        same = [p for p in found if p.startswith(f"{answer.prediction}/{stem}")]
        assert Path(answer.path).read_bytes() in [found[p] for p in same]
    assert told.exit_code == 1 and f"sorted   {tmp_path / 'sorted'}" in list(told.lines())
    ta.predict(run, photos, sort_into=tmp_path / "sorted")
    assert contents(tmp_path / "sorted") == found


def test_links_and_moves_are_made_only_when_asked_for(
    run: Run, photos: Path, tmp_path: Path
) -> None:
    pixels = sorted(v for k, v in contents(photos).items() if k.endswith(".png"))
    for _ in range(2):
        ta.predict(run, photos, sort_into=tmp_path / "links", link=True)
    links = [p for p in (tmp_path / "links").rglob("*") if not p.is_dir()]
    assert len(links) == 11 and all(p.is_symlink() and p.exists() for p in links)
    out = tmp_path / "answers.csv"
    ta.predict(run, photos / "a", out=out)  # answered before, so moved without being done again
    told = ta.predict(run, photos, out=out, sort_into=tmp_path / "moved", move=True)
    assert sorted(contents(tmp_path / "moved").values()) == pixels and told.before == 6
    assert sorted(contents(photos)) == ["b/broken.jpg", "notes.txt"]
    assert len(rows_of(out)) == 12
    with pytest.raises(DataError, match="give it and one of them"):
        ta.predict(run, photos, move=True)
    with pytest.raises(DataError, match="give it and one of them"):
        ta.predict(run, photos, sort_into=tmp_path / "x", link=True, move=True)


def test_the_folder_of_the_sorted_must_lie_outside(run: Run, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "way").symlink_to(photos)
    for place in (photos, photos / "sorted", tmp_path / "way" / "sorted"):
        with pytest.raises(DataError, match="would be sorted again; name a folder outside"):
            ta.predict(run, photos, sort_into=place)
    assert not (photos / "sorted").exists()
    with pytest.raises(DataError, match="that is a file; name a folder"):
        ta.predict(run, photos, sort_into=photos / "notes.txt")


def test_any_class_has_a_folder() -> None:
    from tellapart.prediction.sorting import Sorter

    names = Sorter.of(Path("x"), ["a/b", "a\\b", "..", "Cat", "cat", "ok", "unknown"], "copy").names
    assert names == {
        "a/b": "a_b", "a\\b": "a_b-2", "..": "_", "Cat": "Cat", "cat": "cat-2", "ok": "ok",
        "unknown": "unknown",
    }  # fmt: skip


# --- faults -------------------------------------------------------------------------------


def test_a_run_of_a_newer_version_is_said_and_no_file_is_made(
    run: Run, photos: Path, tmp_path: Path
) -> None:
    shutil.copytree(run.path, tmp_path / "newer")
    content = json.loads((tmp_path / "newer" / "run.json").read_text())
    content["format"] = 99
    (tmp_path / "newer" / "run.json").write_text(json.dumps(content))
    with pytest.raises(RunError, match="made by a newer tellapart; update this one"):
        ta.predict(tmp_path / "newer", photos, out=tmp_path / "answers.csv")
    assert not (tmp_path / "answers.csv").exists()


def test_pictures_in_memory_have_no_place_in_a_file(run: Run, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="take files and folders, not pictures in memory"):
        ta.predict(run, [np.zeros((4, 4, 3), np.uint8)], out=tmp_path / "answers.csv")


@pytest.mark.parametrize(("words", "said"), [
    (["--link"], "--link has no effect without --sort-into"),
    (["--sort-into", "x", "--link", "--move"], "--link has no effect beside --move"),
])  # fmt: skip
def test_options_that_contradict_are_said(
    run: Run, photos: Path, words: list[str], said: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tellapart", "predict", str(run.path), str(photos), *words],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 2 and said in done.stderr
