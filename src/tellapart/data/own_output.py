"""Folders that tellapart itself wrote: figures of a run are never images of a class."""

from __future__ import annotations

import os
from pathlib import Path

_REPORT_MARK = b'<meta name="generator" content="tellapart">'
_RUN_MARKS = (b'"format":', b'"status":')
_HEAD_BYTES = 4096


def is_own_output(folder: str | Path) -> bool:
    """Whether a folder is a run, a report, or holds nothing but such folders (``runs``)."""
    place = str(folder)
    if any(mark in _head(f"{place}/run.json") for mark in _RUN_MARKS):
        return True
    if _REPORT_MARK in _head(f"{place}/report.html"):
        return True
    return _holds_only_own_output(place)


def _holds_only_own_output(place: str) -> bool:
    """Looks no further than the first file or folder that is not ours."""
    from tellapart.data.listing import IMAGE_EXTENSIONS

    found = False
    try:
        with os.scandir(place) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    if not is_own_output(entry.path):
                        return False
                    found = True
                elif entry.name.rpartition(".")[2].lower() in IMAGE_EXTENSIONS or entry.is_dir():
                    return False
    except OSError:  # whoever lists the folder says that it cannot be read
        return False
    return found


def _head(file: str) -> bytes:
    try:
        with open(file, "rb") as opened:  # noqa: PTH123 - asked of every folder
            return opened.read(_HEAD_BYTES)
    except OSError:  # not there, mostly
        return b""
