"""Is a folder still what was written? A list of its files, with sizes and digests, inside it.

:func:`seal` flushes a folder's files to the disk and writes the list; :func:`is_whole` holds
the folder against it. Digests are computed when a file is not, by its size, its times and
its place on the disk, the one that was last found right: a change to a file changes those,
so looking again costs a look at each file and not its content.

Files whose names start with a dot are not listed: desktops and network disks leave such.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from tellapart.machine import num_cores

MANIFEST = ".manifest"
_CHECKED = ".checked"
#: Bytes that are read and hashed at a time; pieces of one file are hashed side by side.
_PIECE = 8 << 20
#: Where there are more files than this, the whole system is asked to flush, once.
_FLUSH_ALL = 200


def seal(folder: Path) -> None:
    """Flush the files of a folder to the disk and write down what they are.

    Raises:
        OSError: a file cannot be read, or the disk is full.
    """
    names = _listed(folder)
    _flush([folder / name for name in names])
    sizes = [(folder / name).stat().st_size for name in names]
    digests = _digests(folder, names, sizes)
    rows = [[name, size, digest] for name, size, digest in zip(names, sizes, digests, strict=True)]
    body = json.dumps(rows)
    (folder / MANIFEST).write_bytes(f"{_digest(body.encode())}\n{body}".encode())
    _flush([folder / MANIFEST])
    (folder / _CHECKED).write_text(_states(folder, names), "ascii")


def is_whole(folder: Path) -> bool:
    """Whether a sealed folder has exactly the files, and these the content, it was sealed with.

    Raises:
        PermissionError: it belongs to somebody who lets nobody read it.
    """
    try:
        content = (folder / MANIFEST).read_bytes()
        digest, _, body = content.partition(b"\n")
        if digest.decode("ascii") != _digest(body):
            return False
        rows: list[tuple[str, int, str]] = [tuple(row) for row in json.loads(body)]
        names = [name for name, _, _ in rows]
        if names != _listed(folder):
            return False
        states = _states(folder, names)
        if _last_checked(folder) == states:
            return True
        sizes = [size for _, size, _ in rows]
        if [(folder / name).stat().st_size for name in names] != sizes:
            return False
        if _digests(folder, names, sizes) != [digest for _, _, digest in rows]:
            return False
    except PermissionError:
        raise
    except (OSError, ValueError):
        return False
    with suppress(OSError):  # a cache that is only read is checked anew each time
        temporary = folder / f"{_CHECKED}.{os.getpid()}"
        temporary.write_text(states, "ascii")
        temporary.replace(folder / _CHECKED)
    return True


def _listed(folder: Path) -> list[str]:
    """Relative paths of the files of a folder, sorted; those that start with a dot left out."""
    return sorted(_walked(str(folder), ""))


def _walked(folder: str, before: str) -> Iterator[str]:
    with os.scandir(folder) as entries:
        for found in entries:
            if found.name.startswith("."):
                continue
            if found.is_dir(follow_symlinks=False):
                yield from _walked(found.path, f"{before}{found.name}/")
            else:
                yield before + found.name


def _states(folder: Path, names: Sequence[str]) -> str:
    """Digest of what tells, without reading them, that files are those of before."""
    state = hashlib.sha256()
    for name in names:
        facts = (folder / name).stat()
        line = f"{facts.st_ino} {facts.st_size} {facts.st_mtime_ns} {facts.st_ctime_ns} {name}\n"
        state.update(line.encode("utf-8", "surrogateescape"))
    return state.hexdigest()


def _last_checked(folder: Path) -> str:
    try:
        return (folder / _CHECKED).read_text("ascii")
    except (OSError, ValueError):
        return ""


def _digests(folder: Path, names: Sequence[str], sizes: Sequence[int]) -> list[str]:
    """SHA-256 of each file's content (of the digests of its pieces, where it has several)."""
    pieces = [
        (number, start)
        for number, size in enumerate(sizes)
        for start in range(0, max(size, 1), _PIECE)
    ]

    def one(piece: tuple[int, int]) -> bytes:
        number, start = piece
        with (folder / names[number]).open("rb") as stream:
            stream.seek(start)
            return hashlib.sha256(stream.read(_PIECE)).digest()

    if len(pieces) == 1:
        found = [one(pieces[0])]
    else:
        with ThreadPoolExecutor(num_cores()) as pool:
            found = list(pool.map(one, pieces))
    whole: list[list[bytes]] = [[] for _ in names]
    for (number, _), digest in zip(pieces, found, strict=True):
        whole[number].append(digest)
    return [
        _digest(b"".join(digests)) if len(digests) > 1 else digests[0].hex() for digests in whole
    ]


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _flush(files: Sequence[Path]) -> None:
    """Have the system write files to the disk, so that a power cut leaves none of them short."""
    if len(files) > _FLUSH_ALL and hasattr(os, "sync"):
        os.sync()
        return
    for file in files:
        with file.open("r+b") as stream, _where_it_can():
            os.fsync(stream.fileno())


@contextmanager
def _where_it_can() -> Iterator[None]:
    """Some network file systems do not know how to flush one file."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS):
            raise
