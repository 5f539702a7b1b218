"""The page of a folder of images: what is in there, and what is wrong with it."""

from __future__ import annotations

from dataclasses import replace

from tellapart.report.content import DataReport
from tellapart.report.page import limit_findings, limit_galleries, render_page


def render_data_report(content: DataReport) -> str:
    """The whole page as HTML: one file that opens with no network."""
    samples = (content.samples,) if content.samples is not None else ()
    kept = limit_galleries((*samples, *content.galleries))
    content = replace(
        content,
        samples=kept[0] if samples else None,
        galleries=kept[len(samples) :],
        findings=limit_findings(content.findings),
    )
    return render_page("data.html.j2", report=content)
