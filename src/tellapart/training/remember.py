"""What a run knows its images by: what is unlike them, and whether images are the same."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tellapart.arrays import open_array, save_array
from tellapart.data.copies import Seen, find_seen, thumbnails_of
from tellapart.data.pixels import PixelCache
from tellapart.errors import RunError
from tellapart.evaluation.unknown import UnknownDetector, build_detector
from tellapart.files import replacing
from tellapart.prediction.stored import AnyClassifier
from tellapart.progress import SILENT, Progress
from tellapart.run import Run
from tellapart.run_images import StoredImage
from tellapart.training.outcome import Task, Trained

#: Share of images like the validation ones that may be called unknown.
FALSE_ALARM_RATE = 0.05
#: What a run was made with, and up to how many of these their thumbnails are kept.
SEEN_PARTS, MOST_SEEN = ("train", "validation"), 20_000
#: Training images that new ones are held against; more cost space and time and gain little.
REFERENCE_IMAGES = 1000


def learn_unknown(
    task: Task, trained: Trained, classifier: AnyClassifier
) -> UnknownDetector | None:
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
        features = classifier.features_of(task.images, rows, progress=task.progress)
    return build_detector(
        features[: len(train)], features[len(train) :], false_alarm_rate=FALSE_ALARM_RATE
    )


def keep_seen(run: Run, images: PixelCache, progress: Progress = SILENT) -> None:
    """Keep small grey pictures of the train and validation images, a kilobyte each.

    By them ``evaluate`` knows near copies of what the run was made with. Of very many images
    none are kept, so that the run stays small.
    """
    seen = [image.path for image in run.images if image.part in SEEN_PARTS]
    if len(seen) > MOST_SEEN:
        run.thumbnails_file.unlink(missing_ok=True)
        return
    row = {path: number for number, path in enumerate(images.table.paths)}
    thumbnails = thumbnails_of(images, progress=progress)
    with replacing(run.thumbnails_file) as unfinished:
        save_array(unfinished, thumbnails[[row[path] for path in seen]])


def find_seen_by(run: Run, images: PixelCache, progress: Progress = SILENT) -> Seen:
    """Which images are among those that a run was trained on or chosen with, or copies of them.

    Raises:
        RunError: a file of the run is damaged or changed.
    """
    seen = [image.digest for image in run.images if image.part in SEEN_PARTS]
    thumbnails = None
    if run.intact(run.thumbnails_file).is_file():
        try:
            thumbnails = np.asarray(open_array(run.thumbnails_file))
        except (OSError, ValueError) as error:
            raise RunError(f"{run.thumbnails_file} is damaged: {error}; train again.") from error
        if thumbnails.dtype != np.uint8 or len(thumbnails) != len(seen):
            raise RunError(
                f"{run.thumbnails_file} is damaged: it does not go with images.csv; train again."
            )
    return find_seen(images, seen, thumbnails, progress=progress)


def same_contents(
    stored: Sequence[StoredImage], paths: Sequence[str], digests: Sequence[str]
) -> bool:
    """Whether what ``load_images`` gave names these images with these contents.

    Their pixels may still differ: another version may read the same file otherwise.
    """
    return {(image.path, image.digest) for image in stored} == set(zip(paths, digests, strict=True))
