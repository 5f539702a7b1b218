"""images.csv of a run: part, content, path, group and leak of every image it was made with."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tellapart.data.copies import CLEAN, COPY, NEAR
from tellapart.errors import RunError
from tellapart.files import write_csv

_COLUMNS = ("part", "digest", "path", "group", "leaked")
#: What runs of older versions have.
_FEWEST = 3


class StoredImage(NamedTuple):
    """One row of the file."""

    part: str
    #: Of the content.
    digest: str
    path: str
    #: Number of the images that belong together (copies, ``--group-by``); None: it stands alone.
    group: int | None = None
    #: Whether an earlier part has it: no, byte for byte, slightly changed.
    leaked: Literal["", "copy", "near"] = ""


def write_images(file: Path, images: Iterable[StoredImage]) -> None:
    """Write the file, whole or not at all."""
    write_csv(
        file,
        _COLUMNS,
        (
            (part, digest, path, "" if group is None else group, leaked)
            for part, digest, path, group, leaked in images
        ),
    )


def load_images(file: Path) -> list[StoredImage]:
    """Every image of a run; empty where the run did not keep them.

    Runs of older versions say nothing of groups, and of leaks only what equal contents say
    (see :func:`with_equal_contents`).

    Raises:
        RunError: the file is damaged.
    """
    if not file.is_file():
        return []
    try:
        with file.open(encoding="utf-8", newline="") as lines:
            rows = list(csv.reader(lines))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise RunError(f"{file} is damaged: {error}; train again.") from error
    columns = tuple(rows[0]) if rows else ()
    width = len(columns)
    if columns not in (_COLUMNS, _COLUMNS[:_FEWEST]) or any(len(row) != width for row in rows):
        raise RunError(f"{file} is damaged: its columns must be {', '.join(_COLUMNS)}.")
    if width == _FEWEST:
        old = [StoredImage(part, digest, path) for part, digest, path in rows[1:]]
        return with_equal_contents(old)
    try:
        return [
            StoredImage(part, digest, path, int(group) if group else None, _LEAKED[leaked])
            for part, digest, path, group, leaked in rows[1:]
        ]
    except (ValueError, KeyError) as error:
        raise RunError(
            f"{file} is damaged: {error} is no group or no kind of leak; train again."
        ) from error


_LEAKED: dict[str, Literal["", "copy", "near"]] = {CLEAN: "", COPY: "copy", NEAR: "near"}


def with_equal_contents(images: Sequence[StoredImage]) -> list[StoredImage]:
    """Images with ``leaked`` set where an earlier part has the same content."""
    seen: set[str] = set()
    marked: dict[str, StoredImage] = {}
    for part in ("train", "validation", "test"):
        of_part = [image for image in images if image.part == part]
        for image in of_part:
            leaked = _LEAKED[COPY if image.digest in seen else CLEAN]
            marked[image.path] = image._replace(leaked=leaked)
        seen |= {image.digest for image in of_part}
    return [marked.get(image.path, image) for image in images]


def groups_of(images: Sequence[StoredImage], paths: Sequence[str]) -> NDArray[np.int64] | None:
    """Group numbers of paths, int64 (N,), each image alone having one of its own.

    None where none of the paths is in a group.
    """
    known = {image.path: image.group for image in images if image.group is not None}
    found = [known.get(path) for path in paths]
    if all(group is None for group in found):
        return None
    free = 1 + max(known.values())
    return np.array(
        [free + row if group is None else group for row, group in enumerate(found)], np.int64
    )


def leaked_paths(images: Sequence[StoredImage], part: str) -> dict[str, str]:
    """The leaked images of a part by path: "copy" or "near"."""
    return {image.path: image.leaked for image in images if image.part == part and image.leaked}
