"""Gradients of depthwise convolutions in bf16 on a CPU, where oneDNN's own are slow.

PyTorch hands bf16 convolutions on a CPU to oneDNN. Two of the gradients of depthwise ones
run there in general code, many times slower than the forward pass: that of a kernel larger
than 3x3, and that of the input where the stride is not 1. Here the first is put together
from 3x3 windows, and the second runs in float32; both have quick code. Measured on 2 cores
of an AMD EPYC (Zen 4), PyTorch 2.14, 64 maps of 672 channels, 5x5 kernel: 3.9 ms instead of
30.7, and 1.2 instead of 49. A training step of the whole EfficientNet-Lite0 at 96 pixels takes
half of its time in bf16 without this, and 0.7 of its time in float32
(``benchmarks/training_step.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

_WINDOW = 3


def has_slow_gradients(network: nn.Module) -> bool:
    """Whether a network has a convolution that :class:`QuickDepthwise` is for."""
    return any(
        isinstance(layer, nn.Conv2d)
        and _is_depthwise(layer.in_channels, layer.weight, layer.groups)
        and _is_slow(layer.weight, layer.stride)
        for layer in network.modules()
    )


class QuickDepthwise(TorchFunctionMode):
    """Within it, depthwise convolutions under CPU autocast to bf16 have quick gradients.

    Outputs and gradients are those of ``torch.conv2d`` up to the rounding of bf16.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Every function of PyTorch that is called within; all but some ``conv2d`` as it is."""
        if func is torch.conv2d and torch.is_grad_enabled():
            result = _convolve(*args, **(kwargs or {}))
            if result is not None:
                return result
        return func(*args, **(kwargs or {}))


def _convolve(
    input: Tensor,  # the names are those of torch.conv2d
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | str | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Tensor | None:
    """The convolution with quick gradients, or None where it is none of those meant."""
    if (
        input.device.type != "cpu"
        or not torch.is_autocast_enabled("cpu")
        or torch.get_autocast_dtype("cpu") != torch.bfloat16
        or isinstance(padding, str)
        or _pair(dilation) != (1, 1)
        or input.dim() != 4
        or not _is_depthwise(input.shape[1], weight, groups)
        or not _is_slow(weight, _pair(stride))
    ):
        return None
    if bias is not None:
        bias = bias.bfloat16()
    result: Tensor = _Depthwise.apply(
        input.bfloat16(), weight.bfloat16(), bias, _pair(stride), _pair(padding)
    )
    return result


def _pair(value: int | Sequence[int]) -> tuple[int, int]:
    if isinstance(value, int):
        return value, value
    return (value[0], value[0]) if len(value) == 1 else (value[0], value[1])


def _is_depthwise(channels: int, weight: Tensor, groups: int) -> bool:
    return groups == channels == weight.shape[0] > 1


def _is_slow(weight: Tensor, stride: Sequence[int]) -> bool:
    smallest, largest = min(weight.shape[2:]), max(weight.shape[2:])
    return smallest >= _WINDOW and (largest > _WINDOW or max(stride) > 1)


class _Depthwise(torch.autograd.Function):
    """conv2d with one kernel a channel; all tensors bf16, channels last in memory."""

    @staticmethod
    def forward(
        ctx: Any,
        images: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        stride: tuple[int, int],
        padding: tuple[int, int],
    ) -> Tensor:
        ctx.save_for_backward(images, weight)
        ctx.steps = _Steps(stride, padding)
        return torch.conv2d(images, weight, bias, stride, padding, 1, images.shape[1])

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        images, weight = ctx.saved_tensors
        gradient = gradients[0].contiguous(memory_format=torch.channels_last)
        of_images = of_weight = of_bias = None
        if ctx.needs_input_grad[0]:
            of_images = _gradient_of_images(gradient, images, weight, ctx.steps)
        if ctx.needs_input_grad[1]:
            of_weight = _gradient_of_weight(gradient, images, weight, ctx.steps)
        if ctx.needs_input_grad[2]:
            of_bias = gradient.sum((0, 2, 3))
        return of_images, of_weight, of_bias, None, None


class _Steps(NamedTuple):
    """How the kernel goes over the images: (vertical, horizontal)."""

    stride: tuple[int, int]
    padding: tuple[int, int]


def _gradient_of_images(gradient: Tensor, images: Tensor, weight: Tensor, steps: _Steps) -> Tensor:
    if steps.stride == (1, 1):
        return _backward(gradient, images, weight, steps, (True, False))[0]
    shape_only = torch.empty_like(images, dtype=torch.float32)
    of_images = _backward(gradient.float(), shape_only, weight.float(), steps, (True, False))[0]
    return of_images.to(images.dtype)


def _gradient_of_weight(gradient: Tensor, images: Tensor, weight: Tensor, steps: _Steps) -> Tensor:
    """(C, 1, k, k), k up to 3 at once; larger ones a window of 3x3 of the kernel at a time.

    A window of the kernel at (a, b) is the kernel of a 3x3 convolution whose input is the
    padded images without their first a rows and b columns.
    """
    height, width = weight.shape[2:]
    if max(height, width) <= _WINDOW:
        return _backward(gradient, images, weight, steps, (False, True))[1]
    stride, padding = steps
    if any(padding):
        images = functional.pad(images, (padding[1], padding[1], padding[0], padding[0]))
    rows = stride[0] * (gradient.shape[2] - 1) + _WINDOW
    columns = stride[1] * (gradient.shape[3] - 1) + _WINDOW
    result = torch.empty_like(weight)
    window = weight.new_empty(len(weight), 1, _WINDOW, _WINDOW)
    for a in _starts(height):
        for b in _starts(width):
            part = images[:, :, a : a + rows, b : b + columns]
            part = part.contiguous(memory_format=torch.channels_last)
            result[:, :, a : a + _WINDOW, b : b + _WINDOW] = _backward(
                gradient, part, window, _Steps(stride, (0, 0)), (False, True)
            )[1]
    return result


def _starts(size: int) -> list[int]:
    """Where windows begin that together cover ``size``; the last ones may overlap."""
    starts = list(range(0, size - _WINDOW + 1, _WINDOW))
    return starts if starts[-1] == size - _WINDOW else [*starts, size - _WINDOW]


def _backward(
    gradient: Tensor,
    images: Tensor,
    weight: Tensor,
    steps: _Steps,
    wanted: tuple[bool, bool],
) -> tuple[Tensor, Tensor]:
    """oneDNN's gradients of images and of weight; one that is not wanted is undefined."""
    result: tuple[Tensor, Tensor, Tensor] = torch.ops.aten.convolution_backward(
        gradient, images, weight, None, steps.stride, steps.padding, (1, 1), False, (0, 0),
        images.shape[1], [*wanted, False],
    )  # fmt: skip
    return result[0], result[1]
