"""Choosing among candidates: more than chance is asked of what costs more."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tellapart.evaluation.predictions import Predictions
from tellapart.search.choose import can_show_gain, chosen, losses_of, standard_error


def test_losses_are_those_of_the_true_class() -> None:
    predictions = Predictions(
        "validation", ("a", "b"), ("1", "2"), np.array([0, 1]),
        np.array([[0.75, 0.25], [1.0, 0.0]]),
    )  # fmt: skip
    assert losses_of(predictions) == pytest.approx([-np.log(0.75), -np.log(1e-6)])


def test_the_first_answer_gives_way_only_to_more_than_a_standard_error() -> None:
    holder = np.array([1.0, 0.0, 0.0, 0.0])
    challenger = np.array([0.0, 0.0, 0.0, 0.0])
    # Mean gain 1/4; its standard error is (1/2)/sqrt(4) = 1/4.
    assert standard_error(holder - challenger) == pytest.approx(0.25)
    assert chosen([holder, challenger], [1.0, 1.0]) == 0
    assert chosen([holder, challenger - 0.01], [1.0, 2.0]) == 1
    # A first answer that costs more has nothing for it.
    assert chosen([holder, challenger], [1.0, 0.5]) == 1


def test_what_costs_a_quarter_may_be_a_little_worse_than_the_best() -> None:
    first, best = np.full(4, 2.0), np.array([0.0, 0.1, 0.0, 0.1])
    near, far = np.array([0.1, 0.0, 0.0, 0.1]), np.array([1.1, 1.0, 1.0, 1.1])
    assert chosen([first, best, near + 0.001], [1.0, 8.0, 2.0]) == 2
    assert chosen([first, best, near + 0.001], [1.0, 8.0, 4.0]) == 1
    assert chosen([first, best, far], [1.0, 8.0, 2.0]) == 1


def test_small_steps_down_do_not_add_up() -> None:
    """Each cheaper by little and worse by little: the last one must not win by the chain."""
    noise = np.tile([0.1, -0.1], 50)
    losses = [np.full(100, 2.0), *(np.full(100, 0.3) + 0.009 * k + noise * (k % 2)
                                   for k in range(6))]  # fmt: skip
    costs = [1.0, *(16.0 * 0.6**k for k in range(6))]
    taken = chosen(losses, costs)
    gains = losses[taken] - losses[1]
    assert taken == 1 or gains.mean() <= standard_error(gains)


def test_chance_alone_replaces_the_first_answer_about_as_often_as_one_standard_error_says() -> None:
    """A candidate that is no better wins in about 16 % of the cases, never in half."""
    random = np.random.default_rng(0)
    wins = [
        chosen([random.normal(size=200), random.normal(size=200)], [1.0, 2.0]) for _ in range(2000)
    ]
    assert np.mean(wins) == pytest.approx(0.159, abs=0.03)


def test_few_mistakes_leave_no_room_for_a_gain_beyond_chance() -> None:
    def losses(mistakes: int, images: int, others: float = 0.01) -> Any:
        return np.array([3.0] * mistakes + [others] * (images - mistakes))

    assert not can_show_gain(np.zeros(1000))
    assert not can_show_gain(losses(3, 45))
    assert can_show_gain(losses(13, 1000))
    # All unsure: fewer mistakes show as much.
    assert can_show_gain(losses(1, 45, others=0.3))
