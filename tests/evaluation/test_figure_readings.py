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


def test_confidence_is_told_and_not_judged() -> None:
    found = readings([[80, 20], [20, 80]], confidence=0.99)
    assert found["calibration"] == (
        "On average it is 99.0 % sure and right on 80.0 % (calibration error 0.190)."
    )
    assert found["confidence"] == (
        "40 of the 40 mistakes were made with a confidence above 93.3 %, among 200 such answers."
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
