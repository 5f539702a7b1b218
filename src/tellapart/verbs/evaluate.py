"""``tellapart evaluate``: a run on new images, or what it scored on its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from tellapart.data.pixels import PixelCache, load_pixels
from tellapart.data.reading import read_table, read_unlabelled
from tellapart.data.table import PARTS, ImageTable
from tellapart.errors import DataError
from tellapart.evaluation.intervals import proportion
from tellapart.evaluation.metrics import evaluate_predictions
from tellapart.evaluation.predictions import Predictions, load_predictions
from tellapart.evaluation.unknown import load_unknown
from tellapart.files import write_json
from tellapart.machine import keep_memory, resolve_device
from tellapart.prediction.classifier import load_classifier
from tellapart.progress import DEFAULT, Progress
from tellapart.result import DONE
from tellapart.run import Run, RunGiven, open_run
from tellapart.training.remember import load_images
from tellapart.wording import percent


@dataclass(frozen=True)
class Evaluation:
    """How a run did on some images."""

    run: Path
    #: Metrics of each part, as ``evaluate_predictions`` gives them.
    metrics: Mapping[str, Mapping[str, Any]]
    predictions: Mapping[str, Predictions] = field(repr=False)
    #: The page about it, if one was written.
    report: Path | None = None
    #: What keeps the numbers from meaning what they seem to.
    warnings: tuple[str, ...] = ()
    #: For each part the share of images called unknown, with its interval, where the run can.
    unknown: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    exit_code: ClassVar[int] = DONE

    @property
    def part(self) -> str:
        """The part that matters most: the test part, or the only one."""
        for part in ("test", "validation"):
            if part in self.predictions:
                return part
        return next(iter(self.predictions))

    def to_json(self) -> dict[str, Any]:
        return {
            "run": str(self.run),
            **({"report": str(self.report)} if self.report else {}),
            **({"warnings": list(self.warnings)} if self.warnings else {}),
            **({"unknown": dict(self.unknown)} if self.unknown else {}),
            **self.metrics,
        }

    def lines(self) -> Iterator[str]:
        """What the command prints."""
        for part, metrics in self.metrics.items():
            yield f"{part:<10}  {_accuracy(metrics)}"
            if part in self.unknown:
                yield f"{'':<10}  {_unknown(self.unknown[part])}"
        for warning in self.warnings:
            yield f"warning     {warning}"
        if self.report:
            yield f"report      {self.report}"

    def _repr_html_(self) -> str:
        from tellapart.evaluation.plots import confusion_matrix, to_svg
        from tellapart.notebook import card

        part, metrics = self.part, self.metrics[self.part]
        drawn = ""
        if metrics["images"]:
            figure = confusion_matrix(metrics["confusion_matrix"], metrics["classes"], part)
            drawn = to_svg(figure, "confusion")
        return card(
            f"{self.run.name}: {part}",
            headline=_accuracy(metrics),
            sentences=self.warnings,
            table=[("part", "images", "accuracy", "95 %"), *(
                (name, m["images"], *_with_interval(m["accuracy"]))
                for name, m in self.metrics.items()
            )],
            figure=drawn,
            link=self.report,
        )  # fmt: skip


def evaluate(
    run: RunGiven,
    folder: str | Path | None = None,
    *,
    device: str = "auto",
    ignore_unknown: bool = False,
    foreign: bool = False,
    root: str | Path | None = None,
    progress: Progress = DEFAULT,
) -> Evaluation:
    """Score a run on a folder of labelled images; without one, give what is stored.

    Classes are matched by name with the run's; a class of the folder that the run does not
    know stops, unless ``ignore_unknown``. Where the folder has parts, each is scored by
    itself. The result is also written into the run folder, under ``evaluations/``.

    Args:
        foreign: the images are of none of the run's classes and need no class folders; what
            counts is how many of them are called unknown.

    Raises:
        RunError: the run cannot be used, or (with ``foreign``) cannot answer "unknown".
        DataError: the folder cannot be read, or its classes are not the run's.
    """
    opened = open_run(run)
    if folder is None:
        if foreign or ignore_unknown or root is not None:
            raise DataError(
                "--foreign, --ignore-unknown and --root have no effect without a folder of new "
                "images; name one: 'tellapart evaluate RUN FOLDER'."
            )
        predictions = {
            part: load_predictions(opened.predictions_file(part)) for part in opened.parts
        }
        return Evaluation(opened.path, opened.metrics, predictions, opened.report)
    keep_memory()
    classifier = load_classifier(opened.model_file, device=resolve_device(device))
    detector = None
    if foreign or opened.unknown_file.is_file():
        detector = load_unknown(opened.unknown_file)
    if foreign:
        table = read_unlabelled(folder, progress)
    else:
        table = read_table(
            folder, classes=classifier.classes, ignore_unknown=ignore_unknown, root=root,
            progress=progress,
        )
    cache = load_pixels(table, classifier.preprocessing, progress=progress)
    far: NDArray[np.bool_] | None = None
    if detector is not None:
        answers, features = classifier.probabilities_and_features(cache.pixels, progress=progress)
        far = detector.is_unknown(features)
    else:
        answers = classifier.probabilities(cache.pixels, progress=progress)
    name = Path(folder).resolve().stem
    rows_of = _parts_of(cache.table, name)
    found: dict[str, Predictions] = {}
    metrics: dict[str, dict[str, Any]] = {}
    unknown: dict[str, dict[str, Any]] = {}
    for part, rows in rows_of.items():
        found[part] = Predictions(
            part=part,
            classes=classifier.classes,
            paths=tuple(cache.table.paths[row] for row in rows.tolist()),
            labels=np.full(len(rows), -1) if foreign else cache.table.labels[rows],
            probabilities=answers[rows],
        )
        metrics[part] = evaluate_predictions(found[part], seed=opened.recipe.seed)
        if far is not None:
            unknown[part] = proportion(int(far[rows].sum()), len(rows), "there are no images")
    warnings = _warnings(opened, cache, rows_of, unknown, foreign)
    place = opened.path / "evaluations" / name
    report = _write(opened, place, found, metrics, cache, warnings, unknown)
    return Evaluation(opened.path, metrics, found, report, tuple(warnings), unknown)


def _parts_of(table: ImageTable, name: str) -> dict[str, NDArray[np.int64]]:
    """Rows of each part of the folder, test first; all under ``name`` where it has none."""
    parts = {
        part: np.flatnonzero(table.parts == part)
        for part in ("test", "validation", "train")
        if (table.parts == part).any()
    }
    rest = np.flatnonzero(~np.isin(table.parts, PARTS))
    return parts | ({name: rest} if len(rest) else {})


def _write(
    run: Run,
    place: Path,
    found: Mapping[str, Predictions],
    metrics: Mapping[str, dict[str, Any]],
    cache: PixelCache,
    warnings: Sequence[str],
    unknown: Mapping[str, dict[str, Any]],
) -> Path:
    """Predictions, metrics and the page, about the first part."""
    from tellapart.report.of_run import write_evaluation_report

    for part, predictions in found.items():
        predictions.save(place / ("predictions.csv" if len(found) == 1 else f"{part}.csv"))
    content = {**metrics, **({"unknown": unknown} if unknown else {})}
    write_json(place / "metrics.json", content)
    main, *others = found
    return write_evaluation_report(
        run, found[main], metrics[main], cache, place,
        warnings=warnings, unknown=unknown.get(main),
        others={part: metrics[part] for part in others},
    )


def _warnings(
    run: Run,
    cache: PixelCache,
    rows_of: Mapping[str, NDArray[np.int64]],
    unknown: Mapping[str, Mapping[str, Any]],
    foreign: bool,
) -> list[str]:
    """Images that the run has seen, and images unlike those it has seen."""
    seen: dict[str, set[str]] = {"train": set(), "validation": set()}
    for part, digest, _ in load_images(run.images_file):
        if part in seen:
            seen[part].add(digest)
    warnings = []
    for part, rows in rows_of.items():
        digests = [cache.digests[row] for row in rows.tolist()]
        for own, verb in (("train", "trained on"), ("validation", "chosen with")):
            count = sum(digest in seen[own] for digest in digests)
            if count:
                warnings.append(
                    f"{count:,} of the {len(rows):,} images of {part} are images that this run "
                    f"was {verb}, so its numbers on them are too good."
                )
        share = unknown.get(part)
        if not foreign and share and share["low"] is not None and share["low"] > 0.1:
            warnings.append(
                f"{percent(share['value'], 0)} of the images of {part} are unlike any that this "
                "run was trained on (5 % would be usual): do not expect its usual accuracy."
            )
    return warnings


def _accuracy(metrics: Mapping[str, Any]) -> str:
    accuracy = metrics["accuracy"]
    if accuracy["value"] is None:
        images = metrics["images"] + metrics["unlabelled"]
        return f"{images:,} images, none with a label"
    return (
        f"accuracy {percent(accuracy['value'], 2)}  "
        f"(95 %: {percent(accuracy['low'], 2)} to {percent(accuracy['high'], 2)}), "
        f"{metrics['images']:,} images"
    )


def _unknown(share: Mapping[str, Any]) -> str:
    if share["value"] is None:
        return "no images"
    return (
        f"called unknown: {percent(share['value'])}  "
        f"(95 %: {percent(share['low'])} to {percent(share['high'])})"
    )


def _with_interval(number: Mapping[str, Any]) -> tuple[str, str]:
    if number["value"] is None:
        return "-", ""
    value, low, high = (percent(number[name], 2) for name in ("value", "low", "high"))
    return value, f"{low} to {high}"
