"""Predictor: images in, answers out. The one way from pictures to what a run says of them.

Whoever predicts goes through here: the verbs, reports, the service. What runs the network is behind
:class:`ImageModel`, a face that a run's classifier has and an exported bundle can have.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tellapart.data.given import files_of
from tellapart.data.pixels import PixelCache
from tellapart.evaluation.columns import word_for
from tellapart.evaluation.decision import decided
from tellapart.evaluation.policy import Policy
from tellapart.evaluation.unknown import UnknownDetector
from tellapart.machine import keep_memory
from tellapart.pixels.decode import PictureGiven, decode_many
from tellapart.pixels.preprocessing import Preprocessing
from tellapart.pixels.sets import PixelSets
from tellapart.prediction.answers import UNCERTAIN, UNKNOWN, Answer, Answers
from tellapart.progress import SILENT, Progress

#: An image, or in the place of one a path: of a file, or of a folder with pictures.
ImageGiven = PictureGiven | str
#: Images as models take them.
Prepared = NDArray[np.uint8] | PixelSets
#: Images that are predicted together, and fewer where they are large: the most bytes of them.
BATCH_IMAGES, BATCH_BYTES = 256, 1 << 26


class ImageModel(Protocol):
    """What a predictor needs of a network, wherever that comes from."""

    @property
    def classes(self) -> tuple[str, ...]:
        """In the order of the probabilities."""

    @property
    def preprocessing(self) -> Preprocessing:
        """What the pixels must be brought to."""

    @property
    def digest(self) -> str:
        """Names weights and all else that the probabilities follow from; "" if not known."""

    def probabilities(self, pixels: Any, *, progress: Progress = SILENT) -> NDArray[np.float64]:
        """Prepared images to probabilities (N, C) whose rows sum to 1.

        They are uint8 (N, H, W, 3); for a :class:`SelfPreparing` model whatever it makes of images.

        Several threads may call it at the same time, and an image gets the same numbers whatever
        comes with it.
        """


@runtime_checkable
class FeatureModel(ImageModel, Protocol):
    """A network that can also say what it is that its last layer sees."""

    @property
    def features_cost_nothing(self) -> bool:
        """Whether they come with the probabilities, without another pass through the network."""

    def probabilities_and_features(
        self, pixels: Any, *, progress: Progress = SILENT
    ) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        """Prepared images to probabilities (N, C) and features (N, D)."""


@runtime_checkable
class SelfPreparing(ImageModel, Protocol):
    """A model that says itself what its images are made into: several networks, several sizes."""

    def decoded(self, pictures: Sequence[PictureGiven]) -> tuple[Any, list[str]]:
        """Those pictures that can be read, in their order, and for each "" or why it cannot."""

    def prepared(self, images: PixelCache, *, progress: Progress = SILENT) -> Any:
        """The images of a pixel cache, row by row."""


@dataclass(frozen=True, eq=False)
class Judged:
    """What is said of N images.

    Attributes:
        probabilities: float64 (N, C).
        predicted: int64 (N,), the class that the policy gives.
        unknown: bool (N,), unlike all training images; None where nobody asked.
        uncertain: bool (N,), not confident enough; None where every image is answered.
        sets: bool (N, C), the classes of each set; None where nobody asked.
    """

    probabilities: NDArray[np.float64]
    predicted: NDArray[np.int64]
    unknown: NDArray[np.bool_] | None = None
    uncertain: NDArray[np.bool_] | None = None
    sets: NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return len(self.predicted)


@dataclass(frozen=True, eq=False)
class Batch:
    """Images that went through the network together."""

    #: What each image that was given is called: its path, or "image 3" for the third.
    names: tuple[str, ...]
    #: For each "" or why it could not be read.
    errors: tuple[str, ...]
    #: What is said of those that could be read, in their order.
    judged: Judged
    #: float32 (N, D) of these, where they are needed or cost nothing; None: nobody asked.
    features: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True)
class Predictor:
    """Images in, answers out.

    It may be used by several threads at a time, and says the same of an image whether that comes
    alone or among others. A picture that cannot be read gets an answer that says so.

    Attributes:
        model: gives the probabilities.
        policy: makes answers of them.
        detector: tells images unlike the training ones; with one, the answer for those is
            "unknown".

    Raises:
        ValueError: a detector beside a model that has no features.

    >>> predictor = tellapart.open_predictor("runs/cats")              # doctest: +SKIP
    >>> predictor.predict_one(Path("a.jpg").read_bytes()).prediction   # doctest: +SKIP
    """

    model: ImageModel
    policy: Policy = field(default_factory=Policy)
    detector: UnknownDetector | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.detector is not None and not isinstance(self.model, FeatureModel):
            raise ValueError("the answer 'unknown' needs a model that gives features")

    @property
    def classes(self) -> tuple[str, ...]:
        """In the order of the probabilities."""
        return self.model.classes

    @property
    def preprocessing(self) -> Preprocessing:
        """What pictures are brought to before the network sees them."""
        return self.model.preprocessing

    @property
    def batch_images(self) -> int:
        """How many images go through the network together, at most."""
        return _batch_images(self.preprocessing)

    # --- prepared pixels -------------------------------------------------------------------

    def probabilities(
        self, pixels: Prepared, *, progress: Progress = SILENT
    ) -> NDArray[np.float64]:
        """Of prepared images: float64 (N, C), rows sum to 1."""
        return self.model.probabilities(pixels, progress=progress)

    def decide(self, probabilities: NDArray[np.float64]) -> NDArray[np.int64]:
        """The class of each image, int64 (N,), by the policy, from probabilities (N, C)."""
        return decided(probabilities, self.classes, self.policy.decision)

    def judge_images(self, images: PixelCache, *, progress: Progress = SILENT) -> Judged:
        """All that is said of the images of a pixel cache, in their order."""
        pixels: Prepared = images.pixels
        if isinstance(self.model, SelfPreparing):
            pixels = self.model.prepared(images, progress=progress)
        return self.judge(pixels, progress=progress)

    def judge(self, pixels: Prepared, *, progress: Progress = SILENT) -> Judged:
        """All that is said of prepared images: uint8 (N, H, W, 3), or sets of these."""
        return self.judge_and_features(pixels, progress=progress)[0]

    def judge_and_features(
        self, pixels: Prepared, *, progress: Progress = SILENT
    ) -> tuple[Judged, NDArray[np.float32] | None]:
        """:meth:`judge`, and the features (N, D) where these are needed or cost nothing."""
        model = self.model
        if not isinstance(model, FeatureModel) or (
            self.detector is None and not model.features_cost_nothing
        ):
            return self.judged(self.probabilities(pixels, progress=progress)), None
        probabilities, features = model.probabilities_and_features(pixels, progress=progress)
        far: NDArray[np.bool_] | None = None
        if self.detector is not None:
            far = self.detector.is_unknown(features) if len(pixels) else np.zeros(0, dtype=bool)
        return self.judged(probabilities, far), features

    def judged(
        self, probabilities: NDArray[np.float64], unknown: NDArray[np.bool_] | None = None
    ) -> Judged:
        """All that the policy makes of probabilities (N, C)."""
        predicted = self.decide(probabilities)
        abstention, sets = self.policy.abstention, self.policy.sets
        confidence = probabilities[np.arange(len(predicted)), predicted]
        return Judged(
            probabilities, predicted, unknown,
            ~abstention.answers(confidence) if abstention is not None else None,
            sets.members(probabilities, predicted) if sets is not None else None,
        )  # fmt: skip

    # --- pictures --------------------------------------------------------------------------

    def predict(
        self, images: Iterable[ImageGiven] | ImageGiven, *, progress: Progress = SILENT
    ) -> Answers:
        """Answers for images that fit into a list; see :meth:`batches` for any number.

        Args:
            images: one or several of these, in any mixture: paths of files, and of folders, whose
                pictures all count; bytes of picture files; pictures of Pillow; arrays, uint8
                (height, width, 3) in RGB or (height, width) in grey, of any size.

        Returns:
            One answer an image, in the order given, folders sorted by path.

        Raises:
            DataError: a path does not exist, or a folder holds no picture.
        """
        keep_memory()
        given = _listed(images, progress)
        answers = [
            answer
            for batch in self.batches(given, total=len(given), progress=progress)
            for answer in self.answers(batch)
        ]
        self.tell(progress)
        return Answers(tuple(answers), self.classes, self.policy)

    def tell(self, progress: Progress) -> None:
        """Say what is in force, where it is more than the likeliest class."""
        if self.policy.rules:
            progress.note(f"The decision in force: {self.policy.rule}.")

    def predict_one(self, image: ImageGiven) -> Answer:
        """The answer for one image; as :meth:`predict`, for what is no folder."""
        given = Path(image) if isinstance(image, str) else image
        (batch,) = self.batches([given])
        (answer,) = self.answers(batch)
        return answer

    def batches(
        self,
        images: Iterable[PictureGiven],
        *,
        total: int | None = None,
        progress: Progress = SILENT,
    ) -> Iterator[Batch]:
        """Images of any number, a batch at a time, in their order.

        While a batch is in the network the next one is decoded; no more than these two are in
        memory.

        Args:
            total: how many images there are, for the time left; None: nobody knows.
        """
        size = self.batch_images
        source = iter(images)
        number = 0
        # A batch whose answers are in use is done for the progress when the next is asked for.
        with (
            progress.stage("Predicting", total, "images") as stage,
            ThreadPoolExecutor(1) as ahead,
        ):
            following = self._decoding(ahead, source, size)
            while following is not None:
                given, decoding = following
                pixels, reasons = decoding.result()
                following = self._decoding(ahead, source, size)
                names = tuple(_name(image, number + i) for i, image in enumerate(given, start=1))
                yield Batch(names, tuple(reasons), *self.judge_and_features(pixels))
                number += len(given)
                stage.advance(len(given))

    def _decoding(
        self, pool: ThreadPoolExecutor, source: Iterator[PictureGiven], size: int
    ) -> tuple[list[PictureGiven], Future[tuple[Any, list[str]]]] | None:
        """The next images and their decoding, which has begun; None: there are no more."""
        given = list(islice(source, size))
        return (given, pool.submit(self.decoded, given)) if given else None

    def decoded(self, pictures: Sequence[PictureGiven]) -> tuple[Any, list[str]]:
        """Those pictures that can be read, prepared, and for each "" or why it cannot."""
        if isinstance(self.model, SelfPreparing):
            return self.model.decoded(pictures)
        return decode_many(pictures, self.preprocessing)

    def answers(self, batch: Batch) -> Iterator[Answer]:
        """An answer for each image of a batch."""
        judged, row = batch.judged, 0
        for name, error in zip(batch.names, batch.errors, strict=True):
            if error:
                yield Answer(name, "", {}, error)
                continue
            values = judged.probabilities[row].tolist()
            far = bool(judged.unknown[row]) if judged.unknown is not None else None
            unsure = bool(judged.uncertain[row]) if judged.uncertain is not None else None
            yield Answer(
                path=name,
                prediction=(
                    word_for(UNKNOWN, self.classes)
                    if far
                    else word_for(UNCERTAIN, self.classes)
                    if unsure
                    else self.classes[int(judged.predicted[row])]
                ),
                probabilities=dict(zip(self.classes, values, strict=True)),
                unknown=far,
                uncertain=unsure,
                set=self._set(judged, row),
            )
            row += 1

    def _set(self, judged: Judged, row: int) -> tuple[str, ...] | None:
        """The classes of an image's set, the likeliest first."""
        if judged.sets is None:
            return None
        order = np.argsort(-judged.probabilities[row], kind="stable").tolist()
        return tuple(self.classes[i] for i in order if judged.sets[row, i])


def _listed(images: Any, progress: Progress) -> list[PictureGiven]:
    """Images one by one, files in the place of their folders."""
    alone = isinstance(images, str | Path | bytes | Image.Image) or getattr(images, "ndim", 0) in (
        2, 3,
    )  # fmt: skip
    listed: list[PictureGiven] = []
    for image in [images] if alone else images:
        listed += files_of(image, progress) if isinstance(image, str | Path) else [image]
    return listed


def _name(image: PictureGiven, number: int) -> str:
    return str(image) if isinstance(image, Path) else f"image {number}"


def _batch_images(preprocessing: Preprocessing) -> int:
    fitting = BATCH_BYTES // (3 * preprocessing.height * preprocessing.width)
    return max(1, min(BATCH_IMAGES, fitting))
