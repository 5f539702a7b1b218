"""``tellapart imagenet``: what a pretrained network's own head says of images."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tellapart import cache
from tellapart.data.given import Given, files_of
from tellapart.engines.choice import build_engine
from tellapart.engines.engine import Engine
from tellapart.extras import require_pytorch
from tellapart.machine import keep_memory
from tellapart.models.catalogue import backbone_info, imagenet_labels
from tellapart.models.weights import (
    canonical_name,
    fetch_weights,
    pretrained_configuration,
    weights_digest,
)
from tellapart.notebook import card
from tellapart.pixels.preprocessing import Preprocessing
from tellapart.prediction.predictor import Predictor
from tellapart.progress import DEFAULT, SILENT, Progress
from tellapart.result import Rows
from tellapart.wording import percent, shown

if TYPE_CHECKING:
    from torch import nn

DEFAULT_BACKBONE = "tf_efficientnet_lite0"
TOP = 5


@dataclass(frozen=True)
class Guess:
    """One of the 1000 ImageNet classes: its WordNet id, its name, its probability."""

    wnid: str
    name: str
    probability: float


@dataclass(frozen=True)
class TopFive:
    """The likeliest ImageNet classes of one image; ``error`` says why it cannot be read."""

    path: str
    top: tuple[Guess, ...] = ()
    error: str = ""

    def to_json(self) -> dict[str, Any]:
        if self.error:
            return {"path": self.path, "error": self.error}
        return {
            "path": self.path,
            "top": [
                {"wnid": g.wnid, "name": g.name, "probability": g.probability} for g in self.top
            ],
        }


@dataclass(frozen=True, repr=False)
class TopFives(Rows[TopFive]):
    """One answer a file, in the order given, folders sorted by path."""

    def lines(self) -> Iterator[str]:
        """What the command prints: each path, and its classes below it."""
        for answer in self.rows:
            if answer.error:
                yield f"{shown(answer.path)}  cannot be read: {shown(answer.error)}"
                continue
            yield shown(answer.path)
            for guess in answer.top:
                yield f"  {percent(guess.probability):>8}  {guess.wnid}  {guess.name}"

    def to_json(self) -> list[dict[str, Any]]:
        return [answer.to_json() for answer in self.rows]

    def _repr_html_(self) -> str:
        rows = [
            (answer.path, answer.error or ", ".join(
                f"{guess.name} {percent(guess.probability)}" for guess in answer.top
            ))
            for answer in self.rows
        ]  # fmt: skip
        return card("ImageNet classes", table=[("image", "likeliest"), *rows])


def imagenet(
    images: Given,
    *,
    backbone: str = DEFAULT_BACKBONE,
    device: str = "auto",
    progress: Progress = DEFAULT,
) -> TopFives:
    """The five likeliest of the 1000 ImageNet classes for each image.

    Images are prepared as the network was evaluated in its pretraining: the shorter side
    resized, the middle cut out.

    Args:
        images: image files, and folders of them.
        backbone: a timm network with a classifier of 1000 classes.

    Returns:
        One answer an image, in the order given, folders sorted by path.

    Raises:
        DataError: a path does not exist, or a folder holds no image.
        RecipeError: there is no such network, or it has other classes.
        WeightsError: its weights are not here or damaged.
        MissingPackageError: PyTorch is not installed.
    """
    require_pytorch("'tellapart imagenet'")
    files = files_of(images, progress)
    keep_memory()
    predictor = Predictor(_ImageNet(canonical_name(backbone), device, progress))
    labels = imagenet_labels()
    answers: list[TopFive] = []
    for batch in predictor.batches(files, total=len(files), progress=progress):
        rows = iter(batch.judged.probabilities)
        answers += [
            TopFive(name, error=error) if error else TopFive(name, _top(next(rows), labels))
            for name, error in zip(batch.names, batch.errors, strict=True)
        ]
    return TopFives(tuple(answers))


class _ImageNet:
    """A pretrained network with its own head, as a predictor takes it.

    Pictures are brought to a frame, of which the network sees the middle.
    """

    def __init__(self, name: str, device: str, progress: Progress) -> None:
        info = backbone_info(name)
        self._size, frame = info.size, _frame(name, info.size)
        self.classes = tuple(wnid for wnid, _ in imagenet_labels())
        self.preprocessing = Preprocessing(
            frame, frame, "crop", info.interpolation, info.mean, info.std
        )
        self.digest = weights_digest(fetch_weights(name))
        self._open = functools.cache(
            lambda: _engine(name, self.preprocessing, self._size, device, progress)
        )

    def probabilities(
        self, pixels: NDArray[np.uint8], *, progress: Progress = SILENT
    ) -> NDArray[np.float64]:
        """Of frames, uint8 (N, frame, frame, 3): float64 (N, 1000)."""
        if not len(pixels):
            return np.zeros((0, len(self.classes)))
        start = round((self.preprocessing.height - self._size) / 2)
        stop = start + self._size
        middle = np.ascontiguousarray(pixels[:, start:stop, start:stop])
        with progress.stage("Predicting", len(pixels), "images") as stage:
            logits = self._open()(middle)
            stage.advance(len(pixels))
        weights = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
        probabilities: NDArray[np.float64] = weights / weights.sum(axis=1, keepdims=True)
        return probabilities


def _frame(name: str, size: int) -> int:
    """Side of the square of which the middle ``size`` pixels are what the network sees."""
    return max(size, int(size / float(pretrained_configuration(name).crop_pct)))


def _engine(name: str, whole: Preprocessing, size: int, device: str, progress: Progress) -> Engine:
    def make_module() -> nn.Module:
        from torch import nn

        from tellapart.models.backbone import load_imagenet_network
        from tellapart.models.network import Normalise

        return nn.Sequential(Normalise(whole.mean, whole.std), load_imagenet_network(name)).eval()

    key = cache.text_digest(
        "imagenet",
        name,
        weights_digest(fetch_weights(name)),
        f"{whole.mean}{whole.std}",
        metadata.version("timm"),
    )
    return build_engine(
        make_module, key=key, height=size, width=size, device=device, progress=progress
    )


def _top(
    probabilities: NDArray[np.float64], labels: Sequence[tuple[str, str]]
) -> tuple[Guess, ...]:
    order = np.argsort(-probabilities, kind="stable")[:TOP]
    return tuple(
        Guess(wnid=labels[i][0], name=labels[i][1], probability=float(probabilities[i]))
        for i in order.tolist()
    )
