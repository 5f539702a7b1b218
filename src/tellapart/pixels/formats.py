"""Which picture formats are read, how each is recognised, and by what it is opened.

Nothing else that Pillow knows (PostScript, ...) is ever run. HEIC needs the package pi-heif
and AVIF a Pillow that has it built in (11.3 and later): ``pip install 'tellapart[phone]'``
brings both. :func:`missing_reader` says it where they are not here.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from threading import Lock
from typing import IO, Any

from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

_BRANDS_AVIF = frozenset({b"avif", b"avis"})
_BRANDS_HEIC = frozenset(
    {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"}
)


@dataclass(frozen=True)
class PictureFormat:
    """One format of pictures that is read."""

    name: str
    #: In small letters, without the dot.
    extensions: tuple[str, ...]
    #: Whether a file's first bytes (32 are enough) are those of the format.
    is_announced: Callable[[bytes], bool]
    #: What Pillow calls it in the pictures that it opens.
    pillow_names: tuple[str, ...]
    #: Whether every installation of Pillow reads it; else see :func:`missing_reader`.
    is_always_read: bool = True


def _starts(*starts: bytes) -> Callable[[bytes], bool]:
    return lambda head: head.startswith(starts)


def _is_webp(head: bytes) -> bool:
    return head[:4] == b"RIFF" and head[8:12] == b"WEBP"


def _is_ppm(head: bytes) -> bool:
    return head[:1] == b"P" and head[1:2] in b"123456" and head[2:3] in (b" ", b"\t", b"\n", b"\r")


def _is_of_brand(brands: frozenset[bytes]) -> Callable[[bytes], bool]:
    """Whether a file of the ISO base media format says that it is one of these."""

    def is_announced(head: bytes) -> bool:
        if head[4:8] != b"ftyp":
            return False
        length = max(16, min(int.from_bytes(head[:4], "big"), len(head)))
        told = {head[8:12], *(head[at : at + 4] for at in range(16, length - 3, 4))}
        return bool(told & brands)

    return is_announced


_JPEG = (str(JpegImagePlugin.JpegImageFile.format), "MPO")
_PNG, _WEBP, _BMP, _GIF, _TIFF, _PPM = (
    (str(plugin.format),)
    for plugin in (
        PngImagePlugin.PngImageFile,
        WebPImagePlugin.WebPImageFile,
        BmpImagePlugin.BmpImageFile,
        GifImagePlugin.GifImageFile,
        TiffImagePlugin.TiffImageFile,
        PpmImagePlugin.PpmImageFile,
    )
)
#: A new one is a row here; of two that could both be meant, the first is. (Importing Pillow's
#: plugins by name also spares its search through all it has.)
PICTURE_FORMATS = (
    PictureFormat("JPEG", ("jpg", "jpeg", "jpe", "jfif"), _starts(b"\xff\xd8\xff"), _JPEG),
    PictureFormat("PNG", ("png",), _starts(b"\x89PNG\r\n\x1a\n"), _PNG),
    PictureFormat("GIF", ("gif",), _starts(b"GIF8"), _GIF),
    PictureFormat("BMP", ("bmp", "dib"), _starts(b"BM"), (*_BMP, "DIB")),
    PictureFormat(
        "TIFF", ("tif", "tiff"), _starts(b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), _TIFF
    ),
    PictureFormat("WebP", ("webp",), _is_webp, _WEBP),
    PictureFormat("PPM", ("ppm", "pgm", "pbm", "pnm"), _is_ppm, _PPM),
    PictureFormat("AVIF", ("avif",), _is_of_brand(_BRANDS_AVIF), ("AVIF",), is_always_read=False),
    PictureFormat(
        "HEIC", ("heic", "heif", "hif"), _is_of_brand(_BRANDS_HEIC), ("HEIF",),
        is_always_read=False,
    ),
)  # fmt: skip
#: Extension -> name of its format.
EXTENSIONS: dict[str, str] = {
    extension: row.name for row in PICTURE_FORMATS for extension in row.extensions
}
IMAGE_EXTENSIONS = frozenset(EXTENSIONS)
#: Pictures that a person would expect to be read and that are not; worth a sentence of their own.
OTHER_PICTURES = frozenset(
    {
        *("jxl", "jp2", "svg", "psd"),
        *("raw", "cr2", "cr3", "nef", "arw", "dng", "orf"),
    }
)
#: What Pillow opens for us wherever it is.
FORMATS = tuple(row.pillow_names[0] for row in PICTURE_FORMATS if row.is_always_read)


class UnreadableImage(Exception):
    """A file is no picture that can be used.

    ``kind`` is ``unreadable``, ``empty``, ``truncated``, ``not_an_image``, ``too_large`` or
    ``unsupported`` (whole, but of a kind that is not read); ``reason`` says it in a sentence.
    """

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind
        self.reason = reason

    def __reduce__(self) -> tuple[type[UnreadableImage], tuple[str, str]]:
        return UnreadableImage, (self.kind, self.reason)


def identify(head: bytes) -> str | None:
    """The format that a file's first bytes (32 are enough) announce.

    A name of :data:`PICTURE_FORMATS`, or None.

    >>> identify(b"\\xff\\xd8\\xff\\xe0")
    'JPEG'
    """
    return next((row.name for row in PICTURE_FORMATS if row.is_announced(head)), None)


@cache
def _heif_reader() -> Any:
    """pi-heif's Pillow class, or None; nothing is registered with Pillow."""
    try:
        from pi_heif.as_plugin import HeifImageFile
    except ImportError:
        return None
    return HeifImageFile


