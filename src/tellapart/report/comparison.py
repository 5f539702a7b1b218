"""The page that holds several runs against each other."""

from __future__ import annotations

from dataclasses import replace

from tellapart.report.content import ComparisonReport
from tellapart.report.page import limit_findings, limit_galleries, render_page


def render_comparison_report(content: ComparisonReport) -> str:
    """The whole page as HTML: one file that opens with no network."""
    content = replace(
        content,
        galleries=limit_galleries(content.galleries),
        findings=limit_findings(content.findings),
        differences=limit_findings(content.differences),
    )
    return render_page("comparison.html.j2", report=content)
