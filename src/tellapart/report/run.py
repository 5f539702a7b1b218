"""The page of one run."""

from __future__ import annotations

from dataclasses import replace

from tellapart.report.content import RunReport
from tellapart.report.page import limit_findings, limit_galleries, render_page


def render_run_report(content: RunReport) -> str:
    """The whole page as HTML: one file that opens with no network."""
    samples = (content.samples,) if content.samples is not None else ()
    kept = limit_galleries((*samples, *content.galleries))
    content = replace(
        content,
        samples=kept[0] if samples else None,
        galleries=kept[len(samples) :],
        findings=limit_findings(content.findings),
    )
    return render_page("run.html.j2", report=content)
