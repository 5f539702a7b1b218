"""Why a picture got its answer: where the network looked, and the training images most like it."""

from __future__ import annotations

from base64 import b64encode
from functools import cached_property
from io import BytesIO
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tellapart.data.pixels import PixelCache
from tellapart.errors import TellapartError
from tellapart.pixels.thumbnails import make_thumbnail
from tellapart.prediction.answers import Answer
from tellapart.prediction.classifier import Classifier
from tellapart.prediction.joint import JointClassifier
from tellapart.run import Run
from tellapart.service.gatherer import GivenPicture
from tellapart.service.models import ServedModel
from tellapart.service.refusals import Refused
from tellapart.wording import did_you_mean, listed, shown

#: Training images beside a picture.
NEIGHBOURS = 6
#: Methods that say where evidence lies: Grad-CAM, which is quick and not there for every network,
#: and occlusion.
MOST_OVERLAYS = 2
_THUMBNAIL_SIDE = 160
_OF_MEMBERS = (
    "Several networks answer together; overlays and nearest images are those of the one that "
    "counts most."
)

#: A training image so near is the same picture to the network.
_SAME_DISTANCE = 1e-4
_TRAINED_ON = (
    "This very picture is among the training images, so its answer does not show how well others "
    "are answered."
)


class Explainer:
    """Explains answers of one version of a run; several threads may ask, one is served at a time.

    Network and training images are opened when they are first needed.
    """

    def __init__(self, model: ServedModel) -> None:
        if model.run is None:
            raise Refused(
                422,
                f"'{shown(model.name)}' is an export, which cannot be explained; serve its run.",
            )
        # Not the model itself, which is to go when a newer version has taken its place.
        self.name = model.name
        self._predictor = model.predictor
        self._run: Run = model.run
        self._lock = Lock()

    def prepare(self) -> None:
        """Have all opened that an explanation needs, before one is asked for."""
        with self._lock:
            _ = self._inside, self._training
            self._network.features(self._network.noise(1))

    def explain(
        self,
        picture: GivenPicture,
        answer: Answer,
        target: str | None,
        overlays: int = MOST_OVERLAYS,
    ) -> dict[str, Any]:
        """A :class:`~tellapart.service.schema.Explained`, but for model, version and answer.

        Args:
            answer: what the model said of the picture.
            target: the class to look for; None: the one that is answered, or where that is
                "unknown" or "uncertain" the likeliest.
            overlays: how many methods are to say where evidence lies, at most.

        Raises:
            Refused: there is no such class.
        """
        classes = self._predictor.classes
        if target is not None and target not in classes:
            hint = did_you_mean(target, classes) or f" It knows: {listed(classes, 20)}."
            raise Refused(404, f"The model does not know the class '{shown(target)}'.{hint}")
        with self._lock:
            return self._explained(picture, answer, target, overlays)

    def _explained(
        self, picture: GivenPicture, answer: Answer, target: str | None, overlays: int
    ) -> dict[str, Any]:
        from tellapart.explanation.figures import overlay
        from tellapart.explanation.of_image import what_hiding_does
        from tellapart.prediction.predictor import Predictor

        classes, policy = self._predictor.classes, self._predictor.policy
        network, inside = self._network, self._inside
        pixels, (reason,) = network.decoded([picture.content])
        if reason:
            raise Refused(422, f"{picture.name} cannot be read: {reason}")
        predictor = Predictor(network, policy)
        if target is not None:
            wanted = classes.index(target)
        else:
            said = np.array([[answer.probabilities[name] for name in classes]])
            wanted = int(predictor.decide(said)[0])
        drawn = []
        if inside.evidence_layer is not None:
            drawn.append(("grad-cam", inside.evidence(pixels, [wanted])[0]))
        if len(drawn) < overlays:
            drawn.append(("occlusion", what_hiding_does(predictor, pixels[0], wanted).heat))
        neighbours, note = self._neighbours(pixels)
        joint = isinstance(self._predictor.model, JointClassifier)
        notes = [*([_OF_MEMBERS] if joint else []), inside.refusal, note]
        return {
            "explained": classes[wanted],
            "overlays": [
                {"method": method, "png": _text(_png(overlay(pixels[0], heat)))}
                for method, heat in drawn
            ],
            "neighbours": neighbours,
            "notes": [note for note in notes if note],
        }

    @cached_property
    def _network(self) -> Classifier:
        """The network that is looked into."""
        model = self._predictor.model
        if isinstance(model, JointClassifier):
            return model.heaviest
        assert isinstance(model, Classifier)  # noqa: S101  a run has no other
        return model

    @cached_property
    def _inside(self) -> Any:
        from tellapart.explanation.inside import look_inside

        return look_inside(self._network, light=True)

    def _neighbours(self, pixels: NDArray[np.uint8]) -> tuple[list[dict[str, Any]], str]:
        """The training images nearest to a prepared picture, and what is to be said of them."""
        from tellapart.explanation.neighbours import nearest
        from tellapart.explanation.vectors import vectors_of

        if isinstance(self._training, str):
            return [], self._training
        images, rows, vectors = self._training
        order, distances = nearest(vectors_of(self._network, pixels), vectors, NEIGHBOURS)
        table = images.table
        found = []
        for row, distance in zip(rows[order[0]].tolist(), distances[0].tolist(), strict=True):
            thumbnail = make_thumbnail(np.asarray(images.pixels[row]), size=_THUMBNAIL_SIDE)
            found.append({
                "path": table.paths[row], "label": table.classes[int(table.labels[row])],
                "distance": distance, "thumbnail": _text(thumbnail),
            })  # fmt: skip
        return found, _TRAINED_ON if distances[0][0] < _SAME_DISTANCE else ""

    @cached_property
    def _training(self) -> tuple[PixelCache, NDArray[np.int64], NDArray[np.float32]] | str:
        """All images of the run, the rows of the training ones and their vectors; or why not."""
        from tellapart.explanation.vectors import vectors_of_all

        run, network = self._run, self._network
        try:
            source = run.source
            images = source.pixels(source.read(), network.preprocessing, group=False)
        except TellapartError as error:
            return f"Nearest training images are left out: {error}"
        rows_of = {path: row for row, path in enumerate(images.table.paths)}
        train = [image.path for image in run.images if image.part == "train"]
        rows = np.array([rows_of[path] for path in train if path in rows_of], dtype=np.int64)
        if not len(rows):
            return "Nearest training images are left out: none of them is there any more."
        return images, rows, np.asarray(vectors_of_all(network, images)[rows])


def _png(pixels: NDArray[np.uint8]) -> bytes:
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=3)
    return buffer.getvalue()


def _text(content: bytes) -> str:
    return b64encode(content).decode("ascii")
