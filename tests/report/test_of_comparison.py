"""What the page of a comparison says beside its figures."""

from __future__ import annotations

from tellapart.report.of_comparison import _gap_reading


def test_of_gaps_that_are_written_alike_none_is_the_widest() -> None:
    assert _gap_reading({"a": 0.0333, "b": 0.0331}, "test") == (
        "The gap between train and test is 3.3 points for both runs."
    )
    assert _gap_reading({"a": 0.05, "b": 0.05, "c": 0.02}, "test") == (
        "The gap between train and test is widest for a and b: 5.0 points."
    )
    assert _gap_reading({"a": 0.05}, "validation") == (
        "The gap between train and validation is widest for a: 5.0 points."
    )
