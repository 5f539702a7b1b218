"""The threshold with the least expected cost, chosen on validation images."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import expit

from tellapart.errors import DataError
from tellapart.evaluation.choosing import (
    HELD_BACK,
    choose_decision,
    lean,
    least_cost_threshold,
    require_choosable,
)
from tellapart.evaluation.decision import Decision
from tellapart.evaluation.predictions import Predictions


def of_two(truth: list[int] | np.ndarray, scores: np.ndarray) -> Predictions:
    return Predictions(
        "validation",
        ("fine", "crack"),
        tuple(f"{i}" for i in range(len(scores))),
        np.asarray(truth),
        np.column_stack([1 - scores, scores]),
    )


@pytest.mark.parametrize(("miss", "alarm", "threshold"), [
    (1.0, 1.0, 1 / 2), (5.0, 1.0, 1 / 6), (1.0, 4.0, 4 / 5), (10.0, 2.0, 1 / 6), (99.0, 1.0, 0.01),
])  # fmt: skip
def test_where_the_probabilities_do_not_lean_it_is_that_of_bayes(
    miss: float, alarm: float, threshold: float
) -> None:
    # One of two images of probability 0.7 and 0.3 is a crack, as the two probabilities say.
    validation = of_two([1, 0], np.array([0.7, 0.3]))
    decision = choose_decision(validation, "crack", cost_miss=miss, cost_false_alarm=alarm)
    assert decision.threshold == pytest.approx(threshold)
    assert replace(decision, threshold=0.0) == Decision("crack", 0.0, miss, alarm, 2)


def test_the_lean_by_hand() -> None:
    # All probabilities one half, all n images cracks: n (1 - 1 / (1 + exp(-b))) = 5 b. With b = 1
    # that is n = 5 (1 + e), so 18.6 images make a lean of 1: 18 less, 19 more.
    assert pytest.approx(5 * (1 + np.e), abs=0.01) == 18.59
    for images, more in ((18, False), (19, True)):
        truth, scores = np.ones(images, dtype=bool), np.full(images, 0.5)
        assert (lean(truth, scores) > 1.0) is more
        assert lean(~truth, scores) == pytest.approx(-lean(truth, scores))
        threshold = least_cost_threshold(truth, scores, cost_miss=1.0, cost_false_alarm=1.0)
        assert (threshold < 1 / (1 + np.e)) is more


@pytest.mark.parametrize("seed", range(3))
def test_the_lean_is_the_likeliest_under_a_normal_prior(seed: int) -> None:
    generator = np.random.default_rng(seed)
    log_odds = generator.normal(scale=2, size=80)
    truth = generator.random(80) < expit(log_odds + 1.5)

    def surprise(b: float) -> float:
        signs = np.where(truth, 1, -1)
        prior = 0.5 * HELD_BACK * b * b
        return float(np.logaddexp(0, -signs * (log_odds + b)).sum() + prior)

    expected = minimize_scalar(surprise, bounds=(-5, 5), method="bounded").x
    assert lean(truth, expit(log_odds)) == pytest.approx(expected, abs=1e-4)
    assert 0.3 < lean(truth, expit(log_odds)) < 1.5  # of 1.5, held back


def test_certain_probabilities_do_no_harm() -> None:
    truth = np.array([True] * 50 + [False] * 50)
    right = truth.astype(float)
    assert abs(lean(truth, right)) < 1e-9
    threshold = least_cost_threshold(~truth, right, cost_miss=5.0, cost_false_alarm=1.0)
    assert 0 < threshold < 1


def test_with_more_classes_it_is_one_against_all_others() -> None:
    random = np.random.default_rng(0)
    rows = random.dirichlet([1, 1, 1], size=200)
    labels = np.array([random.choice(3, p=row) for row in rows])
    validation = Predictions("validation", ("a", "b", "c"), tuple(map(str, range(200))), labels,
                             rows)  # fmt: skip
    alone = of_two((labels == 2).astype(int), rows[:, 2])
    expected = choose_decision(alone, "crack", cost_miss=4.0).threshold
    assert choose_decision(validation, "c", cost_miss=4.0).threshold == pytest.approx(expected)
    assert expected == pytest.approx(1 / 5, abs=0.05)  # labels were drawn as the rows say


def test_only_labelled_images_choose_and_a_decision_before_does_not_matter() -> None:
    validation = of_two([1, 0, -1, -1, -1], np.array([0.7, 0.3, 0.9, 0.9, 0.9]))
    ruled = replace(validation, decision=Decision("fine", 0.9))
    found = choose_decision(ruled, "crack", cost_miss=5.0)
    assert found.threshold == pytest.approx(1 / 6) and found.images == 2


@pytest.mark.parametrize("labels", [[0, 0], [1, 1], [-1, -1], [0, -1]])
def test_without_images_of_both_kinds_nothing_can_be_chosen(labels: list[int]) -> None:
    with pytest.raises(DataError, match="for 'crack' is chosen on validation images"):
        choose_decision(of_two(labels, np.array([0.7, 0.3])), "crack")
    with pytest.raises(DataError, match="for 'crack' is chosen on validation images"):
        choose_decision(None, "crack")


def test_why_nothing_can_be_chosen_in_full() -> None:
    sentence = (
        "The threshold for 'crack' is chosen on validation images, and these must be some of that "
        "class and some of others; give more by --validation, or a validation part that has both."
    )
    for validation in (None, of_two([0, 0], np.array([0.7, 0.3]))):
        with pytest.raises(DataError) as error:
            choose_decision(validation, "crack")
        assert str(error.value) == sentence
    with pytest.raises(DataError) as error:
        require_choosable(np.array([0, 1]), ("fine", "cr\x1back"), "?")
    assert str(error.value) == (
        "There is no class '?' to decide on; the classes are fine, cr\\x1back."
    )
    require_choosable(np.array([0, 1, -1]), ("fine", "crack"), "crack")
    require_choosable(np.array([0, 0, 0, 1, -1]), ("fine", "crack"), "crack")
    require_choosable(np.array([1, 1, 1, 0, -1]), ("fine", "crack"), "crack")


def test_a_mistake_costs_one_unless_told() -> None:
    validation = of_two([1, 0], np.array([0.7, 0.3]))
    found = choose_decision(validation, "crack")
    assert found.threshold == pytest.approx(0.5)
    assert (found.cost_miss, found.cost_false_alarm, found.images) == (1.0, 1.0, 2)
    other = choose_decision(validation, "fine", cost_miss=4.0)
    assert other.threshold == pytest.approx(1 / 5) and other.positive == "fine"


def test_certain_and_wrong_probabilities_have_the_log_odds_of_the_smallest_step() -> None:
    """Forty images are sure and wrong: each counts as 36 in log odds, no more."""
    eps = np.finfo(float).eps
    for certain, nearly in ((0.0, eps), (1.0, 1.0 - eps)):
        truth = np.array([certain == 0.0] * 40 + [True, False])
        scores = np.array([certain] * 40 + [0.5, 0.5])
        assert lean(truth, scores) == pytest.approx(lean(truth, np.where(
            scores == certain, nearly, scores)), abs=1e-6)  # fmt: skip
        # Of the other two one is positive, and both are called so by then: 40 - 1.
        expected = 39 / HELD_BACK if certain == 0.0 else -39 / HELD_BACK
        assert lean(truth, scores) == pytest.approx(expected, abs=0.01)


def test_a_class_that_is_none_is_told_with_those_that_are() -> None:
    with pytest.raises(DataError, match="no class 'crakc' to decide on; the classes are fine, c"):
        choose_decision(of_two([1, 0], np.array([0.7, 0.3])), "crakc")


def drawn(images: int, random: np.random.Generator, off: float) -> Predictions:
    """Three in ten are cracks; probabilities are right but for log odds that are ``off``."""
    truth = random.random(images) < 0.3
    seen = random.normal(size=images) + np.where(truth, 1.0, -1.0)
    return of_two(truth.astype(int), expit(2 * seen + np.log(0.3 / 0.7) + off))


def cost(test: Predictions, decision: Decision | None, miss: float) -> float:
    answers = replace(test, decision=decision).predicted
    misses = int(((test.labels == 1) & (answers == 0)).sum())
    alarms = int(((test.labels == 0) & (answers == 1)).sum())
    return (miss * misses + alarms) / len(test)


@pytest.mark.parametrize("miss", [0.1, 10.0])
@pytest.mark.parametrize("off", [0.0, 0.85])  # 0.85: as trained with classes made equal
def test_mistakes_on_other_images_cost_less_than_at_the_likeliest_class(
    miss: float, off: float
) -> None:
    random = np.random.default_rng(1)
    likeliest, bayes, ours = [], [], []
    for _ in range(40):
        validation, test = drawn(100, random, off), drawn(4000, random, off)
        decision = choose_decision(validation, "crack", cost_miss=miss)
        likeliest.append(cost(test, None, miss))
        bayes.append(cost(test, Decision("crack", 1 / (1 + miss)), miss))
        ours.append(cost(test, decision, miss))
    assert np.mean(ours) < 0.85 * np.mean(likeliest)
    # Where probabilities are right there is nothing to choose, and little is lost by choosing.
    limit = 1.05 if off == 0.0 else 0.97
    assert np.mean(ours) < limit * np.mean(bayes)


def test_a_lean_of_images_that_the_classifier_is_certain_of_is_finite() -> None:
    """Log odds of 0 and 1 are infinite; they count as those of the smallest step from 1."""
    with np.errstate(all="raise"):
        found = lean(np.array([False, True]), np.array([1.0, 0.0]))
    assert found == pytest.approx(0.0, abs=1e-9)
