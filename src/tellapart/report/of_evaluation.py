"""What a report says of one evaluated part: headline, tables, figures, galleries.

Used by the report of a run and by the report of a run on new images.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tellapart.data.decode import UnreadableImage
from tellapart.evaluation.findings import describe_figures, findings
from tellapart.evaluation.plots import evaluation_figures, save_figure
from tellapart.evaluation.predictions import Predictions
from tellapart.report.content import (
    Column,
    Confusion,
    Figure,
    Finding,
    Gallery,
    Headline,
    KeyNumber,
    Number,
    Picture,
    Reference,
    Table,
)
from tellapart.report.thumbnails import make_thumbnail

#: Pictures shown in each gallery of a report.
GALLERY_SIZE = 60

FileOf = Callable[[str], Path]


def headline_of(metrics: Mapping[str, Any], part: str) -> Headline:
    """The accuracy with its interval, beside what guessing the largest class would give."""
    accuracy = metrics["accuracy"]
    right = round(accuracy["value"] * metrics["images"])
    return Headline(
        label=f"Accuracy on {_place(part)}",
        number=Number.of(accuracy),
        sentence=(
            f"{right:,} of {metrics['images']:,} images right. With other images of the same "
            f"kind, expect between {accuracy['low']:.1%} and {accuracy['high']:.1%} (95 %)."
        ),
        references=(Reference(f"always '{metrics['majority_class']}'", metrics["majority_share"]),),
    )


def key_numbers_of(metrics: Mapping[str, Any]) -> list[KeyNumber]:
    """The few further numbers that belong at the top."""
    rows: list[tuple[str, Any, str, str]] = [
        ("Balanced accuracy", metrics["balanced_accuracy"], "share", "mean recall of all classes"),
        ("F1, macro", metrics["macro"]["f1"], "share", "every class counts the same"),
        ("ROC AUC", metrics["roc_auc"], "score", "0.5 is chance, 1 is perfect order"),
        ("Log loss", metrics["log_loss"], "score", "surprise an image, in nats; 0 is best"),
        ("Calibration error", metrics["calibration_error"], "share",
         "how far confidence is from being right"),
    ]  # fmt: skip
    return [
        KeyNumber(label, Number.of(value), "share" if kind == "share" else "score", text)
        for label, value, kind, text in rows
    ]


def per_class_table(metrics: Mapping[str, Any], part: str) -> Table:
    """One row a class, each number with its interval."""
    keys = ("precision", "recall", "f1", "roc_auc", "average_precision")
    return Table(
        title=f"Each class ({part})",
        columns=(
            Column("Class"),
            Column("Images", "count"),
            Column("Precision", "share", "of the images given this class, how many are of it"),
            Column("Recall", "share", "of the images of this class, how many were given it"),
            Column("F1", "share", "harmonic mean of precision and recall"),
            Column("ROC AUC", "score"),
            Column("Average precision", "score"),
        ),
        rows=[
            (name, row["support"], *(Number.of(row[key]) for key in keys))
            for name, row in metrics["per_class"].items()
        ],
    )


def findings_of(metrics: Mapping[str, Any], **more: Any) -> list[Finding]:
    """What the numbers say, in the form of a report."""
    return [Finding(finding.level, finding.sentence) for finding in findings(metrics, **more)]


def confusion_of(metrics: Mapping[str, Any]) -> Confusion:
    return Confusion(
        classes=metrics["classes"],
        counts=metrics["confusion_matrix"],
        reading="Rows are what the images are, columns what was answered. "
        "Choose a cell to see its images below.",
    )


def figures_of(
    predictions: Predictions,
    metrics: Mapping[str, Any],
    folder: Path,
    *,
    history: Sequence[Mapping[str, float]] = (),
    best_epoch: int | None = None,
    prefix: str = "",
) -> list[Figure]:
    """Draw and save every figure of one part, each with its one-sentence reading."""
    made = evaluation_figures(predictions, metrics, history, best_epoch)
    readings = describe_figures(metrics, history=history, best_epoch=best_epoch)
    figures = []
    for name, figure in made.items():
        reading = readings[name]
        svg, png = save_figure(figure, folder, f"{prefix}{name}", reading)
        figures.append(
            Figure(
                name=f"{prefix}{name}",
                title=name.replace("_", " ").capitalize().replace("Roc", "ROC curve"),
                image=svg.read_text("utf-8"),
                png=png.read_bytes(),
                reading=reading,
                alt=reading,
                wide=name == "learning_curves",
            )
        )
    return figures


def galleries_of(predictions: Predictions, file_of: FileOf, rest: str) -> list[Gallery]:
    """The most confident mistakes, and the images that the classifier was least sure of."""
    known = np.flatnonzero(predictions.labelled)
    wrong = known[~predictions.correct[known]]
    confident = wrong[np.argsort(-predictions.confidence[wrong], kind="stable")]
    margins = np.sort(predictions.probabilities, axis=1)
    unsure = np.argsort(margins[:, -1] - margins[:, -2], kind="stable")
    return [
        Gallery(
            name="mistakes",
            title="Mistakes, the most confident first",
            pictures=pictures_of(predictions, confident[:GALLERY_SIZE], file_of),
            reading="A confident mistake is a hard image, a wrong label, or something that the "
            "classifier has not learned. Look at the labels first.",
            total=len(confident),
            rest=rest,
            empty="There are none: every image was classified right.",
        ),
        Gallery(
            name="unsure",
            title="Least certain images",
            pictures=pictures_of(predictions, unsure[: GALLERY_SIZE // 2], file_of),
            reading="The two likeliest classes are closest here: more training images like "
            "these help most.",
            total=len(unsure),
            rest=rest,
        ),
    ]


def pictures_of(
    predictions: Predictions, rows: NDArray[np.int64], file_of: FileOf
) -> list[Picture]:
    """Thumbnails with what is known about each image, fetched by its path."""
    names = (*predictions.classes, "")
    pictures = []
    for row in rows.tolist():
        path = predictions.paths[row]
        try:
            image = make_thumbnail(file_of(path))
        except (UnreadableImage, OSError):
            continue  # the file was moved or changed since it was classified
        order = np.argsort(-predictions.probabilities[row], kind="stable")[:5]
        pictures.append(
            Picture(
                image=image,
                path=path,
                true=names[predictions.labels[row]],
                predicted=names[predictions.predicted[row]],
                confidence=float(predictions.confidence[row]),
                probabilities=[
                    (names[i], float(predictions.probabilities[row, i])) for i in order.tolist()
                ],
            )
        )
    return pictures


def _place(part: str) -> str:
    names = {"test": "the test images", "validation": "the validation images"}
    return names.get(part, part)
