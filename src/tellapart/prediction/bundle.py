"""Bundle: a folder that ``tellapart export`` made, and the model in it, opened without PyTorch.

``model.json`` says what lies beside it and how it is used. Opening a bundle runs nothing of it
but the model, in the runtime that it was made for; ``classify.py`` is for others.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from tellapart.data.pixels import PixelCache, prepared_otherwise
from tellapart.engines.onnxruntime import open_session
from tellapart.engines.openvino import import_openvino
from tellapart.errors import BundleError
from tellapart.evaluation.abstention import Abstention
from tellapart.evaluation.decision import Decision
from tellapart.evaluation.policy import Policy
from tellapart.pixels.decode import PictureGiven, decode_many
from tellapart.pixels.preprocessing import Preprocessing
from tellapart.pixels.sets import PixelSets, decode_sets
from tellapart.progress import SILENT, Progress
from tellapart.run_info import FileDigest
from tellapart.wording import quoted, shown

#: The file that makes a folder a bundle.
ABOUT = "model.json"
#: Raised when the meaning of a bundle's files changes.
FORMAT = 1
#: Images in one call of the model: always so many, so that an image gets the same numbers
#: whatever comes with it.
_BATCH = 8

#: Pictures as a model takes them: one array, or one for each of its inputs.
Inputs = NDArray[Any] | PixelSets
#: Pictures to probabilities (N, C), decision (N,), probability (N,).
Runner = Callable[[Inputs], tuple[NDArray[Any], NDArray[Any], NDArray[Any]]]


@dataclass(frozen=True)
class BundleInfo:
    """What ``model.json`` says; whoever reads a bundle in another language needs this alone."""

    format: int
    #: The version that made it.
    tellapart: str
    created: str
    #: Of the run.
    name: str
    #: A name of :data:`RUNNERS`; where nothing here runs it, of the format.
    runtime: str
    #: The model's file, and what else belongs to it.
    model: str
    #: "f32", or "int8" where it is quantised.
    precision: str
    #: In the order of the probabilities.
    classes: tuple[str, ...]
    #: What the model's output ``decision`` counts: the classes, then "uncertain" where there is
    #: an abstention.
    answers: tuple[str, ...]
    #: As ``Preprocessing.from_dict`` reads it; mean and std are the model's own work, but
    #: with ``float_input``.
    preprocessing: Mapping[str, Any]
    #: Whether the model takes float32 (N, 3, H, W), normalised, or uint8 (N, H, W, 3).
    float_input: bool
    #: The views that the model averages, a name of ``TEST_TIME_VIEWS``; of several networks with
    #: views of their own the names, with " + " between them.
    test_time: str
    temperature: float
    #: As ``Decision.from_dict`` reads it; None: the likeliest class.
    decision: Mapping[str, Any] | None
    #: Of the run's model.
    model_digest: str
    #: As ``Abstention.from_dict`` reads it; None: every image is answered.
    abstention: Mapping[str, Any] | None = None
    #: Preprocessings of the inputs ``pixels_2`` and so on, of several networks that look at
    #: pictures of several sizes.
    more_inputs: tuple[Mapping[str, Any], ...] = ()
    #: Size and digest of the other files of the bundle.
    files: Mapping[str, FileDigest] = field(default_factory=dict)
    #: What was measured when it was made; see ``docs/export.md``.
    measured: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Runtime:
    """A runtime that opens the models of bundles."""

    package: str
    open: Callable[[Path], Runner]


def _open_onnx(file: Path) -> Runner:
    session = open_session(file)

    def run(pixels: Inputs) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        probabilities, decision, probability = session.run(_OUTPUTS, named_inputs(pixels))
        return probabilities, decision, probability

    return run


def open_openvino(file: Path, precision: str = "f32") -> Runner:
    """An OpenVINO model on the CPU, computed in "f32" or "bf16"."""
    ov = import_openvino()
    hints = {"INFERENCE_PRECISION_HINT": precision}
    compiled = ov.Core().compile_model(file, "CPU", hints)
    lock = Lock()  # one request; and it belongs to one thread at a time

    def run(pixels: Inputs) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        with lock:
            outputs = compiled(named_inputs(pixels))
            probabilities, decision, probability = (outputs[name].copy() for name in _OUTPUTS)
        return probabilities, decision, probability

    return run


def _open_torch(file: Path) -> Runner:
    import torch

    model = torch.export.load(file).module()

    def run(pixels: Inputs) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        with torch.inference_mode():
            given = [np.ascontiguousarray(array) for array in named_inputs(pixels).values()]
            outputs = model(*map(torch.from_numpy, given))
        probabilities, decision, probability = (output.numpy() for output in outputs)
        return probabilities, decision, probability

    return run


_OUTPUTS = ["probabilities", "decision", "probability"]


def named_inputs(pixels: Inputs) -> dict[str, NDArray[Any]]:
    """Pictures by the names of a model's inputs: ``pixels``, ``pixels_2`` and so on."""
    arrays = pixels.arrays if isinstance(pixels, PixelSets) else (pixels,)
    return {"pixels" if n == 1 else f"pixels_{n}": array for n, array in enumerate(arrays, 1)}


