"""The pixels of a table: row i of the array is path i of the table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tellapart.data.listing import plural
from tellapart.data.table import ImageTable, Problem
from tellapart.errors import DataError
from tellapart.pixels.preprocessing import Preprocessing
from tellapart.pixels.store import load_files
from tellapart.progress import SILENT, Progress
from tellapart.wording import percent


@dataclass(frozen=True)
class PixelCache:
    """Decoded images in the order of their table.

    Attributes:
        table: the images that could be read; those left out are in ``table.problems``.
        pixels: uint8 (N, H, W, 3), RGB, memory-mapped, read-only; row i is table.paths[i].
        digests: content digest of each file.
        key: of contents and resize rule; equal keys mean equal pixels.
    """

    table: ImageTable
    pixels: NDArray[np.uint8]
    digests: tuple[str, ...]
    key: str

    def __len__(self) -> int:
        return len(self.table)


def load_pixels(
    table: ImageTable,
    preprocessing: Preprocessing,
    *,
    progress: Progress = SILENT,
    maximum_unreadable: float = 0.2,
) -> PixelCache:
    """Decode every image of a table, or find it decoded.

    Files that cannot be read become problems of the returned table. How deep pictures became
    grey levels is one of its notes.

    Raises:
        DataError: more than ``maximum_unreadable`` of the files cannot be read.
    """
    files = [table.file(i) for i in range(len(table))]
    found = load_files(files, preprocessing, root=table.root, names=table.paths, progress=progress)
    problems = [Problem(table.paths[row], *why) for row, why in found.unreadable.items()]
    _check_share(problems, table, maximum_unreadable)
    kept = table.without(problems)
    notes = tuple(note for note in _depth_notes(found.remarks.values()) if note not in kept.notes)
    if notes:
        kept = replace(kept, notes=kept.notes + notes)
    return PixelCache(kept, found.pixels, found.digests, found.key)


def _check_share(problems: Sequence[Problem], table: ImageTable, maximum: float) -> None:
    if len(problems) <= maximum * len(table):
        return
    first = " ".join(f"{p.path}: {p.reason}" for p in problems[:3])
    raise DataError(
        f"{len(problems)} of {len(table)} images in {table.root} cannot be read, more than "
        f"{percent(maximum, 0)}; is this the right folder? {first}"
    )


def _depth_notes(remarks: Iterable[str]) -> list[str]:
    """One sentence a way in which values of more than 8 bits became grey levels."""
    return [
        f"Of {plural(count, 'image')} with more than 8 bits: {remark}."
        for remark, count in sorted(Counter(remarks).items())
    ]
