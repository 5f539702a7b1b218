"""``tellapart compare``: several runs on the same test images; which is better, really?"""

from __future__ import annotations

import csv
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from io import StringIO
from pathlib import Path
from typing import Any, ClassVar

from tellapart.comparison import ComparedRun, PairedComparison, columns, compare_predictions
from tellapart.errors import RunError
from tellapart.evaluation.predictions import Predictions
from tellapart.files import write_json, write_text
from tellapart.folders import claim_folder
from tellapart.number import MISSING, Kind, Number
from tellapart.progress import DEFAULT, SILENT, Progress
from tellapart.result import DONE, ShortRepr
from tellapart.run import Run, RunGiven, open_run
from tellapart.run_info import COMPLETE
from tellapart.wording import percent

_DATED = re.compile(r"\d{4}-\d\d-\d\d-\d{4}-")


@dataclass(frozen=True, repr=False)
class Comparison(ShortRepr):
    """What comparing runs gave, and the page about it."""

    result: PairedComparison
    runs: Mapping[str, Run] = field(repr=False)
    report: Path
    #: What should be known beside the numbers.
    notes: tuple[str, ...] = ()
    #: What each step of a ladder bought.
    lessons: tuple[str, ...] = ()
    exit_code: ClassVar[int] = DONE

    def to_json(self) -> dict[str, Any]:
        """All of it, ready for JSON: what ``comparison.json`` holds."""
        return {
            "report": str(self.report),
            "runs": {name: str(run.path) for name, run in self.runs.items()},
            "notes": list(self.notes),
            "lessons": list(self.lessons),
            **self.result.to_json(),
        }

    def lines(self) -> Iterator[str]:
        """What the command prints: a table, then the sentences."""
        yield from _table_lines(self.result)
        yield ""
        yield from self.lessons or self.result.sentences
        yield from self.notes
        yield f"report      {self.report}"

    def _repr_html_(self) -> str:
        from tellapart.evaluation.plots import compare_accuracy_bars, to_svg
        from tellapart.notebook import card

        rows = self.result.rows
        numbers = {self.result.part: [row.metrics.accuracy for row in rows]}
        drawn = to_svg(compare_accuracy_bars(self.result.names, numbers))
        return card(
            f"{len(rows)} runs on the same {self.result.images:,} {self.result.part} images",
            headline=self.result.sentences[0],
            table=list(_cells(self.result)),
            figure=drawn,
            link=self.report,
            sentences=self.lessons or self.result.sentences[1:4],
        )


def compare(
    runs_to_compare: Sequence[RunGiven] | RunGiven,
    *,
    shared_only: bool = False,
    out: str | Path | None = None,
    runs: str | Path = "runs",
    device: str = "auto",
    seed: int = 0,
    progress: Progress = DEFAULT,
) -> Comparison:
    """Compare runs by what they said of the same test images, and write a page about it.

    Args:
        runs_to_compare: runs, run folders, folders of runs, and patterns such as ``runs/*cats*``.
        shared_only: compare on the images that all runs share, where they differ.
        out: the page, or a folder for it; CSV and JSON go beside it. None: a new folder in
            ``runs``.
        device: where the time an image is measured.
        seed: of the bootstrap.

    Raises:
        RunError: fewer than two runs, or runs that were scored on different images.
        DataError: the runs know different classes.
    """
    found = find_runs(
        [runs_to_compare]
        if isinstance(runs_to_compare, str | os.PathLike)
        else runs_to_compare
    )
    if len(found) < 2:
        names = f" (only {found[0].path})" if found else ""
        raise RunError(f"A comparison needs at least two finished runs{names}; name another one.")
    named = dict(zip(names_of(found), found, strict=True))
    return compare_runs(
        named,
        lambda: _page_path(out, Path(runs)),
        shared_only=shared_only,
        device=device,
        seed=seed,
        progress=progress,
    )


