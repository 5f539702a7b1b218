"""Predicting: every file is answered, in every form, and runs are handed from verb to verb."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))

from trained import quick_run

import tellapart as ta
from tellapart.data.given import files_of
from tellapart.errors import DataError
from tellapart.evaluation.decision import Decision
from tellapart.evaluation.policy import Policy
from tellapart.evaluation.unknown import load_unknown
from tellapart.prediction.answers import Answer, Answers
from tellapart.progress import SILENT
from tellapart.run import Run


@pytest.fixture(scope="module")
def run(image_folder: Callable[..., Path]) -> Run:
    folder = image_folder(per_class=20)
    return quick_run(folder, folder.parent / "run", epochs=1)


@pytest.fixture
def phone(tmp_path: Path) -> Path:
    """What comes off a telephone: one photograph that is read, and all the rest."""
    folder = tmp_path / "phone"
    folder.mkdir()
    Image.new("RGB", (40, 30), "red").save(folder / "good.jpg")
    (folder / "a.HEIC").write_bytes(b"\0\0\0\x18ftypheic" + bytes(40))
    (folder / "b.avif").write_bytes(b"\0\0\0\x18ftypavif" + bytes(40))
    (folder / "empty.png").touch()
    (folder / "link.jpg").symlink_to(folder / "gone.jpg")
    (folder / "notes.txt").write_text("no picture")
    return folder


class Notes:
    """A progress that remembers what is said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def stage(self, *arguments: Any) -> Any:
        return SILENT.stage(*arguments)

    def note(self, text: str) -> None:
        self.said.append(text)


def test_every_picture_of_a_folder_is_answered(run: Run, phone: Path) -> None:
    notes = Notes()
    answers = ta.predict(run, phone, progress=notes)
    assert [Path(answer.path).name for answer in answers] == [
        "a.HEIC", "b.avif", "empty.png", "good.jpg", "link.jpg",
    ]  # fmt: skip
    failed = {Path(a.path).name: a.error for a in answers if a.error}
    assert set(failed) >= {"empty.png", "link.jpg"} and "good.jpg" not in failed
    assert failed["empty.png"] == "The file is empty."
    assert "No such file" in failed["link.jpg"]
    assert answers.exit_code == 1
    assert [n for n in notes.said if "notes.txt" in n] == [
        f"1 file in {phone} is no picture by name and is left out: notes.txt."
    ]
    assert answers.to_json()[2] == {"path": str(phone / "empty.png"), "error": "The file is empty."}


def test_each_file_given_is_answered_whatever_it_is(run: Run, phone: Path) -> None:
    given = [phone / "notes.txt", phone / "link.jpg", phone / "good.jpg"]
    answers = run.predict(given)
    assert [answer.path for answer in answers] == [str(path) for path in given]
    assert [bool(answer.error) for answer in answers] == [True, True, False]
    with pytest.raises(DataError, match=r"There is no file .*typo[.]jpg; give image files"):
        run.predict([phone / "good.jpg", phone / "typo.jpg"])


def test_a_folder_without_any_picture_is_told_with_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(DataError, match=r"holds no pictures; 1 file there, such as notes.txt"):
        files_of(tmp_path)


def test_a_name_that_is_no_unicode_is_opened_all_the_same(run: Run, tmp_path: Path) -> None:
    name = b"caf\xe9.png".decode("utf-8", "surrogateescape")
    (tmp_path / "below").mkdir()
    Image.new("RGB", (32, 32), "blue").save(tmp_path / "below" / name)
    (answer,) = run.predict(tmp_path)
    assert not answer.error
    assert r"caf\udce9.png" in next(iter(Answers((answer,), run.classes).lines()))


def test_the_columns_of_a_csv_are_the_same_when_all_images_fail(run: Run, phone: Path) -> None:
    good, bad = run.predict(phone / "good.jpg"), run.predict(phone / "empty.png")
    head = next(good.in_format("csv"))
    assert head == next(bad.in_format("csv")) == "path,prediction,blue,red,error"


@pytest.mark.parametrize("name", ["path", "Prediction", "error", "decision"])
def test_a_class_with_the_name_of_a_column_has_another_column(name: str) -> None:
    answer = Answer("a.jpg", "cat", {name: 0.25, "cat": 0.75})
    answers = Answers((answer,), (name, "cat"), Policy(Decision("cat", 0.5)))
    (row,) = csv.DictReader(io.StringIO("\n".join(answers.in_format("csv"))))
    assert list(row) == [
        "path", "prediction", f"probability of {name}", "probability of cat", "error", "decision",
    ]  # fmt: skip
    assert (row["path"], row["prediction"], row["error"]) == ("a.jpg", "cat", "")
    assert row[f"probability of {name}"] == "0.250000"


