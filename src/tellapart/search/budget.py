"""The time that a search may take: read from words, counted, and kept.

What a candidate does reports its progress, so that is where the clock is looked at: work that
would overrun the time is ended there (:class:`OutOfTime`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter

from tellapart.errors import RecipeError
from tellapart.progress import Progress, Work

#: Seconds in each unit that ``--time`` takes.
_UNITS = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
#: Nobody means more, and the clock of the machine would not be right over so long a time.
_LONGEST = 30 * 24 * 3600.0


def read_time(given: str | float) -> float:
    """Seconds of ``30s``, ``5m``, ``2h``, ``1h30m``, or of a number of seconds; 0 is allowed.

    >>> read_time("5m"), read_time("1h30m"), read_time(0), read_time("90")
    (300.0, 5400.0, 0.0, 90.0)

    Raises:
        RecipeError: it is no such time.
    """
    seconds = _seconds_of(given)
    if seconds is None or not 0 <= seconds <= _LONGEST:
        raise RecipeError(
            f"--time {str(given)[:40]!r} is no time; give for example 30s, 5m or 2h (at most 30 "
            "days), or 0 for the first answer only."
        )
    return seconds


def _seconds_of(given: str | float) -> float | None:
    if not isinstance(given, str):
        return float(given) if math.isfinite(given) else None
    text = given.strip().lower().replace(" ", "")
    if re.fullmatch(r"\d{1,9}(\.\d{1,9})?", text):
        return float(text)
    if not re.fullmatch(r"(\d{1,9}(\.\d{1,9})?(h|min|m|s))+", text):
        return None
    parts = re.findall(r"(\d+(?:\.\d+)?)(h|min|m|s)", text)
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


@dataclass(frozen=True)
class Clock:
    """Counts down from ``seconds``, which began at ``started`` on ``perf_counter``."""

    seconds: float
    started: float = field(default_factory=perf_counter)

    def used(self) -> float:
        """Seconds since the beginning."""
        return perf_counter() - self.started

    def left(self) -> float:
        """Seconds until the end; below 0 after it."""
        return self.seconds - self.used()


class OutOfTime(Exception):
    """Work did not come to its end in time, and was ended."""


class TimedProgress:
    """Progress that ends work with :class:`OutOfTime` once a moment has passed.

    Notes of what runs inside are not shown: a candidate is told of in one line.
    """

    def __init__(
        self, inner: Progress, deadline: float, now: Callable[[], float] = perf_counter
    ) -> None:
        self._inner, self._deadline, self._now = inner, deadline, now

    @contextmanager
    def stage(self, name: str, total: int | None, unit: str = "") -> Iterator[Work]:
        self._look()
        with self._inner.stage(name, total, unit) as work:
            yield _TimedWork(work, self._look)

    def note(self, text: str) -> None:
        return None

    def _look(self) -> None:
        if self._now() > self._deadline:
            raise OutOfTime


class _TimedWork:
    def __init__(self, inner: Work, look: Callable[[], None]) -> None:
        self._inner, self._look = inner, look

    def advance(self, amount: int = 1) -> None:
        self._inner.advance(amount)
        self._look()

    def status(self, text: str) -> None:
        self._inner.status(text)
