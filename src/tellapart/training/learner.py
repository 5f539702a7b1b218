"""A network on its device, and what moves its weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from tellapart.models.depthwise import QuickDepthwise, has_slow_gradients
from tellapart.models.folding import find_pairs, folded
from tellapart.models.freezing import freeze
from tellapart.models.memory_format import in_order, quick_memory_format
from tellapart.models.network import l2_penalty
from tellapart.recipe import TrainingStage
from tellapart.training.averaging import WeightAverage
from tellapart.training.batch_norm import quicken_batch_norm
from tellapart.training.checkpoint import (
    optimizer_tensors,
    restore_optimizer,
    with_prefix,
    without_prefix,
)
from tellapart.training.optimizers import build_optimizer
from tellapart.training.parameter_groups import GradualUnfreezing
from tellapart.training.precision import trains_in_bf16
from tellapart.training.sentinels import FrozenStatistics

#: Images in a batch of evaluation, where memory has room for them.
EVALUATION_BATCH_SIZE = 256


class Learner:
    """A network, its optimizer, and the moving average of its weights."""

    def __init__(
        self,
        accelerator: Accelerator,
        network: nn.Module,
        stage: TrainingStage,
        *,
        on_images: bool,
        steps_per_epoch: int,
    ) -> None:
        device = accelerator.device
        freeze(network, stage.trainable)
        network.to(device)
        self._memory_format = quick_memory_format(network, device.type)
        if on_images:
            network.to(memory_format=self._memory_format)
        network.train()
        quicken_batch_norm(network, steps_per_epoch)
        for layer in network.modules():
            if isinstance(layer, nn.Hardtanh):  # ReLU6; in place, autograd copies its input first
                layer.inplace = False
        self.device = device
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
        # On a GPU folding costs more than it saves: an NVIDIA H200 trained EfficientNet-Lite0
        # (64 images of 96 pixels, bf16) at 3,524 images a second with it, at 5,483 without.
        self._pairs = find_pairs(network) if on_cpu else []
        #: Images that are evaluated at a time.
        self.evaluation_batch_size = EVALUATION_BATCH_SIZE
        self.has_penalty = bool(l2_penalty(network))

    @contextmanager
    def forward_pass(self) -> Iterator[None]:
        """What the network runs in: bf16 where it was chosen, still BatchNorms folded away.

        bf16 is entered here because Accelerate's choice is for good.
        """
        kind = self.device.type
        quick = QuickDepthwise() if self._quick_depthwise else nullcontext()
        with torch.autocast(kind, torch.bfloat16, enabled=self.bf16), quick, folded(self._pairs):
            yield

    def ordered(self, inputs: Tensor) -> Tensor:
        """Inputs in the order of memory that the network runs in."""
        # Channels last is how images come, and the weights alone decide for it.
        if self._memory_format is torch.channels_last:
            return inputs
        return in_order(inputs, self._memory_format)

    def averaged(self) -> AbstractContextManager[None]:
        """Inside, the network has the weights that are evaluated: averaged, if any are."""
        return self.average.in_place() if self.average else nullcontext()

    def snapshot(self) -> dict[str, Tensor]:
        """A copy of all weights on the CPU."""
        return {
            name: value.detach().to("cpu", copy=True).contiguous()
            for name, value in self.network.state_dict().items()
        }

    def tensors(self) -> dict[str, Tensor]:
        """All that ``restore`` takes, by name."""
        tensors = with_prefix("network.", self.network.state_dict())
        tensors |= with_prefix("optimizer.", optimizer_tensors(self.optimizer))
        if self.average is not None:
            tensors |= with_prefix("average.", self.average.state())
        return tensors

    def restore(self, tensors: Mapping[str, Tensor], averaged_steps: int) -> None:
        """Go back to what ``tensors`` gave, with its number of averaged steps."""
        self.network.load_state_dict(without_prefix("network.", tensors))
        restore_optimizer(self.optimizer, without_prefix("optimizer.", tensors))
        if self.average is not None:
            self.average.load(without_prefix("average.", tensors), averaged_steps)
