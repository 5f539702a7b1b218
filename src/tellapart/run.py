"""Run: the folder that an experiment leaves behind.

Everything in it is plain data (JSON, YAML, CSV, safetensors, images): opening a run
executes nothing. Every file is written under a temporary name and renamed, and
``run.json`` carries a status, so that a run that was killed says so.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tellapart import result
from tellapart.errors import RunError
from tellapart.files import write_json, write_text
from tellapart.progress import DEFAULT, Progress
from tellapart.recipe import Recipe
from tellapart.recipe_reading import load_recipe, recipe_to_yaml
from tellapart.wording import percent, shown

if TYPE_CHECKING:
    from tellapart.data.given import Given
    from tellapart.prediction.answers import Answers

#: Raised when the meaning of a run folder's files changes.
FORMAT = 1

RUNNING, COMPLETE, INTERRUPTED = "running", "complete", "interrupted"


#: A run, or the path of its folder.
RunGiven = str | os.PathLike[str]


@dataclass(frozen=True)
class Run:
    """A run folder, opened for reading; it stands for its path wherever one is asked for."""

    path: Path

    def __fspath__(self) -> str:
        return str(self.path)

    def predict(
        self,
        images: Given,
        *,
        device: str = "auto",
        unknown: bool = False,
        progress: Progress = DEFAULT,
    ) -> Answers:
        """Classify image files and folders; see :func:`tellapart.predict`."""
        from tellapart.prediction.answers import answer_files

        return answer_files(
            self.model_file,
            images,
            unknown_file=self.unknown_file if unknown else None,
            device=device,
            progress=progress,
        )

    @property
    def exit_code(self) -> int:
        """Of the command that made it."""
        return result.INTERRUPTED if self.status == INTERRUPTED else result.DONE

    def lines(self) -> Iterator[str]:
        """What ``tellapart train`` prints; the last line is the run's folder."""
        for part in ("validation", "test"):
            accuracy = self.metrics.get(part, {}).get("accuracy")
            if accuracy and accuracy["value"] is not None:
                yield (
                    f"{part:<10}  accuracy {percent(accuracy['value'], 2)}  "
                    f"(95 %: {percent(accuracy['low'], 2)} to {percent(accuracy['high'], 2)})"
                )
        if self.status == INTERRUPTED:
            yield "interrupted; 'tellapart train --resume RUN' goes on with it"
        yield f"{self.report.name}, the model and the predictions are in"
        yield shown(self.path)

    def to_json(self) -> Mapping[str, Any]:
        """What ``tellapart train --json`` prints: the metrics, and where the run is."""
        return {"run": str(self.path), **self.metrics}

    @cached_property
    def info(self) -> dict[str, Any]:
        """The content of ``run.json``."""
        content: dict[str, Any] = json.loads((self.path / "run.json").read_text("utf-8"))
        return content

    @cached_property
    def recipe(self) -> Recipe:
        """The recipe in full, as it was resolved for this run."""
        return load_recipe(self.path / "recipe.yaml")

    @cached_property
    def metrics(self) -> dict[str, Any]:
        """The content of ``metrics.json``: one entry a part that was evaluated."""
        content: dict[str, Any] = json.loads((self.path / "metrics.json").read_text("utf-8"))
        return content

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def status(self) -> str:
        """``running``, ``complete`` or ``interrupted``."""
        return str(self.info["status"])

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of every probability row."""
        return tuple(self.info["classes"])

    @property
    def model_file(self) -> Path:
        return self.path / "model.safetensors"

    @property
    def unknown_file(self) -> Path:
        """What tells images unlike the training ones; absent where it could not be set."""
        return self.path / "unknown.safetensors"

    @property
    def images_file(self) -> Path:
        """Part, content digest and path of every image of the run."""
        return self.path / "images.csv"

    @property
    def report(self) -> Path:
        return self.path / "report.html"

    @property
    def checkpoint_folder(self) -> Path:
        return self.path / "checkpoint"

    @property
    def history_file(self) -> Path:
        return self.path / "history.csv"

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of the parts whose predictions are stored, validation before test."""
        order = {"train": 0, "validation": 1, "test": 2}
        names = [p.stem for p in (self.path / "predictions").glob("*.csv")]
        return tuple(sorted(names, key=lambda name: (order.get(name, 3), name)))

    def predictions_file(self, part: str) -> Path:
        return self.path / "predictions" / f"{part}.csv"

    def history(self) -> list[dict[str, float]]:
        """One row an epoch; empty where the run was not trained by gradient descent."""
        import csv

        if not self.history_file.is_file():
            return []
        with self.history_file.open(encoding="utf-8", newline="") as file:
            return [
                {key: float(value) for key, value in row.items() if value not in ("", None)}
                for row in csv.DictReader(file)
            ]

    def update(self, **changes: Any) -> Run:
        """Write ``run.json`` with these entries changed, and return the run reread."""
        write_json(self.path / "run.json", {**self.info, **changes})
        return Run(self.path)

    def _repr_html_(self) -> str:
        from tellapart.notebook import card

        if self.status == RUNNING or not (self.path / "metrics.json").is_file():
            return card(f"{self.name} ({self.status})", sentences=[", ".join(self.classes)])
        scored = {part: self.metrics[part] for part in reversed(self.parts) if part in self.metrics}
        rows = [
            (part, f"{m['images']:,}", percent(m['accuracy']['value'], 2),
             f"{percent(m['accuracy']['low'], 2)} to {percent(m['accuracy']['high'], 2)}")
            for part, m in scored.items()
        ]  # fmt: skip
        part, _, accuracy, limits = rows[0]
        figure = self.path / "figures" / "confusion_matrix.svg"
        return card(
            f"{self.name}: {', '.join(self.classes[:5])}{' ...' if len(self.classes) > 5 else ''}",
            headline=f"{accuracy} accuracy on {part} (95 %: {limits})",
            table=[("part", "images", "accuracy", "95 %"), *rows],
            figure=figure.read_text("utf-8") if figure.is_file() else "",
            link=self.report,
        )


