"""What is made small, against values worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tellapart.errors import TellapartError
from tellapart.evaluation.predictions import Predictions
from tellapart.tuning.objective import OBJECTIVES, objective_named

#: Labels a, a, a, b; said a, a, b, b: one of four is wrong; recalls 2/3 and 1.
PREDICTIONS = Predictions(
    "validation", ("a", "b", "never"), ("1", "2", "3", "4"), np.array([0, 0, 0, 1]),
    np.array([[0.5, 0.25, 0.25], [0.8, 0.1, 0.1], [0.25, 0.5, 0.25], [0.1, 0.8, 0.1]]),
)  # fmt: skip


def test_by_hand() -> None:
    values = {name: row.of(PREDICTIONS) for name, row in OBJECTIVES.items()}
    assert values["error"] == 0.25
    assert values["balanced_error"] == pytest.approx(1 - (2 / 3 + 1) / 2)
    expected = -(math.log(0.5) + math.log(0.8) + math.log(0.25) + math.log(0.8)) / 4
    assert values["log_loss"] == pytest.approx(expected)


def test_an_unknown_one_is_said() -> None:
    with pytest.raises(TellapartError, match="Did you mean 'log_loss'"):
        objective_named("log_los")
