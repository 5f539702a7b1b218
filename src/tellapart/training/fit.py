"""Gradient descent: the one training loop.

Accelerate brings the device, several processes and their sums; everything that differs
between recipes is data (``Stage``) or a callback. Each epoch draws its random numbers from
a seed of its own, so a training that was killed and resumed ends with the same numbers.
The best epoch is the one with the strictly lowest validation loss; its weights are what
``fit`` returns.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor, nn

from tellapart.machine import keep_memory
from tellapart.models.network import l2_penalty
from tellapart.pixels.augmentation import Augmentation
from tellapart.progress import SILENT, Progress
from tellapart.progress import Stage as ProgressStage
from tellapart.recipe import Stage
from tellapart.training.batches import Arrays, ordered_plan
from tellapart.training.callbacks import Callback, build_callbacks, summary
from tellapart.training.mixing import mix
from tellapart.training.objective import cross_entropy, predicted_classes
from tellapart.training.optimizers import set_learning_rate
from tellapart.training.parts import Parts, build_accelerator, require_images
from tellapart.training.resizing import shrink
from tellapart.training.schedules import schedule_factor
from tellapart.training.sentinels import check_finite
from tellapart.training.sums import EpochSums

__all__ = ["Arrays", "FitResult", "fit"]

#: Images in a batch of evaluation.
EVALUATION_BATCH_SIZE = 256
#: How often the display, a time limit and a broken loss are looked at, in seconds.
LOOK_SECONDS = 0.5

EARLY_STOPPING, INTERRUPTED, TIME_LIMIT = "early stopping", "interrupted", "time limit"


@dataclass(frozen=True)
class FitResult:
    """What a training leaves behind."""

    #: Weights of the best epoch, on the CPU, by their names in the network.
    best_state: Mapping[str, Tensor]
    best_epoch: int
    last_epoch: int
    #: A row an epoch; the columns are ``callbacks.COLUMNS``.
    history: Sequence[Mapping[str, float]]
    #: "" if all epochs were done, else "early stopping", "interrupted" or "time limit".
    stopped: str
    #: Training and validation, over all resumed parts.
    seconds: float
    #: device, precision, processes, images a second: what the speed depends on.
    facts: Mapping[str, Any]


def fit(
    network: nn.Module,
    train: Arrays,
    validation: Arrays,
    stage: Stage,
    *,
    num_classes: int,
    augmentation: Augmentation | None = None,
    seed: int = 0,
    device: str = "auto",
    checkpoint_folder: Path | None = None,
    progress: Progress = SILENT,
    history_file: Path | None = None,
    tensorboard_folder: Path | None = None,
    time_limit_seconds: float | None = None,
    extend: int = 0,
) -> FitResult:
    """Train a network; afterwards it has the weights of its best epoch.

    Args:
        network: float inputs to logits (N, C), or (N, 1) for one sigmoid output. For images
            a ``Network`` (0..255 in); for features whatever stands on them, such as its head.
        train: augmented, shuffled anew each epoch.
        validation: never augmented; chooses the epoch.
        stage: every setting of the training.
        num_classes: number of classes, also with one sigmoid output.
        augmentation: random transforms of the training images.
        seed: of shuffling, augmentation, mixing and dropout.
        device: "auto" takes a GPU if there is one; or "cpu", "cuda", "mps", "xpu". Which
            GPU of several is for CUDA_VISIBLE_DEVICES or ``accelerate launch`` to say.
        checkpoint_folder: where to keep, after each epoch, what resuming needs. If it holds
            a checkpoint of the same training, that training is continued.
        history_file: CSV to write after each epoch.
        tensorboard_folder: where to write TensorBoard logs.
        time_limit_seconds: stop when the next epoch would not end in time. Counts resumed
            parts too.
        extend: epochs to add to a finished training. Its patience starts anew; "cosine",
            "one_cycle" and progressive resizing go on as if the longer training had been
            asked for.

    Raises:
        TrainingError: a part is empty, or the result would be nonsense (see ``sentinels``).
        RecipeError: settings that do not go together.
        RunError: the checkpoint is damaged or of another training; nothing to extend.
        KeyboardInterrupt: Ctrl-C before the first epoch was done. Later Ctrl-C ends the
            training with what is best so far; a second one then ends the program.
    """
    require_images((("training", train), ("validation", validation)))
    keep_memory()
    accelerator = build_accelerator(device, stage)
    gpus = [accelerator.device] if accelerator.device.type == "cuda" else []
    with torch.random.fork_rng(devices=gpus), ExitStack() as open_things:
        parts = Parts(
            accelerator, network, train, validation, stage,
            num_classes=num_classes, augmentation=augmentation, seed=seed,
        )  # fmt: skip
        parts.resume(checkpoint_folder, extend)
        callbacks: list[Callback] = []
        if accelerator.is_main_process:
            callbacks = build_callbacks(progress, history_file, tensorboard_folder)
        else:
            progress = SILENT
        for callback in callbacks:
            open_things.callback(callback.close)
        limit = math.inf if time_limit_seconds is None else time_limit_seconds
        stopped = _run(parts, callbacks, checkpoint_folder, progress, limit)

    at = parts.position
    network.load_state_dict(parts.best_state)
    network.eval()
    return FitResult(
        best_state=parts.best_state,
        best_epoch=at.best_epoch,
        last_epoch=at.epoch,
        history=at.history,
        stopped=stopped,
        seconds=at.seconds,
        facts={
            "device": str(accelerator.device),
            "precision": "bf16" if parts.bf16 else "float32",
            "processes": accelerator.num_processes,
            "target_epochs": at.target_epochs,
            "images_per_second": parts.train.size * at.epoch / at.seconds,
        },
    )


def _run(
    parts: Parts,
    callbacks: Sequence[Callback],
    checkpoint_folder: Path | None,
    progress: Progress,
    limit_seconds: float,
) -> str:
    """Train from the position to its target; returns why it stopped ("": all done)."""
    at = parts.position
    work_left = sum(
        round(parts.steps_per_epoch * parts.step_work(epoch))
        for epoch in range(at.epoch + 1, at.target_epochs + 1)
    )
    unit = "steps" if parts.stage.progressive_resizing is None else "full-size steps"
    try:
        with progress.stage("training", work_left, unit) as display:
            while at.epoch < at.target_epochs and not at.stopped:
                if at.epoch and at.seconds * (1 + 1 / at.epoch) > limit_seconds:
                    return TIME_LIMIT
                note = _epoch(parts, at.epoch + 1, display, limit_seconds - at.seconds)
                if checkpoint_folder is not None and parts.accelerator.is_main_process:
                    parts.save(checkpoint_folder)
                for callback in callbacks:
                    callback.end_epoch(at.history)
                if note:
                    progress.note(note)
    except KeyboardInterrupt:
        if not at.epoch:
            raise
        return INTERRUPTED
    return at.stopped


def _epoch(parts: Parts, epoch: int, display: ProgressStage, seconds_left: float) -> str:
    """Train and validate for an epoch and move the position on; returns a note or ""."""
    started = perf_counter()
    parts.unfreezing.start_epoch(epoch)
    sums, rate = train_epoch(parts, epoch, display, started + seconds_left)
    loss, data_loss, accuracy = (sums[:3] / sums[3]).tolist()
    check_finite(loss, epoch, rate)
    parts.frozen_statistics.check()

    at = parts.position
    state = None
    with parts.average.in_place() if parts.average else nullcontext(), torch.no_grad():
        validation_data_loss, validation_accuracy, counts = evaluate(parts)
        validation_loss = validation_data_loss
        if parts.has_penalty:
            validation_loss += l2_penalty(parts.network).item()
        check_finite(validation_loss, epoch, rate, "validation")
        if validation_loss < at.best_loss:
            state = parts.snapshot()

    if state is not None:
        parts.best_state, at.best_loss, at.best_epoch = state, validation_loss, epoch
    parts.plateau.end_epoch(validation_loss)
    if parts.patience.end_epoch(validation_loss):
        at.stopped = EARLY_STOPPING
    at.epoch = epoch
    at.history.append(
        {
            "epoch": epoch,
            "loss": loss,
            "accuracy": accuracy,
            "validation_loss": validation_loss,
            "validation_accuracy": validation_accuracy,
            "data_loss": data_loss,
            "validation_data_loss": validation_data_loss,
            "learning_rate": rate,
            "seconds": parts.agreed(perf_counter() - started),
        }
    )
    return parts.chance.end_epoch(loss, accuracy, counts)


def train_epoch(
    parts: Parts, epoch: int, display: ProgressStage, deadline: float = math.inf
) -> tuple[Tensor, float]:
    """Take a step on each batch of an epoch.

    Returns:
        Sums over the images of loss, data loss and hits, and their number: float64 (4,);
        and the learning rate of the last step.
    """
    stage, optimizer = parts.stage, parts.optimizer
    torch.manual_seed(parts.seed_of("dropout", epoch))
    random = Generator().manual_seed(parts.seed_of("augmentation", epoch))
    mixing = np.random.default_rng(parts.seed_of("mixing", epoch))
    plan, shares, views = parts.plan(epoch)
    total_steps = parts.position.target_epochs * parts.steps_per_epoch
    image_height, step_work = parts.image_height(epoch), parts.step_work(epoch)
    moving = [weight for weight in parts.network.parameters() if weight.requires_grad]
    sums = EpochSums(parts.accelerator.device)
    looked, shown = perf_counter(), 0

    parts.model.train()
    for number, (inputs, labels) in enumerate(parts.train.batches(plan, views)):
        step = (epoch - 1) * parts.steps_per_epoch + number
        factor = schedule_factor(stage, step, total_steps) * parts.plateau.scale
        rate = stage.learning_rate * factor
        set_learning_rate(optimizer, rate)

        targets = labels
        if parts.augmentation is not None:
            inputs = parts.augmentation(inputs, random)
            inputs = parts.augmentation.after_normalisation(inputs, 1 / 255, random)
        if stage.mixup or stage.cutmix:
            inputs, targets = mix(inputs, labels, stage, parts.num_classes, mixing)
        if stage.progressive_resizing is not None:
            inputs = shrink(inputs, image_height)

        with parts.forward_pass():
            logits = parts.model(inputs)
        data_loss = parts.objective(logits, targets)
        loss = data_loss
        weighted = data_loss if shares is None else data_loss * shares[number]
        if parts.has_penalty:
            penalty = l2_penalty(parts.network)
            loss, weighted = data_loss + penalty, weighted + penalty
        parts.accelerator.backward(weighted)
        if stage.gradient_clip:
            parts.accelerator.clip_grad_norm_(moving, stage.gradient_clip)
        optimizer.step()
        optimizer.zero_grad()
        if parts.average is not None:
            parts.average.update()

        with torch.no_grad():
            weight = 0 if shares is not None and not shares[number] else 1
            hits = (predicted_classes(logits) == labels).sum() * weight
            sums.add(loss, data_loss, hits, len(labels) * weight)
        if (now := perf_counter()) - looked > LOOK_SECONDS:
            so_far = sums.total()
            mean_loss, _, accuracy = (so_far[:3] / so_far[3]).tolist()
            check_finite(mean_loss, epoch, rate)
            done = round((number + 1) * step_work)
            display.advance(done - shown)
            display.status(f"epoch {epoch}: {summary(mean_loss, accuracy)}, rate {rate:.2g}")
            looked, shown = now, done
            if now > deadline and parts.accelerator.num_processes == 1:
                break
    display.advance(round((number + 1) * step_work) - shown)
    total: Tensor = parts.accelerator.reduce(sums.total())
    return total, rate


@torch.inference_mode()
def evaluate(parts: Parts) -> tuple[float, float, NDArray[np.int64]]:
    """The validation part as it is: data loss, accuracy, predicted images a class (C,).

    The loss is plain cross-entropy, without smoothing, mixing or class weights. Every
    process computes all of it, so that all decide alike.
    """
    device, source = parts.accelerator.device, parts.validation
    loss = torch.zeros((), dtype=torch.float64, device=device)
    hits = torch.zeros((), dtype=torch.int64, device=device)
    counts = torch.zeros(parts.num_classes, dtype=torch.int64, device=device)
    parts.network.eval()
    for inputs, labels in source.batches(ordered_plan(source.size, EVALUATION_BATCH_SIZE)):
        with parts.forward_pass():
            logits = parts.network(inputs)
        predicted = predicted_classes(logits)
        loss += cross_entropy(logits, labels).sum()
        hits += (predicted == labels).sum()
        counts += torch.bincount(predicted, minlength=parts.num_classes)
    return float(loss) / source.size, int(hits) / source.size, counts.cpu().numpy()