def create_run(
    folder: Path, recipe: Recipe, info: Mapping[str, Any], *, replace: bool = False
) -> Run:
    """Make a run folder with its recipe and a ``run.json`` of status ``running``.

    Raises:
        RunError: the folder holds something already, or cannot be written.
    """
    if folder.exists() and any(folder.iterdir() if folder.is_dir() else [folder]) and not replace:
        raise RunError(f"{folder} exists and is not empty; give --run another path.")
    try:
        (folder / "predictions").mkdir(parents=True, exist_ok=True)
        (folder / "figures").mkdir(exist_ok=True)
    except OSError as error:
        raise RunError(
            f"The run folder {folder} cannot be made: {error.strerror}; choose another with --runs."
        ) from error
    write_text(folder / "recipe.yaml", recipe_to_yaml(recipe))
    write_json(folder / "run.json", {"format": FORMAT, "status": RUNNING, **info})
    return Run(folder)


def open_run(path: RunGiven, *, complete: bool = True) -> Run:
    """Open a run folder.

    Raises:
        RunError: it is no run folder, comes from a newer version, or (with ``complete``)
            did not finish.
    """
    run = Run(Path(path))
    if not run.path.is_dir():
        raise RunError(f"There is no run folder {run.path}; 'tellapart train' makes one.")
    try:
        info = run.info
    except FileNotFoundError:
        raise RunError(f"{run.path} is no run folder: it has no run.json.") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise RunError(f"{run.path / 'run.json'} is damaged: {error}.") from error
    if not isinstance(info, dict) or "format" not in info or "classes" not in info:
        raise RunError(f"{run.path / 'run.json'} was not written by tellapart.")
    if info["format"] > FORMAT:
        raise RunError(f"{run.path} was made by a newer tellapart; update this one to open it.")
    if complete and run.status == RUNNING:
        raise RunError(
            f"{run.path} did not finish; 'tellapart train --resume {run.path}' goes on with it."
        )
    return run


def new_run_path(runs: Path, data_name: str, recipe_name: str, now: datetime) -> Path:
    """A path under ``runs`` that does not exist: date, data, recipe, and a number if taken."""
    words = f"{data_name}-{recipe_name}"
    safe = re.sub(r"[^\w.]+", "-", words).strip("-.")[:80] or "run"
    base = runs / f"{now:%Y-%m-%d-%H%M}-{safe}"
    path, number = base, 2
    while path.exists():
        path, number = base.with_name(f"{base.name}-{number}"), number + 1
    return path


def remove_run(run: Run) -> None:
    """Delete a run folder that this process made and could not finish."""
    shutil.rmtree(run.path, ignore_errors=True)
