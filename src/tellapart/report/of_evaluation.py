"""What a report says of one evaluated part: headline, tables, figures, galleries.

Used by the report of a run and by the report of a run on new images.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tellapart.evaluation.abstaining import measure_answered
from tellapart.evaluation.abstention import as_percent
from tellapart.evaluation.calibration import (
    TEMPERATURES,
    ThresholdScores,
    coverage_table,
    threshold_table,
    with_temperature,
)
from tellapart.evaluation.class_sets import measure_sets
from tellapart.evaluation.decision import Decision
from tellapart.evaluation.figure_readings import describe_figures
from tellapart.evaluation.learning_curve import LearningCurve, sentences_of
from tellapart.evaluation.metric_table import CLASS_METRICS, Metric, Metrics, metrics_shown
from tellapart.evaluation.metrics import evaluate_predictions
from tellapart.evaluation.plots import evaluation_figures, more_images, save_figure
from tellapart.evaluation.policy import Policy
from tellapart.evaluation.predictions import Predictions
from tellapart.evaluation.unknown import NOTICED_FAR, NOTICED_NEAR
from tellapart.number import Number, undefined
from tellapart.pixels.decode import UnreadableImage
from tellapart.pixels.thumbnails import make_thumbnail
from tellapart.report.content import (
    Column,
    Confused,
    Confusion,
    Confusions,
    Figure,
    Gallery,
    Headline,
    KeyNumber,
    Picture,
    Reference,
    Table,
)
from tellapart.run import HELD_OUT
from tellapart.wording import are, capital, plural, some_of

#: Pictures shown in each gallery of a report.
GALLERY_SIZE = 60

FileOf = Callable[[str], Path]


#: Up to so many classes a matrix shows all confusions at a glance; of more the page has a ranked
#: list of the most frequent ones.
GLANCE_CLASSES, MAXIMUM_CONFUSIONS = 20, 40
#: Figures that the page shows in a form of its own: a matrix that one can click on, a table.
SHOWN_OTHERWISE = frozenset({"confusion_matrix", "per_class"})


def headline_of(metrics: Metrics, part: str) -> Headline:
    """The accuracy with its interval, beside what guessing the largest class would give."""
    accuracy, share = metrics.accuracy, metrics.majority_share
    if not metrics.images and not metrics.unlabelled:
        return Headline(
            f"Accuracy on {_place(part)}",
            accuracy,
            "No image is left that a number for new images could come from.",
        )
    if accuracy.value is None or share is None:
        return Headline(
            f"Accuracy on {_place(part)}",
            undefined("no image has a label"),
            "What each image was called is below; how good that is cannot be said.",
        )
    right = some_of(round(accuracy.value * metrics.images), metrics.images, "image")
    right = f"{capital(right)} right."
    if metrics.cross_validated:
        right += f" {capital(HELD_OUT)}."
    return Headline(
        label="Cross-validated accuracy"
        if metrics.cross_validated
        else f"Accuracy on {_place(part)}",
        number=accuracy,
        # What the interval means stands beside it, in the verdict.
        sentence=right,
        references=(Reference(f"always '{metrics.majority_class}'", share),),
    )


def foreign_headline(unknown: Number, images: int) -> Headline:
    """The answer to the question whether images of other things are noticed."""
    if unknown.value is None:
        return Headline("Called unknown", unknown)
    called = round(unknown.value * images)
    kept = images - called
    these = f"{called:,} of these {images:,} images {are(called)}"
    rest = f"The other {f'{kept:,}' if kept > 1 else 'one'} would be given a class without a word."
    if images == 1:
        these = f"This image is{'' if called else ' not'}"
        rest = "It is taken for none of its classes." if called else "It would be given a class."
    elif not kept:
        these = f"{'Both' if images == 2 else f'All {images:,}'} of these images are"
        rest = "None of them is taken for one of its classes."
    elif not called:
        these, rest = "None of these images is", "Each would be given a class without a word."
    usual = (
        f" In tests {100 * NOTICED_FAR:.0f} of 100 images of another kind of thing were noticed, "
        f"but only {100 * NOTICED_NEAR:.0f} of 100 that resemble the classes."
    )
    return Headline(
        label="Unlike anything it was trained on",
        number=unknown,
        sentence=f"{these} called unknown, as images of other things should be. {rest}"
        f"{usual if kept else ''}",
    )


def column_of(metric: Metric) -> Column:
    """A metric as the column of a table."""
    return Column(metric.title, metric.kind, metric.help, metric.best)


def key_numbers_of(metrics: Metrics, parts: Mapping[str, Metrics] | None = None) -> list[KeyNumber]:
    """What the headline must not be read without: of many classes how often one of the five
    likeliest is right; what it would be with the images that leaked, or without them.

    Args:
        parts: all that was measured, by name.
    """
    found = []
    if metrics.top_5 is not None and len(metrics.classes) > GLANCE_CLASSES:
        found.append(KeyNumber("Among its five likeliest", metrics.top_5, "share", "top 5"))
    for suffix, label in (("with_leaked", "With"), ("without_leaked", "Without")):
        other = (parts or {}).get(f"{metrics.part}_{suffix}")
        if other is not None and other.images != metrics.images:
            leaked = plural(abs(other.images - metrics.images), "leaked image")
            found.append(KeyNumber(f"{label} the {leaked}", other.accuracy))
    return found


def policy_numbers(policy: Policy, predictions: Predictions) -> list[KeyNumber]:
    """What abstaining and sets do on the images of a page, beside what they promise."""
    found = []
    answered = measure_answered(predictions)
    if answered is not None:
        promised = f"at most {as_percent(answered.at_most_wrong)} promised"
        found += [
            KeyNumber("Answered", answered.share, "share", 'the others are "uncertain"'),
            KeyNumber("Wrong of the answered", answered.wrong, "share", promised),
        ]
    if policy.sets is not None:
        measured = measure_sets(predictions, policy.sets)
        found.append(KeyNumber(
            "In the set", measured.held, "share",
            f"{as_percent(policy.sets.coverage)} promised; {measured.mean_size:.2f} classes a set",
        ))  # fmt: skip
    return found


def numbers_of(metrics: Metrics) -> list[KeyNumber]:
    """The metrics of a part beside the headline, in the order of the table of metrics."""
    found = [(metric, metric.of(metrics)) for metric in metrics_shown("report")]
    return [
        KeyNumber(
            metric.title, value if isinstance(value, Number) else Number(value), metric.kind,
            metric.help,
        )
        for metric, value in found
        if value is not None
    ]  # fmt: skip


def per_class_table(metrics: Metrics, part: str) -> Table:
    """One row a class, each number with its interval; the class that is found least comes first."""

    def found(name: str) -> float:
        recall = metrics.per_class[name].recall.value
        return math.inf if recall is None else recall

    return Table(
        title=f"Each class ({part})",
        columns=(Column("Class"), Column("Images", "count"), *map(column_of, CLASS_METRICS)),
        rows=[
            (name, row.support, *(metric.of(row) for metric in CLASS_METRICS))
            for name in sorted(metrics.per_class, key=found)
            for row in (metrics.per_class[name],)
        ],
        reading="" if len(metrics.classes) == 2 else "The class that is found least comes first.",
    )


def confusion_of(metrics: Metrics) -> Confusion | None:
    """The confusion matrix in counts, for the page's own drawing of it; None of many classes."""
    if len(metrics.classes) > GLANCE_CLASSES:
        return None
    return Confusion(
        classes=metrics.classes,
        counts=metrics.confusion_matrix,
        reading="Rows are the labels, columns what the images were called.",
    )


