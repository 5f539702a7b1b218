"""The page of a comparison: what the runs, their predictions and the tests say, put together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from tellapart.comparison.paired import (
    Pair,
    PairedComparison,
    columns,
    pair_sentence,
    telling_pairs,
)
from tellapart.comparison.settings import DifferingSetting
from tellapart.evaluation import plots
from tellapart.evaluation.predictions import Predictions
from tellapart.files import write_text
from tellapart.number import undefined
from tellapart.report.content import (
    Callout,
    Column,
    ComparisonReport,
    Facts,
    Figure,
    Gallery,
    Headline,
    KeyNumber,
    Picture,
    Reference,
    Table,
)
from tellapart.report.of_evaluation import column_of, pictures_of
from tellapart.report.render import render_report
from tellapart.run import Run
from tellapart.wording import are, capital, listed, percent, some_of

#: Pictures in each gallery of images that one run alone gets right.
ALONE, NOBODY = 18, 30
#: Pairs that get a sentence; all are in the table.
SENTENCES = 12
#: Accuracies at the top of a page without a winner.
KEYS = 6


def comparison_table(comparison: PairedComparison) -> Table:
    """A row a run, in the order of the comparison."""
    shown = columns(comparison.part, "comparison")
    alike = all(row.facts.get("time_compared", True) for row in comparison.rows)
    headings = [column_of(column) for column in shown]
    if not alike:  # the least of times of unlike work is not the best
        headings = [
            replace(heading, best="") if column.path == "training_seconds" else heading
            for column, heading in zip(shown, headings, strict=True)
        ]
    ranked_by = comparison.standing.ranked_by
    return Table(
        title="",
        columns=[Column("Run"), *headings],
        rows=[(row.name, *(row.of(column) for column in shown)) for row in comparison.rows],
        reading=f"In the order of their accuracy on {ranked_by}. Choose a heading to sort by it; "
        "the best of each column is bold" + ("." if alike else ", but for times of unlike work."),
    )


def settings_table(settings: Sequence[DifferingSetting], names: Sequence[str]) -> Table | None:
    """The settings that differ, a row each; None where the runs repeat one another."""
    if not settings:
        return None
    return Table(
        title="Settings that differ",
        columns=[Column("Setting"), *map(Column, names)],
        rows=[(setting.key, *(setting.values[name] for name in names)) for setting in settings],
        reading="All other settings are the same in all runs.",
    )


def write_comparison_report(
    comparison: PairedComparison,
    runs: Mapping[str, Run],
    predictions: Mapping[str, Predictions],
    file: Path,
    *,
    title: str = "",
    lessons: Sequence[str] = (),
    notes: Sequence[str] = (),
    settings: Sequence[DifferingSetting] = (),
) -> None:
    """Write the page about a comparison.

    Args:
        comparison: what it came to.
        runs, predictions: of every run, by the name it has in ``comparison``.
        file: where the page goes.
        title: of the page.
        lessons: what each step of a ladder bought; they then stand first.
        notes: what else should be known.
        settings: in what the runs were made otherwise.
    """
    figures, curves = comparison_figures(comparison, runs)
    report = ComparisonReport(
        title=title or f"{len(runs)} runs compared",
        subtitle=f"On the same {comparison.images:,} {comparison.part} images",
        headline=_headline(comparison),
        summary="" if comparison.standing.winner else " ".join(comparison.leading),
        key_numbers=_key_numbers(comparison),
        created=datetime.now().astimezone().isoformat(timespec="seconds"),
        callouts=_callouts(comparison, lessons),
        runs=comparison_table(comparison),
        settings=settings_table(settings, comparison.names),
        differences=_differences(comparison),
        tests=_tests(comparison),
        figures=figures,
        curves=curves,
        galleries=_galleries(comparison, runs, predictions),
        facts=_facts(comparison, runs),
        notes=notes,
        footer=f"tellapart {next(iter(runs.values())).info.tellapart}",
    )
    write_text(file, render_report(report))


def comparison_figures(
    comparison: PairedComparison, runs: Mapping[str, Run]
) -> tuple[list[Figure], list[Figure]]:
    """The charts, and the training curves over each other where runs have some."""
    names, part = comparison.names, comparison.part
    rows = comparison.rows
    accuracies = [row.metrics.accuracy for row in rows]
    charts = [_accuracy_bars(comparison)]
    for name, title, key, draw in (
        ("accuracy_parameters", "Accuracy against trainable parameters", "trainable_parameters",
         plots.accuracy_against_parameters),
        ("accuracy_seconds", "Accuracy against training time", "training_seconds",
         plots.accuracy_against_seconds),
    ):  # fmt: skip
        known = [
            i
            for i, row in enumerate(rows)
            if row.facts.get(key)
            and (key != "training_seconds" or row.facts.get("time_compared", True))
        ]
        if len(known) > 1:
            amounts = [float(rows[i].facts[key]) for i in known]
            figure = draw([names[i] for i in known], amounts, [accuracies[i] for i in known], part)
            reading = _cost_reading(comparison, known, key)
            charts.append(_figure(name, title, figure, reading))
    histories = {name: runs[name].history() for name in names}
    histories = {name: rows for name, rows in histories.items() if len(rows) > 1}
    curves = []
    for quantity, title in (
        ("validation_accuracy", "Validation accuracy"),
        ("validation_loss", "Validation loss"),
        ("accuracy", "Train accuracy"),
    ):
        shown = {
            name: rows
            for name, rows in histories.items()
            if any(row.get(quantity) is not None for row in rows)
        }
        if shown:
            drawn = plots.overlay_curves(shown, quantity)
            curves.append(_figure(quantity, title, drawn, _curve_reading(shown, quantity)))
    return charts, curves


def _accuracy_bars(comparison: PairedComparison) -> Figure:
    rows, part = comparison.rows, comparison.part
    train = [row.train_accuracy or undefined("not predicted") for row in rows]
    parts = {part: [row.metrics.accuracy for row in rows]}
    if any(number.known for number in train):
        parts = {"train": train, **parts}
    gaps = {row.name: row.gap for row in rows if row.gap is not None}
    reading = f"The accuracy of each run on the same {comparison.images:,} {part} images."
    if gaps:
        reading = _gap_reading(gaps, part)
    figure = plots.compare_accuracy_bars(comparison.names, parts)
    return _figure("accuracy", f"Accuracy on {' and '.join(parts)}", figure, reading)


def _gap_reading(gaps: Mapping[str, float], part: str) -> str:
    """Whose gap is the widest; of runs that are written alike all are."""
    told = {name: f"{100 * gap:.1f}" for name, gap in gaps.items()}
    widest = told[max(gaps, key=lambda name: gaps[name])]
    named = [name for name, gap in told.items() if gap == widest]
    between = f"The gap between train and {part}"
    if len(named) == len(told) > 1:
        return f"{between} is {widest} points for {'both' if len(told) == 2 else 'all'} runs."
    return f"{between} is widest for {listed(named, len(named), 'and')}: {widest} points."


def _figure(name: str, title: str, figure: Any, reading: str) -> Figure:
    svg = plots.to_svg(figure, name, reading)
    return Figure(
        name=name, title=title, image=svg, png=plots.to_png(figure), reading=reading, alt=reading
    )


def _cost_reading(comparison: PairedComparison, known: Sequence[int], key: str) -> str:
    """The run that ranks first beside the cheapest of those that are not clearly worse."""
    less, what = (
        ("fewer", "trained parameters")
        if key == "trainable_parameters"
        else ("less", "training time")
    )
    standing = comparison.standing
    names = {standing.leader, *standing.level, *standing.better}
    rows = [comparison.rows[i] for i in known]
    candidates = [row for row in rows if row.name in names]
    leader = next((row for row in rows if row.name == standing.leader), None)
    reading = f"Up is more accurate, left is {less} {what}."
    if len(rows) < len(comparison.rows):
        reading += " Runs whose value is not known, or not comparable, are left out."
    if leader is None or len(candidates) < 2:
        return reading
    cheapest = min(candidates, key=lambda row: float(row.facts[key]))
    if cheapest is leader:
        return f"{reading} None of the runs that may be as good as {leader.name} needs {less}."
    factor = float(leader.facts[key]) / float(cheapest.facts[key])
    return f"{reading} {cheapest.name} may be as good as {leader.name} for {_times(factor)} {less}."


def _times(factor: float) -> str:
    return f"{factor:.0f} times" if factor >= 2 else percent(1 - 1 / factor, 0)


def _curve_reading(histories: Mapping[str, Sequence[Mapping[str, float]]], quantity: str) -> str:
    losses = "loss" in quantity
    best: dict[str, tuple[int, float]] = {}
    for name, rows in histories.items():
        values = [row.get(quantity, np.nan) for row in rows]
        at = int(np.nanargmin(values) if losses else np.nanargmax(values))
        best[name] = at + 1, float(values[at])

    def order(name: str) -> float:
        return best[name][1] if losses else -best[name][1]

    first = min(best, key=order)
    value = f"{best[first][1]:.3f}" if losses else percent(best[first][1])
    word = "lowest" if losses else "highest"
    return (
        f"{first} reaches the {word} value, {value}, at epoch {best[first][0]} of "
        f"{len(histories[first])}."
    )


def _headline(comparison: PairedComparison) -> Headline | None:
    """The accuracy of the winner in giant type; none where there is no clear winner."""
    if not comparison.standing.winner:
        return None
    best, *others = comparison.rows
    return Headline(
        label=f"Most accurate: {best.name}",
        number=best.metrics.accuracy,
        sentence=" ".join(comparison.leading),
        references=[Reference(row.name, row.metrics.accuracy.measured()[0]) for row in others[:4]],
    )


def _key_numbers(comparison: PairedComparison) -> list[KeyNumber]:
    """The accuracies beside each other where none stands out."""
    if comparison.standing.winner:
        return []
    return [
        KeyNumber(row.name, row.metrics.accuracy, "share", f"on {comparison.part}")
        for row in comparison.rows[:KEYS]
    ]


def _callouts(comparison: PairedComparison, lessons: Sequence[str]) -> list[Callout]:
    found = [Callout("note", lesson) for lesson in lessons]
    overfit: list[str] = []
    for row in comparison.rows:
        metrics, train, gap = row.metrics, row.train_accuracy, row.gap
        _, low, high = metrics.accuracy.measured()
        share = metrics.majority_share or 0.0
        if low <= share:
            found.append(
                Callout(
                    "warning",
                    f"{row.name} has learned nothing that helps: always answering "
                    f"'{metrics.majority_class}' would be right on {percent(share)}. "
                    "More epochs or more images may.",
                )
            )
        if train is not None and gap is not None and gap > 0.1 and train.measured()[1] > high:
            overfit.append(
                f"{row.name} ({train.percent()} on train and {metrics.accuracy.percent()} on "
                f"{comparison.part}, a gap of {100 * gap:.1f} points)"
            )
    if overfit:
        told = listed(overfit, len(overfit), "and")
        found.append(Callout("warning", f"{told} overfit{'s' if len(overfit) == 1 else ''}."))
    wrong = len(comparison.all_wrong)
    if wrong:
        found.append(
            Callout(
                "note",
                f"{capital(some_of(wrong, comparison.images, 'image'))} {are(wrong)} wrong in "
                "every run: look whether "
                f"{'its label is' if wrong == 1 else 'their labels are'} right.",
            )
        )
    if any(comparison.left_out.values()):
        found.append(Callout("warning", comparison.sentences[-1]))
    return found


def _differences(comparison: PairedComparison) -> list[Callout]:
    """The pairs that say most, as many as there is room for; the table has them all."""
    return [
        Callout(
            "good" if pair.real else "note",
            pair_sentence(pair, comparison.images, len(comparison.pairs)),
        )
        for pair in telling_pairs(comparison.rows, comparison.pairs)[:SENTENCES]
    ]


def _tests(comparison: PairedComparison) -> Table:
    return Table(
        title="Every two runs",
        columns=(
            Column("First and second"),
            Column("Difference", "share", "accuracy of the first minus that of the second, "
                   "with its interval, corrected as p is: without 0 where it is real"),
            Column("Only first", "count", "images that only the first gets right"),
            Column("Only second", "count", "images that only the second gets right"),
            Column("Both wrong", "count"),
            Column("p", help=comparison.pairs[0].test),
            Column("p, corrected", help="Holm's correction for all pairs of this table"),
            Column("Real", help="more than chance"),
        ),
        rows=[_test_row(pair) for pair in comparison.pairs],
        reading="A corrected p below 0.05 means that chance alone would hardly make the "
        "difference.",
    )  # fmt: skip


def _test_row(pair: Pair) -> tuple[Any, ...]:
    return (
        f"{pair.first} and {pair.second}",
        pair.difference,
        pair.only_first_right, pair.only_second_right, pair.both_wrong,
        _p(pair.p_value), _p(pair.p_corrected), "yes" if pair.real else "no",
    )  # fmt: skip


def _p(value: float) -> str:
    return "< 0.0001" if value < 0.0001 else f"{value:.4f}"


def _galleries(
    comparison: PairedComparison, runs: Mapping[str, Run], predictions: Mapping[str, Predictions]
) -> list[Gallery]:
    """What one run alone gets right, and what none does."""
    file = f"predictions/{comparison.part}.csv of each run"
    galleries = []
    for number, name in enumerate(comparison.names, start=1):
        paths = comparison.only_right[name]
        if not paths:
            continue
        galleries.append(
            Gallery(
                name=f"only-{number}",
                title=f"Only {name} gets these right",
                pictures=_pictures(paths, name, comparison.names, runs, predictions, ALONE),
                reading="Its own answer, and below it what the others said; the surest first.",
                total=len(paths),
                rest=f"all answers are in {file}",
            )
        )
    galleries.append(
        Gallery(
            name="nobody",
            title="No run gets these right",
            pictures=_pictures(
                comparison.all_wrong,
                comparison.names[0],
                comparison.names,
                runs,
                predictions,
                NOBODY,
            ),
            reading="Hard images or wrong labels; the most confident mistakes first.",
            total=len(comparison.all_wrong),
            rest=f"all answers are in {file}",
            empty="There are none: every image is classified right by at least one run.",
        )
    )
    return galleries


def _pictures(
    paths: Sequence[str],
    name: str,
    names: Sequence[str],
    runs: Mapping[str, Run],
    predictions: Mapping[str, Predictions],
    most: int,
) -> list[Picture]:
    """Pictures of some images with the answer of one run and, as caption, those of others."""
    own = predictions[name]
    place = {path: row for row, path in enumerate(own.paths)}
    rows = np.array([place[path] for path in paths], dtype=np.int64)
    rows = rows[np.argsort(-own.confidence[rows], kind="stable")][:most]
    root = Path(runs[name].info.data.root)
    others = {
        other: (predictions[other], {path: i for i, path in enumerate(predictions[other].paths)})
        for other in names
        if other != name
    }
    pictures = []
    for picture in pictures_of(own, rows, lambda path: root / path):
        answers = []
        for other, (said, at) in list(others.items())[:4]:
            row = at[picture.path]
            answer = said.classes[said.predicted[row]]
            answers.append(f"{other}: {answer} {percent(said.confidence[row], 0)}")
        more = f"; and {len(others) - 4} more" if len(others) > 4 else ""
        pictures.append(replace(picture, caption="; ".join(answers) + more))
    return pictures


def _facts(comparison: PairedComparison, runs: Mapping[str, Run]) -> list[Facts]:
    return [
        Facts(
            name,
            [
                ("Folder", str(run.path)),
                ("Recipe", run.recipe.name),
                ("Made", run.info.created),
                ("Seed", str(run.info.seed)),
                ("Decision", run.policy.rule or "the likeliest class"),
                ("Images", str(run.source.folder)),
                ("Machine", run.info.machine.device_name),
            ],
            private=("Machine",),
        )
        for name, run in ((name, runs[name]) for name in comparison.names)
    ]
