"""Tables that name images and their classes: CSV, TSV, JSON, JSON lines, Parquet."""

from __future__ import annotations

import csv
import io
import json
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tellapart.data.layouts import PART_NAMES
from tellapart.data.listing import (
    Listing,
    Problem,
    check_name_and_size,
    inside,
    listed,
    normal_name,
    plural,
    shown,
)
from tellapart.errors import DataError
from tellapart.progress import Work

MANIFEST_EXTENSIONS = frozenset({"csv", "tsv", "json", "jsonl", "ndjson", "parquet"})
PATH_COLUMNS = (
    *("path", "image_path", "img_path", "file_path", "filepath", "image_file", "file"),
    *("filename", "file_name", "image", "img"),
)
LABEL_COLUMNS = ("label", "class", "class_name", "classname", "category", "target", "labels")
PART_COLUMNS = ("split", "part", "subset", "set")
_SEPARATORS = ",;\t|"
_STAGE_STEP = 1000


@dataclass(frozen=True)
class Rows:
    """A table as text: every value exactly as written, so that 007 stays 007."""

    columns: tuple[str, ...]
    #: Where each row is, for messages: "line 7" or "entry 7".
    places: list[str]
    values: list[list[str]]


def is_manifest(path: Path) -> bool:
    """Whether a file's extension is that of a table of images."""
    return path.suffix.lower().lstrip(".") in MANIFEST_EXTENSIONS


