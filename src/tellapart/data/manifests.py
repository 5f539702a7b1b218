"""Tables that name images and their classes: which column says what, and which file a row means."""

from __future__ import annotations

import os
import stat
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from tellapart.data.listing import (
    Listing,
    Problem,
    check_name_and_size,
    listed,
    normal_name,
    plural,
    shown,
    visible_folders,
)
from tellapart.data.locate import Locator
from tellapart.data.part_names import part_of_name
from tellapart.data.table_files import Cells, is_manifest, not_utf8, read_rows
from tellapart.errors import DataError
from tellapart.pixels.formats import IMAGE_EXTENSIONS
from tellapart.progress import Work

PATH_COLUMNS = (
    *("path", "image_path", "img_path", "file_path", "filepath", "image_file", "file"),
    *("filename", "file_name", "image", "img"),
    *("image_name", "img_name", "image_id", "img_id", "id_code", "fname"),
)
LABEL_COLUMNS = ("label", "class", "class_name", "classname", "category", "target", "labels")
PART_COLUMNS = ("split", "part", "subset", "set")
#: Columns that say yes or no for one part; train is what no column claims.
_FLAGS = {
    "is_valid": "validation",
    "is_val": "validation",
    "is_validation": "validation",
    "is_test": "test",
}
_YES, _NO = {"true", "1", "1.0", "yes", "t", "y"}, {"false", "0", "0.0", "no", "f", "n", ""}
#: Where an image stays that is listed for several parts.
_FIRST_PART = ("test", "validation", "train", "")
_STAGE_STEP = 1000


def find_column(rows: Cells, source: Path, asked: str | None, known: Sequence[str]) -> int | None:
    """Place of the column asked for, or of the first known name in any case; None if absent.

    Raises:
        DataError: the column asked for is not there.
    """
    if asked is not None:
        if asked not in rows.columns:
            raise DataError(
                f"{shown(source)} has no column '{asked}'; its columns are {listed(rows.columns)}."
            )
        return _only_of_its_name(rows, source, rows.columns.index(asked))
    lower = [name.lower().replace(" ", "_") for name in rows.columns]
    at = next((lower.index(name) for name in known if name in lower), None)
    return None if at is None else _only_of_its_name(rows, source, at)


def _only_of_its_name(rows: Cells, source: Path, at: int) -> int:
    name = rows.columns[at]
    if rows.columns.count(name) > 1:
        raise DataError(
            f"{shown(source)} has {rows.columns.count(name)} columns named '{shown(name)}'; give "
            "each its own name."
        )
    return at


def has_path_and_label(
    path: Path, path_column: str | None = None, label_column: str | None = None
) -> bool:
    """Whether a table can be read and has a path and a label column, by usual names or these."""
    try:
        rows = read_rows(path)
        return (
            find_column(rows, path, path_column, PATH_COLUMNS) is not None
            and find_column(rows, path, label_column, LABEL_COLUMNS) is not None
        )
    except DataError:
        return False


def list_manifest(
    source: Path,
    stage: Work,
    *,
    root: Path | None = None,
    path_column: str | None = None,
    label_column: str | None = None,
    part: str | None = None,
) -> Listing:
    """List the images that a table names, each checked to be there.

    A file that is named more than once is listed as often; see :func:`one_row_an_image`.

    Args:
        source: the table; its folder is the root unless ``root`` is given.
        path_column: found by name if None (path, image_path, file, filename, image ...).
        label_column: found by name if None (label, class, category ...).
        part: all rows belong to this part; None: by the table's own column, if it has one.

    Raises:
        DataError: a column is missing, a path leaves the root, or no file is there.
    """
    rows = read_rows(source)
    listing = Listing(root or source.parent)
    path_at = _required(rows, source, path_column, PATH_COLUMNS, "path")
    label_at = _required(rows, source, label_column, LABEL_COLUMNS, "label")
    part_of_row = (lambda _row, _where: part) if part else None
    if part_of_row is None:
        part_of_row, notes = _parts_by_column(rows, {path_at, label_at})
        listing.notes += notes
    locator = Locator(listing.root)
    kept: list[int] = []
    for number, (place, row) in enumerate(zip(rows.places, rows.values, strict=True)):
        where = f"{shown(source.name)} {place}"
        if odd := rows.odd.get((number, path_at)):
            raise DataError(
                f"{where}: the column '{shown(rows.columns[path_at])}' holds {odd} and not paths; "
                "save the pictures as files, and give the column of their names with "
                "--path-column."
            )
        found = _file_of_row(row[path_at], locator, where)
        problem = found if isinstance(found, Problem) else _check_row(listing.root, found, where)
        label = normal_name(row[label_at].strip())
        if problem is None and not label:
            reason = f"{where} gives it {rows.odd.get((number, label_at), 'no label')}"
            kind = "bad_label" if (number, label_at) in rows.odd else "no_label"
            reason += ", which is no label." if kind == "bad_label" else "."
            problem = Problem(str(found), kind, reason)
        if problem is not None:
            listing.problems.append(problem)
            continue
        kept.append(number)
        listing.paths.append(str(found))
        listing.names.append(label)
        listing.parts.append(part_of_row(row, where))
        listing.places.append(where)
        if len(kept) % _STAGE_STEP == 0:
            stage.advance(_STAGE_STEP)
    for at, column in enumerate(rows.columns):
        listing.columns[column] = [rows.values[number][at] for number in kept]
    missing = [p for p in listing.problems if p.kind == "missing"]
    if missing and not listing.paths:
        raise DataError(
            f"{shown(source)}: none of {plural(len(missing), 'file')} that it names is under "
            f"{shown(listing.root)}, for example '{shown(missing[0].path)}'; "
            f"give the folder of the images with --root{_where_it_is(listing.root, missing[0])}."
        )
    return listing


