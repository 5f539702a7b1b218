"""Image files named on the command line: files as they are given, folders by what is in them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tellapart.data.reading import read_unlabelled
from tellapart.errors import DataError

Given = Sequence[str | Path] | str | Path


def files_of(images: Given) -> list[Path]:
    """Files in the order given, those of a folder sorted by path.

    A file is not opened here, so that what is wrong with one can be said beside the others.

    Raises:
        DataError: a path does not exist, or a folder holds no image.
    """
    files: list[Path] = []
    for path in [Path(i) for i in ([images] if isinstance(images, str | Path) else images)]:
        if path.is_dir():
            table = read_unlabelled(path)
            files += [table.file(row) for row in range(len(table))]
        elif path.exists():
            files.append(path)
        else:
            raise DataError(f"There is no file {path}; give image files or folders of them.")
    return files
