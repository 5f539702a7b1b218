"""Train by frozen features and a probe: method ``probe`` of a recipe."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tellapart.engines.features import backbone_key, extract
from tellapart.errors import RecipeError
from tellapart.models.kept import backbone_state
from tellapart.prediction.classifier import Description
from tellapart.recipe import BackboneModel, JoinedModel, Recipe
from tellapart.training.by_joined import check_joined, train_joined
from tellapart.training.outcome import Task, Trained
from tellapart.training.probe_heads import fit_head
from tellapart.training.selection import ProbeData, mean_logits


def train_by_probe(task: Task) -> Trained:
    """Every image through the frozen backbone once, then a head on its features.

    Raises:
        RecipeError: the recipe's model is no backbone with pooled features.
    """
    if isinstance(task.recipe.model, JoinedModel):
        return train_joined(task, task.recipe.model)
    model = checked_backbone(task.recipe)
    settings = task.recipe.probe
    # Prediction sees the views that the probe was fitted and scored on, whatever was asked.
    test_time: Literal["none", "flip"] = "flip" if "flip" in settings.views else "none"
    extracted = extract(
        model,
        task.preprocessing,
        task.images,
        views=settings.views,
        device=task.device,
        progress=task.progress,
    )
    features = extracted.values
    fitted = fit_head(
        ProbeData(
            features[:, task.rows["train"]],
            task.labels_of("train"),
            features[:, task.rows["validation"]],
            task.labels_of("validation"),
            task.num_classes,
            task.recipe.seed,
        ),
        settings,
        task.progress,
    )
    head = fitted.head

    def logits(rows: NDArray[np.int64]) -> NDArray[np.float32]:
        return mean_logits(head, features[:, rows])

    of_head = head.state()
    state: dict[str, NDArray[Any]] = {**backbone_state(model, task.preprocessing), **of_head}
    head_parameters = sum(value.size for value in of_head.values())
    backbone_parameters = sum(
        value.size
        for name, value in state.items()
        if name.startswith("backbone.") and not name.endswith("num_batches_tracked")
    )
    key = backbone_key(model, task.preprocessing)
    return Trained(
        state=state,
        frozen_backbone=key,
        logits=logits,
        total_parameters=backbone_parameters + head_parameters,
        trainable_parameters=head_parameters,
        features=lambda rows: features[0, rows],
        engine_name=extracted.engine_name,
        recipe=task.recipe.model_copy(update={"test_time": test_time}),
        facts=fitted.facts,
        description=Description(
            classes=task.classes,
            preprocessing=task.preprocessing,
            model=head.model(model),
            test_time=test_time,
            frozen_backbone=key,
            neighbours=settings.head == "neighbours",
        ),
    )


def check_probe(recipe: Recipe) -> None:
    """Refuse what a probe cannot be trained on; reads no image.

    Raises:
        RecipeError: the model is no pretrained backbone with pooled features, nor several.
    """
    if isinstance(recipe.model, JoinedModel):
        _require_original(recipe)
        check_joined(recipe, recipe.model)
    else:
        checked_backbone(recipe)


def checked_backbone(recipe: Recipe) -> BackboneModel:
    """The backbone of a recipe that a probe can be trained on.

    Raises:
        RecipeError: its model is no pretrained backbone with pooled features.
    """
    model = recipe.model
    if not isinstance(model, BackboneModel) or model.features != "pooled" or model.head:
        raise RecipeError(
            f"The recipe {recipe.name} has method '{recipe.method}', which needs a backbone with "
            "pooled features and no head layers; set method=fit for other networks."
        )
    if model.weights == "none":
        raise RecipeError("A probe needs a pretrained backbone; set model.weights=auto.")
    _require_original(recipe)
    return model


def _require_original(recipe: Recipe) -> None:
    if "original" not in recipe.probe.views:
        raise RecipeError("probe.views needs 'original'; 'flip' can be added to it.")
