"""A row for every trial: what was tried, how it ended, and what validation said of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tellapart.files import write_csv
from tellapart.tuning.space import Tuned, Value
from tellapart.tuning.study import values_of
from tellapart.wording import shown

if TYPE_CHECKING:
    import optuna

#: How a trial ended. A pruned one looked hopeless after some epochs; a failed one has a problem.
COMPLETE, PRUNED, FAILED, RUNNING = "complete", "pruned", "failed", "running"
_STATES = {"COMPLETE": COMPLETE, "PRUNED": PRUNED, "FAIL": FAILED, "RUNNING": RUNNING,
           "WAITING": RUNNING}  # fmt: skip
#: The number of the recipe as it stands, which is measured before any trial.
OWN = -1


@dataclass(frozen=True)
class Outcome:
    """What training one recipe came to, on validation."""

    #: What is made small.
    objective: float
    accuracy: float
    log_loss: float
    seconds: float
    epochs: int

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class TrialRow:
    """One trial; :data:`OWN` is the recipe as it stands."""

    number: int
    state: str
    settings: Mapping[str, Value] = field(default_factory=dict)
    outcome: Outcome | None = None
    problem: str = ""
    #: Seconds and epochs until it ended, however that was.
    seconds: float = 0.0
    epochs: int = 0
    #: Seconds of tuning that had passed when it ended.
    after_seconds: float = 0.0
    owner: str = ""

    @property
    def name(self) -> str:
        return "the recipe as it is" if self.number == OWN else f"trial {self.number}"

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "name": self.name}


def rows_of(study: optuna.Study, space: Sequence[Tuned]) -> tuple[TrialRow, ...]:
    """The recipe as it stands, where it was measured, then every trial in order."""
    rows = []
    own = study.user_attrs.get("own")
    if own is not None:
        found = Outcome(**own["outcome"])
        rows.append(
            TrialRow(OWN, COMPLETE, outcome=found, seconds=found.seconds,
                     epochs=found.epochs, after_seconds=own["after_seconds"])
        )  # fmt: skip
    for trial in study.get_trials(deepcopy=False):
        known = trial.user_attrs
        state = _STATES[trial.state.name]
        outcome = Outcome(**known["outcome"]) if "outcome" in known else None
        problem = str(known.get("problem", ""))
        if state == FAILED and not problem:
            problem = "its process ended"
        rows.append(
            TrialRow(
                trial.number, state, values_of(trial, space), outcome, problem,
                float(known.get("seconds", 0.0)), int(known.get("epochs", 0)),
                float(known.get("after_seconds", 0.0)), str(known.get("owner", "")),
            )
        )  # fmt: skip
    return tuple(rows)


def best_of(rows: Sequence[TrialRow]) -> TrialRow | None:
    """The row whose objective is smallest; of equal ones the first, which the recipe itself is."""
    done = [row for row in rows if row.outcome is not None and row.state == COMPLETE]
    return min(done, key=lambda row: row.outcome.objective, default=None)  # type: ignore[union-attr]


def write_rows(file: Path, rows: Sequence[TrialRow], space: Sequence[Tuned]) -> None:
    """The rows as CSV; settings are written as in a recipe.

    Raises:
        FileError: it cannot be written.
    """
    keys = [each.key for each in space]
    header = ["trial", "state", "objective", "validation_accuracy", "validation_log_loss",
              "seconds", "epochs", "after_seconds", "problem", *keys]  # fmt: skip
    cells = []
    for row in rows:
        found = row.outcome
        cells.append([
            "recipe" if row.number == OWN else str(row.number), row.state,
            *([repr(found.objective), repr(found.accuracy), repr(found.log_loss)]
              if found else ["", "", ""]),
            f"{row.seconds:.2f}", str(row.epochs), f"{row.after_seconds:.1f}", shown(row.problem),
            *(_cell(row.settings.get(key)) for key in keys),
        ])  # fmt: skip
    write_csv(file, header, cells)


def _cell(value: Value) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)
