"""Cut a backbone in two: the part that stands still, and the part that moves.

Where only the last layers of a backbone are trained, the layers before them compute the
same for an image in every epoch. :func:`cut_backbone` separates them, so that they run
once an image and view (see ``training.features``) and an epoch runs the rest alone.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn

from tellapart.models.backbone import Backbone
from tellapart.models.memory_format import in_order
from tellapart.recipe import Trainable

#: What networks raise whose units do not follow one another, where one of them is left out.
_NOT_IN_A_ROW = (
    RuntimeError, TypeError, AttributeError, AssertionError, ValueError, IndexError, KeyError,
)  # fmt: skip


@dataclass(frozen=True)
class Cut:
    """The two parts of a backbone; they share its weights, so training one trains it."""

    #: The first unit that moves, by its name in the network, for example "blocks.4".
    at: str
    #: Normalised images (N, 3, H, W) to the map that enters the unit ``at``.
    still: nn.Module
    #: That map to the backbone's features; a ``Backbone`` with the same names of layers.
    moving: Backbone


class Tail(nn.Module):
    """The moving part of a backbone and the head on it: maps in, logits out."""

    def __init__(
        self,
        backbone: Backbone,
        head: nn.Module,
        memory_format: torch.memory_format = torch.channels_last,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.memory_format = memory_format

    def forward(self, maps: Tensor) -> Tensor:
        """Maps (N, C, h, w), or whatever goes through the cut, to logits."""
        logits: Tensor = self.head(self.backbone(_in_order(maps, self.memory_format)))
        return logits


@fx.wrap  # so that a tracer, which knows no shapes, does not look inside (models.folding)
def _in_order(maps: Tensor, memory_format: torch.memory_format) -> Tensor:
    return in_order(maps, memory_format)


def cut_point(backbone: Backbone, trainable: Trainable) -> str:
    """The first unit with a weight that moves; "" where it is the first of all, or none."""
    from tellapart.models.freezing import select_trainable

    moving = [name.removeprefix("network.") for name in select_trainable(backbone, trainable)]
    units = _units(backbone.network)
    for position, unit in enumerate(units):
        if any(name.startswith(f"{unit}.") for name in moving):
            return unit if position else ""
    return ""


def cut_backbone(backbone: Backbone, at: str, height: int, width: int) -> Cut | None:
    """Cut a backbone before the unit ``at``; None where it cannot be done exactly.

    The two parts are the backbone with the units of the other part left out. That is
    right for networks whose units follow one another, so it is tried on an image of the
    given size, and refused where the result is not the whole backbone's.
    """
    units = _units(backbone.network)
    position = units.index(at)
    still = copy.copy(backbone)
    still._modules = {"network": _without(backbone.network, units[position:])}
    still.features = "map"
    moving = copy.copy(backbone)
    moving._modules = {"network": _without(backbone.network, units[:position])}
    if not _is_whole(backbone, still, moving, height, width):
        return None
    return Cut(at, still, moving)


def _units(network: nn.Module) -> list[str]:
    """Names of the parts that run one after the other: children, sequences taken apart."""
    names: list[str] = []
    for name, child in network.named_children():
        if isinstance(child, nn.Sequential):
            names += [f"{name}.{inner}" for inner, _ in child.named_children()]
        else:
            names.append(name)
    return names


def _without(network: nn.Module, names: list[str]) -> nn.Module:
    """The same network with some units passing on what they get; weights are shared."""
    clone = copy.copy(network)
    clone._modules = dict(network._modules)
    for name in names:
        child, _, inner = name.partition(".")
        if inner:
            if clone._modules[child] is network._modules[child]:
                sequence = copy.copy(network.get_submodule(child))
                sequence._modules = dict(sequence._modules)
                clone._modules[child] = sequence
            clone.get_submodule(child)._modules[inner] = nn.Identity()
        else:
            clone._modules[child] = nn.Identity()
    return clone


def _is_whole(
    backbone: Backbone, still: nn.Module, moving: nn.Module, height: int, width: int
) -> bool:
    images = torch.linspace(-2, 2, 3 * height * width).reshape(1, 3, height, width)
    was_training = backbone.training
    backbone.eval()
    try:
        with torch.no_grad():
            whole = backbone(images)
            parts = moving(still.eval()(images))
    except _NOT_IN_A_ROW:
        return False
    finally:
        backbone.train(was_training)
    return parts.shape == whole.shape and torch.allclose(parts, whole, rtol=1e-4, atol=1e-5)
