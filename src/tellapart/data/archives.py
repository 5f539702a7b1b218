"""Zip archives of images: checked, then extracted into the cache once."""

from __future__ import annotations

import errno
import lzma
import shutil
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import TypeVar

from tellapart.data.listing import is_system_name, shown
from tellapart.errors import DataError
from tellapart.progress import SILENT, Progress, Work

_T = TypeVar("_T")

#: Limits on what one archive may hold, in bytes and files.
MAXIMUM_BYTES = 100 * 2**30
MAXIMUM_MEMBERS = 2_000_000
#: Photos hardly shrink in a zip; what grows more than this, beyond the size below, is a bomb.
MAXIMUM_RATIO = 100
RATIO_MATTERS_FROM_BYTES = 256 * 2**20
_BLOCK = 2**20
#: Raised when the same archive is written under other names than before.
NAMES_VERSION = 2
_UTF8_FLAG, _UTF8_NAME_FIELD = 0x800, 0x7075


def unpacked(archive: Path, stage: Work) -> Path:
    """The folder in the cache that holds the archive's files; extracted on first use.

    Raises:
        DataError: the file is no zip, is damaged or encrypted, would write outside its
            folder, holds links, or would grow beyond the limits.
    """
    from tellapart.cache import entry, file_digest

    try:
        digest = file_digest(archive)
    except OSError as error:
        raise DataError(
            f"The archive {shown(archive)} cannot be read: {error.strerror}."
        ) from error
    return entry(f"archives-{NAMES_VERSION}", digest, lambda folder: unpack(archive, folder, stage))


def with_files_of(archive: Path, use: Callable[[Path], _T], progress: Progress = SILENT) -> _T:
    """What ``use(folder)`` makes of an archive's files, all of them.

    Unpacked again, and used again, where somebody deletes files of the folder meanwhile.

    Raises:
        DataError: as :func:`unpacked`.
        TellapartError: they were deleted each time.
        Exception: whatever ``use`` raises for files that are all there.
    """
    from tellapart import cache

    def once() -> _T:
        with progress.stage("Opening the archive", None, "files") as stage:
            folder = unpacked(archive, stage)
        with cache.using(folder):
            result = use(folder)
        cache.require_there(folder)
        return result

    return cache.undeterred(once)


def is_archive(source: Path) -> bool:
    """Whether images are read from a zip.

    >>> is_archive(Path("no-such.zip"))
    False
    """
    return source.suffix.lower() == ".zip" and source.is_file()


def unpack(archive: Path, folder: Path, stage: Work) -> None:
    """Check every member of a zip, then write them below ``folder``; see :func:`unpacked`."""
    try:
        with zipfile.ZipFile(archive) as opened:
            members = _checked(archive, opened)
            folder.mkdir(parents=True, exist_ok=True)
            for name, member in members.items():
                _write(opened, member, folder / name)
                stage.advance()
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError) as error:
        raise DataError(
            f"{shown(archive)} is not a zip that can be read ({error}); copy or make it again."
        ) from error
    except MemoryError as error:  # a dictionary of 4 GB is what a member may ask for
        raise DataError(
            f"{shown(archive)} needs more memory than there is to be unpacked; extract it yourself "
            "and give the folder."
        ) from error
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise  # the cache says what to do
        raise DataError(
            f"{shown(archive)} cannot be extracted into the cache: {error.strerror or error}."
        ) from error


def _checked(archive: Path, opened: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The members to write by their path; refuses the whole archive for one bad member."""
    infos = opened.infolist()
    if len(infos) > MAXIMUM_MEMBERS:
        raise DataError(
            f"{shown(archive)} holds {len(infos):,} files, more than {MAXIMUM_MEMBERS:,}; "
            "extract it yourself and give the folder."
        )
    members: dict[str, zipfile.ZipInfo] = {}
    for info in infos:
        name = _safe_name(archive, info)
        if info.is_dir() or any(is_system_name(piece) for piece in name.split("/")):
            continue
        if info.flag_bits & 1:
            raise DataError(
                f"{shown(archive)} is encrypted; extract it yourself and give the folder."
            )
        if name in members:
            raise DataError(
                f"{shown(archive)} holds '{shown(name)}' twice; make the archive again."
            )
        members[name] = info
    _check_size(archive, sum(info.file_size for info in members.values()))
    return members


def _safe_name(archive: Path, info: zipfile.ZipInfo) -> str:
    """The member's path with forward slashes, certain to stay inside."""
    name = _written_name(info).replace("\\", "/")  # as some Windows programs write it
    pieces = PurePosixPath(name).parts
    has_drive = len(name) > 1 and name[1] == ":"
    if name.startswith("/") or has_drive or ".." in pieces or "\0" in name:
        raise DataError(
            f"{shown(archive)} is refused: its member '{shown(info.filename)}' would be written "
            "outside the archive's folder; make the archive again from the images."
        )
    if not pieces:
        raise DataError(
            f"{shown(archive)} is refused: it holds a file without a name; make the archive again "
            "from the images."
        )
    if stat.S_ISLNK(info.external_attr >> 16):
        raise DataError(
            f"{shown(archive)} is refused: its member '{shown(info.filename)}' is a link; "
            "make the archive again with the files themselves."
        )
    return "/".join(pieces)


def _written_name(info: zipfile.ZipInfo) -> str:
    """The member's name as its writer meant it.

    The standard (APPNOTE.TXT, 4.4.4, 4.6.9 and appendix D) has code page 437 where neither a
    flag nor an extra field says UTF-8. The macOS Finder writes UTF-8 without the flag: what is
    valid UTF-8 with a character beyond ASCII is hardly ever anything else.
    """
    if info.flag_bits & _UTF8_FLAG:
        return info.filename
    raw = info.orig_filename.encode("cp437")
    for name in (_name_in_extra_field(info.extra, raw), raw):
        try:
            return name.decode("utf-8")
        except UnicodeDecodeError:
            continue
    return info.filename


def _name_in_extra_field(extra: bytes, raw: bytes) -> bytes:
    """The UTF-8 name that Info-ZIP puts beside one in another code page, else ``raw``."""
    at = 0
    while at + 4 <= len(extra):
        field, size = struct.unpack_from("<HH", extra, at)
        content = extra[at + 4 : at + 4 + size]
        if field == _UTF8_NAME_FIELD and len(content) == size > 5:
            version, checksum = struct.unpack_from("<BI", content)
            if version == 1 and checksum == zlib.crc32(raw):
                return content[5:]
        at += 4 + size
    return raw


def _check_size(archive: Path, total: int) -> None:
    packed = archive.stat().st_size
    if total > RATIO_MATTERS_FROM_BYTES and total > MAXIMUM_RATIO * packed:
        raise DataError(
            f"{shown(archive)} is refused: {packed / 2**20:,.1f} MB would grow to "
            f"{total / 2**20:,.0f} MB, which no archive of photos does; if it is meant, extract "
            "it yourself and give the folder."
        )
    if total > MAXIMUM_BYTES:
        raise DataError(
            f"{shown(archive)} would grow to {total / 2**30:,.0f} GB, more than "
            f"{MAXIMUM_BYTES // 2**30} GB; extract it yourself and give the folder."
        )


def _write(opened: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path) -> None:
    """Write one member; never more bytes than it declares, which is what was checked."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with opened.open(member) as source, target.open("xb") as written:
        shutil.copyfileobj(source, written, _BLOCK)
