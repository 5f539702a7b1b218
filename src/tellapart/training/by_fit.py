"""Train by gradient descent: method ``fit`` of a recipe, one stage or two.

What stands still of a backbone (all of it, or the layers before the first that moves) runs
once, over the images or over a number of augmented views of each; what moves is trained on
the outcome. Any other stage trains on the images themselves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import nn

from tellapart.engines.features import backbone_key, extract_features, extract_views
from tellapart.errors import RunError
from tellapart.models.backbone import Backbone
from tellapart.models.cut import Tail, cut_backbone, cut_point
from tellapart.models.freezing import describe_trainable, freeze
from tellapart.models.memory_format import quick_memory_format
from tellapart.models.network import Network, build_network, count_parameters
from tellapart.pixels.augmentation import build_augmentation
from tellapart.recipe import BackboneModel, JoinedModel, Recipe, TrainingStage
from tellapart.training.callbacks import HistoryFile, TensorBoardLog
from tellapart.training.checkpoint import load_checkpoint
from tellapart.training.fit import Arrays, FitResult, fit
from tellapart.training.outcome import Task, Trained
from tellapart.training.position import INTERRUPTED, Position, Stopped


def train_by_fit(task: Task) -> Trained:
    """Train the recipe's network; the weights handed on are those of the best epoch.

    Raises:
        RecipeError: the network does not go with the images or with a stage.
        TrainingError: a sentinel found that the result would be nonsense.
    """
    recipe = task.recipe
    if isinstance(recipe.model, JoinedModel):
        raise ValueError("several backbones side by side are not trained in epochs")
    torch.manual_seed(recipe.seed)
    network = build_network(
        recipe.model,
        task.num_classes,
        task.preprocessing,
        random_weights=task.start_state is not None,
    )
    if task.start_state is not None:
        _load_state(network, task.start_state)
    stages = recipe.stages
    history: list[Mapping[str, float]] = []
    notes: list[str] = []
    facts: dict[str, Any] = {"stages": []}
    stopped: Stopped | None = None
    counts = (0, 0)
    for number, stage in enumerate(stages, start=1):
        freeze(network, stage.trainable)
        counts = count_parameters(network)
        if isinstance(recipe.model, BackboneModel):
            text = describe_trainable(network).text()
            notes.append(f"Stage {number}: " + text.replace("\n", "; "))
            task.progress.note(text)
        kept = _copy(network) if number > 1 else {}
        try:
            result = _run_stage(network, task, stage, number, history)
        except KeyboardInterrupt:
            if number == 1:
                raise  # there is nothing to keep
            network.load_state_dict(kept)
            stopped = Stopped(INTERRUPTED, 0, stage.epochs, number, len(stages))
            facts["stages"].append(
                {"best_epoch": 0, "last_epoch": 0, "stopped": INTERRUPTED,
                 "target_epochs": stage.epochs}
            )  # fmt: skip
            break
        history += [{"stage": float(number), **row} for row in result.history]
        notes += result.notes
        facts["stages"].append(
            {
                "best_epoch": result.best_epoch,
                "last_epoch": result.last_epoch,
                "stopped": result.stopped.reason if result.stopped else "",
                "total_parameters": counts[0],
                "trainable_parameters": counts[1],
                **result.facts,
            }
        )
        if result.stopped is not None and not result.stopped.as_planned:
            stopped = replace(result.stopped, stage=number, num_stages=len(stages))
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
        stopped=stopped,
    )


def _run_stage(
    network: Network,
    task: Task,
    stage: TrainingStage,
    number: int,
    earlier: Sequence[Mapping[str, float]],
) -> FitResult:
    """One stage: on features of what stands still, computed once, else on the images.

    ``earlier`` are the rows of the stages before it.
    """
    recipe = task.recipe
    checkpoint = stage_folder(task.checkpoint_folder, number) if task.checkpoint_folder else None
    augmentation = build_augmentation(recipe.augmentation) if recipe.augmentation else None
    still = _still_part(network, task, stage, augmentation is not None)
    if still is not None:
        module, until = still
        train, validation = _feature_arrays(task, stage, until)
        augmentation = None
    else:
        module = network
        train, validation = (
            Arrays(task.images.pixels, task.labels_of(part), task.rows[part])
            for part in ("train", "validation")
        )
    callbacks = list(task.callbacks)
    if task.tensorboard_folder is not None:
        callbacks.append(TensorBoardLog(task.tensorboard_folder))
    file = HistoryFile(task.history_file, number, earlier) if task.history_file else None
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
        callbacks=[*([file] if file else []), *callbacks],
        time_limit_seconds=None if task.deadline is None else task.deadline - perf_counter(),
        extend=task.extend if number == len(recipe.stages) else 0,
        keep_last=task.keep_last,
    )
    if file is not None:  # a training that was cut off just before its last row has it now
        file.end_epoch(result.history)
    module.load_state_dict(result.best_state)
    return result


def _copy(network: Network) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in network.state_dict().items()}


def is_unfinished(recipe: Recipe, checkpoint_folder: Path) -> bool:
    """Whether the last stage's checkpoint stands before its last epoch."""
    saved = load_checkpoint(stage_folder(checkpoint_folder, len(recipe.stages)))
    if saved is None:
        return False
    at = Position(**saved[1]["position"])
    return at.epoch < at.target_epochs and not at.stopped


def stage_folder(checkpoint_folder: Path, number: int) -> Path:
    """Where the checkpoint of a stage is, counted from 1."""
    return checkpoint_folder / f"stage-{number}"


def _still_part(
    network: Network, task: Task, stage: TrainingStage, augmented: bool
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
    memory_format = quick_memory_format(cut.moving, task.device)
    tail = Tail(cut.moving, network.head, memory_format)
    return tail.to(memory_format=memory_format), at


def _feature_arrays(task: Task, stage: TrainingStage, until: str) -> tuple[Arrays, Arrays]:
    """Features of the still part: of augmented views to train on, plain to choose by."""
    model = task.recipe.model
    if not isinstance(model, BackboneModel):
        raise TypeError("only a pretrained backbone has features to cache")
    plain = extract_features(
        model,
        task.preprocessing,
        task.images,
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
        task.images,
        task.recipe.augmentation,
        views=stage.cached_views,
        rows=task.rows["train"],
        seed=task.recipe.seed,
        until=until,
        device=task.device,
        progress=task.progress,
    )
    return Arrays(views, task.labels_of("train")), validation


def _frozen_key(task: Task, stages: Sequence[TrainingStage]) -> str:
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
