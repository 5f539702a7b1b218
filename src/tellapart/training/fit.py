"""Gradient descent: the one training loop.

Accelerate brings the device, several processes and their sums; everything that differs
between recipes is data (``TrainingStage``) or a callback. Each epoch draws its random numbers
from a seed of its own, so a training that was killed and resumed ends with the same numbers.
The best epoch is the one with the strictly lowest validation loss; its weights are what
``fit`` returns.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import Tensor, nn

from tellapart.machine import keep_memory
from tellapart.models.network import l2_penalty
from tellapart.pixels.augmentation import Augmentation
from tellapart.progress import SILENT, Progress, Work
from tellapart.recipe import TrainingStage
from tellapart.training.batches import Arrays, BatchSource, ordered_plan, require_images
from tellapart.training.callbacks import Callback, EpochLines, summary
from tellapart.training.course import Course
from tellapart.training.learner import Learner
from tellapart.training.memory import free_memory, is_out_of_memory
from tellapart.training.mixing import require_mixable
from tellapart.training.objective import Objective, cross_entropy, predicted_classes
from tellapart.training.plan import DataPlan
from tellapart.training.position import EARLY_STOPPING, INTERRUPTED, TIME_LIMIT, Position, Stopped
from tellapart.training.processes import (
    agreed_seconds,
    agreed_words,
    build_accelerator,
    share_buffers,
)
from tellapart.training.resizing import require_any_size
from tellapart.training.schedules import Patience, Plateau
from tellapart.training.sentinels import ChanceWatch, check_finite
from tellapart.training.state import Rules, TrainingState
from tellapart.training.step import BatchChanges, TrainingStep
from tellapart.training.sums import EpochSums

__all__ = ["Arrays", "FitResult", "fit"]

#: How often the display, a time limit and a broken loss are looked at, in seconds.
LOOK_SECONDS = 0.5


@dataclass(frozen=True)
class FitResult:
    """What a training leaves behind."""

    #: Weights of the best epoch, on the CPU, by their names in the network.
    best_state: Mapping[str, Tensor]
    best_epoch: int
    last_epoch: int
    #: A row an epoch; the columns are ``callbacks.COLUMNS``.
    history: Sequence[Mapping[str, float]]
    #: None if all epochs were done.
    stopped: Stopped | None
    #: Training and validation, over all resumed parts.
    seconds: float
    #: device, precision, processes, images a second: what the speed depends on.
    facts: Mapping[str, Any]
    #: Sentences for the user.
    notes: Sequence[str] = ()


def fit(
    network: nn.Module,
    train: Arrays,
    validation: Arrays,
    stage: TrainingStage,
    *,
    num_classes: int,
    augmentation: Augmentation | None = None,
    seed: int = 0,
    device: str = "auto",
    checkpoint_folder: Path | None = None,
    progress: Progress = SILENT,
    callbacks: Sequence[Callback] = (),
    time_limit_seconds: float | None = None,
    extend: int = 0,
    keep_last: bool = False,
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
        callbacks: told of each epoch in the main process; one of them can stop the training,
            and one that fails ends it with its error.
        time_limit_seconds: stop when the next epoch would not end in time. Counts resumed
            parts too.
        extend: epochs to add to a finished training. Its patience starts anew; "cosine",
            "one_cycle" and progressive resizing go on as if the longer training had been
            asked for.
        keep_last: keep the weights of the last epoch, whatever the validation loss; the images
            that choose are then only watched.

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
        for callback in callbacks:
            open_things.callback(callback.close)
        loop = build_loop(
            accelerator, network, train, validation, stage,
            num_classes=num_classes, augmentation=augmentation, seed=seed,
        )  # fmt: skip
        loop.keep_last = keep_last
        loop.resume(checkpoint_folder, extend)
        if not accelerator.is_main_process:
            callbacks, progress, checkpoint_folder = (), SILENT, None
        limit = math.inf if time_limit_seconds is None else time_limit_seconds
        told = [EpochLines(progress), *callbacks]
        reason = _run(loop, told, checkpoint_folder, progress, limit)

    state, at = loop.state, loop.state.position
    network.load_state_dict(state.best_state)
    network.eval()
    return FitResult(
        best_state=state.best_state,
        best_epoch=at.best_epoch,
        last_epoch=at.epoch,
        history=at.history,
        stopped=Stopped(reason, at.epoch, at.target_epochs) if reason else None,
        seconds=at.seconds,
        facts={
            "device": str(accelerator.device),
            "precision": "bf16" if state.learner.bf16 else "float32",
            "processes": accelerator.num_processes,
            "target_epochs": at.target_epochs,
            "images_per_second": loop.plan.train.size * at.epoch / at.seconds,
        },
        notes=[_memory_note(loop.step)] if loop.step.pieces > 1 else [],
    )


@dataclass
class Loop:
    """The pieces of a training, each for one question."""

    #: Which images, in which order?
    plan: DataPlan
    #: What is done with a batch?
    step: TrainingStep
    #: What changes from step to step?
    course: Course
    #: How far has it come?
    state: TrainingState
    #: Are the last epoch's weights kept, or the best one's?
    keep_last: bool = False

    def resume(self, checkpoint_folder: Path | None, extend: int) -> None:
        """Go to where a checkpoint left off; see ``TrainingState.resume``."""
        self.state.resume(checkpoint_folder, extend)
        self.course = replace(self.course, epochs=self.state.position.target_epochs)
        self.step.pieces = self.state.position.pieces


def build_loop(
    accelerator: Accelerator,
    network: nn.Module,
    train: Arrays,
    validation: Arrays,
    stage: TrainingStage,
    *,
    num_classes: int,
    augmentation: Augmentation | None = None,
    seed: int = 0,
) -> Loop:
    """Put a training together on its device, at its beginning.

    Raises:
        RecipeError: settings that do not go together.
    """
    device = accelerator.device
    require_any_size(network, train, stage)
    require_mixable(train, stage)
    plan = DataPlan(
        BatchSource(train, device), BatchSource(validation, device), stage.batch_size, seed,
        accelerator.num_processes, accelerator.process_index,
        balanced=stage.sampler == "balanced",
    )  # fmt: skip
    learner = Learner(
        accelerator, network, stage,
        on_images=train.are_images, steps_per_epoch=plan.steps_per_epoch,
    )  # fmt: skip
    largest_class = np.bincount(train.labels, minlength=num_classes).max() / len(train)
    rules = Rules(
        Plateau(stage.reduce_on_plateau, stage.learning_rate),
        Patience(stage.early_stopping),
        ChanceWatch(float(largest_class)),
    )
    step = TrainingStep(
        learner,
        BatchChanges(stage, num_classes, augmentation),
        Objective.of(stage, train.labels, num_classes, device),
        accelerator,
        batch_size=-(-stage.batch_size // accelerator.num_processes),
        gradient_clip=stage.gradient_clip,
    )
    height = train.inputs.shape[-3] if train.are_images else 1
    course = Course(stage, stage.epochs, plan.steps_per_epoch, height, rules.plateau)
    identity = {
        **stage.model_dump(mode="json", exclude={"epochs"}),
        "seed": seed,
        "number of images or classes": [len(train), len(validation), num_classes],
    }
    return Loop(plan, step, course, TrainingState(learner, rules, Position(stage.epochs), identity))


def _run(
    loop: Loop,
    callbacks: Sequence[Callback],
    checkpoint_folder: Path | None,
    progress: Progress,
    limit_seconds: float,
) -> str:
    """Train from the position to its target; returns why it stopped ("": all done)."""
    state, step, at = loop.state, loop.step, loop.state.position
    unit = "steps" if loop.course.stage.progressive_resizing is None else "full-size steps"
    try:
        with progress.stage("training", loop.course.work_after(at.epoch), unit) as display:
            while at.epoch < at.target_epochs and not at.stopped:
                if at.epoch and at.seconds * (1 + 1 / at.epoch) > limit_seconds:
                    return TIME_LIMIT
                note = _epoch(loop, at.epoch + 1, display, limit_seconds - at.seconds)
                if step.pieces != at.pieces:
                    at.pieces = step.pieces
                    progress.note(_memory_note(step))
                if checkpoint_folder is not None:
                    state.save(checkpoint_folder)
                reasons = [callback.end_epoch(at.history) for callback in callbacks]
                if note:
                    progress.note(note)
                reason = agreed_words(step.accelerator, next(filter(None, reasons), ""))
                if reason and not at.stopped and at.epoch < at.target_epochs:
                    return reason
    except KeyboardInterrupt:
        if not at.epoch:
            raise
        return INTERRUPTED
    return at.stopped


def _epoch(loop: Loop, epoch: int, display: Work, seconds_left: float) -> str:
    """Train and validate for an epoch and move the position on; returns a note or ""."""
    started = perf_counter()
    state, learner, rules = loop.state, loop.state.learner, loop.state.rules
    learner.unfreezing.start_epoch(epoch)
    deadline = started + seconds_left
    sums, rate = train_epoch(loop.plan, loop.step, loop.course, epoch, display, deadline)
    loss, data_loss, accuracy = (sums[:3] / sums[3]).tolist()
    check_finite(loss, epoch, rate)
    learner.frozen_statistics.check()

    at, best_state = state.position, None
    num_classes = loop.step.changes.num_classes
    with learner.averaged(), torch.no_grad():
        validation_data_loss, validation_accuracy, counts = evaluate(
            learner, loop.plan.validation, num_classes, loop.step.accelerator
        )
        validation_loss = validation_data_loss
        if learner.has_penalty:
            validation_loss += l2_penalty(learner.network).item()
        check_finite(validation_loss, epoch, rate, "validation")
        if loop.keep_last or validation_loss < at.best_loss:
            best_state = learner.snapshot()

    if best_state is not None:
        state.best_state, at.best_loss, at.best_epoch = best_state, validation_loss, epoch
    rules.plateau.end_epoch(validation_loss)
    if rules.patience.end_epoch(validation_loss):
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
            "seconds": agreed_seconds(loop.step.accelerator, perf_counter() - started),
        }
    )
    return rules.chance.end_epoch(loss, accuracy, counts)


def train_epoch(
    plan: DataPlan,
    step: TrainingStep,
    course: Course,
    epoch: int,
    display: Work,
    deadline: float = math.inf,
) -> tuple[Tensor, float]:
    """Take a step on each batch of an epoch.

    Returns:
        Sums over the images of loss, data loss and hits, and their number: float64 (4,);
        and the learning rate of the last step.
    """
    step.start_epoch(plan, epoch, course.image_height(epoch))
    own, step_work = plan.epoch(epoch), course.step_work(epoch)
    sums = EpochSums(step.accelerator.device)
    looked, shown = perf_counter(), 0
    for number, (inputs, labels) in enumerate(plan.train.batches(own.batches, own.views)):
        rate, share = course.learning_rate(epoch, number), own.share(number)
        loss, data_loss, hits = step.take(inputs, labels, rate, share)
        with torch.no_grad():
            weight = 0 if share == 0 else 1
            sums.add(loss, data_loss, hits * weight, len(labels) * weight)
        if (now := perf_counter()) - looked > LOOK_SECONDS:
            so_far = sums.total()
            mean_loss, _, accuracy = (so_far[:3] / so_far[3]).tolist()
            check_finite(mean_loss, epoch, rate)
            done = round((number + 1) * step_work)
            display.advance(done - shown)
            display.status(f"epoch {epoch}: {summary(mean_loss, accuracy)}, rate {rate:.2g}")
            looked, shown = now, done
            if now > deadline and plan.num_processes == 1:
                break
    display.advance(round((number + 1) * step_work) - shown)
    total: Tensor = step.accelerator.reduce(sums.total())
    return total, rate


def evaluate(
    learner: Learner, source: BatchSource, num_classes: int, accelerator: Accelerator
) -> tuple[float, float, NDArray[np.int64]]:
    """Images as they are: data loss, accuracy, predicted images a class (C,).

    The loss is plain cross-entropy, without smoothing, mixing or class weights. Processes
    divide the images among them and all get the numbers of all, so that all decide alike.
    """
    share_buffers(accelerator, learner.network)
    while True:
        try:
            return _evaluate_in_batches(learner, source, num_classes, accelerator)
        except (RuntimeError, MemoryError) as error:
            smallest = learner.evaluation_batch_size == 1 or accelerator.num_processes > 1
            if not is_out_of_memory(error) or smallest:
                raise
        learner.evaluation_batch_size //= 2
        free_memory()


@torch.inference_mode()
def _evaluate_in_batches(
    learner: Learner, source: BatchSource, num_classes: int, accelerator: Accelerator
) -> tuple[float, float, NDArray[np.int64]]:
    loss = torch.zeros((), dtype=torch.float64, device=learner.device)
    hits = torch.zeros((), dtype=torch.int64, device=learner.device)
    counts = torch.zeros(num_classes, dtype=torch.int64, device=learner.device)
    learner.network.eval()
    plan = ordered_plan(source.size, learner.evaluation_batch_size)
    plan = [ids[accelerator.process_index :: accelerator.num_processes] for ids in plan]
    for inputs, labels in source.batches([ids for ids in plan if len(ids)]):
        with learner.forward_pass():
            logits = learner.network(learner.ordered(inputs))
        predicted = predicted_classes(logits)
        loss += cross_entropy(logits, labels).sum()
        hits += (predicted == labels).sum()
        counts += torch.bincount(predicted, minlength=num_classes)
    if accelerator.num_processes > 1:
        loss, hits, counts = (accelerator.reduce(sum_) for sum_ in (loss, hits, counts))
    return float(loss) / source.size, int(hits) / source.size, counts.cpu().numpy()


def _memory_note(step: TrainingStep) -> str:
    return (
        f"A batch of {step.batch_size} images does not fit into memory: it is shown to the network "
        f"in pieces of {step.piece_size}, whose gradients add up to the batch's (BatchNorm sees a "
        f"piece at a time). training.batch_size={step.piece_size} needs no pieces."
    )
