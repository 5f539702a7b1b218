"""The time that a search may take: read from words, counted, and kept.

What a candidate does reports its progress, so that is where the clock is looked at: work that
would overrun the time is ended there (:class:`OutOfTime`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter

from tellapart.durations import seconds_of
from tellapart.progress import Progress, Work


def read_time(given: str | float) -> float:
    """Seconds of ``30s``, ``5m``, ``1h30m``, or of a number of seconds; 0 is allowed.

    >>> read_time("5m"), read_time("0"), read_time(90)
    (300.0, 0.0, 90.0)

    Raises:
        TellapartError: it is no such time.
    """
    return 0.0 if str(given).strip() in ("0", "0s", "0.0") else seconds_of(given)


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
