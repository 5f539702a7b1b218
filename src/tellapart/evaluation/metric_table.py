"""Which metrics there are: the values of one part, and a row about each that says how to show it.

A new metric is a field of :class:`Metrics` (or of its parts), its computation in
:mod:`tellapart.evaluation.metrics`, and a row here: reports, comparisons, their CSV and the
terminal show it where the row says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import reduce
from typing import Any, Literal, get_type_hints

from tellapart.errors import RunError
from tellapart.evaluation.calibration import ReliabilityBin
from tellapart.number import Kind, Number, undefined

# --- the values ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Averages:
    """Precision, recall and F1 averaged over the classes that have images."""

    precision: Number
    recall: Number
    f1: Number


@dataclass(frozen=True)
class ClassMetrics:
    """One class: its images, how often it was the answer, and how well it is told apart."""

    support: int
    predicted: int
    precision: Number
    recall: Number
    f1: Number
    roc_auc: Number
    average_precision: Number


@dataclass(frozen=True)
class Metrics:
    """Every number of one part; ``metrics.json`` holds these fields in this order.

    Attributes:
        part: "test", "validation", "train", or the name of a folder.
        images: how many were scored; unlabelled: how many had no label.
        classes: names in order.
        top_5: only with more than 5 classes, else None.
        macro: every class counts the same; weighted: by its images.
        roc_auc, average_precision: unweighted mean of one class against the rest.
        brier: mean squared distance of the probabilities from the truth, summed over classes;
            with two classes half of that, the usual (p - y)^2. Both are scikit-learn's.
        calibration_error: of 15 bins of equal width.
        mean_confidence: against the accuracy: over- or underconfident.
        per_class: by class name.
        confusion_matrix: C rows of C counts; row true, column predicted.
        reliability: the bins of confidence that hold images.
        majority_class, majority_share: the largest class, and its share of the images.
        predicted_classes: how many classes were ever predicted.
        cross_validated: in so many folds, each image predicted by a classifier that did not see
            it; None: one classifier predicted all.
    """

    part: str
    images: int
    unlabelled: int
    classes: tuple[str, ...]
    accuracy: Number
    balanced_accuracy: Number
    top_5: Number | None
    macro: Averages
    weighted: Averages
    roc_auc: Number
    average_precision: Number
    log_loss: Number
    brier: Number
    calibration_error: Number
    mean_confidence: float | None
    per_class: Mapping[str, ClassMetrics]
    confusion_matrix: list[list[int]]
    reliability: tuple[ReliabilityBin, ...]
    majority_class: str | None
    majority_share: float | None
    predicted_classes: int
    cross_validated: int | None = None

    def to_json(self) -> dict[str, Any]:
        """One part's entry of ``metrics.json``."""
        content = _fields_to_json(self)
        for name in ("top_5", "cross_validated"):
            if content[name] is None:
                del content[name]
        return content

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Metrics:
        """The inverse of :meth:`to_json`; a metric that ``content`` lacks is undefined."""
        values = _numbers_of(cls, content)
        values["classes"] = tuple(content["classes"])
        values["macro"] = Averages(**_numbers_of(Averages, content["macro"]))
        values["weighted"] = Averages(**_numbers_of(Averages, content["weighted"]))
        values["reliability"] = tuple(ReliabilityBin(**row) for row in content["reliability"])
        values["per_class"] = {
            name: ClassMetrics(**_numbers_of(ClassMetrics, row))
            for name, row in content["per_class"].items()
        }
        return cls(**values)


def metrics_to_json(parts: Mapping[str, Metrics]) -> dict[str, Any]:
    """The metrics of several parts as ``metrics.json`` holds them."""
    return {part: metrics.to_json() for part, metrics in parts.items()}


def metrics_from_json(content: Mapping[str, Any]) -> dict[str, Metrics]:
    """The inverse of :func:`metrics_to_json`.

    Raises:
        RunError: the content is of another form.
    """
    try:
        return {part: Metrics.from_json(metrics) for part, metrics in content.items()}
    except (KeyError, TypeError, AttributeError) as error:
        raise RunError(f"The stored metrics are damaged ({error}); train again.") from error


def _fields_to_json(value: Any) -> dict[str, Any]:
    return {field.name: _to_json(getattr(value, field.name)) for field in fields(value)}


def _to_json(value: Any) -> Any:
    if isinstance(value, Number):
        return value.to_json()
    if isinstance(value, Averages | ClassMetrics | ReliabilityBin):
        return _fields_to_json(value)
    if isinstance(value, Mapping):
        return {name: _to_json(item) for name, item in value.items()}
    return [_to_json(item) for item in value] if isinstance(value, tuple) else value


