"""Run a network forward as fast as this machine can, checked against eager float32.

On a CPU that is OpenVINO, in bfloat16 where the processor multiplies it in hardware; the
converted network is kept in the cache, so that a later start needs neither PyTorch nor
timm. On other devices, and where OpenVINO cannot take a network, it is PyTorch; where that is not
installed, ONNX Runtime, which has wheels for some processors that OpenVINO has none for.

An engine is used only if it agrees with float32 on made images (see :func:`difference`), as
eager PyTorch computes it, or NumPy for a network that needs no PyTorch: otherwise the next one in
line is tried, float32 of the last without a check. Which one it came to is kept too, so that it is
the same the next time, and so that results that are kept can be kept under the name of the engine
that made them (:func:`recorded_engine`).

OpenVINO gives an image the same bits whether it comes alone or among others, and on any
number of cores of one kind of processor; its module says why, and what holds on processors
with AMX. PyTorch may round otherwise: to 1e-5 of a value in float32 (the tests hold both to that).
"""

from __future__ import annotations

import functools
import json
import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from tellapart import cache
from tellapart.engines.engine import Engine, Precision
from tellapart.engines.numpy import NumpyEngine
from tellapart.engines.onnx import to_onnx, write_openvino
from tellapart.engines.onnxruntime import OnnxRuntimeEngine
from tellapart.engines.openvino import OpenVinoEngine, precisions_here
from tellapart.engines.parity import LARGEST_DIFFERENCE, Difference, check_images, difference
from tellapart.engines.pytorch import TorchEngine, fast_precision
from tellapart.errors import TellapartError
from tellapart.extras import missing_of, require_pytorch
from tellapart.files import write_bytes
from tellapart.machine import processor_name, resolve_device
from tellapart.progress import SILENT, Progress
from tellapart.wording import percent

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import nn

    from tellapart.engines.engine import MakeModule, PlainNetwork

#: Part of every key: changes when engines give other numbers than they did.
ENGINE_VERSION = "2"

_KIND = "engines"
_MODEL, _ONNX, _FACTS = "model.xml", "model.onnx", "facts.json"
#: Words of the errors by which PyTorch and OpenVINO say that memory is short.
_NO_MEMORY = ("allocate memory", "out of memory", "bad_alloc")


# --- which engines there are --------------------------------------------------------------


@dataclass(frozen=True)
class Place:
    """Where a network is run, and what an engine opens it from."""

    #: In the cache; what :attr:`EngineRow.convert` wrote lies there, and nothing else does.
    folder: Path
    #: Gives the module; what an engine does without it takes no PyTorch.
    module: Callable[[], nn.Module]
    device: str
    height: int
    width: int
    #: The same network where it needs no PyTorch; the module is only made if PyTorch runs it.
    plain: Callable[[], PlainNetwork | None] = lambda: None

    def onnx(self) -> bytes:
        """The network as ONNX, of uint8 images (N, H, W, 3)."""
        plain = self.plain()
        if plain is not None:
            return plain.to_onnx(self.height, self.width)
        return to_onnx(self.module(), self.height, self.width)


@dataclass(frozen=True)
class EngineRow:
    """One engine that can run a network."""

    name: str
    #: The package that runs it. Its version is part of the key of what is kept.
    package: str
    runs_on: Callable[[str], bool]
    #: The precisions that are quick on a device, the quickest first; float32 is the last.
    precisions: Callable[[str], Sequence[Precision]]
    open: Callable[[Place, Precision], Engine]
    #: Writes into the place's folder what ``open`` reads; None: it runs the module itself.
    convert: Callable[[Place], None] | None = None


def _openvino_convert(place: Place) -> None:
    write_openvino(place.onnx(), place.folder / _MODEL)


def _openvino_open(place: Place, precision: Precision) -> Engine:
    return OpenVinoEngine(place.folder / _MODEL, precision, place.height, place.width)


def _pytorch_precisions(device: str) -> Sequence[Precision]:
    fast = fast_precision(device)
    return (fast,) if fast == "f32" else (fast, "f32")


def _pytorch_open(place: Place, precision: Precision) -> Engine:
    return TorchEngine(place.module(), place.device, place.height, place.width, precision)


def _onnxruntime_convert(place: Place) -> None:
    write_bytes(place.folder / _ONNX, place.onnx())


def _onnxruntime_open(place: Place, precision: Precision) -> Engine:
    return OnnxRuntimeEngine(place.folder / _ONNX, place.height, place.width)


def _numpy_open(place: Place, precision: Precision) -> Engine:
    plain = place.plain()
    if plain is None:
        raise ValueError("only a network that needs no PyTorch can be run by NumPy")
    return NumpyEngine(plain, place.height, place.width)


def _always_f32(device: str) -> Sequence[Precision]:
    return ("f32",)


def _on_cpu(device: str) -> bool:
    return device == "cpu"


def _without_pytorch(device: str) -> bool:
    return _on_cpu(device) and bool(missing_of(("torch",)))


