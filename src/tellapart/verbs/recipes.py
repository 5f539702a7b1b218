"""``tellapart recipes``: the experiments that come with tellapart."""

from __future__ import annotations

from typing import Any

from tellapart.recipe import Recipe
from tellapart.recipe_reading import load_recipe, recipe_names, recipe_to_yaml


def recipes(name: str | None = None) -> list[dict[str, Any]]:
    """What is known of all recipes, or of one.

    With a name, its network is built (with random weights) to count its parameters.

    Returns:
        One mapping a recipe: name, document, title, teaches, differs, image_size,
        num_classes, reported, measured; for one recipe also total_parameters and
        trainable_parameters.

    Raises:
        RecipeError: there is no such recipe.
    """
    if name is None:
        return [_summary(load_recipe(each)) for each in recipe_names()]
    recipe = load_recipe(name)
    total, trainable = _count(recipe)
    return [
        {**_summary(recipe), "total_parameters": total, "trainable_parameters": trainable}
    ]


def recipe_text(name: str) -> str:
    """A recipe in full, as YAML."""
    return recipe_to_yaml(load_recipe(name))


def _summary(recipe: Recipe) -> dict[str, Any]:
    data = recipe.model_dump(mode="json")
    keys = ("name", "document", "title", "teaches", "differs", "num_classes", "reported")
    return {
        **{key: data[key] for key in keys},
        "image_size": data["data"]["image_size"],
        "measured": data["measured"],
    }


def _count(recipe: Recipe) -> tuple[int, int]:
    from tellapart.models.freezing import freeze
    from tellapart.models.inputs import preprocessing_for
    from tellapart.models.network import build_network, count_parameters

    preprocessing = preprocessing_for(recipe.model, recipe.data)
    network = build_network(
        recipe.model, recipe.num_classes, preprocessing, random_weights=True
    )
    stage = recipe.fine_tuning or recipe.training
    if recipe.model.kind == "backbone":
        freeze(network, stage.trainable)
    return count_parameters(network)