@cache
def _reads_avif() -> bool:
    try:
        from PIL import AvifImagePlugin
    except ImportError:  # Pillow before 11.3
        return False
    return bool(AvifImagePlugin.SUPPORTED)


def missing_reader(name: str) -> str:
    """Why pictures of a format cannot be read here; "" where they can.

    ``name`` is a format as :func:`identify` gives it.
    """
    if (name == "HEIC" and _heif_reader() is None) or (name == "AVIF" and not _reads_avif()):
        return f"{name} pictures need pip install 'tellapart[phone]', or save it as JPEG or PNG."
    return ""


def open_with_pillow(source: IO[bytes], name: str | None) -> Image.Image:
    """Read a picture's header; its pixels come when they are asked for.

    Args:
        source: the file or its bytes.
        name: what :func:`identify` says of it.

    Raises:
        Exception: whatever a damaged file makes Pillow raise.
    """
    if name == "JPEG":  # its plugin alone, which spares tiny pictures a tenth of their time
        return JpegImagePlugin.jpeg_factory(source)
    if name == "HEIC":
        image: Image.Image = _heif_reader()(source)
        return image
    formats = ("AVIF",) if name == "AVIF" else FORMATS
    return Image.open(source, formats=formats)


def open_bytes(content: bytes, name: str | None) -> Image.Image:
    """:func:`open_with_pillow` for a file's bytes."""
    return open_with_pillow(BytesIO(content), name)


# --- warnings -----------------------------------------------------------------------------

_lock = Lock()
_depth = 0
_caught: list[Any] = []


class _WithoutWarnings:
    def __enter__(self) -> None:
        global _depth
        with _lock:
            _depth += 1
            if _depth == 1:
                caught = warnings.catch_warnings()
                caught.__enter__()
                _caught.append(caught)
                warnings.filterwarnings("ignore", module=r"(PIL|pi_heif)\b")

    def __exit__(self, *error: object) -> None:
        global _depth
        with _lock:
            _depth -= 1
            if _depth == 0:
                _caught.pop().__exit__(None, None, None)


_WITHOUT_WARNINGS = _WithoutWarnings()


def without_warnings() -> AbstractContextManager[None]:
    """Odd EXIF data and the like do not matter where the picture can be read.

    So warnings of the picture libraries are neither shown nor, with ``python -W error``,
    raised. ``warnings.catch_warnings`` alone is not for threads: filters are put in place
    by the first thread that comes and back by the last that goes.
    """
    return _WITHOUT_WARNINGS
