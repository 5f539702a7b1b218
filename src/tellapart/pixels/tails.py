"""Zeros where the last part of a compressed picture should be.

A download that was broken off, or a disk that lost blocks, leaves files of the right length
that end in zeros. WebP, HEIC and AVIF decoders make some picture of them all the same. Their
data do not end in long runs of zeros, so such a run is a loss. (JPEG has its own module; PNG
and GIF notice it; in BMP, PPM and uncompressed TIFF zeros are black and cannot be told.)
"""

from __future__ import annotations

from tellapart.pixels.formats import UnreadableImage

#: Zeros at the end of the picture's data that count: so many, and this share of the file.
_LEAST, _SHARE = 64, 0.05


def check_tail(content: bytes, name: str | None) -> None:
    """Refuse a file whose picture ends in zeros.

    Args:
        content: the file.
        name: its format, as :func:`tellapart.pixels.formats.identify` gives it.

    Raises:
        UnreadableImage: so many that a part of the picture must be missing.
    """
    if name == "WebP":
        end = min(len(content), int.from_bytes(content[4:8], "little") + 8)
    elif name in ("HEIC", "AVIF"):
        end = _end_of_media(content)
    else:
        return
    if end < _LEAST or content[end - _LEAST : end].strip(b"\x00"):
        return
    zeros = end - len(content[:end].rstrip(b"\x00"))
    if zeros > _SHARE * end:
        raise UnreadableImage(
            "truncated",
            f"The {name} file ends before the picture does: the last "
            f"{max(1, round(100 * zeros / end))} % of it are zeros.",
        )


def _end_of_media(content: bytes) -> int:
    """Where the last box with compressed data ends (ISO/IEC 14496-12, 4.2)."""
    at, end = 0, 0
    while at + 16 <= len(content):
        size = int.from_bytes(content[at : at + 4], "big")
        if size == 1:
            size = int.from_bytes(content[at + 8 : at + 16], "big")
        if size == 0:
            size = len(content) - at
        if size < 8:
            break
        if content[at + 4 : at + 8] == b"mdat":
            end = min(len(content), at + size)
        at += size
    return end
