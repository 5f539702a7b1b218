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

import numpy as np

from tellapart.comparison.paired import ComparedRun, PairedComparison, columns, compare_predictions
from tellapart.comparison.settings import DifferingSetting, differing_settings
from tellapart.comparison.times import how_timed, with_like_times
from tellapart.errors import RunError
from tellapart.evaluation.predictions import Predictions
from tellapart.files import write_json, write_text
from tellapart.folders import claim_folder, page_in
from tellapart.number import MISSING, Kind, Number
from tellapart.progress import DEFAULT, SILENT, Progress
from tellapart.result import DONE, ShortRepr
from tellapart.run import Run, RunGiven, open_run
from tellapart.run_info import COMPLETE
from tellapart.wording import listed, percent, shortened, shown

#: Settings that the terminal lists, and characters of each value; the page has all of them.
_MOST_SETTINGS, _LONGEST_VALUE = 20, 28
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
    #: In what the runs were made otherwise.
    settings: tuple[DifferingSetting, ...] = ()
    exit_code: ClassVar[int] = DONE

    def to_json(self) -> dict[str, Any]:
        """All of it, ready for JSON: what ``comparison.json`` holds."""
        return {
            "report": str(self.report),
            "runs": {name: str(run.path) for name, run in self.runs.items()},
            "notes": list(self.notes),
            "lessons": list(self.lessons),
            "settings": {setting.key: dict(setting.values) for setting in self.settings},
            **self.result.to_json(),
        }

    def lines(self) -> Iterator[str]:
        """What the command prints: a table, then the sentences."""
        yield from _as_lines(list(_cells(self.result)))
        yield ""
        yield from self.lessons or self.result.sentences
        yield from self.notes
        if self.settings:
            yield ""
            yield from _setting_lines(self.result.names, self.settings)
            yield ""
        yield f"report      {self.report}"

    def _repr_html_(self) -> str:
        from tellapart.evaluation.plots import compare_accuracy_bars, to_svg
        from tellapart.notebook import card

        rows = self.result.rows
        numbers = {self.result.part: [row.metrics.accuracy for row in rows]}
        drawn = to_svg(compare_accuracy_bars(self.result.names, numbers))
        return card(
            f"{len(rows)} runs on the same {self.result.images:,} {self.result.part} images",
            headline=self.result.leading[0],
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
        seed: of what is drawn for the calibration error's interval.

    Raises:
        RunError: fewer than two runs, or runs that were scored on different images.
        DataError: the runs know different classes.
    """
    found = find_runs(
        [runs_to_compare] if isinstance(runs_to_compare, str | os.PathLike) else runs_to_compare
    )
    if len(found.runs) < 2:
        names = f" (only {found.runs[0].path})" if found.runs else ""
        left_out = f" {found.sentence}" if found.left_out else ""
        raise RunError(
            f"A comparison needs at least two finished runs{names}; name another one.{left_out}"
        )
    named = dict(zip(names_of(found.runs), found.runs, strict=True))
    return compare_runs(
        named,
        lambda: _page_path(out, Path(runs)),
        shared_only=shared_only,
        device=device,
        seed=seed,
        notes=[found.sentence] if found.left_out else [],
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
    notes: Sequence[str] = (),
    progress: Progress = SILENT,
) -> Comparison:
    """Compare runs that have names already.

    They are ranked by validation, and shown on the test part.

    Args:
        place: where the page goes; asked, and its folder made, when there is something to write.
        lessons_of: ``lessons_of(result)`` adds sentences on top.
        notes: what is to be said beside the numbers.
    """
    part, of_part = _part(runs)
    predictions = {name: run.predictions(part) for name, run in runs.items()}
    _refuse_other_images(runs, predictions, part)
    predictions, of_leaks = _without_leaked(runs, predictions, part)
    order = order_by_validation(runs)
    # What cannot be compared is said before anything is measured.
    result = compare_predictions(
        predictions,
        facts=_stored_facts(runs),
        order=order,
        ranked_by="validation" if order else part,
        shared_only=shared_only,
        seed=seed,
    )
    rows = []
    with progress.stage("Measuring the time an image", len(runs), "runs") as stage:
        for row in result.rows:
            measured = {"milliseconds_per_image": _milliseconds_per_image(runs[row.name], device)}
            rows.append(replace(row, facts={**row.facts, **_gap(row), **measured}))
            stage.advance()
    result = replace(result, rows=tuple(rows))
    notes = (
        *notes,
        *of_part,
        *of_leaks,
        *_other_rules(runs),
        *_order_notes(runs, order),
        *_time_notes(result),
    )
    settings = differing_settings({name: runs[name] for name in result.names})
    lessons = tuple(lessons_of(result)) if lessons_of is not None else ()
    from tellapart.report.of_comparison import write_comparison_report

    page = place()
    with progress.stage("Writing the report", None):
        write_comparison_report(
            result, runs, predictions, page,
            title=title, lessons=lessons, notes=notes, settings=settings,
        )  # fmt: skip
    made = Comparison(result, dict(runs), page, notes, lessons, settings)
    write_json(page.with_suffix(".json"), made.to_json())
    write_text(page.with_suffix(".csv"), _as_csv(result))
    return made


# --- which runs -----------------------------------------------------------------------------


@dataclass(frozen=True)
class FoundRuns:
    """The finished runs that were found, each once, and what else was named, with the reason."""

    runs: tuple[Run, ...]
    #: By the reason: "no run", "not finished".
    left_out: Mapping[str, tuple[str, ...]]

    @property
    def sentence(self) -> str:
        """What was left out, and why."""
        said = [f"{listed(names, 4, 'and')} ({reason})" for reason, names in self.left_out.items()]
        return f"Left out: {'; '.join(said)}."


def find_runs(given: Sequence[RunGiven]) -> FoundRuns:
    """The finished runs that paths, folders of runs and patterns name.

    What is there and is no finished run is left out and named, as a shell hands over all that
    ``runs/*`` stands for.

    Raises:
        RunError: a path does not exist, a run is damaged, or no finished run is there.
    """
    found: dict[Path, Run] = {}
    left_out: dict[str, list[str]] = {}
    for item in given:
        path = item.path if isinstance(item, Run) else Path(item)
        before = len(left_out.get("not finished", ()))
        runs = []
        for each in _meant(path, str(item)):
            if not (each / "run.json").is_file():
                left_out.setdefault("no run", []).append(str(each))
            elif (run := open_run(each, complete=False)).status != COMPLETE:
                left_out.setdefault("not finished", []).append(str(each))
            else:
                runs.append(run)
        named_alone = len(given) == 1 or not path.exists()
        if not runs and named_alone:
            unfinished = len(left_out.get("not finished", ())) > before
            raise RunError(
                f"{path} holds no finished run; "
                + (
                    f"'tellapart train --resume {path}' goes on with it."
                    if unfinished
                    else "'tellapart train' makes one."
                )
            )
        for run in runs:
            found.setdefault(run.path.resolve(), run)
    return FoundRuns(
        tuple(found.values()),
        {reason: tuple(dict.fromkeys(names)) for reason, names in left_out.items()},
    )


def _meant(path: Path, given: str) -> list[Path]:
    """What a path stands for: itself, what a folder of runs holds, or what a pattern finds.

    Raises:
        RunError: there is nothing.
    """
    if (path / "run.json").is_file():
        return [path]
    if path.is_dir():
        inside = sorted(p for p in path.iterdir() if p.is_dir() and p.name[0] != ".")
        holds_runs = any((each / "run.json").is_file() for each in inside)
        return inside if holds_runs else [path]
    if path.exists():
        return [path]
    if any(character in given for character in "*?["):
        anchor = Path(path.anchor or ".")
        pattern = str(path.relative_to(anchor) if path.anchor else path)
        return sorted(anchor.glob(pattern))
    return [open_run(path).path]


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
            notes = (
                ()
                if part == "test"
                else (
                    "There is no test part: the images compared on also chose within each run, so "
                    "all numbers are a little too good.",
                )
            )
            return part, notes
        if len(lacking) < len(runs):
            raise RunError(
                f"'{lacking[0]}' has no {part} images and others have; compare runs that were "
                "trained on the same split."
            )
    raise RunError("The runs have no validation or test images, so nothing can be compared.")


def _without_leaked(
    runs: Mapping[str, Run], predictions: Mapping[str, Predictions], part: str
) -> tuple[dict[str, Predictions], list[str]]:
    """Predictions of the images that no run was made with, and what is to be said about it.

    Unless all runs keep their leaked images on purpose. An image that one run has seen in
    training is left out for all of them.

    Raises:
        RunError: no image is left.
    """
    leaked = {path for run in runs.values() for path in run.leaked(part)}
    there = leaked & {path for p in predictions.values() for path in p.paths}
    if not there:
        return dict(predictions), []
    were = "image was" if len(there) == 1 else "images were"
    said = f"{len(there):,} {part} {were} also seen in the training of at least one run"
    if all(run.recipe.data.keep_leaks for run in runs.values()):
        return dict(predictions), [f"{said}; all runs keep such images in their numbers."]
    clean = {
        name: p.select(np.array([path not in leaked for path in p.paths]))
        for name, p in predictions.items()
    }
    if not all(len(p) for p in clean.values()):
        raise RunError(
            f"All {part} images of a run were also seen in training, so nothing is left to compare "
            "on; train with a test part of its own, or all runs with --keep-leaks."
        )
    return clean, [f"{said}, and {'is' if len(there) == 1 else 'are'} left out for all."]


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


def order_by_validation(runs: Mapping[str, Run]) -> tuple[str, ...]:
    """Runs by what was there to choose by: accuracy on validation, then log loss, then size.

    Empty where a run has no validation images.
    """
    if any(
        "validation" not in run.metrics or not run.accuracy("validation").known
        for run in runs.values()
    ):
        return ()

    def rank(name: str) -> tuple[float, float, int]:
        run = runs[name]
        loss = run.metrics["validation"].get("log_loss", {}).get("value")
        return (
            -run.accuracy("validation").measured()[0],
            float("inf") if loss is None else float(loss),
            run.info.parameters.trainable,
        )

    return tuple(sorted(runs, key=rank))


def _order_notes(runs: Mapping[str, Run], order: Sequence[str]) -> Iterator[str]:
    """Where the order is by accuracies on different images."""
    if not order:
        return
    images = {frozenset(run.scored_predictions("validation").paths) for run in runs.values()}
    if len(images) > 1:
        yield (
            "The runs have different validation images, so the order, which is by their accuracy "
            "on validation, is rough."
        )


def _time_notes(result: PairedComparison) -> Iterator[str]:
    """Whose time of training is not held against the others', and why."""
    compared = [row for row in result.rows if row.facts["time_compared"]]
    others = [row for row in result.rows if not row.facts["time_compared"]]
    if not others:
        return
    said = [f"{row.name} ({row.facts['time_was']})" for row in others]
    if not compared:
        yield (
            "Times of training are not compared: no two of the runs did like work on one machine: "
            f"{listed(said, 4, 'and')}."
        )
        return
    yield (
        f"Times of training are compared among {listed([row.name for row in compared], 4, 'and')} "
        f"only; not comparable with them: {listed(said, 4, 'and')}."
    )


def _refuse_other_images(
    runs: Mapping[str, Run], predictions: Mapping[str, Predictions], part: str
) -> None:
    """Equal paths under different folders may be different images; contents tell.

    Raises:
        RunError: an image of the same path has another content in another run.
    """
    contents: dict[str, tuple[str, str]] = {}
    for name, run in runs.items():
        for image in run.images:
            if image.part != part:
                continue
            other, known = contents.setdefault(image.path, (name, image.digest))
            if known != image.digest:
                raise RunError(
                    f"'{image.path}' is another image in '{name}' than in '{other}', although it "
                    "has the same name; compare runs on the same images."
                )


# --- facts ----------------------------------------------------------------------------------


def _stored_facts(runs: Mapping[str, Run]) -> dict[str, dict[str, Any]]:
    """What a row of the comparison says beside the metrics, as far as the runs have stored it."""
    like = with_like_times({name: run.info for name, run in runs.items()})
    facts: dict[str, dict[str, Any]] = {}
    for name, run in runs.items():
        info = run.info
        facts[name] = {
            "run": str(run.path),
            "recipe": run.recipe.name,
            "total_parameters": info.parameters.total,
            "trainable_parameters": info.parameters.trainable,
            # A run that was resumed has timed its last stretch only; the epochs know the others.
            "training_seconds": max(
                info.seconds["Train"], sum(epoch.get("seconds", 0.0) for epoch in run.history())
            ),
            "time_was": how_timed(info),
            "time_compared": name in like,
            "size_bytes": run.model_file.stat().st_size,
        }
        for part in ("train", "validation"):
            if part in run.metrics:
                facts[name][f"{part}_accuracy"] = run.accuracy(part)
    return facts


def _gap(row: ComparedRun) -> dict[str, float]:
    """How far train is ahead of the compared part, where that is known."""
    train = row.train_accuracy
    if train is None:
        return {}
    return {"gap": train.measured()[0] - row.metrics.accuracy.measured()[0]}


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
    return page_in(Path(out))


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


def _setting_lines(names: Sequence[str], settings: Sequence[DifferingSetting]) -> Iterator[str]:
    """The first of the settings that differ, a row each."""
    rows = [("settings that differ", *names)]
    rows += [
        (setting.key, *(shortened(shown(setting.values[name]), _LONGEST_VALUE) for name in names))
        for setting in settings[:_MOST_SETTINGS]
    ]
    yield from _as_lines(rows)
    if len(settings) > _MOST_SETTINGS:
        yield f"and {len(settings) - _MOST_SETTINGS} more; the report has all {len(settings)}."


def _as_lines(table: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for cells in table:
        first, *rest = [
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        yield "  ".join([first, *rest]).rstrip()
