from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from tellapart.evaluation.conclusions import conclusions, describe_figures, training_conclusions
from tellapart.evaluation.metrics import evaluate_predictions
from tellapart.evaluation.predictions import Predictions


def say(predictions: Predictions, **more: object) -> dict[str, str]:
    found = conclusions(evaluate_predictions(predictions), **more)
    assert len({f.kind for f in found}) == len(found)
    return {f.kind: f"{f.level}: {f.sentence}" for f in found}


def constant(row: list[float], labels: np.ndarray) -> Predictions:
    count = len(labels)
    return Predictions("test", tuple("abc"[: len(row)]), tuple(map(str, range(count))), labels,
                       np.tile(row, (count, 1)))


def from_matrix(matrix: list[list[int]], confidence: float = 0.9) -> Predictions:
    size = len(matrix)
    labels = np.concatenate([[t] * n for t, row in enumerate(matrix) for n in row]).astype(int)
    called = np.concatenate([[p] * n for row in matrix for p, n in enumerate(row)]).astype(int)
    rows = np.full((len(labels), size), (1 - confidence) / (size - 1))
    rows[np.arange(len(labels)), called] = confidence
    names = ("cat", "dog", "fox", "owl")[:size]
    return Predictions("test", names, tuple(map(str, range(len(labels)))), labels, rows)


def test_best_worst_and_the_pair_most_confused() -> None:
    said = say(from_matrix([[90, 9, 1], [20, 79, 1], [0, 1, 99]]))
    assert said["confused"] == (
        "note: dog and cat are confused most often: 20 dog called cat and 9 the other way round, "
        "90.6 % of the 32 mistakes."
    )
    assert "fox is found best, 99.0 % of its 100 images, and dog worst, 79.0 %" in said["classes"]
    assert "chance" not in said["classes"]
    assert said["how_sure"].startswith("note: 268 of 300 test images are right, 89.3 %")


def test_two_classes_are_read_in_both_directions() -> None:
    said = say(from_matrix([[95, 5], [12, 88]]))
    assert said["confused"] == (
        "note: Of the 17 mistakes 12 are dog called cat and 5 are cat called dog."
    )
    assert "may be chance" in said["classes"]


def test_a_few_images_are_said_to_be_few() -> None:
    said = say(from_matrix([[18, 2], [3, 17]]))
    assert said["how_sure"].startswith("warning: ") and "40 images are few" in said["how_sure"]
    assert "cat and dog have fewer than 30 test images" in said["few_images"]


def test_the_majority_class_alone_explains_the_accuracy() -> None:
    said = say(from_matrix([[178, 2], [17, 3]]))
    assert said["majority"].startswith("warning: The accuracy alone says little: always answering "
                                       "cat would be right on 90.0 %")
    assert "majority" in say(from_matrix([[175, 5], [2, 18]]))  # uneven: said, not warned of
    assert "majority" not in say(from_matrix([[95, 5], [5, 95]]))


def test_near_chance_and_a_single_prediction() -> None:
    said = say(from_matrix([[50, 50], [48, 52]]))
    assert said["near_chance"].startswith("warning: This is no better than guessing")
    said = say(constant([0.8, 0.2], np.arange(100) % 2))
    assert said["single_prediction"].startswith("warning: Every test image is called a")
    assert "near_chance" not in said
    said = say(constant([0.8, 0.2], np.zeros(100, dtype=int)))
    assert said["one_class"].startswith("warning: All test images are a")
    said = say(from_matrix([[90, 10, 0], [5, 95, 0], [50, 50, 0]]))
    assert said["never_predicted"].startswith("warning: fox is never predicted")


def test_over_and_underconfidence() -> None:
    assert "overconfident" in say(from_matrix([[80, 20], [20, 80]], confidence=0.99))
    assert "underconfident" in say(from_matrix([[98, 2], [2, 98]], confidence=0.7))
    said = say(from_matrix([[90, 10], [10, 90]], confidence=0.9))
    assert said["calibrated"].startswith("good: ")
    assert "90.0 % sure and right on 90.0 %" in said["calibrated"]