def read_rows(path: Path) -> Rows:
    """Read a table by its extension.

    Raises:
        DataError: it cannot be read, is not UTF-8, has no rows, or rows of unequal length.
    """
    kind = path.suffix.lower().lstrip(".")
    try:
        if kind == "parquet":
            rows = _read_parquet(path)
        elif kind in {"json", "jsonl", "ndjson"}:
            rows = _read_json(path, lines=kind != "json")
        else:
            rows = _read_csv(path, tabs=kind == "tsv")
    except OSError as error:
        raise DataError(f"The table {shown(path)} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError:
        raise DataError(f"The table {shown(path)} is not UTF-8 text; save it as UTF-8.") from None
    if not rows.values:
        raise DataError(f"The table {shown(path)} has no rows; it needs one for each image.")
    return rows


def _read_csv(path: Path, tabs: bool) -> Rows:
    with path.open(encoding="utf-8-sig", newline="") as opened:
        head = opened.readline()
        opened.seek(0)
        separator = "\t" if tabs else max(_SEPARATORS, key=head.count)
        reader = csv.reader(opened, delimiter=separator, strict=True)
        places, values = [], []
        try:
            columns = tuple(name.strip() for name in next(reader, []))
            line = reader.line_num + 1
            for row in reader:
                if row:
                    if len(row) != len(columns):
                        raise DataError(
                            f"{shown(path)} line {line} has {len(row)} values under "
                            f"{len(columns)} columns; put values with commas in quotes."
                        )
                    places.append(f"line {line}")
                    values.append(row)
                line = reader.line_num + 1
        except csv.Error as error:
            raise DataError(
                f"{shown(path)} line {reader.line_num} is not valid CSV: {error}."
            ) from None
    return Rows(columns, places, values)


def _read_json(path: Path, lines: bool) -> Rows:
    text = path.read_text(encoding="utf-8-sig")
    try:
        if lines:
            numbered = [(n, t) for n, t in enumerate(io.StringIO(text), 1) if t.strip()]
            content = [json.loads(t) for _, t in numbered]
            places = [f"line {n}" for n, _ in numbered]
        else:
            content = json.loads(text)
            places = [f"entry {n}" for n in range(1, len(content) + 1)]
    except (json.JSONDecodeError, RecursionError, TypeError) as error:
        raise DataError(f"{shown(path)} is not valid JSON: {error}.") from None
    if not isinstance(content, list) or not all(isinstance(row, dict) for row in content):
        raise DataError(
            f"{shown(path)} must be a list of objects, one an image, as in "
            '[{"path": "cat/1.jpg", "label": "cat"}].'
        )
    columns = tuple(dict.fromkeys(str(key) for row in content for key in row))
    return Rows(columns, places, [[_as_text(row.get(c)) for c in columns] for row in content])


def _read_parquet(path: Path) -> Rows:
    try:
        from pyarrow import ArrowInvalid, parquet
    except ImportError:
        raise DataError(
            f"Reading {shown(path)} needs the package pyarrow: install it "
            "(pip install pyarrow), or save the table as CSV."
        ) from None
    try:
        table = parquet.read_table(path)
    except ArrowInvalid as error:
        raise DataError(f"{shown(path)} is not valid Parquet: {error}.") from None
    columns = tuple(table.column_names)
    by_column = [[_as_text(v) for v in table.column(c).to_pylist()] for c in columns]
    values = [list(row) for row in zip(*by_column, strict=True)]
    return Rows(columns, [f"row {n}" for n in range(1, len(values) + 1)], values)


def _as_text(value: Any) -> str:
    return "" if value is None else str(value)


def find_column(rows: Rows, source: Path, asked: str | None, known: Sequence[str]) -> int | None:
    """Place of the column asked for, or of the first known name in any case; None if absent.

    Raises:
        DataError: the column asked for is not there.
    """
    if asked is not None:
        if asked not in rows.columns:
            raise DataError(
                f"{shown(source)} has no column '{asked}'; its columns are "
                f"{listed(rows.columns)}."
            )
        return rows.columns.index(asked)
    lower = [name.lower().replace(" ", "_") for name in rows.columns]
    return next((lower.index(name) for name in known if name in lower), None)


def has_path_and_label(path: Path) -> bool:
    """Whether a table can be read and has a path and a label column by their usual names."""
    try:
        rows = read_rows(path)
    except DataError:
        return False
    return (
        find_column(rows, path, None, PATH_COLUMNS) is not None
        and find_column(rows, path, None, LABEL_COLUMNS) is not None
    )


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

    Args:
        source: the table; its folder is the root unless ``root`` is given.
        path_column: found by name if None (path, image_path, file, filename, image ...).
        label_column: found by name if None (label, class, category ...).
        part: all rows belong to this part; None: by the column split, part, subset or set.

    Raises:
        DataError: a column is missing, a path leaves the root, or no file is there.
    """
    rows = read_rows(source)
    listing = Listing(root or source.parent)
    path_at = _required(rows, source, path_column, PATH_COLUMNS, "path")
    label_at = _required(rows, source, label_column, LABEL_COLUMNS, "label")
    part_at = find_column(rows, source, None, PART_COLUMNS) if part is None else None
    kept: list[int] = []
    first: dict[str, int] = {}
    conflicts: set[str] = set()
    for number, (place, row) in enumerate(zip(rows.places, rows.values, strict=True)):
        where = f"{shown(source.name)} {place}"
        path, label = inside(row[path_at], listing.root, where), normal_name(row[label_at].strip())
        before = first.setdefault(path, number)
        if before != number:
            if normal_name(rows.values[before][label_at].strip()) != label:
                conflicts.add(path)
            reason = f"{where} names it again, after {rows.places[before]}."
            listing.problems.append(Problem(path, "duplicate_name", reason))
            continue
        problem = _check_row(listing.root, path, label, where)
        if problem is not None:
            listing.problems.append(problem)
            continue
        kept.append(number)
        listing.paths.append(path)
        listing.names.append(label)
        listing.parts.append(part or _part_of_row(row, part_at, where))
        if len(kept) % _STAGE_STEP == 0:
            stage.advance(_STAGE_STEP)
    for at, column in enumerate(rows.columns):
        listing.columns[column] = [rows.values[number][at] for number in kept]
    missing = [p for p in listing.problems if p.kind == "missing"]
    if missing and not listing.paths:
        raise DataError(
            f"{shown(source)}: none of {plural(len(missing), 'file')} that it names is under "
            f"{shown(listing.root)}, for example '{shown(missing[0].path)}'; "
            "give the folder of the images with --root."
        )
    return _without_conflicts(listing, conflicts, source)


def _required(
    rows: Rows, source: Path, asked: str | None, known: Sequence[str], what: str
) -> int:
    at = find_column(rows, source, asked, known)
    if at is None:
        raise DataError(
            f"{shown(source)} has no {what} column; its columns are {listed(rows.columns)}: "
            f"name the right one with --{what}-column."
        )
    return at


def _check_row(root: Path, path: str, label: str, where: str) -> Problem | None:
    if not label:
        return Problem(path, "no_class", f"{where} gives it no label.")
    file = f"{root}/{path}"
    try:
        status = os.stat(file)  # noqa: PTH116 - a Path for each of many rows doubles the time
    except OSError:
        reason = f"{where} names it, but there is no such file."
        return Problem(path, "missing", reason)
    if not stat.S_ISREG(status.st_mode):
        return Problem(path, "not_an_image", f"{where} names it, but it is no file.")
    return check_name_and_size(path, status.st_size, file)


def _part_of_row(row: Sequence[str], at: int | None, where: str) -> str:
    value = row[at].strip().lower() if at is not None else ""
    if at is not None and value not in PART_NAMES:
        raise DataError(
            f"{where}: '{shown(row[at])}' is no part; write train, validation or test."
        )
    return PART_NAMES[value] if at is not None else ""


def _without_conflicts(listing: Listing, conflicts: set[str], source: Path) -> Listing:
    """Leave out files that the table names twice with two labels: neither can be trusted."""
    if not conflicts:
        return listing
    keep = [i for i, path in enumerate(listing.paths) if path not in conflicts]
    others = [p for p in listing.problems if p.path not in conflicts]
    reason = f"{shown(source.name)} names it under two labels."
    two = [Problem(path, "two_labels", reason) for path in sorted(conflicts)]
    return Listing(
        listing.root,
        [listing.paths[i] for i in keep],
        [listing.names[i] for i in keep],
        [listing.parts[i] for i in keep],
        others + two,
        listing.notes,
        {name: [values[i] for i in keep] for name, values in listing.columns.items()},
    )


def read_path_list(source: Path) -> Iterator[tuple[str, str]]:
    """Paths in a plain list, one a line, or in the ``path`` column of a table.

    Yields:
        The path as written, and where it stands, for messages.
    """
    if is_manifest(source):
        rows = read_rows(source)
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
        raise DataError(f"The list {shown(source)} is not UTF-8 text; save it as UTF-8.") from None
    for number, line in enumerate(lines, 1):
        if line.strip():
            yield line.rstrip("\r"), f"{shown(source.name)} line {number}"
