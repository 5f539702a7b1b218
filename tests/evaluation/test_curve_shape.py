"""What the loss curves look like, on made histories."""

from __future__ import annotations

import math

import pytest

from tellapart.evaluation.curve_shape import epochs_of, rate_drops, shape_of

Row = dict[str, float]


def history(validation: list[float], rates: list[float] | None = None) -> list[Row]:
    return [
        {"epoch": i + 1, "loss": 0.9**i, "validation_loss": loss,
         "learning_rate": rates[i] if rates else 0.001}
        for i, loss in enumerate(validation)
    ]  # fmt: skip


def kind(validation: list[float], rates: list[float] | None = None) -> str:
    shape = shape_of(history(validation, rates))
    assert shape is not None
    return shape.kind


def test_where_it_rises() -> None:
    shape = shape_of(history([0.9, 0.6, 0.5, 0.45, 0.5, 0.55, 0.6, 0.7]))
    assert shape is not None and shape.kind == "rising"
    assert (shape.lowest_epoch, shape.lowest_loss, shape.last_loss) == (4, 0.45, 0.7)
    assert shape.train_then == pytest.approx(0.9**3) and shape.train_last == pytest.approx(0.9**7)


def test_falling_level_and_run_down() -> None:
    falling = [1 / (i + 1) for i in range(10)]
    assert kind(falling) == "falling"
    assert kind([1.0, 0.5, 0.4, *[0.35 + 0.001 * (i % 2) for i in range(9)]]) == "level"
    cosine = [1e-3 * (1 + math.cos(math.pi * (i + 1) / 10)) / 2 for i in range(10)]
    assert kind(falling, cosine) == "ran_down"
    assert kind([0.5, 0.4, *[0.35 + 0.001 * (i % 2) for i in range(8)]], cosine) == "ran_down"
    assert kind([0.5, 0.4, *[0.4 + 0.05 * i for i in range(8)]], cosine) == "rising"
    # Stopped before the schedule was through, and a rate that was cut on plateaus.
    assert kind(falling[:5], cosine[:5]) == "falling"
    assert kind(falling, [1e-3] * 6 + [1e-4] * 2 + [1e-5] * 2) == "falling"


def test_few_epochs_and_no_validation_have_no_shape() -> None:
    assert shape_of(history([0.5, 0.4, 0.3])) is None
    assert shape_of([{"epoch": i, "loss": 1.0} for i in range(9)]) is None


def test_when_the_learning_rate_dropped() -> None:
    rates = [1e-3] * 5 + [1e-4] * 4 + [1e-5] * 3
    assert rate_drops(history([0.5] * 12, rates)) == ((6, 1e-4), (10, 1e-5))
    assert not rate_drops(history([0.5] * 12, [1e-3 * 0.8**i for i in range(12)]))


def test_a_second_stage_is_no_drop() -> None:
    rows = [row | {"stage": 1 + (i >= 4)} for i, row in
            enumerate(history([0.5] * 8, [1e-3] * 4 + [1e-5] * 4))]  # fmt: skip
    assert rate_drops(rows) == ()


# --- where each kind begins and ends ------------------------------------------------------------


def test_it_rises_from_five_percent_on_two_epochs_after_its_lowest_while_train_falls() -> None:
    assert kind([0.9, 0.6, 0.4, 0.41, 0.43]) == "rising"
    assert kind([0.9, 0.6, 0.4, 0.41, 0.42]) != "rising"  # five percent and no more
    assert kind([0.9, 0.6, 0.5, 0.4, 0.9]) != "rising"  # the epoch after the lowest is one bad one
    flat = [row | {"loss": 0.3} for row in history([0.9, 0.6, 0.4, 0.41, 0.5])]
    shape = shape_of(flat)
    assert shape is not None and shape.kind != "rising"  # train does not fall: no learning by heart
    early = shape_of(history([0.9, 0.5, 0.6, 0.7]))
    assert early is not None and (early.kind, early.lowest_epoch) == ("rising", 2)
    first = shape_of(history([0.4, 0.5, 0.6, 0.7, 0.8]))
    assert first is not None and (first.kind, first.lowest_epoch) == ("rising", 1)


