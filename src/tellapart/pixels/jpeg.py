"""JPEG files before they are decoded: is all of the picture there, and is it of sane size?

libjpeg fills what is missing of a picture with grey and only warns, which Pillow does not
pass on. But it waits for more bytes where a file neither goes on nor ends, and then Pillow
says "truncated". So the end mark is taken away, and a few bytes are put in its place that
the decoder may look ahead at: a complete picture needs nothing of them.
"""

from __future__ import annotations

import re
from io import BytesIO
from typing import NamedTuple

from PIL import Image

from tellapart.pixels.formats import UnreadableImage

#: A progressive JPEG sends its picture in about 10 scans, each as large as the picture when it
#: is decoded. More than this many, or this many pixels in all scans together, are refused.
MAXIMUM_SCANS = 100
MAXIMUM_SCANNED_PIXELS = 2_000_000_000
#: Segments (EXIF, profiles, comments; 64 KiB at most each) before the picture.
MAXIMUM_SEGMENTS = 4096

_END = b"\xff\xd9"
_START_OF_SCAN = 0xDA
#: Ten bytes 0xFF as they stand in entropy-coded data: padding, by the standard.
_PADDING = b"\xff\x00" * 10
#: As many zeros at the end of a picture's data are looked at closely.
_ZEROS = bytes(64)
#: So many zeros at the end of a picture that has them rightly are all needed. (More than the
#: padding has, which the decoder may take for them.)
_NEEDED = 16
_NEXT_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
#: What no picture's data goes on with; see :func:`_is_complete`.
_OTHER_DATA = bytes((37 * k * k + 11 * k + 5) % 251 for k in range(512))


class _Layout(NamedTuple):
    #: Where the first scan starts.
    scan: int
    width: int
    height: int
    #: One scan holds all colours, and the picture is sent once.
    single: bool


def checked(content: bytes) -> bytes:
    """The bytes to decode in place of a JPEG file's.

    Raises:
        UnreadableImage: the picture's last part is missing, or it has too many scans or segments.
    """
    layout = _layout(content)
    if layout is None:
        return content  # Pillow says what is wrong with it
    if not layout.single:
        _check_scans(content, layout)
    end = len(content) - 2 if content.endswith(_END) else _end_of_data(content, layout)
    data = content[: len(content) if end < 0 else end]
    if data.endswith(_ZEROS) or (end < 0 and data.endswith(b"\x00")):
        data = _without_zeros(data, layout)
    elif end < 0 and not _is_complete(data, layout):
        raise _ends_early("it has no end mark")
    return data + _PADDING if layout.single else data + _END


def _layout(content: bytes) -> _Layout | None:
    """What the segments before the first scan say; None where they cannot be followed."""
    at, segments = 2, 0
    kind = components = width = height = 0
    try:
        while True:
            if content[at] != 0xFF:
                return None
            marker = content[at + 1]
            if marker == 0xFF:
                at += 1
                continue
            if marker == _START_OF_SCAN:
                single = kind in (0xC0, 0xC1) and content[at + 4] == components
                return _Layout(at, width, height, single)
            if marker == 0xD9 or marker < 0xC0:
                return None
            if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
                kind, components = marker, content[at + 9]
                height = (content[at + 5] << 8) + content[at + 6]
                width = (content[at + 7] << 8) + content[at + 8]
            at += 2 + (content[at + 2] << 8) + content[at + 3]
            segments += 1
            if segments > MAXIMUM_SEGMENTS:
                raise UnreadableImage(
                    "too_large",
                    f"The JPEG has more than {MAXIMUM_SEGMENTS:,} segments before its picture.",
                )
    except IndexError:
        return None


def unusual(content: bytes) -> str:
    """What kind of JPEG it is, where that is one which is not read; "" for an ordinary one."""
    at = 2
    try:
        while content[at] == 0xFF and content[at + 1] != _START_OF_SCAN:
            marker, precision, bands = content[at + 1], content[at + 4], content[at + 9]
            if marker in (0xC3, 0xC7, 0xCB, 0xCF):
                return "without loss (lossless JPEG)"
            if marker == 0xF7:
                return "of the kind JPEG-LS"
            if marker in (0xC5, 0xC6, 0xCD, 0xCE):
                return "in several sizes (hierarchical JPEG)"
            if marker in (0xC0, 0xC1, 0xC2, 0xC9, 0xCA):
                if precision != 8:
                    return f"with {precision} bits a colour"
                return "" if bands in (1, 3, 4) else f"with {bands} colours"
            at += 2 + (content[at + 2] << 8) + content[at + 3]
    except IndexError:
        pass
    return ""


def _check_scans(content: bytes, layout: _Layout) -> None:
    scans = content.count(b"\xff\xda", layout.scan)
    if scans > MAXIMUM_SCANS or scans * layout.width * layout.height > MAXIMUM_SCANNED_PIXELS:
        raise UnreadableImage(
            "too_large",
            f"The JPEG sends {layout.width} x {layout.height} pixels in {scans:,} scans, more than "
            f"{MAXIMUM_SCANS} scans or {MAXIMUM_SCANNED_PIXELS // 10**6:,} million pixels.",
        )


def _end_of_data(content: bytes, layout: _Layout) -> int:
    """Where the picture's end mark lies, though other bytes follow it; -1: there is none."""
    if layout.single:
        return content.find(_END, layout.scan)
    at = layout.scan
    while True:
        at += 2 + int.from_bytes(content[at + 2 : at + 4], "big")
        found = _NEXT_MARKER.search(content, at)
        if found is None:
            return -1
        at = found.start()
        if content[at + 1] == 0xD9:
            return at


def _without_zeros(data: bytes, layout: _Layout) -> bytes:
    """Data that ends in zeros, if they are no part of the picture, or a part that is needed.

    Large flat areas are zeros where the encoder made its codes to measure, and some cameras
    fill up with zeros. But zeros are also what a download or a disk leaves in place of what
    is lost. Codes of zeros are the shortest there are, so such a picture is finished long
    before its zeros are, or never.

    Raises:
        UnreadableImage: they stand in place of a part of the picture.
    """
    full = len(data.rstrip(b"\x00"))
    kept = data[: full + _NEEDED]  # the picture's own last bytes may be zeros
    if _is_complete(kept, layout):
        return kept
    if not _is_complete(data, layout) or _is_complete(data[:-_NEEDED], layout):
        share = max(1, round(100 * (1 - full / len(data))))
        raise _ends_early(f"the last {share} % of it are zeros")
    return data


def _is_complete(data: bytes, layout: _Layout) -> bool:
    """Whether the picture is finished with these bytes (the end mark left out).

    Of a picture that is sent in several scans: it is finished if it does not matter what
    follows.
    """
    if layout.single:
        return _pixels(data + _PADDING) is not None
    return _pixels(data + _END) == _pixels(data + _OTHER_DATA + _END)


def _pixels(content: bytes) -> bytes | None:
    try:
        with Image.open(BytesIO(content), formats=("JPEG",)) as image:
            image.load()
            return image.tobytes()
    except Exception:  # decoding for good says what is wrong with it
        return None


def _ends_early(why: str) -> UnreadableImage:
    return UnreadableImage("truncated", f"The JPEG file ends before the picture does: {why}.")
