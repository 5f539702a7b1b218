"""Settings that change nothing are named, with the reason."""

from __future__ import annotations

import pytest

import tellapart as ta
from tellapart.recipe_reading import apply_settings, load_recipe, recipe_names
from tellapart.training.unused import unused_settings


@pytest.mark.parametrize("name", recipe_names())
def test_our_own_recipes_have_none(name: str) -> None:
    assert unused_settings(load_recipe(name)) == []


@pytest.mark.parametrize(
    ("recipe", "settings", "sentence"),
    [
        (
            "probe", ["training.epochs=50", "training.early_stopping={patience: 2}"],
            "training.epochs=50, training.early_stopping have no effect: a probe is not trained",
        ),
        (
            "probe", ["augmentation=[{transform: quarter_turns}]"],
            "augmentation has no effect: a probe",
        ),
        (
            "cifar-baseline-sgd", ["training.cached_views=4"],
            "training.cached_views=4 has no effect: the network has no pretrained backbone.",
        ),
        (
            "partial", ["training.layer_decay=0.8"],
            "training.layer_decay=0.8 has no effect: nothing of the backbone moves.",
        ),
        (
            "finetune", ["fine_tuning.cached_views=4"],
            "fine_tuning.cached_views=4 has no effect: no part of the backbone stands still.",
        ),
        (
            "partial", ["fine_tuning.cached_views=4", "augmentation=[]"],
            "fine_tuning.cached_views=4 has no effect: the recipe augments nothing",
        ),
        (
            "dogs-cats-vanilla", ["training.warmup=0.1"],
            "training.warmup=0.1 has no effect: a constant learning rate has no warm-up.",
        ),
        ("finetune", ["probe.class_weight=balanced"], "only method=probe fits a probe"),
        ("probe", ["probe.units=[8]"], "probe.units has no effect: only probe.head=network reads"),
        (
            "probe", ["probe.sampler=balanced", "probe.head=discriminant"],
            "probe.sampler=balanced has no effect: probe.head=discriminant sees all images at once",
        ),
        ("cifar-baseline-sgd", ["training.epsilon=0.1"], "sgd does not divide by anything"),
    ],
)  # fmt: skip
def test_a_setting_without_effect_is_named(recipe: str, settings: list[str], sentence: str) -> None:
    found = unused_settings(apply_settings(load_recipe(recipe), settings))
    assert any(sentence in line for line in found), found


@pytest.mark.parametrize(
    "setting",
    ["layer_decay=0.5", "backbone_learning_rate_factor=0.1", "gradual_unfreezing=1", "epochs=2"],
)
def test_what_has_an_effect_on_a_network_from_random_weights_is_not_named(setting: str) -> None:
    recipe = apply_settings(load_recipe("cifar-baseline-sgd"), [f"training.{setting}"])
    assert unused_settings(recipe) == []


def test_the_user_is_told_and_the_run_remembers(image_folder, tmp_path) -> None:
    run = ta.train(
        image_folder(), recipe="probe", settings=["training.epochs=50"], run=tmp_path / "run"
    )
    sentence = "training.epochs=50 has no effect: a probe is not trained in epochs."
    assert sentence in run.info.notes
    assert sentence in run.report.read_text(encoding="utf-8")
