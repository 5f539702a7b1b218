"""Image files named on the command line: files as they are given, folders by what is in them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from tellapart.data.listing import Problem, entries, scan
from tellapart.errors import DataError
from tellapart.pixels.formats import IMAGE_EXTENSIONS, OTHER_PICTURES
from tellapart.progress import SILENT, Progress
from tellapart.wording import listed, plural, shown

Given = Sequence[str | Path] | str | Path


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
        elif path.exists() or path.is_symlink():
            files.append(path)
        else:
            raise DataError(f"There is no file {shown(path)}; give image files or folders of them.")
    return files


def _pictures_below(folder: Path, progress: Progress) -> list[Path]:
    with progress.stage("Listing files", None, "images") as stage:
        found = scan(folder, "", stage)
    pictures = [p for p in found.problems if _is_picture_by_name(p.path)]
    others = [p for p in found.problems if p not in pictures]
    files = sorted([*found.paths, *(_real_path(folder, problem) for problem in pictures)])
    if not files:
        hint = f"; {plural(len(others), 'file')} there, such as {shown(others[0].path)}, " \
            "are none" if others else ""
        raise DataError(f"{shown(folder)} holds no pictures{hint}.")
    if others:
        verb = "is" if len(others) == 1 else "are"
        progress.note(
            f"{plural(len(others), 'file')} in {shown(folder)} {verb} no picture by name and "
            f"{verb} left out: {listed([p.path for p in others], 3)}."
        )
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
