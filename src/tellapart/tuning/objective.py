"""What tuning makes small: a number of the validation part, as a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from tellapart.errors import TellapartError
from tellapart.evaluation.predictions import Predictions
from tellapart.wording import did_you_mean


@dataclass(frozen=True)
class Objective:
    """One number of a set of predictions that is the better the smaller it is."""

    name: str
    title: str
    of: Callable[[Predictions], float]


def log_loss_of(predictions: Predictions) -> float:
    """Mean negative log probability of the label, in nats."""
    from sklearn.metrics import log_loss

    classes = range(len(predictions.classes))
    return float(log_loss(predictions.labels, predictions.probabilities, labels=list(classes)))


def error_of(predictions: Predictions) -> float:
    """Share of images whose class, as it is said, is not their label."""
    return float((predictions.predicted != predictions.labels).mean())


def balanced_error_of(predictions: Predictions) -> float:
    """The same by class, and the mean of the classes that have images."""
    from sklearn.metrics import recall_score

    labels = sorted(set(predictions.labels.tolist()))
    recall = recall_score(
        predictions.labels, predictions.predicted, labels=labels, average="macro",
        zero_division=0,
    )  # fmt: skip
    return 1.0 - float(recall)


#: A new one is a function and a row.
OBJECTIVES: Mapping[str, Objective] = MappingProxyType(
    {
        row.name: row
        for row in (
            Objective("log_loss", "log loss", log_loss_of),
            Objective("error", "error", error_of),
            Objective("balanced_error", "balanced error", balanced_error_of),
        )
    }
)


def objective_named(name: str) -> Objective:
    """The row of this name.

    Raises:
        TellapartError: there is none.
    """
    if name not in OBJECTIVES:
        hint = did_you_mean(name, OBJECTIVES)
        raise TellapartError(
            f"--objective '{name}' is not one.{hint} There are: {', '.join(OBJECTIVES)}."
        )
    return OBJECTIVES[name]