#: The order in which they are tried. A new one is a module beside this one and a row here; of
#: those that are here and take a network, float32 of the last is used without a check.
ENGINES: tuple[EngineRow, ...] = (
    EngineRow(
        "OpenVINO", "openvino", _on_cpu, lambda device: precisions_here(),
        _openvino_open, _openvino_convert,
    ),
    EngineRow(
        "PyTorch", "torch", lambda device: True, _pytorch_precisions, _pytorch_open
    ),
    EngineRow(
        "ONNX Runtime", "onnxruntime", _without_pytorch, _always_f32,
        _onnxruntime_open, _onnxruntime_convert,
    ),
    EngineRow("NumPy", "numpy", _without_pytorch, _always_f32, _numpy_open),
)  # fmt: skip


def engines_here(device: str) -> tuple[EngineRow, ...]:
    """The engines that are installed and run on a device, in the order of :data:`ENGINES`."""
    return tuple(row for row in ENGINES if row.runs_on(device) and not missing_of((row.package,)))


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
    plain: Callable[[], PlainNetwork | None] = lambda: None,
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
        plain: gives the same network where it needs no PyTorch, else None; asked only when the
            cache has no converted network.
        progress: told why an engine was not used.

    Raises:
        TellapartError: the disk of the cache is full.
        MissingPackageError: the network needs PyTorch, which is not installed.
    """
    device = resolve_device(device)
    entry_key = _entry_key(key, height, width, device, exact)
    was_there = cache.find(_KIND, entry_key) is not None

    @functools.cache
    def module() -> nn.Module:
        require_pytorch("This network")
        return make_module()

    @functools.cache
    def without_pytorch() -> PlainNetwork | None:
        return plain() if device == "cpu" else None

    def place(folder: Path) -> Place:
        return Place(folder, module, device, height, width, without_pytorch)

    def build(made: Path) -> None:
        choice = _choose(place(made), exact, progress)
        (made / _FACTS).write_text(json.dumps(asdict(choice)), "utf-8")

    def opening(folder: Path) -> Engine:
        choice = _recorded(folder)
        if was_there:
            for note in choice.notes:
                progress.note(note)
        row = next(row for row in ENGINES if row.name == choice.engine)
        return row.open(place(folder), choice.precision)

    if not was_there and without_pytorch() is None:
        module()
    return cache.opened(_KIND, entry_key, build, opening)


def recorded_engine(
    key: str, *, height: int, width: int, device: str = "auto", exact: bool = False
) -> str:
    """Name of the engine that :func:`build_engine` would give; "" where it is not settled yet."""
    entry_key = _entry_key(key, height, width, resolve_device(device), exact)
    folder = cache.find(_KIND, entry_key)
    if folder is None:
        return ""
    try:
        with cache.using(folder):
            return _recorded(folder).name
    except cache.Deleted:
        return ""


def _entry_key(key: str, height: int, width: int, device: str, exact: bool) -> str:
    on_cpu = device == "cpu"
    library = engines_here(device)[0].package
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


def _choose(place: Place, exact: bool, progress: Progress) -> _Choice:
    """The first engine in line that agrees with float32; what it reads into the folder."""
    notes: list[str] = []

    def say(sentence: str) -> None:
        notes.append(sentence)
        progress.note(sentence)

    images = check_images(place.height, place.width)

    @functools.cache
    def reference() -> NDArray[np.float32]:
        plain = place.plain()
        if plain is not None:
            return plain(images)
        return _pytorch_open(replace(place, device="cpu"), "f32")(images)

    def agrees(engine: Engine) -> bool:
        found = difference(engine(images), reference())
        if not found.acceptable:
            say(_disagreement(engine.name, found))
        return found.acceptable

    rows = engines_here(place.device)
    with progress.stage("Preparing the network", None):
        for row in rows[:-1]:
            if _convert(row, place, rows[rows.index(row) + 1].name, say):
                for precision in ("f32",) if exact else row.precisions(place.device):
                    try:
                        engine = row.open(place, precision)
                        agreed = agrees(engine)
                    except RuntimeError as error:  # no kernel of this precision on this processor
                        reason = _reason(error)
                        say(
                            f"{row.name} {precision} does not run here ({reason}); the next "
                            "engine is tried."
                        )
                        continue
                    if agreed:
                        return _Choice(row.name, precision, engine.name, tuple(notes))
            cache.clear_workspace(place.folder)
        last = rows[-1]
        for precision in ("f32",) if exact else last.precisions(place.device):
            engine = last.open(place, precision)
            if precision == "f32" or agrees(engine):
                break
        return _Choice(last.name, precision, engine.name, tuple(notes))


def _convert(row: EngineRow, place: Place, following: str, say: Callable[[str], None]) -> bool:
    """Write what an engine reads; False where it cannot take the network.

    Raises:
        OSError: the disk is full, or fails: that says nothing of the network.
        TellapartError: memory is too small.
    """
    try:
        if row.convert is not None:
            row.convert(place)
    except (OSError, MemoryError):
        raise
    except Exception as error:  # exporter and reader raise many kinds
        if not place.folder.is_dir():  # that says nothing of the network, either
            raise
        say(f"{row.name} cannot take this network ({_reason(error)}); {following} runs it.")
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
