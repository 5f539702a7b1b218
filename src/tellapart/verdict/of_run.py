"""What a run's folder says, as evidence: the only place where the verdict reads a run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tellapart.data.groups import frames_of_note
from tellapart.data.split import parts_split_off
from tellapart.data.table import PARTS
from tellapart.errors import RunError
from tellapart.evaluation.calibration import with_temperature
from tellapart.evaluation.intervals import Z
from tellapart.evaluation.leaks import WITH, WITHOUT
from tellapart.evaluation.metric_table import Metrics, metrics_from_json
from tellapart.evaluation.metrics import image_losses
from tellapart.evaluation.predictions import Predictions
from tellapart.number import Number
from tellapart.recipe import BackboneModel, DataSettings, DecisionSettings, Recipe
from tellapart.recipe_reading import load_recipe, recipe_names
from tellapart.run import Run, open_run
from tellapart.verdict.evidence import Evidence, Frames, Leak, Origin, Training

#: Recipes that actions advise and that can begin from the weights of a run.
_BEGIN_FROM_RUNS = ("finetune", "frozen-augmented")
#: Temperatures this near to 1 change nothing.
_NO_TEMPERATURE = 0.0005


def evidence_of(
    run: Run,
    metrics: Mapping[str, Metrics] | None = None,
    predictions: Mapping[str, Predictions] | None = None,
) -> Evidence | None:
    """The evidence about a run's own result; None where no image was held out.

    Args:
        metrics: of its parts, as ``metrics.json`` holds them; None: read from there.
        predictions: of its parts where they are at hand; None: read from the run.

    Raises:
        RunError: a file of the run is missing or damaged.
    """
    stored = metrics if metrics is not None else metrics_from_json(run.metrics)
    part = next((name for name in ("test", "validation") if name in stored), None)
    if part is None:
        return None
    if predictions is not None:
        shown = predictions.get(part)
    else:
        shown = run.scored_predictions(part) if part in run.parts else None
    info = run.info
    leak, of_part = _leak(run, stored, part), info.data.leaks.get(part)
    # Of the validation part only what was not taken out of its numbers.
    of_validation = _leak(run, stored, "validation")
    counted = of_validation is not None and of_validation.counted
    # The folds of a cross-validation have temperatures of their own.
    temperature = 1.0 if stored[part].cross_validated else info.temperature
    return Evidence(
        shown=stored[part],
        train=stored.get("train"),
        validation=stored.get("validation"),
        test=stored.get("test"),
        counts=info.data.counts,
        leak=leak,
        leaks_sought=of_part is not None and not of_part.not_sought,
        not_sought=of_part.not_sought if of_part is not None else "",
        validation_leak=of_validation.images if of_validation is not None and counted else 0,
        borderline=of_part.num_borderline if of_part is not None else 0,
        groups=_num_groups(shown, stored[part]),
        frames=_frames(run),
        curve=run.learning_curve,
        temperature=temperature,
        temperature_gain=temperature_gain(shown, temperature),
        uncertain=_uncertain(shown),
        training=training_of(run),
        origin=origin_of(run),
    )


def evidence_of_new_images(
    run: Run,
    metrics: Metrics,
    predictions: Predictions,
    *,
    with_seen: Metrics | None = None,
    without_seen: Metrics | None = None,
    not_sought: str = "",
    unlike: Number | None = None,
) -> Evidence:
    """The evidence about a run on images that it was not made with.

    Args:
        metrics, predictions: of these images.
        with_seen: metrics of all of them, where ``metrics`` are without those that the run was
            made with or that are near copies of such.
        without_seen: metrics without these, where ``metrics`` are of all.
        not_sought: "" or why changed copies of such images were not looked for.
        unlike: share of them that is called unknown.
    """
    stored = metrics_from_json(run.metrics)
    leak = None
    if with_seen is not None and with_seen.images > metrics.images:
        leak = Leak(images=with_seen.images - metrics.images, of=with_seen.images,
                    with_them=with_seen, without_them=metrics)  # fmt: skip
    elif without_seen is not None and metrics.images > without_seen.images:
        leak = Leak(images=metrics.images - without_seen.images, of=metrics.images,
                    with_them=metrics, without_them=without_seen, counted=True)  # fmt: skip
    return Evidence(
        shown=metrics,
        own=False,
        train=stored.get("train"),
        validation=stored.get("validation"),
        test=stored.get("test"),
        counts=run.info.data.counts,
        leak=leak,
        not_sought=not_sought,
        groups=_num_groups(predictions, metrics),
        unlike=unlike,
        temperature=run.info.temperature,
        temperature_gain=temperature_gain(predictions, run.info.temperature),
        uncertain=_uncertain(predictions),
        training=training_of(run),
        origin=origin_of(run),
    )


def _uncertain(predictions: Predictions | None) -> dict[str, int]:
    """Images of each class that are answered "uncertain"."""
    if predictions is None or predictions.abstention is None:
        return {}
    left = predictions.labels[~predictions.answered]
    return {name: int((left == i).sum()) for i, name in enumerate(predictions.classes)}


def temperature_gain(predictions: Predictions | None, temperature: float) -> Number | None:
    """By how much the temperature lowered the log loss, in nats an image, with its interval.

    A paired difference on the same images, by the normal distribution; where the images have
    groups, of the sums over groups. None where there are too few images, or the temperature is 1.
    """
    if predictions is None or abs(temperature - 1.0) < _NO_TEMPERATURE:
        return None
    scored = predictions.select(predictions.labelled)
    if len(scored) < 2:
        return None
    before, _ = image_losses(with_temperature(scored, 1.0 / temperature))
    after, _ = image_losses(scored)
    gains = before - after
    mean = float(gains.mean())
    deviations: NDArray[np.float64] = gains - mean
    if scored.groups is not None:
        member = np.unique(scored.groups, return_inverse=True)[1]
        deviations = np.bincount(member, deviations).astype(np.float64)
    units = len(deviations)
    if units < 2:
        return None
    spread = float((deviations**2).sum()) * units / (units - 1)
    half = Z * spread**0.5 / len(gains)
    return Number(mean, mean - half, mean + half, "normal")


def training_of(run: Run) -> Training:
    """How a run was trained."""
    recipe, info = run.recipe, run.info
    stages = recipe.stages
    in_epochs = recipe.method == "fit"
    pretrained = info.parent is not None or any(
        isinstance(model, BackboneModel) and model.weights != "none" for model in recipe.networks
    )
    members = recipe.ensemble.members if recipe.method == "ensemble" else ()
    moving = [*(stages if in_epochs else ())]
    for member in members:
        if member.method == "fit":
            moving += [member.training, *([member.fine_tuning] if member.fine_tuning else [])]
    moved = any(stage.trainable.backbone != "none" for stage in moving)
    history = run.history() if in_epochs else []
    settings = stages if in_epochs else [recipe.probe]
    # No command balances an ensemble: its members have settings of their own.
    balanced = bool(members) or any(
        "balanced" in (each.class_weight, each.sampler) for each in settings
    )
    trained = info.stages
    seconds = [row["seconds"] for row in history if row.get("seconds")]
    return Training(
        pretrained=pretrained,
        frozen=pretrained and not moved,
        augmented=in_epochs and bool(recipe.augmentation),
        balanced=balanced,
        in_epochs=in_epochs,
        history=tuple(history),
        kept_epoch=run.kept_epoch,
        ended_by=info.stopped or (trained[-1].stopped if trained else ""),
        interruption=run.interruption.partition("; go on")[0],
        seconds_an_epoch=seconds[-1] if seconds else None,
    )


def origin_of(run: Run) -> Origin:
    """What commands about a run are built from."""
    source, recipe, info = run.source, run.recipe, run.info
    reading = [
        *(["--group-by", source.group_by] if source.group_by else []),
        *(["--exclude", str(source.exclude)] if source.exclude else []),
        *(["--root", str(source.root)] if source.root else []),
        *(["--path-column", source.path_column] if source.path_column else []),
        *(["--label-column", source.label_column] if source.label_column else []),
        *(["--min-images", str(source.min_images)] if source.min_images else []),
        *(["--ignore-unknown"] if source.ignore_unknown else []),
    ]
    usual, data = DataSettings(), recipe.data
    settings: dict[str, Any] = {
        f"data.{part}_folders": list(getattr(source, part))
        for part in PARTS if getattr(source, part)
    }  # fmt: skip
    if source.classes:
        settings["data.classes"] = list(source.classes)
    for name in ("validation", "test", "fit"):
        if getattr(data, name) != getattr(usual, name):
            settings[f"data.{name}"] = getattr(data, name)
    if recipe.seed:
        settings["seed"] = recipe.seed
    dividing = [
        word for key, value in settings.items() for word in ("--set", f"{key}={json.dumps(value)}")
    ]
    number = data.cross_validate
    folds = [] if number is None else ["--cross-validate", str(number)]
    split_off = parts_split_off(info.data.notes)
    there = {part for part in PARTS if sum(info.data.counts.get(part, {}).values())}
    given = there - {*split_off, *(["train"] if split_off else [])}
    return Origin(
        run=str(run.home),
        folder=str(source.folder),
        reading=tuple(reading),
        dividing=(*dividing, *folds, *_looked_for(recipe.decision)),
        recipe=_recipe_named(run, recipe),
        started_from=info.parent or "",
        started_elsewhere=_started_elsewhere(run),
        fits=frozenset(name for name in _BEGIN_FROM_RUNS if _has_weights_of(name, recipe)),
        given_parts=frozenset(given),
        group_by=source.group_by or "",
    )


def _looked_for(decision: DecisionSettings) -> list[str]:
    """The class that is looked for and what missing it costs, as options."""
    words = [] if decision.positive is None else ["--positive", decision.positive]
    return words if decision.cost_miss is None else [*words, "--cost-miss", str(decision.cost_miss)]


def _recipe_named(run: Run, recipe: Recipe) -> str:
    """The name of the recipe where it is one that comes with tellapart, else the run's file."""
    if recipe.name in recipe_names():
        known = load_recipe(recipe.name)
        size = recipe.data.image_size if recipe.method != "auto" else known.data.image_size
        same = {
            "data": known.data, "seed": known.seed, "num_classes": known.num_classes,
            "decision": known.decision, "time_limit_seconds": known.time_limit_seconds,
            "test_time": known.test_time if recipe.method != "fit" else recipe.test_time,
        }  # fmt: skip
        if recipe.model_copy(update=same) == known and size == known.data.image_size:
            return recipe.name
    return str(run.home / "recipe.yaml")


