"""What a file holds beside its picture, when it is so much that it would cost minutes.

Texts, comments and private data do not change the picture, but Pillow reads them with
Python, some of them byte by byte: a comment of 52 MB takes a minute. Files of more than
:data:`LARGE_FILE_BYTES` are looked through, and such data are left out or the file refused.
"""

from __future__ import annotations

import struct
from io import BytesIO

from tellapart.pixels.formats import UnreadableImage

#: Smaller files are handed on as they are.
LARGE_FILE_BYTES = 1 << 20
#: Numbers written as text (PPM's kinds P1 to P3) take Python's time.
MAXIMUM_TEXT_BYTES = 32 << 20
#: Data beside the picture that are left to Pillow.
_FEW_BYTES, _FEW_CHUNKS = 1 << 16, 256
_PPM_HEADER_BYTES = 1 << 12
#: PNG chunks that are the picture, or say how it is to be seen.
_PNG_NEEDED = frozenset(
    {b"IHDR", b"PLTE", b"tRNS", b"sBIT", b"eXIf", b"IDAT", b"IEND", b"gAMA", b"cHRM", b"sRGB"}
)


def cleaned(content: bytes, name: str | None) -> bytes:
    """The file without what costs time and changes nothing.

    Args:
        content: the file.
        name: its format, as :func:`tellapart.pixels.formats.identify` gives it.

    Raises:
        UnreadableImage: it cannot be read in a reasonable time.
    """
    if len(content) < LARGE_FILE_BYTES:
        return content
    if name == "PNG":
        return _clean_png(content)
    if name == "GIF":
        return _clean_gif(content)
    if name == "PPM":
        return _clean_ppm(content)
    return content


def _clean_png(content: bytes) -> bytes:
    kept, at, beside, chunks = [content[:8]], 8, 0, 0
    while at + 8 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, at)
        end = at + 12 + length
        if kind in _PNG_NEEDED:
            kept.append(content[at:end])
        else:
            beside += length
            chunks += 1
        at = end
        if kind == b"IEND":
            break
    if beside < _FEW_BYTES and chunks < _FEW_CHUNKS:
        return content
    return b"".join(kept)


def _clean_gif(content: bytes) -> bytes:
    """Without comments and the like before the first picture."""
    at = 13 + (3 << ((content[10] & 7) + 1) if content[10] & 0x80 else 0)
    kept, first = [content[:at]], at
    while content[at : at + 1] == b"!":
        start, label = at, content[at + 1 : at + 2]
        at += 2
        while at < len(content) and content[at]:
            at += content[at] + 1
        at += 1
        if label == b"\xf9":  # says which colour is transparent
            kept.append(content[start:at])
    if at - first < _FEW_BYTES:
        return content
    return b"".join([*kept, content[at:]])


def _clean_ppm(content: bytes) -> bytes:
    if content[1:2] in b"123" and len(content) > MAXIMUM_TEXT_BYTES:
        raise UnreadableImage(
            "too_large",
            f"The file writes its picture as text, more than {MAXIMUM_TEXT_BYTES >> 20} MiB of it.",
        )
    stream = BytesIO(content)
    numbers = 2 if content[1:2] in b"14" else 3
    header, found = content[:2], 0
    stream.seek(2)
    # Up to the last number: what follows is the picture, which may look like a comment.
    while found < numbers and len(header) < _PPM_HEADER_BYTES:
        byte = stream.read(1)
        if byte == b"#":
            stream.seek(_after_line(content, stream.tell()))
            byte = b"\n"
        if byte.isspace() and not header[-1:].isspace():
            found += header[2:].strip() != b"" and header[-1:].isdigit()
        header += byte if not (byte.isspace() and header[-1:].isspace()) else b""
        if not byte:
            return content
    return header + content[stream.tell() :]


def _after_line(content: bytes, at: int) -> int:
    ends = [end for mark in (b"\n", b"\r") if (end := content.find(mark, at)) >= 0]
    return min(ends) + 1 if ends else len(content)
