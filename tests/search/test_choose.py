"""Choosing among candidates: more than chance is asked of what costs more."""

from __future__ import annotations

import numpy as np
import pytest

from tellapart.evaluation.predictions import Predictions
from tellapart.search.choose import can_show_gain, is_better, losses_of, standard_error


def test_losses_are_those_of_the_true_class() -> None:
    predictions = Predictions(
        "validation", ("a", "b"), ("1", "2"), np.array([0, 1]),
        np.array([[0.75, 0.25], [1.0, 0.0]]),
    )  # fmt: skip
    assert losses_of(predictions) == pytest.approx([-np.log(0.75), -np.log(1e-6)])


def test_a_dearer_candidate_must_be_better_by_more_than_a_standard_error() -> None:
    holder = np.array([1.0, 0.0, 0.0, 0.0])
    challenger = np.array([0.0, 0.0, 0.0, 0.0])
    # Mean gain 1/4; its standard error is (1/2)/sqrt(4) = 1/4.
    assert standard_error(holder - challenger) == pytest.approx(0.25)
    assert not is_better(challenger, holder, cost=2.0)
    assert is_better(challenger, holder, cost=1.0)
    assert not is_better(challenger, holder, cost=1.0, first=True)
    assert is_better(challenger - 0.01, holder, cost=2.0)


def test_a_cheaper_candidate_may_be_a_little_worse() -> None:
    holder = np.array([0.0, 0.1, 0.0, 0.1])
    challenger = np.array([0.1, 0.0, 0.0, 0.1])
    assert is_better(challenger, holder, cost=0.5)
    assert not is_better(challenger + 1.0, holder, cost=0.5)
    assert not is_better(challenger + 0.001, holder, cost=1.0)


def test_chance_alone_replaces_the_first_answer_about_as_often_as_one_standard_error_says() -> None:
    """A candidate that is no better and dearer wins in about 16 % of the cases, never in half."""
    random = np.random.default_rng(0)
    wins = [
        is_better(random.normal(size=200), random.normal(size=200), cost=2.0)
        for _ in range(2000)
    ]
    assert np.mean(wins) == pytest.approx(0.159, abs=0.03)


def test_few_mistakes_leave_no_room_for_a_gain_beyond_chance() -> None:
    assert not can_show_gain(0, 1000)
    assert not can_show_gain(3, 45)
    assert can_show_gain(13, 1000)
