"""What a training consists of: built from a stage, saved after an epoch, and put back."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from torch import Generator, Tensor, nn

from tellapart.errors import RunError, TrainingError
from tellapart.machine import resolve_device
from tellapart.models.depthwise import QuickDepthwise, has_slow_gradients
from tellapart.models.folding import find_pairs, folded
from tellapart.models.freezing import freeze
from tellapart.models.network import l2_penalty
from tellapart.pixels.augmentation import Augmentation
from tellapart.recipe import Stage
from tellapart.training.averaging import WeightAverage
from tellapart.training.batch_norm import quicken_batch_norm
from tellapart.training.batches import (
    Arrays,
    Source,
    derive_seed,
    shuffled_plan,
    steps_per_epoch,
)
from tellapart.training.checkpoint import (
    load_checkpoint,
    optimizer_tensors,
    restore_optimizer,
    save_checkpoint,
    with_prefix,
    without_prefix,
)
from tellapart.training.mixing import require_mixable
from tellapart.training.objective import Objective, balanced_weights
from tellapart.training.optimizers import GradualUnfreezing, build_optimizer
from tellapart.training.precision import trains_in_bf16
from tellapart.training.resizing import require_any_size, training_image_size
from tellapart.training.schedules import Patience, Plateau
from tellapart.training.sentinels import ChanceWatch, FrozenStatistics


@dataclass
class Position:
    """How far a training has come."""

    target_epochs: int
    epoch: int = 0
    best_epoch: int = 0
    best_loss: float = math.inf
    averaged_steps: int = 0
    #: "" or why training ended before its target.
    stopped: str = ""
    history: list[dict[str, float]] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """Training and validation so far."""
        return sum(row["seconds"] for row in self.history)


class Parts:
    """Network, data, optimizer and every rule of one training, on their device."""

    def __init__(
        self,
        accelerator: Accelerator,
        network: nn.Module,
        train: Arrays,
        validation: Arrays,
        stage: Stage,
        *,
        num_classes: int,
        augmentation: Augmentation | None = None,
        seed: int = 0,
    ) -> None:
        device = accelerator.device
        self.accelerator = accelerator
        self.stage = stage
        self.num_classes = num_classes
        self.augmentation = augmentation
        self.seed = seed
        self.train, self.validation = Source(train, device), Source(validation, device)
        self.steps_per_epoch = steps_per_epoch(self.train.size, stage.batch_size)
        #: Of the images as they are stored; without a meaning for features.
        self.full_height = train.inputs.shape[-3] if train.are_images else 1

        require_any_size(network, train, stage)
        require_mixable(train, stage)
        freeze(network, stage.trainable)
        network.to(device)
        if train.are_images:
            network.to(memory_format=torch.channels_last)
        network.train()
        quicken_batch_norm(network, self.steps_per_epoch)
        for layer in network.modules():
            if isinstance(layer, nn.Hardtanh):  # ReLU6; in place, autograd copies its input first
                layer.inplace = False
        self.network = network
        self.frozen_statistics = FrozenStatistics.of(network)
        self.unfreezing = GradualUnfreezing(network, stage.gradual_unfreezing)
        self.optimizer = build_optimizer(network, stage, device)
        #: The network as the loop calls it: the same, or wrapped for several processes.
        self.model: nn.Module = accelerator.prepare_model(network)
        self.average = WeightAverage(network, stage.ema_decay) if stage.ema_decay else None
        self.bf16 = trains_in_bf16(stage.precision, device, network)
        on_cpu = device.type == "cpu"
        self._quick_depthwise = self.bf16 and on_cpu and has_slow_gradients(network)
        self._pairs = find_pairs(network)
        self.has_penalty = bool(l2_penalty(network))
        self.objective = Objective(stage, _class_weights(train, stage, num_classes, device))

        largest_class = np.bincount(train.labels, minlength=num_classes).max() / len(train)
        self.plateau = Plateau(stage.reduce_on_plateau, stage.learning_rate)
        self.patience = Patience(stage.early_stopping)
        self.chance = ChanceWatch(float(largest_class))
        self.position = Position(stage.epochs)
        self.best_state: dict[str, Tensor] = {}

    def image_height(self, epoch: int) -> int:
        """Height of the training images of an epoch, in pixels."""
        return training_image_size(
            self.stage.progressive_resizing, epoch, self.position.target_epochs, self.full_height
        )

    def step_work(self, epoch: int) -> float:
        """How much work a step of an epoch is, 1 being one on full-size images: its pixels.

        The display counts by it, so that the time left is right while the images are small.
        """
        return (self.image_height(epoch) / self.full_height) ** 2

    def plan(self, epoch: int) -> tuple[list[Tensor], list[float] | None, Tensor | None]:
        """This process's ids of each batch, their weight, and which view of each image.

        Processes divide each batch among them. Accelerate averages their gradients, so the
        weight is what makes that the mean over the images of the whole batch; None: all 1.
        """
        generator = Generator().manual_seed(derive_seed(self.seed, "shuffling", epoch))
        batches = shuffled_plan(self.train.size, self.stage.batch_size, generator)
        views = None
        if self.train.num_views > 1:
            views = torch.randint(self.train.num_views, (self.train.size,), generator=generator)
        number, rank = self.accelerator.num_processes, self.accelerator.process_index
        if number == 1:
            return batches, None, views
        own = [ids[rank::number] for ids in batches]
        shares = [len(mine) * number / len(ids) for mine, ids in zip(own, batches, strict=True)]
        # A process with nothing to do takes part with an image of weight 0.
        own = [mine if len(mine) else ids[:1] for mine, ids in zip(own, batches, strict=True)]
        return own, shares, views

    def seed_of(self, purpose: str, epoch: int) -> int:
        """A seed for one use in one epoch of this process."""
        return derive_seed(self.seed, f"{purpose} {self.accelerator.process_index}", epoch)

    @contextmanager
    def forward_pass(self) -> Iterator[None]:
        """What the network runs in: bf16 where it was chosen, still BatchNorms folded away.

        bf16 is entered here because Accelerate's choice is for good.
        """
        kind = self.accelerator.device.type
        quick = QuickDepthwise() if self._quick_depthwise else nullcontext()
        with torch.autocast(kind, torch.bfloat16, enabled=self.bf16), quick, folded(self._pairs):
            yield

    def agreed(self, seconds: float) -> float:
        """A duration on which all processes agree, so that all stop at one epoch."""
        if self.accelerator.num_processes == 1:
            return seconds
        own = torch.tensor(seconds, device=self.accelerator.device)
        return float(self.accelerator.reduce(own, reduction="mean"))

    def snapshot(self) -> dict[str, Tensor]:
        """A copy of all weights on the CPU."""
        return {
            name: value.detach().to("cpu", copy=True).contiguous()
            for name, value in self.network.state_dict().items()
        }

    # --- saving and resuming --------------------------------------------------------------

    def identity(self) -> dict[str, Any]:
        """What must be the same for a checkpoint to be continued."""
        settings = self.stage.model_dump(mode="json", exclude={"epochs"})
        sizes = [self.train.size, self.validation.size, self.num_classes]
        return {**settings, "seed": self.seed, "number of images or classes": sizes}

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
        """Go to where a checkpoint left off, if there is one.

        Raises:
            RunError: it is damaged, or of another training; or there is none to extend.
        """
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
        at = self.position = Position(**facts["position"])
        if self.average is not None:
            self.average.load(without_prefix("average.", tensors), at.averaged_steps)
        for name in ("plateau", "patience", "chance"):
            vars(getattr(self, name)).update(facts[name])
        if extend and (at.stopped or at.epoch >= at.target_epochs):
            at.target_epochs, at.stopped = at.epoch + extend, ""
            self.patience.wait = 0


def build_accelerator(device: str, stage: Stage) -> Accelerator:
    """Accelerate on a device; number formats are chosen by ``precision``, not by it.

    Raises:
        TellapartError: there is no such device here.
        TrainingError: the process has trained on another kind of device before.
    """
    kind = resolve_device(device).partition(":")[0]
    try:
        accelerator = Accelerator(
            mixed_precision="no",
            cpu=kind == "cpu",
            # Several processes must not wait for gradients of stages that are not open yet.
            kwargs_handlers=[
                DistributedDataParallelKwargs(find_unused_parameters=stage.gradual_unfreezing > 0)
            ],
        )
    except ValueError:
        accelerator = None
    if accelerator is None or accelerator.device.type != kind:
        raise TrainingError(
            f"This process has trained on another device before {kind}, and Accelerate keeps to "
            "the first; start a new process for it."
        )
    return accelerator


def require_images(parts: Sequence[tuple[str, Arrays]]) -> None:
    """Refuse empty parts.

    Raises:
        TrainingError: a part has no images.
    """
    for name, part in parts:
        if not len(part):
            raise TrainingError(
                f"The {name} part has no images; give each class some, or change the split."
            )


def _class_weights(
    train: Arrays, stage: Stage, num_classes: int, device: torch.device
) -> Tensor | None:
    if stage.class_weight == "none":
        return None
    return balanced_weights(train.labels, num_classes).to(device)


def _numbers(state: Any) -> dict[str, float]:
    """The numbers of a small state, without its settings."""
    return {name: value for name, value in vars(state).items() if isinstance(value, int | float)}
