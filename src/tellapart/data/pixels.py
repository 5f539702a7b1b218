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
from tellapart.errors import DataError
from tellapart.pixels.preprocessing import Preprocessing
from tellapart.pixels.store import load_files
from tellapart.progress import SILENT, Progress
from tellapart.wording import shown


@dataclass(frozen=True)
class PixelCache:
    """Decoded images in the order of their table.

    Attributes:
        table: the images that could be read; those left out are in ``table.problems``.
        pixels: uint8 (N, H, W, 3), RGB, memory-mapped, read-only; row i is table.paths[i].
        digests: content digest of each file.
        key: of contents and resize rule; equal keys mean equal pixels.
        resize_rule: of the preprocessing that they were decoded by; "": whatever is asked for.
    """

    table: ImageTable
    pixels: NDArray[np.uint8] = field(repr=False)
    digests: tuple[str, ...] = field(repr=False)
    key: str
    resize_rule: str = ""

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
    return PixelCache(kept, found.pixels, found.digests, found.key, preprocessing.resize_rule())


def prepared_otherwise(
    images: PixelCache, preprocessing: Preprocessing, *, progress: Progress = SILENT
) -> PixelCache:
    """The same images in another preprocessing, row by row.

    Raises:
        DataError: a file has changed since the images were decoded, or cannot be read at this
            size.
    """
    if images.resize_rule in ("", preprocessing.resize_rule()):
        return images
    again = load_pixels(images.table, preprocessing, progress=progress, maximum_unreadable=1.0)
    if again.digests != images.digests:
        here = dict(zip(again.table.paths, again.digests, strict=True))
        other = next(
            path for path, digest in zip(images.table.paths, images.digests, strict=True)
            if here.get(path) != digest
        )  # fmt: skip
        raise DataError(
            f"{shown(other)} has changed while it was read, or cannot be read at "
            f"{preprocessing.width} x {preprocessing.height} pixels; leave it out with --exclude, "
            "or start again."
        )
    return replace(again, table=images.table)


def _depth_notes(remarks: Iterable[str]) -> list[str]:
    """One sentence a way in which values of more than 8 bits became grey levels."""
    return [
        f"Of {plural(count, 'image')} with more than 8 bits: {remark}."
        for remark, count in sorted(Counter(remarks).items())
    ]
