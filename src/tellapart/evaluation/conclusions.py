"""What the numbers say, in plain sentences: about a result, its training and its figures.

Nothing is computed here that is not in the metrics or the history already.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from tellapart.evaluation.metric_table import Metrics
from tellapart.number import Number
from tellapart.wording import listed, percent

History = Sequence[Mapping[str, float]]

#: A class with fewer images than this has a recall that is hardly known.
FEW_IMAGES = 30
#: Train accuracy above the other part's by more than this is called overfitting.
LARGE_GAP = 0.10

Level = Literal["good", "note", "warning"]


@dataclass(frozen=True)
class Conclusion:
    """One thing that the numbers say.

    Attributes:
        kind: a short key, for example "majority" or "overfitting".
        level: "good", "note" or "warning".
        sentence: plain text with the numbers; class names stand in it as they are.
    """

    kind: str
    level: Level
    sentence: str


def conclusions(
    metrics: Metrics,
    *,
    train_metrics: Metrics | None = None,
    history: History = (),
    best_epoch: int | None = None,
) -> list[Conclusion]:
    """What one part's metrics say, warnings first.

    Args:
        metrics: of ``evaluate_predictions``, usually of the test part.
        train_metrics: the same of the train part, for the gap.
        history: a row an epoch, as in ``history.csv``.
        best_epoch: the epoch whose weights were kept.
    """
    if not metrics.images:
        return [Conclusion(
            "no_labels", "warning",
            f"No {metrics.part} image has a label, so nothing can be said about how good the "
            "predictions are.",
        )]
    found = [
        _how_sure(metrics),
        *_trivial(metrics),
        *_classes(metrics),
        *_confusion(metrics),
        *_confidence(metrics),
        *_gap(metrics, train_metrics),
        *training_conclusions(history, best_epoch),
    ]
    order = {"warning": 0, "note": 1, "good": 1}
    return sorted(found, key=lambda conclusion: order[conclusion.level])


def training_conclusions(history: History, best_epoch: int | None = None) -> list[Conclusion]:
    """Where overfitting begins, whether more epochs would help, when the rate dropped."""
    losses = [_number(row.get("validation_loss")) for row in history]
    if len(losses) < 4 or any(math.isnan(loss) for loss in losses):
        return _rate_drops(history)
    epochs = _epochs(history)
    train = [_number(row.get("loss")) for row in history]
    lowest = min(range(len(losses)), key=losses.__getitem__)
    after, last = len(losses) - 1 - lowest, len(losses) - 1
    kept = f" The weights of epoch {best_epoch:g} were kept." if best_epoch is not None else ""
    found: list[Conclusion] = []
    if after >= 2 and losses[last] > 1.05 * losses[lowest] and train[last] < train[lowest]:
        found.append(Conclusion(
            "overfitting_begins", "note",
            f"Overfitting begins after epoch {epochs[lowest]:g}: from there the validation loss "
            f"rises from {losses[lowest]:.3g} to {losses[last]:.3g} while the train loss falls "
            f"from {train[lowest]:.3g} to {train[last]:.3g}.{kept}",
        ))
    elif _ran_down(history):
        found.append(Conclusion(
            "schedule_ended", "note",
            f"The validation loss was lowest at epoch {epochs[lowest]:g} of {epochs[last]:g} "
            f"({losses[lowest]:.3g}). The schedule brought the learning rate down to "
            f"{_number(history[last].get('learning_rate')):.2g}, which ends learning by itself, so "
            "the curve does not say whether more epochs would help: only a longer training does."
            f"{kept}",
        ))
    elif after <= max(1, len(losses) // 10) and _still_falling(losses):
        found.append(Conclusion(
            "more_epochs", "note",
            f"More epochs would probably help: the validation loss was still falling when "
            f"training ended after epoch {epochs[last]:g} (from "
            f"{losses[-1 - _recent(losses)]:.3g} to {losses[last]:.3g} over the last "
            f"{_recent(losses)} epochs).",
        ))
    else:
        found.append(Conclusion(
            "enough_epochs", "good",
            f"More epochs would hardly help: the validation loss was lowest at epoch "
            f"{epochs[lowest]:g} of {epochs[last]:g} ({losses[lowest]:.3g}) and has levelled off."
            f"{kept}",
        ))
    return found + _rate_drops(history)


# --- the result ---------------------------------------------------------------------------------


def _how_sure(metrics: Metrics) -> Conclusion:
    accuracy, images = metrics.accuracy, metrics.images
    value, low, high = accuracy.measured()
    sentence = (
        f"{round(value * images):,} of {images:,} {metrics.part} images are right, "
        f"{_percent(value)}; on other images of the same kind expect {_limits(accuracy)}"
    )
    if high - low > 0.10:
        return Conclusion(
            "how_sure", "warning",
            f"{sentence}, a wide range because {images:,} images are few: with four times as many "
            "it would be half as wide.",
        )
    return Conclusion("how_sure", "note", f"{sentence}.")


def _trivial(metrics: Metrics) -> list[Conclusion]:
    """Results that mean nothing: one class predicted, no better than guessing."""
    accuracy, classes = metrics.accuracy, metrics.classes
    share, majority = metrics.majority_share or 0.0, metrics.majority_class
    found: list[Conclusion] = []
    with_images = [name for name in classes if metrics.per_class[name].support]
    if len(with_images) == 1:
        return [Conclusion(
            "one_class", "warning",
            f"All {metrics.part} images are {with_images[0]}, so nothing shows whether the "
            "classes are told apart.",
        )]
    if metrics.predicted_classes == 1:
        only = next(n for n in classes if metrics.per_class[n].predicted)
        found.append(Conclusion(
            "single_prediction", "warning",
            f"Every {metrics.part} image is called {only}: the classifier tells nothing apart. "
            "Look at the learning rate, the preprocessing and the labels.",
        ))
        return found
    never = [n for n in with_images if not metrics.per_class[n].predicted]
    if never:
        found.append(Conclusion(
            "never_predicted", "warning",
            f"{listed(never, 3, 'and')} {'is' if len(never) == 1 else 'are'} never predicted, "
            f"although there are images of {'it' if len(never) == 1 else 'them'}.",
        ))
    chance, balanced = 1 / len(with_images), metrics.balanced_accuracy
    _, least_balanced, _ = balanced.measured()
    if least_balanced <= chance:
        found.append(Conclusion(
            "near_chance", "warning",
            f"This is no better than guessing, as far as these images show: averaged over classes "
            f"{_percent(balanced)} are right ({_limits(balanced)}), and guessing gives "
            f"{_percent(chance)}.",
        ))
    uneven = share > 1.5 * chance
    if accuracy.measured()[1] <= share and (uneven or least_balanced > chance):
        found.append(Conclusion(
            "majority", "warning",
            f"The accuracy alone says little: always answering {majority} would be right on "
            f"{_percent(share)} of the images, and {_percent(accuracy)} "
            f"({_limits(accuracy)}) is not more than that beyond chance. Averaged over classes it "
            f"is {_percent(balanced)}.",
        ))
    elif uneven:
        found.append(Conclusion(
            "majority", "note",
            f"The classes are uneven: always answering {majority} would be right on "
            f"{_percent(share)}; the classifier reaches {_percent(accuracy)}, and "
            f"{_percent(balanced)} averaged over classes.",
        ))
    return found


def _classes(metrics: Metrics) -> list[Conclusion]:
    rows = {name: row for name, row in metrics.per_class.items() if row.support}
    if len(rows) < 2 or metrics.predicted_classes < 2:
        return []
    by_recall = sorted(rows, key=lambda name: rows[name].recall.measured()[0])
    worst, best = by_recall[0], by_recall[-1]
    low, high = rows[worst].recall, rows[best].recall
    found = []
    if low.value == high.value:
        found.append(Conclusion(
            "classes", "good",
            f"All classes are found equally well: {_percent(low)} of the images of each.",
        ))
    else:
        chance = low.measured()[2] >= high.measured()[1]
        found.append(Conclusion(
            "classes", "note",
            f"{best} is found best, {_percent(high)} of its {rows[best].support:,} images, and "
            f"{worst} worst, {_percent(low)} of its {rows[worst].support:,} ({_limits(low)})"
            + ("; the difference may be chance." if chance else "."),
        ))
    few = [name for name in rows if rows[name].support < FEW_IMAGES]
    if few:
        found.append(Conclusion(
            "few_images", "note",
            f"{listed(few, 3, 'and')} {'has' if len(few) == 1 else 'have'} fewer than {FEW_IMAGES} "
            f"{metrics.part} images, so {'its' if len(few) == 1 else 'their'} numbers are "
            "rough.",
        ))
    return found


def _confusion(metrics: Metrics) -> list[Conclusion]:
    classes, matrix = metrics.classes, metrics.confusion_matrix
    mistakes = metrics.images - sum(matrix[i][i] for i in range(len(classes)))
    if not mistakes:
        return [Conclusion("no_mistakes", "good", f"No {metrics.part} image is wrong.")]
    pairs = [
        (matrix[i][j] + matrix[j][i], i, j)
        for i in range(len(classes)) for j in range(i + 1, len(classes))
    ]
    count, i, j = max(pairs, key=lambda pair: (pair[0], -pair[1], -pair[2]))
    if matrix[i][j] < matrix[j][i]:
        i, j = j, i
    there, back = matrix[i][j], matrix[j][i]
    one, two = classes[i], classes[j]
    if len(classes) == 2:
        text = f"Of the {mistakes:,} mistakes {there:,} are {one} called {two}"
        text += f" and {back:,} are {two} called {one}." if back else ", all of them." \
            if mistakes > 1 else "."
        return [Conclusion("confused", "note", text)]
    return [Conclusion(
        "confused", "note",
        f"{one} and {two} are confused most often: {there:,} {one} called {two} and {back:,} the "
        f"other way round, {_percent(count / mistakes)} of the {mistakes:,} mistakes.",
    )]


def _confidence(metrics: Metrics) -> list[Conclusion]:
    accuracy, mean = metrics.accuracy, metrics.mean_confidence or 0.0
    value, low, high = accuracy.measured()
    error, least_error, _ = metrics.calibration_error.measured()
    says = f"on average it is {_percent(mean)} sure and right on {_percent(accuracy)}"
    off = f"(calibration error {error:.3f})"
    if mean > high:
        level: Level = "warning" if mean - value > 0.05 else "note"
        return [Conclusion("overconfident", level, f"It is overconfident: {says} {off}.")]
    if mean < low:
        return [Conclusion("underconfident", "note", f"It is underconfident: {says} {off}.")]
    if error > 0.05 and least_error > 0.02:
        return [Conclusion(
            "miscalibrated", "note",
            f"{says[0].upper()}{says[1:]}, but too sure in some ranges and not sure enough in "
            f"others {off}.",
        )]
    return [Conclusion(
        "calibrated", "good", f"Its confidence can be taken at its word: {says} {off}."
    )]


def _gap(metrics: Metrics, train_metrics: Metrics | None) -> list[Conclusion]:
    if train_metrics is None or not train_metrics.images:
        return []
    on_train, train_low, _ = train_metrics.accuracy.measured()
    on_part, _, part_high = metrics.accuracy.measured()
    gap = on_train - on_part
    numbers = (
        f"{_percent(on_train)} on train, {_percent(on_part)} on {metrics.part}, "
        f"a gap of {100 * gap:.1f} points"
    )
    real = train_low > part_high
    if real and gap > LARGE_GAP:
        return [Conclusion(
            "gap", "warning",
            f"It overfits: {numbers}. More images, augmentation or a frozen pretrained backbone "
            "narrow the gap.",
        )]
    if real:
        return [Conclusion(
            "gap", "note", f"It does a little better on the images it was trained on: {numbers}."
        )]
    return [Conclusion("gap", "good", f"No sign of overfitting: {numbers}.")]


# --- the training -------------------------------------------------------------------------------


def _rate_drops(history: History) -> list[Conclusion]:
    """Steps of the learning rate; a rate that moves all the time is a schedule, not news."""
    rates = [_number(row.get("learning_rate")) for row in history]
    stages = [row.get("stage", 1) for row in history]
    drops = [
        i for i in range(1, len(rates))
        if rates[i] < 0.9 * rates[i - 1] and stages[i] == stages[i - 1]
    ]
    if not drops or len(drops) > max(1, len(rates) // 3):
        return []
    epochs = _epochs(history)
    steps = [f"before epoch {epochs[i]:g} to {rates[i]:.2g}" for i in drops[:4]]
    more = f" and {len(drops) - 4} more times" if len(drops) > 4 else ""
    return [Conclusion(
        "rate_drops", "note",
        f"The learning rate dropped {', '.join(steps)}{more} (at first {rates[0]:.2g}).",
    )]


def _recent(losses: Sequence[float]) -> int:
    return max(2, len(losses) // 5)


def _ran_down(history: History) -> bool:
    """A schedule such as cosine or one-cycle took the learning rate to less than a tenth.

    It falls in each of the last epochs; a rate that was cut on plateaus stands in between.
    """
    rates = [_number(row.get("learning_rate")) for row in history]
    last = rates[-1 - _recent(rates) :]
    return all(b < a for a, b in pairwise(last)) and rates[-1] < 0.1 * max(rates)


def _still_falling(losses: Sequence[float]) -> bool:
    """The mean of the last fifth is at least 2 % below that of the fifth before it."""
    recent = _recent(losses)
    now, before = losses[-recent:], losses[-2 * recent : -recent]
    return sum(now) / len(now) < 0.98 * sum(before) / len(before)


def _epochs(history: History) -> list[float]:
    """Numbers of the epochs; counted on where a second stage begins at 1 again."""
    epochs = [_number(row.get("epoch")) for row in history]
    rising = all(b > a for a, b in pairwise(epochs))
    return epochs if rising else [float(i) for i in range(1, len(history) + 1)]


# --- the figures ----------------------------------------------------------------------------------


def describe_figures(
    metrics: Metrics, history: History = (), best_epoch: int | None = None
) -> dict[str, str]:
    """The one-sentence reading of each figure of an evaluated part, by the figure's name.

    Names are those of :func:`tellapart.evaluation.plots.evaluation_figures`; the sentence
    stands under the figure and is what a screen reader reads.
    """
    readings: dict[str, str] = {}
    if metrics.images:
        part = metrics.part
        readings["confusion_matrix"] = _confusion(metrics)[0].sentence
        readings["per_class"] = next(
            (f.sentence for f in _classes(metrics)), f"Only one class is found among {part} images."
        )
        for name, number, what, of in (
            ("roc", metrics.roc_auc, "An image of a class scores above one of another class in",
             " of cases (area under the curve)"),
            ("precision_recall", metrics.average_precision,
             "Averaged over all recalls, precision is", ""),
        ):
            if number.known:
                readings[name] = (
                    f"{what} {_percent(number)}{of}, with a 95 % interval of {_limits(number)}."
                )
        readings["calibration"] = _confidence(metrics)[0].sentence
        mistakes = metrics.images - sum(
            metrics.confusion_matrix[i][i] for i in range(len(metrics.classes))
        )
        sure = [row for row in metrics.reliability if row.low >= 0.85]
        sure_wrong = round(sum(row.images * (1 - row.accuracy) for row in sure))
        sure_images = sum(row.images for row in sure)
        at_least = _percent(sure[0].low) if sure else ""
        readings["confidence"] = (
            f"{sure_wrong:,} of the {mistakes:,} mistakes were made with a confidence above "
            f"{at_least}, among {sure_images:,} such answers." if sure else
            f"No answer has a confidence above {_percent(13 / 15)}."
        )
        readings["coverage"] = (
            f"Answering every {part} image it is right on {_percent(metrics.accuracy)}; the "
            "curve shows how much that rises when the least certain go to a person."
        )
    if len(history) > 1:
        found = training_conclusions(history, best_epoch)
        readings["learning_curves"] = (
            found[0].sentence if found else f"Loss and accuracy over {len(history)} epochs."
        )
    return readings


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _percent(share: Number | float) -> str:
    """As few decimals as still tell the share from 0 and 1."""
    if isinstance(share, Number):
        share = share.measured()[0]
    text = percent(share)
    return percent(share, 2) if text in ("100.0 %", "0.0 %") and 0 < share < 1 else text


def _limits(number: Number) -> str:
    _, low, high = number.measured()
    return f"{_percent(low)} to {_percent(high)}"