def _required(rows: Cells, source: Path, asked: str | None, known: Sequence[str], what: str) -> int:
    at = find_column(rows, source, asked, known)
    if at is None:
        headless = any(looks_like_image_name(name) for name in rows.columns)
        hint = "its first line must name the columns (path,label), or " if headless else ""
        if what == "label" and (classes := _yes_no_columns(rows)):
            hint = (
                f"{listed(classes, 4)} hold 0 and 1, as one column a class does; write the "
                "name of each image's class into one column label, or "
            )
        raise DataError(
            f"{shown(source)} has no {what} column; its columns are {listed(rows.columns)}: "
            f"{hint}name the right one with --{what}-column."
        )
    return at


def _yes_no_columns(rows: Cells) -> list[str]:
    """Columns of nothing but 0 and 1, if there are at least two."""
    columns = zip(rows.columns, zip(*rows.values, strict=True), strict=True)
    found = [name for name, values in columns if {v.strip() for v in values} == {"0", "1"}]
    return found if len(found) > 1 else []


def looks_like_image_name(name: str) -> bool:
    """Whether a name has the extension of an image."""
    return name.rpartition(".")[2].lower() in IMAGE_EXTENSIONS


def _file_of_row(text: str, locator: Locator, where: str) -> str | Problem:
    """The file that a row means, or what is wrong."""
    if not text.strip():
        return Problem(f"({where})", "missing", f"{where} names no file.")
    found = locator.find(text, where)
    if len(found) == 1:
        return found[0]
    path = locator.written(text, where)
    if found:
        names = listed([f.rpartition("/")[2] for f in found], 3)
        reason = f"{where} may mean any of {names}; write the whole name."
        return Problem(path, "ambiguous", reason)
    return Problem(path, "missing", f"{where} names it, but there is no such file.")


def _check_row(root: Path, path: str, where: str) -> Problem | None:
    file = f"{root}/{path}"
    try:
        status = os.stat(file)  # noqa: PTH116 - a Path for each of many rows doubles the time
    except OSError:
        return Problem(path, "missing", f"{where} names it, but there is no such file.")
    if not stat.S_ISREG(status.st_mode):
        return Problem(path, "not_an_image", f"{where} names it, but it is no file.")
    problem = check_name_and_size(path, status.st_size, file)
    # Somebody listed it as an image, so it is a fault where a stray file in a folder is none.
    return (
        replace(problem, kind="not_an_image")
        if problem and problem.kind == "other_file"
        else (problem)
    )


def _where_it_is(root: Path, missing: Problem) -> str:
    """``: they are in images`` where the first missing file lies in a folder just below."""
    for name in visible_folders(root):
        if Locator(root / name).find(missing.path, ""):
            return f": {shown(missing.path)} is in {shown(root / name)}"
    return ""


# --- parts --------------------------------------------------------------------------------

_PartOfRow = Callable[[Sequence[str], str], str]


def _parts_by_column(rows: Cells, taken: set[int]) -> tuple[_PartOfRow, list[str]]:
    """How a row's part is read from the table, and notes where that is not by a usual name.

    The column split (part, subset, set) says it; else ``is_valid`` and ``is_test``, as fastai
    has them; else any column that holds nothing but names of at least two parts. A column part,
    subset or set without any name of a part (of the body, of a set of cards) is about something
    else.
    """
    lower = [name.lower().replace(" ", "_") for name in rows.columns]
    notes: list[str] = []
    for at in (lower.index(name) for name in PART_COLUMNS if name in lower):
        if at in taken:
            continue
        if lower[at] == PART_COLUMNS[0] or any(part_of_name(row[at]) for row in rows.values):
            return partial(_part_at, at, rows.columns[at]), notes
        notes.append(
            f"The column '{shown(rows.columns[at])}' of the table names no parts (train, "
            "validation, test) and is not used."
        )
    flags = {at: _FLAGS[name] for at, name in enumerate(lower) if name in _FLAGS}
    if flags:
        names = " and ".join(f"'{shown(rows.columns[at])}'" for at in flags)
        notes.append(f"The parts are those of {names} in the table.")
        return lambda row, where: _part_by_flags(row, flags, rows.columns, where), notes
    for at, name in enumerate(rows.columns):
        if at not in taken and _holds_parts_only(rows, at):
            notes.append(f"The parts are those of '{shown(name)}' in the table.")
            return partial(_part_at, at, name), notes
    return lambda _row, _where: "", notes


