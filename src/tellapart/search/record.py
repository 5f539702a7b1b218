"""The record of a search: what was tried, what it cost and what it gave; ``search.json`` of a run.

Each candidate's recipe is a file beside it, by which ``tellapart train --recipe`` repeats it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from tellapart.errors import RunError
from tellapart.files import write_text
from tellapart.number import Number
from tellapart.recipe import Recipe
from tellapart.recipe_reading import recipe_to_yaml
from tellapart.run_info import digest_of, read_object, write_info

SEARCH_FILE, CANDIDATES = "search.json", "candidates"
#: Raised when the meaning of the file changes.
FORMAT = 1

Status = Literal["done", "failed", "out of time"]
#: The first answer, other probes, the last layers tuned, all layers tuned, several together.
Family = Literal["first", "probe", "partial", "full", "ensemble"]


@dataclass(frozen=True)
class Trial:
    """A candidate that was tried."""

    #: From 1, the first answer's.
    number: int
    #: Of the kind of candidate; a name is tried once.
    name: str
    family: Family
    #: What it is, for people.
    description: str
    #: Why it was tried at that moment.
    why: str
    status: Status
    #: What it cost, and when it was over, in seconds of the search's own time.
    seconds: float
    ended: float
    #: On the validation images that choose, as ``Number.to_json``; None where it has no result.
    accuracy: Mapping[str, Any] | None = None
    #: Mean, in nats, of calibrated probabilities.
    log_loss: float | None = None
    #: What went wrong, where something did.
    error: str = ""
    #: Whether it became the best so far.
    became_best: bool = False
    #: Its recipe, relative to the run's folder; "" where there is none.
    recipe: str = ""

    @property
    def number_of_accuracy(self) -> Number | None:
        """The validation accuracy with its interval."""
        return Number.from_json(self.accuracy) if self.accuracy is not None else None


@dataclass(frozen=True)
class SearchRecord:
    """A search so far."""

    #: Images that choose: of validation, or those of train with them.
    validation_images: int
    #: Seconds that were asked for, of all sittings together.
    seconds: float
    trials: tuple[Trial, ...] = ()
    #: Why nothing more was tried, as a sentence; "" while it goes on, or where it was cut off.
    ended: str = ""
    #: Whether probes were judged by folds of train and validation together.
    by_folds: bool = False
    #: What more time would buy, as a sentence; "" where nothing is left that promises more.
    more: str = ""
    format: int = FORMAT
    #: Seconds used by sittings before this one.
    seconds_before: float = field(default=0.0)
    #: The number of the trial that is the run's classifier; 0: the last one that became the best.
    chosen: int = 0

    @property
    def best(self) -> Trial:
        """The trial that is the run's classifier."""
        of_number = [trial for trial in self.trials if trial.number == self.chosen]
        return (
            of_number[0]
            if of_number
            else next(trial for trial in reversed(self.trials) if trial.became_best)
        )

    @property
    def judges(self) -> str:
        """What chose, as part of a sentence: "the 1,000 validation images"."""
        if not self.by_folds:
            return f"the {self.validation_images:,} validation images"
        return (
            f"the {self.validation_images:,} images of train and validation, each answered by "
            "probes that had not seen it"
        )

    @property
    def seconds_used(self) -> float:
        return self.trials[-1].ended if self.trials else 0.0

    def with_trial(self, trial: Trial, chosen: int) -> SearchRecord:
        """The record with one more trial, after which the trial of this number is in force."""
        return replace(self, trials=(*self.trials, trial), chosen=chosen)


def recipe_name(number: int) -> str:
    """The file of a candidate's recipe, relative to the run's folder."""
    return f"{CANDIDATES}/{number:02d}.yaml"


def write_recipe(folder: Path, number: int, recipe: Recipe) -> str:
    """Write a candidate's recipe into a run's folder and return its name there."""
    name = recipe_name(number)
    (folder / CANDIDATES).mkdir(exist_ok=True)
    write_text(folder / name, recipe_to_yaml(recipe))
    return name


def write_record(folder: Path, record: SearchRecord) -> None:
    """Write ``search.json`` into a run's folder, as a whole, with a digest of what it says."""
    write_info(folder / SEARCH_FILE, asdict(record))


def read_record(folder: Path) -> SearchRecord | None:
    """What ``search.json`` of a run says; None: it was made without a search.

    Raises:
        RunError: it is damaged, was changed, or comes from a newer version.
    """
    file = folder / SEARCH_FILE
    if not file.is_file():
        return None
    content = read_object(file)
    stored = content.pop("digest", None)
    if isinstance(content.get("format"), int) and content["format"] > FORMAT:
        raise RunError(f"{folder} was made by a newer tellapart; update this one to open it.")
    try:
        record = _of_record().validate_json(json.dumps(content), strict=True)
        for trial in record.trials:
            if trial.accuracy is not None:
                Number.from_json(trial.accuracy)
    except (ValidationError, KeyError, TypeError, ValueError) as error:
        where = error.errors()[0]["loc"] if isinstance(error, ValidationError) else (error,)
        raise RunError(
            f"{file} is damaged: its key '{'.'.join(map(str, where))}' is missing or wrong; put "
            "back a copy of the file, or train again."
        ) from error
    if stored != digest_of(content):
        raise RunError(
            f"{file} was changed since it was written; put back a copy of the file, or train again."
        )
    if not any(trial.became_best for trial in record.trials):
        raise RunError(f"{file} is damaged: no trial in it is the best; train again.")
    return record


@cache
def _of_record() -> TypeAdapter[SearchRecord]:
    return TypeAdapter(SearchRecord)
