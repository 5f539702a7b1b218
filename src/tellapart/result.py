"""Result: what every verb gives back, for the terminal, for programs and for notebooks alike."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, overload

from tellapart.notebook import card

T = TypeVar("T")

#: All that was asked for was done; some of what was given could not be read; a mistake, and
#: nothing was done; stopped by Ctrl-C (128 + 2, as shells count).
DONE, SOME_FAILED, MISTAKE, INTERRUPTED = 0, 1, 2, 130
#: Of ``tellapart drift``: the images have drifted; they are too few to tell.
DRIFTED, TOO_FEW = 3, 4


#: Characters of a result at Python's prompt.
LONGEST_REPR = 120


class Result(Protocol):
    """What a verb gives back."""

    @property
    def exit_code(self) -> int:
        """What the command ends with: :data:`DONE`, or another of the numbers above."""

    def lines(self) -> Iterable[str]:
        """What the command prints; no line holds control characters."""

    def to_json(self) -> Any:
        """What the command prints with ``--json``."""

    def _repr_html_(self) -> str:
        """What a notebook shows."""


class ShortRepr:
    """A result that Python's prompt and logs show by its first line, however much it holds."""

    def lines(self) -> Iterable[str]:
        """What the command prints."""
        raise NotImplementedError

    def __repr__(self) -> str:
        lines = [" ".join(line.split()) for line in self.lines() if line.strip()]
        first = lines[0][:LONGEST_REPR] if lines else "nothing"
        more = " ..." if len(lines) > 1 or len(first) < len(lines[0] if lines else "") else ""
        return f"<{type(self).__name__}: {first}{more}>"


@dataclass(frozen=True, repr=False)
class Rows(ShortRepr, Sequence[T]):
    """A result that is a list of rows of one kind; the verbs say how they are shown."""

    rows: tuple[T, ...]

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[T]: ...
    def __getitem__(self, index: int | slice) -> T | Sequence[T]:
        return self.rows[index]

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[T]:
        return iter(self.rows)

    @property
    def exit_code(self) -> int:
        """:data:`SOME_FAILED` where a row tells of an error."""
        failed = any(getattr(row, "error", "") for row in self.rows)
        return SOME_FAILED if failed else DONE


def card_of(title: str, lines: Iterable[str]) -> str:
    """The lines of a result as a notebook shows them."""
    return card(title, sentences=[line for line in lines if line])
