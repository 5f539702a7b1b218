"""How numbers are written: with the digits that mean something, and always with their interval."""

from __future__ import annotations

import math
from datetime import datetime

from tellapart.number import Kind, Number
from tellapart.report.content import Cell
from tellapart.wording import duration, percent

_THIN = "\u2009"  # between a number and its unit
MISSING = "–"


def format_value(value: float | None, kind: Kind, decimals: int = 1) -> str:
    """Write one number; a number that is not there or not finite is a dash.

    ``decimals`` are those of a share in percent.

    >>> format_value(0.984, "share")
    '98.4\\u2009%'
    >>> format_value(12500, "count")
    '12,500'
    """
    if value is None or not math.isfinite(value):
        return MISSING
    if value < 0:
        return f"\N{MINUS SIGN}{format_value(-value, kind, decimals)}"
    if kind == "share":
        return percent(value, decimals).replace(" ", _THIN)
    if kind == "score":
        return f"{value:.3f}"
    if kind == "count":
        return f"{value:,.0f}"
    if kind == "seconds":
        return _seconds(value)
    if kind == "milliseconds":
        return f"{_significant(value)}{_THIN}ms"
    if kind == "bytes":
        return _bytes(value)
    return _significant(value)


def day(moment: str) -> str:
    """A moment as ``run.json`` has it, for people; any other text stays as it is.

    >>> day("2026-11-27T23:01:08+00:00")
    '27 November 2026, 23:01'
    """
    try:
        when = datetime.fromisoformat(moment)
    except ValueError:
        return moment
    return f"{when.day} {when:%B %Y, %H:%M}"


def unbroken(sentence: str) -> str:
    """A sentence whose percent signs, and p, stay on the line of their numbers."""
    nailed = sentence.replace(" %", "\N{NO-BREAK SPACE}%")
    return nailed.replace("p = ", "p\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}")


def meaningful_decimals(*numbers: Number) -> int:
    """Decimals of percentages that stand together: two where an interval is that narrow."""
    widths = [
        number.high - number.low
        for number in numbers
        if number.low is not None and number.high is not None
    ]
    return 2 if widths and min(widths) < 0.02 else 1


def format_interval(number: Number, kind: Kind, decimals: int = 1) -> str:
    """Write the interval as ``98.0–99.1 %``; empty where there is none.

    A dash beside a minus sign cannot be read: then it is ``−1.2 to 3.5 %``.
    """
    if number.low is None or number.high is None:
        return ""
    low, high = (format_value(bound, kind, decimals) for bound in (number.low, number.high))
    unit = f"{_THIN}%"
    if low.endswith(unit) and high.endswith(unit):
        low = low.removesuffix(unit)
    if number.low < 0 or number.high < 0:
        return f"{low} to {high}"
    return f"{low}–{high}"


def format_cell(cell: Cell, kind: Kind, decimals: int = 1) -> str:
    """Write a table cell without its interval."""
    if isinstance(cell, str):
        return cell
    if isinstance(cell, Number):
        return format_value(cell.value, kind, decimals)
    return format_value(
        cell, "count" if kind == "text" and isinstance(cell, int) else kind, decimals
    )


def sort_key(cell: Cell) -> str:
    """What a column is sorted by: the number itself, or the text; empty sorts last."""
    if isinstance(cell, Number):
        cell = cell.value
    if cell is None or (isinstance(cell, float) and not math.isfinite(cell)):
        return ""
    return cell if isinstance(cell, str) else repr(cell)


def _significant(value: float) -> str:
    if value == 0:
        return "0"
    decimals = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{min(decimals, 6)}f}"


def _seconds(value: float) -> str:
    if value < 59.95:
        return f"{value:.1f}{_THIN}s" if value >= 0.1 else f"{1000 * value:.0f}{_THIN}ms"
    return duration(value, _THIN)


def _bytes(value: float) -> str:
    for unit in ("B", "kB", "MB"):
        if value < 1000:
            return f"{value:.0f}{_THIN}B" if unit == "B" else f"{value:.1f}{_THIN}{unit}"
        value /= 1000
    return f"{value:.1f}{_THIN}GB"
