"""What the loss curves of a training look like: where they turn, fall or level off.

Nothing is judged here; the readings of figures and the verdict say what it means.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

History = Sequence[Mapping[str, float]]
"""A row an epoch, as in ``history.csv``."""


@dataclass(frozen=True)
class CurveShape:
    """The validation loss over the epochs, beside the train loss.

    Attributes:
        kind: "rising": it rises after its lowest point while the train loss falls;
            "ran_down": a schedule such as cosine took the learning rate to its end;
            "falling": it still fell when training ended; "level": none of these.
        lowest_epoch, lowest_loss: its lowest point.
        last_epoch, last_loss: the end.
        train_then, train_last: the train loss at these two.
        recent, recent_loss: over so many epochs it was last looked at, from this loss.
        last_rate: the learning rate at the end.
    """

    kind: Literal["rising", "ran_down", "falling", "level"]
    lowest_epoch: float
    lowest_loss: float
    last_epoch: float
    last_loss: float
    train_then: float
    train_last: float
    recent: int
    recent_loss: float
    last_rate: float


def shape_of(history: History) -> CurveShape | None:
    """The shape of the curves; None below four epochs or without a validation loss."""
    losses = [_number(row.get("validation_loss")) for row in history]
    if len(losses) < 4 or any(math.isnan(loss) for loss in losses):
        return None
    epochs = epochs_of(history)
    train = [_number(row.get("loss")) for row in history]
    lowest, last = min(range(len(losses)), key=losses.__getitem__), len(losses) - 1
    recent = _recent(losses)
    kind: Literal["rising", "ran_down", "falling", "level"] = "level"
    if last - lowest >= 2 and losses[last] > 1.05 * losses[lowest] and train[last] < train[lowest]:
        kind = "rising"
    elif _ran_down(history):
        kind = "ran_down"
    elif last - lowest <= max(1, len(losses) // 10) and _still_falling(losses):
        kind = "falling"
    return CurveShape(
        kind=kind,
        lowest_epoch=epochs[lowest],
        lowest_loss=losses[lowest],
        last_epoch=epochs[last],
        last_loss=losses[last],
        train_then=train[lowest],
        train_last=train[last],
        recent=recent,
        recent_loss=losses[-1 - recent],
        last_rate=_number(history[last].get("learning_rate")),
    )


def epochs_of(history: History) -> list[float]:
    """Numbers of the epochs; counted on where a second stage begins at 1 again."""
    epochs = [_number(row.get("epoch")) for row in history]
    rising = all(b > a for a, b in pairwise(epochs))
    return epochs if rising else [float(i) for i in range(1, len(history) + 1)]


def rate_drops(history: History) -> tuple[tuple[float, float], ...]:
    """(epoch before which, new rate) of each step of the learning rate within a stage.

    Empty for a rate that moves all the time: that is a schedule, not news.
    """
    rates = [_number(row.get("learning_rate")) for row in history]
    stages = [row.get("stage", 1) for row in history]
    drops = [
        i for i in range(1, len(rates))
        if rates[i] < 0.9 * rates[i - 1] and stages[i] == stages[i - 1]
    ]  # fmt: skip
    if len(drops) > max(1, len(rates) // 3):
        return ()
    epochs = epochs_of(history)
    return tuple((epochs[i], rates[i]) for i in drops)


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


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)
