"""The device of a training, its processes, and what they agree on."""

from __future__ import annotations

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.utils import broadcast_object_list
from torch import nn

from tellapart.errors import TrainingError
from tellapart.machine import resolve_device
from tellapart.recipe import TrainingStage


def build_accelerator(device: str, stage: TrainingStage) -> Accelerator:
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


def agreed_seconds(accelerator: Accelerator, seconds: float) -> float:
    """A duration on which all processes agree, so that all stop at one epoch."""
    if accelerator.num_processes == 1:
        return seconds
    own = torch.tensor(seconds, device=accelerator.device)
    return float(accelerator.reduce(own, reduction="mean"))


def agreed_words(accelerator: Accelerator, words: str) -> str:
    """What the main process says, in all processes."""
    if accelerator.num_processes == 1:
        return words
    return str(broadcast_object_list([words])[0])


def share_buffers(accelerator: Accelerator, network: nn.Module) -> None:
    """Give all processes the main one's buffers.

    BatchNorm's averages are each process's own after a step; with different ones the processes
    would come to different validation losses and stop at different epochs.
    """
    if accelerator.num_processes > 1:
        for buffer in network.buffers():
            torch.distributed.broadcast(buffer.detach(), src=0)
