"""Answers in a file that grows as they come: CSV, JSON lines or Parquet, gone on with after a kill.

Each row names the model that gave it, so that answers of two are never in one file. What is there
is not done again: of each path a digest of 64 bits is kept in memory, and nothing else.

Parquet cannot grow. Its answers stand as JSON lines beside it (``answers.parquet.jsonl``) until all
are there; then the table is written whole and the lines go.
"""

from __future__ import annotations

import csv
import json
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from tellapart.errors import DataError, FileError
from tellapart.files import GrowingFile, replacing
from tellapart.lock import locked
from tellapart.prediction.answers import Answer, RowForm, csv_line
from tellapart.wording import shown

#: Rows of Parquet that are in memory at a time.
_ROW_GROUP = 20_000
#: Bytes of a row: what is longer and has no end was not cut off by a kill.
_LONGEST_ROW = 1 << 22
#: Where the answers for a Parquet table stand until all are there.
_UNFINISHED = ".jsonl"


@dataclass(frozen=True)
class Stored:
    """One answer as a file holds it."""

    path: str
    #: "" where the file could not be read.
    prediction: str
    #: The first byte behind it.
    end: int = 0


class Done:
    """Which paths a file holds, and what was said of each."""

    def __init__(self, rows: Iterable[Stored]) -> None:
        self.counts: Counter[str] = Counter()
        words: dict[str, int] = {}
        digests, answers = array("Q"), array("I")
        for row in rows:
            self.counts[row.prediction] += 1
            digests.append(_digest(row.path))
            answers.append(words.setdefault(row.prediction, len(words)))
        self._words = list(words)
        found = np.frombuffer(digests, np.uint64) if digests else np.zeros(0, np.uint64)
        order = np.argsort(found, kind="stable")
        self._digests = found[order]
        self._answers = np.frombuffer(answers, np.uint32)[order] if answers else order
        self._taken = np.zeros(len(found), dtype=bool)

    def __len__(self) -> int:
        return len(self._digests)

    def take(self, path: str) -> str | None:
        """What was said of a path; None: it is not there. A path that is there twice can be
        taken twice."""
        digest = np.uint64(_digest(path))
        place = int(np.searchsorted(self._digests, digest))
        while place < len(self._digests) and self._digests[place] == digest:
            if not self._taken[place]:
                self._taken[place] = True
                return self._words[int(self._answers[place])]
            place += 1
        return None


def _digest(path: str) -> int:
    return int.from_bytes(blake2b(_text(path), digest_size=8).digest(), "little")


def _text(text: str) -> bytes:
    """As it is written: what is no Unicode as an escape."""
    return text.encode("utf-8", "backslashreplace")


class RowFormat(Protocol):
    """How answers stand in a file that grows."""

    def header(self, form: RowForm) -> bytes:
        """What the file begins with."""

    def begin(self, form: RowForm) -> bytes:
        """What tells such a file from any other: the bytes that it begins with."""

    def row(self, answer: Answer, form: RowForm) -> bytes:
        """One answer, with its end."""

    def read(self, path: Path, form: RowForm) -> Iterator[Stored]:
        """All whole rows, the header as the first, with an empty path.

        Raises:
            DataError: it is no such file, or of another model.
        """


class CsvRows:
    """CSV as RFC 4180 has it, with a header."""

    def header(self, form: RowForm) -> bytes:
        return _text(csv_line(form.columns) + "\r\n")

    def begin(self, form: RowForm) -> bytes:
        return self.header(form)

    def row(self, answer: Answer, form: RowForm) -> bytes:
        return _text(csv_line(form.cells(answer)) + "\r\n")

    def read(self, path: Path, form: RowForm) -> Iterator[Stored]:
        records = _csv_records(path)
        for _, end in records:  # the header, which is known
            yield Stored("", "", end)
            break
        fixed = form.constant_cells
        for number, (cells, end) in enumerate(records, start=2):
            if len(cells) != len(form.columns):
                raise _damaged(path, number)
            if fixed and cells[-len(fixed) :] != fixed:
                raise _of_others(path, f"row {number} is by {' and '.join(cells[-len(fixed) :])}")
            yield Stored(cells[0], cells[1], end)


def _csv_records(path: Path) -> Iterator[tuple[list[str], int]]:
    """Whole records, and where each ends."""
    end, number, quotes = 0, 1, 0
    record: list[bytes] = []
    with path.open("rb") as file:
        for line in file:
            record.append(line)
            quotes += line.count(b'"')
            if quotes % 2 or not line.endswith(b"\r\n"):
                if sum(map(len, record)) > _LONGEST_ROW:
                    raise _damaged(path, number)
                continue
            end += sum(map(len, record))
            text = b"".join(record).decode("utf-8", "replace")
            yield next(csv.reader(text.splitlines(keepends=True))), end
            record, quotes, number = [], 0, number + 1


