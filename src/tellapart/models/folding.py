"""BatchNorm that stands still, worked into the convolution before it while a network trains.

In inference mode BatchNorm multiplies each channel by one number and adds another. The
convolution before it can do both: ``BN(w * x) = (s w) * x + t`` with ``s = gamma /
sqrt(variance + epsilon)`` and ``t = beta - s mean``. Gradients reach ``w`` through ``s w``,
so training is the same up to rounding, and a pass over every map, forward and backward, is
saved. Nothing of the network is changed for good: weights, names and statistics stay as
they are, and outside of :func:`folded` the layers run as they always do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm

#: What a network's own code raises where it asks a stand-in for a shape or a truth value.
_NOT_TO_BE_FOLLOWED = (
    fx.proxy.TraceError, TypeError, ValueError, AttributeError, RuntimeError, IndexError, KeyError,
)  # fmt: skip


@dataclass(frozen=True)
class Pair:
    """A convolution whose output goes into this BatchNorm and nowhere else."""

    convolution: nn.Conv2d
    norm: nn.BatchNorm2d


def find_pairs(network: nn.Module) -> list[Pair]:
    """All pairs in a network; none where no BatchNorm stands still, or where the network's
    forward pass cannot be followed."""
    modules = dict(network.named_modules())
    if not any(isinstance(m, nn.BatchNorm2d) and stands_still(m) for m in modules.values()):
        return []
    try:
        graph = _Tracer().trace(network)
    except _NOT_TO_BE_FOLLOWED:
        return []
    pairs: list[Pair] = []
    for node in graph.nodes:
        norm = _called(node, modules)
        if not isinstance(norm, nn.BatchNorm2d) or not _is_known_norm(norm):
            continue
        before = node.args[0]
        if not isinstance(before, fx.Node) or len(before.users) > 1:
            continue
        convolution = _called(before, modules)
        if isinstance(convolution, nn.Conv2d) and _is_known(convolution):
            pairs.append(Pair(convolution, norm))
    # A module that is called twice stands for two places.
    called = [id(_called(node, modules)) for node in graph.nodes]
    return [
        pair for pair in pairs
        if called.count(id(pair.convolution)) == called.count(id(pair.norm)) == 1
    ]  # fmt: skip


def _called(node: fx.Node, modules: dict[str, nn.Module]) -> nn.Module | None:
    return modules.get(str(node.target)) if node.op == "call_module" else None


def stands_still(norm: nn.BatchNorm2d) -> bool:
    """Whether a BatchNorm neither collects statistics nor learns."""
    learns = any(parameter.requires_grad for parameter in norm.parameters())
    return not norm.training and not learns and norm.running_mean is not None


@contextmanager
def folded(pairs: list[Pair]) -> Iterator[None]:
    """Inside, the convolutions of all pairs that stand still do the work of both."""
    changed: list[nn.Module] = []
    try:
        for pair in pairs:
            if not stands_still(pair.norm):
                continue
            scale, shift = _scale_and_shift(pair.norm, pair.convolution.bias)
            pair.convolution.__dict__["forward"] = _convolve(pair.convolution, scale, shift)
            pair.norm.__dict__["forward"] = _after(pair.norm)
            changed += [pair.convolution, pair.norm]
        yield
    finally:
        for module in changed:
            del module.__dict__["forward"]  # the class' own comes back


def _is_known(convolution: nn.Conv2d) -> bool:
    """Whether it computes what :func:`_convolve` does; subclasses may do more."""
    return type(convolution) is nn.Conv2d or _pads_to_same(convolution)


def _is_known_norm(norm: nn.BatchNorm2d) -> bool:
    """Whether it does no more than normalise and what :func:`_after` does."""
    if type(norm) is nn.BatchNorm2d or not type(norm).__module__.startswith("timm."):
        return type(norm) is nn.BatchNorm2d
    from timm.layers.norm_act import BatchNormAct2d

    return type(norm) is BatchNormAct2d


def _pads_to_same(module: nn.Module) -> bool:
    if not type(module).__module__.startswith("timm."):  # then nobody need import it
        return False
    from timm.layers.conv2d_same import Conv2dSame

    return type(module) is Conv2dSame


def _scale_and_shift(norm: nn.BatchNorm2d, bias: Tensor | None) -> tuple[Tensor, Tensor]:
    """float32 (C,) both, in the sense of the module's first lines."""
    if norm.running_mean is None or norm.running_var is None:
        raise ValueError("a BatchNorm without statistics cannot be folded")
    with torch.no_grad():
        scale = torch.rsqrt(norm.running_var + norm.eps)
        if norm.weight is not None:
            scale = scale * norm.weight
        shift = -norm.running_mean * scale
        if norm.bias is not None:
            shift = shift + norm.bias
        if bias is not None and not bias.requires_grad:
            shift = shift + bias * scale
    return scale, shift


def _convolve(convolution: nn.Conv2d, scale: Tensor, shift: Tensor) -> Callable[[Tensor], Tensor]:
    """The forward pass of a convolution with the work of its BatchNorm in it."""
    own = convolution.bias
    column = scale.reshape(-1, 1, 1, 1)
    # Conv2dSame has no padding of its own; it pads by the size of each image.
    pads_to_same = _pads_to_same(convolution)
    kernel_size, stride, dilation = (
        list(pair) for pair in (convolution.kernel_size, convolution.stride, convolution.dilation)
    )

    def forward(images: Tensor) -> Tensor:
        weight = convolution.weight * column
        bias = shift if own is None or not own.requires_grad else shift + own * scale
        if pads_to_same:
            from timm.layers.padding import pad_same

            images = pad_same(images, kernel_size, stride, dilation)
        result: Tensor = convolution._conv_forward(images, weight, bias)
        return result

    return forward


def _after(norm: nn.BatchNorm2d) -> Callable[[Tensor], Tensor]:
    """What timm's BatchNorm layers do after normalising: drop out and activate."""
    drop, act = getattr(norm, "drop", None), getattr(norm, "act", None)

    def forward(images: Tensor) -> Tensor:
        for layer in (drop, act):
            if layer is not None:
                images = layer(images)
        return images

    return forward


class _Tracer(fx.Tracer):
    """Follows a network down to its convolutions and BatchNorms, timm's own included."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        if isinstance(m, nn.Conv2d | _BatchNorm):
            return True
        leaf: Any = super().is_leaf_module(m, module_qualified_name)
        return bool(leaf)
