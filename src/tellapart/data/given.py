"""Image files named on the command line: files as they are given, folders by what is in them.

:func:`files_of` gives a list, :func:`each_file` one file after another, of any number.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from tellapart.data.listing import Problem, entries, looks_like_image, scan, walk
from tellapart.errors import DataError
from tellapart.pixels.formats import IMAGE_EXTENSIONS, OTHER_PICTURES
from tellapart.progress import SILENT, Progress
from tellapart.wording import listed, plural, shown

Given = Sequence[str | Path] | str | Path
#: In the place of a path: the paths stand on standard input.
STANDARD_INPUT = "-"
#: Of a list of files, so many names are looked at before it is believed to be one.
_FIRST_NAMES = 100
_CHUNK_BYTES = 1 << 16
#: Longer than any path.
_LONGEST_NAME = 1 << 16


def files_of(images: Given, progress: Progress = SILENT) -> list[Path]:
    """Files in the order given, those of a folder sorted by path.

    Of a folder these are all that hold a picture, and those that do by their names though they
    are empty, of a kind that is not read, or links to nothing: whoever opens them says so, each
    beside the others. What is no picture by its name is told to ``progress``.

    Raises:
        DataError: a path does not exist, or a folder holds no picture.
    """
    files: list[Path] = []
    for path in [Path(i) for i in ([images] if isinstance(images, str | Path) else images)]:
        if path.is_dir():
            files += _pictures_below(path, progress)
        elif _is_there(path):
            files.append(path)
        else:
            raise _no_file(path)
    return files


def each_file(
    images: Iterable[str | Path],
    *,
    stdin: BinaryIO | None = None,
    on_other: Callable[[str], None] = lambda path: None,
) -> Iterator[Path]:
    """The files of :func:`files_of` one after another, in memory that does not grow with them.

    Of a folder come first its files, sorted (of more than 10,000 so many at a time), then what
    lies in its folders. Where ``-`` is given, the paths of files and folders are read from
    standard input: one a line, or as ``find -print0`` writes them.

    Args:
        stdin: what is read for ``-``; None: standard input.
        on_other: told of each file in a folder that is no picture by its name.

    Raises:
        DataError: a path does not exist, a folder cannot be read, or the list is none. Files that
            a list names need not exist: whoever opens them says so.
    """
    for path in images:
        if str(path) == STANDARD_INPUT:
            for name in _believed(read_list(stdin if stdin is not None else sys.stdin.buffer)):
                yield from _each_below(name, on_other) if name.is_dir() else [name]
            continue
        path = Path(path)
        if path.is_dir():
            yield from _each_below(path, on_other)
        elif _is_there(path):
            yield path
        else:
            raise _no_file(path)


def count_files(images: Sequence[str | Path], progress: Progress = SILENT) -> int | None:
    """How many files :func:`each_file` will give; None where that stands on standard input.

    Raises:
        DataError: a path does not exist, or a folder cannot be read or holds no picture.
    """
    for path in images:
        if str(path) != STANDARD_INPUT and not _is_there(Path(path)):
            raise _no_file(Path(path))
    if any(str(path) == STANDARD_INPUT for path in images):
        return None
    if not any(Path(path).is_dir() for path in images):
        return len(images)
    total = 0
    with progress.stage("Listing files", None, "images") as stage:
        for path in images:
            others: list[str] = []
            number, left_out = 0, 0

            def leave(name: str, others: list[str] = others) -> None:
                nonlocal left_out
                left_out += 1
                if len(others) < 3:
                    others.append(name)

            for _ in each_file([path], on_other=leave):
                number += 1
                stage.advance()
            if not number:
                raise _no_pictures(Path(path), left_out, others)
            if left_out:
                _tell_left_out(Path(path), left_out, others, progress)
            total += number
    return total


def read_list(stream: BinaryIO) -> Iterator[Path]:
    """Paths from a list: one a line, or ended by zero bytes; empty lines are passed over.

    Names need not be Unicode.

    Raises:
        DataError: it is a picture, or has a line that is longer than any path.
    """
    rest, end = b"", b""
    while (
        chunk := stream.read1(_CHUNK_BYTES)
        if hasattr(stream, "read1")
        else stream.read(_CHUNK_BYTES)
    ):
        if not end:
            if looks_like_image((rest + chunk)[:16]):
                raise DataError(
                    "Standard input holds a picture; '-' takes a list of files, a path a line."
                )
            end = b"\0" if b"\0" in chunk else b"\n" if b"\n" in chunk else b""
        rest += chunk
        if end:
            *names, rest = rest.split(end)
            yield from map(_path_of, filter(None, (_without_return(n, end) for n in names)))
        if len(rest) > _LONGEST_NAME:
            raise DataError(
                "Standard input is no list of files: it has a line that is longer than any path."
            )
    if last := _without_return(rest, end):
        yield _path_of(last)


def _without_return(name: bytes, end: bytes) -> bytes:
    return name.removesuffix(b"\r") if end != b"\0" else name


def _path_of(name: bytes) -> Path:
    if b"\0" in name:
        raise DataError("Standard input is no list of files: a line of it holds zero bytes.")
    return Path(os.fsdecode(name))


def _believed(names: Iterator[Path]) -> Iterator[Path]:
    """The names of a list of files, if it is one.

    Raises:
        DataError: it is empty, or none of the first names is there.
    """
    first: list[Path] = []
    for name in names:
        first.append(name)
        if _is_there(name):
            yield from chain(first, names)
            return
        if len(first) == _FIRST_NAMES:
            break
    if not first:
        raise DataError("Standard input names no files; '-' takes a list of them, a path a line.")
    raise DataError(
        f"None of the first {plural(len(first), 'file')} that standard input names is there, such "
        f"as {shown(first[0])[:200]}; '-' takes a path a line, seen from the folder that you are "
        "in."
    )


def _each_below(folder: Path, on_other: Callable[[str], None]) -> Iterator[Path]:
    """The pictures below a folder, as :func:`_pictures_below` chooses them."""
    for walked in walk(folder):
        if walked.kind != "file":
            continue
        if walked.problem is None or _is_picture_by_name(walked.path):
            yield Path(walked.entry.path)
        else:
            on_other(walked.path)


def _is_there(path: Path) -> bool:
    try:
        return os.path.lexists(path)
    except ValueError:
        return False


def _no_file(path: Path) -> DataError:
    return DataError(f"There is no file {shown(path)}; give image files or folders of them.")


def _no_pictures(folder: Path, left_out: int, others: Sequence[str]) -> DataError:
    hint = (
        f"; {plural(left_out, 'file')} there, such as {shown(others[0])}, are none"
        if others
        else ""
    )
    return DataError(f"{shown(folder)} holds no pictures{hint}.")


def _tell_left_out(folder: Path, left_out: int, others: Sequence[str], progress: Progress) -> None:
    verb = "is" if left_out == 1 else "are"
    more = f" and {left_out - 3:,} more" if left_out > 3 else ""
    progress.note(
        f"{plural(left_out, 'file')} in {shown(folder)} {verb} no picture by name and "
        f"{verb} left out: {listed(others[:3], 3)}{more}."
    )


def _pictures_below(folder: Path, progress: Progress) -> list[Path]:
    with progress.stage("Listing files", None, "images") as stage:
        found = scan(folder, "", stage)
    pictures = [p for p in found.problems if _is_picture_by_name(p.path)]
    others = [p for p in found.problems if p not in pictures]
    files = sorted([*found.paths, *(_real_path(folder, problem) for problem in pictures)])
    if not files:
        raise _no_pictures(folder, len(others), [p.path for p in others])
    if others:
        _tell_left_out(folder, len(others), [p.path for p in others], progress)
    return [folder / file for file in files]


def _is_picture_by_name(path: str) -> bool:
    return path.rpartition(".")[2].lower() in IMAGE_EXTENSIONS | OTHER_PICTURES


def _real_path(folder: Path, problem: Problem) -> str:
    """The path as it is; a problem shows bytes that are no Unicode as escapes."""
    if os.path.lexists(folder / problem.path):
        return problem.path
    place = ""
    for part in problem.path.split("/"):
        names = [entry.name for entry in entries(folder / place)]
        place += "/" * bool(place) + next((n for n in names if shown(n) == part), part)
    return place
