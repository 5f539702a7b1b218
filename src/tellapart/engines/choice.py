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
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from tellapart import cache
from tellapart.engines.engine import Engine
from tellapart.engines.onnx import write_openvino
from tellapart.engines.openvino import OpenVinoEngine, precisions_here
from tellapart.engines.parity import LARGEST_DIFFERENCE, Difference, check_images, difference
from tellapart.engines.pytorch import TorchEngine, fast_precision
from tellapart.machine import processor_name, resolve_device
from tellapart.progress import SILENT, Progress
from tellapart.wording import percent

if TYPE_CHECKING:
    from torch import nn

    from tellapart.engines.engine import MakeModule

#: Part of every key: changes when engines give other numbers than they did.
ENGINE_VERSION = "1"

_KIND = "engines"
_MODEL, _FACTS = "model.xml", "facts.json"


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
    fast = fast_precision(device)
    if fast != "f32":
        engine = TorchEngine(module, device, height, width, fast)
        found = difference(engine(images), reference)
        if found.acceptable:
            return engine
        progress.note(_disagreement(engine.name, found))
    return TorchEngine(module, device, height, width, "f32")


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
            write_openvino(module, folder / _MODEL, height, width)
        except Exception as error:  # exporter and reader raise many kinds
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            progress.note(f"OpenVINO cannot take this network ({reason}); PyTorch runs it.")
            return False
        reference = TorchEngine(module, "cpu", height, width, "f32")(images)
        for precision in ("f32",) if exact else precisions_here():
            engine = OpenVinoEngine(folder / _MODEL, precision, height, width, len(images))
            found = difference(engine(images), reference)
            if found.acceptable:
                facts = {"precision": precision, "relative_difference": found.relative,
                         "least_cosine": found.least_cosine}
                (folder / _FACTS).write_text(json.dumps(facts), "utf-8")
                return True
            progress.note(_disagreement(engine.name, found))
    return False


def _disagreement(name: str, found: Difference) -> str:
    return (
        f"{name} differs from float32 by {percent(found.relative)} "
        f"(cosine {found.least_cosine:.4f}), more than the "
        f"{percent(LARGEST_DIFFERENCE, 0)} allowed; the next engine is tried."
    )