def test_it_falls_where_the_last_fifth_is_two_percent_below_the_one_before() -> None:
    # Ten epochs: fifths of two. Means 0.4 and 0.391 (2.25 % below), or 0.393 (1.75 %).
    before = [0.9, 0.8, 0.7, 0.6, 0.5, 0.45]
    assert kind([*before, 0.4, 0.4, 0.392, 0.390]) == "falling"
    assert kind([*before, 0.4, 0.4, 0.394, 0.392]) == "level"
    # The lowest may lie one epoch back of ten, and two back of twenty, no more.
    assert kind([*before, 0.45, 0.44, 0.38, 0.39]) == "falling"
    assert kind([*before, 0.45, 0.38, 0.39, 0.39]) == "level"
    long = [1 / (1 + i) + 0.1 for i in range(17)]
    assert kind([*long, 0.1, 0.104, 0.104]) == "falling"
    assert kind([*long[:-1], 0.1, 0.101, 0.102, 0.103]) == "level"
    # Five epochs: fifths are at least two epochs, and a tenth at least one.
    shape = shape_of(history([0.9, 0.8, 0.7, 0.6, 0.61]))
    assert shape is not None and (shape.kind, shape.recent, shape.recent_loss) == (
        "falling", 2, 0.7
    )  # fmt: skip


def test_what_is_told_of_the_end() -> None:
    rates = [1e-3 * 0.8**i for i in range(11)]
    shape = shape_of(history([1 / (1 + i) for i in range(11)], rates))
    assert shape is not None and shape.last_rate == pytest.approx(1e-3 * 0.8**10)
    assert (shape.last_epoch, shape.last_loss) == (11, pytest.approx(1 / 11))
    assert shape.recent == 2 and shape.recent_loss == pytest.approx(1 / 9)
    fifteen = shape_of(history([1 / (1 + i) for i in range(15)]))
    assert fifteen is not None and fifteen.recent == 3


def test_a_rate_has_run_down_below_a_tenth_while_it_falls_to_the_end() -> None:
    losses = [0.5, 0.4, 0.35, 0.34, 0.34, 0.34]
    assert kind(losses, [1e-3, 1e-3, 1e-3, 5e-4, 2e-4, 9e-5]) == "ran_down"
    assert kind(losses, [1e-3, 1e-3, 1e-3, 5e-4, 2e-4, 1e-4]) == "level"  # a tenth is not below it
    assert kind(losses, [1e-3, 1e-3, 1e-3, 5e-4, 9e-5, 9e-5]) == "level"  # it stands still
    # Only the last epochs must fall: it may have warmed up before.
    assert kind(losses, [1e-4, 1e-3, 1e-3, 5e-4, 2e-4, 9e-5]) == "ran_down"
    assert kind(losses, [1e-4, 1e-3, 5e-4, 5e-4, 2e-4, 9e-5]) == "ran_down"


def test_epochs_that_begin_again_are_counted_on() -> None:
    rows = history([0.9, 0.6, 0.5, 0.45, 0.5, 0.55])
    again = [row | {"epoch": 1 + i % 3} for i, row in enumerate(rows)]
    assert epochs_of(again) == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    assert epochs_of(rows) == [1, 2, 3, 4, 5, 6]
    later = [row | {"epoch": row["epoch"] + 4} for row in rows]  # of a run that was gone on with
    assert epochs_of(later) == [5, 6, 7, 8, 9, 10]
    same = [row | {"epoch": 2} for row in rows[:2]]
    assert epochs_of(same) == [1.0, 2.0]
    shape = shape_of(again)
    assert shape is not None and (shape.lowest_epoch, shape.last_epoch) == (4, 6)


def test_which_steps_of_the_rate_are_drops() -> None:
    # To nine tenths is no drop, below it is; the stage must be the same on both sides.
    assert rate_drops(history([0.5] * 6, [1.0, 1.0, 0.9, 0.9, 0.9, 0.9])) == ()
    assert rate_drops(history([0.5] * 6, [1.0, 1.0, 0.89, 0.89, 0.89, 0.89])) == ((3, 0.89),)
    stages = [row | {"stage": 1 + (i >= 2)} for i, row in
              enumerate(history([0.5] * 7, [1.0, 1.0, 0.1, 0.1, 0.01, 0.01, 0.01]))]  # fmt: skip
    assert rate_drops(stages) == ((5, 0.01),)
    # A third of the steps is news, more is a schedule; of few epochs one step is.
    six = [1.0, 0.5, 0.5, 0.25, 0.25, 0.25]
    assert rate_drops(history([0.5] * 6, six)) == ((2, 0.5), (4, 0.25))
    assert rate_drops(history([0.5] * 6, [1.0, 0.5, 0.25, 0.25, 0.1, 0.1])) == ()
    assert rate_drops(history([0.5] * 2, [1.0, 0.5])) == ((2, 0.5),)
    without = [{key: value for key, value in row.items() if key != "stage"} for row in
               history([0.5] * 6, six)]  # fmt: skip
    some = [row | ({"stage": 1} if i >= 3 else {}) for i, row in enumerate(without)]
    assert rate_drops(some) == ((2, 0.5), (4, 0.25))  # older rows are of the first stage