def _started_elsewhere(run: Run) -> bool:
    """The run that this one began from is there and learned from another folder."""
    if run.info.parent is None:
        return False
    try:
        return Path(open_run(run.info.parent).source.folder) != Path(run.source.folder)
    except RunError:
        return False


def _has_weights_of(name: str, recipe: Recipe) -> bool:
    """Whether a recipe that comes with tellapart builds the network that a run was trained with.

    A probe's network has no place for what BatchNorm learns, so that nothing goes on from it.
    """
    model, other = recipe.model, load_recipe(name).model
    if recipe.method != "fit" or not (
        isinstance(model, BackboneModel) and isinstance(other, BackboneModel)
    ):
        return False
    return _with_weights(model) == _with_weights(other)


def _with_weights(model: BackboneModel) -> BackboneModel:
    """The model without what has no weights or is only where they come from."""
    head = tuple(layer for layer in model.head if layer.layer != "dropout")
    return model.model_copy(update={"head": head, "weights": "none", "output_l2": 0.0})


def _num_groups(predictions: Predictions | None, metrics: Metrics) -> int | None:
    """Groups among the images that the metrics are of; None where each stands alone."""
    if predictions is None or predictions.groups is None:
        return None
    scored = predictions.select(predictions.labelled)
    if len(scored) != metrics.images or scored.groups is None:
        return None
    return len(np.unique(scored.groups))


def _frames(run: Run) -> Frames | None:
    if run.source.group_by:
        return None
    found = frames_of_note([*run.info.data.notes, *run.info.data.audit])
    return None if found is None else Frames(images=found[0], of=found[1], group_by=found[2])


def _leak(run: Run, stored: Mapping[str, Metrics], part: str) -> Leak | None:
    """The leak of a part, as its metrics with and without the leaked images say."""
    shown = stored.get(part)
    everything, clean = stored.get(f"{part}{WITH}"), stored.get(f"{part}{WITHOUT}")
    counted = clean is not None
    if counted:
        everything = shown
    else:
        clean = shown
    if everything is None or clean is None or everything.images <= clean.images:
        return None
    told = run.info.data.leaks.get(part)
    leaked = everything.images - clean.images
    kinds = {} if told is None or told.leaked != leaked else {
        "copies": told.copies, "near": told.near
    }  # fmt: skip
    return Leak(
        images=leaked, of=everything.images, with_them=everything,
        without_them=clean if clean.images else None, counted=counted, **kinds,
    )  # fmt: skip
