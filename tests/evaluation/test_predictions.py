from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tellapart.errors import DataError, RunError
from tellapart.evaluation.metrics import evaluate_predictions
from tellapart.evaluation.predictions import Predictions, align, load_predictions


def small() -> Predictions:
    return Predictions(
        part="test", classes=("cat", "dog"), paths=("a.jpg", "b.jpg", "c.jpg"),
        labels=np.array([0, 1, -1]), probabilities=np.array([[0.9, 0.1], [0.6, 0.4], [0.5, 0.5]]),
    )


def test_what_follows_from_the_probabilities() -> None:
    predictions = small()
    assert predictions.predicted.tolist() == [0, 0, 0]  # a tie goes to the first class
    assert predictions.correct.tolist() == [True, False, False]
    assert predictions.confidence.tolist() == [0.9, 0.6, 0.5]
    assert predictions.labelled.tolist() == [True, True, False]


@pytest.mark.parametrize("classes", [2, 7])
def test_csv_round_trip_gives_the_same_metrics(made, tmp_path: Path, classes: int) -> None:
    predictions = made(300, classes)
    predictions = replace(predictions, labels=np.where(np.arange(300) % 9, predictions.labels, -1))
    predictions.save(tmp_path / "sub" / "test.csv")
    loaded = load_predictions(tmp_path / "sub" / "test.csv")
    assert loaded.part == "test" and loaded.classes == predictions.classes
    assert np.array_equal(loaded.probabilities, predictions.probabilities)
    assert evaluate_predictions(loaded) == evaluate_predictions(predictions)
    assert [p.name for p in (tmp_path / "sub").iterdir()] == ["test.csv"]


def test_names_with_commas_quotes_and_line_ends_survive(tmp_path: Path) -> None:
    odd = replace(small(), classes=('a "b", c', "path"), paths=("x,y.jpg", 'q"\n.jpg', "ü/é.jpg"))
    odd.save(tmp_path / "test.csv")
    loaded = load_predictions(tmp_path / "test.csv")
    assert loaded.paths == odd.paths and loaded.classes == odd.classes


def test_csv_columns_are_the_documented_ones(tmp_path: Path) -> None:
    small().save(tmp_path / "test.csv")
    lines = (tmp_path / "test.csv").read_text().splitlines()
    assert lines[0] == "path,label,prediction,cat,dog"
    assert lines[1:] == ["a.jpg,cat,cat,0.9,0.1", "b.jpg,dog,cat,0.6,0.4", "c.jpg,,cat,0.5,0.5"]


def test_float32_rows_are_scaled_to_one() -> None:
    rows = np.float32([[1 / 3, 1 / 3, 1 / 3]])
    predictions = Predictions("test", ("a", "b", "c"), ("x",), np.array([0]), rows)
    assert abs(predictions.probabilities.sum() - 1.0) < 1e-15


@pytest.mark.parametrize(("change", "message"), [
    ({"paths": ("a.jpg", "b.jpg", "a.jpg")}, "'a.jpg' is predicted twice"),
    ({"labels": np.array([0, 1, 2])}, "Labels must be -1"),
    ({"labels": np.array([0, 1])}, "do not go with"),
    ({"probabilities": np.array([[0.9, 0.1], [0.6, 0.3], [0.5, 0.5]])}, "'b.jpg' are no dist"),
    ({"probabilities": np.array([[1.5, -0.5], [0.6, 0.4], [0.5, 0.5]])}, "'a.jpg' are no dist"),
    ({"probabilities": np.full((3, 2), np.nan)}, "are no distribution"),
])
def test_impossible_predictions_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(small(), **change)


@pytest.mark.parametrize(("text", "message"), [
    ("a,b\n", "not a table of predictions"),
    ("path,label,prediction,cat,dog\nx,bird,cat,0.5,0.5\n", "line 2: 'bird' is not one"),
    ("path,label,prediction,cat,dog\nx,cat,cat,0.5\n", "line 2: 4 columns instead of 5"),
    ("path,label,prediction,cat,dog\nx,cat,cat,0.5,half\n", "line 2: could not convert"),
    ("path,label,prediction,cat,dog\nx,cat,cat,0.5,0.1\n", "are damaged"),
])
def test_damaged_files_say_where(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "test.csv").write_text(text)
    with pytest.raises(RunError, match=message):
        load_predictions(tmp_path / "test.csv")


def test_a_missing_file_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="cannot be read"):
        load_predictions(tmp_path / "none.csv")


def test_shuffling_between_passes_changes_no_metric(made) -> None:
    """Labels and probabilities travel together, whatever the order of a pass."""
    predictions = made(400, 5)
    shuffled = predictions.select(np.random.default_rng(1).permutation(400))
    first, second = evaluate_predictions(predictions), evaluate_predictions(shuffled)
    assert first.confusion_matrix == second.confusion_matrix
    assert first.accuracy == second.accuracy
    for name in ("roc_auc", "average_precision", "log_loss", "calibration_error"):
        value = getattr(second, name).value
        assert getattr(first, name).value == pytest.approx(value, abs=1e-12)


def test_align_joins_by_path_and_by_class_name(made) -> None:
    first = made(100, 3)
    order = np.random.default_rng(2).permutation(100)[:80]
    turned = first.select(order)
    turned = replace(
        turned, classes=first.classes[::-1], labels=2 - turned.labels,
        probabilities=turned.probabilities[:, ::-1],
    )
    mine, theirs = align(first, turned)
    assert mine.paths == theirs.paths and len(mine) == 80
    assert np.array_equal(mine.labels, theirs.labels)
    assert np.array_equal(mine.probabilities, theirs.probabilities)


def test_align_keeps_unknown_labels_unknown(made) -> None:
    first = made(10, 3)
    turned = replace(first, classes=first.classes[::-1], labels=np.full(10, -1))
    assert align(first, turned)[1].labels.tolist() == [-1] * 10


def test_align_refuses_what_cannot_be_joined(made) -> None:
    first = made(10)
    with pytest.raises(DataError, match="share no image"):
        align(first, replace(first, paths=tuple(f"other/{i}" for i in range(10))))
    with pytest.raises(DataError, match="different classes"):
        align(first, replace(first, classes=("class 0", "bird")))
    with pytest.raises(DataError, match=r"1 images carry different labels.*00003"):
        flipped = first.labels.copy()
        flipped[3] = 1 - flipped[3]
        align(first, replace(first, labels=flipped))
