"""Classifier: a trained network with all that is needed to use it on files.

It is stored as one safetensors file: the weights, and in the file's header the classes,
the preprocessing, the network's description and the temperature. Without that header it
cannot be loaded, so class names and preprocessing never part from the weights. The header
also has digests of all that, and a file that no longer fits them is refused.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from threading import RLock
from typing import Annotated, Any, Literal, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, TypeAdapter

from tellapart import cache
from tellapart.data.pixels import PixelCache, prepared_otherwise
from tellapart.engines.choice import build_engine, recorded_engine
from tellapart.engines.engine import Engine
from tellapart.engines.features import backbone_key
from tellapart.engines.int8 import Int8Network, int8_engine_name, open_int8
from tellapart.errors import RunError, TellapartError
from tellapart.extras import pytorch_is_here, require_pytorch
from tellapart.models.feature_heads import FeatureHead, can_be_frozen, read_head, read_neighbours
from tellapart.models.lite import lite_name
from tellapart.models.lite_folding import are_kept
from tellapart.models.lite_network import LiteNetwork, lite_backbone, lite_network
from tellapart.models.tensors import (
    State,
    joint_digest,
    read_header,
    read_tensors,
    tensor_digests,
    write_tensors,
)
from tellapart.models.weights import canonical_name
from tellapart.pixels.decode import PictureGiven, decode_many
from tellapart.pixels.preprocessing import Preprocessing
from tellapart.pixels.views import TEST_TIME_VIEWS, show
from tellapart.prediction.answering import BLOCK_IMAGES, Answering, to_probabilities
from tellapart.progress import SILENT, Progress
from tellapart.recipe import BackboneModel, ScratchModel

_Network = Annotated[ScratchModel | BackboneModel, Field(discriminator="kind")]
#: The tensor that holds a backbone in int8: an ONNX file, uint8 (bytes,).
INT8_NETWORK = "int8.network"
_Head = TypeVar("_Head", bound=FeatureHead)


@dataclass(frozen=True)
class Description:
    """What a weight file must say beside its weights."""

    classes: tuple[str, ...]
    preprocessing: Preprocessing
    model: ScratchModel | BackboneModel
    test_time: str = "none"
    #: Logits are divided by this before the softmax (Guo et al. 2017).
    temperature: float = 1.0
    #: Which pretrained backbone was left as it was; "" where it was trained. Only a name: what
    #: is shared between runs goes by the weights themselves.
    frozen_backbone: str = ""
    #: On a frozen backbone the nearest training images vote, and the model has no output layer.
    neighbours: bool = False
    #: "int8": the frozen backbone is run in 8 bits, as the tensor :data:`INT8_NETWORK` has it.
    precision: Literal["auto", "int8"] = "auto"

    def to_json(self) -> str:
        content = asdict(self) | {
            "preprocessing": self.preprocessing.to_dict(),
            "model": self.model.model_dump(mode="json"),
        }
        # Said only where it is so: older versions do not know the words.
        if not self.neighbours:
            del content["neighbours"]
        if self.precision == "auto":
            del content["precision"]
        return json.dumps(content)

    @classmethod
    def from_json(cls, text: str) -> Description:
        """The Description that :meth:`to_json` wrote.

        Raises:
            KeyError, TypeError, ValueError: the text is none.
            TellapartError: a setting of the network is wrong.
        """
        content: dict[str, Any] = json.loads(text)
        model: Any = TypeAdapter(_Network).validate_python(content.pop("model"))
        preprocessing = Preprocessing.from_dict(content.pop("preprocessing"))
        classes = check_classes(content.pop("classes"))
        described = cls(classes=classes, preprocessing=preprocessing, model=model, **content)
        described._check()
        return described

    def _check(self) -> None:
        if self.test_time not in TEST_TIME_VIEWS:
            raise ValueError(f"test_time is {self.test_time!r}")
        check_temperature(self.temperature)
        if self.model.output == "sigmoid" and len(self.classes) != 2:
            raise ValueError(f"a sigmoid output for {len(self.classes)} classes")
        plain = isinstance(self.model, BackboneModel) and can_be_frozen(self.model)
        if not isinstance(self.frozen_backbone, str) or (self.frozen_backbone and not plain):
            raise ValueError("a frozen backbone with layers between it and the output")
        if self.neighbours not in (True, False) or (self.neighbours and not self.frozen_backbone):
            raise ValueError("neighbours that vote without a frozen backbone")
        if self.precision not in ("auto", "int8"):
            raise ValueError(f"the precision is {self.precision!r}")
        if self.precision == "int8" and not self.frozen_backbone:
            raise ValueError("int8 without a frozen backbone")

    @property
    def preprocessings(self) -> tuple[Preprocessing, ...]:
        """All ways in which an image is prepared: one."""
        return (self.preprocessing,)

    @property
    def single_output(self) -> bool:
        """Whether the logits are one column, for the second of two classes."""
        return self.model.output == "sigmoid"

    @property
    def outputs(self) -> int:
        """Columns of the logits."""
        return 1 if self.single_output else len(self.classes)


def check_classes(classes: Any) -> tuple[str, ...]:
    """Names of two classes and more, as a description has them.

    Raises:
        ValueError: they are something else.
    """
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        raise ValueError("classes are not a list of names")
    if len(set(classes)) != len(classes) or len(classes) < 2:
        raise ValueError(f"{len(classes)} classes, {len(set(classes))} of them apart")
    return tuple(classes)


def check_temperature(temperature: Any) -> None:
    """A number above 0.

    Raises:
        ValueError: it is something else.
    """
    if not isinstance(temperature, int | float) or not 0 < temperature < math.inf:
        raise ValueError(f"the temperature is {temperature!r}")


@dataclass(frozen=True)
class StoredTensors:
    """The tensors of a classifier's file, read when they are first needed, and once.

    Raises:
        RunError: they are not those that the file was written with, or not all numbers.
    """

    file: Path
    #: That of the file's header.
    digest: str

    @property
    def values(self) -> dict[str, NDArray[Any]]:
        """Each tensor by its name."""
        return self._read[0]

    @property
    def digests(self) -> dict[str, str]:
        """The digest of each tensor."""
        return self._read[1]

    @cached_property
    def _read(self) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
        state, digests = read_tensors(self.file, self.digest)
        for name, value in state.items():
            if value.dtype.kind == "f" and not np.isfinite(value).all():
                raise RunError(f"{self.file} is damaged: {name} holds values that are no numbers.")
        return state, digests


class Described(Protocol):
    """The description of any classifier."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of the probabilities."""

    def to_json(self) -> str:
        """What is written into the file's header."""


