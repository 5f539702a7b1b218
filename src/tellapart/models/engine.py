"""Run a network forward as fast as this machine can, checked against eager float32.

On a CPU that is OpenVINO, in bfloat16 where the processor multiplies it in hardware; the
converted network is kept in the cache, so that a later start needs neither PyTorch nor
timm. On other devices, and where OpenVINO cannot take a network, it is PyTorch.

An engine is used only if it agrees with eager float32 PyTorch on made images (see
:func:`difference`): otherwise the next one in line is tried, float32 PyTorch last. The
numbers do not depend on how many images are asked for at a time: OpenVINO's results are
the same bits for every batch size and number of threads (a test holds it to that).
"""

from __future__ import annotations

import importlib.util
import json
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from tellapart import cache
from tellapart.machine import processor_name, resolve_device
from tellapart.progress import SILENT, Progress
from tellapart.wording import percent

if TYPE_CHECKING:
    from torch import nn

    MakeModule = Callable[[], nn.Module]

#: Part of every key: changes when engines give other numbers than they did.
ENGINE_VERSION = "1"

#: An engine agrees with float32 if no image's output is turned further than this
#: (cosine similarity) and the outputs of all differ by no more than this share of their norm.
#: bfloat16 keeps 8 bits: pretrained EfficientNet-Lite0 differs by 0.04 on photographs (cosine of
#: the worst of 300: 0.997), networks with random weights by 0.01, float32 by 0.00001.
LEAST_COSINE = 0.995
LARGEST_DIFFERENCE = 0.06

#: At most this many images are worth splitting over cores rather than over requests.
FEW_IMAGES = 8

#: A request takes as many images as keep its largest activation near this size (in bytes,
#: two a value), which is what a core's share of the processor cache holds.
ACTIVATION_BYTES = 4_000_000

_KIND = "engines"
_MODEL, _FACTS = "model.xml", "facts.json"

Precision = Literal["bf16", "f16", "f32"]


class Engine(Protocol):
    """Pixels in, outputs of a network out."""

    @property
    def name(self) -> str:
        """What runs, for people: "OpenVINO bf16"."""

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """uint8 images (N, H, W, 3), RGB, to outputs (N, ...)."""


@dataclass(frozen=True)
class Difference:
    """How far two sets of outputs are apart; see :func:`difference`."""

    least_cosine: float
    relative: float

    @property
    def acceptable(self) -> bool:
        """Whether an engine that differs this much from float32 may stand in for it."""
        return self.least_cosine >= LEAST_COSINE and self.relative <= LARGEST_DIFFERENCE


def difference(outputs: NDArray[np.float32], reference: NDArray[np.float32]) -> Difference:
    """Compare outputs (N, ...) with a reference of the same shape.

    Returns:
        The smallest cosine similarity of any image's output with its reference, and the norm
        of all differences as a share of the reference's norm.
    """
    ours = outputs.reshape(len(outputs), -1).astype(np.float64)
    theirs = reference.reshape(len(reference), -1).astype(np.float64)
    if not np.isfinite(ours).all():
        return Difference(-1.0, float("inf"))
    norms = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
    products = (ours * theirs).sum(axis=1)
    cosines = np.divide(products, norms, out=np.ones_like(norms), where=norms > 0)
    size = float(np.linalg.norm(theirs))
    distance = float(np.linalg.norm(ours - theirs))
    return Difference(float(cosines.min()), distance / size if size > 0 else distance)


def check_images(height: int, width: int, number: int = 4) -> NDArray[np.uint8]:
    """Made pictures to compare engines on: smooth colours with fine grain, always the same."""
    random = np.random.default_rng(0)
    rows, columns = np.linspace(0, 1, height), np.linspace(0, 1, width)
    images = np.zeros((number, height, width, 3))
    for image in images:
        for _ in range(6):
            frequency = random.uniform(1, 12, 2)
            phase = random.uniform(0, 2 * np.pi, 2)
            wave = np.outer(
                np.sin(2 * np.pi * frequency[0] * rows + phase[0]),
                np.sin(2 * np.pi * frequency[1] * columns + phase[1]),
            )
            image += wave[:, :, None] * random.uniform(-40, 40, 3)
        image += 128 + random.normal(0, 8, image.shape)
    return np.clip(images, 0, 255).astype(np.uint8)


def build_engine(
    make_module: MakeModule,
    *,
    key: str,
    height: int,
    width: int,
    expected_images: int,
    device: str = "auto",
    exact: bool = False,
    progress: Progress = SILENT,
) -> Engine:
    """Prepare a network to be run forward.

    Args:
        make_module: makes the network, float images (N, 3, H, W) in 0..255 to (N, ...); only
            called when the cache has no converted network. The engine keeps the module: it is
            put into inference mode and may be moved to another device.
        key: names the network's structure and weights; equal keys must mean equal outputs.
        height, width: of the images, in pixels.
        expected_images: about how many images will be asked for at a time; changes speed,
            never numbers.
        device: "auto", "cpu", "cuda", ...; see :func:`tellapart.machine.resolve_device`.
        exact: float32 throughout, at half the speed or less.
        progress: told why an engine was not used, when one is made.
    """
    device = resolve_device(device)
    if device != "cpu" or importlib.util.find_spec("openvino") is None:
        return _torch_engine(make_module(), device, height, width, exact, progress)
    entry_key = cache.text_digest(
        key,
        f"{height} x {width}",
        processor_name(),
        metadata.version("openvino"),
        ENGINE_VERSION,
        "exact" if exact else "fast",
    )
    folder = cache.find(_KIND, entry_key)
    if folder is not None:
        return _opened(folder, height, width, expected_images)
    module = make_module()
    with cache.workspace() as folder:
        if _convert(module, folder, height, width, exact, progress):
            folder = cache.publish(folder, _KIND, entry_key)
            return _opened(folder, height, width, expected_images)
    return _torch_engine(module, "cpu", height, width, exact, progress)


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
        _check_pixels(pixels, self._image_shape)
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


