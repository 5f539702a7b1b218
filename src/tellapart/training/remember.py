"""What a run knows its images by: what is unlike them, and whether images are the same."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tellapart.evaluation.unknown import UnknownDetector, build_detector
from tellapart.prediction.classifier import Classifier
from tellapart.run_images import StoredImage
from tellapart.training.outcome import Task, Trained

#: Share of images like the validation ones that may be called unknown.
FALSE_ALARM_RATE = 0.05
#: Training images that new ones are held against; more cost space and time and gain little.
REFERENCE_IMAGES = 1000


def learn_unknown(task: Task, trained: Trained, classifier: Classifier) -> UnknownDetector | None:
    """What tells images unlike the training ones; None where validation images are too few.

    The threshold is a quantile of the validation images, so at least 19 of them are needed.
    """
    train, validation = task.rows["train"], task.rows["validation"]
    if len(validation) < 1 / FALSE_ALARM_RATE - 1:
        return None
    if len(train) > REFERENCE_IMAGES:
        random = np.random.default_rng(task.recipe.seed)
        train = np.sort(random.choice(train, REFERENCE_IMAGES, replace=False))

    rows = np.concatenate([train, validation])
    if trained.features is not None:
        features: NDArray[np.float32] = trained.features(rows)
    else:
        features = classifier.features(task.images.pixels[rows], progress=task.progress)
    return build_detector(
        features[: len(train)], features[len(train) :], false_alarm_rate=FALSE_ALARM_RATE
    )


def same_contents(
    stored: Sequence[StoredImage], paths: Sequence[str], digests: Sequence[str]
) -> bool:
    """Whether what ``load_images`` gave names these images with these contents.

    Their pixels may still differ: another version may read the same file otherwise.
    """
    return {(image.path, image.digest) for image in stored} == set(zip(paths, digests, strict=True))