#: By the name that ``model.json`` gives.
RUNNERS: Mapping[str, Runtime] = {
    "onnx": Runtime("onnxruntime", _open_onnx),
    "openvino": Runtime("openvino", open_openvino),
    "torch": Runtime("torch", _open_torch),
}


@dataclass(frozen=True)
class Bundle:
    """A model of a bundle: images in, probabilities out; several threads may ask at a time."""

    folder: Path
    info: BundleInfo

    @property
    def classes(self) -> tuple[str, ...]:
        """In the order of the probabilities."""
        return self.info.classes

    @cached_property
    def preprocessing(self) -> Preprocessing:
        """What pictures are brought to before the model sees them; that of its first input."""
        return self.preprocessings[0]

    @cached_property
    def preprocessings(self) -> tuple[Preprocessing, ...]:
        """One for each input."""
        each = (self.info.preprocessing, *self.info.more_inputs)
        return tuple(Preprocessing.from_dict(content) for content in each)

    @cached_property
    def policy(self) -> Policy:
        """What is made of probabilities, inside the model too."""
        decision, abstention = self.info.decision, self.info.abstention
        return Policy(
            None if decision is None else Decision.from_dict(decision),
            None if abstention is None else Abstention.from_dict(abstention),
        )

    @property
    def digest(self) -> str:
        """Names the model's file: equal digests mean equal probabilities."""
        return " ".join(
            digest.sha256
            for name, digest in sorted(self.info.files.items())
            if name.startswith("model.")
        )

    @property
    def engine_name(self) -> str:
        """What runs it, for people: "ONNX Runtime f32"."""
        return f"{self.info.runtime} {self.info.precision}"

    @cached_property
    def runner(self) -> Runner:
        """The model in its runtime.

        Raises:
            BundleError: the runtime cannot open it.
        """
        row = RUNNERS[self.info.runtime]
        file = self.folder / self.info.model
        try:
            return row.open(file)
        except Exception as error:  # runtimes raise many kinds for a damaged model
            raise BundleError(
                f"{shown(file)} cannot be opened by {row.package} ({_first_line(error)}); export "
                "the run again, or update the package."
            ) from error

    def decoded(self, pictures: Sequence[PictureGiven]) -> tuple[Inputs, list[str]]:
        """Those pictures that can be read, in their order, and for each "" or why it cannot."""
        if len(self.preprocessings) == 1:
            return decode_many(pictures, self.preprocessing)
        return decode_sets(pictures, self.preprocessings)

    def prepared(self, images: PixelCache, *, progress: Progress = SILENT) -> Inputs:
        """The images of a pixel cache, row by row.

        Raises:
            DataError: a file has changed, or cannot be read at one of the sizes.
        """
        arrays = tuple(
            prepared_otherwise(images, rule, progress=progress).pixels
            for rule in self.preprocessings
        )
        return arrays[0] if len(arrays) == 1 else PixelSets(arrays)

    def probabilities(self, pixels: Inputs, *, progress: Progress = SILENT) -> NDArray[np.float64]:
        """Class probabilities of prepared images.

        Args:
            pixels: uint8 (N, H, W, 3), decoded and resized by this bundle's preprocessing, or one
                such array for each of :attr:`preprocessings`.

        Returns:
            float64 (N, C), rows sum to 1.
        """
        rows = [np.zeros((0, len(self.classes)))]
        with progress.stage("Predicting", len(pixels), "images") as stage:
            for start in range(0, len(pixels), _BATCH):
                block = pixels[start : start + _BATCH]
                given = as_input(
                    _filled(block), self.preprocessing, float_input=self.info.float_input
                )
                values = self._answered(given)[: len(block)]
                rows.append(values / values.sum(axis=1, keepdims=True))
                stage.advance(len(block))
        return np.concatenate(rows)

    def _answered(self, given: Inputs) -> NDArray[np.float64]:
        """What the model says of so many images as go through it at a time, held to its form.

        Raises:
            BundleError: it fails, or gives no probabilities of the classes.
        """
        file = self.folder / self.info.model
        try:
            found = np.asarray(self.runner(given)[0])
        except (BundleError, MemoryError):
            raise
        except Exception as error:  # a runtime's own kinds: no such input, another size or type
            raise BundleError(
                f"{shown(file)} is not the model that {ABOUT} describes ({_first_line(error)}); "
                "export the run again."
            ) from error
        wanted = (len(given), len(self.classes))
        if found.shape != wanted or found.dtype.kind != "f":
            raise BundleError(
                f"{shown(file)} is not the model that {ABOUT} describes: it gives {found.dtype} of "
                f"{found.shape} instead of probabilities of {wanted}; export the run again."
            )
        values = found.astype(np.float64)
        if not (np.isfinite(values).all() and (values >= 0).all() and values.any(axis=1).all()):
            raise BundleError(
                f"{shown(file)} gives numbers that are no probabilities; export the run again."
            )
        return values


