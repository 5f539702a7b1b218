from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tellapart.errors import DataError, RunError
from tellapart.evaluation.decision import Decision
from tellapart.evaluation.metrics import evaluate_predictions
from tellapart.evaluation.predictions import Predictions, align, load_predictions


def small() -> Predictions:
    return Predictions(
        part="test",
        classes=("cat", "dog"),
        paths=("a.jpg", "b.jpg", "c.jpg"),
        labels=np.array([0, 1, -1]),
        probabilities=np.array([[0.9, 0.1], [0.6, 0.4], [0.5, 0.5]]),
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


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"paths": ("a.jpg", "b.jpg", "a.jpg")}, "'a.jpg' is predicted twice"),
        ({"labels": np.array([0, 1, 2])}, "Labels must be -1"),
        ({"labels": np.array([0, 1])}, "do not go with"),
        ({"probabilities": np.array([[0.9, 0.1], [0.6, 0.3], [0.5, 0.5]])}, "'b.jpg' are no dist"),
        ({"probabilities": np.array([[1.5, -0.5], [0.6, 0.4], [0.5, 0.5]])}, "'a.jpg' are no dist"),
        ({"probabilities": np.full((3, 2), np.nan)}, "are no distribution"),
    ],
)
def test_impossible_predictions_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(small(), **change)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n", "not a table of predictions"),
        ("path,label,prediction,cat,dog\nx,bird,cat,0.5,0.5\n", "line 2: 'bird' is not one"),
        ("path,label,prediction,cat,dog\nx,cat,cat,0.5\n", "line 2: 4 columns instead of 5"),
        ("path,label,prediction,cat,dog\nx,cat,cat,0.5,half\n", "line 2: could not convert"),
        ("path,label,prediction,cat,dog\nx,cat,cat,0.5,0.1\n", "are damaged"),
    ],
)
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
        turned,
        classes=first.classes[::-1],
        labels=2 - turned.labels,
        probabilities=turned.probabilities[:, ::-1],
    )
    mine, theirs = align(first, turned)
    assert mine.paths == theirs.paths and len(mine) == 80
    assert theirs.classes == mine.classes == first.classes
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


# --- in full, and at the ends -------------------------------------------------------------------


def test_refusals_in_full() -> None:
    cases = {
        "Labels must be -1 (unknown) or 0..1.": {"labels": np.array([0, 1, -2])},
        "3 paths do not go with groups of (2,).": {"groups": np.array([0, 1])},
        "3 paths and 2 classes do not go with labels of shape (2,) and probabilities of shape "
        "(3, 2).": {"labels": np.array([0, 1])},
        "3 paths and 2 classes do not go with labels of shape (3,) and probabilities of shape "
        "(3, 1).": {"probabilities": np.ones((3, 1))},
        "The probabilities of 'b.jpg' are no distribution: they sum to 0.9 and the smallest is "
        "0.3.": {"probabilities": np.array([[0.9, 0.1], [0.6, 0.3], [0.5, 0.5]])},
        "The decision is about 'fox', which is none of the classes.": {
            "decision": Decision("fox", 0.5)
        },
    }
    for sentence, change in cases.items():
        with pytest.raises(ValueError) as error:
            replace(small(), **change)
        assert str(error.value) == sentence
    with pytest.raises(ValueError, match=r"'a.jpg' is predicted twice"):
        replace(small(), paths=("a.jpg", "a.jpg", "b.jpg"))


def test_rows_within_a_thousandth_of_one_are_scaled_and_exact_ones_stay() -> None:
    rows = np.array([[0.9, 0.1009], [0.6, 0.4], [0.5, 0.4991]])
    found = replace(small(), probabilities=rows).probabilities
    assert found.sum(axis=1) == pytest.approx(np.ones(3), abs=1e-15)
    assert found[0] == pytest.approx(rows[0] / 1.0009) and (found[1] == rows[1]).all()
    assert rows[0, 1] == 0.1009  # what was given stays
    with pytest.raises(ValueError, match="no distribution"):
        replace(small(), probabilities=np.array([[0.9, 0.101], [0.6, 0.4], [0.5, 0.5]]))