def _numbers_of(row: type[Any], content: Mapping[str, Any]) -> dict[str, Any]:
    """Values for the fields of a dataclass, those that are numbers read as numbers."""
    values: dict[str, Any] = {}
    for name, kind in get_type_hints(row).items():
        value = content.get(name)
        if kind in (Number, Number | None) and value is not None:
            value = Number.from_json(value)
        elif kind is Number:
            value = undefined("not measured when this was written")
        values[name] = value
    return values


# --- how they are shown ------------------------------------------------------------------------

Place = Literal["report", "parts", "temperature", "comparison", "terminal", "csv"]
"""Where a metric is shown: among the numbers of a report, where parts stand beside each other,
before and after the temperature, and in a comparison's page, lines and CSV."""


@dataclass(frozen=True)
class Metric:
    """What is to be known of a metric, or of another quantity of a run, to show it.

    Attributes:
        path: where it stands in :class:`Metrics` and in ``metrics.json``, "macro.f1".
        title: as a heading; short: where there is little room.
        kind: how it is written.
        help: what it means, in a few words.
        best: which end is better; empty where neither is.
        shown: where.
    """

    path: str
    title: str
    kind: Kind
    help: str = ""
    best: Literal["", "high", "low"] = ""
    shown: tuple[Place, ...] = ()
    short: str = ""

    @property
    def key(self) -> str:
        """Its name in flat tables such as CSV.

        >>> Metric("macro.f1", "F1, macro", "share").key
        'macro_f1'
        """
        return self.path.replace(".", "_")

    def of(self, metrics: Metrics | ClassMetrics) -> Any:
        """Its value: a :class:`Number`, a plain number, or None where it does not apply."""
        return reduce(getattr, self.path.split("."), metrics)


METRICS: tuple[Metric, ...] = (
    Metric("accuracy", "Accuracy", "share", "how many of the images are right", "high",
           ("parts", "temperature", "comparison", "terminal", "csv"), "accuracy"),
    Metric("balanced_accuracy", "Balanced accuracy", "share", "mean recall of all classes",
           "high", ("report", "csv")),
    Metric("top_5", "Top 5", "share", "the true class is among the five likeliest", "high",
           ("report",)),
    Metric("macro.precision", "Precision, macro", "share", "every class counts the same", "high",
           ("report",)),
    Metric("macro.recall", "Recall, macro", "share", "every class counts the same", "high"),
    Metric("macro.f1", "F1, macro", "share", "every class counts the same", "high",
           ("report", "parts", "comparison", "terminal", "csv"), "F1"),
    Metric("weighted.precision", "Precision, weighted", "share", "classes count by their images",
           "high"),
    Metric("weighted.recall", "Recall, weighted", "share", "classes count by their images",
           "high"),
    Metric("weighted.f1", "F1, weighted", "share", "classes count by their images", "high"),
    Metric("roc_auc", "ROC AUC", "score", "0.5 is chance, 1 is perfect order", "high",
           ("report", "parts", "comparison", "terminal", "csv"), "AUC"),
    Metric("average_precision", "Average precision", "score",
           "mean precision over all recalls; 1 is best", "high", ("report", "csv")),
    Metric("log_loss", "Log loss", "score", "surprise an image, in nats; 0 is best", "low",
           ("report", "parts", "temperature", "comparison", "terminal", "csv"), "log loss"),
    Metric("brier", "Brier score", "score", "squared distance from the truth; 0 is best", "low",
           ("report", "temperature", "csv")),
    Metric("calibration_error", "Calibration error", "share",
           "how far confidence is from being right", "low",
           ("report", "temperature", "comparison", "csv")),
    Metric("mean_confidence", "Mean confidence", "share", "how sure it is on average", "",
           ("report", "temperature")),
)  # fmt: skip
"""The metrics of a part, in the order in which they are shown."""

CLASS_METRICS: tuple[Metric, ...] = (
    Metric("precision", "Precision", "share",
           "of the images given this class, how many are of it"),
    Metric("recall", "Recall", "share", "of the images of this class, how many were given it"),
    Metric("f1", "F1", "share", "harmonic mean of precision and recall"),
    Metric("roc_auc", "ROC AUC", "score"),
    Metric("average_precision", "Average precision", "score"),
)  # fmt: skip
"""The metrics of one class against the rest."""


def metrics_shown(place: Place) -> tuple[Metric, ...]:
    """The metrics of a part that a place shows."""
    return tuple(metric for metric in METRICS if place in metric.shown)
