"""``tellapart recipes``: the experiments that come with tellapart."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tellapart.notebook import card
from tellapart.recipe import Recipe
from tellapart.recipe_reading import load_recipe, recipe_names, recipe_to_yaml
from tellapart.result import Rows


@dataclass(frozen=True, repr=False)
class Recipes(Rows[dict[str, Any]]):
    """What is known of all recipes, or of one."""

    #: The recipe in full, where one was asked for.
    text: str = ""

    def lines(self) -> Iterator[str]:
        """What the command prints: a line a recipe, or one in full."""
        if self.text:
            yield from self.text.rstrip().splitlines()
            return
        width = max(len(row["name"]) for row in self.rows)
        for row in self.rows:
            yield f"{row['name']:<{width}}  {row['document']:<9}  {row['title']}"

    def to_json(self) -> list[dict[str, Any]] | dict[str, Any]:
        return self.rows[0] if self.text else list(self.rows)

    def _repr_html_(self) -> str:
        if self.text:
            return card(self.rows[0]["name"], headline=self.rows[0]["title"], text=self.text)
        keys = ("name", "document", "title", "teaches")
        return card("Recipes", table=[keys, *([row[key] for key in keys] for row in self.rows)])


def recipes(name: str | None = None) -> Recipes:
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
        return Recipes(tuple(_summary(load_recipe(each)) for each in recipe_names()))
    recipe = load_recipe(name)
    total, trainable = _count(recipe)
    row = {**_summary(recipe), "total_parameters": total, "trainable_parameters": trainable}
    return Recipes((row,), recipe_to_yaml(recipe))


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
    from tellapart.models.inputs import preprocessing_of
    from tellapart.models.network import build_network, count_parameters

    preprocessing, stage = preprocessing_of(recipe), recipe.fine_tuning or recipe.training
    total, trainable = 0, 0
    for model in recipe.networks:
        network = build_network(model, recipe.num_classes, preprocessing, random_weights=True)
        if model.kind == "backbone":
            freeze(network, stage.trainable)
        counts = count_parameters(network)
        total, trainable = total + counts[0], trainable + counts[1]
    return total, trainable
