"""The bounded cache folder: build once, rename into place, evict the least recently used.

An entry is a folder ``<cache>/<kind>/<key>``. It is built under a temporary name and
renamed, so it is there whole or not at all; builders may race, and a kill in the middle
leaves only a temporary folder that a later process removes. Small files that change (an
index) are *notes*: single files that are replaced whole.

The folder is ``TELLAPART_CACHE_DIR`` or the user's cache folder; its size is kept under
``TELLAPART_CACHE_LIMIT`` (for example ``5GB``; default 20 GB). Where it cannot be written,
this process uses a temporary folder instead and says so once.
"""

from __future__ import annotations

import atexit
import errno
import hashlib
import os
import re
import shutil
import socket
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tellapart.errors import TellapartError

DEFAULT_LIMIT = "20GB"

#: An entry used less than this long ago is never evicted: another process may have been
#: given its path and not opened it yet.
GRACE_SECONDS = 60.0
#: A temporary folder of another machine, or one whose builder cannot be asked, is given up
#: after this long without a change.
STALE_SECONDS = 24 * 3600.0

_TEMPORARY = ".building"
_SAFE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._=+-]{0,199}")
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}

#: Entries that this process uses; they are never evicted by it.
_in_use: set[Path] = set()
#: Cache folder that cannot be written -> the temporary folder used in its stead.
_replaced: dict[Path, Path] = {}


# --- digests ------------------------------------------------------------------------------


def bytes_digest(content: bytes) -> str:
    """BLAKE2b of bytes, 128 bit, as 32 hexadecimal digits."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def text_digest(*parts: str) -> str:
    """Digest of a sequence of texts; ``("ab", "c")`` and ``("a", "bc")`` differ."""
    state = hashlib.blake2b(digest_size=16)
    for part in parts:
        encoded = part.encode("utf-8", "surrogateescape")
        state.update(len(encoded).to_bytes(8, "little"))
        state.update(encoded)
    return state.hexdigest()


def combine_digests(digests: Iterable[str], *more: str) -> str:
    """Digest of an ordered sequence of digests, and of further texts."""
    return text_digest("\n".join(digests), *more)


def file_digest(file: Path) -> str:
    """Digest of a file's content; equals ``bytes_digest`` of its bytes."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


# --- where, and how much --------------------------------------------------------------------


def cache_folder() -> Path:
    """The cache folder that is asked for; it need not exist yet."""
    chosen = os.environ.get("TELLAPART_CACHE_DIR")
    if chosen:
        return Path(chosen).expanduser()
    from platformdirs import user_cache_path

    return user_cache_path("tellapart", appauthor=False)