def test_lists_become_arrays_of_one_type() -> None:
    made = Predictions("test", ["cat", "dog"], ["a", "b"], [0, 1], [[1, 0], [0, 1]])
    assert made.classes == ("cat", "dog") and made.paths == ("a", "b")
    assert made.labels.dtype == np.int64 and made.probabilities.dtype == np.float64
    assert len(made) == 2 and made.correct.tolist() == [True, True]


def test_rows_by_number_by_mask_and_of_none() -> None:
    whole = replace(small(), groups=np.array([5, 6, 7]))
    some = whole.select([2, 0])
    assert some.paths == ("c.jpg", "a.jpg") and some.labels.tolist() == [-1, 0]
    assert some.groups.tolist() == [7, 5] and some.probabilities[0].tolist() == [0.5, 0.5]
    assert whole.select(np.array([False, True, False])).paths == ("b.jpg",)
    nothing = whole.select([])
    assert len(nothing) == 0 and nothing.groups.tolist() == []
    assert len(nothing.select(np.zeros(0, bool))) == 0 == len(nothing.select([]))
    assert small().select([0]).groups is None


def test_line_ends_of_every_kind_in_names_come_back(tmp_path: Path) -> None:
    odd = replace(small(), paths=("a\r\nb.jpg", "c\rd.jpg", "e\nf.jpg"))
    odd.save(tmp_path / "test.csv")
    assert load_predictions(tmp_path / "test.csv").paths == odd.paths


def test_a_file_without_rows_and_one_for_another_part(tmp_path: Path) -> None:
    small().select([]).save(tmp_path / "phone.csv")
    loaded = load_predictions(tmp_path / "phone.csv")
    assert (loaded.part, loaded.classes, len(loaded)) == ("phone", ("cat", "dog"), 0)
    assert loaded.probabilities.shape == (0, 2)
    assert load_predictions(tmp_path / "phone.csv", part="test").part == "test"
    whole = tmp_path / "whole.csv"
    whole.write_text("path,label,prediction,cat,dog\nx,cat,cat,1,0\n")
    assert load_predictions(whole).probabilities.dtype == np.float64


def test_why_two_sets_cannot_be_joined_in_full(made) -> None:
    first = small()
    cases = {
        "The predictions share no image, so they cannot be compared; evaluate both runs on the "
        "same folder.": replace(first, paths=("x", "y", "z")),
        "The predictions know different classes (bird, fox); only classifiers of the same classes "
        "can be compared.": replace(first, classes=("fox", "bird")),
        "2 images carry different labels in the two sets of predictions, first 'a.jpg'; evaluate "
        "both runs on the same labelled folder.": replace(first, labels=np.array([1, 0, 1])),
    }
    for sentence, second in cases.items():
        one = replace(first, classes=("cat", "dog"))
        with pytest.raises(DataError) as error:
            align(one, second)
        assert str(error.value) == sentence.replace("(bird, fox)", "(bird, cat, dog, fox)")
    mine, theirs = align(first, replace(first, labels=np.array([-1, -1, 0])))
    assert mine.labels.tolist() == [0, 1, -1] and theirs.labels.tolist() == [-1, -1, 0]


def test_a_table_of_one_class_is_read_and_one_of_none_refused(tmp_path: Path) -> None:
    file = tmp_path / "test.csv"
    file.write_text("path,label,prediction,cat\nx,cat,cat,1\n")
    assert load_predictions(file).classes == ("cat",)
    file.write_text("path,label,prediction\nx,cat,cat\n")
    with pytest.raises(RunError, match="must be path,label,prediction and then the classes"):
        load_predictions(file)
