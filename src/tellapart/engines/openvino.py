"""OpenVINO on the CPU: the fastest engine where there is no GPU.

An image gets the same bits whether it comes alone or among others, on one core or on many,
because it is always computed in the same way: requests have one size, which the network and
its images settle, whatever part of it is asked for, and each request is one thread's work. (With
kernels chosen by the size of a request, as on processors with AMX, and sums split over
threads, the last bit would hang on both.) The tests hold it to the bits, but on processors with
AMX, where this could not be tried: there what is promised is :data:`PROMISED`.

What that costs one image alone, on 2 cores of an AMD EPYC (Zen 5), against all cores and a
request of its own: EfficientNet-Lite0 at 224 pixels 5 ms instead of 4, at 96 pixels 7 instead
of 1, ResNet-18 at 96 pixels 12 instead of 2, VGG16 at 224 pixels 154 instead of 80; many images
are as fast as before.
"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tellapart.engines.engine import Precision, check_pixels
from tellapart.machine import num_cores

#: A request takes as many images as keep its largest activation near this size (in bytes,
#: two a value), which is what a core's share of the processor cache holds, ...
ACTIVATION_BYTES = 4_000_000
#: ... its multiplications below this many, so that one image alone does not wait long, ...
MULTIPLICATIONS = 1_500_000_000
#: ... and no more images than this: more are no faster.
LARGEST_BATCH = 16

#: How far an image's outputs may be apart alone and among others on processors with AMX, as a
#: share of the largest output: some roundings of float32, or one of bfloat16.
PROMISED: dict[Precision, float] = {"f32": 1e-6, "bf16": 2**-7, "f16": 2**-10}

_TELEMETRY = "openvino_telemetry"


def import_openvino() -> Any:
    """The module ``openvino``; the one way to it, for importing it sends nothing anywhere.

    When it is imported and finds the package ``openvino_telemetry``, which is installed with
    it, it writes an id into the home folder and reports to an analytics host from a process
    of its own. Where it does not find that package it uses a stub that does nothing.
    """
    if "openvino" not in sys.modules:
        there = sys.modules.get(_TELEMETRY)
        sys.modules[_TELEMETRY] = None  # type: ignore[assignment]  # "not installed"
        try:
            import openvino  # noqa: F401
        finally:
            del sys.modules[_TELEMETRY]
            if there is not None:
                sys.modules[_TELEMETRY] = there
    return sys.modules["openvino"]


class OpenVinoEngine:
    """A converted network on the CPU."""

    def __init__(
        self, file: Path, precision: Precision, height: int, width: int, *, name: str = ""
    ) -> None:
        ov = import_openvino()
        properties = ov.properties

        core = ov.Core()
        model = core.read_model(file)
        self._batch = _batch_size(model, height, width)
        model.reshape([self._batch, height, width, 3])
        cores = num_cores()
        compiled = core.compile_model(
            model,
            "CPU",
            {
                properties.hint.inference_precision: {
                    "bf16": ov.Type.bf16,
                    "f16": ov.Type.f16,
                    "f32": ov.Type.f32,
                }[precision],
                properties.num_streams: cores,
                properties.inference_num_threads: cores,
            },
        )
        self.name = name or f"OpenVINO {precision}"
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

    def _run(self, pixels: NDArray[np.uint8], outputs: NDArray[np.float32], start: int) -> None:
        block = pixels[start : start + self._batch]
        request = self._requests.get()
        try:
            # Where the request is longer, what it held before is computed again. Images are put
            # into its own memory: given as arguments they would be copied there by Python code.
            request.get_input_tensor(0).data[: len(block)] = block
            request.start_async()
            request.wait()
            outputs[start : start + len(block)] = request.get_output_tensor(0).data[: len(block)]
        finally:
            self._requests.put(request)


def precisions_here() -> tuple[Precision, ...]:
    """Precisions that are quick on this processor, the quickest first."""
    abilities = import_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if "BF16" in abilities:
        return ("bf16", "f32")
    return ("f16", "f32") if "FP16" in abilities else ("f32",)


def _batch_size(model: Any, height: int, width: int) -> int:
    """Images a request: a power of two, from what one image costs in memory and work."""
    single = model.clone()
    single.reshape([1, height, width, 3])
    largest, work = 1, 1
    for operation in single.get_ops():
        if operation.get_type_name() == "Constant":
            continue
        sizes = [
            int(np.prod(output.get_shape()))
            for output in operation.outputs()
            if output.get_partial_shape().is_static
        ]
        largest = max([largest, *sizes])
        work += _multiplications(operation, sum(sizes))
    fitting = min(ACTIVATION_BYTES // (2 * largest), MULTIPLICATIONS // work, LARGEST_BATCH)
    return int(1 << max(0, fitting.bit_length() - 1))


def _multiplications(operation: Any, outputs: int) -> int:
    """Multiplications of an operation with so many outputs; 0 but for the large ones."""
    kind = operation.get_type_name()
    #: How many leading axes of the weights do not belong to one output.
    leading = {"Convolution": 1, "GroupConvolution": 2}.get(kind)
    if leading is not None:
        return outputs * int(np.prod(operation.input(1).get_shape()[leading:]))
    if kind != "MatMul" or not operation.input(0).get_partial_shape().is_static:
        return 0
    axis = -2 if operation.get_attributes().get("transpose_a") else -1
    return outputs * int(operation.input(0).get_shape()[axis])
