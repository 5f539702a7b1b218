"""A PyTorch network as ONNX, which the other engines read."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn


def write_openvino(module: nn.Module, file: Path, height: int, width: int) -> None:
    """Convert by way of ONNX: a third of the time of OpenVINO's own PyTorch front end."""
    import openvino as ov
    import torch

    class FromPixels(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.module = module

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            images = pixels.permute(0, 3, 1, 2).float()
            outputs: torch.Tensor = self.module(images)
            return outputs

    onnx = file.with_suffix(".onnx")
    example = torch.zeros(2, height, width, 3, dtype=torch.uint8)
    with warnings.catch_warnings(), _quiet_exporter(), torch.inference_mode():
        warnings.simplefilter("ignore")  # the exporter's own deprecations
        torch.onnx.export(
            FromPixels().eval(),
            (example,),
            onnx,
            dynamo=False,
            opset_version=17,
            input_names=["pixels"],
            output_names=["outputs"],
            dynamic_axes={"pixels": {0: "number"}, "outputs": {0: "number"}},
        )
    ov.save_model(ov.Core().read_model(onnx), file, compress_to_fp16=False)
    onnx.unlink()


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
