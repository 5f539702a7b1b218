"""The bounded cache folder: build once, rename into place, evict the least recently used.

An entry is a folder ``<cache>/<kind>/<key>``. It is built under a temporary name, flushed,
and renamed, so it is there whole or not at all; builders may race, and a kill in the middle
leaves only a temporary folder that a later process removes. Small files that change (an
index) are *notes*: single files that are replaced whole.

Entries and notes carry digests of their content, which are held against it when they are
opened (:mod:`tellapart.integrity`): one that a failing disk, a cleaner or a person changed is
thrown away, which is said once, and made again.

All of it may be deleted at any time, also while it is used: what was found or half made is made
again (:func:`undeterred`, :func:`opened`).

The folder is ``TELLAPART_CACHE_DIR`` or the user's cache folder; its size is kept under
``TELLAPART_CACHE_LIMIT`` (for example ``5GB``), else what :func:`set_limit` was given, else
20 GB. Where it cannot be written, this process uses a temporary folder instead and says so once.
Users may share a folder that all of them can write: what they make there can be read and
removed by the others.
"""

from __future__ import annotations

import atexit
import errno
import hashlib
import os
import re
import secrets
import shutil
import stat
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from tellapart import integrity, leftovers
from tellapart.errors import TellapartError
from tellapart.files import write_text

DEFAULT_LIMIT = "20GB"

#: An entry used less than this long ago is never evicted: another process may have been
#: given its path and not opened it yet.
GRACE_SECONDS = 60.0

#: Holds the limit that :func:`set_limit` was given.
_LIMIT_FILE = "limit.txt"
#: How often work is begun when somebody deletes the cache under it.
_TRIES = 4

_T = TypeVar("_T")
_TEMPORARY = ".building"
#: A file that tells a workspace from one of the same name that was made after it was deleted.
_MARK = ".tellapart-workspace"
_REPLACEMENT = "tellapart-cache"
_SAFE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._=+-]{0,199}")
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}

#: Entries that this process uses; they are never evicted by it.
_in_use: set[Path] = set()
#: Cache folder that cannot be written -> the temporary folder used in its stead.
_replaced: dict[Path, Path] = {}

#: (kind, key) of an entry -> whether it was there already when it was first asked for.
Record = dict[tuple[str, str], bool]
#: What the innermost :func:`recorded` of this thread writes into.
_record: ContextVar[Record | None] = ContextVar("record", default=None)


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
    text = os.environ.get("TELLAPART_CACHE_LIMIT")
    return _bytes_of(text, "TELLAPART_CACHE_LIMIT=") if text is not None else _kept_limit()


def set_limit(text: str) -> None:
    """Write down how large the cache may be; ``TELLAPART_CACHE_LIMIT`` goes before it.

    Raises:
        TellapartError: it is not a size.
        FileError: it cannot be written.
    """
    _bytes_of(text, "--limit ")
    write_text(writable_cache_folder() / _LIMIT_FILE, f"{text.strip()}\n")


def _kept_limit() -> int:
    try:
        return _bytes_of((cache_folder() / _LIMIT_FILE).read_text("utf-8").strip(), "")
    except (OSError, UnicodeDecodeError, TellapartError):  # none was set, or it is damaged
        return _bytes_of(DEFAULT_LIMIT, "")


