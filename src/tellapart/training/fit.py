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
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import Generator, Tensor, nn

from tellapart.data.augment import Augmentation
from tellapart.errors import RunError, TrainingError
from tellapart.machine import keep_memory, resolve_device
from tellapart.models.freezing import freeze
from tellapart.models.network import l2_penalty
from tellapart.progress import SILENT, Progress
from tellapart.progress import Stage as ProgressStage
from tellapart.recipe import Stage
from tellapart.training.averaging import WeightAverage
from tellapart.training.batches import (
    Arrays,
    Source,
    derive_seed,
    ordered_plan,
    shuffled_plan,
    steps_per_epoch,
)
from tellapart.training.callbacks import (
    Callback,
    EpochLines,
    HistoryFile,
    TensorBoardLog,
    summary,
)
from tellapart.training.checkpoint import (
    load_checkpoint,
    optimizer_tensors,
    restore_optimizer,
    save_checkpoint,
    with_prefix,
    without_prefix,
)
from tellapart.training.mixing import mix
from tellapart.training.objective import (
    Objective,
    balanced_weights,
    cross_entropy,
    predicted_classes,
)
from tellapart.training.optimizers import GradualUnfreezing, build_optimizer, set_learning_rate
from tellapart.training.precision import trains_in_bf16
from tellapart.training.schedules import Patience, Plateau, schedule_factor
from tellapart.training.sentinels import ChanceWatch, FrozenStatistics, check_finite

#: Images in a batch of evaluation.
EVALUATION_BATCH_SIZE = 256
#: How often the display, a time limit and a broken loss are looked at, in seconds.
LOOK_SECONDS = 0.5

__all__ = ["Arrays", "FitResult", "fit"]

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


