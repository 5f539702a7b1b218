"""RunInfo: what ``run.json`` says of a run, typed, and checked when it is read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from tellapart.errors import RunError
from tellapart.files import write_json
from tellapart.machine import Machine

#: Raised when the meaning of a run folder's files changes.
FORMAT = 1

Status = Literal["running", "complete", "interrupted"]
RUNNING: Status = "running"
COMPLETE: Status = "complete"
INTERRUPTED: Status = "interrupted"


@dataclass(frozen=True)
class LeftOut:
    """A file that was left out, and why."""

    path: str
    reason: str
    kind: str = ""


@dataclass(frozen=True)
class BorderlinePair:
    """Two images of different parts that may be copies and are not counted as such."""

    first: str
    second: str
    #: Correlation of the two pictures when aligned.
    score: float


@dataclass(frozen=True)
class Leaks:
    """Images of one part that an earlier part has too: train before validation before test."""

    #: Of the part in all.
    images: int
    #: Byte for byte.
    copies: int = 0
    #: Slightly changed: resized, recompressed, cropped a little, brightened.
    near: int = 0
    #: The most alike pairs that were left in, at most 20; how many there are is ``num_borderline``.
    borderline: tuple[BorderlinePair, ...] = ()
    num_borderline: int = 0
    #: "" or why changed copies were not looked for: "too many" images, "all alike".
    not_sought: str = ""

    @property
    def leaked(self) -> int:
        """Images that an earlier part has, in either way."""
        return self.copies + self.near


@dataclass(frozen=True)
class DataInfo:
    """The images that a run was made with."""

    #: Where the paths of the images start from.
    root: str
    #: Of their contents and the resize rule; equal fingerprints mean equal pixels.
    fingerprint: str
    images: int
    #: Images of each class, by part.
    counts: Mapping[str, Mapping[str, int]]
    #: Of the path, class and part of every image, in their order; "" in older runs.
    assignment: str = ""
    notes: tuple[str, ...] = ()
    #: The first thousand of those left out; how many there are in all is ``num_left_out``.
    left_out: tuple[LeftOut, ...] = ()
    num_left_out: int = 0
    #: What the audit before training found, in sentences.
    audit: tuple[str, ...] = ()
    #: For validation and test what an earlier part has of them; empty in older runs.
    leaks: Mapping[str, Leaks] = field(default_factory=dict)
    #: Groups of two images and more that belong together: copies, or by ``--group-by``.
    groups: int = 0
    #: Only in older runs, whose ``source.folder`` may be relative: its absolute path.
    source: str = ""


@dataclass(frozen=True)
class Parameters:
    """Numbers of weights; of those that were trained in the last stage."""

    total: int = 0
    trainable: int = 0


@dataclass(frozen=True)
class PredictionInfo:
    """What computed the stored predictions."""

    #: For people: "OpenVINO", "PyTorch (cuda)".
    engine: str
    #: "bf16", "f16" or "f32".
    precision: str


@dataclass(frozen=True)
class WeightsOrigin:
    """Weights that a run builds on, and what is known of their making."""

    #: A timm name, or the name of the run.
    name: str
    #: As their publisher says; "" for a run's own.
    licence: str
    #: The images that they learned from.
    trained_on: str
    #: Package, file, hub or run.
    source: str
    #: Of the file; "" where that was not looked at.
    sha256: str = ""


@dataclass(frozen=True)
class TrainedStage:
    """How far one stage of a training in epochs came."""

    #: The epoch whose weights were kept, counted within the stage.
    best_epoch: int
    last_epoch: int
    #: "" or why it ended early.
    stopped: str = ""
    #: The epoch that it was to end with; 0 in older runs, which do not say.
    target_epochs: int = 0


@dataclass(frozen=True)
class FoldInfo:
    """One fold of a cross-validation: images that a classifier was scored on which had not seen
    them."""

    #: Held out, and of them right.
    images: int
    right: int
    #: Chosen on the fold's own validation images.
    temperature: float = 1.0
    #: As ``Decision.from_dict`` reads it; None: the likeliest class.
    decision: Mapping[str, Any] | None = None
    #: Of a probe.
    strength: float | None = None
    #: Of a training in epochs: the epoch that was kept in each stage.
    epochs: tuple[int, ...] = ()
    seconds: float = 0.0


@dataclass(frozen=True)
class CrossValidation:
    """How every image was predicted by a classifier that had not seen it, nor a copy of it."""

    folds: tuple[FoldInfo, ...]
    #: What the classifier in the folder, trained on all images, took from the folds.
    carried_over: str = ""
    #: ``Number.to_json()``: the accuracy of a classifier trained in the same way on other images
    #: of this kind; None where that was not estimated.
    procedure: Mapping[str, Any] | None = None
    #: Cross-validations, each with folds of its own, that ``procedure`` comes from.
    repeats: int = 1


@dataclass(frozen=True)
class StoredVerdict:
    """Whether the number of a run can be believed, as its report said when it was made."""

    #: "green", "yellow" or "red".
    light: str
    answer: str
    #: What speaks against the number, the weightiest first; empty where the light is green.
    doubts: tuple[str, ...] = ()


@dataclass(frozen=True)
class FileDigest:
    """The content of a file, or of the beginning of one that only grows."""

    size: int
    sha256: str

    @classmethod
    def of(cls, content: bytes) -> FileDigest:
        """Of these bytes."""
        return cls(len(content), hashlib.sha256(content).hexdigest())


@dataclass(frozen=True)
class RunInfo:
    """What ``run.json`` says, each fact by whoever knows it."""

    format: int
    status: Status
    #: The version that made the run.
    tellapart: str
    created: str
    command: str
    #: In the order of every probability row.
    classes: tuple[str, ...]
    #: As ``Preprocessing.from_dict`` reads it.
    preprocessing: Mapping[str, Any]
    #: As ``Source.from_dict`` reads it; see :attr:`Run.source`.
    source: Mapping[str, Any]
    data: DataInfo
    seed: int
    device: str
    machine: Machine
    #: The run whose weights training started from.
    parent: str | None = None
    # What follows is not known before training has ended.
    parameters: Parameters = field(default_factory=Parameters)
    #: Logits are divided by it.
    temperature: float = 1.0
    #: How a class is chosen from probabilities, as ``Decision.from_dict`` reads it; see
    #: :attr:`Run.decision`. None: the likeliest, also in runs of older versions.
    decision: Mapping[str, Any] | None = None
    #: What else makes answers of probabilities, as ``Policy.from_dict`` reads it; see
    #: :attr:`Run.policy`. None: nothing, also in runs of older versions.
    policy: Mapping[str, Any] | None = None
    #: What the way of training has to say of itself.
    facts: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    #: "" or why training ended before its time, unless the recipe itself asked for that.
    stopped: str = ""
    #: Of ``model.safetensors``, as it was written; "" in runs of older versions.
    model_digest: str = ""
    #: The other files of the run that are read again, by name; empty in runs of older versions.
    files: Mapping[str, FileDigest] = field(default_factory=dict)
    #: Whose weights it builds on, the first ones first; empty where it began at random, and in
    #: runs of older versions.
    weights: tuple[WeightsOrigin, ...] = ()
    #: None: the held-out parts were predicted by the one classifier of the folder.
    cross_validation: CrossValidation | None = None
    #: How often the test part was scored.
    test_evaluations: int = 0
    #: None where no image was held out, and in runs of older versions.
    verdict: StoredVerdict | None = None
    #: None where that was not written down: in runs of older versions.
    prediction: PredictionInfo | None = None
    #: What the last training asked the cache for: "pixels", "features", "network" (converted) ->
    #: whether any of it was there. What is not named was not needed. None: an older run.
    from_cache: Mapping[str, bool] | None = None
    #: By step of the last training, in the order in which they ran, and "total".
    seconds: Mapping[str, float] = field(default_factory=dict)
    peak_memory_bytes: int = 0

    @property
    def stages(self) -> tuple[TrainedStage, ...]:
        """The stages of a training in epochs; empty for any other."""
        return _of_stages().validate_python(self.facts.get("stages", ()))


@cache
def _of_info() -> TypeAdapter[RunInfo]:
    return TypeAdapter(RunInfo)


@cache
def _of_stages() -> TypeAdapter[tuple[TrainedStage, ...]]:
    return TypeAdapter(tuple[TrainedStage, ...])


def read_info(file: Path) -> RunInfo:
    """Read and check a ``run.json``; keys that this version does not know are passed over.

    Raises:
        RunError: it is missing, damaged or changed, or comes from a newer version.
    """
    content = read_object(file)
    if "format" not in content or "classes" not in content:
        raise RunError(f"{file} was not written by tellapart.")
    if not isinstance(content["format"], int) or content["format"] > FORMAT:
        raise RunError(f"{file.parent} was made by a newer tellapart; update this one to open it.")
    try:
        # As JSON, so that only what JSON cannot tell apart (list and tuple) is converted.
        info = _of_info().validate_json(json.dumps(content), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        wrong = "is missing" if first["type"] in _MISSING else f"is wrong ({first['msg']})"
        raise RunError(
            f"{file} is damaged or was changed: its key '{key}' {wrong}; put back a copy of the "
            "file, or train again."
        ) from error
    if _DIGEST in content and content[_DIGEST] != digest_of(content):
        raise RunError(
            f"{file} was changed since it was written; put back a copy of the file, or train again."
        )
    return info


def write_info(file: Path, content: Mapping[str, Any]) -> None:
    """Write a ``run.json`` with the digest of what it says."""
    # As it will be read: what is no valid Unicode is written as an escape.
    plain = json.loads(json.dumps(content, allow_nan=False))
    write_json(file, {**plain, _DIGEST: digest_of(plain)})


def digest_of(content: Mapping[str, Any]) -> str:
    """The digest of all that a ``run.json`` says but for the digest itself."""
    said = {key: value for key, value in content.items() if key != _DIGEST}
    return FileDigest.of(json.dumps(said, sort_keys=True).encode()).sha256


#: The key of a ``run.json`` that holds the digest of the others; older versions wrote none.
_DIGEST = "digest"

#: What pydantic calls a key that is not there.
_MISSING = ("missing", "missing_argument")


def read_object(file: Path) -> dict[str, Any]:
    """A JSON object of a run folder.

    Raises:
        RunError: it is missing or damaged.
    """
    try:
        content = json.loads(file.read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise RunError(f"{file.parent} is no run folder: it has no run.json.") from None
    except OSError as error:
        raise RunError(f"{file} cannot be read: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise RunError(f"{file} is damaged: {error}.") from error
    if not isinstance(content, dict):
        raise RunError(f"{file} was not written by tellapart.")
    return content
