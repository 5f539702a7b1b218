"""The part of a run's report that says how its classifier was chosen."""

from __future__ import annotations

from pathlib import Path

from tellapart.evaluation.metric_table import Metrics
from tellapart.evaluation.plots.candidates import candidates_over_time
from tellapart.evaluation.plots.style import save_figure
from tellapart.number import MISSING, Number
from tellapart.report.content import Column, Figure, Search, Table
from tellapart.run import Run
from tellapart.search.record import SearchRecord, Trial, read_record
from tellapart.verdict.commands import train_again
from tellapart.verdict.of_run import origin_of
from tellapart.verdict.words import difference
from tellapart.wording import duration, percent, plural


def search_of(run: Run, metrics: dict[str, Metrics], figures: Path) -> Search | None:
    """What the report says of the search; None where the run was made without one.

    Args:
        metrics: of the parts that were scored.
        figures: the folder that the figure is saved in, too.

    Raises:
        RunError: the record of the search is damaged.
    """
    record = read_record(run.path)
    if record is None:
        return None
    best = record.best
    command = train_again(origin_of(run), recipe=str(run.home / best.recipe))
    return Search(
        sentences=_sentences(run, record, metrics),
        table=_table(record),
        figure=_figure(record, figures),
        command=command,
    )


def _sentences(run: Run, record: SearchRecord, metrics: dict[str, Metrics]) -> list[str]:
    best = record.best
    with_result = [trial for trial in record.trials if trial.status == "done"]
    chosen = (
        f"Candidate {best.number}, {best.description}, is the best of "
        f"{plural(len(with_result), 'candidate')} on {record.judges}: "
        "by log loss, image by image. The first answer gives way only to what is better by "
        "more than a standard error, and what answers in a quarter of the time may be worse than "
        "the best by less than one."
    )
    sentences = [chosen if len(with_result) > 1 else
                 f"Candidate 1, {best.description}, is the first answer; no other candidate came "
                 "to a result."]  # fmt: skip
    if record.ended:
        sentences.append(f"The search ended after {duration(record.seconds_used)}. {record.ended}")
    if record.more:
        sentences.append(record.more)
    both = [metrics.get(part) for part in ("validation", "test")]
    if both[0] is not None and both[1] is not None and both[0].images and both[1].images:
        gap = difference(both[0].accuracy, both[1].accuracy)
        sentences.append(
            f"Its validation accuracy minus its test accuracy is {_points(gap)}. Being the best of "
            "several makes a validation score a little too good; the test score is not touched by "
            "it."
        )
    times = run.info.test_evaluations
    sentences.append(
        "The test part was not read: the search had not ended." if "test" not in metrics and times
        else "No candidate was chosen by the test part: it was read "
        + ("once." if times <= 1 else
           "for the first answer and for the one that was chosen at the end "
           f"({times} times in all).")
    )  # fmt: skip
    return sentences


def _points(gap: Number) -> str:
    if not gap.known or gap.value is None:
        return gap.reason or MISSING
    text = f"{100 * gap.value:+.1f} points"
    if gap.low is None or gap.high is None:
        return text
    return f"{text} (95 %: {100 * gap.low:+.1f} to {100 * gap.high:+.1f})"


def _table(record: SearchRecord) -> Table:
    accuracy = "Cross-validated accuracy" if record.by_folds else "Validation accuracy"
    return Table(
        "Every candidate",
        [Column("Number", "count"), Column("Candidate"), Column("Seconds"),
         Column(accuracy), Column("Log loss"), Column("What became of it"),
         Column("Why it was tried")],
        [_row(trial, record) for trial in record.trials],
        reading="In the order in which they were tried. candidates/NN.yaml is the recipe of each: "
        "'tellapart train FOLDER --recipe RUN/candidates/NN.yaml' repeats it.",
    )  # fmt: skip


def _row(trial: Trial, record: SearchRecord) -> tuple[str | int | float | None, ...]:
    number = trial.number_of_accuracy
    became = (
        "chosen" if trial is record.best else "best so far, until another was taken"
        if trial.became_best else trial.error or
        ("not better" if trial.status == "done" else trial.status)
    )  # fmt: skip
    return (
        trial.number, trial.description, f"{trial.seconds:.1f}",
        number.with_limits(1) if number is not None and number.known else MISSING,
        f"{trial.log_loss:.4f}" if trial.log_loss is not None else MISSING, became, trial.why,
    )  # fmt: skip


def _figure(record: SearchRecord, folder: Path) -> Figure | None:
    shown = [
        (trial, number) for trial in record.trials
        if (number := trial.number_of_accuracy) is not None and number.low is not None
    ]  # fmt: skip
    if not shown or not shown[0][0].became_best:
        return None
    trials = [trial for trial, _ in shown]
    figure = candidates_over_time(
        [trial.ended / 60 for trial in trials], [number for _, number in shown],
        [trial.became_best for trial in trials], [trial.number for trial in trials],
    )  # fmt: skip
    first, best = shown[0][1], record.best.number_of_accuracy
    value = percent(best.measured()[0]) if best is not None else MISSING
    reading = (
        f"{plural(len(shown), 'candidate')}; the best so far went from "
        f"{percent(first.measured()[0])} to {value} "
        + ("in cross-validation." if record.by_folds else "on validation.")
    )
    svg, _ = save_figure(figure, folder, "candidates", reading)
    return Figure("candidates", "Accuracy against time", svg.read_text("utf-8"), reading)
