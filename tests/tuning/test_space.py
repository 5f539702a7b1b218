"""Which settings are tuned, and how values come into a recipe."""

from __future__ import annotations

from pathlib import Path

import pytest

from tellapart.errors import RecipeError
from tellapart.recipe_reading import apply_settings, load_recipe, recipe_names
from tellapart.training.ways import check_trainable
from tellapart.tuning.space import (
    SPACE,
    Choices,
    Numbers,
    read_space,
    space_for,
    with_values,
)


def space_of(name: str) -> dict[str, Numbers | Choices]:
    return {each.key: each for each in space_for(load_recipe(name))}


def test_every_recipe_of_a_tuned_method_has_a_space_whose_ends_can_be_trained() -> None:
    """Both ends of every range, all at once, give recipes that training takes."""
    names = [name for name in recipe_names() if load_recipe(name).method != "auto"]
    assert len(names) > 25
    for name in names:
        recipe = load_recipe(name)
        space = space_for(recipe)
        assert len(space) >= 3, name
        for end in ("low", "high"):
            values = {
                each.key: int(getattr(each, end)) if each.whole else getattr(each, end)
                for each in space
                if isinstance(each, Numbers)
            }
            check_trainable(with_values(recipe, values))


def test_ranges_of_rates_and_epochs_stand_around_the_recipe_s_own() -> None:
    recipe = load_recipe("finetune")
    space = space_of("finetune")
    rate = space["training.learning_rate"]
    assert isinstance(rate, Numbers) and rate.log
    assert rate.low == pytest.approx(recipe.training.learning_rate / 10)
    assert rate.high == pytest.approx(recipe.training.learning_rate * 10)
    epochs = space["training.epochs"]
    assert isinstance(epochs, Numbers) and epochs.whole
    assert epochs.low <= recipe.training.epochs <= epochs.high


def test_only_what_a_recipe_has_is_tuned() -> None:
    assert "augmentation_strength" not in space_of("cars-baseline")
    assert "augmentation_strength" in space_of("cars-augmented")
    assert "dropout" not in space_of("cifar-baseline-sgd")
    assert "dropout" in space_of("cifar-batchnorm-rmsprop")
    assert "training.backbone_learning_rate_factor" not in space_of("cars-baseline")
    assert not {"training.learning_rate", "training.epochs"} & set(space_of("probe"))


def test_auto_is_refused_with_what_to_name_instead() -> None:
    with pytest.raises(RecipeError, match=r"method 'auto', which settles .* --recipe probe"):
        space_for(load_recipe("auto"))


def test_augmentation_is_scaled_and_nothing_else_changes() -> None:
    recipe = load_recipe("cars-augmented")
    half = with_values(recipe, {"augmentation_strength": 0.5})
    for before, after in zip(recipe.augmentation, half.augmentation, strict=True):
        for key in ("degrees", "fraction"):
            if hasattr(before, key):
                assert getattr(after, key) == pytest.approx(0.5 * getattr(before, key))
    assert half.model_copy(update={"augmentation": recipe.augmentation}) == recipe
    most = with_values(recipe, {"augmentation_strength": 1000.0})
    assert all(getattr(step, "fraction", 0.0) <= 1 for step in most.augmentation)


def test_dropout_reaches_every_layer_that_has_it() -> None:
    scratch = with_values(load_recipe("cifar-batchnorm-rmsprop"), {"dropout": 0.25})
    assert scratch.model.options == {"flatten_dropout": 0.25, "dense_dropout": 0.25}
    recipe = apply_settings(
        load_recipe("finetune"),
        ["model.features=map", "model.head=[{layer: global_pool}, {layer: dropout, rate: 0.1}, "
         "{layer: dense, units: 8}, {layer: dropout, rate: 0.4}]"],
    )  # fmt: skip
    head = with_values(recipe, {"dropout": 0.3}).model.head
    assert [layer.rate for layer in head] == [None, 0.3, None, 0.3]


def test_the_strength_of_a_probe_takes_the_place_of_its_list() -> None:
    assert with_values(load_recipe("probe"), {"probe_strength": 1e-5}).probe.strengths == (1e-5,)


def test_a_file_of_one_s_own(tmp_path: Path) -> None:
    file = tmp_path / "space.yaml"
    file.write_text(
        "training.learning_rate: {low: 1e-4, high: 1e-2, log: true}\n"
        "training.optimizer: {choices: [adam, sgd]}\n"
        "data.image_size: {low: 64, high: 128, step: 32}\n",
        "utf-8",
    )
    found = read_space(file, load_recipe("finetune"))
    assert found == (
        Numbers("training.learning_rate", 1e-4, 1e-2, log=True),
        Choices("training.optimizer", ('"adam"', '"sgd"')),
        Numbers("data.image_size", 64, 128, whole=True, step=32),
    )


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "must be a YAML mapping of settings"),
        ("- a", "must be a YAML mapping"),
        ("a: [", "not valid YAML"),
        ("training.learning_rat: {low: 1, high: 2}", "Did you mean 'training.learning_rate'"),
        ("training.learning_rate: {low: 2, high: 1}", "low the smaller one"),
        ("training.learning_rate: {low: 0, high: 1, log: true}", "with log, low is above 0"),
        ("training.learning_rate: {low: a, high: 1}", "two numbers"),
        ("training.learning_rate: {low: .nan, high: 1}", "two numbers"),
        ("training.learning_rate: 3", "needs {low: ..., high: ...}"),
        ("training.learning_rate: {lo: 1, high: 2}", "needs {low: ..., high: ...}"),
        ("training.learning_rate: {low: 1, high: 2, log: 3}", "true or false"),
        ("training.learning_rate: {low: -1, high: 2}", "greater than 0"),
        ("training.epochs: {low: 1, high: 2.5, whole: true}", "whole numbers"),
        ("training.epochs: {low: 1.5, high: 2.5}", "valid integer"),
        ("training.epochs: {low: 1, high: 9, step: 0}", "step is a whole number"),
        ("training.optimizer: {choices: [adam]}", "two values or more"),
        ("training.optimizer: {choices: [adam, sdg]}", "'sgd'"),
        ("training.optimizer: {choices: [adam, 2020-01-01]}", "a number, a word or a list"),
        ("training.optimizer: {choices: [adam, sgd], low: 1}", "by itself"),
    ],
)
def test_mistakes_in_a_file_are_sentences(content: str, words: str, tmp_path: Path) -> None:
    file = tmp_path / "space.yaml"
    file.write_text(content, "utf-8")
    with pytest.raises(RecipeError) as caught:
        read_space(file, load_recipe("finetune"))
    assert words in str(caught.value) and "--space" in str(caught.value)


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    file = tmp_path / "space.yaml"
    file.write_text("a: {low: 1, high: 2}\ntraining.epochs: 3\n", "utf-8")
    with pytest.raises(RecipeError) as caught:
        read_space(file, load_recipe("finetune"))
    assert len(caught.value.problems) == 2


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="cannot be read"):
        read_space(tmp_path / "none.yaml", load_recipe("finetune"))


def test_the_table_has_each_setting_once() -> None:
    keys = [row.key for row in SPACE]
    assert len(keys) == len(set(keys)) and all(row.summary for row in SPACE)
