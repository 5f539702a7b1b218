"""Temporary names that say whose they are, so that what a killed process left can be removed."""

from __future__ import annotations

import itertools
import os
import re
import secrets
import shutil
import socket
import time
from contextlib import suppress
from pathlib import Path

#: What another machine made, or a process whose number another one has now, is given up after
#: this long without a change.
STALE_SECONDS = 24 * 3600.0

#: Around whose it is, in the name of every unfinished file and folder outside the cache.
_PREFIX, _SUFFIX = ".tellapart", ".part"
_calls = itertools.count()


def owner() -> str:
    """This machine and this process, fit for the name of a file."""
    host = re.sub(r"[^A-Za-z0-9]", "_", socket.gethostname())[:40] or "host"
    return f"{host}-{os.getpid()}"


def unfinished_name() -> str:
    """A name for an unfinished file or folder that no other call in any process takes."""
    return f"{_PREFIX}-{owner()}-{next(_calls)}-{secrets.token_hex(4)}{_SUFFIX}"


def is_left_behind(path: Path, start: str) -> bool:
    """Whether the process that made a file or folder, named ``start-OWNER-...``, has ended.

    False where that cannot be told and it was changed within a day.
    """
    match = re.match(rf"{re.escape(start)}-(\w+)-(\d{{1,9}})-", path.name)
    if match and os.name == "posix" and owner().startswith(f"{match[1]}-"):
        number = int(match[2])
        if number != os.getpid() and not is_running(number):
            return True
    try:
        files = [path, *path.rglob("*")] if path.is_dir() and not path.is_symlink() else [path]
        return time.time() - max(file.lstat().st_mtime for file in files) > STALE_SECONDS
    except OSError:
        return False


def is_running(process: int) -> bool:
    """Whether there is a process of this number here (POSIX only)."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it runs, and belongs to somebody else
        return True
    return True


def remove_leftovers(folder: Path) -> None:
    """Remove unfinished files and folders of processes that have ended from a folder.

    Those of running processes stay, and so does what cannot be removed.
    """
    with suppress(OSError):
        for path in folder.iterdir():
            name = path.name
            if (
                name.startswith(f"{_PREFIX}-")
                and name.endswith(_SUFFIX)
                and is_left_behind(path, _PREFIX)
            ):
                remove(path)


def remove(path: Path) -> None:
    """Remove a file or folder, as far as that can be done."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink(missing_ok=True)
