"""``tellapart imagenet``: what a pretrained network's own head says of images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tellapart import cache
from tellapart.data.given import Given, files_of
from tellapart.engines.choice import build_engine
from tellapart.engines.engine import Engine
from tellapart.machine import keep_memory
from tellapart.models.backbone import load_imagenet_network
from tellapart.models.catalogue import backbone_info, imagenet_labels
from tellapart.models.weights import (
    canonical_name,
    fetch_weights,
    pretrained_configuration,
    weights_digest,
)
from tellapart.notebook import card
from tellapart.pixels.decode import UnreadableImage, decode
from tellapart.pixels.preprocessing import Preprocessing
from tellapart.progress import DEFAULT, Progress
from tellapart.result import Rows
from tellapart.wording import shown

if TYPE_CHECKING:
    from torch import nn

DEFAULT_BACKBONE = "tf_efficientnet_lite0"
TOP = 5

_BLOCK = 64


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
                yield f"  {guess.probability:>6.1%}  {guess.wnid}  {guess.name}"

    def to_json(self) -> list[dict[str, Any]]:
        return [answer.to_json() for answer in self.rows]

    def _repr_html_(self) -> str:
        rows = [
            (answer.path, answer.error or ", ".join(f"{g.name} {g.probability:.1%}"
                                                    for g in answer.top))
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
    """
    files = files_of(images, progress)
    keep_memory()
    name = canonical_name(backbone)
    info = backbone_info(name)
    size, frame = info.size, _frame(name, info.size)
    whole = Preprocessing(frame, frame, "crop", info.interpolation, info.mean, info.std)
    engine: Engine | None = None
    answers: list[TopFive] = []
    labels = imagenet_labels()
    with progress.stage("Predicting", len(files), "images") as stage:
        for start in range(0, len(files), _BLOCK):
            block = [_read(file, whole, size) for file in files[start : start + _BLOCK]]
            pixels = [read for read in block if not isinstance(read, str)]
            if pixels and engine is None:
                engine = _engine(name, whole, size, device, progress)
            rows = iter(engine(np.stack(pixels)) if engine is not None and pixels else ())
            for file, read in zip(files[start : start + _BLOCK], block, strict=True):
                if isinstance(read, str):
                    answers.append(TopFive(str(file), error=read))
                else:
                    answers.append(TopFive(str(file), _top(next(rows), labels)))
            stage.advance(len(block))
    return TopFives(tuple(answers))


def _frame(name: str, size: int) -> int:
    """Side of the square of which the middle ``size`` pixels are what the network sees."""
    return max(size, int(size / float(pretrained_configuration(name).crop_pct)))


def _read(file: Path, whole: Preprocessing, size: int) -> NDArray[np.uint8] | str:
    """The prepared picture, or why there is none."""
    try:
        picture = decode(file, whole)
    except UnreadableImage as error:
        return error.reason
    start = round((whole.height - size) / 2)
    return picture[start : start + size, start : start + size]


def _engine(
    name: str, whole: Preprocessing, size: int, device: str, progress: Progress
) -> Engine:
    def make_module() -> nn.Module:
        from torch import nn

        from tellapart.models.network import Normalise

        return nn.Sequential(Normalise(whole.mean, whole.std), load_imagenet_network(name)).eval()

    key = cache.text_digest(
        "imagenet", name, weights_digest(fetch_weights(name)), f"{whole.mean}{whole.std}",
        metadata.version("timm"),
    )
    return build_engine(
        make_module, key=key, height=size, width=size, device=device, progress=progress
    )


def _top(logits: NDArray[np.float32], labels: Sequence[tuple[str, str]]) -> tuple[Guess, ...]:
    weights = np.exp(logits.astype(np.float64) - float(logits.max()))
    probabilities = weights / weights.sum()
    order = np.argsort(-probabilities, kind="stable")[:TOP]
    return tuple(
        Guess(wnid=labels[i][0], name=labels[i][1], probability=float(probabilities[i]))
        for i in order.tolist()
    )
