"""Settings of a recipe that change nothing, said to the user instead of being passed over."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tellapart.models.inputs import recipe_of_member
from tellapart.recipe import (
    BackboneModel,
    EnsembleSettings,
    ProbeSettings,
    Recipe,
    Section,
    TrainingStage,
)
from tellapart.training.optimizers import OPTIMIZERS
from tellapart.training.probe_heads import HEADS
from tellapart.training.schedules import SCHEDULES
from tellapart.training.ways import way_of


def unused_settings(recipe: Recipe) -> list[str]:
    """A sentence for each group of settings that differ from the default and have no effect.

    >>> from tellapart.recipe_reading import apply_settings, load_recipe
    >>> unused_settings(apply_settings(load_recipe("probe"), ["training.epochs=50"]))
    ['training.epochs=50 has no effect: a probe is not trained in epochs.']
    """
    if recipe.method == "ensemble":
        return _unused_of_ensemble(recipe)
    if recipe.ensemble.members:
        return [
            *_sentence(["ensemble"], "only method=ensemble has members"),
            *unused_settings(recipe.model_copy(update={"ensemble": EnsembleSettings()})),
        ]
    if not way_of(recipe).trains_in_epochs:
        keys = list(_changed("training", recipe.training, tuple(TrainingStage.model_fields)))
        keys += ["fine_tuning"] if recipe.fine_tuning is not None else []
        keys += ["augmentation"] if recipe.augmentation else []
        reason = "a probe is not trained in epochs"
        if recipe.method == "auto":
            reason = f"method auto trains a probe, and {reason}; method=fit is"
        return _sentence(keys, reason) + _unused_of_probe(recipe.probe)
    keys = list(_changed("probe", recipe.probe, tuple(ProbeSettings.model_fields)))
    sentences = _sentence(keys, "only method=probe fits a probe")
    for section, stage in (("training", recipe.training), ("fine_tuning", recipe.fine_tuning)):
        if stage is not None:
            for names, reason in _unused_of_stage(stage, recipe):
                sentences += _sentence(list(_changed(section, stage, names)), reason)
    return sentences


def _unused_of_ensemble(recipe: Recipe) -> list[str]:
    """Settings beside the members, which have their own; and those of members."""
    keys = [
        name
        for name in ("augmentation", "model", "training", "fine_tuning", "probe", "test_time")
        if getattr(recipe, name) != Recipe.model_fields[name].get_default()
    ]
    sentences = _sentence(keys, "the members of an ensemble have settings of their own")
    for member in recipe.ensemble.members:
        own = unused_settings(recipe_of_member(recipe, member))
        sentences += [f"{member.name}: {sentence}" for sentence in own]
    return sentences


def _unused_of_stage(stage: TrainingStage, recipe: Recipe) -> Iterator[tuple[tuple[str, ...], str]]:
    """Names of settings, whether they are set or not, and why they have no effect."""
    if not isinstance(recipe.model, BackboneModel):
        yield ("trainable", "cached_views"), "the network has no pretrained backbone"
    else:
        if stage.trainable.backbone == "none":
            names = ("backbone_learning_rate_factor", "layer_decay", "gradual_unfreezing")
            yield names, "nothing of the backbone moves"
        if not recipe.augmentation and stage.cached_views > 1:  # one view is the image itself
            yield ("cached_views",), "the recipe augments nothing, so all are alike"
        elif stage.trainable.backbone == "all":
            yield ("cached_views",), "no part of the backbone stands still"
        elif recipe.model.weights == "none":
            yield ("cached_views",), "features of random weights are not cached"
    if not SCHEDULES[stage.schedule].has_warmup:
        yield ("warmup",), f"a {stage.schedule} learning rate has no warm-up"
    if not OPTIMIZERS[stage.optimizer].takes_epsilon:
        yield ("epsilon",), f"{stage.optimizer} does not divide by anything"


def _unused_of_probe(probe: ProbeSettings) -> list[str]:
    """Settings of heads that the probe does not have."""
    sentences = []
    for row in HEADS.values():
        if row.name != probe.head:
            keys = list(_changed("probe", probe, row.settings))
            sentences += _sentence(keys, f"only probe.head={row.name} reads it")
    if probe.sampler == "balanced" and probe.head != "network":
        reason = f"probe.head={probe.head} sees all images at once; set probe.class_weight=balanced"
        sentences += _sentence(["probe.sampler=balanced"], reason)
    return sentences


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
