"""Sorting files into folders by their answers: copies, links, or the files themselves."""

from __future__ import annotations

import errno
import filecmp
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tellapart.errors import DataError, FileError
from tellapart.files import clear_leftovers, write_problem
from tellapart.folders import numbered
from tellapart.leftovers import unfinished_name
from tellapart.wording import shown

Way = Literal["copy", "link", "move"]
#: What no name of a folder may hold on some file system.
_BAD = '<>:"/\\|?*\0'


@dataclass(frozen=True)
class Sorter:
    """Puts each file into the folder of its answer.

    A file of that name that is there already stays: if it has the same content nothing is done,
    else the new one gets a number behind its name.

    Attributes:
        folder: in which the folders of the answers are.
        names: the folder of each answer.
    """

    folder: Path
    names: dict[str, str]
    way: Way = "copy"

    @classmethod
    def of(cls, folder: Path, answers: Sequence[str], way: Way) -> Sorter:
        """A sorter for these answers; what cannot be in a folder's name becomes ``_``."""
        names: dict[str, str] = {}
        taken: set[str] = set()
        for answer in answers:
            wanted = "".join("_" if c in _BAD or not c.isprintable() else c for c in answer)
            wanted = wanted.strip(" .") or "_"
            name = next(p.name for p in numbered(Path(wanted)) if p.name.casefold() not in taken)
            taken.add(name.casefold())
            names[answer] = name
        return cls(folder, names, way)

    def require_outside(self, images: Sequence[str | Path]) -> None:
        """The files that are sorted must not be found again among those to sort.

        Raises:
            DataError: the folder is, or lies in, one of those that are read, or is a file.
        """
        if self.folder.exists() and not self.folder.is_dir():
            raise DataError(f"--sort-into {shown(self.folder)}: that is a file; name a folder.")
        place = self.folder.resolve()
        for image in map(Path, images):
            if image.is_dir() and place.is_relative_to(image.resolve()):
                raise DataError(
                    f"--sort-into {shown(self.folder)} lies in {shown(image)}, whose pictures are "
                    "to be sorted, so what it holds would be sorted again; name a folder outside."
                )

    def put(self, file: Path, answer: str) -> None:
        """Copy, link or move one file.

        Raises:
            FileError: it cannot be done: the disk is full, or the place may not be written to.
        """
        target = self.folder / self.names[answer] / file.name
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            for place in _numbered(target):
                if not os.path.lexists(place):
                    self._put(file, place)
                    return
                if _is_same(file, place, self.way):
                    return
        except OSError as error:
            raise FileError(write_problem(error, target)) from error

    def _put(self, file: Path, place: Path) -> None:
        if self.way == "link":
            place.symlink_to(file.resolve())
            return
        if self.way == "move":
            try:
                file.rename(place)
                return
            except OSError as error:
                if error.errno != errno.EXDEV:  # on another disk it is copied, then removed
                    raise
        clear_leftovers(place.parent)
        unfinished = place.parent / unfinished_name()
        try:
            shutil.copy2(file, unfinished)
            unfinished.rename(place)
        finally:
            unfinished.unlink(missing_ok=True)
        if self.way == "move":
            file.unlink()


def _numbered(target: Path) -> Iterator[Path]:
    """``a.jpg``, ``a-2.jpg`` and so on."""
    for path in numbered(target.with_name(target.stem)):
        yield path.with_name(path.name + target.suffix)


def _is_same(file: Path, place: Path, way: Way) -> bool:
    """Whether what is in the place is this file, or for a copy has its content."""
    if way == "move":
        return file.resolve() == place.resolve()
    try:
        if place.samefile(file):
            return True
        return way == "copy" and filecmp.cmp(file, place, shallow=False)
    except OSError:  # a link to what is gone
        return False
