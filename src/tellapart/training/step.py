"""What is done with one batch: changed, shown to the network, and learned from."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from accelerate import Accelerator
from torch import Generator, Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from tellapart.errors import TrainingError
from tellapart.models.network import l2_penalty
from tellapart.pixels.augmentation import Augmentation
from tellapart.recipe import TrainingStage
from tellapart.training.learner import Learner
from tellapart.training.memory import free_memory, is_out_of_memory
from tellapart.training.mixing import mix
from tellapart.training.objective import Objective, predicted_classes
from tellapart.training.parameter_groups import set_learning_rate
from tellapart.training.plan import DataPlan
from tellapart.training.resizing import shrink


@dataclass
class BatchChanges:
    """What a batch goes through before the network sees it."""

    stage: TrainingStage
    num_classes: int
    augmentation: Augmentation | None
    #: Height of the images in pixels; without a meaning for features.
    image_height: int = 0
    _random: Generator = field(default_factory=Generator)
    _mixing: np.random.Generator = field(default_factory=np.random.default_rng)

    def start_epoch(self, plan: DataPlan, epoch: int, image_height: int) -> None:
        """Draw from the epoch's own seeds, so that an epoch needs no history."""
        self.image_height = image_height
        self._random = Generator().manual_seed(plan.seed_of("augmentation", epoch))
        self._mixing = np.random.default_rng(plan.seed_of("mixing", epoch))

    def apply(self, inputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs and targets of a batch: labels, or shares of the classes where it is mixed."""
        targets = labels
        if self.augmentation is not None:
            inputs = self.augmentation(inputs, self._random)
            inputs = self.augmentation.after_normalisation(inputs, 1 / 255, self._random)
        if self.stage.mixup or self.stage.cutmix:
            inputs, targets = mix(inputs, labels, self.stage, self.num_classes, self._mixing)
        if self.stage.progressive_resizing is not None:
            inputs = shrink(inputs, self.image_height)
        return inputs, targets


@dataclass
class TrainingStep:
    """One step of the optimizer.

    Where a batch does not fit into memory it is cut into pieces, whose gradients add up to the
    batch's: the step stays the same but for BatchNorm, which sees the images of a piece.
    """

    learner: Learner
    changes: BatchChanges
    objective: Objective
    accelerator: Accelerator
    #: Images of a whole batch in this process.
    batch_size: int
    gradient_clip: float | None = None
    #: Into how many pieces each batch is cut.
    pieces: int = 1
    #: Weights that move in this epoch.
    _moving: list[nn.Parameter] = field(default_factory=list)

    @property
    def piece_size(self) -> int:
        """The most images that the network sees at a time."""
        return -(-self.batch_size // self.pieces)

    def start_epoch(self, plan: DataPlan, epoch: int, image_height: int) -> None:
        """Make the network ready to learn, and all draws those of the epoch."""
        torch.manual_seed(plan.seed_of("dropout", epoch))
        self.changes.start_epoch(plan, epoch, image_height)
        self._moving = [w for w in self.learner.network.parameters() if w.requires_grad]
        self.learner.model.train()

    def take(
        self, inputs: Tensor, labels: Tensor, rate: float, share: float | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Learn from a batch.

        Args:
            inputs: float32 (B, ...), as they are stored.
            labels: int64 (B,).
            rate: the learning rate.
            share: weight of this process's part of the batch; None: 1.

        Returns:
            Loss with the L2 penalty, loss without, and number of hits: scalars.

        Raises:
            TrainingError: no piece is small enough to fit into memory.
        """
        optimizer = self.learner.optimizer
        set_learning_rate(optimizer, rate)
        inputs, targets = self.changes.apply(inputs, labels)
        while (result := self._gradients_if_they_fit(inputs, targets, labels, share)) is None:
            optimizer.zero_grad()
            free_memory()
        if self.gradient_clip:
            self.accelerator.clip_grad_norm_(self._moving, self.gradient_clip)
        optimizer.step()
        optimizer.zero_grad()
        if self.learner.average is not None:
            self.learner.average.update()
        return result

    def _gradients_if_they_fit(
        self, inputs: Tensor, targets: Tensor, labels: Tensor, share: float | None
    ) -> tuple[Tensor, Tensor, Tensor] | None:
        """What ``take`` returns, gradients left in the weights; None: pieces are smaller now."""
        try:
            if self.pieces == 1:
                return self._gradients(inputs, targets, labels, share)
            return self._gradients_in_pieces(inputs, targets, labels)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            self._require_smaller(inputs, error)
        self.pieces *= 2
        return None

    def _gradients_in_pieces(
        self, inputs: Tensor, targets: Tensor, labels: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        count = -(-len(labels) // self.piece_size)
        loss, data_loss, hits = (torch.zeros((), device=labels.device) for _ in range(3))
        for own_inputs, own_targets, own_labels in zip(
            *(tensor.tensor_split(count) for tensor in (inputs, targets, labels)), strict=True
        ):
            share = len(own_labels) / len(labels)
            own = self._gradients(own_inputs, own_targets, own_labels, share, share)
            loss += own[0].detach() * share
            data_loss += own[1].detach() * share
            hits += own[2]
        return loss, data_loss, hits

    def _gradients(
        self,
        inputs: Tensor,
        targets: Tensor,
        labels: Tensor,
        share: float | None,
        penalty_share: float = 1.0,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Add the gradient of some images, by their share of the whole."""
        learner = self.learner
        with learner.forward_pass():
            logits = learner.model(learner.ordered(inputs))
        data_loss = self.objective(logits, targets)
        loss = data_loss
        weighted = data_loss if share is None else data_loss * share
        if learner.has_penalty:
            penalty = l2_penalty(learner.network)
            loss, weighted = data_loss + penalty, weighted + penalty * penalty_share
        self.accelerator.backward(weighted)
        with torch.no_grad():
            hits = (predicted_classes(logits) == labels).sum()
        return loss, data_loss, hits

    def _require_smaller(self, inputs: Tensor, error: RuntimeError | MemoryError) -> None:
        """Raises TrainingError where pieces cannot be smaller than they are."""
        norms = (m for m in self.learner.network.modules() if isinstance(m, _BatchNorm))
        # BatchNorm in training mode can say nothing of a single image.
        least = 2 if any(layer.training for layer in norms) else 1
        if self.accelerator.num_processes > 1:
            raise TrainingError(
                f"{self.piece_size} images at a time do not fit into the memory of each process; "
                "set training.batch_size to half of what it is."
            ) from error
        if self.piece_size <= least:
            what = f"{least} image{'s' if least > 1 else ''}"
            if inputs.ndim == 4:
                what += f" of {inputs.shape[2]}x{inputs.shape[3]} pixels"
            raise TrainingError(
                f"Not even {what} at a time fit into the memory of {self.learner.device}; set a "
                "smaller data.image_size, or choose a smaller network."
            ) from error
