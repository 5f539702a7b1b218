"""From the content of a report to its page: one HTML file that opens with no network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tellapart.report.content import (
    ComparisonReport,
    DataReport,
    DriftReport,
    ExplanationReport,
    RunReport,
    TuningReport,
)
from tellapart.report.page import limit_callouts, limit_galleries, render_page

#: Explanations after these are left out of a page, and counted.
MAXIMUM_EXPLANATIONS = 60

Report = RunReport | ComparisonReport | DataReport | DriftReport | ExplanationReport | TuningReport

#: The template of each kind of report.
TEMPLATES: Mapping[type[Report], str] = {
    RunReport: "run.html.j2",
    ComparisonReport: "comparison.html.j2",
    DataReport: "data.html.j2",
    DriftReport: "drift.html.j2",
    ExplanationReport: "explanation.html.j2",
    TuningReport: "tuning.html.j2",
}


def render_report(content: Report) -> str:
    """The whole page as HTML; galleries, callouts and explanations beyond its limits left out."""
    changes: dict[str, Any] = {"callouts": limit_callouts(content.callouts)}
    more: dict[str, Any] = {}
    if isinstance(content, RunReport | DataReport):
        samples = (content.samples,) if content.samples is not None else ()
        kept = limit_galleries((*samples, *content.galleries))
        changes["samples"] = kept[0] if samples else None
        changes["galleries"] = kept[len(samples) :]
    elif isinstance(content, DriftReport):
        changes["galleries"] = limit_galleries(content.galleries)
    elif isinstance(content, ComparisonReport):
        changes["galleries"] = limit_galleries(content.galleries)
        changes["differences"] = limit_callouts(content.differences)
    elif isinstance(content, ExplanationReport):
        changes["explanations"] = tuple(content.explanations[:MAXIMUM_EXPLANATIONS])
        more["left_out"] = max(0, len(content.explanations) - MAXIMUM_EXPLANATIONS)
    return render_page(TEMPLATES[type(content)], report=replace(content, **changes), **more)
