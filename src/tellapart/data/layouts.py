"""Which folders mean what: wrappers, parts, classes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from tellapart.data.listing import (
    IMAGE_EXTENSIONS,
    Listing,
    Problem,
    entries,
    inside,
    is_system_name,
    listed,
    natural_key,
    normal_name,
    plural,
    scan,
    shown,
    visible_folders,
)
from tellapart.errors import DataError
from tellapart.progress import Work

PART_NAMES = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
}
_PART_FOLDER = re.compile(r"(train|training|val|valid|validation|test|testing)[ _-]?(\d*)")
_MAXIMUM_WRAPPERS = 3


@dataclass(frozen=True)
class Parts:
    """Folders that a caller names for each part, relative to the root; ``*`` is allowed."""

    train: tuple[str, ...] = ()
    validation: tuple[str, ...] = ()
    test: tuple[str, ...] = ()

    def items(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        return (("train", self.train), ("validation", self.validation), ("test", self.test))


# --- folders that mean a part -----------------------------------------------------------


def _has_images(folder: Path) -> bool:
    return any(
        e.name.rpartition(".")[2].lower() in IMAGE_EXTENSIONS and not is_system_name(e.name)
        for e in entries(folder)
    )


def find_base(root: Path) -> str:
    """The prefix of a single wrapping folder, as archives have one: ``""`` or ``"photos/"``."""
    prefix = ""
    for _ in range(_MAXIMUM_WRAPPERS):
        folder = root / prefix
        names = visible_folders(folder)
        if len(names) != 1 or part_of_folder(names[0]) or _has_images(folder):
            break
        below = folder / names[0]
        if not visible_folders(below) or _has_images(below):
            break
        prefix += f"{names[0]}/"
    return prefix


def part_of_folder(name: str) -> str | None:
    """The part that a folder's name means, in any case, with or without a number after it."""
    match = _PART_FOLDER.fullmatch(name.lower())
    return PART_NAMES[match[1]] if match else None


def find_parts(base: Path, named: Parts) -> tuple[dict[str, list[str]], list[str]]:
    """Folders of each part below ``base``: those named, then those with a part's name.

    A folder is a part only if it holds folders: ``train/*.jpg`` beside ``car/*.jpg`` is a
    class. ``train1 train2 ...`` together are the train part where there is no ``train``.

    Returns:
        Folder names for each part that is there, and notes about folders left out.
    """
    chosen = {part: _expand(base, part, patterns) for part, patterns in named.items() if patterns}
    taken = [name for names in chosen.values() for name in names]
    for name in taken:
        if taken.count(name) > 1:
            raise DataError(f"The folder '{shown(name)}' is named twice; give it to one part.")
    folders = visible_folders(base)
    candidates: dict[str, list[str]] = {}
    flat: list[str] = []
    for name in folders:
        part = part_of_folder(name)
        if part and part not in chosen and name not in taken:
            (candidates.setdefault(part, []) if visible_folders(base / name) else flat).append(name)
    for part, names in candidates.items():
        chosen[part] = _choose(base, part, names)
    named_any = any(patterns for _, patterns in named.items())
    others = any(part_of_folder(name) is None for name in folders)
    if "train" not in chosen and not named_any and (others or not chosen):
        return {}, []
    used = {name.split("/")[0] for names in chosen.values() for name in names}
    left = [name for name in folders if name not in used]
    notes = []
    if left:
        why = " (no class folders in it)" if set(left) <= set(flat) else ""
        notes.append(f"Left out, beside the parts: {', '.join(map(shown, left))}{why}.")
    return chosen, notes


def _choose(base: Path, part: str, names: list[str]) -> list[str]:
    """The folder without a number, else all that have one."""
    plain = [n for n in names if n.lower() in PART_NAMES]
    if len(plain) > 1:
        raise DataError(
            f"{shown(base)} has several {part} folders ({', '.join(plain)}); "
            f"name the one that is meant with --{part}."
        )
    return plain or sorted(names, key=natural_key)


def _expand(base: Path, part: str, patterns: Sequence[str]) -> list[str]:
    """Folders that a caller names for a part, patterns filled in."""
    found: list[str] = []
    for pattern in patterns:
        name = inside(pattern, base, f"--{part} {pattern}")
        if not any(c in name for c in "*?["):
            matches = [name] if (base / name).is_dir() else []
        else:
            matches = sorted(_match(base, name), key=natural_key)
        if not matches:
            raise DataError(
                f"There is no folder '{shown(pattern)}' for the {part} part in {shown(base)}; "
                f"folders there: {listed(visible_folders(base))}."
            )
        found += [m for m in matches if m not in found]
    return found


def _match(base: Path, pattern: str) -> Iterable[str]:
    names = [""]
    for piece in PurePosixPath(pattern).parts:
        names = [
            f"{above}/{name}".lstrip("/")
            for above in names
            for name in visible_folders(base / above)
            if fnmatchcase(name, piece)
        ]
    return names


# --- a folder of class folders ------------------------------------------------------------


def list_folder(root: Path, named: Parts, stage: Work) -> Listing:
    """List a folder of class folders, with or without folders of parts above them."""
    listing = Listing(root)
    first = next((names[0] for _, names in named.items() if names), None)
    prefix = "" if first and any(_match(root, first)) else find_base(root)
    parts, notes = find_parts(root / prefix, named)
    listing.notes += notes
    if not parts:
        _list_classes(listing, prefix, "", stage)
    for part, folders in parts.items():
        for folder in folders:
            below = "" if folder == "." else f"{folder}/"
            _list_classes(listing, prefix + below, part, stage)
    return listing


def _list_classes(listing: Listing, prefix: str, part: str, stage: Work) -> None:
    found = scan(listing.root / prefix, prefix, stage)
    start = len(prefix)
    filled = set()
    for path in found.paths:
        name, slash, _ = path[start:].partition("/")
        if not slash:
            reason = "It lies outside the class folders."
            listing.problems.append(Problem(path, "no_class", reason))
            continue
        filled.add(name)
        listing.paths.append(path)
        listing.names.append(normal_name(name))
        listing.parts.append(part)
    # A read-me or a table beside the class folders is no picture that somebody will miss.
    listing.problems += [
        p for p in found.problems if "/" in p.path[start:] or p.kind != "not_an_image"
    ]
    bare = sorted(set(found.folders) - filled)
    if bare and filled:
        listing.notes.append(
            f"No images in {plural(len(bare), 'folder')}, taken for no class: "
            f"{listed([prefix + b for b in bare])}."
        )
