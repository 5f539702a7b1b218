"""Run a network forward as fast as this machine can, checked against eager float32.

On a CPU that is OpenVINO, in bfloat16 where the processor multiplies it in hardware; the
converted network is kept in the cache, so that a later start needs neither PyTorch nor
timm. On other devices, and where OpenVINO cannot take a network, it is PyTorch.

An engine is used only if it agrees with eager float32 PyTorch on made images (see
:func:`difference`): otherwise the next one in line is tried, float32 PyTorch last. Which one
it came to is kept too, so that it is the same the next time, and so that results that are
kept can be kept under the name of the engine that made them (:func:`recorded_engine`).

OpenVINO gives an image the same bits whether it comes alone or among others, and on any
number of cores of one kind of processor; its module says why, and what holds on processors
with AMX. PyTorch may round otherwise: to 1e-5 of a value in float32 (the tests hold both to that).
"""

from __future__ import annotations

import functools
import importlib.util
import json
import platform
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from tellapart import cache
from tellapart.engines.engine import Engine, Precision
from tellapart.engines.onnx import to_onnx, write_openvino
from tellapart.engines.openvino import OpenVinoEngine, precisions_here
from tellapart.engines.parity import LARGEST_DIFFERENCE, Difference, check_images, difference
from tellapart.engines.pytorch import TorchEngine, fast_precision
from tellapart.errors import TellapartError
from tellapart.machine import processor_name, resolve_device
from tellapart.progress import SILENT, Progress
from tellapart.wording import percent

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import nn

    from tellapart.engines.engine import MakeModule

#: Part of every key: changes when engines give other numbers than they did.
ENGINE_VERSION = "2"

_KIND = "engines"
_MODEL, _FACTS = "model.xml", "facts.json"
#: Words of the errors by which PyTorch and OpenVINO say that memory is short.
_NO_MEMORY = ("allocate memory", "out of memory", "bad_alloc")
_OPENVINO, _PYTORCH = "OpenVINO", "PyTorch"


@dataclass(frozen=True)
class _Choice:
    """Which engine it came to for one network on one machine, and what was said on the way."""

    engine: str
    precision: Precision
    name: str
    notes: tuple[str, ...] = ()


def build_engine(
    make_module: MakeModule,
    *,
    key: str,
    height: int,
    width: int,
    device: str = "auto",
    exact: bool = False,
    progress: Progress = SILENT,
) -> Engine:
    """Prepare a network to be run forward.

    Args:
        make_module: makes the network, float images (N, 3, H, W) in 0..255 to (N, ...); only
            called when the cache has no converted network. The engine keeps the module: it is
            put into inference mode and may be moved to another device.
        key: names the network's structure and the weights that ``make_module`` loads (their
            digest); equal keys must mean equal outputs.
        height, width: of the images, in pixels.
        device: "auto", "cpu", "cuda", ...; see :func:`tellapart.machine.resolve_device`.
        exact: float32 throughout, at half the speed or less.
        progress: told why an engine was not used.

    Raises:
        TellapartError: the disk of the cache is full.
    """
    device = resolve_device(device)
    entry_key = _entry_key(key, height, width, device, exact)
    folder = cache.find(_KIND, entry_key)
    module: nn.Module | None = None
    if folder is None:
        module = make_module()

        def build(made: Path) -> None:
            choice = _choose(module, made, device, height, width, exact, progress)
            (made / _FACTS).write_text(json.dumps(asdict(choice)), "utf-8")

        folder = cache.entry(_KIND, entry_key, build)
    choice = _recorded(folder)
    if module is None:
        for note in choice.notes:
            progress.note(note)
    if choice.engine == _OPENVINO:
        return OpenVinoEngine(folder / _MODEL, choice.precision, height, width)
    return TorchEngine(module or make_module(), device, height, width, choice.precision)


def recorded_engine(
    key: str, *, height: int, width: int, device: str = "auto", exact: bool = False
) -> str:
    """Name of the engine that :func:`build_engine` would give; "" where it is not settled yet."""
    entry_key = _entry_key(key, height, width, resolve_device(device), exact)
    folder = cache.find(_KIND, entry_key)
    return _recorded(folder).name if folder is not None else ""


