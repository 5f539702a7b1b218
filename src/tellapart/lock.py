"""One process at a time in a folder or at a file, by a lock that ends with its process."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tellapart.errors import RunError

#: Locked in the folder's stead where folders cannot be; it stays.
LOCK_FILE = ".lock"


@contextmanager
def locked(folder: Path, sentence: str) -> Iterator[None]:
    """While inside, no other call for this folder or file, in any process, gets inside.

    The system takes the lock away from a process that ends, so a kill leaves none. On a file
    system that has no locks at all nobody is kept out.

    Raises:
        RunError: somebody else is inside; with this sentence.
    """
    number = _locked_descriptor(folder, sentence)
    try:
        yield
    finally:
        if number is not None:
            os.close(number)  # which gives the lock back


if sys.platform == "win32":

    def _locked_descriptor(folder: Path, sentence: str) -> int | None:
        import msvcrt

        place = folder / LOCK_FILE if folder.is_dir() else Path(f"{folder}{LOCK_FILE}")
        number = os.open(place, os.O_RDWR | os.O_CREAT)
        try:
            msvcrt.locking(number, msvcrt.LK_NBLCK, 1)
        except OSError:
            os.close(number)
            raise RunError(sentence) from None
        return number

else:

    def _locked_descriptor(folder: Path, sentence: str) -> int | None:
        import fcntl

        # NFS locks only what is open for writing, as a folder cannot be.
        ways = ((folder, os.O_RDONLY), (folder / LOCK_FILE, os.O_RDWR | os.O_CREAT))
        for path, flags in ways if folder.is_dir() else ((folder, os.O_RDWR),):
            number = None
            try:
                number = os.open(path, flags, 0o666)
                fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if number is not None:
                    os.close(number)
                if isinstance(error, BlockingIOError):
                    raise RunError(sentence) from None
            else:
                return number
        return None
