"""One file -> the upright RGB picture that a person would see.

Every path of the product (training, evaluation, prediction, service, export) reads images
through this module, so the same bytes give the same array everywhere.

What is read: JPEG, PNG, WebP, BMP, GIF, TIFF (first frame or page each), PPM and PGM.
What a person would see means:

- EXIF orientation is applied.
- Transparent pictures lie on a white page.
- Palettes, CMYK and 1-bit pictures become RGB; grey becomes three equal channels.
- 16-bit grey is scaled from its full range (0..65535, or what a TIFF says it uses) to
  0..255. Whole numbers of 32 bit are taken as 16-bit where they fit, and are stretched
  from their smallest to their largest value otherwise. Floating point is taken as 0..1 or
  0..255 where it fits, and is stretched otherwise; NaN is black.

Colour profiles are not applied.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
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

from tellapart.machine import num_cores
from tellapart.pixels.preprocessing import Preprocessing

#: Raised when the same bytes give other pixels than before.
DECODER_VERSION = "1"

#: Formats that are tried; nothing else that Pillow knows (PostScript, ...) is ever run.
#: (Importing their plugins by name also spares Pillow's search through all it has.)
FORMATS = tuple(
    str(plugin.format)
    for plugin in (
        JpegImagePlugin.JpegImageFile,
        PngImagePlugin.PngImageFile,
        WebPImagePlugin.WebPImageFile,
        BmpImagePlugin.BmpImageFile,
        GifImagePlugin.GifImageFile,
        TiffImagePlugin.TiffImageFile,
        PpmImagePlugin.PpmImageFile,
    )
)

#: Above this a picture is refused before it is decoded (Pillow's own limit, 179 megapixels).
MAXIMUM_PIXELS = 2 * 89_478_485
MAXIMUM_FILE_BYTES = 1 << 30
#: Files smaller than this on average are decoded by one thread.
SMALL_FILE_BYTES = 3000

_RESAMPLING = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}

#: EXIF orientation -> what turns the stored picture upright (Exif 2.32, tag 0x0112).
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ORIENTATION = 0x0112
_BITS_PER_SAMPLE = 258


class UnreadableImage(Exception):
    """A file is no picture that can be used.

    ``kind`` is ``unreadable``, ``empty``, ``truncated``, ``not_an_image`` or ``too_large``;
    ``reason`` says it in a sentence.
    """

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind
        self.reason = reason

    def __reduce__(self) -> tuple[type[UnreadableImage], tuple[str, str]]:
        return UnreadableImage, (self.kind, self.reason)


def decode(source: Path | bytes, preprocessing: Preprocessing) -> NDArray[np.uint8]:
    """Read a picture and bring it to a network's size.

    Large JPEGs are decoded at 1/2, 1/4 or 1/8 of their size (in the DCT domain) where that
    leaves at least twice the pixels that are needed, in both directions.

    Args:
        source: a file, or the bytes of one.
        preprocessing: gives size, ``fit`` and interpolation (antialiased, as in Pillow).

    Returns:
        uint8 (height, width, 3), RGB, 0..255.

    Raises:
        UnreadableImage: the file cannot be read or is no picture.
    """
    image = _load(source, preprocessing)
    try:
        fitted = _fit(image, preprocessing)
    except MemoryError as error:
        raise UnreadableImage("too_large", "The picture does not fit into memory.") from error
    if fitted.mode != "RGB":
        fitted = fitted.convert("RGB")
    return np.asarray(fitted)


def decode_many(
    files: Sequence[Path], preprocessing: Preprocessing
) -> tuple[NDArray[np.uint8], list[str]]:
    """Read files side by side.

    Returns:
        uint8 (N, height, width, 3) of those files that could be read, in their order, and for
        each file "" or the reason why it could not.
    """
    with ThreadPoolExecutor(num_decoding_threads(map(_file_bytes, files))) as pool:
        outcomes = list(pool.map(lambda file: _decode_or_reason(file, preprocessing), files))
    decoded = [outcome for outcome in outcomes if not isinstance(outcome, str)]
    size = (0, preprocessing.height, preprocessing.width, 3)
    reasons = [outcome if isinstance(outcome, str) else "" for outcome in outcomes]
    return np.stack(decoded) if decoded else np.zeros(size, np.uint8), reasons


def num_decoding_threads(file_bytes: Iterable[int]) -> int:
    """How many threads decode files of these sizes quickest.

    Of small files (icons, CIFAR) most of the time goes to Pillow's Python, which only one
    thread can run at a time; several would only wait for each other.
    """
    sizes = list(file_bytes)
    return 1 if sum(sizes) < SMALL_FILE_BYTES * len(sizes) else num_cores()


def _file_bytes(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:  # decoding says what is wrong with it
        return 0


def _decode_or_reason(file: Path, preprocessing: Preprocessing) -> NDArray[np.uint8] | str:
    try:
        return decode(file, preprocessing)
    except UnreadableImage as error:
        return error.reason


def open_upright(source: Path | bytes) -> Image.Image:
    """The picture in full size, RGB, EXIF orientation applied.

    Raises:
        UnreadableImage: the file cannot be read or is no picture.
    """
    return _load(source, None).convert("RGB")


def read_image_file(file: Path) -> bytes:
    """The bytes of an image file.

    Raises:
        UnreadableImage: it is missing, empty, not allowed to be read, or over the size limit.
    """
    try:
        with file.open("rb", buffering=0) as stream:  # 11 instead of 40 microseconds
            if os.fstat(stream.fileno()).st_size > MAXIMUM_FILE_BYTES:
                raise UnreadableImage("too_large", "The file is larger than 1 GiB.")
            return stream.readall()
    except OSError as error:
        reason = error.strerror or str(error)
        raise UnreadableImage("unreadable", f"The file cannot be opened: {reason}.") from error


# --- from bytes to an upright picture of mode L or RGB ----------------------------------------


def _load(source: Path | bytes, preprocessing: Preprocessing | None) -> Image.Image:
    """The upright picture, mode L or RGB, at reduced scale where ``preprocessing`` allows."""
    content = read_image_file(source) if isinstance(source, Path) else bytes(source)
    if not content:
        raise UnreadableImage("empty", "The file is empty.")
    image = _open(content)
    if image.width * image.height > MAXIMUM_PIXELS:
        raise _too_many_pixels(image.width, image.height)
    # What a damaged file makes a format's reader raise is not limited to a few types.
    try:
        orientation = _orientation(image)
        if preprocessing is not None:
            _reduce(image, preprocessing, swapped=orientation >= 5)
        image.load()
        plain = _to_grey_or_rgb(image)
    except MemoryError as error:
        raise UnreadableImage("too_large", "The picture does not fit into memory.") from error
    except Exception as error:
        raise _damaged(content, error) from error
    if image.format == "TIFF":  # its reader has turned the picture already
        return plain
    return plain.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else plain


def _open(content: bytes) -> Image.Image:
    try:
        return Image.open(BytesIO(content), formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UnreadableImage(
            "too_large",
            f"The picture claims more than {MAXIMUM_PIXELS // 10**6} megapixels.",
        ) from error
    except Exception as error:
        if _looks_like(content) is None:
            raise UnreadableImage("not_an_image", _what_it_is(content)) from error
        raise _damaged(content, error) from error


def _too_many_pixels(width: int, height: int) -> UnreadableImage:
    return UnreadableImage(
        "too_large",
        f"The picture claims {width} x {height} pixels, more than "
        f"{MAXIMUM_PIXELS // 10**6} megapixels.",
    )


def _orientation(image: Image.Image) -> int:
    """EXIF orientation 1..8; 1 where there is none or the EXIF data are damaged."""
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except OSError:
        raise  # getexif loads the pixels of some formats: the picture itself is damaged
    except Exception:
        return 1  # the picture can be seen without its EXIF data
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _reduce(image: Image.Image, preprocessing: Preprocessing, *, swapped: bool) -> None:
    """Have a JPEG decoded at reduced scale, at least twice the size needed."""
    if image.format not in ("JPEG", "MPO") or preprocessing.interpolation == "nearest":
        return
    height, width = preprocessing.height, preprocessing.width
    if swapped:
        height, width = width, height
    if preprocessing.fit != "squash":
        choose = max if preprocessing.fit == "crop" else min
        scale = choose(height / image.height, width / image.width)
        height, width = math.ceil(scale * image.height), math.ceil(scale * image.width)
    image.draft(None, (2 * width, 2 * height))


def _to_grey_or_rgb(image: Image.Image) -> Image.Image:
    mode = image.mode
    if mode.startswith("I;16") or mode in ("I", "F"):
        return _scaled_to_8_bit(image)
    if image.has_transparency_data:
        picture = image.convert("RGBA")
        page = Image.new("RGBA", picture.size, (255, 255, 255, 255))
        return Image.alpha_composite(page, picture).convert("RGB")
    if mode in ("L", "RGB"):
        return image
    return image.convert("L" if mode == "1" else "RGB")


def _scaled_to_8_bit(image: Image.Image) -> Image.Image:
    values = np.nan_to_num(np.asarray(image, dtype=np.float64), nan=0.0)
    low, high = _range(image, float(values.min()), float(values.max()))
    scaled = np.clip((values - low) * (255.0 / (high - low)), 0.0, 255.0)
    return Image.fromarray(np.rint(scaled).astype(np.uint8))


def _range(image: Image.Image, smallest: float, largest: float) -> tuple[float, float]:
    """The values that are black and white."""
    if image.mode.startswith("I;16"):
        tags: Any = getattr(image, "tag_v2", {})
        bits = int((tags.get(_BITS_PER_SAMPLE) or (16,))[0])
        return 0.0, float(2 ** min(16, max(1, bits)) - 1)
    for limit in (65535.0,) if image.mode == "I" else (1.0, 255.0):
        if smallest >= 0.0 and largest <= limit:
            return 0.0, limit
    return smallest, max(largest, math.nextafter(smallest, math.inf))


# --- to size ----------------------------------------------------------------------------------


def _fit(image: Image.Image, preprocessing: Preprocessing) -> Image.Image:
    size = (preprocessing.width, preprocessing.height)
    resampling = _RESAMPLING[preprocessing.interpolation]
    if preprocessing.fit == "squash" or image.width * size[1] == image.height * size[0]:
        return image.resize(size, resampling) if image.size != size else image
    if preprocessing.fit == "crop":
        scale = max(size[0] / image.width, size[1] / image.height)
        width, height = size[0] / scale, size[1] / scale
        left, top = max(0.0, (image.width - width) / 2), max(0.0, (image.height - height) / 2)
        right, bottom = min(image.width, left + width), min(image.height, top + height)
        return image.resize(size, resampling, box=(left, top, right, bottom))
    scale = min(size[0] / image.width, size[1] / image.height)
    inner = (max(1, round(scale * image.width)), max(1, round(scale * image.height)))
    page = Image.new("RGB", size, preprocessing.padding_colour())
    place = ((size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2)
    page.paste(image.resize(inner, resampling).convert("RGB"), place)
    return page


# --- what is wrong with a file ------------------------------------------------------------------

_SIGNATURES = {
    "JPEG": b"\xff\xd8\xff",
    "PNG": b"\x89PNG\r\n\x1a\n",
    "GIF": b"GIF8",
    "BMP": b"BM",
    "TIFF (little endian)": b"II*\x00",
    "TIFF (big endian)": b"MM\x00*",
}


def _looks_like(content: bytes) -> str | None:
    """The format that a file's first bytes announce."""
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "WebP"
    return next((n for n, start in _SIGNATURES.items() if content.startswith(start)), None)


