"""The time that a search may take: read from words, and counted."""

from __future__ import annotations

from dataclasses import dataclass, field
from time import perf_counter

from tellapart.durations import seconds_of


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