def cache_limit() -> int:
    """Largest size of the cache in bytes.

    Raises:
        TellapartError: ``TELLAPART_CACHE_LIMIT`` is not a size.
    """
    text = os.environ.get("TELLAPART_CACHE_LIMIT", DEFAULT_LIMIT)
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)(i?)B?\s*", text, re.IGNORECASE)
    if match is None:
        raise TellapartError(
            f"TELLAPART_CACHE_LIMIT={text!r} is not a size; give a number and a unit, as in 20GB."
        )
    number, unit, binary = match.groups()
    size = _UNITS[unit.upper()]
    if binary:
        size = round(1024 ** (len(str(size)) // 3))
    return int(float(number) * size)


def writable_cache_folder() -> Path:
    """The cache folder, made if need be; a temporary one where it cannot be written."""
    folder = cache_folder()
    if _is_writable(folder):
        return folder
    return _folder_of_this_process(folder)


def _is_writable(folder: Path) -> bool:
    """Whether files can be made there. (``os.access`` is not enough on network folders.)"""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _folder_of_this_process(wanted: Path) -> Path:
    if wanted not in _replaced:
        folder = Path(tempfile.mkdtemp(prefix="tellapart-cache-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        _replaced[wanted] = folder
        warnings.warn(
            f"The cache folder {wanted} cannot be written, so nothing is kept for the next "
            "run; set TELLAPART_CACHE_DIR to a folder that can.",
            RuntimeWarning,
            stacklevel=3,
        )
    return _replaced[wanted]


def _readable_folders() -> list[Path]:
    """Where entries may be: the cache folder, and what this process uses in its stead."""
    folder = cache_folder()
    return [folder, *([_replaced[folder]] if folder in _replaced else [])]


# --- entries --------------------------------------------------------------------------------


def entry(kind: str, key: str, build: Callable[[Path], None]) -> Path:
    """The folder of an entry; where there is none, ``build(folder)`` fills a new one.

    Example:
        >>> def build(folder):
        ...     _ = (folder / "answer.txt").write_text("42")
        >>> (entry("example", "answer", build) / "answer.txt").read_text()
        '42'

    Raises:
        TellapartError: the disk is full.
        Exception: whatever ``build`` raises; nothing is left behind.
    """
    found = find(kind, key)
    if found is not None:
        return found
    with workspace() as folder:
        build(folder)
        return publish(folder, kind, key)


def find(kind: str, key: str) -> Path | None:
    """The folder of an entry that is there, else None. Counts as a use."""
    for root in _readable_folders():
        folder = root / _checked(kind) / _checked(key)
        if folder.is_dir():
            _use(folder)
            return folder
    return None


def siblings(kind: str) -> list[Path]:
    """All entries of a kind, the most recently used first. Does not count as a use."""
    found: list[tuple[float, Path]] = []
    for root in _readable_folders():
        with suppress(OSError):
            folders = [p for p in (root / _checked(kind)).iterdir() if p.is_dir()]
            found += [(p.stat().st_mtime, p) for p in folders if not p.name.startswith(".")]
    return [path for _, path in sorted(found, reverse=True)]


@contextmanager
def workspace() -> Iterator[Path]:
    """A temporary folder on the cache's disk, for work whose key is known only at its end.

    What is not handed to :func:`publish` is removed when the block ends.

    Raises:
        TellapartError: the disk is full.
    """
    root = writable_cache_folder()
    _remove_stale(root)
    prefix = f"{_TEMPORARY}-{_host()}-{os.getpid()}-"
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=root))
    try:
        yield folder
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise TellapartError(
                f"The disk of the cache folder {root} is full; free some space, or set "
                "TELLAPART_CACHE_DIR to a folder on another disk."
            ) from error
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def publish(folder: Path, kind: str, key: str) -> Path:
    """Rename a workspace to its entry; where another process was faster, use its entry."""
    root = folder.parent
    target = root / _checked(kind) / _checked(key)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        folder.rename(target)
    except OSError:
        if not target.is_dir():
            raise
    _use(target)
    evict(root)
    return target


def discard(path: Path) -> None:
    """Remove an entry that turned out to be damaged."""
    doomed = path.parent.parent / f"{_TEMPORARY}-{_host()}-{os.getpid()}-damaged-{path.name}"
    with suppress(OSError):  # removed by another process, or the cache is read-only
        path.rename(doomed)
        _remove(doomed)


def evict(root: Path | None = None) -> None:
    """Remove the least recently used entries and notes until the cache is within its limit."""
    root = cache_folder() if root is None else root
    limit = cache_limit()
    known = [(used, size, path) for path, used, size in _entries(root)]
    total = sum(size for _, size, _ in known)
    for used, size, path in sorted(known):
        if total <= limit:
            return
        if path in _in_use or time.time() - used < GRACE_SECONDS:
            continue
        doomed = root / f"{_TEMPORARY}-{_host()}-{os.getpid()}-evicted-{path.name}"
        with suppress(OSError):  # in use on Windows, or evicted by another process
            path.rename(doomed)
            _remove(doomed)
            total -= size


# --- notes ----------------------------------------------------------------------------------


def read_note(kind: str, key: str) -> bytes | None:
    """The content of a small file in the cache, None where there is none."""
    for root in reversed(_readable_folders()):
        file = root / _checked(kind) / _checked(key)
        try:
            content = file.read_bytes()
        except OSError:
            continue
        _use(file)
        return content
    return None


def write_note(kind: str, key: str, content: bytes) -> None:
    """Replace a small file in the cache as a whole; readers see the old or the new one."""
    root = writable_cache_folder()
    file = root / _checked(kind) / _checked(key)
    file.parent.mkdir(parents=True, exist_ok=True)
    with workspace() as folder:
        temporary = folder / file.name
        temporary.write_bytes(content)
        temporary.replace(file)


# --- inside ---------------------------------------------------------------------------------


def _checked(name: str) -> str:
    if not _SAFE_NAME.fullmatch(name):
        raise ValueError(f"not a name for the cache: {name!r}")
    return name


def _use(path: Path) -> None:
    _in_use.add(path)
    with suppress(OSError):  # a read-only cache is still good for reading
        os.utime(path)


def _entries(root: Path) -> Iterator[tuple[Path, float, int]]:
    """Every entry and note: path, time of last use, size in bytes."""
    for kind in _listed(root):
        if kind.name.startswith(".") or not kind.is_dir():
            continue
        for path in _listed(kind):
            with suppress(OSError):  # removed meanwhile
                yield path, path.stat().st_mtime, _size(path)


def _listed(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else (path,)
    return sum(file.stat().st_size for file in files)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _host() -> str:
    return re.sub(r"[^A-Za-z0-9]", "_", socket.gethostname())[:40] or "host"


def _remove_stale(root: Path) -> None:
    """Remove what builders left that were killed."""
    for path in _listed(root):
        if path.name.startswith(_TEMPORARY) and _is_stale(path):
            _remove(path)


def _is_stale(path: Path) -> bool:
    match = re.match(rf"{re.escape(_TEMPORARY)}-(\w+)-(\d+)-", path.name)
    if match and match[1] == _host() and os.name == "posix":
        return not _is_running(int(match[2]))
    try:
        files = [path, *path.rglob("*")]
        return time.time() - max(file.stat().st_mtime for file in files) > STALE_SECONDS
    except OSError:
        return False


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it runs, and belongs to somebody else
        return True
    return True