def _bytes_of(text: str, where: str) -> int:
    """A size in bytes; ``where`` says what gave it."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)(i?)B?\s*", text, re.IGNORECASE)
    if match is None:
        raise TellapartError(
            f"{where}{text!r} is not a size; give a number and a unit, as in 20GB."
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
    """Whether files can be made there; ``os.access`` is not enough on network folders."""
    for _ in range(_TRIES):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                return True
        except FileNotFoundError:  # somebody deleted it between the two
            continue
        except OSError:
            return False
    return False


def _folder_of_this_process(wanted: Path) -> Path:
    if wanted not in _replaced:
        for path in _listed(Path(tempfile.gettempdir())):
            if path.name.startswith(f"{_REPLACEMENT}-") and leftovers.is_left_behind(
                path, _REPLACEMENT
            ):
                leftovers.remove(path)
        prefix = f"{_REPLACEMENT}-{leftovers.owner()}-"
        folder = Path(tempfile.mkdtemp(prefix=prefix))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        _replaced[wanted] = folder
        _say(
            f"The cache folder {wanted} cannot be written, so nothing is kept for the next "
            "run; set TELLAPART_CACHE_DIR to a folder that can."
        )
    return _replaced[wanted]


def _say(sentence: str) -> None:
    warnings.warn(sentence, RuntimeWarning, stacklevel=2)


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
    return found if found is not None else undeterred(lambda: _built(kind, key, build))


def opened(kind: str, key: str, build: Callable[[Path], None], opening: Callable[[Path], _T]) -> _T:
    """What ``opening(folder)`` makes of an entry, which is made where it is not there.

    Made again where somebody deletes it between the two.

    Raises:
        Exception: as :func:`entry`, and whatever ``opening`` raises for an entry that is whole.
    """

    def once() -> _T:
        folder = entry(kind, key, build)
        with using(folder):
            return opening(folder)

    return undeterred(once)


def undeterred(work: Callable[[], _T]) -> _T:
    """Do work in the cache; again, a few times, where somebody deleted it meanwhile.

    Raises:
        TellapartError: it was deleted each time.
    """
    for _ in range(_TRIES - 1):
        with suppress(Deleted):
            return work()
    return work()


@contextmanager
def using(folder: Path) -> Iterator[None]:
    """While an entry is opened. That it is gone counts as such, whatever the library says."""
    try:
        yield
    except Exception as error:
        if is_there(folder):
            raise
        raise _deleted(folder) from error


def require_there(folder: Path) -> None:
    """For readers that take what they find: that nothing of an entry was missing.

    Raises:
        Deleted: something is.
    """
    if not is_there(folder):
        raise _deleted(folder)


def is_there(folder: Path) -> bool:
    """Whether an entry is there with all its files."""
    try:
        return folder.is_dir() and integrity.is_whole(folder)
    except FileNotFoundError:  # deleted while it was looked at
        return False
    except OSError:
        return True


@contextmanager
def recorded() -> Iterator[Record]:
    """While inside, what is asked for is written down: was it there, or had it to be made?

    What is made inside and then asked for again counts as made. Times of two pieces of work
    can only be compared where both found as much.
    """
    record: Record = {}
    token = _record.set(record)
    try:
        yield record
    finally:
        _record.reset(token)


def write_down(kind: str, key: str, *, found: bool) -> None:
    """Tell the :func:`recorded` block around it, if any, of work that was saved or done."""
    record = _record.get()
    if record is not None:
        record.setdefault((kind, key), found)


class Deleted(TellapartError):
    """Somebody emptied the cache while an entry was being made, or opened."""


def _deleted(folder: Path) -> Deleted:
    return Deleted(
        f"Something deletes what is made in the cache ({folder} is gone again); run the command "
        "again, and let nothing else delete files of the cache meanwhile."
    )


def _built(kind: str, key: str, build: Callable[[Path], None]) -> Path:
    with workspace() as folder:
        build(folder)
        return publish(folder, kind, key)


def find(kind: str, key: str) -> Path | None:
    """The folder of an entry that is there and whole, else None. Counts as a use."""
    for root in _readable_folders():
        folder = root / _checked(kind) / _checked(key)
        if folder.is_dir() and _is_good(folder):
            _use(folder)
            write_down(kind, key, found=True)
            return folder
    return None


def _is_good(folder: Path) -> bool:
    """Whether an entry may be used; a damaged one is thrown away, and that is said."""
    try:
        if integrity.is_whole(folder):
            return True
    except PermissionError:  # of another user who keeps it to himself
        return False
    if not folder.is_dir():  # evicted by another process meanwhile
        return False
    _say(f"The cache entry {folder} is damaged: it is thrown away and made again.")
    discard(folder)
    return False


def siblings(kind: str, most: int = 16) -> list[Path]:
    """Whole entries of a kind, the most recently used first. Does not count as a use."""
    found: list[tuple[float, Path]] = []
    for root in _readable_folders():
        with suppress(OSError):
            folders = [p for p in (root / _checked(kind)).iterdir() if p.is_dir()]
            found += [(p.stat().st_mtime, p) for p in folders if not p.name.startswith(".")]
    return [path for _, path in sorted(found, reverse=True)[:most] if _is_good(path)]


@contextmanager
def workspace() -> Iterator[Path]:
    """A temporary folder on the cache's disk, for work whose key is known only at its end.

    What is not handed to :func:`publish` is removed when the block ends.

    Raises:
        TellapartError: the disk is full.
    """
    root = writable_cache_folder()
    _remove_stale(root)
    folder = root / f"{_temporary()}-{secrets.token_hex(4)}"
    try:
        _new_folder(folder)
        (folder / _MARK).touch()
        yield folder
    except Exception as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise TellapartError(
                f"The disk of the cache folder {root} is full; free some space, or set "
                "TELLAPART_CACHE_DIR to a folder on another disk."
            ) from error
        gone = isinstance(error, FileNotFoundError) and _is_below(error, root)
        if gone or not folder.is_dir():
            raise _deleted(folder) from error
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def clear_workspace(folder: Path) -> None:
    """Remove the files that were written into a workspace so far: they come to nothing."""
    for file in folder.iterdir():
        if file.name != _MARK:
            file.unlink()


def _is_below(error: OSError, root: Path) -> bool:
    """Whether it is about a file of the cache."""
    names = (error.filename, error.filename2)
    return any(isinstance(name, str) and Path(name).is_relative_to(root) for name in names)


def publish(folder: Path, kind: str, key: str) -> Path:
    """Seal a workspace and rename it to its entry; where another process was faster, use its.

    Raises:
        FileNotFoundError: it was deleted, and made anew by what went on writing into it, so that
            it lacks what was there before. :func:`workspace` says so.
    """
    (folder / _MARK).unlink()
    integrity.seal(folder)
    write_down(kind, key, found=False)
    target = _place(folder, folder.parent / _checked(kind) / _checked(key))
    if target is None:  # a folder of somebody else's is in the way, and cannot be used
        root = _folder_of_this_process(cache_folder())
        target = root / kind / key
        target.parent.mkdir(exist_ok=True)
        shutil.rmtree(target, ignore_errors=True)
        shutil.move(folder, target)
    _use(target)
    evict(folder.parent)
    return target


def _place(folder: Path, target: Path) -> Path | None:
    """Rename to an entry, or find that a good one is there; None where neither can be."""
    for _ in range(2):
        try:
            _new_folder(target.parent, exist_ok=True)
            folder.rename(target)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT) or not folder.is_dir():
                raise
        else:
            return target
        if target.is_dir() and _is_good(target):  # a damaged one is out of the way after this
            return target
    return None


def _new_folder(folder: Path, *, exist_ok: bool = False) -> None:
    """Make a folder that all can write who can write the cache folder that it lies in."""
    try:
        folder.mkdir()
    except FileExistsError:
        if not exist_ok:
            raise
        return
    shared = stat.S_IMODE(folder.parent.stat().st_mode) & (stat.S_IRWXG | stat.S_IRWXO)
    if shared & (stat.S_IWGRP | stat.S_IWOTH):
        with suppress(OSError):
            folder.chmod(stat.S_IMODE(folder.stat().st_mode) | shared)


def discard(path: Path) -> None:
    """Remove an entry that turned out to be damaged."""
    doomed = path.parent.parent / f"{_temporary()}-damaged-{secrets.token_hex(4)}"
    with suppress(OSError):  # removed by another process, or the cache is read-only
        path.rename(doomed)
        leftovers.remove(doomed)


def evict(root: Path | None = None) -> None:
    """Remove the least recently used entries and notes until the cache is within its limit."""
    _evict_to(cache_folder() if root is None else root, cache_limit())


def _evict_to(root: Path, limit: int) -> None:
    known = [(used, size, path) for path, used, size in _entries(root)]
    total = sum(size for _, size, _ in known)
    for used, size, path in sorted(known):
        if total <= limit:
            return
        if path in _in_use or time.time() - used < GRACE_SECONDS or not os.access(path, os.W_OK):
            continue
        doomed = root / f"{_temporary()}-evicted-{secrets.token_hex(4)}"
        with suppress(OSError):  # in use on Windows, or evicted by another process
            path.rename(doomed)
            leftovers.remove(doomed)
            total -= size


# --- notes ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Kept:
    """One entry or note of the cache."""

    kind: str
    path: Path
    #: Seconds since 1970.
    last_used: float
    bytes: int


def contents() -> list[Kept]:
    """Every entry and note that is there."""
    return [
        Kept(path.parent.name, path, used, size) for path, used, size in _entries(cache_folder())
    ]


def clear() -> None:
    """Remove all entries and notes but those that were used a moment ago, and what was left."""
    root = cache_folder()
    _remove_stale(root)
    _evict_to(root, 0)


def read_note(kind: str, key: str) -> bytes | None:
    """The content of a small file in the cache, None where there is none, or a damaged one."""
    for root in reversed(_readable_folders()):
        file = root / _checked(kind) / _checked(key)
        try:
            digest, _, content = file.read_bytes().partition(b"\n")
        except OSError:
            continue
        if digest != bytes_digest(content).encode():
            _say(f"The cache file {file} is damaged: it is thrown away and made again.")
            discard(file)
            continue
        _use(file)
        return content
    return None


def write_note(kind: str, key: str, content: bytes) -> None:
    """Replace a small file in the cache as a whole; readers see the old or the new one."""

    def once() -> None:
        root = writable_cache_folder()
        try:
            _replace_note(root / _checked(kind) / _checked(key), content)
        except PermissionError:  # one of somebody else's that nobody else may replace
            _replace_note(_folder_of_this_process(cache_folder()) / kind / key, content)

    undeterred(once)


def _replace_note(file: Path, content: bytes) -> None:
    with workspace() as folder:
        temporary = folder / file.name
        with temporary.open("wb") as stream:
            stream.write(bytes_digest(content).encode() + b"\n" + content)
            stream.flush()
            os.fsync(stream.fileno())
        _new_folder(file.parent, exist_ok=True)
        if file.parent.parent == folder.parent:
            temporary.replace(file)
        else:
            shutil.move(temporary, file)


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


def _temporary() -> str:
    """Start of the names of this process's temporary folders."""
    return f"{_TEMPORARY}-{leftovers.owner()}"


def _remove_stale(root: Path) -> None:
    """Remove what builders left that were killed."""
    for path in _listed(root):
        if path.name.startswith(_TEMPORARY) and leftovers.is_left_behind(path, _TEMPORARY):
            leftovers.remove(path)
