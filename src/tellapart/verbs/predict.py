"""``tellapart predict``: what a run says of images."""

from __future__ import annotations

from collections.abc import Iterable

from tellapart.prediction.answers import Answers
from tellapart.prediction.predictor import ImageGiven
from tellapart.predictors import open_predictor
from tellapart.progress import DEFAULT, Progress
from tellapart.run import RunGiven


def predict(
    run: RunGiven,
    images: Iterable[ImageGiven] | ImageGiven,
    *,
    device: str = "auto",
    unknown: bool = False,
    progress: Progress = DEFAULT,
) -> Answers:
    """Classify images: files, all pictures in and below folders, and pictures in memory.

    Args:
        run: a run or its folder, or the folder of an export.
        images: files and folders; bytes, pictures of Pillow and arrays, as
            :meth:`~tellapart.prediction.predictor.Predictor.predict` takes them. Every file that is
            named is answered, and in a folder every file that is a picture by its name, whether
            it can be read or not.
        unknown: answer "unknown" for images unlike those that the run was trained on; the
            probabilities stay as they are.

    Returns:
        One answer a file, in the order given, folders sorted by path; an answer whose ``error``
        is not empty says why its file could not be read.

    Raises:
        RunError: the run cannot be used, or cannot answer "unknown".
        BundleError: the export cannot be used.
        DataError: a path does not exist, or a folder holds no picture.
    """
    predictor = open_predictor(run, device=device, unknown=unknown)
    return predictor.predict(images, progress=progress)
