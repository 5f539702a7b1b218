"""What the page tells of a model: the numbers of its run, its light, its licences, all escaped."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "verbs"))

from trained import quick_run

from tellapart.evaluation.decision import Decision
from tellapart.evaluation.policy import Policy
from tellapart.prediction.answers import RowForm
from tellapart.prediction.predictor import Predictor
from tellapart.report.numbers import format_value
from tellapart.run import Run
from tellapart.service.card import card_of, page_of

NAME = "<b>pets & 'co'</b>"


@pytest.fixture(scope="module")
def run(image_folder: Callable[..., Path]) -> Run:
    folder = image_folder(per_class=20)
    return quick_run(folder, folder.parent / "run", epochs=1)


@pytest.fixture(scope="module")
def predictor(run: Run) -> Predictor:
    return run.predictor("cpu")


def test_the_number_is_that_of_the_run_and_has_the_light_of_its_report(
    run: Run, predictor: Predictor
) -> None:
    card = card_of("pets", predictor, run)
    assert card.headline is not None and card.verdict is not None
    assert card.headline.number == run.accuracy("test")
    assert card.verdict.answer and card.verdict.light in ("green", "yellow", "red")
    trust = page_of("pets", predictor, run)["trust"]
    assert format_value(run.accuracy("test").value, "share") in trust
    assert "95 % interval" in trust
    light = f'class="trust-card {card.verdict.light}"'
    assert (
        light in trust
        and f'<section id="verdict" aria-labelledby="verdict-title" class="{card.verdict.light}">'
        in run.report.read_text("utf-8")
    )


def test_it_says_what_it_learned_from_and_by_which_rule_it_answers(
    run: Run, predictor: Predictor
) -> None:
    ruled = replace(predictor, policy=Policy(Decision("red", 0.3)))
    told = page_of("pets", ruled, run)
    assert "from a probability of 0.3 on" in told["about"]
    assert told["columns"] == list(RowForm(run.classes, ruled.policy, model="pets").columns)
    assert told["rule"] == ruled.policy.rule
    assert "likeliest class of every picture" in page_of("pets", predictor, run)["about"]
    counts = run.info.data.counts["train"]
    assert f"{sum(counts.values())} images" in told["about"]
    assert "Weights and licences" in told["about"] and "random weights" in told["about"]


def test_names_are_escaped(run: Run, predictor: Predictor) -> None:
    told = page_of(NAME, predictor, run)
    for html in (told["trust"], told["about"]):
        assert "<b>" not in html and "&lt;b&gt;pets &amp;" in html


def test_an_export_says_that_its_numbers_are_elsewhere(predictor: Predictor) -> None:
    told = page_of("pets", predictor, None)
    assert "README.md" in told["trust"] and "%" not in told["trust"]


def test_a_run_whose_numbers_are_damaged_answers_all_the_same(
    run: Run, predictor: Predictor
) -> None:
    file = run.path / "metrics.json"
    content = file.read_bytes()
    try:
        file.write_text("{")
        told = page_of("pets", predictor, Run(run.path))
    finally:
        file.write_bytes(content)
    assert "cannot be said" in told["trust"] and told["title"]
