"""What a run's folder says becomes evidence, and its commands train on the same parts again."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "verbs"))
sys.path.insert(0, str(Path(__file__).parent))

from made import two
from trained import quick_run

from tellapart import cli
from tellapart.evaluation.metric_table import metrics_from_json
from tellapart.evaluation.predictions import Predictions
from tellapart.run import Run, open_run
from tellapart.verdict.commands import train_again
from tellapart.verdict.of_run import (
    evidence_of,
    evidence_of_new_images,
    origin_of,
    temperature_gain,
)


@pytest.fixture(scope="module")
def run(image_folder: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = image_folder(classes=("blue", "red"), per_class=30)
    return quick_run(folder, tmp_path_factory.mktemp("a run") / "made", seed=5)


def test_a_run_in_epochs_from_random_weights(run: Run) -> None:
    found = evidence_of(run)
    assert found is not None and found.shown.part == "test" and found.own
    training = found.training
    assert not training.pretrained and not training.frozen and training.in_epochs
    assert len(training.history) == 3 and training.ended_by == "" == training.interruption
    assert training.seconds_an_epoch is not None and training.seconds_an_epoch > 0
    assert found.train_images == sum(run.info.data.counts["train"].values()) > 0
    assert not found.train_is_sample and found.leak is None and found.leaks_sought
    assert found.validation is not None and found.validation.part == "validation"


def test_its_commands_train_on_the_same_parts_again(run: Run, tmp_path: Path) -> None:
    origin = origin_of(run)
    assert not origin.given_parts and origin.recipe == str(run.path / "recipe.yaml")
    again = tmp_path / "again"
    words = shlex.split(train_again(origin, "--run", str(again)))[1:]
    with pytest.raises(SystemExit) as end:
        cli.app(words)
    assert end.value.code in (0, None)
    assert [i[:3] for i in open_run(again).images] == [i[:3] for i in run.images]


def test_recipes_that_come_with_tellapart_go_by_their_names(run: Run) -> None:
    from tellapart.recipe_reading import load_recipe
    from tellapart.verdict.of_run import _recipe_named

    auto = load_recipe("auto")
    moved = {"seed": 4, "num_classes": 7, "data": auto.data.model_copy(update={"image_size": 192})}
    assert _recipe_named(run, auto.model_copy(update=moved)) == "auto"
    finetune = load_recipe("finetune")
    assert _recipe_named(run, finetune.model_copy(update={"seed": 4})) == "finetune"
    changed = finetune.model_copy(update={"test_time": "none", "augmentation": ()})
    assert _recipe_named(run, changed) == str(run.path / "recipe.yaml")


def test_leaks_are_read_from_the_metrics_with_and_without_them(run: Run) -> None:
    stored = metrics_from_json(run.metrics) | {"test": two(60, 40)}
    left_out = evidence_of(run, stored | {"test_with_leaked": two(130, 40)})
    assert left_out is not None and left_out.leak is not None
    assert (left_out.leak.images, left_out.leak.of, left_out.leak.counted) == (140, 340, False)
    assert left_out.leak.lift == pytest.approx(130 / 170 - 0.6)
    counted = evidence_of(run, stored | {"test": two(130, 40), "test_without_leaked": two(60, 40)})
    assert counted is not None and counted.leak is not None and counted.leak.counted
    validation = evidence_of(
        run, stored | {"validation": two(50, 5, "validation"),
                       "validation_without_leaked": two(44, 5, "validation")},
    )  # fmt: skip
    assert validation is not None and validation.validation_leak == 12


def test_new_images_that_the_run_was_made_with_are_a_leak(run: Run) -> None:
    test = run.predictions("test")
    clean, everything = two(60, 40), two(130, 40)
    left_out = evidence_of_new_images(run, clean, test, with_seen=everything).leak
    assert left_out is not None and (left_out.images, left_out.of) == (140, 340)
    assert not left_out.counted and left_out.without_them is clean
    counted = evidence_of_new_images(run, everything, test, without_seen=clean)
    assert counted.leak is not None and counted.leak.counted and not counted.own
    assert counted.leak.lift == pytest.approx(130 / 170 - 0.6)
    assert evidence_of_new_images(run, clean, test).leak is None


def test_what_the_temperature_gained_is_a_paired_difference_of_log_losses() -> None:
    """By hand: logits (2, 0) and (0, 1) of class 0, halved by a temperature of 2."""
    before = np.array([np.log(1 + np.exp(-2.0)), np.log(1 + np.exp(1.0))])
    after = np.array([np.log(1 + np.exp(-1.0)), np.log(1 + np.exp(0.5))])
    rows = np.exp(np.array([[1.0, 0.0], [0.0, 0.5]]))
    predictions = Predictions(
        "test", ("a", "b"), ("0", "1"), np.array([0, 0]), rows / rows.sum(axis=1, keepdims=True)
    )
    gain = temperature_gain(predictions, 2.0)
    assert gain is not None
    gains = before - after
    half = 1.959963984540054 * gains.std(ddof=1) / np.sqrt(2)
    assert gain.measured() == pytest.approx(
        (gains.mean(), gains.mean() - half, gains.mean() + half)
    )
    assert temperature_gain(predictions, 1.0) is None
    hidden = replace(predictions, labels=np.array([-1, -1]))
    assert temperature_gain(hidden, 2.0) is None


def test_which_recipes_have_the_network_of_a_run() -> None:
    """Dropout and a penalty have no weights; another backbone, features or a probe do not fit."""
    from tellapart.recipe_reading import load_recipe
    from tellapart.verdict.of_run import _has_weights_of

    frozen, finetune = load_recipe("frozen-augmented"), load_recipe("finetune")
    for recipe in (frozen, finetune):
        assert _has_weights_of("finetune", recipe) and _has_weights_of("frozen-augmented", recipe)
    for change in ({"backbone": "tf_efficientnet_lite1"}, {"features": "map"},
                   {"output": "sigmoid"}):  # fmt: skip
        other = frozen.model_copy(update={"model": frozen.model.model_copy(update=change)})
        assert not _has_weights_of("finetune", other)
    assert _has_weights_of("finetune", frozen.model_copy(update={
        "model": frozen.model.model_copy(update={"output_l2": 0.1, "weights": "none"})
    }))  # fmt: skip
    assert not _has_weights_of("finetune", load_recipe("auto"))
    scratch = load_recipe("dogs-cats-vanilla")
    assert scratch.model.kind == "scratch" and not _has_weights_of("finetune", scratch)
