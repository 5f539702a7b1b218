"""Train by frozen features and a probe: method ``probe`` of a recipe."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tellapart.engines.features import backbone_key, extract, quantise_backbone
from tellapart.engines.int8 import Int8Network, require_int8
from tellapart.engines.quantise import CALIBRATION_IMAGES
from tellapart.errors import RecipeError
from tellapart.models.kept import backbone_state
from tellapart.prediction.classifier import INT8_NETWORK, Description
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
    int8 = _in_int8(task, model) if settings.precision == "int8" else None
    extracted = extract(
        model,
        task.preprocessing,
        task.images,
        views=settings.views,
        int8=int8,
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
    if int8 is not None:
        state[INT8_NETWORK] = np.frombuffer(int8.content, np.uint8)
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
            precision=settings.precision,
        ),
    )


def _in_int8(task: Task, model: BackboneModel) -> Int8Network:
    """The backbone in int8, its ranges from training images that the seed draws."""
    rows = task.rows["train"]
    if len(rows) > CALIBRATION_IMAGES:
        rows = np.random.default_rng(task.recipe.seed).choice(
            rows, CALIBRATION_IMAGES, replace=False
        )
    pixels = np.asarray(task.images.pixels[np.sort(rows)])
    return quantise_backbone(model, task.preprocessing, pixels, progress=task.progress)


def check_probe(recipe: Recipe) -> None:
    """Refuse what a probe cannot be trained on; reads no image.

    Raises:
        RecipeError: the model is no pretrained backbone with pooled features, nor several.
    """
    if recipe.probe.precision == "int8":
        _check_int8(recipe)
    if isinstance(recipe.model, JoinedModel):
        _require_original(recipe)
        check_joined(recipe, recipe.model)
    else:
        checked_backbone(recipe)


def _check_int8(recipe: Recipe) -> None:
    """Int8 is made of the images that train one probe, and of no others.

    Raises:
        RecipeError: there would be more than one.
        MissingPackageError: a package is missing.
    """
    if isinstance(recipe.model, JoinedModel):
        raise RecipeError(
            "probe.precision=int8 goes with one backbone, not with several side by side "
            "(model.kind=joined); set probe.precision=auto."
        )
    if recipe.data.cross_validate is not None:
        raise RecipeError(
            "probe.precision=int8 takes its ranges from the training images, and each fold of a "
            "cross-validation has others; set probe.precision=auto, or leave --cross-validate out."
        )
    require_int8(to_make=True)


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
