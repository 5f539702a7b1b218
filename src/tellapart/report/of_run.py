"""The report of a run: what its folder, its predictions and its images say, put together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from tellapart.data.pixels import PixelCache
from tellapart.data.split import Splits
from tellapart.data.table import PARTS, Problem
from tellapart.evaluation.metric_table import Metrics, metrics_from_json, metrics_shown
from tellapart.evaluation.predictions import Predictions
from tellapart.evaluation.unknown import NOTICED_NEAR
from tellapart.files import write_text
from tellapart.number import MISSING, Number, undefined
from tellapart.pixels.preprocessing import Preprocessing
from tellapart.pixels.thumbnails import make_thumbnail
from tellapart.recipe_reading import recipe_to_yaml
from tellapart.report.content import (
    Callout,
    Column,
    Facts,
    Figure,
    Gallery,
    Headline,
    KeyNumber,
    Pairs,
    Picture,
    RunReport,
    Table,
)
from tellapart.report.numbers import format_value
from tellapart.report.of_evaluation import (
    column_of,
    confusion_of,
    confusions_of,
    figures_of,
    foreign_headline,
    galleries_of,
    headline_of,
    key_numbers_of,
    more_images_figure,
    numbers_of,
    per_class_table,
    policy_numbers,
    tables_of,
)
from tellapart.report.of_search import search_of
from tellapart.report.render import render_report
from tellapart.run import Run
from tellapart.run_info import LeftOut
from tellapart.search.record import SEARCH_FILE
from tellapart.verdict.of_run import evidence_of, evidence_of_new_images
from tellapart.verdict.reach import reach_verdict
from tellapart.verdict.verdict import Verdict
from tellapart.verdict.words import difference
from tellapart.wording import listed

#: Sample pictures in all, spread over the classes.
SAMPLES = 48
#: Pairs of look-alikes that are shown.
PAIRS = 6


def write_run_report(
    run: Run,
    predictions: Mapping[str, Predictions],
    images: PixelCache,
    splits: Splits,
    seconds: Mapping[str, float],
) -> None:
    """Draw the figures and write ``report.html`` of a run whose metrics are stored.

    The headline is the test part's; without one, the validation part's, and it says so.
    """
    part = next((name for name in ("test", "validation") if name in predictions), None)
    table = splits.table
    history = run.history()
    figures: list[Figure] = []
    content: dict[str, Any] = {}
    verdict: Verdict | None = None
    if part is not None:
        stored = metrics_from_json(run.metrics)
        metrics = stored[part]
        shown = predictions[part]
        evidence = evidence_of(run, stored, predictions)
        verdict = reach_verdict(evidence) if evidence is not None else None
        figures = figures_of(
            shown, metrics, run.path / "figures", history=history, best_epoch=run.kept_epoch
        )
        headline = headline_of(metrics, part)
        if run.learning_curve is not None:
            figures.append(more_images_figure(run.learning_curve, run.path / "figures"))
    else:
        headline = Headline("Accuracy", undefined("no image was held out"))
    if part is not None and metrics.images:  # else all of them were seen in training
        content = {
            "key_numbers": [
                *key_numbers_of(metrics, stored),
                *policy_numbers(run.policy, shown),
                *_procedure(run),
            ],
            "numbers": numbers_of(metrics),
            "decision": run.policy.rule,
            "per_class": per_class_table(metrics, part),
            "confusion": confusion_of(metrics),
            "confusions": confusions_of(metrics),
            "tables": [
                *tables_of(
                    predictions.get("validation") if part == "test" else None,
                    shown,
                    # Each fold has a temperature of its own.
                    temperature=None if metrics.cross_validated else run.info.temperature,
                ),
                *_folds(run),
            ],
            "galleries": galleries_of(
                shown,
                lambda path: table.root / path,
                f"all predictions are in predictions/{part}.csv",
            ),
        }
    curves = [figure for figure in figures if figure.name == "learning_curves"]
    recipe = run.recipe
    report = RunReport(
        title=f"{run.source.display_name}: {_classes(table.classes)}",
        subtitle=f"Recipe {recipe.name}: {recipe.title}",
        headline=headline,
        verdict=verdict,
        created=run.info.created,
        data_facts=_data_facts(run, splits),
        data_counts=_counts(run),
        data_problems=_problems(run.info.data.left_out),
        samples=_samples(splits, images),
        look_alikes=_look_alikes(run, part, splits, images),
        figures=[figure for figure in figures if figure not in curves],
        history_figures=curves,
        history=_history(history),
        search=search_of(run, metrics_from_json(run.metrics), run.path / "figures"),
        recipe_yaml=recipe_to_yaml(recipe),
        command=run.info.command,
        run_facts=_run_facts(run),
        weights=weights_of(run),
        durations=[(name, value) for name, value in seconds.items() if name != "total"],
        data_notes=[*run.info.data.notes, *run.info.data.audit],
        notes=run.info.notes,
        footer=f"tellapart {run.info.tellapart}",
        **content,
    )
    write_text(run.report, render_report(report))


def write_evaluation_report(
    run: Run,
    predictions: Predictions,
    metrics: Metrics,
    images: PixelCache,
    folder: Path,
    *,
    warnings: Sequence[str] = (),
    unknown: Number | None = None,
    with_seen: Metrics | None = None,
    without_seen: Metrics | None = None,
    not_sought: str = "",
    others: Mapping[str, Metrics] | None = None,
    foreign: bool = False,
) -> Path:
    """Write ``report.html`` and the figures of a run on new images into ``folder``.

    Args:
        predictions, metrics: of the part that the page is about.
        warnings: what keeps the numbers from meaning what they seem to, beyond what the verdict
            says of labelled images.
        unknown: share of the images that are called unknown, with its interval.
        foreign: the images are of none of the run's classes, and whether that is noticed is the
            question.
        with_seen, without_seen: metrics with or without the images that the run was made with,
            where ``metrics`` are the other of the two.
        not_sought: "" or why changed copies of such images were not looked for.
        others: metrics of further parts of the same folder, which get a row each.
    """
    labelled = metrics.images > 0
    validation = run.scored_predictions("validation") if "validation" in run.parts else None
    verdict = None
    key_numbers = []
    if labelled or (with_seen is not None and with_seen.images):
        verdict = reach_verdict(evidence_of_new_images(
            run, metrics, predictions, with_seen=with_seen, without_seen=without_seen,
            not_sought=not_sought, unlike=unknown,
        ))  # fmt: skip
    if labelled:
        key_numbers = [
            *key_numbers_of(metrics),
            *policy_numbers(run.policy, predictions),
            *_beside_own(run, metrics),
        ]
    if foreign and unknown is not None:
        headline = foreign_headline(unknown, len(predictions))
    else:
        headline = headline_of(metrics, predictions.part)
        if unknown is not None:
            key_numbers.append(
                KeyNumber(
                    "Called unknown",
                    unknown,
                    "share",
                    "images unlike the training ones; of those that resemble its classes "
                    f"{100 * NOTICED_NEAR:.0f} of 100 are noticed",
                )
            )
    tables = [_parts_table({predictions.part: metrics, **others})] if others else []
    report = RunReport(
        title=f"{run.name} on {predictions.part}",
        subtitle="A trained classifier on images that it was not made with",
        headline=headline,
        created=datetime.now().astimezone().isoformat(timespec="seconds"),
        key_numbers=key_numbers,
        verdict=verdict,
        callouts=[Callout("warning", text) for text in warnings],
        decision=run.policy.rule,
        numbers=numbers_of(metrics) if labelled else [],
        data_facts=Facts(
            "The images",
            [
                ("Folder", str(images.table.root)),
                ("Images used", f"{len(predictions):,}"),
                ("Without a label", f"{metrics.unlabelled:,}"),
                ("Left out", f"{len(images.table.problems):,}"),
            ],
        ),
        data_problems=_problems(images.table.problems),
        per_class=per_class_table(metrics, predictions.part) if labelled else None,
        confusion=confusion_of(metrics) if labelled else None,
        confusions=confusions_of(metrics) if labelled else None,
        figures=figures_of(predictions, metrics, folder / "figures"),
        tables=[
            *tables,
            *tables_of(validation, predictions, temperature=run.info.temperature),
        ],
        galleries=galleries_of(
            predictions,
            lambda path: images.table.root / path,
            "all are in the CSV beside this page",
        ),
        data_notes=list(images.table.sentences),
        footer=f"tellapart {run.info.tellapart}",
    )
    path = folder / "report.html"
    write_text(path, render_report(report))
    return path


def _beside_own(run: Run, metrics: Metrics) -> list[KeyNumber]:
    """How the run did on its own test images, and how far these are from it."""
    stored = metrics_from_json(run.metrics)
    own = stored.get("test") or stored.get("validation")
    if own is None or not own.images:
        return []
    return [
        KeyNumber(f"On its own {own.part} images", own.accuracy),
        KeyNumber("Difference to these", difference(metrics.accuracy, own.accuracy)),
    ]


def _parts_table(parts: Mapping[str, Metrics]) -> Table:
    columns = metrics_shown("parts")
    return Table(
        "Every part of the folder",
        # No end is best: that a part is easier says nothing good of the classifier.
        [Column("Part"), Column("Images", "count"),
         *(replace(column_of(metric), best="") for metric in columns)],
        [
            (name, metrics.images, *(metric.of(metrics) for metric in columns))
            for name, metrics in parts.items()
        ],
        reading="The rest of this page is about the first of them.",
    )  # fmt: skip


def _classes(names: tuple[str, ...]) -> str:
    named = listed(names, last="or")
    return named if len(names) <= 4 and len(named) <= 40 else f"{len(names)} classes"


def _data_facts(run: Run, splits: Splits) -> Facts:
    preprocessing, data = Preprocessing.from_dict(run.info.preprocessing), run.info.data
    return Facts(
        "The images",
        [
            ("Folder", str(run.source.folder)),
            ("Images used", f"{data.images:,}"),
            ("Left out", f"{data.num_left_out:,}"),
            ("Classes", f"{len(splits.table.classes)}"),
            ("Size for the network", f"{preprocessing.height} x {preprocessing.width}"),
            ("Pictures that are not square", preprocessing.fit),
            ("Fingerprint", data.fingerprint[:16]),
        ],
    )


def _counts(run: Run) -> Table:
    counts = run.info.data.counts
    parts = [part for part in PARTS if any(counts[part].values())]
    return Table(
        title="Images of each class in each part",
        columns=[Column("Class"), *(Column(part.capitalize(), "count") for part in parts)],
        rows=[(name, *(counts[part][name] for part in parts)) for name in run.classes],
        reading=f"Every image is held out once, in one of {len(validated.folds)} folds; the "
        "classifier in this folder was trained on all of them."
        if (validated := run.info.cross_validation) is not None
        else "Train teaches, validation chooses, test is read "
        f"{_times(run.info.test_evaluations)}, at the end{_of_each(run)}.",
    )


def _procedure(run: Run) -> list[KeyNumber]:
    """What classifiers trained in the same way on other images would reach."""
    validated = run.info.cross_validation
    if validated is None or validated.procedure is None:
        return []
    number = Number.from_json(validated.procedure)
    if not number.known:
        return []
    return [KeyNumber(
        "Trained in the same way on other images of this kind", number, "share",
        f"from {validated.repeats} divisions of the images into {len(validated.folds)} folds, with "
        "a new classifier beside each fold",
    )]  # fmt: skip


def _folds(run: Run) -> list[Table]:
    """A row a fold of a cross-validation."""
    validated = run.info.cross_validation
    if validated is None:
        return []
    in_epochs = any(fold.epochs for fold in validated.folds)
    return [Table(
        f"The {len(validated.folds)} folds",
        [Column("Fold"), Column("Images held out", "count"), Column("Right", "share"),
         Column("Epochs kept") if in_epochs else Column("Strength"),
         Column("Temperature", "score"), Column("Seconds", "seconds")],
        [
            (
                str(number), fold.images, fold.right / fold.images,
                " and ".join(map(str, fold.epochs)) if in_epochs
                else f"{fold.strength:g}" if fold.strength is not None else MISSING,
                fold.temperature, fold.seconds,
            )
            for number, fold in enumerate(validated.folds, start=1)
        ],
        reading=f"Beside each fold the other images were divided into those that trained and those "
        f"that chose. {validated.carried_over}",
    )]  # fmt: skip


def _problems(left_out: Sequence[LeftOut | Problem]) -> Table | None:
    rows = [(p.path, p.reason) for p in left_out]
    if not rows:
        return None
    return Table("Files that were left out", [Column("File"), Column("Why")], rows)


def _samples(splits: Splits, images: PixelCache) -> Gallery:
    """A few training images of each class, as the network sees them."""
    table = splits.table
    each = max(2, min(8, SAMPLES // len(table.classes)))
    train = np.flatnonzero(table.parts == "train")
    random = np.random.default_rng(0)
    pictures = []
    for label, name in enumerate(table.classes[:SAMPLES]):
        rows = train[table.labels[train] == label]
        for row in random.permutation(rows)[:each].tolist():
            pictures.append(
                Picture(make_thumbnail(images.pixels[row]), path=table.paths[row], true=name)
            )
    return Gallery(
        "samples",
        "Training images, as the network sees them",
        pictures,
        reading="Drawn at random from each class.",
        total=len(train),
    )


def _look_alikes(run: Run, part: str | None, splits: Splits, images: PixelCache) -> Pairs | None:
    """The most alike pairs of images in two parts that were not taken for copies."""
    leaks = run.info.data.leaks.get(part or "")
    if leaks is None or not leaks.borderline:
        return None
    table = splits.table
    row_of = {path: row for row, path in enumerate(table.paths)}

    def picture(path: str, caption: str) -> Picture:
        row = row_of[path]
        place = str(table.parts[row])
        return Picture(
            make_thumbnail(images.pixels[row]), path=path,
            true=table.classes[int(table.labels[row])],
            caption=f"{place}{caption}",
        )  # fmt: skip

    shown = [pair for pair in leaks.borderline if pair.first in row_of and pair.second in row_of]
    return Pairs(
        "Pairs that look alike",
        [
            (picture(pair.first, ""), picture(pair.second, f", correlation {pair.score:.3f}"))
            for pair in shown[:PAIRS]
        ],
        reading="One is in training, or chose, and the other counts here. They are not alike "
        "enough to be left out as copies: look, and leave out with --exclude what is one.",
        total=leaks.num_borderline,
    )


def _history(history: list[dict[str, float]]) -> Table | None:
    if not history:
        return None
    columns = list(history[0])
    return Table(
        "Every epoch",
        [Column(name.replace("_", " ").capitalize()) for name in columns],
        [tuple(_rounded(row.get(name)) for name in columns) for row in history],
    )


def _rounded(value: float | None) -> float | int | None:
    if value is None:
        return None
    return int(value) if float(value).is_integer() else float(f"{value:.5g}")


def _run_facts(run: Run) -> list[Facts]:
    info = run.info
    machine = {key.replace("_", " ").capitalize(): _fact(value)
               for key, value in asdict(info.machine).items() if key != "memory_bytes"}  # fmt: skip
    machine["Memory"] = format_value(info.machine.memory_bytes, "bytes")
    predicted = info.prediction
    return [
        Facts(
            "The classifier",
            [
                ("Parameters", f"{info.parameters.total:,}"),
                ("Of these trained", f"{info.parameters.trainable:,}"),
                ("Temperature", f"{info.temperature:.3f}"),
                ("Decision", run.policy.rule or "the likeliest class"),
                ("Seed", str(info.seed)),
                ("Cross-validation", f"{len(info.cross_validation.folds)} folds")
                if info.cross_validation is not None
                else ("Test part read", _times(info.test_evaluations)),
                *(
                    [("Predicted by", f"{predicted.engine} {predicted.precision}")]
                    if predicted
                    else []
                ),
                *(
                    (key.replace("_", " ").capitalize(), str(value))
                    for key, value in info.facts.items()
                    if isinstance(value, str | int | float)
                ),
            ],
        ),
        Facts("The machine", list(machine.items()), private=tuple(machine)),
    ]


def weights_of(run: Run) -> Table:
    """Whose weights the run builds on, and under which licences."""
    images = any("ImageNet" in origin.trained_on for origin in run.info.weights)
    return Table(
        "Weights and their licences",
        [Column("Weights"), Column("Licence"), Column("Learned from"), Column("Taken from"),
         Column("SHA-256")],
        [
            (origin.name, origin.licence or MISSING, origin.trained_on, origin.source,
             origin.sha256[:12])
            for origin in run.info.weights
        ],
        reading="" if not run.info.weights else
        "This run's own weights come out of these, the first ones first. A licence is what the "
        "publisher of the weights says."
        + (" ImageNet's terms give its images for research and teaching that is not commercial; "
           "whether that binds weights learned from them is a question for a lawyer."
           if images else ""),
        empty="None: this run began with random weights, or an older version of tellapart, which "
        "did not write them down, made it.",
    )  # fmt: skip


def _times(number: int) -> str:
    return {0: "never", 1: "once"}.get(number, f"{number} times")


def _of_each(run: Run) -> str:
    """Said where a run was gone on with: each time its test part was read again."""
    if run.info.test_evaluations < 2:
        return ""
    searched = (run.path / SEARCH_FILE).is_file()
    return " of the first answer and of the search" if searched else " of each training"


def _fact(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {item}" for key, item in value.items())
    return str(value)