def compare_runs(
    runs: Mapping[str, Run],
    place: Callable[[], Path],
    *,
    title: str = "",
    shared_only: bool = False,
    device: str = "auto",
    seed: int = 0,
    lessons_of: Any = None,
    progress: Progress = SILENT,
) -> Comparison:
    """Compare runs that have names already.

    Args:
        place: where the page goes; asked, and its folder made, when there is something to write.
        lessons_of: ``lessons_of(result)`` adds sentences on top.
    """
    part, notes = _part(runs)
    predictions = {name: run.predictions(part) for name, run in runs.items()}
    _refuse_other_images(runs, predictions, part)
    notes = (*notes, *_other_rules(runs))
    # What cannot be compared is said before anything is measured.
    result = compare_predictions(predictions, shared_only=shared_only, seed=seed)
    rows = []
    with progress.stage("Measuring the time an image", len(runs), "runs") as stage:
        for row in result.rows:
            rows.append(replace(row, facts=_facts_of(runs[row.name], row, device)))
            stage.advance()
    result = replace(result, rows=tuple(rows))
    lessons = tuple(lessons_of(result)) if lessons_of is not None else ()
    from tellapart.report.of_comparison import write_comparison_report

    page = place()
    with progress.stage("Writing the report", None):
        write_comparison_report(
            result, runs, predictions, page, title=title, lessons=lessons, notes=notes
        )
    made = Comparison(result, dict(runs), page, tuple(notes), lessons)
    write_json(page.with_suffix(".json"), made.to_json())
    write_text(page.with_suffix(".csv"), _as_csv(result))
    return made


# --- which runs -----------------------------------------------------------------------------


def find_runs(given: Sequence[RunGiven]) -> list[Run]:
    """The finished runs that paths, folders of runs and patterns name, each once.

    A run that is named itself must be finished; of a folder or a pattern those that are.

    Raises:
        RunError: a path does not exist, or nothing finished is there.
    """
    found: dict[Path, Run] = {}
    for item in given:
        path = item.path if isinstance(item, Run) else Path(item)
        if (path / "run.json").is_file():
            runs = [open_run(path)]
        elif path.is_dir():
            runs = _finished(sorted(path.iterdir()))
        elif any(character in str(item) for character in "*?["):
            anchor = Path(path.anchor or ".")
            pattern = str(path.relative_to(anchor) if path.anchor else path)
            runs = _finished(sorted(anchor.glob(pattern)))
        else:
            runs = [open_run(path)]
        if not runs:
            raise RunError(f"{path} holds no finished run; 'tellapart train' makes one.")
        for run in runs:
            found.setdefault(run.path.resolve(), run)
    return list(found.values())


def _finished(paths: Sequence[Path]) -> list[Run]:
    runs = [open_run(path, complete=False) for path in paths if (path / "run.json").is_file()]
    return [run for run in runs if run.status == COMPLETE]


def names_of(runs: Sequence[Run]) -> list[str]:
    """Short names that tell the runs apart: recipe, data and recipe, with the time, path."""
    short = [_short_name(run) for run in runs]
    undated = [_DATED.sub("", run.name) for run in runs]
    timed = [_with_time(run) for run in runs]
    whole = [run.name for run in runs]
    paths = [str(run.path) for run in runs]
    names = short
    for longer in (undated, timed, whole, paths):
        count = Counter(names)
        names = [
            better if count[name] > 1 else name for name, better in zip(names, longer, strict=True)
        ]
    return names


def _short_name(run: Run) -> str:
    """The recipe's name where the folder was named by tellapart, else what the user chose."""
    recipe = run.recipe.name
    own = _DATED.match(run.name) and re.search(rf"-{re.escape(recipe)}(-\d+)?$", run.name)
    return recipe if own else run.name


def _with_time(run: Run) -> str:
    """The recipe's name and when it was trained, for runs of one recipe on one folder."""
    dated = _DATED.match(run.name)
    if not dated:
        return run.name
    year, month, day, time = dated.group().rstrip("-").split("-")
    return f"{_short_name(run)} ({year}-{month}-{day} {time[:2]}:{time[2:]})"


def _part(runs: Mapping[str, Run]) -> tuple[str, tuple[str, ...]]:
    """The part to compare on, and what to say about it."""
    for part in ("test", "validation"):
        lacking = [name for name, run in runs.items() if part not in run.parts]
        if not lacking:
            notes = () if part == "test" else (
                "There is no test part: the images compared on also chose within each run, so "
                "all numbers are a little too good.",
            )
            return part, notes
        if len(lacking) < len(runs):
            raise RunError(
                f"'{lacking[0]}' has no {part} images and others have; compare runs that were "
                "trained on the same split."
            )
    raise RunError("The runs have no validation or test images, so nothing can be compared.")


