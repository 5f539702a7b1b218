"""Every metric has a row that says how to show it, and what a row names is shown."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tellapart.comparison.paired import columns, compare_predictions
from tellapart.evaluation import metric_table
from tellapart.evaluation.metric_table import CLASS_METRICS, METRICS, Metric, Metrics
from tellapart.evaluation.metrics import evaluate_predictions
from tellapart.number import Number
from tellapart.report.of_comparison import comparison_table
from tellapart.report.of_evaluation import numbers_of


def paths_of_numbers(content: object, path: str = "") -> Iterator[str]:
    """Where numbers stand in an entry of metrics.json, by its text alone."""
    if isinstance(content, dict):
        if {"value", "low", "high", "method"} <= set(content):
            yield path.lstrip(".")
        else:
            for key, value in content.items():
                yield from paths_of_numbers(value, f"{path}.{key}")


def test_every_number_has_a_row_and_every_row_a_number(made) -> None:
    content = evaluate_predictions(made(200, 6)).to_json()
    of_classes = content.pop("per_class")
    assert set(paths_of_numbers(content)) | {"mean_confidence"} == {row.path for row in METRICS}
    for row in of_classes.values():
        assert set(paths_of_numbers(row)) == {metric.path for metric in CLASS_METRICS}
    assert len({row.key for row in METRICS}) == len(METRICS)


def test_a_row_reads_what_stands_in_the_file(made) -> None:
    metrics = evaluate_predictions(made(200, 6))
    content = metrics.to_json()
    for row in METRICS:
        stored = content
        for name in row.path.split("."):
            stored = stored[name]
        found = row.of(metrics)
        assert (found.to_json() if isinstance(found, Number) else found) == stored, row.path


def test_metrics_without_interval_or_without_meaning_can_be_shown_too(
    made, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = ("report", "comparison", "terminal", "csv")
    rows = tuple(replace(row, shown=places) for row in METRICS)
    monkeypatch.setattr(metric_table, "METRICS", rows)
    metrics = evaluate_predictions(made(80))  # two classes have no top 5
    shown = {key.label: key.number for key in numbers_of(metrics)}
    assert shown["Mean confidence"] == Number(metrics.mean_confidence)
    assert "Top 5" not in shown
    flat = compare_predictions({"a": made(80), "b": made(80)}).table()[0]
    assert flat["mean_confidence"] == metrics.mean_confidence and flat["top_5"] is None


@pytest.mark.parametrize("classes", [2, 6])
def test_stored_metrics_are_read_back(made, classes: int) -> None:
    metrics = evaluate_predictions(made(60, classes))
    text = json.dumps(metrics.to_json(), allow_nan=False)
    assert Metrics.from_json(json.loads(text)) == metrics
    assert list(json.loads(text))[:5] == ["part", "images", "unlabelled", "classes", "accuracy"]
    assert ("top_5" in json.loads(text)) == (classes > 5)


def test_a_run_that_lacks_a_newer_metric_can_be_read(made) -> None:
    content = evaluate_predictions(made(60)).to_json()
    del content["brier"]
    brier = Metrics.from_json(content).brier
    assert brier.value is None and brier.reason == "not measured when this was written"


def test_one_row_shows_a_metric_everywhere(made, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weighted F1 is shown nowhere; a row that names the places is all that it takes."""
    row = Metric(
        "weighted.f1", "F1 of many", "share", "classes count by their images", "high",
        ("report", "comparison", "terminal", "csv"), "many",
    )  # fmt: skip
    others = tuple(other for other in METRICS if other.path != row.path)
    monkeypatch.setattr(metric_table, "METRICS", (*others, row))
    first, second = made(80), made(80, separation=3.0)
    second = replace(second, paths=first.paths, labels=first.labels)
    result = compare_predictions({"a": first, "b": second})
    value = result.rows[0].metrics.weighted.f1
    assert [key.number for key in numbers_of(result.rows[0].metrics)][-1] == value
    table = comparison_table(result)
    place = [column.title for column in table.columns].index("F1 of many")
    assert table.columns[place].best == "high" and table.rows[0][place] == value
    assert result.table()[0]["weighted_f1_low"] == value.low
    assert "many" in [column.short for column in columns("test", "terminal")]
