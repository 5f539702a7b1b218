"""Folders that tellapart itself wrote: figures of a run are never images of a class."""

from __future__ import annotations

import os
from pathlib import Path

from tellapart.pixels.formats import IMAGE_EXTENSIONS

_REPORT_MARK = b'<meta name="generator" content="tellapart">'
_REPORT_FOLDERS = frozenset({"figures", "predictions", "explanations", "evaluations"})
_RUN_MARKS = (b'"format":', b'"status":')
_HEAD_BYTES = 4096


def is_own_output(folder: str | Path) -> bool:
    """Whether a folder is a run, a report, or holds nothing but such folders (``runs``).

    Looks no further than the first file or folder that is not ours.
    """
    place = str(folder)
    if any(mark in _head(f"{place}/run.json") for mark in _RUN_MARKS):
        return True
    is_report = _REPORT_MARK in _head(f"{place}/report.html")
    only_ours = is_report
    try:
        with os.scandir(place) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.is_dir():
                    # A report in a folder of class folders does not make them ours.
                    known = is_report and entry.name in _REPORT_FOLDERS
                    if entry.is_symlink() or not (known or is_own_output(entry.path)):
                        return False
                    only_ours = True
                elif not is_report and _is_picture(entry.name):
                    return False
    except OSError:  # whoever lists the folder says that it cannot be read
        return False
    return only_ours


def _is_picture(name: str) -> bool:
    return name.rpartition(".")[2].lower() in IMAGE_EXTENSIONS


def _head(file: str) -> bytes:
    try:
        with open(file, "rb") as opened:  # noqa: PTH123 - asked of every folder
            return opened.read(_HEAD_BYTES)
    except OSError:  # not there, mostly
        return b""
