"""``tellapart predict``: what a run says of images."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from tellapart.data.given import files_of
from tellapart.errors import DataError
from tellapart.evaluation.unknown import UnknownDetector, load_unknown
from tellapart.machine import keep_memory, resolve_device
from tellapart.prediction.classifier import Classifier, load_classifier
from tellapart.progress import SILENT, Progress
from tellapart.run import Run, open_run
from tellapart.wording import percent

#: The prediction for an image unlike the training ones, where that was asked for.
UNKNOWN = "unknown"
FORMATS = ("table", "csv", "json")


@dataclass(frozen=True)
class Answer:
    """What a run says of one image; ``error`` says why it could not be read."""

    path: str
    prediction: str
    probabilities: dict[str, float]
    error: str = ""
    #: Unlike the training images; None where nobody asked.
    unknown: bool | None = None

    def to_json(self) -> dict[str, Any]:
        if self.error:
            return {"path": self.path, "error": self.error}
        return {
            "path": self.path,
            "prediction": self.prediction,
            "probabilities": self.probabilities,
            **({} if self.unknown is None else {"unknown": self.unknown}),
        }


def predict(
    run: Run | str | Path,
    images: Sequence[str | Path] | str | Path,
    *,
    device: str = "auto",
    unknown: bool = False,
    progress: Progress = SILENT,
) -> list[Answer]:
    """Classify image files, and all images in and below folders.

    Args:
        unknown: answer "unknown" for images unlike those that the run was trained on; the
            probabilities stay as they are.

    Returns:
        One answer an image, in the order given, folders sorted by path.

    Raises:
        RunError: the run cannot be used, or cannot answer "unknown".
        DataError: a path does not exist, or a folder holds no image.
    """
    opened = open_run(run)
    keep_memory()
    classifier = load_classifier(opened.model_file, device=resolve_device(device))
    files = files_of(images)
    if unknown:
        return list(_with_unknown(files, classifier, load_unknown(opened.unknown_file), progress))
    return [
        _answer(file, row, error, classifier.classes)
        for file, row, error in classifier.predict_files(files, progress=progress)
    ]


def _with_unknown(
    files: Sequence[Path], classifier: Classifier, detector: UnknownDetector, progress: Progress
) -> Iterator[Answer]:
    for block, pixels, reasons in classifier.decode_files(files, progress=progress):
        probabilities, features = classifier.probabilities_and_features(pixels)
        far = detector.is_unknown(features) if len(pixels) else np.zeros(0, dtype=bool)
        rows = iter(zip(probabilities, far.tolist(), strict=True))
        for file, reason in zip(block, reasons, strict=True):
            if reason:
                yield Answer(str(file), "", {}, reason)
                continue
            row, is_unknown = next(rows)
            answer = _answer(file, row, "", classifier.classes)
            prediction = UNKNOWN if is_unknown else answer.prediction
            yield replace(answer, prediction=prediction, unknown=is_unknown)


def _answer(file: Path, row: Any, error: str, classes: tuple[str, ...]) -> Answer:
    if row is None:
        return Answer(str(file), "", {}, error)
    return Answer(
        path=str(file),
        prediction=classes[int(np.argmax(row))],
        probabilities={name: float(p) for name, p in zip(classes, row, strict=True)},
    )


def write_answers(answers: Iterable[Answer], format: str, out: TextIO) -> int:
    """Write answers as a table, CSV, or JSON lines; return how many images had an error.

    Raises:
        DataError: ``format`` is none of these.
    """
    if format not in FORMATS:
        raise DataError(f"--format takes {', '.join(FORMATS)}; received '{format}'.")
    answers = list(answers)
    if format == "json":
        for answer in answers:
            out.write(json.dumps(answer.to_json(), ensure_ascii=False) + "\n")
    elif format == "csv":
        classes = next((list(a.probabilities) for a in answers if not a.error), [])
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(["path", "prediction", *classes, "error"])
        for a in answers:
            values = [f"{a.probabilities[c]:.6f}" if not a.error else "" for c in classes]
            writer.writerow([a.path, a.prediction, *values, a.error])
    else:
        for line in _table_lines(answers):
            out.write(line + "\n")
    return sum(bool(a.error) for a in answers)


def _table_lines(answers: Sequence[Answer]) -> Iterator[str]:
    width = max((len(a.path) for a in answers), default=0)
    for a in answers:
        if a.error:
            yield f"{a.path:<{width}}  cannot be read: {a.error}"
            continue
        ranked = sorted(a.probabilities.items(), key=lambda item: -item[1])[:3]
        shown = "  ".join(f"{name} {percent(p)}" for name, p in ranked)
        if a.unknown:
            shown = f"{UNKNOWN} (nearest: {shown})"
        yield f"{a.path:<{width}}  {shown}"
