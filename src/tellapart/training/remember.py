"""What a run keeps of the images that it was made with: their contents, and what is unlike them."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tellapart.data.table import PARTS
from tellapart.errors import RunError
from tellapart.evaluation.unknown import UnknownDetector, build_detector
from tellapart.files import write_csv
from tellapart.prediction.classifier import Classifier
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


def store_images(task: Task, paths: Sequence[str], file: Path) -> None:
    """Write part, content digest and path of every image, so that it is known again.

    ``paths`` are those of all rows of the task's pixel cache.
    """
    rows = (
        (part, task.images.digests[row], paths[row])
        for part in PARTS
        for row in task.rows[part].tolist()
    )
    write_csv(file, ("part", "digest", "path"), rows)


def load_images(file: Path) -> list[tuple[str, str, str]]:
    """(part, digest, path) of every image of a run; empty where the run did not keep them.

    Raises:
        RunError: the file is damaged.
    """
    if not file.is_file():
        return []
    try:
        with file.open(encoding="utf-8", newline="") as lines:
            rows = list(csv.reader(lines))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise RunError(f"{file} is damaged: {error}; train again.") from error
    if not rows or rows[0] != ["part", "digest", "path"] or any(len(row) != 3 for row in rows):
        raise RunError(f"{file} is damaged: its columns must be part, digest and path.")
    return [(part, digest, path) for part, digest, path in rows[1:]]


def same_contents(
    stored: Sequence[tuple[str, str, str]], paths: Sequence[str], digests: Sequence[str]
) -> bool:
    """Whether what :func:`load_images` gave names these images with these contents.

    Their pixels may still differ: another version may read the same file otherwise.
    """
    return {(path, digest) for _, digest, path in stored} == set(zip(paths, digests, strict=True))