def confusions_of(metrics: Metrics) -> Confusions | None:
    """The most frequent confusions, ranked; None where a matrix shows them at a glance."""
    if len(metrics.classes) <= GLANCE_CLASSES:
        return None
    counts = np.array(metrics.confusion_matrix, dtype=np.int64)
    support = counts.sum(axis=1)
    np.fill_diagonal(counts, 0)
    order = np.argsort(-counts, axis=None, kind="stable")[:MAXIMUM_CONFUSIONS]
    pairs = [divmod(int(place), len(counts)) for place in order]
    mistakes, different = int(counts.sum()), int((counts > 0).sum())
    first = f", the {MAXIMUM_CONFUSIONS} most frequent first" if different > len(pairs) else ""
    return Confusions(
        ranked=[
            Confused(
                metrics.classes[true], metrics.classes[answer], int(counts[true, answer]),
                int(support[true]),
            )
            for true, answer in pairs
            if counts[true, answer]
        ],
        reading=f"{plural(mistakes, 'mistake')} in all, in {plural(different, 'pair')} of "
        f"classes{first}." if mistakes else "There is no mistake.",
    )  # fmt: skip


def tables_of(
    validation: Predictions | None, shown: Predictions, *, temperature: float | None = None
) -> list[Table]:
    """Thresholds (two classes), what to hand to a person, and what the temperature did.

    Thresholds and limits are chosen on ``validation`` and measured on ``shown``; without
    validation images there are no such tables.
    """
    tables = []
    known = validation is not None and validation.labelled.any()
    if validation is not None and known and shown.labelled.any():
        decision = shown.decision
        if decision is not None:
            tables.append(threshold_rows(validation, shown, decision.positive))
        elif len(shown.classes) == 2:
            # Only the user knows which class is looked for; the rarer one more often is.
            by_number = np.bincount(validation.labels[validation.labelled], minlength=2).argsort(
                kind="stable"
            )
            tables += [threshold_rows(validation, shown, shown.classes[i]) for i in by_number]
        tables.append(coverage_rows(validation, shown))
    if temperature is not None and shown.labelled.any():
        tables.append(temperature_rows(shown, temperature))
    return tables


