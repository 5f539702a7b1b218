"""``tellapart evaluate``: a run on new images, or what it scored on its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from tellapart.data.pixels import PixelCache
from tellapart.data.reading import read_unlabelled
from tellapart.data.source import Source
from tellapart.data.table import PARTS, ImageTable
from tellapart.errors import DataError
from tellapart.evaluation.columns import word_for
from tellapart.evaluation.decision import Decision
from tellapart.evaluation.intervals import proportion
from tellapart.evaluation.metric_table import Metrics, metrics_from_json, metrics_to_json
from tellapart.evaluation.metrics import evaluate_predictions
from tellapart.evaluation.predictions import Predictions
from tellapart.evaluation.unknown import load_unknown
from tellapart.files import write_json
from tellapart.folders import write_folder
from tellapart.machine import keep_memory
from tellapart.number import Number
from tellapart.progress import DEFAULT, Progress
from tellapart.result import DONE, ShortRepr
from tellapart.run import Run, RunGiven, open_run

#: What stands beside the parts in the JSON of an evaluation, and in its ``metrics.json``.
_BESIDE_PARTS = ("run", "report", "warnings", "unknown", "decision")


@dataclass(frozen=True, repr=False)
class Evaluation(ShortRepr):
    """How a run did on some images."""

    run: Path
    #: Metrics of each part, as ``evaluate_predictions`` gives them.
    metrics: Mapping[str, Metrics]
    predictions: Mapping[str, Predictions] = field(repr=False)
    #: The page about it, if one was written.
    report: Path | None = None
    #: What keeps the numbers from meaning what they seem to.
    warnings: tuple[str, ...] = ()
    #: For each part the share of images called unknown, with its interval, where the run can.
    unknown: Mapping[str, Number] = field(default_factory=dict)
    #: By which the classes were chosen; None: the likeliest.
    decision: Decision | None = None

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
            **({"unknown": _shares_to_json(self.unknown)} if self.unknown else {}),
            **({"decision": self.decision.to_dict()} if self.decision is not None else {}),
            **metrics_to_json(self.metrics),
        }

    def lines(self) -> Iterator[str]:
        """What the command prints."""
        for part, metrics in self.metrics.items():
            yield f"{part:<10}  {_accuracy(metrics)}"
            if part in self.unknown:
                yield f"{'':<10}  {_unknown(self.unknown[part])}"
        if self.decision is not None:
            yield f"decision    {self.decision.rule}"
        for warning in self.warnings:
            yield f"warning     {warning}"
        if self.report:
            yield f"report      {self.report}"

    def _repr_html_(self) -> str:
        from tellapart.evaluation.plots import confusion_matrix, to_svg
        from tellapart.notebook import card

        part, metrics = self.part, self.metrics[self.part]
        drawn = ""
        if metrics.images:
            figure = confusion_matrix(metrics.confusion_matrix, metrics.classes, part)
            drawn = to_svg(figure, "confusion")
        return card(
            f"{self.run.name}: {part}",
            headline=_accuracy(metrics),
            sentences=[
                *([f"Decision: {self.decision.rule}."] if self.decision is not None else []),
                *self.warnings,
            ],
            table=[("part", "images", "accuracy", "95 %"), *(
                (name, m.images, m.accuracy.percent(2), m.accuracy.limits(2))
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
    path_column: str | None = None,
    label_column: str | None = None,
    progress: Progress = DEFAULT,
) -> Evaluation:
    """Score a run on a folder of labelled images; without one, give what is stored.

    Classes are matched by name with the run's; a class of the folder that the run does not
    know stops, unless ``ignore_unknown``. Where the folder has parts, each is scored by
    itself. The result is also written into the run folder, under ``evaluations/``: a second
    evaluation of the same folder replaces the first, another folder of the same name gets a
    number behind it.

    Args:
        foreign: the images are of none of the run's classes and need no class folders; what
            counts is how many of them are called unknown.
        root, path_column, label_column: of a table, as for ``train``.

    Raises:
        RunError: the run cannot be used or written, or (with ``foreign``) cannot answer
            "unknown".
        DataError: the folder cannot be read, or its classes are not the run's.
    """
    opened = open_run(run)
    if folder is None:
        of_tables = (root, path_column, label_column)
        if foreign or ignore_unknown or any(given is not None for given in of_tables):
            raise DataError(
                "--foreign, --ignore-unknown, --root, --path-column and --label-column have no "
                "effect without a folder of new images; name one: 'tellapart evaluate RUN FOLDER'."
            )
        predictions = {part: opened.predictions(part) for part in opened.parts}
        stored = metrics_from_json(opened.metrics)
        return Evaluation(
            opened.path, stored, predictions, opened.report, decision=opened.decision
        )
    keep_memory()
    classifier = opened.classifier(device)
    detector = None
    if foreign or opened.intact(opened.unknown_file).is_file():
        detector = load_unknown(opened.unknown_file)
    source = Source(
        folder=Path(folder),
        classes=classifier.classes,
        root=Path(root) if root is not None else None,
        ignore_unknown=ignore_unknown,
        path_column=path_column,
        label_column=label_column,
    )
    table = read_unlabelled(source.folder, progress) if foreign else source.read(progress)
    images = source.pixels(table, classifier.preprocessing, progress=progress)
    far: NDArray[np.bool_] | None = None
    if detector is not None:
        answers, features = classifier.probabilities_and_features(images.pixels, progress=progress)
        far = detector.is_unknown(features)
    else:
        answers = classifier.probabilities(images.pixels, progress=progress)
    rows_of = _parts_of(images.table, source.display_name)
    found: dict[str, Predictions] = {}
    metrics: dict[str, Metrics] = {}
    unknown: dict[str, Number] = {}
    for part, rows in rows_of.items():
        found[part] = Predictions(
            part=part,
            classes=classifier.classes,
            paths=tuple(images.table.paths[row] for row in rows.tolist()),
            labels=np.full(len(rows), -1) if foreign else images.table.labels[rows],
            probabilities=answers[rows],
            decision=opened.decision,
        )
        metrics[part] = evaluate_predictions(found[part], seed=opened.recipe.seed)
        if far is not None:
            unknown[part] = proportion(int(far[rows].sum()), len(rows), "there are no images")
    warnings = _warnings(opened, images, rows_of, unknown, foreign)
    place = write_folder(
        opened.path / "evaluations" / source.display_name,
        {"source": str(source.folder)},
        lambda folder: _write(opened, folder, found, metrics, images, warnings, unknown),
    )
    return Evaluation(
        opened.path, metrics, found, place / "report.html", tuple(warnings), unknown,
        opened.decision,
    )  # fmt: skip


def _parts_of(table: ImageTable, name: str) -> dict[str, NDArray[np.int64]]:
    """Rows of each part of the folder, test first; all under ``name`` where it has none.

    The name is put in brackets where it is also that of a part, or of something else that
    stands beside the parts in JSON.
    """
    parts = {
        part: np.flatnonzero(table.parts == part)
        for part in ("test", "validation", "train")
        if (table.parts == part).any()
    }
    rest = np.flatnonzero(~np.isin(table.parts, PARTS))
    return parts | ({word_for(name, [*parts, *_BESIDE_PARTS]): rest} if len(rest) else {})


def _write(
    run: Run,
    place: Path,
    found: Mapping[str, Predictions],
    metrics: Mapping[str, Metrics],
    images: PixelCache,
    warnings: Sequence[str],
    unknown: Mapping[str, Number],
) -> None:
    """Predictions, metrics and the page, about the first part."""
    from tellapart.report.of_run import write_evaluation_report

    for part, predictions in found.items():
        predictions.save(place / ("predictions.csv" if len(found) == 1 else f"{part}.csv"))
    content = metrics_to_json(metrics)
    if unknown:
        content["unknown"] = _shares_to_json(unknown)
    write_json(place / "metrics.json", content)
    main, *others = found
    write_evaluation_report(
        run, found[main], metrics[main], images, place,
        warnings=warnings, unknown=unknown.get(main),
        others={part: metrics[part] for part in others},
    )


def _warnings(
    run: Run,
    images: PixelCache,
    rows_of: Mapping[str, NDArray[np.int64]],
    unknown: Mapping[str, Number],
    foreign: bool,
) -> list[str]:
    """Images that the run has seen, and images unlike those it has seen."""
    seen: dict[str, set[str]] = {"train": set(), "validation": set()}
    for image in run.images:
        if image.part in seen:
            seen[image.part].add(image.digest)
    warnings = []
    for part, rows in rows_of.items():
        digests = [images.digests[row] for row in rows.tolist()]
        for own, verb in (("train", "trained on"), ("validation", "chosen with")):
            count = sum(digest in seen[own] for digest in digests)
            if count:
                warnings.append(
                    f"{count:,} of the {len(rows):,} images of {part} are images that this run "
                    f"was {verb}, so its numbers on them are too good."
                )
        share = unknown.get(part)
        if not foreign and share and share.low is not None and share.low > 0.1:
            warnings.append(
                f"{share.percent(0)} of the images of {part} are unlike any that this "
                "run was trained on (5 % would be usual): do not expect its usual accuracy."
            )
    return warnings


def _accuracy(metrics: Metrics) -> str:
    if not metrics.accuracy.known:
        return f"{metrics.images + metrics.unlabelled:,} images, none with a label"
    return f"accuracy {metrics.accuracy.with_limits(2)}, {metrics.images:,} images"


def _unknown(share: Number) -> str:
    return f"called unknown: {share.with_limits()}" if share.known else "no images"


def _shares_to_json(unknown: Mapping[str, Number]) -> dict[str, Any]:
    return {part: share.to_json() for part, share in unknown.items()}
