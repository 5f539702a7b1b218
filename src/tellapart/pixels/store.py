"""Every file decoded once, into a memory-mapped uint8 array in the cache.

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
from bisect import bisect_left
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import PIL
from numpy.typing import NDArray

from tellapart import cache
from tellapart.pixels.decode import (
    DECODER_VERSION,
    UnreadableImage,
    num_decoding_threads,
    read_image_file,
    read_picture,
)
from tellapart.pixels.formats import without_warnings
from tellapart.pixels.preprocessing import Preprocessing
from tellapart.progress import SILENT, Progress

_INDEX = "file-index"
_PIXELS, _FACTS = "pixels.raw", "facts.json"
_CHUNK = 32
#: Earlier arrays of the same resize rule whose rows are looked through for reuse.
_MAXIMUM_SIBLINGS = 16


@dataclass(frozen=True)
class Decoded:
    """Files as pictures of one size.

    Attributes:
        pixels: uint8 (N, H, W, 3), RGB, memory-mapped, read-only: the files that could be read, in
            their order.
        digests: content digest of each of these.
        unreadable: number of a file that could not be read -> kind and reason, as in
            :class:`~tellapart.pixels.formats.UnreadableImage`.
        remarks: number of a file -> how its deep values became grey levels, where worth a word.
        key: of contents and resize rule; equal keys mean equal pixels.
    """

    pixels: NDArray[np.uint8]
    digests: tuple[str, ...]
    unreadable: dict[int, tuple[str, str]]
    remarks: dict[int, str]
    key: str


def load_files(
    files: Sequence[Path],
    preprocessing: Preprocessing,
    *,
    root: Path,
    names: Sequence[str],
    progress: Progress = SILENT,
) -> Decoded:
    """Decode files, or find them decoded.

    Args:
        files: what to decode, in this order.
        root: the folder whose index remembers the files' digests.
        names: what each file is called in that index: its path below ``root``.
    """
    kind = f"pixels-{_rule(preprocessing)}"

    def once() -> Decoded:
        index = _FileIndex.read(root)
        states = _states(files)
        known = index.digests(names, states)
        if all(known):
            found = cache.find(kind, cache.combine_digests(known))
            if found is not None and _is_whole(found, preprocessing):
                with cache.using(found):
                    return _opened(found, preprocessing)
        with cache.workspace() as folder:
            threads = num_decoding_threads(state[0] for state in states if state is not None)
            work = _decode_all(files, known, kind, preprocessing, folder, threads, progress)
            index.update(names, states, work.digests)
            _write_entry(folder, work, preprocessing)
            key = cache.combine_digests(work.digests)
            found = cache.publish(folder, kind, key)
        with cache.using(found):
            return _opened(found, preprocessing)

    return cache.undeterred(once)


def _rule(preprocessing: Preprocessing) -> str:
    return f"{preprocessing.resize_rule()}-{DECODER_VERSION}-{PIL.__version__}"


# --- decoding -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Work:
    #: One a file; "" where it could not be opened.
    digests: list[str]
    #: Row number -> (kind, reason).
    problems: dict[int, tuple[str, str]]
    remarks: dict[int, str]


def _decode_all(
    files: Sequence[Path],
    known: Sequence[str],
    kind: str,
    preprocessing: Preprocessing,
    folder: Path,
    threads: int,
    progress: Progress,
) -> _Work:
    """Fill ``pixels.raw``, one row a file (zeros where it cannot be read)."""
    rows = _new_array(folder / _PIXELS, len(files), preprocessing)
    reuse = _Rows.of(kind, preprocessing)
    digests = list(known)
    problems: dict[int, tuple[str, str]] = {}
    remarks: dict[int, str] = {}
    reused: list[int] = []

    def one(i: int) -> None:
        try:
            if digests[i] not in reuse:
                # A file that is gone by now must not count as what it was when it was listed:
                # what is written here would be found under that name from then on.
                digests[i] = ""
                content = read_image_file(files[i])
                digests[i] = cache.bytes_digest(content)
            if digests[i] in reuse:
                rows[i], remark = reuse.get(digests[i])
                reused.append(i)
            else:
                picture = read_picture(content, preprocessing)
                rows[i], remark = picture.pixels, picture.remark
            if remark:
                remarks[i] = remark
        except UnreadableImage as error:
            problems[i] = (error.kind, error.reason)

    def block(numbers: range) -> int:
        for i in numbers:
            one(i)
        return len(numbers)

    blocks = [range(s, min(s + _CHUNK, len(files))) for s in range(0, len(files), _CHUNK)]
    with (
        progress.stage("Decoding", len(files), "images") as stage,
        without_warnings(),
        ThreadPoolExecutor(threads) as pool,
    ):
        try:
            for count in pool.map(block, blocks):
                stage.advance(count)
        except BaseException:  # Ctrl-C included: do not decode the rest first
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    if reused:
        cache.write_down(kind, "rows of earlier arrays", found=True)
    return _Work(digests, problems, remarks)


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
        self._places: dict[str, tuple[NDArray[np.uint8], int, str]] = {}

    @classmethod
    def of(cls, kind: str, preprocessing: Preprocessing) -> _Rows:
        rows = cls()
        for folder in cache.siblings(kind)[:_MAXIMUM_SIBLINGS]:
            try:
                facts = json.loads((folder / _FACTS).read_text("utf-8"))
                digests, remarks = facts["digests"], _remarks_by_row(facts)
                shape = (len(digests), preprocessing.height, preprocessing.width, 3)
                array = _mapped(folder / _PIXELS, shape)
            except (OSError, ValueError, KeyError):  # damaged, or evicted by another process
                continue
            for row, digest in enumerate(digests):
                rows._places.setdefault(digest, (array, row, remarks.get(row, "")))
        return rows

    def __contains__(self, digest: str) -> bool:
        return digest in self._places

    def get(self, digest: str) -> tuple[NDArray[np.uint8], str]:
        array, row, remark = self._places[digest]
        return array[row], remark


# --- the entry ------------------------------------------------------------------------------------


def _write_entry(folder: Path, decoded: _Work, preprocessing: Preprocessing) -> None:
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
    facts = {
        "digests": [decoded.digests[i] for i in kept],
        "left_out": decoded.problems,
        "remarks": decoded.remarks,
    }
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


def _opened(folder: Path, preprocessing: Preprocessing) -> Decoded:
    facts = json.loads((folder / _FACTS).read_text("utf-8"))
    digests = tuple(facts["digests"])
    shape = (len(digests), preprocessing.height, preprocessing.width, 3)
    return Decoded(
        pixels=_mapped(folder / _PIXELS, shape),
        digests=digests,
        unreadable={int(row): (kind, reason) for row, (kind, reason) in facts["left_out"].items()},
        remarks={int(row): remark for row, remark in facts["remarks"].items()},
        key=cache.text_digest(folder.parent.name, folder.name),
    )


def _remarks_by_row(facts: dict[str, Any]) -> dict[int, str]:
    """Remarks by the row of the array; the facts hold them by number of the file."""
    left_out = sorted(map(int, facts["left_out"]))
    return {
        int(file) - bisect_left(left_out, int(file)): str(remark)
        for file, remark in facts["remarks"].items()
    }


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
