"""Work that ends when its time is over, wherever it is: by the progress that it reports."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter

from tellapart.progress import Progress, Work


class OutOfTimeError(Exception):
    """Work did not come to its end in time, and was ended."""


class UntilDeadline:
    """Progress that is handed on, and that ends the work once a moment has passed.

    Args:
        deadline: a moment of ``now``, in seconds.
        notes: whether notes are handed on, too.
    """

    def __init__(
        self,
        inner: Progress,
        deadline: float,
        *,
        notes: bool = True,
        now: Callable[[], float] = perf_counter,
    ) -> None:
        self._inner, self._deadline, self._notes, self._now = inner, deadline, notes, now

    @contextmanager
    def stage(self, name: str, total: int | None, unit: str = "") -> Iterator[Work]:
        """A stage of work; raises OutOfTimeError at its start and at each step after the moment."""
        self._look()
        with self._inner.stage(name, total, unit) as work:
            yield _Watched(work, self._look)

    def note(self, text: str) -> None:
        """Hand a note on, if notes are wanted."""
        if self._notes:
            self._inner.note(text)

    def _look(self) -> None:
        if self._now() > self._deadline:
            raise OutOfTimeError


class _Watched:
    def __init__(self, inner: Work, look: Callable[[], None]) -> None:
        self._inner, self._look = inner, look

    def advance(self, amount: int = 1) -> None:
        self._inner.advance(amount)
        self._look()

    def status(self, text: str) -> None:
        self._inner.status(text)
