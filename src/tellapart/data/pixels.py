"""Every image decoded once, into a memory-mapped uint8 array in the cache.

An array belongs to the ordered contents of the files and the resize rule; names, folders
and dates do not matter. Files are read once: the bytes that are hashed are the bytes that
are decoded. A small index (path, size, times -> digest) lets the next run start without
reading any file, and rows of earlier arrays are copied, not decoded again.

Threads decode: Pillow gives up Python's lock while it decodes and resizes, so two threads
were as fast as two processes where it was measured (about 1 ms of one core for a JPEG of
200 x 200 pixels). Files of a kilobyte take so little time outside the lock that two threads
only wait for each other (183 microseconds a file against 116 with one): those one thread
decodes.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import PIL
from numpy.typing import NDArray

from tellapart import cache
from tellapart.data.table import ImageTable, Problem
from tellapart.errors import DataError
from tellapart.pixels.decode import (
    DECODER_VERSION,
    UnreadableImage,
    decode,
    num_decoding_threads,
    read_image_file,
)
from tellapart.pixels.preprocessing import Preprocessing
from tellapart.progress import SILENT, Progress
from tellapart.wording import percent

_INDEX = "file-index"
_PIXELS, _FACTS = "pixels.raw", "facts.json"
_CHUNK = 32
#: Earlier arrays of the same resize rule whose rows are looked through for reuse.
_MAXIMUM_SIBLINGS = 16


@dataclass(frozen=True)
class PixelCache:
    """Decoded images in the order of their table.

    Attributes:
        table: the images that could be read; those left out are in ``table.problems``.
        pixels: uint8 (N, H, W, 3), RGB, memory-mapped, read-only; row i is table.paths[i].
        digests: content digest of each file.
        key: of contents and resize rule; equal keys mean equal pixels.
    """

    table: ImageTable
    pixels: NDArray[np.uint8] = field(repr=False)
    digests: tuple[str, ...] = field(repr=False)
    key: str

    def __len__(self) -> int:
        return len(self.table)


def load_pixels(
    table: ImageTable,
    preprocessing: Preprocessing,
    *,
    progress: Progress = SILENT,
    maximum_unreadable: float = 0.2,
) -> PixelCache:
    """Decode every image of a table, or find it decoded.

    Files that cannot be read become problems of the returned table.

    Raises:
        DataError: more than ``maximum_unreadable`` of the files cannot be read.
    """
    kind = f"pixels-{_rule(preprocessing)}"
    index = _FileIndex.read(table.root)
    files = [table.file(i) for i in range(len(table))]
    states = _states(files)
    known = index.digests(table.paths, states)
    if all(known):
        found = cache.find(kind, cache.combine_digests(known))
        if found is not None and _is_whole(found, preprocessing):
            return _opened(found, table, preprocessing, maximum_unreadable)
    with cache.workspace() as folder:
        threads = num_decoding_threads(state[0] for state in states if state is not None)
        decoded = _decode_all(files, known, kind, preprocessing, folder, threads, progress)
        index.update(table.paths, states, decoded.digests)
        _write_entry(folder, decoded, preprocessing)
        key = cache.combine_digests(decoded.digests)
        found = cache.publish(folder, kind, key)
    return _opened(found, table, preprocessing, maximum_unreadable)


def _rule(preprocessing: Preprocessing) -> str:
    return f"{preprocessing.resize_rule()}-{DECODER_VERSION}-{PIL.__version__}"


# --- decoding -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Decoded:
    #: One a file; "" where it could not be opened.
    digests: list[str]
    #: Row number -> (kind, reason).
    problems: dict[int, tuple[str, str]]


def _decode_all(
    files: Sequence[Path],
    known: Sequence[str],
    kind: str,
    preprocessing: Preprocessing,
    folder: Path,
    threads: int,
    progress: Progress,
) -> _Decoded:
    """Fill ``pixels.raw``, one row a file (zeros where it cannot be read)."""
    rows = _new_array(folder / _PIXELS, len(files), preprocessing)
    reuse = _Rows.of(kind, preprocessing)
    digests = list(known)
    problems: dict[int, tuple[str, str]] = {}

    def one(i: int) -> None:
        try:
            if digests[i] not in reuse:
                content = read_image_file(files[i])
                digests[i] = cache.bytes_digest(content)
            if digests[i] in reuse:
                rows[i] = reuse.get(digests[i])
            else:
                rows[i] = decode(content, preprocessing)
        except UnreadableImage as error:
            problems[i] = (error.kind, error.reason)

    def block(numbers: range) -> int:
        for i in numbers:
            one(i)
        return len(numbers)

    blocks = [range(s, min(s + _CHUNK, len(files))) for s in range(0, len(files), _CHUNK)]
    with (
        progress.stage("Decoding", len(files), "images") as stage,
        warnings.catch_warnings(),
        ThreadPoolExecutor(threads) as pool,
    ):
        # Odd EXIF data and the like do not matter where the picture can be read.
        warnings.filterwarnings("ignore", module=r"PIL\.")
        try:
            for count in pool.map(block, blocks):
                stage.advance(count)
        except BaseException:  # Ctrl-C included: do not decode the rest first
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    return _Decoded(digests, problems)


def _new_array(file: Path, count: int, preprocessing: Preprocessing) -> NDArray[np.uint8]:
    shape = (count, preprocessing.height, preprocessing.width, 3)
    size = int(np.prod(shape))
    with file.open("wb") as stream:
        # Taking the space now turns a full disk into an error; later it would be a crash.
        if hasattr(os, "posix_fallocate") and size:
            os.posix_fallocate(stream.fileno(), 0, size)
        else:
            stream.truncate(size)
    return _mapped(file, shape, writable=True)


def _mapped(file: Path, shape: tuple[int, ...], *, writable: bool = False) -> NDArray[np.uint8]:
    if 0 in shape:
        return np.zeros(shape, np.uint8)
    return np.memmap(file, np.uint8, "r+" if writable else "r", shape=shape)


class _Rows:
    """Rows of earlier arrays of the same resize rule, by content digest."""

    def __init__(self) -> None:
        self._places: dict[str, tuple[NDArray[np.uint8], int]] = {}

    @classmethod
    def of(cls, kind: str, preprocessing: Preprocessing) -> _Rows:
        rows = cls()
        for folder in cache.siblings(kind)[:_MAXIMUM_SIBLINGS]:
            try:
                digests = json.loads((folder / _FACTS).read_text("utf-8"))["digests"]
                shape = (len(digests), preprocessing.height, preprocessing.width, 3)
                array = _mapped(folder / _PIXELS, shape)
            except (OSError, ValueError):  # damaged, or evicted by another process meanwhile
                continue
            for row, digest in enumerate(digests):
                rows._places.setdefault(digest, (array, row))
        return rows

    def __contains__(self, digest: str) -> bool:
        return digest in self._places

    def get(self, digest: str) -> NDArray[np.uint8]:
        array, row = self._places[digest]
        pixels: NDArray[np.uint8] = array[row]
        return pixels


# --- the entry ------------------------------------------------------------------------------------


def _write_entry(folder: Path, decoded: _Decoded, preprocessing: Preprocessing) -> None:
    """Close the gaps that unreadable files left, and write the facts beside the array."""
    count = len(decoded.digests)
    kept = [i for i in range(count) if i not in decoded.problems]
    shape = (count, preprocessing.height, preprocessing.width, 3)
    if decoded.problems:
        array = _mapped(folder / _PIXELS, shape, writable=True)
        for to, i in enumerate(kept):
            if to != i:
                array[to] = array[i]
        del array
        os.truncate(folder / _PIXELS, len(kept) * int(np.prod(shape[1:])))
    facts = {"digests": [decoded.digests[i] for i in kept], "left_out": decoded.problems}
    (folder / _FACTS).write_text(json.dumps(facts), "utf-8")


def _is_whole(folder: Path, preprocessing: Preprocessing) -> bool:
    """Whether an entry has all its bytes; a power cut can leave one without. If not, it goes."""
    try:
        count = len(json.loads((folder / _FACTS).read_text("utf-8"))["digests"])
        size = (folder / _PIXELS).stat().st_size
    except (OSError, ValueError):
        count, size = 0, -1
    if size == count * preprocessing.height * preprocessing.width * 3:
        return True
    cache.discard(folder)
    return False


def _opened(
    folder: Path, table: ImageTable, preprocessing: Preprocessing, maximum_unreadable: float
) -> PixelCache:
    facts = json.loads((folder / _FACTS).read_text("utf-8"))
    problems = [
        Problem(table.paths[int(row)], kind, reason)
        for row, (kind, reason) in facts["left_out"].items()
    ]
    _check_share(problems, table, maximum_unreadable)
    digests = tuple(facts["digests"])
    shape = (len(digests), preprocessing.height, preprocessing.width, 3)
    key = cache.text_digest(folder.parent.name, folder.name)
    return PixelCache(table.without(problems), _mapped(folder / _PIXELS, shape), digests, key)


def _check_share(problems: Sequence[Problem], table: ImageTable, maximum: float) -> None:
    if len(problems) <= maximum * len(table):
        return
    first = " ".join(f"{p.path}: {p.reason}" for p in problems[:3])
    raise DataError(
        f"{len(problems)} of {len(table)} images in {table.root} cannot be read, more than "
        f"{percent(maximum, 0)}; is this the right folder? {first}"
    )


# --- the index ------------------------------------------------------------------------------------

#: Size, time of last change and time of last change of status; a file that keeps all three
#: keeps its content.
_State = tuple[int, int, int]


def _states(files: Sequence[Path]) -> list[_State | None]:
    states: list[_State | None] = []
    for file in files:
        try:
            facts = file.stat()
        except OSError:
            states.append(None)
        else:
            states.append((facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns))
    return states


class _FileIndex:
    """Digests of the files below one folder, as they were when they were last read."""

    def __init__(self, key: str, rows: dict[str, list[int | str]]) -> None:
        self._key, self._rows = key, rows

    @classmethod
    def read(cls, root: Path) -> _FileIndex:
        key = cache.text_digest(str(root.resolve()))
        content = cache.read_note(_INDEX, key)
        return cls(key, json.loads(content) if content else {})

    def digests(self, paths: Sequence[str], states: Sequence[_State | None]) -> list[str]:
        """The digest of each file, "" where it is not known or the file has changed."""
        result = []
        for path, state in zip(paths, states, strict=True):
            row = self._rows.get(path)
            same = row is not None and state is not None and tuple(row[:3]) == state
            result.append(str(row[3]) if same and row is not None else "")
        return result

    def update(
        self, paths: Sequence[str], states: Sequence[_State | None], digests: Sequence[str]
    ) -> None:
        for path, state, digest in zip(paths, states, digests, strict=True):
            if state is not None and digest:
                self._rows[path] = [*state, digest]
        cache.write_note(_INDEX, self._key, json.dumps(self._rows).encode())
