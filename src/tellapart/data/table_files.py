"""Files of rows and columns, whatever they are of: CSV, TSV, JSON, JSON lines, Parquet, as text."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tellapart.errors import DataError
from tellapart.wording import plural, shown

_ODD: dict[type | tuple[type, ...], str] = {
    dict: "an object",
    (list, tuple, set): "a list",
    (bytes, bytearray): "bytes",
}
_SEPARATORS = ",;\t|"


@dataclass(frozen=True)
class Cells:
    """A table as text: every value exactly as written, so that 007 stays 007."""

    columns: tuple[str, ...]
    #: Where each row is, for messages: "line 7" or "entry 7".
    places: list[str]
    values: list[list[str]]
    #: Cells that hold no text or number, by (row, column): "a list", "an object", "NaN".
    odd: dict[tuple[int, int], str] = field(default_factory=dict)


def is_manifest(path: Path) -> bool:
    """Whether a file's extension is that of a table of images."""
    return _kind(path) in TABLE_READERS


def _kind(path: Path) -> str:
    return path.suffix.lower().lstrip(".")


def read_rows(path: Path, *, may_be_empty: bool = False) -> Cells:
    """Read a table by its extension.

    Args:
        may_be_empty: columns without rows will do, as in a list that names nothing.

    Raises:
        DataError: it cannot be read, is not UTF-8, has no rows, or rows of unequal length.
    """
    try:
        rows = TABLE_READERS.get(_kind(path), _read_csv)(path)
    except OSError as error:
        raise DataError(f"The table {shown(path)} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError:
        raise DataError(not_utf8("table", path)) from None
    if not rows.values and not (may_be_empty and rows.columns):
        raise DataError(f"The table {shown(path)} has no rows; it needs one for each image.")
    return rows


def not_utf8(what: str, path: Path) -> str:
    """The sentence for a text file of another encoding: which, and how to save it."""
    with path.open("rb") as opened:
        wide = opened.read(2) in {b"\xff\xfe", b"\xfe\xff"}
    found = "UTF-16 text, not UTF-8" if wide else "not UTF-8 text"
    return (
        f"The {what} {shown(path)} is {found}; save it again as UTF-8 (in Excel: 'Save as', "
        "'CSV UTF-8'; in a text editor: the encoding UTF-8)."
    )


def _read_csv(path: Path, tabs: bool = False) -> Cells:
    with path.open(encoding="utf-8-sig", newline="") as opened:
        head = opened.readline()
        separator = "\t" if tabs else max(_SEPARATORS, key=head.count)
        told = head.strip().lower()
        skipped = len(told) == 5 and told.startswith("sep=")  # a line for Excel
        if skipped:
            separator = told[-1]
        else:
            opened.seek(0)
        # Without ``skipinitialspace``, `a.jpg, "x, y"` would be three values.
        reader = csv.reader(opened, delimiter=separator, strict=True, skipinitialspace=True)
        places, values = [], []
        try:
            columns = tuple(name.strip() for name in next(reader, []))
            line = reader.line_num + 1 + skipped
            for row in reader:
                if any(value.strip() for value in row):  # Excel writes empty rows as commas
                    if len(row) != len(columns):
                        hint = (
                            "an empty value needs its separator, too"
                            if len(row) < len(columns)
                            else "put values with commas in quotes"
                        )
                        raise DataError(
                            f"{shown(path)} line {line} has {plural(len(row), 'value')} under "
                            f"{plural(len(columns), 'column')}; {hint}."
                        )
                    places.append(f"line {line}")
                    values.append(row)
                line = reader.line_num + 1 + skipped
        except csv.Error as error:
            raise DataError(
                f"{shown(path)} line {reader.line_num + skipped} is not valid CSV: {error}."
            ) from None
    return Cells(columns, places, values)


def _read_json(path: Path, lines: bool = False) -> Cells:
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
    return _as_rows(columns, places, [[row.get(c) for c in columns] for row in content])


def _read_parquet(path: Path) -> Cells:
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
    by_column = [table.column(c).to_pylist() for c in range(len(columns))]
    values = [list(row) for row in zip(*by_column, strict=True)]
    return _as_rows(columns, [f"row {n}" for n in range(1, len(values) + 1)], values)


#: By extension. A new one is a function above and a row here.
TABLE_READERS: Mapping[str, Callable[[Path], Cells]] = MappingProxyType(
    {
        "csv": _read_csv,
        "tsv": partial(_read_csv, tabs=True),
        "json": _read_json,
        "jsonl": partial(_read_json, lines=True),
        "ndjson": partial(_read_json, lines=True),
        "parquet": _read_parquet,
    }
)


def _as_rows(columns: tuple[str, ...], places: list[str], cells: list[list[Any]]) -> Cells:
    """Typed cells as text; what is neither text nor a number is empty, and listed as odd."""
    rows = Cells(columns, places, [])
    for number, row in enumerate(cells):
        texts = []
        for at, value in enumerate(row):
            text, odd = _as_text(value)
            texts.append(text)
            if odd:
                rows.odd[number, at] = odd
        rows.values.append(texts)
    return rows


def _as_text(value: Any) -> tuple[str, str | None]:
    """A cell's text, and what it holds instead if that is no text.

    Whole numbers that became floating point in a column with gaps are whole numbers again.
    """
    if value is None:
        return "", None
    if isinstance(value, float):
        if value != value:
            return "", "NaN"
        return (str(int(value)) if value.is_integer() else str(value)), None
    for kinds, words in _ODD.items():
        if isinstance(value, kinds):
            return "", words
    return str(value), None