def _filled(block: Inputs) -> Inputs:
    """A block of images with its last one repeated, so that there are always as many."""
    rows = np.minimum(np.arange(_BATCH), len(block) - 1)
    return block[rows] if isinstance(block, PixelSets) else np.asarray(block)[rows]


def as_input(pixels: Inputs, preprocessing: Preprocessing, *, float_input: bool) -> Inputs:
    """Prepared images, uint8 (N, H, W, 3), as a model takes them: as they are, or normalised.

    Models of several inputs take no others than uint8.
    """
    if not float_input or isinstance(pixels, PixelSets):
        return pixels
    mean, std = (np.array(values, np.float32) for values in (preprocessing.mean, preprocessing.std))
    scaled = (pixels.astype(np.float32) / 255 - mean) / std
    return np.ascontiguousarray(scaled.transpose(0, 3, 1, 2))


def is_bundle(folder: Path) -> bool:
    """Whether a folder says that it is a bundle."""
    return (folder / ABOUT).is_file()


def open_bundle(folder: Path) -> Bundle:
    """Open a bundle; its files are held against ``model.json``.

    Raises:
        BundleError: it is none, is damaged, comes from a newer version, or nothing here runs it.
    """
    file = folder / ABOUT
    info = _read(file)
    if info.runtime not in RUNNERS:
        raise BundleError(
            f"{shown(folder)} is an export for {shown(info.runtime)}, which tellapart does not "
            f"run; export the run again with --to {quoted(tuple(RUNNERS))}."
        )
    package = RUNNERS[info.runtime].package
    if find_spec(package) is None:
        raise BundleError(f"{shown(folder)} needs the package {package}: pip install {package}.")
    for name, written in info.files.items():
        path = folder / name
        if Path(name).name != name or not name.isprintable():
            raise BundleError(f"{shown(file)} is damaged: it names the file '{shown(name)}'.")
        if name == "README.md":  # made to be edited
            continue
        try:
            found = FileDigest.of(path.read_bytes())
        except OSError as error:
            raise BundleError(
                f"{shown(path)} cannot be read ({error.strerror}); export the run again."
            ) from error
        if found != written:
            raise BundleError(
                f"{shown(path)} was changed since the bundle was written; export the run again."
            )
    if info.model not in info.files:
        raise BundleError(f"{shown(file)} is damaged: it does not list its model.")
    bundle = Bundle(folder, info)
    try:
        decision = bundle.policy.decision
        _ = bundle.preprocessings
        if decision is not None and decision.positive not in info.classes:
            raise ValueError(f"a decision about '{decision.positive}'")
        if len(info.classes) < 2 or len(set(info.classes)) != len(info.classes):
            raise ValueError(f"the classes {', '.join(info.classes)}")
        more = 0 if info.abstention is None else 1
        if info.answers[: len(info.classes)] != info.classes or (
            len(info.answers) != len(info.classes) + more
        ):
            raise ValueError(f"the answers {', '.join(info.answers)}")
    except KeyError as error:
        raise BundleError(f"{shown(file)} is damaged: it lacks {shown(str(error))}.") from error
    except ValueError as error:
        raise BundleError(f"{shown(file)} is damaged: it has {shown(str(error))}.") from error
    except TypeError as error:
        raise BundleError(
            f"{shown(file)} is damaged: a value of another kind ({shown(str(error))})."
        ) from error
    return bundle


def _read(file: Path) -> BundleInfo:
    try:
        content = json.loads(file.read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        hint = (
            "; a model of other programs has no classes and preprocessing that could be trusted"
            if any(file.parent.glob("*.onnx")) else ""
        )  # fmt: skip
        raise BundleError(
            f"{shown(file.parent)} is no export of tellapart: it has no {ABOUT}{hint}."
        ) from None
    except OSError as error:
        raise BundleError(f"{shown(file)} cannot be read: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{shown(file)} is damaged: {error}.") from error
    if not isinstance(content, dict) or "format" not in content or "tellapart" not in content:
        raise BundleError(f"{shown(file)} was not written by tellapart.")
    if isinstance(content["format"], int) and content["format"] < 1:
        raise BundleError(f"{shown(file)} was not written by tellapart.")
    if not isinstance(content["format"], int) or content["format"] > FORMAT:
        raise BundleError(
            f"{shown(file.parent)} was made by a newer tellapart; update this one to open it."
        )
    try:
        return _of_info().validate_json(json.dumps(content), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise BundleError(
            f"{shown(file)} is damaged or was changed: its key '{key}' is wrong ({first['msg']}); "
            "export the run again."
        ) from error


@cache
def _of_info() -> TypeAdapter[BundleInfo]:
    return TypeAdapter(BundleInfo)


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return shown(lines[0][:200]) if lines else type(error).__name__
