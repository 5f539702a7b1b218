"""Files that appear whole or not at all, and the sentence where one cannot be written.

Everything that tellapart leaves behind is written here: under another name first, then renamed, so
that a reader, a full disk or a kill never meets half a file.
"""

from __future__ import annotations

import csv
import errno
import json
import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tellapart.errors import FileError
from tellapart.leftovers import remove_leftovers, unfinished_name
from tellapart.wording import shown

#: Folders from which this process has removed what killed ones left there.
_cleared: set[Path] = set()

#: What to do about each reason that a user can do something about.
_REMEDIES: Mapping[int, str] = {
    errno.ENOSPC: "free some space there, or choose another place, and run it again",
    errno.EDQUOT: "your share of the disk is used up; free some space and run it again",
    errno.EROFS: "choose a place that can be written",
    errno.EACCES: "choose a place that you may write to",
    errno.EPERM: "choose a place that you may write to",
    errno.ENOTDIR: "a folder above it is a file; choose another place",
    errno.EEXIST: "something of that name is in the way; choose another place",
    errno.EISDIR: "it is a folder; choose the name of a file",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EFBIG: "this file system takes no file of that size; choose another place",
    errno.EIO: "the disk reports an error; choose another one",
}


def write_problem(error: OSError, path: Path | str | None = None) -> str:
    """The sentence for a file that could not be written: which, why, and what to do."""
    place = path if path is not None else error.filename or "The output"
    reason = os.strerror(error.errno) if error.errno else str(error)
    remedy = _REMEDIES.get(error.errno or 0, "")
    return f"{shown(place)} cannot be written: {reason}{f'; {remedy}' if remedy else ''}."


@contextmanager
def replacing(path: Path | str, *, durable: bool = True) -> Iterator[Path]:
    """The name of an empty file to write, which takes the place of ``path`` at the block's end.

    The file is made by this call alone (a link that somebody put in its way is not followed), has
    the permission bits of any new file, reaches the disk before it is renamed, and is gone if
    the block fails. Folders above it are made. What is no file, such as ``/dev/null`` or a pipe,
    is written as it is.

    Args:
        durable: wait for the disk; False for what can be made again, such as a figure.

    Raises:
        FileError: it cannot be written; the message says why and what to do.
    """
    path = Path(path)
    unfinished: Path | None = None
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            yield path
            return
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        path.parent.mkdir(parents=True, exist_ok=True)
        clear_leftovers(path.parent)
        unfinished, mode = _new_file(path.parent)
        yield unfinished
        _finish(unfinished, mode, durable)
        unfinished.replace(path)
    except OSError as error:
        raise FileError(write_problem(error, path)) from error
    finally:
        if unfinished is not None:
            with suppress(OSError):
                unfinished.unlink(missing_ok=True)


def _new_file(folder: Path) -> tuple[Path, int]:
    """An empty file of our own, whatever else runs here, and its permission bits."""
    file = folder / unfinished_name()
    number = os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    try:
        return file, stat.S_IMODE(os.fstat(number).st_mode)
    finally:
        os.close(number)


def clear_leftovers(folder: Path) -> None:
    """Remove what killed processes left in a folder, at its first use by this process.

    That which writes into a folder clears it: nobody else need think of it.
    """
    place = folder.absolute()
    if place not in _cleared:
        _cleared.add(place)
        remove_leftovers(place)


def _finish(file: Path, mode: int, durable: bool) -> None:
    """The usual permission bits, which some writers take away, and all of it on the disk."""
    if stat.S_IMODE(file.stat().st_mode) != mode:
        file.chmod(mode)
    if durable:
        with file.open("rb+") as opened:
            os.fsync(opened.fileno())


def write_bytes(path: Path | str, content: bytes, *, durable: bool = True) -> None:
    """Write a file whole or not at all; see :func:`replacing`.

    Raises:
        FileError: it cannot be written.
    """
    with replacing(path, durable=durable) as unfinished:
        unfinished.write_bytes(content)


def write_text(path: Path | str, text: str, *, durable: bool = True) -> None:
    """Write UTF-8 with the line ends of ``text``; what is no valid Unicode is written as an escape.

    Raises:
        FileError: it cannot be written.
    """
    # A file name of broken bytes must not keep a report from being written; in JSON, the escape
    # reads back as what it was.
    write_bytes(path, text.encode("utf-8", "backslashreplace"), durable=durable)


def write_json(path: Path | str, content: Mapping[str, Any]) -> None:
    """Write JSON that holds no NaN or infinity.

    Raises:
        ValueError: a number in ``content`` is not finite.
        FileError: it cannot be written.
    """
    write_text(path, json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False) + "\n")


def write_csv(path: Path | str, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a table of cells, its lines ending as RFC 4180 says; numbers read back bit for bit.

    Raises:
        FileError: it cannot be written.
    """
    with (
        replacing(path) as unfinished,
        unfinished.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)


class GrowingFile:
    """A file that grows by whole pieces: what a full disk takes only a part of is taken back.

    A kill may leave a piece of which only the beginning was written; whoever goes on with the file
    says where the whole ones end.
    """

    def __init__(self, path: Path, keep: int | None = None) -> None:
        """Open it, or make it.

        Args:
            keep: so many bytes of what is there stay; None: all.

        Raises:
            FileError: it cannot be written.
        """
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("ab", buffering=0)
            self.size = self._file.seek(0, os.SEEK_END)
            if keep is not None and keep < self.size:
                self._file.truncate(keep)
                self.size = keep
        except OSError as error:
            raise FileError(write_problem(error, path)) from error

    def append(self, piece: bytes) -> None:
        """Write a piece, all of it.

        Raises:
            FileError: it cannot be written; the file is as it was before.
        """
        left = memoryview(piece)
        try:
            while left:
                left = left[self._file.write(left) :]
        except OSError as error:
            with suppress(OSError):
                self._file.truncate(self.size)
            raise FileError(write_problem(error, self.path)) from error
        self.size += len(piece)

    def close(self, *, durable: bool = True) -> None:
        """Close it; with ``durable`` when it has reached the disk.

        Raises:
            FileError: the disk reports an error.
        """
        try:
            if durable:
                os.fsync(self._file.fileno())
        except OSError as error:
            raise FileError(write_problem(error, self.path)) from error
        finally:
            self._file.close()
