"""Train by gradient descent: method ``fit`` of a recipe, one stage or two.

What stands still of a backbone (all of it, or the layers before the first that moves) runs
once, over the images or over a number of augmented views of each; what moves is trained on
the outcome. Any other stage trains on the images themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from tellapart.engines.features import backbone_key, extract_features, extract_views
from tellapart.errors import RunError
from tellapart.files import write_text
from tellapart.models.backbone import Backbone
from tellapart.models.cut import Tail, cut_backbone, cut_point
from tellapart.models.freezing import describe_trainable, freeze
from tellapart.models.network import Network, build_network, count_parameters
from tellapart.pixels.augmentation import build_augmentation
from tellapart.recipe import BackboneModel, Recipe, Stage
from tellapart.training.fit import Arrays, FitResult, fit
from tellapart.training.outcome import Task, Trained


def train_by_fit(task: Task) -> Trained:
    """Train the recipe's network; the weights handed on are those of the best epoch.

    Raises:
        RecipeError: the network does not go with the images or with a stage.
        TrainingError: a sentinel found that the result would be nonsense.
    """
    recipe = task.recipe
    torch.manual_seed(recipe.seed)
    network = build_network(
        recipe.model,
        task.num_classes,
        task.preprocessing,
        random_weights=task.start_state is not None,
    )
    if task.start_state is not None:
        _load_state(network, task.start_state)
    stages = _stages(recipe)
    history: list[dict[str, float]] = []
    notes: list[str] = []
    facts: dict[str, Any] = {"stages": []}
    stopped = ""
    counts = (0, 0)
    for number, stage in enumerate(stages, start=1):
        freeze(network, stage.trainable)
        counts = count_parameters(network)
        if isinstance(recipe.model, BackboneModel):
            text = describe_trainable(network).text()
            notes.append(f"Stage {number}: " + text.replace("\n", "; "))
            task.progress.note(text)
        result = _run_stage(network, task, stage, number)
        history += [{"stage": float(number), **row} for row in result.history]
        facts["stages"].append(
            {
                "best_epoch": result.best_epoch,
                "last_epoch": result.last_epoch,
                "stopped": result.stopped,
                "total_parameters": counts[0],
                "trainable_parameters": counts[1],
                **result.facts,
            }
        )
        stopped = result.stopped
        if task.history_file is not None:
            write_history(task.history_file, history)
        if stopped == "interrupted":
            break
    state = {name: value.detach().cpu().numpy() for name, value in network.state_dict().items()}
    return Trained(
        state=state,
        frozen_backbone=_frozen_key(task, stages),
        logits=None,
        total_parameters=counts[0],
        trainable_parameters=counts[1],
        history=history,
        facts=facts,
        notes=notes,
        stopped="interrupted" if stopped == "interrupted" else "",
    )


def _run_stage(network: Network, task: Task, stage: Stage, number: int) -> FitResult:
    """One stage: on features of what stands still, computed once, else on the images."""
    recipe = task.recipe
    checkpoint = task.checkpoint_folder / f"stage-{number}" if task.checkpoint_folder else None
    augmentation = build_augmentation(recipe.augmentation) if recipe.augmentation else None
    still = _still_part(network, task, stage, augmentation is not None)
    if still is not None:
        module, until = still
        train, validation = _feature_arrays(task, stage, until)
        augmentation = None
    else:
        module = network
        train, validation = (
            Arrays(task.cache.pixels, task.labels_of(part), task.rows[part])
            for part in ("train", "validation")
        )
    result = fit(
        module,
        train,
        validation,
        stage,
        augmentation=augmentation,
        num_classes=task.num_classes,
        seed=recipe.seed + 1000 * (number - 1),
        device=task.device,
        checkpoint_folder=checkpoint,
        progress=task.progress,
        tensorboard_folder=task.tensorboard_folder,
        extend=task.extend if number == len(_stages(recipe)) else 0,
    )
    module.load_state_dict(result.best_state)
    return result


def _stages(recipe: Recipe) -> list[Stage]:
    return [recipe.training, *([recipe.fine_tuning] if recipe.fine_tuning else [])]


def _still_part(
    network: Network, task: Task, stage: Stage, augmented: bool
) -> tuple[nn.Module, str] | None:
    """What moves on features that are computed once, and where the still part ends.

    None: every epoch runs the whole network, because all of it moves, because each epoch
    has augmented images of its own, or because no file names its weights, by which
    features are cached.
    """
    model = task.recipe.model
    if not isinstance(model, BackboneModel) or not isinstance(network.backbone, Backbone):
        return None
    if model.weights == "none" or task.start_state is not None:
        return None
    if augmented and not stage.cached_views:
        return None
    if stage.trainable.backbone == "none":
        return network.head, ""
    at = cut_point(network.backbone, stage.trainable)
    size = (task.preprocessing.height, task.preprocessing.width)
    cut = cut_backbone(network.backbone, at, *size) if at else None
    if cut is None:
        return None
    tail = Tail(cut.moving, network.head)
    return tail.to(memory_format=torch.channels_last), at


def _feature_arrays(task: Task, stage: Stage, until: str) -> tuple[Arrays, Arrays]:
    """Features of the still part: of augmented views to train on, plain to choose by."""
    model = task.recipe.model
    if not isinstance(model, BackboneModel):
        raise TypeError("only a pretrained backbone has features to cache")
    plain = extract_features(
        model,
        task.preprocessing,
        task.cache,
        until=until,
        device=task.device,
        progress=task.progress,
    )[0]
    validation = Arrays(plain, task.labels_of("validation"), task.rows["validation"])
    if not (stage.cached_views and task.recipe.augmentation):
        return Arrays(plain, task.labels_of("train"), task.rows["train"]), validation
    views = extract_views(
        model,
        task.preprocessing,
        task.cache,
        task.recipe.augmentation,
        views=stage.cached_views,
        rows=task.rows["train"],
        seed=task.recipe.seed,
        until=until,
        device=task.device,
        progress=task.progress,
    )
    return Arrays(views, task.labels_of("train")), validation


def _frozen_key(task: Task, stages: list[Stage]) -> str:
    """The key of the shared backbone engine where nothing of the backbone ever moved."""
    model = task.recipe.model
    if not isinstance(model, BackboneModel) or model.features != "pooled" or model.head:
        return ""
    if model.weights == "none" or task.start_state is not None:
        return ""
    if any(s.trainable.backbone != "none" for s in stages):
        return ""
    return backbone_key(model, task.preprocessing)


def _load_state(network: Network, state: Mapping[str, np.ndarray[Any, Any]]) -> None:
    own = network.state_dict()
    wrong = [
        name
        for name in own.keys() | state.keys()
        if name not in own or name not in state or tuple(own[name].shape) != state[name].shape
    ]
    if wrong:
        raise RunError(
            f"The run to start from has another network: {len(wrong)} of its weights do not "
            f"fit, first '{sorted(wrong)[0]}'; use the same model, classes and head."
        )
    network.load_state_dict({name: torch.from_numpy(value) for name, value in state.items()})


def write_history(path: Path, history: list[dict[str, float]]) -> None:
    """Write a row an epoch, all stages one after the other."""
    columns = list(dict.fromkeys(key for row in history for key in row))
    lines = [",".join(columns)]
    for row in history:
        lines.append(",".join(_text(row.get(column)) for column in columns))
    write_text(path, "\n".join(lines) + "\n")


def _text(value: float | None) -> str:
    if value is None:
        return ""
    return str(int(value)) if float(value).is_integer() and abs(value) < 1e15 else repr(value)
