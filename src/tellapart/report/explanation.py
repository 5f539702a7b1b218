"""The page that shows why a classifier says what it says."""

from __future__ import annotations

from dataclasses import replace

from tellapart.report.content import ExplanationReport
from tellapart.report.page import limit_findings, render_page

MAXIMUM_EXPLANATIONS = 60


def render_explanation_report(content: ExplanationReport) -> str:
    """The whole page as HTML: one file that opens with no network.

    Explanations after the first :data:`MAXIMUM_EXPLANATIONS` are left out and counted.
    """
    left_out = len(content.explanations) - MAXIMUM_EXPLANATIONS
    content = replace(
        content,
        explanations=tuple(content.explanations[:MAXIMUM_EXPLANATIONS]),
        findings=limit_findings(content.findings),
    )
    return render_page("explanation.html.j2", report=content, left_out=max(0, left_out))
