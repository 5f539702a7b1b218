"""Classifier: a trained network with all that is needed to use it on files.

It is stored as one safetensors file: the weights, and in the file's header the classes,
the preprocessing, the network's description and the temperature. Without that header it
cannot be loaded, so class names and preprocessing never part from the weights.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from io import BytesIO
from pathlib import Path
from time import perf_counter
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from tellapart.engines.choice import build_engine
from tellapart.engines.engine import Engine
from tellapart.engines.openvino import FEW_IMAGES
from tellapart.errors import RunError
from tellapart.files import write_bytes
from tellapart.pixels.decode import decode_many
from tellapart.pixels.preprocessing import Preprocessing
from tellapart.pixels.views import TEST_TIME_VIEWS, view_images
from tellapart.progress import SILENT, Progress
from tellapart.recipe import BackboneModel, Model, ScratchModel

HEADER = "tellapart"
#: Images that are in memory at a time.
BLOCK_IMAGES = 256


@dataclass(frozen=True)
class Description:
    """What a weight file must say beside its weights."""

    classes: tuple[str, ...]
    preprocessing: Preprocessing
    model: ScratchModel | BackboneModel
    test_time: str = "none"
    #: Logits are divided by this before the softmax (Guo et al. 2017).
    temperature: float = 1.0
    #: Identifies a pretrained backbone that was left as it was; "" where it was trained.
    frozen_backbone: str = ""

    def to_json(self) -> str:
        content = asdict(self) | {
            "preprocessing": self.preprocessing.to_dict(),
            "model": self.model.model_dump(mode="json"),
        }
        return json.dumps(content)

    @classmethod
    def from_json(cls, text: str) -> Description:
        content: dict[str, Any] = json.loads(text)
        model: Any = TypeAdapter(Model).validate_python(content.pop("model"))
        preprocessing = Preprocessing.from_dict(content.pop("preprocessing"))
        classes = tuple(content.pop("classes"))
        return cls(classes=classes, preprocessing=preprocessing, model=model, **content)


def save_classifier(
    file: Path, state: Mapping[str, NDArray[Any]], description: Description
) -> None:
    """Write weights and description to one file, whole or not at all."""
    write_bytes(file, _file_content(state, description))


def _file_content(state: Mapping[str, NDArray[Any]], description: Description) -> bytes:
    from safetensors.numpy import save

    contiguous = {name: np.ascontiguousarray(value) for name, value in state.items()}
    content: bytes = save(contiguous, metadata={HEADER: description.to_json()})
    return content


def classifier_in_memory(
    state: Mapping[str, NDArray[Any]], description: Description, *, device: str = "auto"
) -> Classifier:
    """A classifier of weights that no file holds yet; answers as one that was saved and loaded."""
    return Classifier(None, description, device, state)


def load_classifier(file: Path, *, device: str = "auto") -> Classifier:
    """Open a classifier; its weights are read when they are first needed.

    Raises:
        RunError: the file is missing, damaged, or lacks its description.
    """
    from safetensors import SafetensorError, safe_open

    if not file.is_file():
        raise RunError(f"{file} is missing: this run has no trained model.")
    try:
        with safe_open(file, framework="numpy") as content:
            metadata = content.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise RunError(f"{file} is damaged: {error}.") from error
    if HEADER not in metadata:
        raise RunError(f"{file} holds weights but no classes and preprocessing; train again.")
    return Classifier(file, Description.from_json(metadata[HEADER]), device)


@dataclass(frozen=True)
class Classifier:
    """Images in, probabilities out."""

    #: Where the weights are read from when they are first needed; None: they are in memory.
    file: Path | None
    description: Description
    device: str = "auto"
    weights: Mapping[str, NDArray[Any]] | None = field(default=None, repr=False, compare=False)

    @property
    def classes(self) -> tuple[str, ...]:
        return self.description.classes

    @property
    def preprocessing(self) -> Preprocessing:
        return self.description.preprocessing

    def state(self) -> dict[str, NDArray[Any]]:
        """All weights, by name."""
        if self.weights is not None:
            return dict(self.weights)
        from safetensors.numpy import load_file

        return dict(load_file(self.stored_file))

    @property
    def engine_name(self) -> str:
        """What has computed the answers so far, for example "OpenVINO bf16"; "": none yet."""
        return next((engine.name for engine in self._engines.values()), "")

    def network(self) -> Any:
        """The network as a ``torch.nn.Module`` in inference mode, float32, on the CPU."""
        import torch

        from tellapart.models.network import build_network

        network = build_network(
            self.description.model,
            len(self.classes),
            self.preprocessing,
            random_weights=True,
        )
        network.load_state_dict({k: torch.from_numpy(v) for k, v in self.state().items()})
        return network.eval()

    def probabilities(
        self, pixels: NDArray[np.uint8], *, progress: Progress = SILENT
    ) -> NDArray[np.float64]:
        """Class probabilities of prepared images.

        Args:
            pixels: uint8 (N, H, W, 3), decoded and resized by this classifier's
                preprocessing.

        Returns:
            float64 (N, num_classes), rows sum to 1.
        """
        return to_probabilities(self.logits(pixels, progress=progress), self.description)

    def logits(
        self, pixels: NDArray[np.uint8], *, progress: Progress = SILENT
    ) -> NDArray[np.float32]:
        """Logits (N, num_classes or 1), averaged over the test-time views."""
        views = TEST_TIME_VIEWS[self.description.test_time]
        engine = self._engine(len(pixels) * len(views))
        results = []
        with progress.stage("Predicting", len(pixels), "images") as stage:
            for start in range(0, len(pixels), BLOCK_IMAGES):
                block = np.asarray(pixels[start : start + BLOCK_IMAGES])
                logits = [self._head(engine(view)) for view in view_images(block, views)]
                results.append(np.mean(logits, axis=0, dtype=np.float32))
                stage.advance(len(block))
        if not results:
            return np.zeros((0, len(self.classes)), dtype=np.float32)
        return np.concatenate(results)

    def features(
        self, pixels: NDArray[np.uint8], *, progress: Progress = SILENT
    ) -> NDArray[np.float32]:
        """The vectors (N, D) that the output layer sees, of the images as they are (no views)."""
        engine = self._feature_engine(len(pixels))
        blocks = []
        with progress.stage("Features", len(pixels), "images") as stage:
            for start in range(0, len(pixels), BLOCK_IMAGES):
                block = np.asarray(pixels[start : start + BLOCK_IMAGES])
                blocks.append(engine(block))
                stage.advance(len(block))
        return np.concatenate(blocks) if blocks else np.zeros((0, 0), dtype=np.float32)

    def probabilities_and_features(
        self, pixels: NDArray[np.uint8], *, progress: Progress = SILENT
    ) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        """What :meth:`probabilities` and :meth:`features` give, in one pass where that can be."""
        if self.description.frozen_backbone and self.description.test_time == "none":
            features = self.features(pixels, progress=progress)
            if not len(features):
                return np.zeros((0, len(self.classes))), features
            return to_probabilities(self._head(features), self.description), features
        return self.probabilities(pixels, progress=progress), self.features(pixels)

    def seconds_per_image(self, images: int = 32) -> float:
        """How long the network takes for an image here, of many at a time; without decoding.

        Measured on noise after a warm-up; the quickest of three runs, all views counted.
        """
        views = TEST_TIME_VIEWS[self.description.test_time]
        engine = self._engine(256)
        size = (images, self.preprocessing.height, self.preprocessing.width, 3)
        pixels = np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8)
        engine(pixels[:8])
        times = []
        for _ in range(3):
            started = perf_counter()
            for view in view_images(pixels, views):
                self._head(engine(view))
            times.append(perf_counter() - started)
            if sum(times) > 0.5:
                break
        return min(times) / images

    def predict_files(
        self, files: Sequence[Path], *, progress: Progress = SILENT
    ) -> Iterator[tuple[Path, NDArray[np.float64] | None, str]]:
        """Decode and classify files a block at a time: (file, probabilities or None, error)."""
        for block, pixels, reasons in self.decode_files(files, progress=progress):
            rows = iter(self.probabilities(pixels) if len(pixels) else ())
            for file, reason in zip(block, reasons, strict=True):
                yield file, (None if reason else next(rows)), reason

    def decode_files(
        self, files: Sequence[Path], *, progress: Progress = SILENT
    ) -> Iterator[tuple[Sequence[Path], NDArray[np.uint8], list[str]]]:
        """Files a block at a time: their pixels, and for each file "" or why it has none.

        Pixels are uint8 (N, H, W, 3) of those files that could be read, in their order. The
        progress shown is that of whoever takes the blocks: one is done when the next is asked for.
        """
        with progress.stage("Predicting", len(files), "images") as stage:
            for start in range(0, len(files), BLOCK_IMAGES):
                block = files[start : start + BLOCK_IMAGES]
                yield block, *decode_many(block, self.preprocessing)
                stage.advance(len(block))

    @cached_property
    def _linear_head(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        if self.weights is not None:
            return self.weights["head.output.weight"], self.weights["head.output.bias"]
        from safetensors import safe_open

        with safe_open(self.stored_file, framework="numpy") as content:
            return content.get_tensor("head.output.weight"), content.get_tensor("head.output.bias")

    @cached_property
    def _weights_digest(self) -> str:
        """Names the weights, whatever the description beside them says (the temperature)."""
        with self._opened_weights() as stream:
            length = int.from_bytes(stream.read(8), "little")
            header = json.loads(stream.read(length))
            state = hashlib.blake2b(digest_size=16)
            state.update(replace(self.description, temperature=1.0).to_json().encode())
            state.update(json.dumps({**header, "__metadata__": None}, sort_keys=True).encode())
            while block := stream.read(1 << 20):
                state.update(block)
        return state.hexdigest()

    def _opened_weights(self) -> BinaryIO:
        """The bytes of the file, also where the weights are only in memory."""
        if self.weights is not None:
            return BytesIO(_file_content(self.weights, self.description))
        return self.stored_file.open("rb")

    @property
    def stored_file(self) -> Path:
        """The file that holds the weights; for what is only done with saved classifiers."""
        if self.file is None:
            raise ValueError("a classifier needs a file or weights")
        return self.file

    def _head(self, output: NDArray[np.float32]) -> NDArray[np.float32]:
        if not self.description.frozen_backbone:
            return output
        weight, bias = self._linear_head
        return output @ weight.T + bias

    @cached_property
    def _engines(self) -> dict[tuple[str, bool], Engine]:
        """Engines that are open, by what they compute and whether they are for few images."""
        return {}

    def _engine(self, expected_images: int) -> Engine:
        """The backbone's own engine where it is frozen (shared by all such runs), else ours."""
        if self.description.frozen_backbone:
            return self._opened(
                lambda: _without_head(self.network()),
                self.description.frozen_backbone,
                expected_images,
            )
        return self._opened(self.network, f"network-{self._weights_digest}", expected_images)

    def _feature_engine(self, expected_images: int) -> Engine:
        if self.description.frozen_backbone:
            return self._engine(expected_images)
        return self._opened(
            lambda: _up_to_output(self.network()),
            f"features-{self._weights_digest}",
            expected_images,
        )

    def _opened(self, make_module: Callable[[], Any], key: str, expected_images: int) -> Engine:
        """An engine, opened once; for few images one of its own only where none is open."""
        few = expected_images <= FEW_IMAGES and (key, False) not in self._engines
        place = (key, few)
        if place not in self._engines:
            self._engines[place] = build_engine(
                make_module,
                key=key,
                height=self.preprocessing.height,
                width=self.preprocessing.width,
                expected_images=expected_images,
                device=self.device,
            )
        return self._engines[place]


def _without_head(network: Any) -> Any:
    import torch

    return torch.nn.Sequential(network.normalise, network.backbone).eval()


def _up_to_output(network: Any) -> Any:
    import torch

    return torch.nn.Sequential(network.normalise, network.backbone, network.head.hidden).eval()


def to_probabilities(
    logits: NDArray[np.floating], description: Description
) -> NDArray[np.float64]:
    """Softmax, or for a single sigmoid output its two columns, at the temperature."""
    scaled = logits.astype(np.float64) / description.temperature
    if description.model.output == "sigmoid":
        scaled = np.concatenate([np.zeros_like(scaled), scaled], axis=1)
    shifted = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    result: NDArray[np.float64] = shifted / shifted.sum(axis=1, keepdims=True)
    return result
