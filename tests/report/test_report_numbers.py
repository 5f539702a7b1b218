"""Numbers as readers see them."""

from __future__ import annotations

import math

import pytest

from tellapart.number import Kind, Number
from tellapart.report.numbers import (
    format_cell,
    format_interval,
    format_value,
    meaningful_decimals,
    sort_key,
    unbroken,
)


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        (0.9865, "share", "98.7 %"),
        (1.0, "share", "100.0 %"),
        (0.71234, "score", "0.712"),
        (1234567, "count", "1,234,567"),
        (0.0421, "seconds", "42 ms"),
        (12.34, "seconds", "12.3 s"),
        (59.96, "seconds", "1 min 0 s"),
        (61.0, "seconds", "1 min 1 s"),
        (7322.0, "seconds", "2 h 2 min"),
        (1.7, "milliseconds", "1.70 ms"),
        (13_600_000, "bytes", "13.6 MB"),
        (999, "bytes", "999 B"),
        (None, "share", "–"),
        (math.nan, "score", "–"),
    ],
)
def test_format_value(value: float | None, kind: Kind, expected: str) -> None:
    assert format_value(value, kind).replace("\u2009", " ") == expected


def test_intervals_have_one_unit_and_the_decimals_that_they_support() -> None:
    wide, narrow = Number(0.9, 0.85, 0.94), Number(0.98, 0.975, 0.985)
    assert meaningful_decimals(wide) == 1
    assert meaningful_decimals(narrow) == meaningful_decimals(wide, narrow) == 2
    assert format_interval(wide, "share") == "85.0–94.0\u2009%"
    assert format_interval(narrow, "share", 2) == "97.50–98.50\u2009%"
    below = Number(0.011, -0.0124, 0.035)
    assert format_interval(below, "share") == "\u22121.2 to 3.5\u2009%"
    assert format_value(-0.25, "score") == "\u22120.250"
    assert format_interval(Number(0.5), "share") == ""


def test_a_probability_is_never_called_certain_by_rounding() -> None:
    written = [format_value(share, "share").replace("\u2009", " ")
               for share in (0.99999, 0.9996, 0.9994, 1.0, 0.0004, 0.00001, 0.0)]  # fmt: skip
    assert written == ["> 99.99 %", "99.96 %", "99.9 %", "100.0 %", "0.04 %", "< 0.01 %", "0.0 %"]


def test_cells_and_what_they_are_sorted_by() -> None:
    assert format_cell("0.5 of it", "share") == "0.5 of it"
    assert format_cell(Number(0.5, 0.4, 0.6), "score") == "0.500"
    assert [sort_key(cell) for cell in ("b", 3, 0.25, Number(0.5), Number(None), None)] == [
        "b", "3", "0.25", "0.5", "", "",
    ]  # fmt: skip
    assert sort_key(math.nan) == ""


def test_a_percent_sign_stays_with_its_number() -> None:
    assert unbroken("54.1 % on test (95 %)") == "54.1\u00a0% on test (95\u00a0%)"