def threshold_rows(validation: Predictions, shown: Predictions, positive: str) -> Table:
    """A row a wish: from which probability of ``positive`` to say so, chosen on validation,
    and what it gives on ``shown``."""
    part = shown.part if shown.part != validation.part else f"{shown.part} (new)"
    rows: list[tuple[Any, ...]] = []
    decision = shown.decision
    for row in threshold_table(validation, [replace(shown, part=part)], positive=positive):
        if not row.parts:
            rows.append((row.wish, undefined(row.reason), *(None,) * (7 if decision else 6)))
            continue
        chosen, found = row.parts[validation.part], row.parts[part]
        rows.append((
            row.wish, row.threshold, chosen.precision, chosen.recall,
            found.precision, found.recall, found.false_alarms, found.misses,
            *([_cost(found, decision)] if decision else []),
        ))  # fmt: skip
    here = shown.part.capitalize()
    return Table(
        title=f"Where to draw the line: from which probability to say '{positive}'",
        columns=(
            Column("Wish"),
            Column("Threshold", "score", f"say '{positive}' from this probability on"),
            Column("Validation precision", "share"),
            Column("Validation recall", "share"),
            Column(f"{here} precision", "share", f"of those called '{positive}', how many are"),
            Column(f"{here} recall", "share", f"of all '{positive}', how many are found"),
            Column("False alarms", "count", f"called '{positive}' and are not, in {shown.part}"),
            Column("Misses", "count", f"'{positive}' that are not found, in {shown.part}"),
            *([Column("Cost", "score", "of all false alarms and misses here")] if decision else []),
        ),
        rows=rows,
        reading="The first row is the rule in use: the answers of this page are by it. "
        f"Each threshold was chosen on the validation images; what it gives on "
        f"{_place(shown.part)} is what to expect of it.",
    )


def _cost(found: ThresholdScores, decision: Decision) -> float:
    alarms, misses = found.false_alarms, found.misses
    return alarms * decision.cost_false_alarm + misses * decision.cost_miss


def coverage_rows(validation: Predictions, shown: Predictions) -> Table:
    """A row a share of images that are answered; the others go to a person."""
    return Table(
        title="If the uncertain images go to a person",
        columns=(
            Column("Answered, as wished", "share", "share of the validation images"),
            Column("Confidence from", "score", "chosen on the validation images"),
            Column("Answered", "share", f"share of {_place(shown.part)}"),
            Column("To a person", "count"),
            Column("Accuracy of the answers", "share"),
            Column("Mistakes left", "count"),
        ),
        rows=[
            (
                row.wished, row.confidence, row.coverage,
                int(shown.labelled.sum()) - row.images, row.accuracy, row.mistakes_left,
            )
            for row in coverage_table(validation, shown)
        ],
        reading="Answers below the confidence limit are left to a person; the limit was chosen "
        "on the validation images.",
    )  # fmt: skip


