"""The page of a tuning: what was tried, what it came to, and which settings mattered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import tellapart
from tellapart.files import write_text
from tellapart.number import Number
from tellapart.recipe import Recipe
from tellapart.report.content import (
    Callout,
    Column,
    Facts,
    Figure,
    KeyNumber,
    Table,
    TuningReport,
)
from tellapart.report.render import render_report
from tellapart.run import Run
from tellapart.tuning.place import range_text, settings_text
from tellapart.tuning.rows import COMPLETE, OWN, TrialRow, best_of
from tellapart.tuning.space import SPACE, Tuned


def write_tuning_report(
    file: Path,
    recipe: Recipe,
    rows: Sequence[TrialRow],
    space: Sequence[Tuned],
    *,
    title: str,
    objective: str,
    sentences: Sequence[str],
    winner: Run | None,
    command: str,
    facts: Mapping[str, str],
) -> None:
    """Write the page about a tuning, finished or not.

    Args:
        rows: every trial, in order; the recipe as it stands first.
        objective: what is made small, such as "log loss".
        sentences: the result in words.
        winner: the run of the best settings, once it is there.
        command: trains with the best settings again.
        facts: how it was made.

    Raises:
        FileError: the page cannot be written.
    """
    report = TuningReport(
        title=title,
        subtitle="Chosen on validation; the test part chose nothing",
        summary=sentences[0] if sentences else "",
        created=datetime.now().astimezone().isoformat(timespec="seconds"),
        key_numbers=_key_numbers(rows, winner),
        callouts=[Callout("note", sentence) for sentence in sentences[1:]],
        figures=_figures(rows, objective),
        trials=_trials(rows, objective),
        space=_space(space, rows),
        command=command,
        facts=[Facts("The tuning", [("Recipe", recipe.name), *facts.items()],
                     private=("Images",))],
        footer=f"tellapart {tellapart.__version__}",
    )  # fmt: skip
    write_text(file, render_report(report))


def _key_numbers(rows: Sequence[TrialRow], winner: Run | None) -> list[KeyNumber]:
    found = []
    best = best_of(rows)
    own = next((row for row in rows if row.number == OWN), None)
    if own is not None and own.outcome is not None:
        found.append(KeyNumber(
            "Recipe as it is", Number(own.outcome.accuracy), "share", "accuracy on validation"
        ))  # fmt: skip
    if best is not None and best.outcome is not None:
        found.append(KeyNumber(
            "Best settings", Number(best.outcome.accuracy), "share",
            "accuracy on validation, by which they were chosen",
        ))  # fmt: skip
    if winner is not None and "test" in winner.metrics:
        found.append(KeyNumber(
            "Best settings on test", winner.accuracy("test"), "share", "images that chose nothing"
        ))  # fmt: skip
    return found


def _figures(rows: Sequence[TrialRow], objective: str) -> list[Figure]:
    done = [row for row in rows if row.state == COMPLETE and row.outcome and row.number != OWN]
    if len(done) < 2:
        return []
    from tellapart.evaluation import plots
    from tellapart.evaluation.plots.trials import trials_over_time

    done.sort(key=lambda row: row.after_seconds)
    own = next((row.outcome.objective for row in rows if row.number == OWN and row.outcome), None)
    values = [row.outcome.objective for row in done if row.outcome]
    figure = trials_over_time([row.after_seconds / 60 for row in done], values, own, objective)
    better = sum(value < own for value in values) if own is not None else 0
    reading = (
        f"{better} of the {len(values)} trials that came to their end are better than the recipe "
        "as it is."
    )
    svg = plots.to_svg(figure, "trials", reading)
    return [Figure("trials", "Trial by trial", svg, reading, alt=reading, png=plots.to_png(figure))]


def _trials(rows: Sequence[TrialRow], objective: str) -> Table:
    cells: list[tuple[Any, ...]] = []
    order = sorted(
        rows,
        key=lambda row: (row.state != COMPLETE, row.outcome.objective if row.outcome else 0.0),
    )
    for row in order:
        found = row.outcome
        cells.append((
            row.name, row.state,
            Number(found.objective) if found else None,
            Number(found.accuracy) if found else None,
            row.seconds, row.epochs or None,
            settings_text(row.settings) or "its own", row.problem,
        ))  # fmt: skip
    return Table(
        title="",
        columns=[
            Column("Trial"), Column("Ended", help="pruned: it looked hopeless"),
            Column(f"{objective[:1].upper()}{objective[1:]}", "score", best="low",
                   help="on validation; what is made small"),
            Column("Accuracy", "share", best="high", help="on validation"),
            Column("Time", "seconds"), Column("Epochs", "count"), Column("Settings"),
            Column("Problem"),
        ],
        rows=cells,
        reading="The best first. Validation chose among them, so the best of many looks better "
        "than it is.",
        empty="No trial has ended yet.",
    )  # fmt: skip


def _space(space: Sequence[Tuned], rows: Sequence[TrialRow]) -> Table:
    summaries = {row.key: row.summary for row in SPACE}
    best = best_of(rows)
    chosen = best.settings if best is not None else {}
    cells = []
    for each in space:
        own = {each.key: chosen[each.key]} if each.key in chosen else {}
        text = settings_text(own).removeprefix(f"{each.key} ") or "its own"
        cells.append((each.key, summaries.get(each.key, ""), range_text(each), text))
    return Table(
        title="",
        columns=[Column("Setting"), Column("What it is"), Column("Tried"), Column("Best")],
        rows=cells,
        reading="What was varied. All else is as the recipe says.",
    )
