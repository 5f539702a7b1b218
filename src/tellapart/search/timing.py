"""How long a training step takes here: measured on a few batches before epochs are counted out."""

from __future__ import annotations

from typing import Any

from tellapart.errors import RecipeError
from tellapart.recipe import JoinedModel, Trainable
from tellapart.training.outcome import Task

#: Batches an epoch, and epochs, of which the quickest counts: the first ones warm up.
_BATCHES, _EPOCHS = 2, 3


def seconds_an_image(task: Task) -> float:
    """Seconds that a step of the last stage takes for each of its images, at their full size.

    All layers move, also where the stage leaves some still: what a training of some costs is
    counted as a share of this. A stage before it trains a head on features, for next to nothing.

    Raises:
        TellapartError: the recipe cannot be trained on these images.
    """
    from tellapart.models.freezing import freeze
    from tellapart.models.network import build_network
    from tellapart.pixels.augmentation import build_augmentation
    from tellapart.training.batches import Arrays
    from tellapart.training.fit import fit

    recipe = task.recipe
    if isinstance(recipe.model, JoinedModel):
        raise RecipeError("A joined backbone is not trained in epochs.")
    network = build_network(recipe.model, task.num_classes, task.preprocessing)
    stage = recipe.stages[-1]
    trainable = Trainable(batch_norm=stage.trainable.batch_norm)
    freeze(network, trainable)
    rows = task.rows["train"][: _BATCHES * stage.batch_size]
    few = task.rows["validation"][:4] if len(task.rows["validation"]) else rows[:4]
    changes: dict[str, Any] = {
        "epochs": _EPOCHS,
        "progressive_resizing": None,
        "early_stopping": None,
        "ema_decay": None,
        "trainable": trainable,
        "cached_views": 0,
    }
    found = fit(
        network,
        Arrays(task.images.pixels, task.labels[rows], rows),
        Arrays(task.images.pixels, task.labels[few], few),
        stage.model_copy(update=changes),
        augmentation=build_augmentation(recipe.augmentation) if recipe.augmentation else None,
        num_classes=task.num_classes,
        seed=recipe.seed,
        device=task.device,
    )
    return min(row["seconds"] for row in found.history) / len(rows)
