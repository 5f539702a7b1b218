"""What the page of the service tells of a model: how far to trust it, what it is, licences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tellapart.errors import TellapartError
from tellapart.evaluation.metric_table import metrics_from_json
from tellapart.number import MISSING
from tellapart.pixels.preprocessing import Preprocessing
from tellapart.prediction.answers import RowForm
from tellapart.prediction.predictor import Predictor
from tellapart.report.content import Facts, Headline
from tellapart.report.numbers import day
from tellapart.report.of_evaluation import headline_of
from tellapart.report.of_run import weights_of
from tellapart.report.page import render_template
from tellapart.run import Run
from tellapart.verdict.of_run import evidence_of
from tellapart.verdict.reach import reach_verdict
from tellapart.verdict.verdict import Verdict
from tellapart.wording import listed, plural, shown

#: Classes whose training images are counted on the page.
_MOST_CLASSES = 30
_OF_EXPORT = "This is an export; its numbers and licences are in its README.md."


@dataclass(frozen=True)
class ModelCard:
    """What the template ``service_model.html.j2`` shows of one model.

    Attributes:
        headline: accuracy with its interval; None where nothing is known.
        without_number: why nothing is known.
        rules: by which answers are made, a sentence each; none: the likeliest class.
        weights: a name, and what is known of it, for each of those it builds on.
        licences: a sentence about all of them.
    """

    name: str
    rules: Sequence[str]
    headline: Headline | None = None
    without_number: str = ""
    verdict: Verdict | None = None
    facts: Sequence[Facts] = ()
    weights: Sequence[tuple[str, str]] = ()
    licences: str = ""


def card_of(name: str, predictor: Predictor, run: Run | None) -> ModelCard:
    """What is known of a model; of an export only what it carries.

    Raises:
        RunError: a file of the run is missing or damaged.
    """
    rules = predictor.policy.rules
    if run is None:
        facts = Facts("What it is", [("Classes", listed(predictor.classes, _MOST_CLASSES))])
        return ModelCard(name, rules, without_number=_OF_EXPORT, facts=[facts], licences=_OF_EXPORT)
    stored = metrics_from_json(run.metrics)
    part = next((part for part in ("test", "validation") if part in stored), None)
    evidence = evidence_of(run, stored)
    weights = weights_of(run)
    return ModelCard(
        name=name,
        rules=rules,
        headline=headline_of(stored[part], part) if part is not None else None,
        without_number="No image was held out, so nothing says how often it is right.",
        verdict=reach_verdict(evidence) if evidence is not None else None,
        facts=_facts(run, predictor),
        weights=[
            (str(row[0]), f"{row[1]}; learned from {row[2] or MISSING}; taken from {row[3]}")
            for row in weights.rows
        ],
        licences=weights.reading if weights.rows else weights.empty,
    )


def _facts(run: Run, predictor: Predictor) -> list[Facts]:
    info = run.info
    counts = info.data.counts.get("train", {})
    total = sum(counts.values())
    preprocessing: Preprocessing = predictor.preprocessing
    what = Facts(
        "What it is",
        [
            ("Trained on", f"{plural(total, 'image')} of {run.source.display_name}"),
            ("Made", day(info.created)),
            ("Recipe", f"{run.recipe.name}: {run.recipe.title}"),
            ("Sees pictures at", f"{preprocessing.height} x {preprocessing.width} pixels"),
            ("Program", f"tellapart {info.tellapart}"),
        ],
    )
    named = list(counts.items())[:_MOST_CLASSES]
    learned = [(class_name, f"{number:,}") for class_name, number in named]
    if len(counts) > len(named):
        rest = total - sum(number for _, number in named)
        learned.append((f"{len(counts) - len(named):,} more classes", f"{rest:,}"))
    return [what, Facts("Training images of each class", learned)]


def page_of(name: str, predictor: Predictor, run: Run | None) -> dict[str, Any]:
    """What the page needs of a model beside ``/v1/models``: two pieces of HTML, and how a table
    of its answers is called and filled.

    A card that cannot be made says so; the model answers all the same.
    """
    try:
        card = card_of(name, predictor, run)
    except TellapartError as error:
        reason = f"How good it is cannot be said: {shown(str(error))}"
        card = ModelCard(name, predictor.policy.rules, without_number=reason, licences=reason)
    form = RowForm(predictor.classes, predictor.policy, predictor.detector is not None, name)
    return {
        "name": name,
        "title": _title(predictor.classes, run),
        "subtitle": f"Recipe {run.recipe.name}: {run.recipe.title}" if run is not None else "",
        "columns": list(form.columns),
        "rule": predictor.policy.rule,
        "fit": predictor.preprocessing.fit,
        "trust": render_template("service_model.html.j2", model=card, part="trust"),
        "about": render_template("service_model.html.j2", model=card, part="about"),
    }


def _title(classes: Sequence[str], run: Run | None) -> str:
    """As the report of the run is called."""
    named = listed(classes, last="or")
    which = named if len(classes) <= 4 and len(named) <= 40 else f"{len(classes)} classes"
    return f"{shown(run.source.display_name)}: {which}" if run is not None else which