@dataclass
class _Position:
    """How far a training has come; with the tensors, all that a checkpoint holds."""

    target_epochs: int
    epoch: int = 0
    best_epoch: int = 0
    best_loss: float = math.inf
    averaged_steps: int = 0
    stopped: str = ""
    history: list[dict[str, float]] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        return sum(row["seconds"] for row in self.history)


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
        extend: epochs to add to a finished training. Its patience starts anew; "cosine" and
            "one_cycle" go on as if the longer training had been asked for.

    Raises:
        TrainingError: a part is empty, or the result would be nonsense (see ``sentinels``).
        RecipeError: settings that do not go together.
        RunError: the checkpoint is damaged or of another training; nothing to extend.
        KeyboardInterrupt: Ctrl-C before the first epoch was done. Later Ctrl-C ends the
            training with what is best so far; a second one then ends the program.
    """
    for name, part in (("training", train), ("validation", validation)):
        if not len(part):
            raise TrainingError(
                f"The {name} part has no images; give each class some, or change the split."
            )
    keep_memory()
    with ExitStack() as open_things:
        accelerator = build_accelerator(device)
        gpus = [accelerator.device] if accelerator.device.type == "cuda" else []
        open_things.enter_context(torch.random.fork_rng(devices=gpus))
        training = _Training(
            accelerator, network, train, validation, stage, num_classes, augmentation, seed
        )
        training.resume(checkpoint_folder, extend)
        callbacks = _callbacks(accelerator, progress, history_file, tensorboard_folder)
        for callback in callbacks:
            open_things.callback(callback.close)
        stopped = training.run(callbacks, checkpoint_folder, progress, time_limit_seconds)
    return training.result(stopped)


def build_accelerator(device: str) -> Accelerator:
    """Accelerate on a device; number formats are chosen by ``precision``, not by it.

    Raises:
        TellapartError: there is no such device here.
        TrainingError: the process has trained on another kind of device before.
    """
    kind = resolve_device(device).partition(":")[0]
    try:
        accelerator = Accelerator(mixed_precision="no", cpu=kind == "cpu")
    except ValueError:
        accelerator = None
    if accelerator is None or accelerator.device.type != kind:
        raise TrainingError(
            f"This process has trained on another device before {kind}, and Accelerate keeps to "
            "the first; start a new process for it."
        )
    return accelerator


def _callbacks(
    accelerator: Accelerator,
    progress: Progress,
    history_file: Path | None,
    tensorboard_folder: Path | None,
) -> list[Callback]:
    if not accelerator.is_main_process:
        return []
    callbacks: list[Callback] = [EpochLines(progress)]
    if history_file is not None:
        callbacks.append(HistoryFile(history_file))
    if tensorboard_folder is not None:
        callbacks.append(TensorBoardLog(tensorboard_folder))
    return callbacks


class _Training:
    """The parts of one training, and the loop over them."""

    def __init__(
        self,
        accelerator: Accelerator,
        network: nn.Module,
        train: Arrays,
        validation: Arrays,
        stage: Stage,
        num_classes: int,
        augmentation: Augmentation | None,
        seed: int,
    ) -> None:
        self.accelerator = accelerator
        self.network = network
        self.stage = stage
        self.num_classes = num_classes
        self.augmentation = augmentation
        self.seed = seed
        device = accelerator.device
        self.train, self.validation = Source(train, device), Source(validation, device)
        self.bf16 = trains_in_bf16(stage.precision, device, train.are_images)

        freeze(network, stage.trainable)
        network.to(device)
        if train.are_images:
            network.to(memory_format=torch.channels_last)
        network.train()
        self.frozen_statistics = FrozenStatistics.of(network)
        self.has_penalty = bool(l2_penalty(network))
        self.unfreezing = GradualUnfreezing(network, stage.gradual_unfreezing)
        self.optimizer = build_optimizer(network, stage, device)
        self.model: nn.Module = accelerator.prepare_model(network)
        self.average = WeightAverage(network, stage.ema_decay) if stage.ema_decay else None

        weights = None
        if stage.class_weight == "balanced":
            weights = balanced_weights(train.labels, num_classes).to(device)
        self.objective = Objective(stage, weights)
        self.plateau = Plateau(stage.reduce_on_plateau, stage.learning_rate)
        self.patience = Patience(stage.early_stopping)
        largest = np.bincount(train.labels, minlength=num_classes).max() / len(train)
        self.chance = ChanceWatch(float(largest))
        self.steps = steps_per_epoch(self.train.size, stage.batch_size)
        self.position = _Position(stage.epochs)
        self.best_state: dict[str, Tensor] = {}
        self.rate = stage.learning_rate

    # --- the loop -----------------------------------------------------------------------

    def run(
        self,
        callbacks: Sequence[Callback],
        checkpoint_folder: Path | None,
        progress: Progress,
        time_limit_seconds: float | None,
    ) -> str:
        """Train from the position to its target; returns why it stopped ("": all done)."""
        at = self.position
        limit = math.inf if time_limit_seconds is None else time_limit_seconds
        steps_left = (at.target_epochs - at.epoch) * self.steps
        try:
            with progress.stage("training", steps_left, "steps") as display:
                while at.epoch < at.target_epochs and not at.stopped:
                    if at.epoch and at.seconds * (1 + 1 / at.epoch) > limit:
                        return TIME_LIMIT
                    row, note = self.epoch(at.epoch + 1, display, limit - at.seconds)
                    self.end_epoch(row, checkpoint_folder)
                    for callback in callbacks:
                        callback.end_epoch(at.history)
                    if note:
                        progress.note(note)
        except KeyboardInterrupt:
            if not at.epoch:
                raise
            return INTERRUPTED
        return at.stopped

    def epoch(
        self, epoch: int, display: ProgressStage, seconds_left: float
    ) -> tuple[dict[str, float], str]:
        """One epoch of training and its validation: a row of the history, and a note."""
        started = perf_counter()
        self.unfreezing.start_epoch(epoch)
        sums = self.train_epoch(epoch, display, started + seconds_left)
        loss, data_loss, accuracy = (sums[:3] / sums[3]).tolist()
        check_finite(loss, epoch, self.rate)
        self.frozen_statistics.check()

        with self.average.in_place() if self.average else nullcontext():
            validation_data_loss, validation_accuracy, counts = self.evaluate()
            validation_loss = validation_data_loss + self.penalty()
            check_finite(validation_loss, epoch, self.rate, "validation")
            if validation_loss < self.position.best_loss:
                self.position.best_loss, self.position.best_epoch = validation_loss, epoch
                self.best_state = _snapshot(self.network)
        note = self.chance.end_epoch(loss, accuracy, counts)
        row = {
            "epoch": epoch,
            "loss": loss,
            "accuracy": accuracy,
            "validation_loss": validation_loss,
            "validation_accuracy": validation_accuracy,
            "data_loss": data_loss,
            "validation_data_loss": validation_data_loss,
            "learning_rate": self.rate,
            "seconds": self.agreed(perf_counter() - started),
        }
        return row, note

    def train_epoch(self, epoch: int, display: ProgressStage, deadline: float) -> Tensor:
        """All training images once: sums of loss, data loss and hits, and the image count."""
        rank = self.accelerator.process_index
        torch.manual_seed(derive_seed(self.seed, f"dropout {rank}", epoch))
        random = Generator().manual_seed(derive_seed(self.seed, f"augmentation {rank}", epoch))
        mixing = np.random.default_rng(derive_seed(self.seed, f"mixing {rank}", epoch))
        mixes = bool(self.stage.mixup or self.stage.cutmix)
        plan, shares, views = self.plan(epoch)
        total_steps = self.position.target_epochs * self.steps
        device = self.accelerator.device
        sums = torch.zeros(4, dtype=torch.float64, device=device)
        weights = [p for p in self.network.parameters() if p.requires_grad]
        penalty = torch.zeros((), device=device)
        looked, shown = perf_counter(), 0

        self.model.train()
        for number, (inputs, labels) in enumerate(self.train.batches(plan, views)):
            step = (epoch - 1) * self.steps + number
            self.rate = self.stage.learning_rate * self.plateau.scale
            self.rate *= schedule_factor(self.stage, step, total_steps)
            set_learning_rate(self.optimizer, self.rate)
            targets = labels
            if self.augmentation is not None:
                inputs = self.augmentation(inputs, random)
                inputs = self.augmentation.after_normalisation(inputs, 1 / 255, random)
            if mixes:
                inputs, targets = mix(inputs, labels, self.stage, self.num_classes, mixing)

            with self.autocast():
                logits = self.model(inputs)
            data_loss = self.objective(logits, targets)
            if self.has_penalty:
                penalty = l2_penalty(self.network)
            self.accelerator.backward(data_loss * shares[number] + penalty)
            if self.stage.gradient_clip:
                self.accelerator.clip_grad_norm_(weights, self.stage.gradient_clip)
            self.optimizer.step()
            self.optimizer.zero_grad()
            if self.average is not None:
                self.average.update()

            with torch.no_grad():
                hits = (predicted_classes(logits) == labels).sum()
                count = len(labels) if shares[number] else 0
                batch = torch.stack([data_loss + penalty, data_loss, hits / len(labels)])
                sums[:3] += batch * count
                sums[3] += count
            if (now := perf_counter()) - looked > LOOK_SECONDS:
                loss, _, accuracy = (sums[:3] / sums[3]).tolist()
                check_finite(loss, epoch, self.rate)
                display.advance(number + 1 - shown)
                display.status(f"epoch {epoch}: {summary(loss, accuracy)}, rate {self.rate:.2g}")
                looked, shown = now, number + 1
                if now > deadline and self.accelerator.num_processes == 1:
                    break
        display.advance(number + 1 - shown)
        total: Tensor = self.accelerator.reduce(sums)
        return total

    def evaluate(self) -> tuple[float, float, NDArray[np.int64]]:
        """Data loss, accuracy and predicted images a class of the validation part."""
        device = self.accelerator.device
        loss = torch.zeros((), dtype=torch.float64, device=device)
        hits = torch.zeros((), dtype=torch.int64, device=device)
        counts = torch.zeros(self.num_classes, dtype=torch.int64, device=device)
        self.network.eval()
        with torch.inference_mode():
            plan = ordered_plan(self.validation.size, EVALUATION_BATCH_SIZE)
            for inputs, labels in self.validation.batches(plan):
                with self.autocast():
                    logits = self.network(inputs)
                predicted = predicted_classes(logits)
                loss += cross_entropy(logits, labels).sum()
                hits += (predicted == labels).sum()
                counts += torch.bincount(predicted, minlength=self.num_classes)
        size = self.validation.size
        return float(loss) / size, int(hits) / size, counts.cpu().numpy()

    # --- its parts ----------------------------------------------------------------------

    def plan(self, epoch: int) -> tuple[list[Tensor], list[float], Tensor | None]:
        """This process's ids of each batch, their weight, and which view of each image.

        Processes divide each batch among them. Accelerate averages their gradients, so the
        weight is what makes that the mean over the images of the whole batch.
        """
        generator = Generator().manual_seed(derive_seed(self.seed, "shuffling", epoch))
        batches = shuffled_plan(self.train.size, self.stage.batch_size, generator)
        views = None
        if self.train.num_views > 1:
            views = torch.randint(self.train.num_views, (self.train.size,), generator=generator)
        number, rank = self.accelerator.num_processes, self.accelerator.process_index
        own = [ids[rank::number] for ids in batches]
        shares = [len(mine) * number / len(ids) for mine, ids in zip(own, batches, strict=True)]
        # A process with nothing to do takes part with an image of weight 0.
        own = [mine if len(mine) else ids[:1] for mine, ids in zip(own, batches, strict=True)]
        return own, shares, views

    def agreed(self, seconds: float) -> float:
        """A duration on which all processes agree, so that all stop at one epoch."""
        if self.accelerator.num_processes == 1:
            return seconds
        return float(self.accelerator.reduce(torch.tensor(seconds), reduction="mean"))

    def autocast(self) -> torch.autocast:
        """bf16 where it was chosen; entered here because Accelerate's choice is for good."""
        return torch.autocast(self.accelerator.device.type, torch.bfloat16, enabled=self.bf16)

    @torch.no_grad()
    def penalty(self) -> float:
        """The L2 penalty of the network as it is."""
        return float(l2_penalty(self.network)) if self.has_penalty else 0.0

    def end_epoch(self, row: dict[str, float], checkpoint_folder: Path | None) -> None:
        """Move on by an epoch and save the new position."""
        at = self.position
        at.epoch += 1
        at.history.append(row)
        self.plateau.end_epoch(row["validation_loss"])
        if self.patience.end_epoch(row["validation_loss"]):
            at.stopped = EARLY_STOPPING
        if checkpoint_folder is not None and self.accelerator.is_main_process:
            self.save(checkpoint_folder)

    # --- saving and resuming --------------------------------------------------------------

    def save(self, folder: Path) -> None:
        """Write all that ``resume`` reads."""
        tensors = with_prefix("network.", self.network.state_dict())
        tensors |= with_prefix("optimizer.", optimizer_tensors(self.optimizer))
        tensors |= with_prefix("best.", self.best_state)
        if self.average is not None:
            tensors |= with_prefix("average.", self.average.state())
            self.position.averaged_steps = self.average.steps
        facts = {"training": self.identity(), "position": asdict(self.position)}
        for name in ("plateau", "patience", "chance"):
            facts[name] = _numbers(getattr(self, name))
        save_checkpoint(folder, tensors, facts)

    def resume(self, folder: Path | None, extend: int) -> None:
        """Go to where a checkpoint left off, if there is one."""
        saved = load_checkpoint(folder) if folder is not None else None
        if saved is None:
            if extend:
                raise RunError(
                    f"There is no checkpoint in {folder} to extend by {extend} epochs; train "
                    "from the beginning with that many more epochs."
                )
            return
        tensors, facts = saved
        different = [k for k, v in self.identity().items() if facts["training"].get(k) != v]
        if different:
            raise RunError(
                f"The checkpoint in {folder} is of another training (its "
                f"{', '.join(different)} differ); delete the folder, or use the settings it "
                "began with."
            )
        self.network.load_state_dict(without_prefix("network.", tensors))
        restore_optimizer(self.optimizer, without_prefix("optimizer.", tensors))
        self.best_state = without_prefix("best.", tensors)
        at = self.position = _Position(**facts["position"])
        if self.average is not None:
            self.average.load(without_prefix("average.", tensors), at.averaged_steps)
        for name in ("plateau", "patience", "chance"):
            vars(getattr(self, name)).update(facts[name])
        if extend and (at.stopped or at.epoch >= at.target_epochs):
            at.target_epochs, at.stopped = at.epoch + extend, ""
            self.patience.wait = 0

    def identity(self) -> dict[str, Any]:
        """What must be the same for a checkpoint to be continued."""
        settings = self.stage.model_dump(mode="json", exclude={"epochs"})
        sizes = [self.train.size, self.validation.size, self.num_classes]
        return {**settings, "seed": self.seed, "number of images or classes": sizes}

    def result(self, stopped: str) -> FitResult:
        """The outcome; leaves the best epoch's weights in the network."""
        at = self.position
        self.network.load_state_dict(self.best_state)
        self.network.eval()
        trained = self.train.size * at.epoch
        return FitResult(
            best_state=self.best_state,
            best_epoch=at.best_epoch,
            last_epoch=at.epoch,
            history=at.history,
            stopped=stopped,
            seconds=at.seconds,
            facts={
                "device": str(self.accelerator.device),
                "precision": "bf16" if self.bf16 else "float32",
                "processes": self.accelerator.num_processes,
                "images_per_second": trained / at.seconds if at.seconds else 0.0,
            },
        )


def _snapshot(network: nn.Module) -> dict[str, Tensor]:
    """A copy of all weights on the CPU."""
    return {
        name: value.detach().to("cpu", copy=True).contiguous()
        for name, value in network.state_dict().items()
    }


def _numbers(state: Any) -> dict[str, float]:
    """The numbers of a small state, without its settings."""
    return {name: value for name, value in vars(state).items() if isinstance(value, int | float)}
