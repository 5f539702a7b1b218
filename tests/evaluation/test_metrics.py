from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from sklearn import metrics as reference
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from tellapart.evaluation import metrics as metrics_module
from tellapart.evaluation.metrics import confusion_matrix, evaluate_predictions
from tellapart.evaluation.predictions import Predictions


def digits(classes: int) -> Predictions:
    """A logistic regression on noisy handwritten digits, probabilities rounded to have ties."""
    images, labels = load_digits(n_class=classes, return_X_y=True)
    images = images + np.random.default_rng(0).normal(0, 6, images.shape)
    half = len(labels) // 2
    model = LogisticRegression(max_iter=1000).fit(images[:half], labels[:half])
    rows = model.predict_proba(images[half:]).round(2) + 1e-6
    return Predictions(
        "test",
        tuple(f"digit {i}" for i in range(classes)),
        tuple(f"{i}.png" for i in range(len(rows))),
        labels[half:],
        rows / rows.sum(axis=1, keepdims=True),
    )


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("classes", [2, 3, 10])
def test_every_number_is_scikit_learns(classes: int) -> None:
    predictions = digits(classes)
    labels, scores, called = predictions.labels, predictions.probabilities, predictions.predicted
    found = evaluate_predictions(predictions)
    assert found.images == len(labels)
    assert found.confusion_matrix == reference.confusion_matrix(labels, called).tolist()
    one_hot = np.eye(classes)[labels]
    expected = {
        "accuracy": reference.accuracy_score(labels, called),
        "balanced_accuracy": reference.balanced_accuracy_score(labels, called),
        "roc_auc": reference.roc_auc_score(one_hot, scores, average="macro"),
        "average_precision": reference.average_precision_score(one_hot, scores),
        "log_loss": reference.log_loss(labels, scores),
        "brier": reference.brier_score_loss(labels, scores[:, 1] if classes == 2 else scores),
    }
    for name, value in expected.items():
        number = getattr(found, name)
        assert number.value == pytest.approx(value, abs=1e-12), name
        assert number.low <= value <= number.high, name
    for average in ("macro", "weighted"):
        values = reference.precision_recall_fscore_support(labels, called, average=average)
        for name, value in zip(("precision", "recall", "f1"), values, strict=False):
            assert getattr(getattr(found, average), name).value == pytest.approx(value, abs=1e-12)
    values = reference.precision_recall_fscore_support(labels, called)
    for i, row in enumerate(found.per_class.values()):
        assert row.support == values[3][i]
        for name, column in zip(("precision", "recall", "f1"), values, strict=False):
            assert getattr(row, name).value == pytest.approx(column[i], abs=1e-12)
        auc = reference.roc_auc_score(labels == i, scores[:, i])
        assert row.roc_auc.value == pytest.approx(auc, abs=1e-12)
        precision = reference.average_precision_score(labels == i, scores[:, i])
        assert row.average_precision.value == pytest.approx(precision, abs=1e-12)


def test_wilson_is_statsmodels() -> None:
    from statsmodels.stats.proportion import proportion_confint

    predictions = digits(3)
    accuracy = evaluate_predictions(predictions).accuracy
    low, high = proportion_confint(predictions.correct.sum(), len(predictions), method="wilson")
    assert (accuracy.low, accuracy.high) == pytest.approx((low, high), abs=1e-12)
    assert accuracy.method == "wilson"


def test_by_hand() -> None:
    """Four images: two of class a (one right), two of b (both right)."""
    predictions = Predictions(
        "test",
        ("a", "b"),
        ("1", "2", "3", "4"),
        np.array([0, 0, 1, 1]),
        np.array([[0.8, 0.2], [0.4, 0.6], [0.3, 0.7], [0.1, 0.9]]),
    )
    found = evaluate_predictions(predictions)
    assert found.confusion_matrix == [[1, 1], [0, 2]]
    assert found.accuracy.value == 0.75
    assert found.per_class["b"].precision.value == 2 / 3
    assert found.per_class["b"].f1.value == pytest.approx(0.8)
    assert found.brier.value == pytest.approx((0.04 + 0.36 + 0.09 + 0.01) / 4)
    # Every confidence is alone in its bin: |1-.8|, |0-.6|, |1-.7|, |1-.9|.
    assert found.calibration_error.value == pytest.approx((0.2 + 0.6 + 0.3 + 0.1) / 4)
    assert found.mean_confidence == pytest.approx(0.75)
    assert (found.majority_class, found.majority_share) == ("a", 0.5)
    assert found.predicted_classes == 2
    assert (found.part, found.images, found.unlabelled) == ("test", 4, 0)
    more = evaluate_predictions(replace(predictions, labels=np.array([0, 1, 1, 1])))
    assert (more.majority_class, more.majority_share) == ("b", 0.75)


def test_of_one_class_all_there_is_to_say() -> None:
    """A classifier of one class is always right and never surprised."""
    predictions = Predictions("test", ("a",), ("1", "2"), np.zeros(2, np.int64), np.ones((2, 1)))
    found = evaluate_predictions(predictions)
    assert found.accuracy.value == 1.0 and found.log_loss.value == found.brier.value == 0.0
    assert found.confusion_matrix == [[2]] and found.mean_confidence == 1.0
    assert found.roc_auc.reason == "all images are of one class"


def test_of_a_class_with_one_image_there_is_an_area() -> None:
    predictions = Predictions(
        "test",
        ("a", "b"),
        ("1", "2", "3"),
        np.array([0, 0, 1]),
        np.array([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6]]),
    )
    row = evaluate_predictions(predictions).per_class["b"]
    assert row.roc_auc.value == 0.5 and row.average_precision.value == 0.5
    assert row.support == 1 and row.predicted == 2
    # Where it ranks among the others says next to nothing, though these are many.
    assert row.roc_auc.low is not None and row.roc_auc.high is not None
    assert row.average_precision.low is None
    assert row.average_precision.note == "no interval, for one image has no spread"