class JsonRows:
    """JSON, an answer a line."""

    def header(self, form: RowForm) -> bytes:
        return b""

    def begin(self, form: RowForm) -> bytes:
        return b'{"path": '

    def row(self, answer: Answer, form: RowForm) -> bytes:
        return _json_line(form.to_json(answer))

    def read(self, path: Path, form: RowForm) -> Iterator[Stored]:
        end = 0
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if not line.endswith(b"\n"):
                    if len(line) > _LONGEST_ROW:
                        raise _damaged(path, number)
                    return
                end += len(line)
                try:
                    content = json.loads(line)
                    name, said = content["path"], content.get("prediction", "")
                    difference = form.difference(content)
                except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
                    raise _damaged(path, number) from None
                if not (isinstance(name, str) and isinstance(said, str)):
                    raise _damaged(path, number)
                if difference:
                    raise _of_others(path, f"line {number} {difference}")
                yield Stored(name, said, end)


def _json_line(content: Any) -> bytes:
    return _text(json.dumps(content, ensure_ascii=False, allow_nan=False) + "\n")


#: How a file is written, by the ending of its name.
FORMATS_BY_ENDING: dict[str, RowFormat | None] = {
    ".csv": CsvRows(), ".jsonl": JsonRows(), ".ndjson": JsonRows(), ".parquet": None,
}  # fmt: skip


def require_format(path: Path) -> str:
    """The ending of a file's name, said before any work.

    Raises:
        DataError: nothing is written to files that end so, or what Parquet needs is missing.
    """
    ending = path.suffix.lower()
    if ending not in FORMATS_BY_ENDING:
        raise DataError(
            f"--out {shown(path)}: the ending says how it is written, and must be one of "
            f"{', '.join(FORMATS_BY_ENDING)}."
        )
    if ending == ".parquet":
        try:
            import pyarrow  # noqa: F401
        except ImportError:
            raise DataError(
                "Parquet needs the package pyarrow: pip install pyarrow; or give --out a name "
                "that ends in .csv or .jsonl."
            ) from None
    return ending


class AnswersFile:
    """Answers on their way into a file; a context that closes it.

    Raises:
        DataError: the file is no such table, or has answers of another model.
        FileError: it cannot be written.
    """

    def __init__(self, path: Path, form: RowForm) -> None:
        ending = require_format(path)
        self.path, self._form = path, form
        self._table = ParquetTable(path, form) if ending == ".parquet" else None
        self._rows = FORMATS_BY_ENDING[ending] or JsonRows()
        place = path if self._table is None else path.with_name(path.name + _UNFINISHED)
        self._stack = ExitStack()
        if path.is_dir():
            raise FileError(
                f"{shown(path)} cannot be written: it is a folder; choose the name of a file."
            )
        if path.exists() and not path.is_file():  # opening a pipe waits for who reads it
            raise FileError(
                f"{shown(path)} cannot be gone on with: it is no file that can grow; choose the "
                "name of a file."
            )
        held = GrowingFile(place)
        try:
            self._stack.enter_context(locked(
                place, f"Another process writes to {shown(path)}; wait for its end, or give --out "
                "another name."
            ))  # fmt: skip
            if self._table is not None:
                self._table.drop_if_merged(place)
            self._ends = 0
            self.done = Done(self._read(place))
        except BaseException:
            held.close(durable=False)
            self._stack.close()
            raise
        held.close(durable=False)
        self._file = GrowingFile(place, keep=self._ends)
        if not self._ends:
            self._file.append(self._rows.header(form))
        self.added = 0

    def _read(self, place: Path) -> Iterator[Stored]:
        if self._table is not None:
            yield from self._table.stored()
        begin = self._rows.begin(self._form)
        with place.open("rb") as file:
            if not begin.startswith(there := file.read(len(begin))):
                first = there.decode("utf-8", "replace").splitlines()[0][:200]
                raise _of_others(place, f"it begins with {first}")
        for row in self._rows.read(place, self._form):
            self._ends = row.end
            if row.path:
                yield row

    def write(self, answers: Sequence[Answer]) -> None:
        """Add answers: all of them, or none.

        Raises:
            FileError: the disk is full, or the like.
        """
        self._file.append(b"".join(self._rows.row(answer, self._form) for answer in answers))
        self.added += len(answers)

    def __enter__(self) -> AnswersFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        try:
            self._file.close(durable=kind is None)
            if kind is None and self._table is not None:
                self._table.merge(self._file.path, self._rows)
        finally:
            self._stack.close()


