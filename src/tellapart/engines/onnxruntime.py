"""ONNX Runtime on the CPU: for processors that OpenVINO has no wheel for."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tellapart.engines.engine import check_pixels
from tellapart.machine import num_cores


class OnnxRuntimeEngine:
    """An ONNX model in float32.

    Each image is a request of its own and one thread's work, so that it gets the same bits alone
    and among others, and on any number of cores.
    """

    name = "ONNX Runtime f32"

    def __init__(self, file: Path, height: int, width: int) -> None:
        self._session = open_session(file, threads=1)
        self._image_shape = (height, width, 3)
        self._pool = ThreadPoolExecutor(num_cores())

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """uint8 images (N, H, W, 3) to outputs (N, ...)."""
        check_pixels(pixels, self._image_shape)
        if not len(pixels):
            return self._run(np.zeros(self._image_shape, np.uint8))[:0]
        if len(pixels) == 1:
            return self._run(pixels[0])
        return np.concatenate(list(self._pool.map(self._run, pixels)))

    def _run(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        (outputs,) = self._session.run(None, {"pixels": np.ascontiguousarray(image)[None]})
        result: NDArray[np.float32] = outputs
        return result


def open_session(file: Path, *, threads: int = 0) -> Any:
    """An ONNX model on the CPU, silent, sending nothing anywhere; 0 threads: as many as cores."""
    import onnxruntime

    onnxruntime.set_default_logger_severity(3)
    if hasattr(onnxruntime, "disable_telemetry_events"):  # of the builds for Windows
        onnxruntime.disable_telemetry_events()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
