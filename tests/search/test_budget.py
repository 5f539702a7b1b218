"""The time of a search: read and counted."""

from __future__ import annotations

import pytest

from tellapart.errors import TellapartError
from tellapart.search.budget import Clock, read_time


def test_no_time_means_the_first_answer_only() -> None:
    assert read_time("0") == read_time(0) == read_time("0s") == 0.0
    assert read_time("1m30s") == 90.0


@pytest.mark.parametrize("given", ["soon", "-5m", "", "5 weeks"])
def test_what_is_no_time_is_said(given: str) -> None:
    with pytest.raises(TellapartError, match="is no time"):
        read_time(given)


def test_a_clock_counts_down() -> None:
    clock = Clock(100.0)
    assert 0.0 <= clock.used() < 5.0
    assert clock.left() == pytest.approx(100.0, abs=5.0)
