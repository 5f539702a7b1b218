"""OpenVINO on the CPU: the fastest engine where there is no GPU."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tellapart.engines.engine import Precision, check_pixels

#: At most this many images are worth splitting over cores rather than over requests.
FEW_IMAGES = 8

#: A request takes as many images as keep its largest activation near this size (in bytes,
#: two a value), which is what a core's share of the processor cache holds.
ACTIVATION_BYTES = 4_000_000


class OpenVinoEngine:
    """A converted network on the CPU."""

    def __init__(
        self, file: Path, precision: Precision, height: int, width: int, expected_images: int
    ) -> None:
        import openvino as ov
        from openvino import properties
        from openvino.properties import hint

        core = ov.Core()
        model = core.read_model(file)
        few = expected_images <= FEW_IMAGES
        self._batch = 1 if few else _batch_size(model, height, width)
        model.reshape([self._batch, height, width, 3])
        mode = hint.PerformanceMode.LATENCY if few else hint.PerformanceMode.THROUGHPUT
        compiled = core.compile_model(
            model,
            "CPU",
            {
                hint.inference_precision: {
                    "bf16": ov.Type.bf16, "f16": ov.Type.f16, "f32": ov.Type.f32,
                }[precision],
                hint.performance_mode: mode,
            },
        )
        self.name = f"OpenVINO {precision}"
        self._shape = tuple(compiled.output(0).shape)[1:]
        self._image_shape = (height, width, 3)
        requests = int(compiled.get_property(properties.optimal_number_of_infer_requests))
        self._requests: SimpleQueue[Any] = SimpleQueue()
        for _ in range(requests):
            request = compiled.create_infer_request()
            # OpenVINO's binding sets NumPy up when an array is first seen. Two threads that
            # are first at the same time block each other for ever, so one is first here.
            _ = request.get_input_tensor(0).data
            self._requests.put(request)
        self._pool = ThreadPoolExecutor(requests)

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """uint8 images (N, H, W, 3) to outputs (N, ...)."""
        check_pixels(pixels, self._image_shape)
        outputs = np.empty((len(pixels), *self._shape), np.float32)
        starts = range(0, len(pixels), self._batch)
        if len(starts) == 1:
            self._run(pixels, outputs, 0)
        else:
            for _ in self._pool.map(lambda start: self._run(pixels, outputs, start), starts):
                pass
        return outputs

    def _run(
        self, pixels: NDArray[np.uint8], outputs: NDArray[np.float32], start: int
    ) -> None:
        block = np.ascontiguousarray(pixels[start : start + self._batch])
        number = len(block)
        if number < self._batch:
            block = np.concatenate([block, np.repeat(block[-1:], self._batch - number, axis=0)])
        request = self._requests.get()
        try:
            request.infer({0: block})
            outputs[start : start + number] = request.get_output_tensor(0).data[:number]
        finally:
            self._requests.put(request)


def precisions_here() -> tuple[Precision, ...]:
    import openvino as ov

    abilities = ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if "BF16" in abilities:
        return ("bf16", "f32")
    return ("f16", "f32") if "FP16" in abilities else ("f32",)


def _batch_size(model: Any, height: int, width: int) -> int:
    """Images a request, from the largest activation of one image; a power of two."""
    single = model.clone()
    single.reshape([1, height, width, 3])
    largest = max(
        int(np.prod(output.get_shape()))
        for operation in single.get_ops()
        if operation.get_type_name() != "Constant"
        for output in operation.outputs()
        if output.get_partial_shape().is_static
    )
    fitting = ACTIVATION_BYTES // (2 * largest)
    return int(min(32, 1 << max(0, int(fitting).bit_length() - 1)))