def test_a_column_of_no_decision_is_no_clash() -> None:
    answer = Answer("a.jpg", "cat", {"decision": 0.25, "cat": 0.75})
    answers = Answers((answer,), ("decision", "cat"))
    assert next(answers.in_format("csv")) == "path,prediction,decision,cat,error"


def test_the_answer_unknown_is_never_a_class(
    image_folder: Callable[..., Path], tmp_path: Path
) -> None:
    photos, word = image_folder(classes=("unknown", "other"), per_class=30), "(unknown)"
    made = quick_run(photos, tmp_path / "run", epochs=1, validation=0.5)
    Image.effect_noise((40, 32), 100).convert("RGB").save(tmp_path / "noise.png")
    detector = load_unknown(made.unknown_file)
    replace(detector, threshold=1e-6).save(made.unknown_file)  # so that everything is far
    changed = made.update(files={})
    (answer,) = changed.predict(tmp_path / "noise.png", unknown=True)
    assert answer.unknown and answer.prediction == word
    assert word not in made.classes
    answers = changed.predict(tmp_path / "noise.png", unknown=True)
    (row,) = csv.DictReader(io.StringIO("\n".join(answers.in_format("csv"))))
    assert row["prediction"] == word
    assert f"{word} (nearest: " in next(iter(answers.lines()))


NAMES = ["=cmd|' /C calc'!A0.jpg", 'a,b\n"c".jpg', "a\rb.jpg", "\x1b[31mred.jpg"]


def made_answers() -> Answers:
    rows = [Answer(name, "cat", {"cat": 0.75, "\x1b[2Jdog": 0.25}) for name in NAMES]
    return Answers((*rows, Answer("x" * 150 + ".jpg", "", {}, "It\nis\x07 no image.")),
                   ("cat", "\x1b[2Jdog"))  # fmt: skip


def test_csv_gives_names_back_as_they_are() -> None:
    text = "\n".join(made_answers().in_format("csv"))
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert [row["path"] for row in rows][:4] == NAMES
    assert rows[0]["cat"] == "0.750000" and rows[0]["\x1b[2Jdog"] == "0.250000"
    assert [json.loads(line)["path"] for line in made_answers().in_format("json")][:4] == NAMES


def test_no_line_for_people_obeys_a_name_or_wraps() -> None:
    lines = list(made_answers().lines())
    assert len(lines) == 5
    assert all(line.isprintable() and len(line) <= 100 for line in lines)
    assert r"a\rb.jpg" in lines[2]
    assert lines[4].endswith(r"cannot be read: It\nis\x07 no image.")


def test_a_run_goes_from_verb_to_verb(run: Run, phone: Path, tmp_path: Path) -> None:
    opened = ta.open_run(run)
    assert opened == ta.open_run(str(run.path)) == run
    stored = ta.evaluate(run)
    assert stored.run == run.path and stored.exit_code == 0
    assert ta.predict(run, phone / "good.jpg") == run.predict(phone / "good.jpg")
    explained = ta.explain(run, phone / "good.jpg")
    html = explained._repr_html_()
    assert html.count("<img") >= 1 and "data:image/png" in html
    assert len(repr(explained)) < 500


def test_a_notebook_shows_pictures_and_what_was_not_read(run: Run, phone: Path) -> None:
    html = run.predict(phone)._repr_html_()
    assert html.count("<img") == sum(not a.error for a in run.predict(phone))
    assert "The file is empty." in html
    hostile = Answers((Answer("<b>.jpg", "", {}, "<script>"),), ("a", "b"))._repr_html_()
    assert "<script>" not in hostile and "&lt;script&gt;" in hostile


def test_the_last_line_of_a_run_is_its_folder_and_stands_there_once(run: Run) -> None:
    lines = list(run.lines())
    assert lines[-1] == str(run.path)
    assert sum(str(run.path) in line for line in lines) == 1
    assert run.to_json()["run"] == str(run.path)
    assert run.exit_code == 0


def test_every_result_has_one_face(
    run: Run, phone: Path, image_folder: Callable[..., Path]
) -> None:
    results = [
        run, ta.evaluate(run), run.predict(phone), ta.recipes(), ta.recipes("probe"),
        ta.backbones(), ta.inspect(image_folder(per_class=6), out=phone.parent / "page"),
    ]  # fmt: skip
    for result in results:
        lines = list(result.lines())
        assert lines and all(isinstance(line, str) for line in lines)
        json.dumps(result.to_json(), allow_nan=False)
        assert result._repr_html_().startswith("<div>")
        assert result.exit_code in (0, 1)
        assert len(repr(result)) < 200 and "\n" not in repr(result)
    assert repr(results[1]).startswith("<Evaluation: ")