def temperature_rows(shown: Predictions, temperature: float) -> Table:
    """What the temperature, fitted on validation, does to the probabilities of ``shown``."""
    # About probabilities, so of the likeliest class: a rule was chosen for those afterwards.
    likeliest = replace(shown, decision=None)
    before = evaluate_predictions(with_temperature(likeliest, 1.0 / temperature))
    after = evaluate_predictions(likeliest)
    columns = metrics_shown("temperature")
    way = "softened: it was too sure" if temperature > 1 else "sharpened: it was not sure enough"
    reading = f"A temperature of {temperature:.3f}: its answers were {way}."
    if not TEMPERATURES[0] * 1.001 < temperature < TEMPERATURES[1] / 1.001:
        reading += " That is as far as it may go: the validation images do not settle it."
    if abs(temperature - 1.0) < 0.0005:
        reading = "A temperature of 1: the probabilities stayed as they were."
    return Table(
        title="Temperature: before and after",
        columns=(Column("Probabilities"), *map(column_of, columns)),
        rows=[
            (name, *(metric.of(metrics) for metric in columns))
            for name, metrics in (("as trained", before), ("with the temperature", after))
        ],
        reading=f"{reading} It was fitted on the validation images and never changes an answer."
        + (
            " Here the answer is the likeliest class, not that of the rule in use."
            if shown.decision is not None
            else ""
        ),
    )


def figures_of(
    predictions: Predictions,
    metrics: Metrics,
    folder: Path,
    *,
    history: Sequence[Mapping[str, float]] = (),
    best_epoch: int | None = None,
    prefix: str = "",
) -> list[Figure]:
    """Draw and save every figure of one part, each with its one-sentence reading.

    Those of :data:`SHOWN_OTHERWISE` are saved only: the page tells the same in its own way.
    """
    made = evaluation_figures(predictions, metrics, history, best_epoch)
    readings = describe_figures(metrics, history=history, best_epoch=best_epoch)
    figures = []
    for name, figure in made.items():
        title = name.replace("_", " ").capitalize().replace("Roc", "ROC curve")
        reading = readings.get(name, f"{title}.")
        svg, png = save_figure(figure, folder, f"{prefix}{name}", reading)
        if name in SHOWN_OTHERWISE:
            continue
        figures.append(
            Figure(
                name=f"{prefix}{name}",
                title=title,
                image=svg.read_text("utf-8"),
                png=png.read_bytes(),
                reading=reading,
                alt=reading,
            )
        )
    return figures


def more_images_figure(curve: LearningCurve, folder: Path) -> Figure:
    """Accuracy against training images, and what twice as many would bring."""
    title, reading = "What more images would buy", " ".join(sentences_of(curve))
    svg, png = save_figure(more_images(curve), folder, "more_images", reading)
    return Figure(
        name="more_images", title=title, image=svg.read_text("utf-8"), png=png.read_bytes(),
        reading=reading, alt=reading,
    )  # fmt: skip


def galleries_of(predictions: Predictions, file_of: FileOf, rest: str) -> list[Gallery]:
    """The most confident mistakes, and the images that the classifier was least sure of."""
    known = np.flatnonzero(predictions.labelled)
    wrong = known[~predictions.correct[known]]
    confident = wrong[np.argsort(-predictions.confidence[wrong], kind="stable")]
    margins = np.sort(predictions.probabilities, axis=1)
    unsure = np.argsort(margins[:, -1] - margins[:, -2], kind="stable")
    # No picture stands in both: those that are mistakes as well are among the mistakes.
    unsure = unsure[~np.isin(unsure, confident[:GALLERY_SIZE])]
    galleries = [
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
            "these help most. Those that are mistakes stand above."
            if len(known)
            else "The two likeliest classes are closest here.",
            total=len(unsure),
            rest=rest,
        ),
    ]
    return galleries if len(known) else galleries[1:]


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
