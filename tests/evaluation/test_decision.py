"""A decision: which class it gives, and how it is written down."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from tellapart.evaluation.decision import Decision, decided
from tellapart.evaluation.metrics import evaluate_predictions
from tellapart.evaluation.predictions import Predictions, align, load_predictions

THREE = np.array([
    [0.50, 0.30, 0.20],
    [0.45, 0.35, 0.20],  # of the other two the first is likelier
    [0.10, 0.36, 0.54],
    [0.40, 0.20, 0.40],
])  # fmt: skip


def test_without_a_decision_the_likeliest_class_is_said_the_first_of_equal_ones() -> None:
    assert decided(THREE, ["a", "b", "c"], None).tolist() == [0, 0, 2, 0]
    assert decided(np.zeros((0, 3)), ["a", "b", "c"], Decision("b", 0.5)).tolist() == []
    assert decided(np.zeros((0, 3)), ["a", "b", "c"], None).dtype == np.int64
    given = THREE.copy()
    assert decided(given, ["a", "b", "c"], Decision("b", 0.3)).dtype == np.int64
    assert (given == THREE).all()  # the probabilities stay what they were


@pytest.mark.parametrize(("positive", "threshold", "classes"), [
    ("b", 0.30, [1, 1, 1, 0]),  # at the threshold is above it
    ("b", 0.35, [0, 1, 1, 0]),
    ("a", 0.46, [0, 1, 2, 2]),  # below it the likeliest of the others, though a was likelier
    ("c", 0.0, [2, 2, 2, 2]),
    ("c", 1.5, [0, 0, 1, 0]),  # never
])  # fmt: skip
def test_the_positive_class_is_said_from_its_threshold_on(
    positive: str, threshold: float, classes: list[int]
) -> None:
    found = decided(THREE, ["a", "b", "c"], Decision(positive, threshold))
    assert found.tolist() == classes


def test_a_decision_about_no_class_is_refused() -> None:
    with pytest.raises(ValueError, match="'d', which is no class here"):
        decided(THREE, ["a", "b", "c"], Decision("d", 0.5))
    with pytest.raises(ValueError, match="'d', which is none of the classes"):
        predictions(Decision("d", 0.5))


@pytest.mark.parametrize("wrong", [
    {"threshold": float("nan")}, {"threshold": -0.1}, {"threshold": float("inf")},
    {"threshold": 0.5, "cost_miss": 0.0}, {"threshold": 0.5, "cost_false_alarm": float("inf")},
])  # fmt: skip
def test_what_is_no_threshold_or_cost_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"a (threshold|cost) of"):
        Decision("a", **wrong)


def test_it_comes_back_from_json_and_newer_keys_are_passed_over() -> None:
    decision = Decision("a", 1 / 6, 5.0, 1.0, 120)
    content = json.loads(json.dumps(decision.to_dict()))
    assert Decision.from_dict(content | {"newer": 1}) == decision
    with pytest.raises(KeyError, match="threshold"):
        Decision.from_dict({"positive": "a"})
    unequal = Decision("b", 0.25, 3.0, 2.0, 7)
    assert unequal.to_dict() == {
        "positive": "b", "threshold": 0.25, "cost_miss": 3.0, "cost_false_alarm": 2.0, "images": 7,
        "wish": "cost", "wished": 0.0,
    }  # fmt: skip
    assert Decision.from_dict(unequal.to_dict()) == unequal
    older = {key: value for key, value in unequal.to_dict().items() if key != "images"}
    assert Decision.from_dict(older) == replace(unequal, images=0)
    assert Decision("a", 0.5) == Decision("a", 0.5, 1.0, 1.0, 0)


def test_its_words() -> None:
    assert Decision("a", 0.5, 2.0, 2.0).why == "a miss costs as much as a false alarm"
    assert Decision("a", 0.5, 3.0, 2.0).why == "a miss costs 1.5 times a false alarm"
    assert Decision("no tumour", 1 / 3, 1.0, 1.0).rule == (
        "'no tumour' from a probability of 0.333 on (a miss costs as much as a false alarm)"
    )


def predictions(decision: Decision | None) -> Predictions:
    return Predictions(
        "test",
        ("a", "b", "c"),
        ("1", "2", "3", "4"),
        np.array([1, 1, 2, 0]),
        THREE,
        decision=decision,
    )


def test_every_number_of_answers_is_by_the_decision_and_probabilities_stay() -> None:
    plain, ruled = predictions(None), predictions(Decision("b", 0.3, cost_miss=3.0))
    assert plain.correct.tolist() == [False, False, True, True]
    assert ruled.correct.tolist() == [True, True, False, True]
    # The confidence is that of the answer, so that it can be held against being right.
    assert ruled.confidence.tolist() == [0.3, 0.35, 0.36, 0.4]
    before, after = evaluate_predictions(plain), evaluate_predictions(ruled)
    assert (before.accuracy.value, after.accuracy.value) == (0.5, 0.75)
    assert after.confusion_matrix == [[1, 0, 0], [0, 2, 0], [0, 1, 0]]
    assert after.per_class["b"].recall.value == 1.0
    assert after.per_class["b"].precision.value == pytest.approx(2 / 3)
    assert after.mean_confidence == pytest.approx(np.mean([0.3, 0.35, 0.36, 0.4]))
    for of_probabilities in ("log_loss", "brier", "roc_auc", "average_precision"):
        assert getattr(before, of_probabilities).value == getattr(after, of_probabilities).value


def test_the_file_holds_what_was_answered_and_the_decision_stays_with_the_rows(tmp_path) -> None:
    ruled = predictions(Decision("b", 0.3))
    ruled.save(tmp_path / "test.csv")
    lines = (tmp_path / "test.csv").read_text().splitlines()
    assert [line.split(",")[2] for line in lines[1:]] == ["b", "b", "b", "a"]
    assert load_predictions(tmp_path / "test.csv").decision is None  # the run knows it
    assert ruled.select([2, 0]).predicted.tolist() == [1, 1]


def test_other_orders_of_the_classes_do_not_change_what_is_said() -> None:
    ruled = predictions(Decision("b", 0.3))
    turned = replace(
        ruled, classes=("c", "b", "a"), labels=np.array([1, 1, 0, 2]), probabilities=THREE[:, ::-1]
    )
    _, back = align(ruled, turned)
    assert back.predicted.tolist() == ruled.predicted.tolist() == [1, 1, 1, 0]
