"""What a file says of its picture, without decoding it: size, format, colours, orientation.

Everything that wants to know how large pictures are asks here. Only the formats that are
read are tried, with the same limits as in decoding, and nothing but
:class:`~tellapart.pixels.formats.UnreadableImage` leaves.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import IO

from PIL import Image

from tellapart.pixels import tiff
from tellapart.pixels.cleaning import cleaned
from tellapart.pixels.decode import check_size, orientation_of, read_image_file
from tellapart.pixels.formats import (
    UnreadableImage,
    identify,
    missing_reader,
    open_with_pillow,
    without_warnings,
)

#: As much of a file is read at first; nearly every header lies within.
_HEAD_BYTES = 1 << 17
#: Formats whose header can be read from the beginning of a file alone.
_FROM_HEAD = ("JPEG", "PNG", "BMP", "GIF", "PPM")
_MAXIMUM_CHUNKS = 10_000


@dataclass(frozen=True)
class Header:
    """What one file says of its picture."""

    #: Of the upright picture, pixels.
    width: int
    height: int
    #: Pillow's names, as ``JPEG`` and ``RGB``.
    format: str
    mode: str
    #: EXIF data say that the picture is stored turned or mirrored.
    turned: bool


def read_header(source: Path | bytes) -> Header:
    """Read a picture's header.

    Raises:
        UnreadableImage: the file cannot be opened or is no picture that is read here.
    """
    try:
        with without_warnings():
            if isinstance(source, bytes):
                return _of_content(source)
            return _of_file(source)
    except UnreadableImage:
        raise
    except OSError as error:
        reason = error.strerror or "its header is damaged"
        raise UnreadableImage("unreadable", f"The file cannot be read: {reason}.") from error
    except (Image.DecompressionBombError, MemoryError) as error:
        raise UnreadableImage("too_large", "The picture claims too many pixels.") from error
    except Exception as error:  # what damaged headers make readers raise is not limited
        raise UnreadableImage("unreadable", "The file's header is damaged.") from error


def shorter_sides(files: Iterable[Path], *, most: int) -> list[int]:
    """The shorter side, in pixels, of the first ``most`` pictures whose header can be read."""
    sides: list[int] = []
    for file in files:
        if len(sides) >= most:
            break
        try:
            header = read_header(file)
        except UnreadableImage:
            continue  # decoding will say what is wrong with it
        sides.append(min(header.width, header.height))
    return sides


def _of_file(file: Path) -> Header:
    with file.open("rb", buffering=0) as stream:
        head = stream.read(_HEAD_BYTES)
        name = identify(head[:32])
        if name == "TIFF":
            with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
                return _of_tiff(content, stream)
        if name in _FROM_HEAD and len(head) == _HEAD_BYTES:
            try:
                header, oriented = _with_pillow(BytesIO(head), name)
            except Exception:  # it goes on further than most
                return _of_content(read_image_file(file))
            if name == "PNG" and not oriented:
                return _reoriented(header, _late_exif(stream))
            return header
    return _of_content(head if len(head) < _HEAD_BYTES else read_image_file(file))


def _of_content(content: bytes) -> Header:
    if not content:
        raise UnreadableImage("empty", "The file is empty.")
    name = identify(content[:32])
    if name is not None and (missing := missing_reader(name)):
        raise UnreadableImage("unsupported", missing)
    if name == "TIFF":
        return _of_tiff(content, BytesIO(content))
    header, oriented = _with_pillow(BytesIO(cleaned(content, name)), name)
    if name == "PNG" and not oriented:
        return _reoriented(header, _late_exif(BytesIO(content)))
    return header


def _with_pillow(stream: IO[bytes], name: str | None) -> tuple[Header, bool]:
    """The header, and whether there were EXIF data."""
    with open_with_pillow(stream, name) as image:
        check_size(image.width, image.height)
        has_exif = "exif" in image.info
        orientation = orientation_of(image) if has_exif else 1
        header = Header(image.width, image.height, str(image.format), image.mode, False)
        return _reoriented(header, orientation), has_exif


def _of_tiff(content: bytes | mmap.mmap, stream: IO[bytes]) -> Header:
    layout = tiff.layout_of(content)
    check_size(layout.width, layout.height)
    mode = layout.mode
    if not layout.is_deep:
        stream.seek(0)
        with open_with_pillow(stream, "TIFF") as image:
            mode = image.mode
    header = Header(layout.width, layout.height, "TIFF", mode, False)
    return _reoriented(header, layout.orientation)


def _reoriented(header: Header, orientation: int) -> Header:
    width, height = header.width, header.height
    if 5 <= orientation <= 8:
        width, height = height, width
    return Header(width, height, header.format, header.mode, 2 <= orientation <= 8)


def _late_exif(stream: IO[bytes]) -> int:
    """The orientation in EXIF data that follow a PNG's picture; 1 if there are none."""
    at = 8
    for _ in range(_MAXIMUM_CHUNKS):
        stream.seek(at)
        start = stream.read(8)
        if len(start) < 8:
            return 1
        length, kind = struct.unpack(">I4s", start)
        if kind == b"eXIf":
            exif = Image.Exif()
            try:
                exif.load(b"Exif\x00\x00" + stream.read(length))
                value = exif.get(0x0112, 1)
            except Exception:  # damaged EXIF data raise anything; decoding ignores them as well
                return 1
            return value if isinstance(value, int) and 1 <= value <= 8 else 1
        at += 12 + length
    return 1