def save_classifier(file: Path, state: State, description: Described) -> str:
    """Write weights and description to one file, under a temporary name first.

    Returns:
        The file's digest: that of weights and description together (:attr:`Classifier.digest`).
    """
    return write_tensors(file, state, description.to_json())


def classifier_in_memory(
    state: State, description: Description, *, device: str = "auto"
) -> Classifier:
    """A classifier of weights that no file holds yet; answers as one that was saved and loaded."""
    return Classifier(None, description, device, weights=state)


def load_classifier(
    file: Path,
    *,
    device: str = "auto",
    digest: str = "",
    classes: Sequence[str] = (),
) -> Classifier:
    """Open a classifier; its weights are read when they are first needed.

    Args:
        file: what :func:`save_classifier` wrote.
        digest, classes: what ``run.json`` says they are; empty: they are not compared.

    Raises:
        RunError: the file is missing, damaged, lacks its description, or is of another run.
            Weights that are not those it was written with are noticed when they are read.
    """
    description, found = described_in(file, Description.from_json, digest=digest, classes=classes)
    return Classifier(file, description, device, found)


_Described = TypeVar("_Described", bound=Described)


def described_in(
    file: Path, read: Callable[[str], _Described], *, digest: str = "", classes: Sequence[str] = ()
) -> tuple[_Described, str]:
    """The description of a classifier's file, checked, and the file's digest.

    Args:
        read: makes it of the header's text.
        digest, classes: what ``run.json`` says they are; empty: they are not compared.

    Raises:
        RunError: as :func:`load_classifier`.
    """
    if not file.is_file():
        raise RunError(f"{file} is missing: this run has no trained model.")
    header = read_header(file)
    if not header.text:
        raise RunError(f"{file} holds weights but no classes and preprocessing; train again.")
    try:
        description = read(header.text)
    except (KeyError, TypeError, ValueError, AttributeError, TellapartError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise RunError(f"{file} is damaged: its description says {reason}.") from error
    if classes and tuple(classes) != description.classes:
        raise RunError(
            f"{file} is of another run: its classes are {', '.join(description.classes)[:200]}, "
            f"and run.json says {', '.join(classes)[:200]}."
        )
    if digest and digest != header.digest:
        raise RunError(
            f"{file} is not the model that the run was finished with, by its digest in run.json; "
            "put that one back, or train again."
        )
    return description, header.digest


@dataclass(frozen=True)
class Classifier(Answering[NDArray[np.uint8]]):
    """One network that answers; its pixels are uint8 (N, H, W, 3), by its preprocessing."""

    #: Where the weights are read from when they are first needed; None: they are in memory.
    file: Path | None
    description: Description
    device: str = "auto"
    #: Of weights and description, as the file was written; "" in files of the first version.
    digest: str = ""
    weights: State | None = field(default=None, repr=False, compare=False)
    #: Held while an engine is opened, so that of two threads one does it.
    _opening: Any = field(default_factory=RLock, repr=False, compare=False)
    #: Engines that are open, by what they compute; None: its own. Members of a joint classifier
    #: share them.
    engines: dict[str, Engine] | None = field(default=None, repr=False, compare=False)

    @property
    def classes(self) -> tuple[str, ...]:
        return self.description.classes

    @property
    def preprocessing(self) -> Preprocessing:
        return self.description.preprocessing

    @property
    def engine_name(self) -> str:
        """Engine and precision that have predicted ("OpenVINO bf16"); "" before that."""
        names = dict.fromkeys(engine.name for engine in self._engines.values())
        return " and ".join(names)

    def state(self) -> dict[str, NDArray[Any]]:
        """All weights of the network, by name.

        Raises:
            RunError: they are not those that the file was written with, or not all numbers.
        """
        tensors = self.tensors()
        tensors.pop(INT8_NETWORK, None)
        return tensors

    def tensors(self) -> dict[str, NDArray[Any]]:
        """All that the file holds: :meth:`state`, and the backbone in int8 where it has one.

        Raises:
            RunError: as :meth:`state`.
        """
        if self.weights is not None:
            return dict(self.weights)
        stored = StoredTensors(self.stored_file, self.digest)
        self.__dict__["_digests"] = stored.digests
        return stored.values

    def network(self) -> Any:
        """The network as a ``torch.nn.Module`` in inference mode, float32, on the CPU.

        Raises:
            RunError: as :meth:`state`, or the weights are of another network than described.
            MissingPackageError: PyTorch is not installed.
        """
        require_pytorch(f"The network {self._network_name}")
        import torch

        from tellapart.models.network import build_network

        network = build_network(
            self.description.model,
            len(self.classes),
            self.preprocessing,
            random_weights=True,
        )
        state = self.state()
        if self.description.neighbours:
            from tellapart.models.head import Neighbours

            network.head.output = Neighbours(self._read(read_neighbours, state))
        for name, expected in network.state_dict().items():
            theirs = state.get(name)
            if theirs is None or expected.is_floating_point() != (theirs.dtype.kind == "f"):
                raise self._other_network(name)
            shape = tuple(expected.shape) or (1,)  # safetensors keeps a single number as a row
            if (theirs.shape or (1,)) != shape:
                raise self._other_network(name)
        if state.keys() != network.state_dict().keys():
            raise self._other_network(min(state.keys() - network.state_dict().keys()))
        network.load_state_dict({name: torch.from_numpy(value) for name, value in state.items()})
        return network.eval()

    @cached_property
    def int8_network(self) -> Int8Network | None:
        """The backbone in int8, where it is run so.

        Raises:
            RunError: as :meth:`state`.
        """
        if self.description.precision != "int8":
            return None
        content = self.tensors().get(INT8_NETWORK)
        if content is None or content.dtype != np.uint8 or content.ndim != 1:
            raise self._other_network(INT8_NETWORK)
        return Int8Network(content.tobytes())

    def plain_network(self) -> LiteNetwork | None:
        """The network from images to logits where it needs no PyTorch; None for others.

        Raises:
            RunError: as :meth:`state`.
        """
        if self.description.neighbours:
            return None
        return self._lite(self.description.outputs)

    def plain_backbone(self) -> LiteNetwork | None:
        """The network from images to the backbone's features where it needs no PyTorch.

        Raises:
            RunError: as :meth:`state`.
        """
        return self._lite(0)

    def exact_engine(self) -> Engine:
        """The whole network, from images to logits, in float32 throughout.

        Raises:
            MissingPackageError: it needs PyTorch, which is not installed.
        """
        return build_engine(
            self.network,
            key=f"network-{self._network_key}{self._without_pytorch}",
            height=self.preprocessing.height,
            width=self.preprocessing.width,
            device="cpu",
            exact=True,
            plain=lambda: self.plain_network() if self._without_pytorch else None,
        )

    def _lite(self, outputs: int) -> LiteNetwork | None:
        """The network without PyTorch, to logits or (0 outputs) to the backbone's features."""
        try:
            return lite_network(
                self.description.model, self.state(), self.preprocessing, outputs=outputs
            )
        except ValueError as error:
            raise self._other_network(str(error)) from error

    @property
    def _network_name(self) -> str:
        model = self.description.model
        return model.backbone if isinstance(model, BackboneModel) else model.network

    def _other_network(self, name: str) -> RunError:
        return RunError(
            f"{self.file} is damaged: its weights '{name}' are not those of the network that it "
            "describes; train again."
        )

    @property
    def calibration(self) -> Description:
        return self.description

    def prepared(self, images: PixelCache, *, progress: Progress = SILENT) -> NDArray[np.uint8]:
        """Of a pixel cache, uint8 (N, H, W, 3)."""
        return prepared_otherwise(images, self.preprocessing, progress=progress).pixels

    def decoded(self, pictures: Sequence[PictureGiven]) -> tuple[NDArray[np.uint8], list[str]]:
        """Pictures by this classifier's preprocessing."""
        return decode_many(pictures, self.preprocessing)

    def noise(self, images: int) -> NDArray[np.uint8]:
        """uint8 (images, H, W, 3)."""
        size = (images, self.preprocessing.height, self.preprocessing.width, 3)
        return np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8)

    def rows_of(
        self, pixels: NDArray[np.uint8], rows: slice | NDArray[np.int64]
    ) -> NDArray[np.uint8]:
        """Some of the images."""
        return np.asarray(pixels[rows])

    def block_of_logits(self, block: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Logits of so many images as are in memory at a time."""
        return self.logits_seen(block, {})

    def logits_seen(
        self, block: NDArray[np.uint8], seen: dict[Any, NDArray[np.float32]]
    ) -> NDArray[np.float32]:
        """Logits (N, num_classes or 1) of so many images as are in memory at a time.

        Args:
            seen: what frozen backbones have said of these images already, added to here; for
                classifiers on one backbone that look at the same images.
        """
        engine, logits = self._engine(), []
        for view in TEST_TIME_VIEWS[self.description.test_time]:
            if not self.description.frozen_backbone:
                logits.append(engine(show(block, view)))
                continue
            key = self.features_key, self.preprocessing.resize_rule(), view
            if key not in seen:
                seen[key] = engine(show(block, view))
            logits.append(self._head(seen[key]))
        mean: NDArray[np.float32] = np.mean(logits, axis=0, dtype=np.float32)
        return mean

    def features(
        self, pixels: NDArray[np.uint8], *, progress: Progress = SILENT
    ) -> NDArray[np.float32]:
        """Vectors (N, D) of the images as they are (no views): those of the frozen backbone, or
        else what the output layer sees."""
        engine = self._feature_engine()
        blocks = []
        with progress.stage("Features", len(pixels), "images") as stage:
            for start in range(0, len(pixels), BLOCK_IMAGES):
                block = np.asarray(pixels[start : start + BLOCK_IMAGES])
                blocks.append(engine(block))
                stage.advance(len(block))
        return np.concatenate(blocks) if blocks else np.zeros((0, 0), dtype=np.float32)

    @property
    def features_cost_nothing(self) -> bool:
        """Whether :meth:`probabilities_and_features` is one pass through the network."""
        return bool(self.description.frozen_backbone) and self.description.test_time == "none"

    def probabilities_and_features(
        self, pixels: NDArray[np.uint8], *, progress: Progress = SILENT
    ) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        """What :meth:`probabilities` and :meth:`features` give, in one pass where that can be."""
        if self.features_cost_nothing:
            features = self.features(pixels, progress=progress)
            if not len(features):
                return np.zeros((0, len(self.classes))), features
            return to_probabilities(self._head(features), self.description), features
        return self.probabilities(pixels, progress=progress), self.features(pixels)

    @cached_property
    def feature_head(self) -> FeatureHead:
        """What stands on the frozen backbone, as arrays.

        Raises:
            RunError: as :meth:`state`.
        """
        described = self.description
        if described.neighbours or not isinstance(described.model, BackboneModel):
            return self._read(read_neighbours, self.state())
        layers = described.model.head
        return self._read(lambda state, outputs: read_head(state, layers, outputs), self.state())

    def _read(self, read: Callable[[State, int], _Head], state: State) -> _Head:
        try:
            return read(state, self.description.outputs)
        except ValueError as error:
            raise self._other_network(str(error)) from error

    @cached_property
    def _digests(self) -> dict[str, str]:
        """The digest of each tensor."""
        if self.weights is not None:
            return tensor_digests(self.weights)
        return read_tensors(self.stored_file, self.digest)[1]

    @property
    def stored_file(self) -> Path:
        """The file that holds the weights; for what is only done with saved classifiers."""
        if self.file is None:
            raise ValueError("a classifier needs a file or weights")
        return self.file

    def _head(self, output: NDArray[np.float32]) -> NDArray[np.float32]:
        if not self.description.frozen_backbone:
            return output
        # Always so many rows: how the sums of a matrix product are rounded hangs on that, and an
        # image is to get the same numbers alone and among others.
        filled = np.zeros((BLOCK_IMAGES, output.shape[1]), output.dtype)
        logits = np.zeros((len(output), self.description.outputs), np.float32)
        for start in range(0, len(output), BLOCK_IMAGES):
            rows = output[start : start + BLOCK_IMAGES]
            filled[: len(rows)] = rows
            logits[start : start + len(rows)] = self.feature_head.logits(filled)[: len(rows)]
        return logits

    @cached_property
    def _engines(self) -> dict[str, Engine]:
        """Engines that are open, by what they compute."""
        return {} if self.engines is None else self.engines

    @cached_property
    def _network_key(self) -> str:
        """Names network and weights, whatever the temperature beside them."""
        return cache.text_digest(
            replace(self.description, temperature=1.0).to_json(), joint_digest(self._digests)
        )

    @cached_property
    def features_key(self) -> str:
        """Names what :meth:`features` computes: equal keys mean equal features of equal pixels.

        A frozen backbone has the key of its weights, wherever they come from, so that all runs
        on it and the extraction of features share an engine.
        """
        model = self.description.model
        if not self.description.frozen_backbone or not isinstance(model, BackboneModel):
            return f"features-{self._network_key}{self._without_pytorch}"
        backbone = {
            name: digest
            for name, digest in self._digests.items()
            if not name.startswith("head.") and name != INT8_NETWORK
        }
        digest = joint_digest(backbone)
        key = backbone_key(model, self.preprocessing, weights=digest)
        if self.int8_network is not None:
            return self.int8_network.key(key)
        is_lite = lite_name(canonical_name(model.backbone)) is not None
        return key + self._without_pytorch if is_lite and not are_kept(digest) else key

    def features_engine(self) -> str:
        """Name of the engine that computes :meth:`features`; made if it is not in the cache."""
        if self.description.precision == "int8":
            return int8_engine_name()
        name = recorded_engine(
            self.features_key,
            height=self.preprocessing.height,
            width=self.preprocessing.width,
            device=self.device,
        )
        return name or self._feature_engine().name

    def _engine(self) -> Engine:
        """The backbone's own engine where it is frozen (shared by all such runs), else ours."""
        if self.description.frozen_backbone:
            return self._feature_engine()
        return self._opened(
            self.network,
            f"network-{self._network_key}{self._without_pytorch}",
            lambda: self._lite(self.description.outputs) if self._without_pytorch else None,
        )

    @cached_property
    def _without_pytorch(self) -> str:
        """What the key of a trained network's engine ends in where PyTorch did not make it.

        Its BatchNorm is folded by NumPy then, which shows in the last bits.
        """
        return "" if pytorch_is_here() else "-plain"

    def _feature_engine(self) -> Engine:
        if self.int8_network is not None:
            return self._opened_int8(self.int8_network)
        if self.description.frozen_backbone:
            return self._opened(
                lambda: _without_head(self.network()), self.features_key, self._frozen
            )
        return self._opened(
            lambda: _up_to_output(self.network()),
            self.features_key,
            lambda: self._lite(0) if self._without_pytorch and not self._has_layers else None,
        )

    def _frozen(self) -> LiteNetwork | None:
        return lite_backbone(self.description.model, self.state(), self.preprocessing)

    @property
    def _has_layers(self) -> bool:
        """Whether there are layers between the backbone and the output."""
        model = self.description.model
        return isinstance(model, BackboneModel) and bool(model.head)

    def _opened_int8(self, network: Int8Network) -> Engine:
        height, width = self.preprocessing.height, self.preprocessing.width
        opened = f"{self.features_key} {height} x {width}"
        with self._opening:
            if opened not in self._engines:
                self._engines[opened] = open_int8(network, self.features_key, height, width)
            return self._engines[opened]

    def _opened(
        self,
        make_module: Callable[[], Any],
        key: str,
        plain: Callable[[], LiteNetwork | None] = lambda: None,
    ) -> Engine:
        height, width = self.preprocessing.height, self.preprocessing.width
        opened = f"{key} {height} x {width}"
        with self._opening:
            if opened not in self._engines:
                self._engines[opened] = build_engine(
                    make_module, key=key, height=height, width=width, device=self.device,
                    plain=plain,
                )  # fmt: skip
            return self._engines[opened]


def _without_head(network: Any) -> Any:
    import torch

    return torch.nn.Sequential(network.normalise, network.backbone).eval()


def _up_to_output(network: Any) -> Any:
    import torch

    return torch.nn.Sequential(network.normalise, network.backbone, network.head.hidden).eval()
