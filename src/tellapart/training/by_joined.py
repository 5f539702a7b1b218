"""Train several frozen backbones side by side: their features in a row, one probe on all."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tellapart.data.pixels import prepared_otherwise
from tellapart.engines.features import backbone_key, extract
from tellapart.errors import RecipeError
from tellapart.models.feature_heads import LinearHead
from tellapart.models.inputs import joined_inputs
from tellapart.models.kept import backbone_state
from tellapart.prediction.classifier import Description
from tellapart.prediction.joint import join
from tellapart.recipe import JoinedModel, Recipe
from tellapart.training.outcome import Task, Trained
from tellapart.training.probe_heads import HEADS, fit_head
from tellapart.training.selection import ProbeData, mean_logits


def train_joined(task: Task, model: JoinedModel) -> Trained:
    """Every image through each backbone once, by its own preprocessing, then one linear head.

    The head is a sum of one linear layer a backbone, which is how it is stored: as classifiers
    whose logits add up.
    """
    settings = task.recipe.probe
    test_time: Literal["none", "flip"] = "flip" if "flip" in settings.views else "none"
    inputs = joined_inputs(model, task.recipe.data)
    found = [
        extract(
            backbone,
            preprocessing,
            prepared_otherwise(task.images, preprocessing, progress=task.progress),
            views=settings.views,
            device=task.device,
            progress=task.progress,
        )
        for backbone, preprocessing in inputs
    ]
    features = [extracted.values for extracted in found]
    train, validation = task.rows["train"], task.rows["validation"]

    def joined(rows: NDArray[np.int64]) -> NDArray[np.float32]:
        return np.concatenate([values[:, rows] for values in features], axis=2)

    fitted = fit_head(
        ProbeData(
            joined(train), task.labels_of("train"),
            joined(validation), task.labels_of("validation"),
            task.num_classes, task.recipe.seed,
        ),
        settings,
        task.progress,
    )  # fmt: skip
    heads = _divided(fitted.head, [values.shape[2] for values in features])

    def logits(rows: NDArray[np.int64]) -> NDArray[np.float32]:
        parts = [mean_logits(h, v[:, rows]) for h, v in zip(heads, features, strict=True)]
        total: NDArray[np.float32] = np.sum(parts, axis=0, dtype=np.float32)
        return total

    members = []
    for (backbone, preprocessing), head in zip(inputs, heads, strict=True):
        described = Description(
            classes=task.classes, preprocessing=preprocessing, model=backbone,
            test_time=test_time, frozen_backbone=backbone_key(backbone, preprocessing),
        )  # fmt: skip
        members.append(({**backbone_state(backbone, preprocessing), **head.state()}, described))
    spread = [_spread(h, v[0, train]) for h, v in zip(heads, features, strict=True)]
    state, description = join(members, "sum", spread if sum(spread) else [1.0] * len(spread))
    heaviest = description.heaviest
    head_parameters = sum(head.weight.size for head in heads) + task.num_classes
    return Trained(
        state=state,
        frozen_backbone="",
        logits=logits,
        total_parameters=_backbone_parameters(state) + head_parameters,
        trainable_parameters=head_parameters,
        features=lambda rows: features[heaviest][0, rows],
        engine_name=found[heaviest].engine_name,
        description=description,
        recipe=task.recipe.model_copy(update={"test_time": test_time}),
        facts={
            **fitted.facts,
            "members": [
                {"backbone": member.backbone, "share_of_logits": round(weight, 4)}
                for member, weight in zip(model.members, description.weights, strict=True)
            ],
        },
    )


def check_joined(recipe: Recipe, model: JoinedModel) -> None:
    """Refuse what cannot stand side by side; reads no image.

    Raises:
        RecipeError: a member has no pretrained weights, or the head is not linear.
    """
    if any(member.weights == "none" for member in model.members):
        raise RecipeError("A probe needs pretrained backbones; set weights: auto in every member.")
    if not HEADS[recipe.probe.head].is_linear:
        linear = [row.name for row in HEADS.values() if row.is_linear]
        raise RecipeError(
            f"probe.head={recipe.probe.head} stands on one backbone; with model.kind=joined set "
            f"probe.head to {' or '.join(linear)}."
        )


def _divided(head: Any, widths: list[int]) -> list[LinearHead]:
    """A linear head for each backbone; the first has all of the bias."""
    weights = np.split(head.weight, np.cumsum(widths)[:-1], axis=1)
    none = np.zeros_like(head.bias)
    return [
        LinearHead(np.ascontiguousarray(weight), none if number else head.bias)
        for number, weight in enumerate(weights)
    ]


def _spread(head: LinearHead, features: NDArray[np.float32]) -> float:
    """How far a member's logits of train images vary, beyond what all classes have in common."""
    logits = head.logits(features).astype(np.float64)
    apart = logits - logits.mean(axis=1, keepdims=True)
    return float(apart.var(axis=0).sum())


def _backbone_parameters(state: dict[str, NDArray[Any]]) -> int:
    return sum(
        value.size
        for name, value in state.items()
        if name.partition(".")[2].startswith("backbone.")
        and not name.endswith("num_batches_tracked")
    )
