"""Small drawings that stand beside numbers: an interval on a scale, a heat step.

They are SVG with presentation attributes and classes only, so that they follow the page's
colours in light and dark and print in grey.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup, escape

from tellapart.number import Number
from tellapart.report.content import Headline
from tellapart.report.numbers import format_value

HEAT_STEPS = 8


def interval_bar(number: Number, low: float = 0.0, high: float = 1.0) -> Markup:
    """A dot with a whisker on a scale from ``low`` to ``high``; empty without an interval.

    Hidden from screen readers: the same numbers always stand beside it as text.
    """
    if number.value is None or number.low is None or number.high is None or high <= low:
        return Markup("")

    def place(value: float) -> float:
        return round(2 + 76 * (min(max(value, low), high) - low) / (high - low), 1)

    start, end, dot = place(number.low), place(number.high), place(number.value)
    return Markup(
        '<svg class="whisker" viewBox="0 0 80 10" width="80" height="10" aria-hidden="true">'
        '<path class="rail" d="M2 5h76"/>'
        f'<path class="span" d="M{start} 5H{end}"/>'
        f'<circle class="dot" cx="{dot}" cy="5" r="3"/></svg>'
    )


def column_scale(numbers: Sequence[Number]) -> tuple[float, float]:
    """The range that the whiskers of one column share: their own, a little widened."""
    bounds = [
        bound
        for number in numbers
        for bound in (number.value, number.low, number.high)
        if bound is not None and math.isfinite(bound)
    ]
    if not bounds:
        return 0.0, 1.0
    low, high = min(bounds), max(bounds)
    margin = 0.05 * (high - low) or 0.05
    return low - margin, high + margin


def headline_scale(headline: Headline) -> Markup:
    """The headline number on a scale with its interval and what to hold it against.

    The scale ends at 1 and begins at a round tenth below everything that is shown on it.
    """
    number = headline.number
    if number.value is None or headline.kind not in ("share", "score"):
        return Markup("")
    shown = [number.value, *(reference.value for reference in headline.references)]
    if number.low is not None:
        shown.append(number.low)
    start = max(0.0, math.floor(min(shown) * 10 - 0.5) / 10)

    def place(value: float) -> float:
        return round(24 + 312 * (min(max(value, start), 1.0) - start) / (1 - start), 1)

    rail = 16 + 16 * len(headline.references)
    parts = [f'<path class="rail" d="M24 {rail}H336"/>']
    every = 1 if start >= 0.4 else 2
    for tenth in range(10, round(start * 10) - 1, -every):
        x, text = place(tenth / 10), format_value(tenth / 10, headline.kind, decimals=0)
        parts.append(f'<path class="tick" d="M{x} {rail + 4}v4"/>')
        parts.append(
            f'<text class="tick-label" x="{x}" y="{rail + 19}" text-anchor="middle">{text}</text>'
        )
    # From left to right and downwards, so that no line crosses a label that starts at it.
    for row, reference in enumerate(sorted(headline.references, key=lambda item: item.value)):
        x, y = place(reference.value), 12 + 16 * row
        label = f"{_shorten(reference.label)} {format_value(reference.value, headline.kind)}"
        anchor, shift = ("end", -5) if x + 6.5 * len(label) > 350 else ("start", 5)
        parts.append(f'<path class="reference" d="M{x} {y - 8}V{rail + 5}"/>')
        parts.append(
            f'<text class="reference-label" x="{x + shift}" y="{y}" text-anchor="{anchor}">'
            f"{escape(label)}</text>"
        )
    if number.low is not None and number.high is not None:
        left, right = place(number.low), place(number.high)
        width = round(max(right - left, 2), 1)
        parts.append(
            f'<rect class="span" x="{left}" y="{rail - 7}" width="{width}" height="14" rx="2"/>'
        )
    parts.append(f'<path class="needle" d="M{place(number.value)} {rail - 10}v20"/>')
    return Markup(
        f'<svg class="scale" viewBox="0 0 360 {rail + 24}" aria-hidden="true">'
        + "".join(parts)
        + "</svg>"
    )


def _shorten(text: str, longest: int = 40) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"


def heat_step(count: int, total: int) -> int:
    """Which of the shades 0..8 a share gets; the root lifts small shares into sight."""
    if count <= 0 or total <= 0:
        return 0
    return max(1, min(HEAT_STEPS, math.ceil(HEAT_STEPS * math.sqrt(count / total))))
