"""Durations as people write them."""

from __future__ import annotations

import pytest

from tellapart.durations import seconds_of
from tellapart.errors import TellapartError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30s", 30), ("5m", 300), ("5 min", 300), ("1h30m", 5400), ("1.5h", 5400), ("90", 90),
     (12.5, 12.5), ("2H", 7200), ("1d", 86400)],
)  # fmt: skip
def test_what_people_write(text: str | float, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "soon", "5x", "-3m", "0", "1h30", "5m!", "1000d", "m", "nan", "1e3h", 0, -5]
)
def test_what_is_no_time_is_said(text: str | float) -> None:
    with pytest.raises(TellapartError, match=r"--time '.*' is no time; give a number and a unit"):
        seconds_of(text)
