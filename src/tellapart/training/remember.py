"""What a run knows its images by: what is unlike them, and whether images are the same."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tellapart.arrays import open_array, save_array
from tellapart.data.copies import Seen, find_seen, thumbnails_of
from tellapart.data.pixels import PixelCache
from tellapart.errors import RunError
from tellapart.evaluation.predictions import Predictions
from tellapart.evaluation.unknown import UnknownDetector, build_detector
from tellapart.files import replacing
from tellapart.monitoring.known import MOST_KNOWN, KnownImages
from tellapart.prediction.answering import to_probabilities
from tellapart.progress import SILENT, Progress
from tellapart.run import Run
from tellapart.run_images import StoredImage
from tellapart.training.outcome import Task, Trained
from tellapart.training.scoring import Scored, logits_of

#: Share of images like the validation ones that may be called unknown.
FALSE_ALARM_RATE = 0.05
#: What a run was made with, and up to how many of these their thumbnails are kept.
SEEN_PARTS, MOST_SEEN = ("train", "validation"), 20_000
#: Training images that new ones are held against; more cost space and time and gain little.
REFERENCE_IMAGES = 1000


@dataclass(frozen=True)
class Learnt:
    """What a run keeps to tell other images by."""

    #: Tells single images that are unlike the training ones.
    unknown: UnknownDetector
    #: What many images together are held against.
    known: KnownImages


def learn_known(
    task: Task,
    trained: Trained,
    scored: Scored,
    held_out: Predictions | None = None,
    grouped: Collection[str] = (),
) -> Learnt | None:
    """What tells images unlike the training ones; None where validation images are too few.

    The threshold is a quantile of the validation images, so at least 19 of them are needed.

    Args:
        held_out: what was said of the validation images where the classifier of ``trained`` has
            seen them itself; None: it has not.
        grouped: paths of images that others belong to: copies, bursts.
    """
    train, validation = task.rows["train"], task.rows["validation"]
    if len(validation) < 1 / FALSE_ALARM_RATE - 1:
        return None
    random = np.random.default_rng(task.recipe.seed)
    if len(train) > REFERENCE_IMAGES:
        train = np.sort(random.choice(train, REFERENCE_IMAGES, replace=False))

    rows = np.concatenate([train, validation])
    if trained.features is not None:
        features: NDArray[np.float32] = trained.features(rows)
    else:
        features = scored.classifier.features_of(task.images, rows, progress=task.progress)
    of_train, of_validation = features[: len(train)], features[len(train) :]
    detector = build_detector(of_train, of_validation, false_alarm_rate=FALSE_ALARM_RATE)
    kept = np.arange(len(validation))
    if len(kept) > MOST_KNOWN:
        kept = np.sort(random.choice(kept, MOST_KNOWN, replace=False))
    probabilities = _probabilities(task, trained, scored, validation[kept], held_out)
    alone = np.array([task.images.table.paths[row] not in grouped for row in train.tolist()], bool)
    alone &= bool(trained.frozen_backbone)
    return Learnt(detector, KnownImages.of(of_validation[kept], probabilities, alone))


def _probabilities(
    task: Task,
    trained: Trained,
    scored: Scored,
    rows: NDArray[np.int64],
    held_out: Predictions | None,
) -> NDArray[np.float64]:
    """What is said of images, float64 (N, C): stored where it is, else computed."""
    stored = held_out if held_out is not None else scored.validation
    if stored is not None:
        place = {path: row for row, path in enumerate(stored.paths)}
        found = [place.get(task.images.table.paths[row]) for row in rows.tolist()]
        if None not in found:
            return stored.probabilities[[row for row in found if row is not None]]
    logits = logits_of(task, trained, scored.classifier, rows)
    return to_probabilities(logits, scored.description)


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