def test_the_gap_between_train_and_test() -> None:
    test = from_matrix([[160, 40], [40, 160]])
    perfect = evaluate_predictions(replace(from_matrix([[200, 0], [0, 200]]), part="train"))
    assert say(test, train_metrics=perfect)["gap"].startswith(
        "warning: It overfits: 100.0 % on train, 80.0 % on test, a gap of 20.0 points."
    )
    same = evaluate_predictions(replace(test, part="train"))
    assert say(test, train_metrics=same)["gap"].startswith("good: No sign of overfitting")


def test_warnings_come_first() -> None:
    levels = [f.level for f in conclusions(evaluate_predictions(from_matrix([[18, 2], [3, 17]])))]
    assert levels == sorted(levels, key=lambda level: level != "warning")


def history(validation: list[float], rates: list[float] | None = None) -> list[dict[str, float]]:
    return [
        {"epoch": i + 1, "loss": 0.9**i, "validation_loss": loss,
         "learning_rate": rates[i] if rates else 0.001}
        for i, loss in enumerate(validation)
    ]


def test_where_overfitting_begins() -> None:
    rows = history([0.9, 0.6, 0.5, 0.45, 0.5, 0.55, 0.6, 0.7])
    found = training_conclusions(rows, best_epoch=4)
    assert [f.kind for f in found] == ["overfitting_begins"]
    assert "after epoch 4: from there the validation loss rises from 0.45 to 0.7" in \
        found[0].sentence
    assert found[0].sentence.endswith("The weights of epoch 4 were kept.")


def test_whether_more_epochs_would_help() -> None:
    falling = training_conclusions(history([1 / (i + 1) for i in range(10)]))
    assert [f.kind for f in falling] == ["more_epochs"]
    rest = [0.35 + 0.001 * (i % 2) for i in range(9)]
    level = training_conclusions(history([1.0, 0.5, 0.4, *rest]))
    assert [f.kind for f in level] == ["enough_epochs"]


def test_a_schedule_that_ended_is_no_reason_for_more_epochs() -> None:
    losses = [1 / (i + 1) for i in range(10)]
    cosine = [1e-3 * (1 + math.cos(math.pi * (i + 1) / 10)) / 2 for i in range(10)]
    found = training_conclusions(history(losses, cosine), best_epoch=10)
    assert [f.kind for f in found] == ["schedule_ended"]
    assert "would probably help" not in found[0].sentence
    assert "lowest at epoch 10 of 10 (0.1)" in found[0].sentence

    levelled = [0.5, 0.4, *[0.35 + 0.001 * (i % 2) for i in range(8)]]
    assert [f.kind for f in training_conclusions(history(levelled, cosine))] == ["schedule_ended"]
    rising = [0.5, 0.4, *[0.4 + 0.05 * i for i in range(8)]]
    assert training_conclusions(history(rising, cosine))[0].kind == "overfitting_begins"

    stopped_early = training_conclusions(history(losses[:5], cosine[:5]))
    assert [f.kind for f in stopped_early] == ["more_epochs"]
    plateau = [1e-3] * 6 + [1e-4] * 2 + [1e-5] * 2
    assert "more_epochs" in {f.kind for f in training_conclusions(history(losses, plateau))}


def test_when_the_learning_rate_dropped() -> None:
    rates = [1e-3] * 5 + [1e-4] * 4 + [1e-5] * 3
    found = training_conclusions(history([0.5] * 12, rates))[-1]
    assert found.sentence == (
        "The learning rate dropped before epoch 6 to 0.0001, before epoch 10 to 1e-05 "
        "(at first 0.001)."
    )
    smooth = training_conclusions(history([0.5] * 12, [1e-3 * 0.8**i for i in range(12)]))
    assert "rate_drops" not in {f.kind for f in smooth}


def test_a_second_stage_is_no_drop() -> None:
    rows = [row | {"stage": 1 + (i >= 4)} for i, row in
            enumerate(history([0.5] * 8, [1e-3] * 4 + [1e-5] * 4))]
    assert "rate_drops" not in {f.kind for f in training_conclusions(rows)}


def test_unlabelled_images_and_perfect_results_are_said_plainly() -> None:
    perfect = from_matrix([[50, 0], [0, 50]])
    assert say(perfect)["no_mistakes"] == "good: No test image is wrong."
    hidden = replace(perfect, labels=np.full(100, -1))
    assert list(say(hidden)) == ["no_labels"]
    assert describe_figures(evaluate_predictions(hidden)) == {}
