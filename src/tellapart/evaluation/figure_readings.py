"""The one-sentence reading of each figure: what it shows, in numbers, with no judgement.

What the numbers mean together is said by :mod:`tellapart.verdict`, which sees all of them.
"""

from __future__ import annotations

from tellapart.evaluation.curve_shape import History, shape_of
from tellapart.evaluation.metric_table import Metrics
from tellapart.number import Number
from tellapart.wording import are, capital, percent, plural, some_of


def describe_figures(
    metrics: Metrics, history: History = (), best_epoch: int | None = None
) -> dict[str, str]:
    """The reading of each figure of an evaluated part, by the figure's name.

    Names are those of :func:`tellapart.evaluation.plots.evaluation_figures`; the sentence
    stands under the figure and is what a screen reader reads. Empty without labelled images.
    """
    readings: dict[str, str] = {}
    if metrics.images:
        readings["confusion_matrix"] = _confusion(metrics)
        readings["per_class"] = _classes(metrics)
        for name, number, what, of in (
            (
                "roc",
                metrics.roc_auc,
                "An image of a class scores above one of another class in",
                " of cases (area under the curve)",
            ),
            (
                "precision_recall",
                metrics.average_precision,
                "Averaged over all recalls, precision is",
                "",
            ),
        ):
            if number.value is not None:
                interval = (
                    f"with a 95 % interval of {_limits(number)}"
                    if number.low is not None
                    else number.note
                )
                readings[name] = f"{what} {_percent(number.value)}{of}, {interval}."
        readings["calibration"] = (
            f"On average it is {_percent(metrics.mean_confidence or 0.0)} sure and right on "
            f"{_percent(metrics.accuracy)} (calibration error "
            f"{metrics.calibration_error.measured()[0]:.3f})."
        )
        readings["confidence"] = _sure_mistakes(metrics)
        readings["coverage"] = (
            f"Answering every {metrics.part} image it is right on {_percent(metrics.accuracy)}; "
            "the curve shows how much that rises when the least certain go to a person."
        )
    if len(history) > 1:
        readings["learning_curves"] = _curves(history, best_epoch)
    return readings


def _confusion(metrics: Metrics) -> str:
    classes, matrix = metrics.classes, metrics.confusion_matrix
    mistakes = _mistakes(metrics)
    if not mistakes:
        return f"No {metrics.part} image is wrong."
    pairs = [
        (matrix[i][j] + matrix[j][i], i, j)
        for i in range(len(classes)) for j in range(i + 1, len(classes))
    ]  # fmt: skip
    count, i, j = max(pairs, key=lambda pair: (pair[0], -pair[1], -pair[2]))
    if matrix[i][j] < matrix[j][i]:
        i, j = j, i
    there, back = matrix[i][j], matrix[j][i]
    one, two = classes[i], classes[j]
    if mistakes == 1:
        return f"The only mistake is {one} called {two}."
    if len(classes) == 2:
        if not back:
            return f"{capital(some_of(there, mistakes, 'mistake'))} are {one} called {two}."
        return (
            f"Of the {mistakes:,} mistakes {there:,} {are(there)} {one} called {two} and {back:,} "
            f"{two} called {one}."
        )
    share = f"{_percent(count / mistakes)} of the {mistakes:,} mistakes"
    if count == mistakes:
        share = f"which is {some_of(count, mistakes, 'mistake')}"
    return (
        f"{one} and {two} are confused most often: {there:,} {one} called {two} and "
        f"{f'{back:,}' if back else 'none'} the other way round, {share}."
    )


def _classes(metrics: Metrics) -> str:
    rows = {name: row for name, row in metrics.per_class.items() if row.support}
    if len(rows) < 2:
        return f"Only one class is found among {metrics.part} images."
    by_recall = sorted(rows, key=lambda name: rows[name].recall.measured()[0])
    worst, best = by_recall[0], by_recall[-1]
    low, high = rows[worst].recall, rows[best].recall
    if low.value == high.value:
        return f"All classes are found equally often: {_percent(low)} of the images of each."
    return (
        f"{best} is found best, {_percent(high)} of its {plural(rows[best].support, 'image')}, and "
        f"{worst} worst, {_percent(low)} of its {rows[worst].support:,} ({_limits(low)})."
    )


def _sure_mistakes(metrics: Metrics) -> str:
    sure = [row for row in metrics.reliability if row.low >= 0.85]
    if not sure:
        return f"No answer has a confidence above {_percent(13 / 15)}."
    wrong = round(sum(row.images * (1 - row.accuracy) for row in sure))
    images, mistakes = sum(row.images for row in sure), _mistakes(metrics)
    above = f"a confidence above {_percent(sure[0].low)}"
    answers = plural(images, "such answer")
    if not mistakes:
        have = "has" if images == 1 else "have"
        return f"There is no mistake; {plural(images, 'answer')} {have} {above}."
    if not wrong:
        return f"No mistake was made with {above}, among {answers}."
    return (
        f"{capital(some_of(wrong, mistakes, 'mistake'))} {'was' if wrong == 1 else 'were'} made "
        f"with {above}, among {answers}."
    )


def _curves(history: History, best_epoch: int | None) -> str:
    shape = shape_of(history)
    if shape is None:
        return f"Loss and accuracy over {len(history)} epochs."
    kept = f" The weights of epoch {best_epoch:g} were kept." if best_epoch is not None else ""
    return (
        f"The validation loss was lowest at epoch {shape.lowest_epoch:g} of {shape.last_epoch:g} "
        f"({shape.lowest_loss:.3g}) and ended at {shape.last_loss:.3g}; the train loss ended at "
        f"{shape.train_last:.3g}.{kept}"
    )


def _mistakes(metrics: Metrics) -> int:
    matrix = metrics.confusion_matrix
    return metrics.images - sum(matrix[i][i] for i in range(len(matrix)))


def _percent(share: Number | float) -> str:
    return percent(share.measured()[0] if isinstance(share, Number) else share)


def _limits(number: Number) -> str:
    _, low, high = number.measured()
    return f"{_percent(low)} to {_percent(high)}"
