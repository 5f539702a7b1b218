"""Files and names: what is an image, what is ignored, which path stays inside its root.

Nothing is decoded here. A file counts as an image by its extension, or, where that says
nothing, by its first bytes; whether it can be read is found when its pixels are.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Literal

from tellapart.data.own_output import is_own_output
from tellapart.data.problems import Problem as Problem
from tellapart.errors import DataError
from tellapart.pixels.formats import (
    EXTENSIONS,
    IMAGE_EXTENSIONS,
    OTHER_PICTURES,
    identify,
    missing_reader,
)
from tellapart.progress import Work
from tellapart.wording import listed as listed
from tellapart.wording import plural as plural
from tellapart.wording import shown as shown

SYSTEM_NAMES = frozenset(
    {
        "thumbs.db",
        "ehthumbs.db",
        "desktop.ini",
        "icon\r",
        "__macosx",
        "@eadir",
        "$recycle.bin",
        "system volume information",
        "lost+found",
    }
)
#: Names of a folder that are in memory at a time.
_SORTED_TOGETHER = 10_000
#: More links than this on one path are taken for a loop.
_MAXIMUM_LINKS = 8


@dataclass
class Listing:
    """Rows found so far, one an image, before there is a class map."""

    root: Path
    paths: list[str] = field(default_factory=list)
    #: The class of each image, by name.
    names: list[str] = field(default_factory=list)
    #: "train", "validation", "test", or "" where the layout does not say.
    parts: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    #: The columns of a manifest, a value an image; empty for folders.
    columns: dict[str, list[str]] = field(default_factory=dict)
    #: Where a manifest names each image, for messages ("t.csv line 7"); empty for folders.
    places: list[str] = field(default_factory=list)

    def keep(self, rows: Sequence[int]) -> None:
        """Leave only the rows at these places, in this order."""
        for values in (self.paths, self.names, self.parts, self.places, *self.columns.values()):
            if values:
                values[:] = [values[i] for i in rows]


# --- names -----------------------------------------------------------------------------


def normal_name(name: str) -> str:
    """A class name in one spelling: macOS writes accents as characters of their own."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def is_system_name(name: str) -> bool:
    """Hidden and system files, of which a person does not know that they are there."""
    return name.startswith((".", "~$")) or name.lower() in SYSTEM_NAMES


def natural_key(name: str) -> tuple[tuple[int, int, str], ...]:
    """Sort key in which 9 comes before 10."""
    pieces = re.findall(r"[0-9]+|[^0-9]+", name)
    return tuple((0, int(p), p) if p.isdecimal() else (1, 0, p) for p in pieces)


def inside(path: str, root: Path, where: str) -> str:
    """``path`` relative to ``root``, with forward slashes; never leaves it.

    Raises:
        DataError: the path lies outside; ``where`` says who gave it.
    """
    text = path.replace("\\", "/") if os.sep == "\\" else path
    top = os.path.abspath(root)  # noqa: PTH100 - lexical: links below the root are the user's
    full = os.path.normpath(os.path.join(top, text))  # noqa: PTH118
    if full == top:
        return "."
    above = top if top.endswith(os.sep) else top + os.sep
    if "\0" in path or not full.startswith(above):
        raise DataError(
            f"{where}: the path '{shown(path)}' leads out of {shown(root)}; it must lie inside "
            "(--root says where the paths of a table start)."
        )
    return full[len(above) :].replace(os.sep, "/")


# --- walking --------------------------------------------------------------------------


def looks_like_image(head: bytes) -> bool:
    """Whether a file's first 16 bytes are those of a format that is read."""
    name = identify(head)
    if name == "BMP":  # text may begin so, too
        return head[14:16] in {b"\x28\x00", b"\x7c\x00"}
    return name not in {None, "PPM"}


@dataclass
class Scan:
    """Everything below one folder."""

    paths: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    #: Names of the folders directly below.
    folders: list[str] = field(default_factory=list)
    #: Folders that tellapart wrote, and that were passed over.
    own: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Walked:
    """One thing below a folder."""

    #: With the prefix in front.
    path: str
    entry: os.DirEntry[str]
    kind: Literal["file", "folder", "own"] = "file"
    #: Why it is no image, as far as name, size and first bytes tell; None: it may be one.
    problem: Problem | None = None