class TorchEngine:
    """A network in PyTorch, on any device, in float32 or by mixed precision."""

    def __init__(
        self, module: nn.Module, device: str, height: int, width: int, precision: Precision
    ) -> None:
        import torch

        self.name = f"PyTorch {precision} on {device}"
        self._module = module.to(device).to(memory_format=torch.channels_last).eval()
        self._device = device
        self._type = {"bf16": torch.bfloat16, "f16": torch.float16, "f32": None}[precision]
        self._image_shape = (height, width, 3)
        self._batch = 32 if device == "cpu" else 256

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """uint8 images (N, H, W, 3) to outputs (N, ...)."""
        _check_pixels(pixels, self._image_shape)
        blocks = list(self._blocks(pixels)) if len(pixels) else [self._empty()]
        return np.concatenate(blocks)

    def _blocks(self, pixels: NDArray[np.uint8]) -> Iterator[NDArray[np.float32]]:
        import torch

        kind = self._device.partition(":")[0]
        for start in range(0, len(pixels), self._batch):
            block = torch.from_numpy(np.array(pixels[start : start + self._batch]))
            images = block.to(self._device).permute(0, 3, 1, 2).float()
            with (
                torch.inference_mode(),
                torch.autocast(kind, dtype=self._type, enabled=self._type is not None),
            ):
                outputs: NDArray[np.float32] = self._module(images).float().cpu().numpy()
            yield outputs

    def _empty(self) -> NDArray[np.float32]:
        return next(self._blocks(np.zeros((1, *self._image_shape), np.uint8)))[:0]


# --- choosing -------------------------------------------------------------------------------


def _opened(folder: Path, height: int, width: int, expected_images: int) -> Engine:
    facts = json.loads((folder / _FACTS).read_text("utf-8"))
    return OpenVinoEngine(folder / _MODEL, facts["precision"], height, width, expected_images)


def _torch_engine(
    module: nn.Module, device: str, height: int, width: int, exact: bool, progress: Progress
) -> Engine:
    """PyTorch in the device's fast precision if that agrees with float32, else in float32."""
    if exact:
        return TorchEngine(module, device, height, width, "f32")
    images = check_images(height, width)
    reference = TorchEngine(module, "cpu", height, width, "f32")(images)
    fast = _fast_torch_precision(device)
    if fast != "f32":
        engine = TorchEngine(module, device, height, width, fast)
        found = difference(engine(images), reference)
        if found.acceptable:
            return engine
        progress.note(_disagreement(engine.name, found))
    return TorchEngine(module, device, height, width, "f32")


def _fast_torch_precision(device: str) -> Precision:
    import torch

    from tellapart.machine import has_bf16

    if device == "cpu":
        return "bf16" if has_bf16() else "f32"
    if device.startswith("cuda"):
        return "bf16" if torch.cuda.is_bf16_supported() else "f16"
    return "f16" if device.startswith("mps") else "bf16"


def _convert(
    module: nn.Module, folder: Path, height: int, width: int, exact: bool, progress: Progress
) -> bool:
    """Put the converted network and its facts into ``folder``.

    Returns:
        Whether OpenVINO can take the network and some precision agrees with float32 PyTorch.
    """
    with progress.stage("Preparing the network", None):
        images = check_images(height, width)
        try:
            _write_openvino(module, folder / _MODEL, height, width)
        except Exception as error:  # exporter and reader raise many kinds
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            progress.note(f"OpenVINO cannot take this network ({reason}); PyTorch runs it.")
            return False
        reference = TorchEngine(module, "cpu", height, width, "f32")(images)
        for precision in ("f32",) if exact else _openvino_precisions():
            engine = OpenVinoEngine(folder / _MODEL, precision, height, width, len(images))
            found = difference(engine(images), reference)
            if found.acceptable:
                facts = {"precision": precision, "relative_difference": found.relative,
                         "least_cosine": found.least_cosine}
                (folder / _FACTS).write_text(json.dumps(facts), "utf-8")
                return True
            progress.note(_disagreement(engine.name, found))
    return False


def _openvino_precisions() -> tuple[Precision, ...]:
    import openvino as ov

    abilities = ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if "BF16" in abilities:
        return ("bf16", "f32")
    return ("f16", "f32") if "FP16" in abilities else ("f32",)


def _write_openvino(module: nn.Module, file: Path, height: int, width: int) -> None:
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


def _check_pixels(pixels: NDArray[np.uint8], image_shape: tuple[int, int, int]) -> None:
    if pixels.dtype != np.uint8 or pixels.shape[1:] != image_shape:
        raise ValueError(
            f"an engine for uint8 images (N, {image_shape[0]}, {image_shape[1]}, 3) was given "
            f"{pixels.dtype} {pixels.shape}"
        )


def _disagreement(name: str, found: Difference) -> str:
    return (
        f"{name} differs from float32 by {percent(found.relative)} "
        f"(cosine {found.least_cosine:.4f}), more than the "
        f"{percent(LARGEST_DIFFERENCE, 0)} allowed; the next engine is tried."
    )
