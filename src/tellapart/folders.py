"""Folders that appear with all their content or not at all, and go in the same way.

A folder is filled under another name beside its place and renamed, so that a kill leaves nothing
half made; what it leaves under the other name goes at the next use.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

from tellapart.errors import FileError, RunError
from tellapart.files import clear_leftovers, write_json
from tellapart.leftovers import remove, unfinished_name
from tellapart.lock import LOCK_FILE
from tellapart.wording import shown

#: The file in a folder of results that says what they are of.
_OF = "about.json"


def numbered(wanted: Path) -> Iterator[Path]:
    """``wanted``, ``wanted-2``, ``wanted-3`` and so on, without an end.

    >>> names = numbered(Path("runs/cats"))
    >>> [next(names).name for _ in range(3)]
    ['cats', 'cats-2', 'cats-3']
    """
    yield wanted
    for number in count(2):
        yield wanted.with_name(f"{wanted.name}-{number}")


def make_folder(wanted: Path, fill: Callable[[Path], None]) -> Path:
    """A new folder that appears with its content: ``wanted``, or if taken ``wanted-2`` and so on.

    Raises:
        OSError, FileError: it cannot be written; nothing is left.
    """
    return renamed_into_place(
        wanted, fill, lambda path: next(free for free in numbered(path) if not free.exists())
    )


def renamed_into_place(
    wanted: Path, fill: Callable[[Path], None], place: Callable[[Path], Path]
) -> Path:
    """Fill a folder beside ``wanted`` and rename it to ``place(wanted)``, if need be again."""
    with _unfinished(wanted) as unfinished:
        fill(unfinished)
        while True:
            path = place(wanted)
            try:
                return unfinished.rename(path)
            except OSError:  # another process was quicker
                if place(wanted) == path:
                    raise


@contextmanager
def _unfinished(wanted: Path) -> Iterator[Path]:
    """An empty folder beside ``wanted``, to be filled and renamed; what is left of it goes."""
    wanted.parent.mkdir(parents=True, exist_ok=True)
    clear_leftovers(wanted.parent)
    unfinished = wanted.parent / unfinished_name()
    try:
        unfinished.mkdir()
        yield unfinished
    finally:
        remove(unfinished)


def filled_in_place(folder: Path, fill: Callable[[Path], None]) -> Path:
    """Fill a folder that is there already; if that fails, it is empty again."""
    try:
        fill(folder)
    except BaseException:
        empty(folder)
        raise
    return folder


def empty(folder: Path) -> None:
    """Remove all that is in a folder, but for a lock on it."""
    for path in content_of(folder):
        remove(path)


def content_of(folder: Path) -> list[Path]:
    """What is in a folder, but for a lock on it."""
    return [path for path in folder.iterdir() if path.name != LOCK_FILE]


def claim_folder(wanted: Path) -> Path:
    """Make ``wanted``, or where it is taken ``wanted-2`` and so on: a folder of one's own.

    Raises:
        RunError: it cannot be made.
    """
    try:
        wanted.parent.mkdir(parents=True, exist_ok=True)
        for path in numbered(wanted):
            with suppress(FileExistsError):
                path.mkdir()
                return path
    except OSError as error:
        raise RunError(
            f"The folder {wanted} cannot be made: {error.strerror}; choose another place."
        ) from error
    raise AssertionError("counting ended")


def page_in(out: Path) -> Path:
    """The page that ``--out`` names: a file of HTML, or ``report.html`` in a folder; its folder is
    made.

    Raises:
        RunError: it cannot be made.
    """
    page = out if out.suffix in (".html", ".htm") else out / "report.html"
    try:
        page.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(
            f"The folder {shown(page.parent)} cannot be made: {error.strerror}; choose another "
            "with --out."
        ) from error
    return page


def write_folder(
    wanted: Path,
    about: Mapping[str, Any],
    write: Callable[[Path], None],
    *,
    replace_any: bool = False,
) -> Path:
    """Fill a folder of results inside a run: all of it, or nothing.

    Results about the same thing replace those that were there; where the name is taken by
    others, a number is put behind it.

    Args:
        wanted: the folder.
        about: what the results are of, plain data for JSON; kept with them.
        write: writes them into the folder that it is given, which is renamed in the end.
        replace_any: replace what is there, whatever it is about.

    Returns:
        The folder.

    Raises:
        RunError: it cannot be written.
    """
    try:
        with _unfinished(wanted) as unfinished:
            write(unfinished)
            write_json(unfinished / _OF, about)
            return _put_in_place(unfinished, wanted, about, replace_any)
    except (OSError, FileError) as error:
        in_the_way = isinstance(error, FileExistsError | NotADirectoryError)
        raise RunError(
            f"The folder {wanted.parent} cannot be written: "
            + (
                "a file is in its place; move it away."
                if in_the_way
                else f"{reason_of(error)}; is the run read-only, or the disk full?"
            )
        ) from error


def _put_in_place(
    unfinished: Path, wanted: Path, about: Mapping[str, Any], replace_any: bool
) -> Path:
    for path in numbered(wanted):
        if _about(path) == about or (replace_any and path == wanted):
            remove_whole(path)
        if not path.exists():
            try:
                return unfinished.rename(path)
            except OSError:
                if not path.exists():
                    raise  # else another process was quicker
    raise AssertionError("counting ended")


def replace_folder(folder: Path, fill: Callable[[Path], None], own: Callable[[str], bool]) -> None:
    """Replace a folder by another that is filled beside it: a kill leaves the one or the other.

    Args:
        fill: writes the new folder, which is renamed in the end.
        own: whether a name in the old folder is one that the new folder replaces; the others
            are copied.

    Raises:
        OSError, FileError: it cannot be written; the old folder is as it was.
    """
    with _unfinished(folder) as unfinished:
        fill(unfinished)
        for path in content_of(folder):
            if not own(path.name) and not (unfinished / path.name).exists():
                copy = shutil.copytree if path.is_dir() else shutil.copy2
                copy(path, unfinished / path.name)
        exchange(unfinished, folder)


def exchange(first: Path, second: Path) -> None:
    """Let two folders beside each other change places, in one step where the system can.

    Where it cannot, there is a moment between two renames in which a kill leaves ``second``
    under another name; a mount point keeps its place, and what is in it is moved, file by file.

    Raises:
        OSError: they cannot be renamed; they are as they were.
    """
    if os.path.ismount(second):
        empty(second)
        for path in content_of(first):
            shutil.move(path, second / path.name)
        return
    if _exchange_at_once(first, second):
        return
    aside = second.with_name(unfinished_name())
    second.rename(aside)
    try:
        first.rename(second)
    except OSError:
        aside.rename(second)
        raise
    aside.rename(first)


def _exchange_at_once(first: Path, second: Path) -> bool:
    """Whether the system exchanged two folders in one step."""
    here, swap = -100, 2  # AT_FDCWD; RENAME_EXCHANGE of Linux, RENAME_SWAP of macOS
    one, other = os.fsencode(first), os.fsencode(second)
    try:
        library = ctypes.CDLL(None, use_errno=True)
        if sys.platform == "linux":
            failed = library.renameat2(here, one, here, other, swap)
        elif sys.platform == "darwin":
            failed = library.renamex_np(one, other, swap)
        else:
            return False
    except (AttributeError, OSError, TypeError):  # an older system has no such call
        return False
    if not failed:
        return True
    number = ctypes.get_errno()
    if number in (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP):  # a file system that cannot
        return False
    raise OSError(number, os.strerror(number), str(second))


def _about(folder: Path) -> Any:
    try:
        return json.loads((folder / _OF).read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return None


def remove_whole(folder: Path) -> None:
    """Delete a folder so that a kill leaves all of it or, under another name, what goes later."""
    doomed = folder.with_name(unfinished_name())
    try:
        folder.rename(doomed)
    except OSError:  # not there; or a mount point, which only can be emptied
        doomed = folder
    remove(doomed)


def reason_of(error: OSError | FileError) -> str:
    """Why a file could not be written, without its name: that folder is gone, or has another."""
    cause = error.__cause__ if isinstance(error, FileError) else error
    return cause.strerror if isinstance(cause, OSError) and cause.strerror else str(error)