def test_of_many_classes_with_few_images_average_precision_has_no_interval(made) -> None:
    """It comes out too high, each time alike: 30 classes with 4 images each held it in 35 %."""
    few = evaluate_predictions(made(80, 20, separation=3.0)).average_precision
    assert few.value is not None and few.low is None
    assert few.note.endswith(
        "no interval, for with fewer than 10 images a class it comes out too high"
    )
    assert evaluate_predictions(made(500, 20, separation=3.0)).average_precision.low is not None
    assert evaluate_predictions(made(20, 4)).average_precision.low is not None


def test_without_labels_each_number_says_why() -> None:
    predictions = Predictions(
        "phone", tuple("abcdef"), ("1",), np.array([-1]), np.full((1, 6), 1 / 6)
    )
    found = evaluate_predictions(predictions)
    numbers = (
        found.accuracy, found.top_5, found.balanced_accuracy, found.roc_auc, found.log_loss,
        found.average_precision, found.brier, found.calibration_error, found.macro.f1,
    )  # fmt: skip
    assert {number.reason for number in numbers} == {"there are no labelled images"}
    assert (found.part, found.images, found.unlabelled) == ("phone", 0, 1)
    assert found.majority_class is found.majority_share is found.mean_confidence is None


def test_top_5_counts_the_five_most_probable() -> None:
    rows = np.array([[0.3, 0.25, 0.2, 0.15, 0.06, 0.04], [0.3, 0.25, 0.2, 0.15, 0.06, 0.04]])
    predictions = Predictions("test", tuple("abcdef"), ("1", "2"), np.array([4, 5]), rows)
    assert evaluate_predictions(predictions).top_5.value == 0.5
    tied = replace(predictions, probabilities=np.array([[1.0, 0, 0, 0, 0, 0]] * 2))
    assert evaluate_predictions(tied).top_5.value == 0.5  # ties: the first classes
    assert evaluate_predictions(digits(3)).top_5 is None


def test_images_without_a_label_are_not_scored(made) -> None:
    predictions = made(200)
    hidden = replace(predictions, labels=np.where(np.arange(200) < 50, -1, predictions.labels))
    found = evaluate_predictions(hidden)
    assert (found.images, found.unlabelled) == (150, 50)
    kept = evaluate_predictions(predictions.select(np.arange(50, 200)))
    assert replace(found, unlabelled=0) == kept


def test_what_is_undefined_is_null_with_a_reason(made) -> None:
    predictions = made(60, 3)
    empty = replace(predictions, labels=np.where(predictions.labels == 2, 0, predictions.labels))
    found = evaluate_predictions(empty)
    row = found.per_class["class 2"]
    assert row.support == 0 and row.recall.value is None
    assert row.recall.reason == "no image is class 2"
    assert row.roc_auc == row.f1 == row.average_precision
    assert "2 of 3 classes: class 2 without images" in found.macro.recall.note
    assert found.roc_auc.note == "averaged over the 2 classes with images"
    assert evaluate_predictions(predictions).roc_auc.note == ""
    one = evaluate_predictions(replace(predictions, labels=np.zeros(60, dtype=np.int64)))
    assert one.roc_auc.value is None
    assert one.roc_auc.reason == "all images are of one class"
    assert one.per_class["class 0"].roc_auc.reason == "every image is class 0"
    none = evaluate_predictions(replace(predictions, labels=np.full(60, -1)))
    assert none.accuracy.value is None and none.images == 0
    for result in (found, one, none):
        json.loads(json.dumps(result.to_json(), allow_nan=False))  # no NaN anywhere


def test_a_class_that_is_never_predicted_has_no_precision() -> None:
    predictions = Predictions(
        "test",
        ("a", "b"),
        ("1", "2", "3"),
        np.array([0, 0, 1]),
        np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3]]),
    )
    found = evaluate_predictions(predictions)
    assert found.per_class["b"].precision.reason == "b is never predicted"
    assert found.per_class["b"].f1.value == 0.0
    assert "b never predicted" in found.macro.precision.note
    assert found.predicted_classes == 1


def test_perfect_predictions_are_not_certain(made) -> None:
    found = evaluate_predictions(made(100, 2, separation=60))
    for name in ("accuracy", "balanced_accuracy", "roc_auc", "average_precision"):
        number = getattr(found, name)
        assert number.value == number.high == 1.0
        assert 0.9 < number.low < 0.99, name


def test_the_same_seed_gives_the_same_numbers(made) -> None:
    assert evaluate_predictions(made(300), seed=1) == evaluate_predictions(made(300), seed=1)
    other = evaluate_predictions(made(300), seed=2).calibration_error
    assert other.low != evaluate_predictions(made(300), seed=1).calibration_error.low


def test_measuring_imports_nothing_heavy() -> None:
    import subprocess
    import sys

    code = (
        "import sys, tellapart.evaluation.metrics; "
        "print([m for m in ('torch', 'scipy', 'sklearn', 'pandas', 'matplotlib') "
        "if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_a_matrix_that_disagrees_with_the_accuracy_is_never_given_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As in the notebook: 97 % beside a matrix of 48 %, from two passes that shuffled anew."""
    told = digits(4)
    other = told.select(np.random.default_rng(0).permutation(len(told)))
    mixed = replace(told, probabilities=other.probabilities)
    right = confusion_matrix(mixed)
    monkeypatch.setattr(metrics_module, "confusion_matrix", lambda predictions: right)
    with pytest.raises(RuntimeError, match="The confusion matrix disagrees with the accuracy"):
        evaluate_predictions(told)