def _what_it_is(content: bytes) -> str:
    if content[4:8] == b"ftyp":
        return "The file is a HEIF, AVIF or video file; convert it to JPEG or PNG."
    if not content.strip(b"\x00"):
        return "The file holds nothing but zeros."
    return "The file is not a picture in a format that is read here."


def _ends_early(content: bytes) -> bool:
    """Whether the mark at which the format ends is missing."""
    kind = _looks_like(content)
    if kind == "JPEG":
        return b"\xff\xd9" not in content[-64:]
    if kind == "PNG":
        return b"IEND" not in content[-64:]
    if kind == "WebP":
        return len(content) < int.from_bytes(content[4:8], "little") + 8
    if kind == "BMP":
        return len(content) < int.from_bytes(content[2:6], "little")
    return kind == "GIF" and content[-1:] != b";"


def _damaged(content: bytes, error: Exception) -> UnreadableImage:
    name = (_looks_like(content) or "image").split(" ")[0]
    without_end_mark = name in ("TIFF", "image") and "truncated" in str(error).lower()
    if without_end_mark or _ends_early(content):
        return UnreadableImage("truncated", f"The {name} file ends before the picture does.")
    detail = str(error).strip().rstrip(".") or type(error).__name__
    return UnreadableImage("unreadable", f"The {name} file is damaged: {detail}.")