class ParquetTable:
    """A Parquet table that is written whole."""

    def __init__(self, path: Path, form: RowForm) -> None:
        self._path, self._form = path, form

    def stored(self) -> Iterator[Stored]:
        """What the table holds, if there is one."""
        if not self._path.exists():
            return
        table = self._opened()
        facts = self._facts(table)
        if facts.get("columns") != list(self._form.columns) or (
            facts.get("constant") != self._form.constant_cells
        ):
            told = ", ".join(facts.get("constant") or facts.get("columns") or ["something else"])
            raise _of_others(self._path, f"it is by {told[:200]}")
        for batch in self._batches(table, columns=["path", "prediction"]):
            for path, prediction in zip(
                batch.column(0).to_pylist(), batch.column(1).to_pylist(), strict=True
            ):
                if path is None or prediction is None:
                    raise self._damaged("a row has no path")
                yield Stored(path, prediction)

    def drop_if_merged(self, lines: Path) -> None:
        """Empty the lines beside a table that has them already: the kill came before the end."""
        size = lines.stat().st_size
        if size and self._path.exists():
            merged = self._facts(self._opened()).get("merged")
            if merged == _content_digest(lines):
                with lines.open("rb+") as file:
                    file.truncate(0)

    def merge(self, lines: Path, rows: RowFormat) -> None:
        """Write the table anew, with the lines that stand beside it, and remove those.

        Raises:
            FileError: it cannot be written; the lines stay.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        if lines.stat().st_size or not self._path.exists():
            facts = {
                "columns": list(self._form.columns), "constant": self._form.constant_cells,
                "merged": _content_digest(lines),
            }  # fmt: skip
            schema = self._schema(pa).with_metadata({"tellapart": json.dumps(facts)})
            with replacing(self._path) as unfinished, pq.ParquetWriter(unfinished, schema) as out:
                if self._path.exists():
                    for batch in self._batches(self._opened()):
                        out.write_batch(pa.RecordBatch.from_arrays(batch.columns, schema=schema))
                for some in _in_groups(lines):
                    columns = self._form.table_columns(some)
                    arrays = [pa.array(columns[f.name], f.type) for f in schema]
                    out.write_batch(pa.RecordBatch.from_arrays(arrays, schema=schema))
        lines.unlink()

    def _schema(self, pa: Any) -> Any:
        types: dict[str, Callable[[], Any]] = {
            "text": pa.string, "number": pa.float64, "flag": pa.bool_,
            "names": lambda: pa.list_(pa.string()),
        }  # fmt: skip
        return pa.schema([(name, types[kind]()) for name, kind in self._form.kinds])

    def _opened(self) -> Any:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            return pq.ParquetFile(self._path)
        except (OSError, pa.ArrowException) as error:
            raise DataError(
                f"{shown(self._path)} is there and is no Parquet table ({error}); move it away, or "
                "give --out another name."
            ) from error

    def _batches(self, table: Any, **chosen: Any) -> Iterator[Any]:
        """Rows of a table, some at a time.

        Raises:
            DataError: what the table's end says of them is not what is there.
        """
        import pyarrow as pa

        batches = table.iter_batches(_ROW_GROUP, **chosen)
        while True:
            try:
                batch = next(batches, None)
            except (OSError, pa.ArrowException) as error:
                raise self._damaged(str(error)) from error
            if batch is None:
                return
            yield batch

    def _damaged(self, why: str) -> DataError:
        return DataError(
            f"{shown(self._path)} is damaged ({shown(why[:200])}); give --out another name, or "
            "move that file away."
        )

    def _facts(self, table: Any) -> dict[str, Any]:
        try:
            content = json.loads((table.schema_arrow.metadata or {})[b"tellapart"])
        except (KeyError, ValueError):
            raise _of_others(self._path, "it was not written by 'tellapart predict'") from None
        return content if isinstance(content, dict) else {}


def _content_digest(lines: Path) -> str:
    """Names a file of lines by its content."""
    digest = blake2b(digest_size=16)
    with lines.open("rb") as file:
        while some := file.read(1 << 20):
            digest.update(some)
    return digest.hexdigest()


def _in_groups(lines: Path) -> Iterator[list[dict[str, Any]]]:
    some: list[dict[str, Any]] = []
    with lines.open("rb") as file:
        for line in file:
            some.append(json.loads(line))
            if len(some) == _ROW_GROUP:
                yield some
                some = []
    if some:
        yield some


def _of_others(path: Path, why: str) -> DataError:
    return DataError(
        f"{shown(path)} holds answers of another model, or by other rules ({shown(why)}); give "
        "--out another name, or move that file away."
    )


def _damaged(path: Path, row: int) -> DataError:
    return DataError(
        f"{shown(path)} is damaged: row {row} is no answer of 'tellapart predict', and others "
        "follow; give --out another name, or move that file away."
    )
