"""ImageTable: images, their labels and parts, one a row, in a fixed order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tellapart.data.part_names import PARTS as PARTS
from tellapart.data.problems import Problem, left_out_sentence

__all__ = ["PARTS", "ImageTable", "Problem"]


@dataclass(frozen=True)
class ImageTable:
    """Images, one a row, in a fixed order: by path."""

    root: Path
    #: The image ids: posix paths relative to ``root``, unique.
    paths: tuple[str, ...] = field(repr=False)
    #: int64 (N,), index into ``classes``; -1 where not known.
    labels: NDArray[np.int64] = field(repr=False)
    #: str (N,), "train", "validation", "test", or "" where not yet split.
    parts: NDArray[np.str_] = field(repr=False)
    #: The one class map, made from the train part.
    classes: tuple[str, ...]
    #: int64 (N,), images with one number stay in one part; None: each stands alone.
    groups: NDArray[np.int64] | None = field(default=None, repr=False)
    #: bool (N,), images that are only to be trained on, and in no other part: corrections of what
    #: an earlier run said; None: there are none.
    train_only: NDArray[np.bool_] | None = field(default=None, repr=False)
    #: Files left out so far, and why; ``left_out`` says it in a sentence.
    problems: tuple[Problem, ...] = field(default=(), repr=False)
    #: Sentences a user should read: how parts were made, what is missing, what looks odd.
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.paths)

    def select(self, indices: Sequence[int] | NDArray[np.int64] | NDArray[np.bool_]) -> ImageTable:
        """The rows at ``indices`` (numbers, or True/False a row), in that order."""
        rows = np.asarray(indices)
        rows = np.flatnonzero(rows) if rows.dtype == np.bool_ else rows.astype(np.int64)
        return replace(
            self,
            paths=tuple(self.paths[i] for i in rows),
            labels=self.labels[rows],
            parts=self.parts[rows],
            groups=None if self.groups is None else self.groups[rows],
            train_only=None if self.train_only is None else self.train_only[rows],
        )

    @property
    def left_out(self) -> str | None:
        """One sentence that accounts for the files left out; None if all are used."""
        return left_out_sentence(self.problems, len(self))

    @property
    def sentences(self) -> tuple[str, ...]:
        """The notes, and after them what was left out: all that a user should read."""
        return (*self.notes, *([self.left_out] if self.left_out else []))

    def file(self, index: int) -> Path:
        """Where image ``index`` lies."""
        return self.root / self.paths[index]

    def without(self, problems: Sequence[Problem]) -> ImageTable:
        """Leave out the files that ``problems`` name, and remember why."""
        out = {problem.path for problem in problems}
        kept = self.select(np.array([path not in out for path in self.paths], dtype=np.bool_))
        return replace(kept, problems=self.problems + tuple(problems))