def walk(folder: Path, prefix: str = "") -> Iterator[Walked]:
    """Everything below ``folder``, in memory that does not grow with the number of files.

    The files of each folder come first, sorted where they are no more than
    :data:`_SORTED_TOGETHER`, else so many at a time; then what lies in its folders. Links are
    followed, except those that lead back to a folder on the way. Runs and reports of tellapart
    are named ("own") and passed over.

    Raises:
        DataError: a folder cannot be read.
    """
    pending: list[tuple[str, str, tuple[str, ...]]] = [(str(folder), prefix, ())]
    while pending:
        place, relative, trail = pending.pop()
        inside: list[tuple[str, str, tuple[str, ...]]] = []
        for entry in _sorted_entries(place):
            path = f"{relative}{entry.name}"
            if is_system_name(entry.name):
                continue
            if not entry.name.isascii() and not _is_unicode(entry.name):
                reason = "Its name is not valid Unicode; rename it."
                yield Walked(path, entry, problem=Problem(shown(path), "bad_name", reason))
            elif _is_folder(entry):
                way = _follow(entry, place, trail)
                if way is None:
                    reason = "It is a link that leads back to a folder above it."
                    yield Walked(path, entry, problem=Problem(path, "loop", reason))
                elif is_own_output(entry.path):
                    yield Walked(path, entry, "own")
                else:
                    inside.append((entry.path, f"{path}/", way))
                    yield Walked(path, entry, "folder")
            else:
                yield Walked(path, entry, problem=_check_file(entry, path))
        pending += sorted(inside, reverse=True)


def scan(folder: Path, prefix: str, stage: Work) -> Scan:
    """List the images below ``folder``; their paths get ``prefix`` in front.

    Raises:
        DataError: a folder cannot be read.
    """
    found = Scan()
    for walked in walk(folder, prefix):
        if walked.problem is not None:
            found.problems.append(walked.problem)
        elif walked.kind == "own":
            found.own.append(walked.path)
        elif walked.kind == "folder":
            if "/" not in walked.path.removeprefix(prefix):
                found.folders.append(walked.entry.name)
        else:
            found.paths.append(walked.path)
            stage.advance()
    return found


def _sorted_entries(place: str) -> Iterator[os.DirEntry[str]]:
    """What lies directly in a folder; so many at a time are in memory, and sorted."""
    try:
        with os.scandir(place) as found:
            while some := sorted(islice(found, _SORTED_TOGETHER), key=lambda entry: entry.name):
                yield from some
    except OSError as error:
        raise _unreadable_folder(place, error) from error


def entries(place: str | Path) -> list[os.DirEntry[str]]:
    """What lies directly in a folder, in no order.

    Raises:
        DataError: the folder cannot be read.
    """
    try:
        with os.scandir(place) as found:
            return list(found)
    except OSError as error:
        raise _unreadable_folder(place, error) from error


def _unreadable_folder(place: str | Path, error: OSError) -> DataError:
    return DataError(
        f"The folder {shown(place)} cannot be read ({error.strerror}); "
        "give yourself the right to read it, or leave it out."
    )


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself; _check_file says so
        return False


def _is_unicode(name: str) -> bool:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _follow(entry: os.DirEntry[str], place: str, trail: tuple[str, ...]) -> tuple[str, ...] | None:
    """The real folders left by a link so far, or None where this link closes a loop."""
    if not entry.is_symlink():
        return trail
    target, here = os.path.realpath(entry.path), os.path.realpath(place)
    way = (*trail, here)
    loop = any(f"{passed}/".startswith(f"{target.rstrip('/')}/") for passed in way)
    return None if loop or len(way) > _MAXIMUM_LINKS else way


def _check_file(entry: os.DirEntry[str], path: str) -> Problem | None:
    """Why a file is not an image, as far as its name, size and first bytes tell."""
    try:
        if not entry.is_file():
            if entry.is_symlink():
                return Problem(path, "missing", "It is a link to a file that is not there.")
            return Problem(path, "other_file", "It is no ordinary file.")
        size = entry.stat().st_size
    except OSError as error:
        return Problem(path, "unreadable", f"It cannot be read: {error.strerror}.")
    return check_name_and_size(path, size, entry.path)


def check_name_and_size(path: str, size: int, file: str | Path) -> Problem | None:
    """Why an existing file is left out, or None; opened only if its extension is odd."""
    if size == 0:
        return Problem(path, "empty", "The file is empty (0 bytes).")
    name, dot, extension = path.rpartition("/")[2].rpartition(".")
    extension = extension.lower() if dot and name else ""
    if extension in IMAGE_EXTENSIONS:
        missing = missing_reader(EXTENSIONS[extension])
        return Problem(path, "unsupported", missing) if missing else None
    if extension in OTHER_PICTURES:
        reason = f"{extension.upper()} pictures are not read; save it as JPEG or PNG."
        return Problem(path, "unsupported", reason)
    try:
        with Path(file).open("rb") as opened:
            head = opened.read(16)
    except OSError as error:
        return Problem(path, "unreadable", f"It cannot be read: {error.strerror}.")
    if looks_like_image(head):
        return None
    return Problem(path, "other_file", "It is no image, by its name and its first bytes.")


def visible_folders(folder: Path) -> list[str]:
    """Names of the folders directly below, sorted, without hidden and system folders and runs."""
    return sorted(
        e.name
        for e in entries(folder)
        if not is_system_name(e.name) and _is_folder(e) and not is_own_output(e.path)
    )
