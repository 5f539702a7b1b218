"""How results show themselves in a notebook: a headline, a small table, a figure."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any


def card(
    title: str,
    *,
    headline: str = "",
    sentences: Sequence[str] = (),
    table: Sequence[Sequence[Any]] = (),
    figure: str = "",
    text: str = "",
    link: Path | None = None,
) -> str:
    """A piece of HTML for a notebook; every text is escaped.

    Args:
        title: what it is about.
        headline: the one sentence with the number that matters.
        sentences: what else to say.
        table: rows of cells; the first row is the heading.
        figure: an SVG.
        text: what is shown as it stands, line by line.
        link: the full report.
    """
    parts = [f"<p style='margin:0'><b>{escape(title)}</b></p>"]
    if headline:
        parts.append(f"<p style='font-size:1.25em;margin:.3em 0'>{escape(headline)}</p>")
    parts += [f"<p style='margin:.2em 0'>{escape(sentence)}</p>" for sentence in sentences]
    if table:
        head, *rows = table
        cells = "".join(f"<th style='text-align:left'>{escape(str(cell))}</th>" for cell in head)
        body = "".join(
            "<tr>"
            + "".join(f"<td style='text-align:left'>{escape(str(c))}</td>" for c in row)
            + "</tr>"
            for row in rows
        )
        parts.append(f"<table><thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table>")
    if text:
        look = "margin:.3em 0;white-space:pre-wrap;max-height:24em;overflow:auto"
        parts.append(f"<pre style='{look}'>{escape(text)}</pre>")
    if figure:
        # In an <img> an SVG runs nothing and keeps its ids to itself.
        data = b64encode(figure.encode()).decode()
        parts.append(
            f"<img alt='{escape(title, quote=True)}' "
            "style='max-width:min(640px,100%);background:#fff' "
            f"src='data:image/svg+xml;base64,{data}'>"
        )
    if link is not None:
        parts.append(f"<p style='margin:.3em 0'>Report: <code>{escape(str(link))}</code></p>")
    return "<div>" + "".join(parts) + "</div>"


def pictures(shown: Sequence[tuple[bytes, str, str]]) -> str:
    """Pictures beside each other, each (encoded bytes, caption, title); captions are escaped."""
    if not shown:
        return ""
    figures = "".join(
        "<figure style='margin:4px;display:inline-block;text-align:center;max-width:170px'>"
        f"<img alt='' title='{escape(title, quote=True)}' style='max-width:160px' "
        f"src='data:{_kind(data)};base64,{b64encode(data).decode()}'>"
        f"<figcaption style='font-size:.85em'>{escape(caption)}</figcaption></figure>"
        for data, caption, title in shown
    )
    return f"<div>{figures}</div>"


def _kind(data: bytes) -> str:
    return "image/png" if data.startswith(b"\x89PNG") else "image/webp"
