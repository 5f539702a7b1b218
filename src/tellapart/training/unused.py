"""Settings of a recipe that change nothing, said to the user instead of being passed over."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tellapart.recipe import BackboneModel, ProbeSettings, Recipe, Section, Stage

#: What only a backbone has.
_OF_A_BACKBONE = (
    "trainable", "backbone_learning_rate_factor", "layer_decay", "gradual_unfreezing",
    "cached_views",
)  # fmt: skip


def unused_settings(recipe: Recipe) -> list[str]:
    """A sentence for each group of settings that differ from the default and have no effect.

    >>> from tellapart.recipe_reading import apply_settings, load_recipe
    >>> unused_settings(apply_settings(load_recipe("probe"), ["training.epochs=50"]))
    ['training.epochs=50 has no effect: a probe is not trained in epochs.']
    """
    if recipe.method == "auto":
        return []
    sentences: list[str] = []
    if recipe.method == "probe":
        keys = list(_changed("training", recipe.training, tuple(Stage.model_fields)))
        if recipe.fine_tuning is not None:
            keys.append("fine_tuning")
        if recipe.augmentation:
            keys.append("augmentation")
        return _sentence(keys, "a probe is not trained in epochs")
    names = tuple(ProbeSettings.model_fields)
    sentences += _sentence(
        list(_changed("probe", recipe.probe, names)), "only method=probe fits a probe"
    )
    for section, stage in (("training", recipe.training), ("fine_tuning", recipe.fine_tuning)):
        if stage is not None:
            sentences += _of_stage(section, stage, recipe)
    return sentences


def _of_stage(section: str, stage: Stage, recipe: Recipe) -> Iterator[str]:
    def unused(names: tuple[str, ...], reason: str) -> list[str]:
        return _sentence(list(_changed(section, stage, names)), reason)

    if not isinstance(recipe.model, BackboneModel):
        yield from unused(_OF_A_BACKBONE, "the network has no pretrained backbone")
    elif stage.trainable.backbone == "none":
        yield from unused(_OF_A_BACKBONE[1:4], "nothing of the backbone moves")
    if isinstance(recipe.model, BackboneModel) and stage.cached_views:
        if not recipe.augmentation and stage.cached_views > 1:  # one view is the image itself
            yield from unused(("cached_views",), "the recipe augments nothing, so all are alike")
        elif stage.trainable.backbone == "all":
            yield from unused(("cached_views",), "no part of the backbone stands still")
        elif recipe.model.weights == "none":
            yield from unused(("cached_views",), "features of random weights are not cached")
    if stage.schedule == "constant":
        yield from unused(("warmup",), "a constant learning rate has no warm-up")
    if stage.optimizer == "sgd":
        yield from unused(("epsilon",), "sgd does not divide by anything")


def _changed(section: str, settings: Section, names: tuple[str, ...]) -> Iterator[str]:
    """``section.name=value`` of the named settings that differ from their defaults."""
    for name in names:
        value: Any = getattr(settings, name)
        if value != type(settings).model_fields[name].get_default(call_default_factory=True):
            key = f"{section}.{name}"
            yield key if isinstance(value, Section | tuple) else f"{key}={value}"


def _sentence(keys: list[str], reason: str) -> list[str]:
    if not keys:
        return []
    verb = "has" if len(keys) == 1 else "have"
    return [f"{', '.join(keys)} {verb} no effect: {reason}."]