def _entry_key(key: str, height: int, width: int, device: str, exact: bool) -> str:
    on_cpu = device == "cpu"
    openvino = on_cpu and importlib.util.find_spec("openvino") is not None
    library = "openvino" if openvino else "torch"
    return cache.text_digest(
        key,
        f"{height} x {width}",
        device,
        processor_name() if on_cpu else _accelerator_name(device),
        f"{library} {metadata.version(library)}",
        ENGINE_VERSION,
        "exact" if exact else "fast",
    )


def _accelerator_name(device: str) -> str:
    import torch

    if device.startswith("cuda"):
        return str(torch.cuda.get_device_name(device))
    return f"{device} {platform.machine()}"


def _recorded(folder: Path) -> _Choice:
    facts = json.loads((folder / _FACTS).read_text("utf-8"))
    return _Choice(**{**facts, "notes": tuple(facts["notes"])})


# --- choosing -----------------------------------------------------------------------------


def _choose(
    module: nn.Module,
    folder: Path,
    device: str,
    height: int,
    width: int,
    exact: bool,
    progress: Progress,
) -> _Choice:
    """The first engine in line that agrees with float32; OpenVINO's network into ``folder``."""
    notes: list[str] = []

    def say(sentence: str) -> None:
        notes.append(sentence)
        progress.note(sentence)

    images = check_images(height, width)

    @functools.cache
    def reference() -> NDArray[np.float32]:
        return TorchEngine(module, "cpu", height, width, "f32")(images)

    def agrees(engine: Engine) -> bool:
        found = difference(engine(images), reference())
        if not found.acceptable:
            say(_disagreement(engine.name, found))
        return found.acceptable

    with progress.stage("Preparing the network", None):
        if device == "cpu" and importlib.util.find_spec("openvino") is not None:
            model = folder / _MODEL
            if _convert(module, model, height, width, say):
                for precision in ("f32",) if exact else precisions_here():
                    try:
                        engine: Engine = OpenVinoEngine(model, precision, height, width)
                        agreed = agrees(engine)
                    except RuntimeError as error:  # no kernel of this precision on this processor
                        reason = _reason(error)
                        say(f"OpenVINO {precision} does not run here ({reason}); the next engine "
                            "is tried.")
                        continue
                    if agreed:
                        return _Choice(_OPENVINO, precision, engine.name, tuple(notes))
            for file in (model, model.with_suffix(".bin")):
                file.unlink(missing_ok=True)
        precision = "f32" if exact else fast_precision(device)
        engine = TorchEngine(module, device, height, width, precision)
        if precision != "f32" and not agrees(engine):
            precision = "f32"
            engine = TorchEngine(module, device, height, width, precision)
        return _Choice(_PYTORCH, precision, engine.name, tuple(notes))


def _convert(
    module: nn.Module, file: Path, height: int, width: int, say: Callable[[str], None]
) -> bool:
    """Write the network for OpenVINO; False where it cannot take it.

    Raises:
        OSError: the disk is full, or fails: that says nothing of the network.
        TellapartError: memory is too small.
    """
    try:
        write_openvino(to_onnx(module, height, width), file)
    except (OSError, MemoryError):
        raise
    except Exception as error:  # exporter and reader raise many kinds
        say(f"OpenVINO cannot take this network ({_reason(error)}); PyTorch runs it.")
        return False
    return True


def _reason(error: Exception) -> str:
    """What an error says, in one line.

    Raises:
        TellapartError: it says that memory is too small, which says nothing of the network.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line for line in lines if not line.startswith("Exception from")]  # OpenVINO's places
    reason = (told or lines or [type(error).__name__])[0]
    if any(word in str(error) for word in _NO_MEMORY):
        raise TellapartError(
            f"There is too little memory to prepare the network ({reason}); end other "
            "programs, or take smaller images with --set data.image_size=N."
        ) from error
    return reason


def _disagreement(name: str, found: Difference) -> str:
    return (
        f"{name} differs from float32 by {percent(found.relative)} "
        f"(cosine {found.least_cosine:.4f}), more than the "
        f"{percent(LARGEST_DIFFERENCE, 0)} allowed; the next engine is tried."
    )
