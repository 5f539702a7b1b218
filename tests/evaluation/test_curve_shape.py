"""What the loss curves look like, on made histories."""

from __future__ import annotations

import math

import pytest

from tellapart.evaluation.curve_shape import rate_drops, shape_of

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
