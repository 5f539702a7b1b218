"""A frozen backbone in int8: made from training images, and run by OpenVINO on the CPU.

Its convolutions are computed in integers; what is between them in the quickest number format of
the processor. The network that was made is one ONNX file, which whoever trains on its features
keeps beside the weights: calibration again, on other images or by another version of NNCF, would
give other numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from importlib import metadata
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tellapart import cache
from tellapart.engines.choice import ENGINE_VERSION
from tellapart.engines.engine import Engine
from tellapart.engines.onnx import save_openvino, to_onnx
from tellapart.engines.openvino import OpenVinoEngine, import_openvino, precisions_here
from tellapart.engines.parity import Difference, difference
from tellapart.engines.quantise import quantised
from tellapart.errors import MissingPackageError, TellapartError
from tellapart.extras import missing_of
from tellapart.machine import processor_name
from tellapart.progress import SILENT, Progress
from tellapart.wording import listed, percent

if TYPE_CHECKING:
    from torch import nn

    from tellapart.engines.engine import PlainNetwork

#: What makes it, as it is imported, and what runs it.
_MAKING, _RUNNING = ("openvino", "nncf", "onnx", "onnxruntime"), ("openvino",)
#: The version of ONNX's operators: that of exports, which put more around the network.
_OPERATORS = 20
#: Images that are compared with float32.
_COMPARED = 16
#: The cosine with float32 of the worst image, below which features say little of the network's
#: own. EfficientNet-Lite0 has 0.98 on photographs; one whose ranges fail is far below.
LEAST_COSINE = 0.8
_ONNX, _MODEL, _FLOAT = "network.onnx", "model.xml", "float.xml"


@dataclass(frozen=True)
class Int8Network:
    """A backbone in int8, as ONNX: uint8 images (N, H, W, 3) to its features, for every N."""

    content: bytes = field(repr=False)

    @cached_property
    def digest(self) -> str:
        """Names what it computes."""
        return cache.bytes_digest(self.content)

    def key(self, backbone_key: str) -> str:
        """Names what it computes, of which backbone: equal keys mean equal features."""
        return f"{backbone_key}-int8-{self.digest}"


def require_int8(*, to_make: bool) -> None:
    """Before any work: what int8 needs.

    Args:
        to_make: whether it is made; else it is only run.

    Raises:
        MissingPackageError: a package is not installed.
    """
    missing = missing_of(_MAKING if to_make else _RUNNING)
    if missing:
        names = {"openvino": "OpenVINO", "nncf": "NNCF", "onnx": "onnx"}
        told = listed([names.get(name, name) for name in missing], last="and")
        extra = "'tellapart[export]'" if to_make else "openvino"
        raise MissingPackageError(
            f"A backbone in int8 (probe.precision) needs {told}: pip install {extra}."
        )


def make_int8(
    key: str,
    calibration: NDArray[np.uint8],
    *,
    module: Callable[[], nn.Module],
    plain: Callable[[], PlainNetwork | None] = lambda: None,
    progress: Progress = SILENT,
) -> Int8Network:
    """Quantise a backbone, or take it from the cache.

    Args:
        key: names the backbone and its weights; see ``engines.features.backbone_key``.
        calibration: uint8 (N, H, W, 3), training images.
        module: gives the backbone in PyTorch, float images (N, 3, H, W) in 0..255 to features.
        plain: gives the same network where it needs no PyTorch, else None.
        progress: told how far the features are from those in float32.

    Raises:
        TellapartError: NNCF cannot take the network, or its features are not the network's.
        MissingPackageError: a package is missing.
    """
    require_int8(to_make=True)
    height, width = calibration.shape[1:3]
    versions = [f"{name} {metadata.version(name)}" for name in _MAKING]
    entry = cache.text_digest(
        key, cache.bytes_digest(np.ascontiguousarray(calibration).tobytes()),
        f"{height} x {width}", *versions, ENGINE_VERSION,
    )  # fmt: skip

    def build(folder: Path) -> None:
        network = plain()
        if network is not None:
            content = network.to_onnx(height, width)
        else:
            content = to_onnx(module(), height, width, operators=_OPERATORS)
        made = _quantised(content, calibration, progress)
        save_openvino(_model_of(content), folder / _FLOAT, len(content))
        save_openvino(_model_of(made), folder / _MODEL, len(content))
        images = calibration[:_COMPARED]
        exact = OpenVinoEngine(folder / _FLOAT, "f32", height, width)(images)
        found = difference(_engine(folder / _MODEL, height, width)(images), exact)
        cache.clear_workspace(folder)
        _require_alike(found)
        progress.note(
            f"In int8 features differ from float32 by {percent(found.relative)} (cosine of the "
            f"worst image {found.least_cosine:.3f})."
        )
        (folder / _ONNX).write_bytes(made)

    return cache.opened(
        "int8", entry, build, lambda folder: Int8Network((folder / _ONNX).read_bytes())
    )


def open_int8(network: Int8Network, key: str, height: int, width: int) -> Engine:
    """The engine of a backbone in int8.

    Args:
        key: names what it computes; see :meth:`Int8Network.key`.

    Raises:
        MissingPackageError: OpenVINO is not installed.
        OSError: the disk of the cache is full.
    """
    require_int8(to_make=False)
    entry = cache.text_digest(
        key, f"{height} x {width}", processor_name(),
        f"openvino {metadata.version('openvino')}", ENGINE_VERSION,
    )  # fmt: skip

    def build(folder: Path) -> None:
        save_openvino(_model_of(network.content), folder / _MODEL, 2 * len(network.content))

    return cache.opened(
        "engines", entry, build, lambda folder: _engine(folder / _MODEL, height, width)
    )


def int8_engine_name() -> str:
    """What :func:`open_int8` gives is called, without opening it."""
    return "OpenVINO int8"


def _engine(file: Path, height: int, width: int) -> Engine:
    return OpenVinoEngine(file, precisions_here()[0], height, width, name=int8_engine_name())


def _model_of(content: bytes) -> Any:
    return import_openvino().Core().read_model(BytesIO(content))


def _quantised(content: bytes, images: NDArray[np.uint8], progress: Progress) -> bytes:
    import onnx

    with progress.stage("Quantising the network", None):
        try:
            made = quantised(
                onnx.load_from_string(content),
                [{"pixels": images[row : row + 1]} for row in range(len(images))],
            )
        except ValueError as error:
            raise TellapartError(
                f"NNCF cannot quantise this network ({error}); set probe.precision=auto."
            ) from error
    return bytes(made.SerializeToString())


def _require_alike(found: Difference) -> None:
    if found.least_cosine < LEAST_COSINE:
        raise TellapartError(
            f"In int8 this network's features are not its own (cosine {found.least_cosine:.3f} "
            f"with float32, {LEAST_COSINE} is the least); set probe.precision=auto."
        )
