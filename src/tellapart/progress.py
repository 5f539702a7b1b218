"""How long work tells that it is getting on: a stage with a count and a time left."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from html import escape
from time import perf_counter
from typing import Any, Protocol

from tellapart.wording import duration, shown

#: Seconds between two lines of a stage where there is no terminal.
LOG_SECONDS = 30.0
#: Seconds between two looks of a bar in a notebook.
NOTEBOOK_SECONDS = 0.3
#: Characters of a bar on the terminal, the widest that fits.
_BARS = (20, 10, 0)


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
    """Reports nothing; what the functions below the verbs get by default."""

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
        done = how_far(self._done, self._total, self._unit, now - self._started)
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
        started = perf_counter()
        if self._console.is_terminal:
            with _bars(self._console, unit) as display:
                yield _RichWork(display, display.add_task(name, total=total, status=""))
        else:
            yield _PlainWork(self.note, name, total, unit)
        self.note(_finished(name, total, unit, started))

    def note(self, text: str) -> None:
        for line in text.splitlines():
            self._console.print(shown(line), markup=False, soft_wrap=True)


class NotebookProgress:
    """A bar below the cell that is replaced as the work gets on, and the notes."""

    @contextmanager
    def stage(self, name: str, total: int | None, unit: str = "") -> Iterator[Work]:
        started = perf_counter()
        work = _NotebookWork(name, total, unit)
        yield work
        work.show(escape(_finished(name, total, unit, started)))

    def note(self, text: str) -> None:
        _display(f"<pre style='margin:0;white-space:pre-wrap'>{escape(text)}</pre>", None)


class _NotebookWork:
    def __init__(self, name: str, total: int | None, unit: str) -> None:
        self._name, self._total, self._unit = name, total, unit
        self._started = self._said = perf_counter()
        self._done, self._status = 0, ""
        self._handle = _display(escape(name), None)

    def advance(self, amount: int = 1) -> None:
        self._done += amount
        now = perf_counter()
        if now - self._said < NOTEBOOK_SECONDS:
            return
        self._said = now
        far = how_far(self._done, self._total, self._unit, now - self._started)
        bar = f"<progress max='{self._total}' value='{self._done}'></progress> " * bool(self._total)
        self.show(f"{bar}{escape(f'{self._name}: {far} {self._status}'.rstrip())}")

    def status(self, text: str) -> None:
        self._status = text

    def show(self, html: str) -> None:
        _display(f"<pre style='margin:0'>{html}</pre>", self._handle)


class DefaultProgress:
    """What Python callers of the verbs get: a bar in a notebook, and silence in a script."""

    def stage(self, name: str, total: int | None, unit: str = "") -> AbstractContextManager[Work]:
        return self._here().stage(name, total, unit)

    def note(self, text: str) -> None:
        self._here().note(text)

    def _here(self) -> Progress:
        return NotebookProgress() if in_notebook() else SILENT


DEFAULT: Progress = DefaultProgress()


def in_notebook() -> bool:
    """Whether this is the kernel of a notebook, which shows HTML; a shell is none."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, "kernel", None) is not None


def _display(html: str, handle: Any) -> Any:
    """Show HTML in a new place, or in that of ``handle``; returns where it stands."""
    from IPython.display import HTML, display

    if handle is None:
        return display(HTML(html), display_id=True)
    handle.update(HTML(html))
    return handle


# --- words --------------------------------------------------------------------------------


def how_far(done: int, total: int | None, unit: str, seconds: float) -> str:
    """``1,200 of 4,000 images, 5 s left`` after so many seconds; without a total what is done.

    >>> how_far(1200, 4000, "images", 3.0), how_far(7, None, "", 3.0)
    ('1,200 of 4,000 images, 7 s left', '7')
    """
    if not total:
        return f"{done:,} {unit}".strip()
    text = f"{done:,} of {total:,} {unit}".strip()
    return f"{text}, {duration(seconds * (total / done - 1))} left" if done else text


def bar_line(
    name: str, done: int, total: int | None, unit: str, seconds: float, status: str, width: int,
    full: str = "━", empty: str = "─",
) -> str:  # fmt: skip
    """One line of at most ``width`` characters: where room is short, the bar shrinks.

    >>> bar_line("Decoding", 50, 100, "images", 4.0, "", 60, "#", "-")
    'Decoding  ##########----------  50 of 100 images, 4 s left'
    >>> bar_line("Decoding", 50, 100, "images", 4.0, "epoch 3", 40, "#", "-")
    'Decoding  50 of 100 images, 4 s left  ep'
    """
    far = how_far(done, total, unit, seconds)
    for size in _BARS:
        filled = round(size * min(done / total, 1.0)) if total else 0
        bar = full * filled + empty * (size - filled) if total else ""
        line = "  ".join(part for part in (name, bar, far, status) if part)
        if len(line) <= width:
            return line
    # The time left is what is read: the status is cut, then the name, never the time.
    without = "  ".join(part for part in (name, far) if part)
    return line[:width] if len(without) <= width else f"{name} {far}"[-width:]


def _finished(name: str, total: int | None, unit: str, started: float) -> str:
    count = f" ({total} {unit})".replace(" )", ")") if total else ""
    return f"{name}{count}: {perf_counter() - started:.1f} s"


def _bars(console: Any, unit: str) -> Any:
    """A display of rich that shows each stage as one line of :func:`bar_line`."""
    from rich.progress import Progress as Bars
    from rich.progress import ProgressColumn, Task
    from rich.text import Text

    marks = ("#", "-") if console.options.ascii_only else ("━", "─")

    class Line(ProgressColumn):
        def render(self, task: Task) -> Text:
            total = int(task.total) if task.total else None
            line = bar_line(
                shown(task.description), int(task.completed), total, unit, task.elapsed or 0.0,
                shown(task.fields["status"]), console.width - 1, *marks,
            )  # fmt: skip
            return Text(line, no_wrap=True)

    return Bars(Line(), console=console, transient=True)
