"""``tellapart evaluate``: a run on new images, or what it scored on its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from tellapart.audit.brief import how_copied
from tellapart.data.copies import CLEAN, COPY, NEAR, WHY_NOT_SOUGHT, Seen
from tellapart.data.pixels import PixelCache
from tellapart.data.reading import read_unlabelled
from tellapart.data.source import Source
from tellapart.data.table import PARTS, ImageTable
from tellapart.errors import DataError
from tellapart.evaluation.abstaining import Answered, measure_answered
from tellapart.evaluation.class_sets import SetsMeasured, measure_sets
from tellapart.evaluation.columns import word_for
from tellapart.evaluation.decision import Decision
from tellapart.evaluation.intervals import proportion
from tellapart.evaluation.leaks import WITH, WITHOUT, metrics_of
from tellapart.evaluation.metric_table import Metrics, metrics_from_json, metrics_to_json
from tellapart.evaluation.policy import Policy
from tellapart.evaluation.predictions import Predictions
from tellapart.files import write_csv, write_json
from tellapart.folders import write_folder
from tellapart.machine import keep_memory
from tellapart.number import Number
from tellapart.progress import DEFAULT, Progress
from tellapart.result import DONE, ShortRepr
from tellapart.run import Run, RunGiven, open_run
from tellapart.training.remember import find_seen_by
from tellapart.wording import capital, plural, share_of_all

#: What stands beside the parts in the JSON of an evaluation, and in its ``metrics.json``.
_BESIDE_PARTS = ("run", "report", "warnings", "unknown", "decision", "policy")


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
    #: By which the answers were given.
    policy: Policy = field(default_factory=Policy)

    exit_code: ClassVar[int] = DONE

    @property
    def decision(self) -> Decision | None:
        """By which the classes were chosen; None: the likeliest."""
        return self.policy.decision

    def policy_measured(self, part: str) -> dict[str, Answered | SetsMeasured]:
        """What abstaining and sets do on a part: "answered" and "sets", where they are in force."""
        predictions = self.predictions[part]
        measured: dict[str, Answered | SetsMeasured | None] = {
            "answered": measure_answered(predictions),
            "sets": measure_sets(predictions, self.policy.sets) if self.policy.sets else None,
        }
        found = {name: value for name, value in measured.items() if value is not None}
        return found if predictions.labelled.any() else {}

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
            **self._policy_to_json(),
            **metrics_to_json(self.metrics),
        }

    def _policy_to_json(self) -> dict[str, Any]:
        extras = self.policy.extras_to_dict()
        if extras is None:
            return {}
        return {"policy": extras | {
            "measured": {part: {name: found.to_json() for name, found in
                                self.policy_measured(part).items()}
                         for part in self.predictions}
        }}  # fmt: skip

    def lines(self) -> Iterator[str]:
        """What the command prints."""
        for part, metrics in self.metrics.items():
            yield f"{part:<10}  {_accuracy(metrics)}"
            if part in self.predictions:
                for found in self.policy_measured(part).values():
                    yield f"{'':<10}  {found.sentence}"
            if part in self.unknown:
                yield f"{'':<10}  {_unknown(self.unknown[part])}"
        for rule in self.policy.rules:
            yield f"decision    {rule}"
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
                *(f"Decision: {rule}." for rule in self.policy.rules),
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
    keep_leaks: bool = False,
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
        keep_leaks: score images that the run was made with, or near copies of them, too; they
            are the second number else.
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
        if foreign or ignore_unknown or keep_leaks or any(given is not None for given in of_tables):
            raise DataError(
                "--foreign, --ignore-unknown, --keep-leaks, --root, --path-column and "
                "--label-column have no effect without a folder of new images; name one: "
                "'tellapart evaluate RUN FOLDER'."
            )
        predictions = {part: opened.predictions(part) for part in opened.parts}
        stored = metrics_from_json(opened.metrics)
        return Evaluation(opened.path, stored, predictions, opened.report, policy=opened.policy)
    keep_memory()
    predictor = opened.predictor(
        device, unknown=foreign or opened.intact(opened.unknown_file).is_file()
    )
    source = Source(
        folder=Path(folder),
        classes=predictor.classes,
        root=Path(root) if root is not None else None,
        ignore_unknown=ignore_unknown,
        path_column=path_column,
        label_column=label_column,
    )
    table = read_unlabelled(source.folder, progress) if foreign else source.read(progress)
    images = source.pixels(table, predictor.preprocessing, progress=progress)
    judged = predictor.judge_images(images, progress=progress)
    rows_of = _parts_of(images.table, source.display_name)
    seen = find_seen_by(opened, images, progress)
    labels = np.full(len(images), -1) if foreign else images.table.labels
    found = _predictions(opened, images, rows_of, labels, judged.probabilities, seen)
    metrics: dict[str, Metrics] = {}
    unknown: dict[str, Number] = {}
    for part, rows in rows_of.items():
        metrics |= metrics_of(
            found[part],
            _seen_paths(images, seen, rows),
            keep_leaks=keep_leaks or foreign,
            seed=opened.recipe.seed,
        )
        if judged.unknown is not None:
            far = int(judged.unknown[rows].sum())
            unknown[part] = proportion(far, len(rows), "there are no images")
    warnings = _warnings(images, rows_of, seen, unknown, metrics, foreign)
    scored = {
        part: predictions if f"{part}{WITH}" not in metrics
        else predictions.select(seen.how[rows_of[part]] == CLEAN)
        for part, predictions in found.items()
    }  # fmt: skip
    place = write_folder(
        opened.path / "evaluations" / source.display_name,
        {"source": str(source.folder)},
        lambda folder: _write(
            opened, folder, found, scored, metrics, images, warnings, unknown, seen, foreign
        ),
    )
    told = tuple(text for texts in warnings.values() for text in texts)
    return Evaluation(
        opened.path, metrics, found, place / "report.html", told, unknown,
        opened.policy,
    )  # fmt: skip


def _predictions(
    run: Run,
    images: PixelCache,
    rows_of: Mapping[str, NDArray[np.int64]],
    labels: NDArray[np.int64],
    answers: NDArray[np.float64],
    seen: Seen,
) -> dict[str, Predictions]:
    """What the run says of each part: labels (N,) and probabilities (N, C) of all images."""
    alone = len(np.unique(seen.groups)) == len(seen.groups)
    return {
        part: Predictions(
            part=part,
            classes=run.classes,
            paths=tuple(images.table.paths[row] for row in rows.tolist()),
            labels=labels[rows],
            probabilities=answers[rows],
            groups=None if alone else seen.groups[rows],
            decision=run.decision,
            abstention=run.policy.abstention,
        )
        for part, rows in rows_of.items()
    }


def _seen_paths(images: PixelCache, seen: Seen, rows: NDArray[np.int64]) -> set[str]:
    return {images.table.paths[row] for row in rows[seen.how[rows] != CLEAN].tolist()}


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
    scored: Mapping[str, Predictions],
    metrics: Mapping[str, Metrics],
    images: PixelCache,
    warnings: Mapping[str, Sequence[str]],
    unknown: Mapping[str, Number],
    seen: Seen,
    foreign: bool,
) -> None:
    """Predictions, metrics and the page, about the first part."""
    from tellapart.report.of_run import write_evaluation_report

    for part, predictions in found.items():
        predictions.save(place / ("predictions.csv" if len(found) == 1 else f"{part}.csv"))
    content = metrics_to_json(metrics)
    if unknown:
        content["unknown"] = _shares_to_json(unknown)
    write_json(place / "metrics.json", content)
    known = np.flatnonzero(seen.how != CLEAN).tolist()
    if known:
        write_csv(
            place / "seen.csv", ("path", "seen"),
            ((images.table.paths[row], seen.how[row]) for row in known),
        )  # fmt: skip
    main, *others = found
    # Of the labelled images that the page is about its verdict says the same.
    has_verdict = any(metrics[name].images for name in (main, main + WITH) if name in metrics)
    warned = [text for part, texts in warnings.items() for text in texts
              if part not in ("", main) or not has_verdict]  # fmt: skip
    write_evaluation_report(
        run,
        scored[main],
        metrics[main],
        images,
        place,
        with_seen=metrics.get(main + WITH),
        without_seen=metrics.get(main + WITHOUT),
        warnings=warned,
        unknown=unknown.get(main),
        foreign=foreign,
        not_sought=seen.not_sought,
        others={part: metrics[part] for part in others},
    )


def _warnings(
    images: PixelCache,
    rows_of: Mapping[str, NDArray[np.int64]],
    seen: Seen,
    unknown: Mapping[str, Number],
    metrics: Mapping[str, Metrics],
    foreign: bool,
) -> dict[str, list[str]]:
    """Images that the run has seen, and images unlike those it has seen, by part."""
    warnings: dict[str, list[str]] = {"": [], **{part: [] for part in rows_of}}
    if seen.not_sought and not foreign:
        warnings[""].append(
            "Of the images that this run was made with only byte for byte copies can be told: "
            f"{WHY_NOT_SOUGHT[seen.not_sought]}."
        )
    for part, rows in rows_of.items():
        how = seen.how[rows]
        equal, changed = int((how == COPY).sum()), int((how == NEAR).sum())
        if equal + changed:
            them = "it" if equal + changed == 1 else "them"
            kept = f"{part}{WITH}" not in metrics
            end = "are too good by that" if kept else f"are without {them}"
            warnings[part].append(
                f"{capital(share_of_all(equal + changed, len(rows), 'image', f' of {part}'))} "
                f"{'is one' if equal + changed == 1 else 'are images'} that this run was trained "
                f"on or chosen with, {how_copied(equal, changed)}; its numbers {end}."
            )
        share = unknown.get(part)
        if not foreign and share and share.low is not None and share.low > 0.1:
            warnings[part].append(
                f"{share.percent(0)} of the images of {part} are unlike any that this "
                "run was trained on (5 % would be usual): do not expect its usual accuracy."
            )
    return warnings


def _accuracy(metrics: Metrics) -> str:
    if not metrics.accuracy.known:
        if not metrics.images + metrics.unlabelled:
            return f"no accuracy: {metrics.accuracy.reason}"
        return f"{plural(metrics.images + metrics.unlabelled, 'image')}, none with a label"
    return f"accuracy {metrics.accuracy.with_limits(2)}, {plural(metrics.images, 'image')}"


def _unknown(share: Number) -> str:
    return f"called unknown: {share.with_limits()}" if share.known else "no images"


def _shares_to_json(unknown: Mapping[str, Number]) -> dict[str, Any]:
    return {part: share.to_json() for part, share in unknown.items()}
