"""A PyTorch network as ONNX, which the other engines read."""

from __future__ import annotations

import errno
import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from inspect import Parameter, signature
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import nn


#: The version of ONNX's operators that engines are made of.
_OPERATORS = 17


def to_onnx(module: nn.Module, height: int, width: int, *, operators: int = _OPERATORS) -> bytes:
    """An ONNX model of uint8 images (N, H, W, 3) to the module's outputs, for every N."""
    import torch

    class FromPixels(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.module = module

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            images = pixels.permute(0, 3, 1, 2).float()
            outputs: torch.Tensor = self.module(images)
            return outputs

    onnx: Any = BytesIO()  # which the exporter takes, though its types do not say so
    example = torch.zeros(2, height, width, 3, dtype=torch.uint8)
    with warnings.catch_warnings(), _quiet_exporter(), torch.inference_mode():
        warnings.simplefilter("ignore")  # the exporter's own deprecations
        torch.onnx.export(
            FromPixels().eval(),
            (example,),
            onnx,
            dynamo=False,
            opset_version=operators,
            input_names=["pixels"],
            output_names=["outputs"],
            dynamic_axes={"pixels": {0: "number"}, "outputs": {0: "number"}},
        )
    return bytes(onnx.getvalue())


def network_to_onnx(module: nn.Module, examples: Sequence[torch.Tensor]) -> bytes:
    """An ONNX model of a module, for every number of images, by PyTorch's current exporter.

    Args:
        module: in inference mode, one tensor (N, ...), or any number of them by ``*``, to one
            tensor (N, ...).
        examples: what it takes, of two images.

    Raises:
        Exception: whatever the exporter raises for a network that it cannot take.
    """
    import torch

    shapes: tuple[Any, ...] = tuple({0: torch.export.Dim.DYNAMIC} for _ in examples)
    kinds = [parameter.kind for parameter in signature(module.forward).parameters.values()]
    if Parameter.VAR_POSITIONAL in kinds:
        shapes = (shapes,)
    with warnings.catch_warnings(), _quiet_loggers(), torch.no_grad():
        warnings.simplefilter("ignore")  # the exporter's own deprecations
        program = torch.onnx.export(
            module,
            tuple(examples),
            dynamo=True,
            verbose=False,
            input_names=[f"network_input_{number}" for number in range(len(examples))],
            output_names=["network_output"],
            dynamic_shapes=shapes,
        )
    if program is None:
        raise RuntimeError("the exporter gives no model")
    return bytes(program.model_proto.SerializeToString())


@contextmanager
def _quiet_loggers() -> Iterator[None]:
    """Keep the exporter's remarks on operators of its own from the user."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def write_openvino(onnx: bytes, file: Path) -> None:
    """Convert an ONNX model for OpenVINO: a third of the time of its own PyTorch front end.

    Raises:
        OSError: the disk is full.
        RuntimeError: OpenVINO cannot take the model.
    """
    from tellapart.engines.openvino import import_openvino

    save_openvino(import_openvino().Core().read_model(BytesIO(onnx)), file, len(onnx))


def save_openvino(model: Any, file: Path, size: int) -> None:
    """Write an OpenVINO model of about ``size`` bytes as .xml and .bin.

    Raises:
        OSError: the disk is full.
    """
    from tellapart.engines.openvino import import_openvino

    ov = import_openvino()
    size += 1 << 20
    take_space(file, size)
    try:
        ov.save_model(model, file, compress_to_fp16=False)
    except RuntimeError as error:
        take_space(file, size)
        raise OSError(errno.EIO, f"OpenVINO cannot write it ({error})", str(file)) from error


def take_space(file: Path, size: int) -> None:
    """Take and give back space on the disk of ``file``.

    OpenVINO's writer says of a full disk only that it has failed, or nothing.

    Raises:
        OSError: there is not so much.
    """
    trial = file.with_name(f".{file.name}.space")
    try:
        with trial.open("wb") as stream:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(stream.fileno(), 0, size)
            else:
                stream.write(bytes(size))
    finally:
        trial.unlink(missing_ok=True)


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Keep the exporter from printing a failing network's whole graph, thousands of lines.

    PyTorch (2.14) means to print it only on request, but asks whether a function exists
    instead of calling it; there is no public switch.
    """
    import torch

    internal: Any = torch._C
    printed = internal._jit_onnx_log
    internal._jit_onnx_log = lambda *_: None
    try:
        yield
    finally:
        internal._jit_onnx_log = printed
