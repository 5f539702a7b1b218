"""The table of candidates as lines of text, one as soon as a candidate was tried."""

from __future__ import annotations

from tellapart.search.record import SearchRecord, Trial
from tellapart.wording import duration, shortened

_WIDTH = 54


def header(record: SearchRecord) -> str:
    """The names of the columns."""
    accuracy = "cross-validated accuracy" if record.by_folds else "validation accuracy"
    return f"{'':>3}  {'candidate':<{_WIDTH}}  {'cost':>10}  {accuracy}"


def line_of(trial: Trial, best: Trial | None = None) -> str:
    """A trial as a line.

    Args:
        best: the best so far, where it is another one's line.
    """
    start = (
        f"{trial.number:>3}  {shortened(trial.description, _WIDTH):<{_WIDTH}}  "
        f"{duration(trial.seconds):>10}  "
    )
    number = trial.number_of_accuracy
    if number is None or not number.known:
        return f"{start}{trial.error or trial.status}".rstrip()
    value = number.with_limits(1)
    if trial.became_best:
        return f"{start}{value}, best so far"
    held = best.number_of_accuracy if best is not None else None
    beside = f" (best so far {held.percent(1)}, candidate {best.number})" if held and best else ""
    return f"{start}{value}{beside}"


def next_line(description: str, why: str) -> str:
    """What is tried next, and why."""
    return f"next: {description}, because {why}"
