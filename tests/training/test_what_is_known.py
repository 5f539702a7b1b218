"""What a run learns of images of its own kind, so that others can be held against them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tellapart.evaluation.predictions import Predictions
from tellapart.evaluation.unknown import unit_length
from tellapart.training.remember import Learnt, learn_known

RANDOM = np.random.default_rng(0)
FEATURES = RANDOM.normal(2, 1, (90, 6)).astype(np.float32)
PATHS = tuple(f"{row}.jpg" for row in range(90))
VALIDATION = np.arange(60, 90)


def predictions_of(rows: np.ndarray) -> Predictions:
    probabilities = np.stack([rows / 100, 1 - rows / 100], axis=1)
    return Predictions("validation", ("a", "b"), tuple(PATHS[row] for row in rows),
                       np.zeros(len(rows), np.int64), probabilities)  # fmt: skip


def learn(
    *, frozen: str = "a backbone", validation: np.ndarray = VALIDATION,
    held_out: Predictions | None = None, grouped: Collection[str] = (),
) -> Learnt | None:  # fmt: skip
    task: Any = SimpleNamespace(
        rows={"train": np.arange(60), "validation": validation},
        recipe=SimpleNamespace(seed=0),
        images=SimpleNamespace(table=SimpleNamespace(paths=PATHS)),
    )
    trained: Any = SimpleNamespace(features=FEATURES.__getitem__, frozen_backbone=frozen)
    # In another order than the rows of the task: they are joined by path.
    scored: Any = SimpleNamespace(validation=predictions_of(validation[::-1]))
    return learn_known(task, trained, scored, held_out, grouped)


def test_validation_images_are_kept_with_what_was_said_of_them() -> None:
    learnt = learn()
    assert learnt is not None
    known = learnt.known
    assert known.features == pytest.approx(unit_length(FEATURES[60:]), abs=1e-3)
    assert known.probabilities[:, 0] == pytest.approx(VALIDATION / 100, abs=1e-6)
    assert len(learnt.unknown.reference) == 60


def test_training_images_count_where_the_network_sees_them_as_others() -> None:
    frozen, moved, grouped = learn(), learn(frozen=""), learn(grouped={"3.jpg", "7.jpg", "80.jpg"})
    assert frozen is not None and moved is not None and grouped is not None
    assert frozen.known.trained.all() and not moved.known.trained.any()
    assert np.flatnonzero(~grouped.known.trained).tolist() == [3, 7]


def test_of_a_cross_validation_it_is_what_the_folds_said() -> None:
    held_out = predictions_of(np.arange(90))
    held_out = replace(held_out, probabilities=held_out.probabilities[:, ::-1])
    learnt = learn(held_out=held_out)
    assert learnt is not None
    assert learnt.known.probabilities[:, 1] == pytest.approx(VALIDATION / 100, abs=1e-6)


def test_few_validation_images_teach_nothing() -> None:
    assert learn(validation=VALIDATION[:18]) is None
    assert learn(validation=VALIDATION[:19]) is not None


def test_of_many_images_a_choice_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tellapart.training.remember.MOST_KNOWN", 12)
    monkeypatch.setattr("tellapart.training.remember.REFERENCE_IMAGES", 20)
    learnt = learn()
    assert learnt is not None
    assert len(learnt.known) == 12 and len(learnt.known.trained) == 20
    rows = [int(np.argmin(np.abs(FEATURES[60:] @ f - np.linalg.norm(FEATURES[60:], axis=1))))
            for f in learnt.known.features]  # fmt: skip
    assert learnt.known.probabilities[:, 0] == pytest.approx((60 + np.array(rows)) / 100, abs=1e-6)