def _holds_parts_only(rows: Cells, at: int) -> bool:
    found = set()
    for value in dict.fromkeys(row[at] for row in rows.values):
        part = part_of_name(value)
        if part is None:  # mostly the first value
            return False
        found.add(part)
    return len(found) > 1


def _part_at(at: int, column: str, row: Sequence[str], where: str) -> str:
    part = part_of_name(row[at])
    if part is None:
        found = f"'{shown(row[at])}', which is" if row[at].strip() else "nothing, which is"
        raise DataError(
            f"{where}: the column '{shown(column)}' holds {found} no part; write train, "
            "validation or test."
        )
    return part


def _part_by_flags(
    row: Sequence[str], flags: Mapping[int, str], columns: Sequence[str], where: str
) -> str:
    """The part whose column says yes, else train."""
    said = []
    for at, part in flags.items():
        value = row[at].strip().lower()
        if value not in _YES and value not in _NO:
            raise DataError(
                f"{where}: '{shown(row[at])}' in the column '{shown(columns[at])}' is neither "
                "True nor False."
            )
        said += [part] if value in _YES else []
    if len(set(said)) > 1:
        raise DataError(f"{where} is in two parts; one of the columns must say False.")
    return said[0] if said else "train"


# --- images that are listed more than once ------------------------------------------------


def one_row_an_image(listing: Listing) -> None:
    """Make every image one row of a table, by one rule.

    Under two labels: left out, as neither can be trusted. In several parts: it stays in the
    first of test, validation, train, so that what is tested on is never trained on. Listed
    again in the same way: it counts once. All of it is said.
    """
    rows_of: dict[str, list[int]] = defaultdict(list)
    for row, path in enumerate(listing.paths):
        rows_of[path].append(row)
    keep: list[int] = []
    again: list[list[int]] = []
    moved: dict[str, list[list[int]]] = defaultdict(list)
    for path, rows in rows_of.items():
        if len({listing.names[row] for row in rows}) > 1:
            first, second = listing.places[rows[0]], listing.places[rows[-1]]
            reason = f"{first} and {second} give it two labels."
            listing.problems.append(Problem(path, "label_conflict", reason))
            continue
        best = min(rows, key=lambda row: (_FIRST_PART.index(listing.parts[row]), row))
        keep.append(best)
        if len({listing.parts[row] for row in rows}) > 1:
            moved[listing.parts[best]].append(rows)
        elif len(rows) > 1:
            again.append(rows)
    for part, found in moved.items():
        images = plural(len(found), "image")
        listing.notes.append(
            f"{images} listed for several parts, used for {part} only: {_example(listing, found)}."
        )
    if again:
        images = plural(len(again), "image")
        listing.notes.append(
            f"{images} listed more than once, used once: {_example(listing, again)}."
        )
    used = {listing.paths[row] for row in keep}
    listing.problems[:] = [p for p in listing.problems if p.path not in used]
    listing.keep(sorted(keep))


def _example(listing: Listing, found: Sequence[Sequence[int]]) -> str:
    rows = found[0]
    places = listed([listing.places[row] for row in rows], 3)
    return f"{shown(listing.paths[rows[0]])} ({places})"


def read_path_list(source: Path) -> Iterator[tuple[str, str]]:
    """Paths in a plain list, one a line, or in the ``path`` column of a table.

    Yields:
        The path as written, and where it stands, for messages.
    """
    if is_manifest(source):
        rows = read_rows(source, may_be_empty=True)
        at = find_column(rows, source, None, PATH_COLUMNS)
        if at is not None:
            for place, row in zip(rows.places, rows.values, strict=True):
                yield row[at], f"{shown(source.name)} {place}"
            return
        if len(rows.columns) != 1:
            raise DataError(
                f"{shown(source)} has no column 'path'; its columns are {listed(rows.columns)}."
            )
    try:
        lines = source.read_text(encoding="utf-8-sig").split("\n")
    except OSError as error:
        raise DataError(f"The list {shown(source)} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError:
        raise DataError(not_utf8("list", source)) from None
    for number, line in enumerate(lines, 1):
        if line.strip():
            yield line.rstrip("\r"), f"{shown(source.name)} line {number}"
