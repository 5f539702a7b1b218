"""Everything that is found out about one image, before it is drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tellapart.explanation.inside import Inside
from tellapart.explanation.occlusion import Occlusion, log_odds, occlusion
from tellapart.prediction.predictor import Predictor
from tellapart.progress import SILENT, Progress

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Subject:
    """An image to be explained: its name, prepared pixels (H, W, 3), and true class or -1."""

    path: str
    pixels: Pixels
    label: int = -1


@dataclass(frozen=True)
class Neighbour:
    """A training image, its class, and its cosine distance (0 same direction, 2 opposite)."""

    path: str
    pixels: Pixels
    label: int
    distance: float


@dataclass(frozen=True)
class ImageExplanation:
    """What speaks for the answer to one image.

    ``predicted`` is the class that the decision in force gives, ``target`` the class that is
    explained; ``evidence`` Grad-CAM maps (H, W) by class,
    the target's first, empty where the network has no layer for it.
    """

    subject: Subject
    probabilities: NDArray[np.float64]
    predicted: int
    target: int
    evidence: Mapping[int, NDArray[np.float32]]
    hidden: Occlusion
    neighbours: Sequence[Neighbour] = field(default=())

    @property
    def confidence(self) -> float:
        """The probability of the predicted class."""
        return float(self.probabilities[self.predicted])


def explain_images(
    predictor: Predictor,
    inside: Inside,
    subjects: Sequence[Subject],
    *,
    answers: NDArray[np.float64] | None = None,
    target: int | None = None,
    progress: Progress = SILENT,
) -> list[ImageExplanation]:
    """Grad-CAM and occlusion for each image, without its neighbours.

    Args:
        answers: probabilities (N, C) of the images where others than this predictor answer.
        target: the class to explain; None: the one that is answered. Where the
            truth is known and another class, Grad-CAM is drawn for it too.
    """
    if not subjects:
        return []
    if answers is None:
        answers = predictor.probabilities(np.stack([s.pixels for s in subjects]))
    predicted = predictor.decide(answers).tolist()
    found = []
    with progress.stage("Explaining", len(subjects), "images") as stage:
        for subject, row, answer in zip(subjects, answers, predicted, strict=True):
            wanted = answer if target is None else target
            classes = [wanted, *([subject.label] if subject.label not in (-1, wanted) else [])]
            evidence = {}
            if inside.evidence_layer is not None:
                images = np.repeat(subject.pixels[None], len(classes), axis=0)
                maps = inside.evidence(images, classes)
                evidence = dict(zip(classes, maps, strict=True))
            hidden = what_hiding_does(predictor, subject.pixels, wanted)
            found.append(ImageExplanation(subject, row, answer, wanted, evidence, hidden))
            stage.advance()
    return found


def what_hiding_does(predictor: Predictor, image: Pixels, target: int) -> Occlusion:
    """Occlusion of one prepared image (H, W, 3): the network sees it some 145 times."""

    def score(versions: Pixels) -> NDArray[np.float64]:
        return log_odds(predictor.probabilities(versions), target)

    return occlusion(score, image)
