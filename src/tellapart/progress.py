"""How long work tells that it is getting on: a stage with a count and a time left."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from time import perf_counter
from typing import Any, Protocol

from tellapart.wording import duration

#: Seconds between two lines of a stage where there is no terminal.
LOG_SECONDS = 30.0


class Work(Protocol):
    """One piece of work under way."""

    def advance(self, amount: int = 1) -> None:
        """Say that ``amount`` more units are done."""

    def status(self, text: str) -> None:
        """Replace the few words shown beside the bar, for example the current loss."""


class Progress(Protocol):
    """Where work reports to. Functions take one and default to :data:`SILENT`."""

    def stage(self, name: str, total: int | None, unit: str = "") -> AbstractContextManager[Work]:
        """Open a stage of ``total`` units (None: unknown)."""

    def note(self, text: str) -> None:
        """Tell the user one sentence that should stay on the screen."""


class _SilentWork:
    def advance(self, amount: int = 1) -> None:
        return None

    def status(self, text: str) -> None:
        return None


class SilentProgress:
    """Reports nothing; what library callers get by default."""

    @contextmanager
    def stage(self, name: str, total: int | None, unit: str = "") -> Iterator[Work]:
        yield _SilentWork()

    def note(self, text: str) -> None:
        return None


SILENT: Progress = SilentProgress()


class _RichWork:
    def __init__(self, display: Any, task: Any) -> None:
        self._display, self._task = display, task

    def advance(self, amount: int = 1) -> None:
        self._display.advance(self._task, amount)

    def status(self, text: str) -> None:
        self._display.update(self._task, status=text)


class _PlainWork:
    """A line now and then, for logs."""

    def __init__(self, say: Callable[[str], None], name: str, total: int | None, unit: str) -> None:
        self._say, self._name, self._total, self._unit = say, name, total, unit
        self._started = self._said = perf_counter()
        self._done, self._status = 0, ""

    def advance(self, amount: int = 1) -> None:
        self._done += amount
        now = perf_counter()
        if now - self._said < LOG_SECONDS or self._done == self._total:
            return
        self._said = now
        done = f"{self._done:,} {self._unit}".strip()
        if self._total:
            left = (now - self._started) * (self._total / self._done - 1) if self._done else 0.0
            done = f"{self._done:,} of {self._total:,} {self._unit}".strip()
            done = f"{done}, {duration(left)} left" if self._done else done
        self._say(f"{self._name}: {done}" + (f" ({self._status})" if self._status else ""))

    def status(self, text: str) -> None:
        self._status = text


class TerminalProgress:
    """Bars with the time left, on standard error; lines now and then where that is no terminal."""

    def __init__(self) -> None:
        from rich.console import Console

        self._console = Console(stderr=True, highlight=False)

    @contextmanager
    def stage(self, name: str, total: int | None, unit: str = "") -> Iterator[Work]:
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )
        from rich.progress import (
            Progress as Bars,
        )

        started = perf_counter()
        if self._console.is_terminal:
            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn(unit),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
                TextColumn("{task.fields[status]}"),
            )
            with Bars(*columns, console=self._console, transient=True) as display:
                yield _RichWork(display, display.add_task(name, total=total, status=""))
        else:
            yield _PlainWork(self.note, name, total, unit)
        count = f" ({total} {unit})".replace(" )", ")") if total else ""
        self.note(f"{name}{count}: {perf_counter() - started:.1f} s")

    def note(self, text: str) -> None:
        self._console.print(text, markup=False, soft_wrap=True)