def _other_rules(runs: Mapping[str, Run]) -> list[str]:
    """Said where the runs do not all say the likeliest class: their answers are by other rules."""
    rules = {name: run.decision.rule if run.decision else "the likeliest class"
             for name, run in runs.items()}  # fmt: skip
    if all(run.decision is None for run in runs.values()):
        return []
    told = "; ".join(f"{name}: {rule}" for name, rule in rules.items())
    differ = len({run.decision for run in runs.values()}) > 1
    end = " An accuracy is not what such a rule was chosen for." if differ else ""
    return [f"Each run's answers are by the decision that is in force in it ({told}).{end}"]


def _refuse_other_images(
    runs: Mapping[str, Run], predictions: Mapping[str, Predictions], part: str
) -> None:
    """Equal paths under different folders may be different images; contents tell.

    Raises:
        RunError: an image of the same path has another content in another run.
    """
    from tellapart.training.remember import load_images

    contents: dict[str, tuple[str, str]] = {}
    for name, run in runs.items():
        for where, digest, path in load_images(run.intact(run.images_file)):
            if where != part:
                continue
            other, known = contents.setdefault(path, (name, digest))
            if known != digest:
                raise RunError(
                    f"'{path}' is another image in '{name}' than in '{other}', although it has "
                    "the same name; compare runs on the same images."
                )


# --- facts ----------------------------------------------------------------------------------


def _facts_of(run: Run, row: ComparedRun, device: str) -> dict[str, Any]:
    """What a row of the comparison says beside the metrics."""
    info = run.info
    facts: dict[str, Any] = {
        "run": str(run.path),
        "recipe": run.recipe.name,
        "total_parameters": info.parameters.total,
        "trainable_parameters": info.parameters.trainable,
        # A run that was resumed has timed its last stretch only; the epochs know the others.
        "training_seconds": max(
            info.seconds["Train"], sum(epoch.get("seconds", 0.0) for epoch in run.history())
        ),
        "milliseconds_per_image": _milliseconds_per_image(run, device),
        "size_bytes": run.model_file.stat().st_size,
    }
    for part in ("train", "validation"):
        if part in run.metrics:
            facts[f"{part}_accuracy"] = run.accuracy(part)
    if "train_accuracy" in facts:
        on_train, on_part = facts["train_accuracy"], row.metrics.accuracy
        facts["gap"] = on_train.measured()[0] - on_part.measured()[0]
    return facts


def _milliseconds_per_image(run: Run, device: str) -> float:
    from tellapart.machine import keep_memory

    keep_memory()
    classifier = run.classifier(device)
    return round(1000 * classifier.seconds_per_image(), 3)


# --- writing --------------------------------------------------------------------------------


def _page_path(out: str | Path | None, runs_folder: Path) -> Path:
    if out is None:
        wanted = runs_folder / f"comparison-{datetime.now():%Y-%m-%d-%H%M}"
        return claim_folder(wanted) / "report.html"
    page = Path(out)
    page = page if page.suffix in (".html", ".htm") else page / "report.html"
    try:
        page.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(
            f"The folder {page.parent} cannot be made: {error.strerror}; choose another with --out."
        ) from error
    return page


def _as_csv(result: PairedComparison) -> str:
    rows = result.table()
    text = StringIO()
    columns = list(dict.fromkeys(key for row in rows for key in row))
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _cells(result: PairedComparison) -> Iterator[tuple[str, ...]]:
    """The table as text: a heading, then a row a run; the interval follows the accuracy."""
    accuracy, *others = columns(result.part, "terminal")
    yield ("run", accuracy.short, "95 % interval", *(column.short for column in others))
    for row in result.rows:
        number = row.metrics.accuracy
        yield (
            row.name, number.percent(2), number.limits(2),
            *(_cell(row.of(column), column.kind) for column in others),
        )  # fmt: skip


def _cell(value: Number | float | None, kind: Kind) -> str:
    value = value.value if isinstance(value, Number) else value
    return MISSING if value is None else _FORMS[kind](value)


#: How numbers are written in the terminal; milliseconds stand in their heading.
_FORMS: Mapping[Kind, Callable[[Any], str]] = {
    "share": lambda value: percent(value, 2),
    "score": "{:.4f}".format,
    "count": "{:,}".format,
    "seconds": "{:.1f} s".format,
    "milliseconds": "{:.2f}".format,
    "bytes": "{:,}".format,
    "text": str,
}


def _table_lines(result: PairedComparison) -> Iterator[str]:
    table = list(_cells(result))
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for cells in table:
        first, *rest = [
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        yield "  ".join([first, *rest]).rstrip()
