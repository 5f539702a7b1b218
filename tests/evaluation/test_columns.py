"""No class name makes a table or an answer mean two things."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from tellapart.evaluation.columns import PREFIX, class_columns, classes_of, word_for
from tellapart.evaluation.predictions import Predictions, load_predictions

FIXED = ("path", "label", "prediction")


@pytest.mark.parametrize("classes", [
    ("cat", "dog"), ("label", "cat"), ("Path", "cat"), ("prediction", "label", "path"),
    (f"{PREFIX}path", "path"), (f"{PREFIX}a", f"{PREFIX}b"), (f"{PREFIX}a", "b"),
    (f"{PREFIX}{PREFIX}label", f"{PREFIX}label"),
])  # fmt: skip
def test_columns_are_told_apart_and_come_back(tmp_path: Path, classes: tuple[str, ...]) -> None:
    columns = class_columns(classes, FIXED)
    folded = [name.casefold() for name in (*FIXED, *columns)]
    assert len(set(folded)) == len(folded)
    assert classes_of(columns) == classes
    rows = np.full((1, len(classes)), 1 / len(classes))
    made = Predictions("test", classes, ("a.jpg",), np.array([1]), rows)
    made.save(tmp_path / "test.csv")
    with (tmp_path / "test.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["path"], row["label"], row["prediction"]) == ("a.jpg", classes[1], classes[0])
    loaded = load_predictions(tmp_path / "test.csv")
    assert loaded.classes == classes and loaded.labels.tolist() == [1]


def test_without_a_clash_columns_have_the_names_of_the_classes() -> None:
    assert class_columns(("cat", "unknown"), FIXED) == ("cat", "unknown")


def test_files_of_older_versions_are_read_by_position(tmp_path: Path) -> None:
    (tmp_path / "test.csv").write_text("path,label,prediction,label,cat\na,cat,cat,0.25,0.75\n")
    loaded = load_predictions(tmp_path / "test.csv")
    assert loaded.classes == ("label", "cat") and loaded.probabilities.tolist() == [[0.25, 0.75]]


def test_an_answer_that_is_no_class_has_a_word_of_its_own() -> None:
    assert word_for("unknown", ("cat", "dog")) == "unknown"
    assert word_for("unknown", ("cat", "Unknown")) == "(unknown)"
    assert word_for("unknown", ("unknown", "(unknown)")) == "((unknown))"
