"""What a training step costs is measured on the stage that costs."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from tellapart.recipe import ProgressiveResizing, TrainingStage
from tellapart.recipe_reading import load_recipe
from tellapart.search.costs import Costs, full_size_epochs
from tellapart.search.study import Study
from tellapart.search.timing import seconds_an_image
from tellapart.training.outcome import Task


def test_of_two_stages_the_last_one_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first trains a head on features: by its steps a tuning would cost nothing."""
    timed: list[TrainingStage] = []

    def fit(network: Any, train: Any, few: Any, stage: TrainingStage, **_: Any) -> Any:
        timed.append(stage)
        return SimpleNamespace(history=[{"seconds": 3.2}, {"seconds": 1.28}])

    monkeypatch.setattr("tellapart.training.fit.fit", fit)
    monkeypatch.setattr("tellapart.models.network.build_network", lambda *_: None)
    monkeypatch.setattr("tellapart.models.freezing.freeze", lambda *_: None)
    recipe = load_recipe("finetune")
    rows = {"train": np.arange(500), "validation": np.arange(500, 520)}
    task = SimpleNamespace(
        recipe=recipe, num_classes=2, preprocessing=None, rows=rows, device="cpu",
        images=SimpleNamespace(pixels=np.zeros((520, 8, 8, 3), np.uint8)),
        labels=np.zeros(520, np.int64),
    )  # fmt: skip
    seconds = seconds_an_image(cast(Task, task))
    assert recipe.fine_tuning is not None
    assert timed[0].batch_size == recipe.fine_tuning.batch_size
    assert seconds == pytest.approx(1.28 / 64)  # the quickest epoch, of two batches of 32
    assert timed[0].trainable.backbone == "all" and not timed[0].cached_views


def test_a_training_that_took_longer_than_planned_makes_the_next_dearer() -> None:
    """Three times what was planned: the same candidate costs three times as much."""
    recipe = load_recipe("solar-cells-finetune")
    study = cast(Study, SimpleNamespace(num_train=1000, num_validation=200, table=range(1400)))
    costs = Costs()
    costs.sizes.add(300)
    before = costs.tuning(study, recipe, 300) - costs.scoring(study, recipe, 300)
    costs.saw_tuning(3 * before, study, recipe, 300)
    after = costs.tuning(study, recipe, 300) - costs.scoring(study, recipe, 300)
    assert after == pytest.approx(3 * before)


def test_small_pictures_cost_a_training_more_than_their_share_of_pixels() -> None:
    """A step on 64, 96 and 128 pixels took 172, 262 and 401 ms (Zen 4, EfficientNet-Lite0)."""
    grown = ProgressiveResizing(image_size=64, share=0.5)
    # Four epochs: on 64, 96, 128 and 128 pixels.
    found = full_size_epochs(4, grown, 128)
    assert found == pytest.approx((172 + 262 + 2 * 401) / 401, rel=0.03)
