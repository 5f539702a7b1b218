"""The pixels of a table: row i of the array is path i of the table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from tellapart.data.listing import plural
from tellapart.data.problems import Problem, left_out_sentence, require_few_faults
from tellapart.data.table import ImageTable
from tellapart.pixels.preprocessing import Preprocessing
from tellapart.pixels.store import load_files
from tellapart.progress import SILENT, Progress


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
    pixels: NDArray[np.uint8] = field(repr=False)
    digests: tuple[str, ...] = field(repr=False)
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
        DataError: more than ``maximum_unreadable`` of the images cannot be used, those counted
            that the table has left out already (missing, empty, ...).
    """
    files = [table.file(i) for i in range(len(table))]
    found = load_files(files, preprocessing, root=table.root, names=table.paths, progress=progress)
    problems = [Problem(table.paths[row], *why) for row, why in found.unreadable.items()]
    kept = table.without(problems)
    require_few_faults((*problems, *table.problems), len(kept), maximum_unreadable, table.root)
    if sentence := left_out_sentence(problems, len(kept)):
        progress.note(sentence)
    notes = tuple(note for note in _depth_notes(found.remarks.values()) if note not in kept.notes)
    if notes:
        kept = replace(kept, notes=kept.notes + notes)
    return PixelCache(kept, found.pixels, found.digests, found.key)


def _depth_notes(remarks: Iterable[str]) -> list[str]:
    """One sentence a way in which values of more than 8 bits became grey levels."""
    return [
        f"Of {plural(count, 'image')} with more than 8 bits: {remark}."
        for remark, count in sorted(Counter(remarks).items())
    ]
