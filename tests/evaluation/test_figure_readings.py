"""The reading of each figure: numbers in plain words, and no judgement."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tellapart.evaluation.figure_readings import describe_figures
from tellapart.evaluation.metrics import evaluate_predictions
from tellapart.evaluation.predictions import Predictions


def from_matrix(matrix: list[list[int]], confidence: float = 0.9) -> Predictions:
    size = len(matrix)
    labels = np.concatenate([[t] * n for t, row in enumerate(matrix) for n in row]).astype(int)
    called = np.concatenate([[p] * n for row in matrix for p, n in enumerate(row)]).astype(int)
    rows = np.full((len(labels), size), (1 - confidence) / (size - 1))
    rows[np.arange(len(labels)), called] = confidence
    names = ("cat", "dog", "fox", "owl")[:size]
    return Predictions("test", names, tuple(map(str, range(len(labels)))), labels, rows)


def readings(matrix: list[list[int]], confidence: float = 0.9) -> dict[str, str]:
    return describe_figures(evaluate_predictions(from_matrix(matrix, confidence)))


def test_best_worst_and_the_pair_most_confused() -> None:
    found = readings([[90, 9, 1], [20, 79, 1], [0, 1, 99]])
    assert found["confusion_matrix"] == (
        "dog and cat are confused most often: 20 dog called cat and 9 the other way round, "
        "90.6 % of the 32 mistakes."
    )
    assert found["per_class"].startswith(
        "fox is found best, 99.0 % of its 100 images, and dog worst, 79.0 % of its 100 (70.0 % to"
    )


def test_two_classes_are_read_in_both_directions() -> None:
    assert readings([[95, 5], [12, 88]])["confusion_matrix"] == (
        "Of the 17 mistakes 12 are dog called cat and 5 cat called dog."
    )
    assert readings([[95, 0], [1, 88]])["confusion_matrix"] == (
        "The only mistake is dog called cat."
    )
    assert readings([[50, 0], [0, 50]])["confusion_matrix"] == "No test image is wrong."


def test_all_none_and_one_are_said_in_words() -> None:
    matrix = "confusion_matrix"
    assert readings([[95, 5], [0, 88]])[matrix] == "All 5 mistakes are cat called dog."
    assert readings([[95, 0], [2, 88]])[matrix] == "Both mistakes are dog called cat."
    assert readings([[95, 1], [2, 88]])[matrix] == (
        "Of the 3 mistakes 2 are dog called cat and 1 cat called dog."
    )
    assert readings([[9, 1], [1, 9]])[matrix] == (
        "Of the 2 mistakes 1 is cat called dog and 1 dog called cat."
    )
    assert readings([[9, 3, 0], [0, 9, 0], [0, 0, 9]])[matrix] == (
        "cat and dog are confused most often: 3 cat called dog and none the other way round, "
        "which is all 3 mistakes."
    )
    assert readings([[9, 0, 0], [0, 9, 0], [1, 0, 9]])[matrix] == (
        "The only mistake is fox called cat."
    )


def test_of_pairs_confused_equally_often_the_first_classes_are_named() -> None:
    found = readings([[9, 1, 1], [1, 9, 1], [1, 1, 9]])["confusion_matrix"]
    assert found.startswith("cat and dog are confused most often: 1 cat called dog and 1 the other")
    assert found.endswith("33.3 % of the 6 mistakes.")
    later = readings([[9, 0, 1], [0, 9, 1], [1, 1, 9]])["confusion_matrix"]
    assert later.startswith("cat and fox are confused most often")


def test_classes_that_are_found_equally_often_and_one_alone() -> None:
    assert readings([[9, 1], [1, 9]])["per_class"] == (
        "All classes are found equally often: 90.0 % of the images of each."
    )
    assert readings([[9, 1], [0, 0]])["per_class"] == "Only one class is found among test images."
    assert readings([[1, 0], [1, 9]])["per_class"].startswith(
        "cat is found best, 100.0 % of its 1 image, and dog worst, 90.0 % of its 10 (59.6 % to"
    )


def test_what_has_no_interval_says_why() -> None:
    found = describe_figures(evaluate_predictions(from_matrix([[9, 1], [0, 1]])))
    assert found["precision_recall"].startswith("Averaged over all recalls, precision is ")
    assert found["precision_recall"].endswith(
        " %, no interval, for one image of a class has no spread."
    )


def test_the_other_readings_in_full() -> None:
    metrics = evaluate_predictions(from_matrix([[80, 20], [20, 80]]))
    found = describe_figures(metrics)
    assert found["roc"] == (
        "An image of a class scores above one of another class in 80.0 % of cases (area under the "
        f"curve), with a 95 % interval of {metrics.roc_auc.limits()}."
    )
    assert found["precision_recall"] == (
        "Averaged over all recalls, precision is 74.0 %, with a 95 % interval of "
        f"{metrics.average_precision.limits()}."
    )
    assert found["coverage"] == (
        "Answering every test image it is right on 80.0 %; the curve shows how much that rises "
        "when the least certain go to a person."
    )
    one = evaluate_predictions(from_matrix([[9, 1], [0, 0]]))
    assert not {"roc", "precision_recall"} & set(describe_figures(one))
    assert "learning_curves" not in describe_figures(metrics, [{"epoch": 1, "loss": 0.5}])
    two = [{"epoch": i, "loss": 0.5, "validation_loss": 0.5} for i in (1, 2)]
    assert describe_figures(metrics, two)["learning_curves"] == "Loss and accuracy over 2 epochs."
    four = [{"epoch": i, "loss": 0.5, "validation_loss": 0.5 - i / 100} for i in (1, 2, 3, 4)]
    assert describe_figures(metrics, four)["learning_curves"] == (
        "The validation loss was lowest at epoch 4 of 4 (0.46) and ended at 0.46; the train loss "
        "ended at 0.5."
    )


def sure(right: int, wrong: int, unsure: int, confidence: float = 0.99) -> str:
    """Reading of confidence: so many right and wrong at one confidence, and wrong ones at 0.6."""
    labels = np.array([0] * right + [1] * (wrong + unsure))
    of_first = np.array([confidence] * (right + wrong) + [0.6] * unsure)
    made = Predictions(
        "test", ("cat", "dog"), tuple(map(str, range(len(labels)))), labels,
        np.column_stack([of_first, 1 - of_first]),
    )  # fmt: skip
    return describe_figures(evaluate_predictions(made))["confidence"]


def test_sure_mistakes_are_counted_in_words() -> None:
    above, among = "a confidence above 93.3 %", "such answers."
    assert sure(96, 4, 0) == f"All 4 mistakes were made with {above}, among 100 {among}"
    assert sure(98, 2, 0) == f"Both mistakes were made with {above}, among 100 {among}"
    assert sure(99, 1, 0) == f"The only mistake was made with {above}, among 100 {among}"
    assert sure(0, 1, 0) == f"The only mistake was made with {above}, among 1 such answer."
    assert sure(96, 1, 3) == f"1 of 4 mistakes was made with {above}, among 97 {among}"
    assert sure(95, 2, 3) == f"2 of 5 mistakes were made with {above}, among 97 {among}"
    assert sure(97, 0, 3) == f"No mistake was made with {above}, among 97 {among}"
    assert sure(97, 0, 0) == f"There is no mistake; 97 answers have {above}."
    assert sure(1, 0, 0) == f"There is no mistake; 1 answer has {above}."
    assert sure(0, 0, 5) == "No answer has a confidence above 86.7 %."
    # Two bins are sure: from 86.7 and from 93.3 %; the lower one names the limit.
    assert sure(96, 4, 0, confidence=0.9) == (
        f"All 4 mistakes were made with a confidence above 86.7 %, among 100 {among}"
    )
    assert sure(96, 4, 0, confidence=0.86) == "No answer has a confidence above 86.7 %."


def test_confidence_is_told_and_not_judged() -> None:
    found = readings([[80, 20], [20, 80]], confidence=0.99)
    assert found["calibration"] == (
        "On average it is 99.0 % sure and right on 80.0 % (calibration error 0.190)."
    )
    assert found["confidence"] == (
        "All 40 mistakes were made with a confidence above 93.3 %, among 200 such answers."
    )


def test_the_curves() -> None:
    history = [{"epoch": i + 1, "loss": 0.9**i, "validation_loss": loss, "learning_rate": 1e-3}
               for i, loss in enumerate([0.9, 0.6, 0.5, 0.45, 0.5, 0.55, 0.6, 0.7])]  # fmt: skip
    metrics = evaluate_predictions(from_matrix([[9, 1], [1, 9]]))
    assert describe_figures(metrics, history, best_epoch=4)["learning_curves"] == (
        "The validation loss was lowest at epoch 4 of 8 (0.45) and ended at 0.7; the train loss "
        "ended at 0.478. The weights of epoch 4 were kept."
    )


def test_unlabelled_images_have_no_readings() -> None:
    hidden = replace(from_matrix([[50, 0], [0, 50]]), labels=np.full(100, -1))
    assert describe_figures(evaluate_predictions(hidden)) == {}
