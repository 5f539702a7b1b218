"""One file -> the upright RGB picture that a person would see.

Every path of the product (training, evaluation, prediction, service, export) reads images
through this module, so the same bytes give the same array everywhere.

What is read: JPEG, PNG, WebP, BMP, GIF, TIFF (first frame or page each), PPM and PGM, and
HEIC and AVIF where their readers are installed. What a person would see means:

- EXIF orientation is applied.
- Transparent pictures lie on a white page.
- Palettes, CMYK and 1-bit pictures become RGB; grey becomes three equal channels.
- More than 8 bits are scaled to 0..255 as :mod:`tellapart.pixels.levels` says.

Colour profiles are not applied. What is of none of these kinds, or not all there, is
refused with a sentence that says so; ``docs/pictures.md`` lists every kind and limit.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, UnidentifiedImageError

from tellapart.machine import num_cores
from tellapart.pixels import jpeg, tiff
from tellapart.pixels.budget import BYTES_A_PIXEL, DECODING
from tellapart.pixels.cleaning import cleaned
from tellapart.pixels.formats import (
    FORMATS,
    UnreadableImage,
    identify,
    missing_reader,
    open_bytes,
    without_warnings,
)
from tellapart.pixels.levels import to_8_bit
from tellapart.pixels.preprocessing import Preprocessing
from tellapart.pixels.tails import check_tail

__all__ = [
    "DECODER_VERSION", "FORMATS", "MAXIMUM_FILE_BYTES", "MAXIMUM_PIXELS", "Picture",
    "PictureGiven", "UnreadableImage", "check_size", "decode", "decode_many", "fitted",
    "num_decoding_threads", "open_upright", "orientation_of", "read_image_file", "read_picture",
]  # fmt: skip

#: Raised when the same bytes give other pixels than before.
DECODER_VERSION = "3"

#: Above this a picture is refused before it is decoded (Pillow's own limit, 179 megapixels).
MAXIMUM_PIXELS = 2 * 89_478_485
#: Of a PNG of 16 bits, whose numbers take several times the memory.
MAXIMUM_DEEP_PIXELS = 64_000_000
#: Of a picture with transparency, which is in memory twice while it is laid on white, and of a
#: WebP, of which its decoder keeps a copy.
MAXIMUM_TRANSPARENT_PIXELS = 120_000_000
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
#: Rows of a transparent picture that are laid on white at a time, in pixels.
_STRIP_PIXELS = 1 << 22


#: A picture however it is given: a file, the bytes of one, a picture of Pillow, or an array, uint8
#: (height, width, 3) in RGB or (height, width) in grey.
PictureGiven = Path | bytes | Image.Image | NDArray[np.uint8]


class Picture(NamedTuple):
    """A picture at a network's size, and what a user should know of how it was read.

    Attributes:
        pixels: uint8 (height, width, 3), RGB, 0..255.
        remark: how values of more than 8 bits became grey levels; "" where that is plain.
    """

    pixels: NDArray[np.uint8]
    remark: str = ""


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
    return read_picture(source, preprocessing).pixels


def read_picture(source: Path | bytes, preprocessing: Preprocessing) -> Picture:
    """:func:`decode`, with a remark where how the file was read is worth a word.

    Raises:
        UnreadableImage: the file cannot be read or is no picture.
    """
    image, remark = _load(source, preprocessing)
    try:
        fitted = _fit(image, preprocessing)
    except MemoryError as error:
        raise UnreadableImage("too_large", "The picture does not fit into memory.") from error
    if fitted.mode != "RGB":
        fitted = fitted.convert("RGB")
    return Picture(np.asarray(fitted), remark)


def decode_many(
    sources: Sequence[PictureGiven], preprocessing: Preprocessing
) -> tuple[NDArray[np.uint8], list[str]]:
    """Read pictures side by side.

    Returns:
        uint8 (N, height, width, 3) of those that could be read, in their order, and for each
        source "" or the reason why it could not.
    """
    with without_warnings():
        if len(sources) == 1:  # as services ask: a pool would take longer to start than it saves
            outcomes = [_decode_or_reason(sources[0], preprocessing)]
        else:
            threads = num_decoding_threads(map(_size_in_bytes, sources))
            with ThreadPoolExecutor(threads) as pool:
                outcomes = list(
                    pool.map(lambda given: _decode_or_reason(given, preprocessing), sources)
                )
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


def _size_in_bytes(source: PictureGiven) -> int:
    if isinstance(source, bytes):
        return len(source)
    if not isinstance(source, Path):
        return SMALL_FILE_BYTES  # nothing is left to decode, and Pillow resizes without the lock
    try:
        return source.stat().st_size
    except OSError:  # decoding says what is wrong with it
        return 0


def _decode_or_reason(
    source: PictureGiven, preprocessing: Preprocessing
) -> NDArray[np.uint8] | str:
    try:
        if isinstance(source, Path | bytes):
            return decode(source, preprocessing)
        return fitted(source, preprocessing)
    except UnreadableImage as error:
        return error.reason


def fitted(
    source: Image.Image | NDArray[np.uint8], preprocessing: Preprocessing
) -> NDArray[np.uint8]:
    """A picture that is decoded already, at a network's size: uint8 (height, width, 3), RGB.

    It is scaled from the size that it has; of a large JPEG, :func:`decode` starts from a reduced
    one, which may give pixels that differ by a few grey levels.

    Raises:
        UnreadableImage: it is no picture of 8 bits a colour, or cannot be loaded.
    """
    image = source if isinstance(source, Image.Image) else _from_array(source)
    check_size(image.width, image.height)
    try:
        image.load()
        plain, _ = _to_grey_or_rgb(image)
        upright = _fit(_turned(plain, orientation_of(image)), preprocessing)
    except MemoryError as error:
        raise UnreadableImage("too_large", "The picture does not fit into memory.") from error
    except OSError as error:
        raise UnreadableImage("unreadable", f"The picture cannot be loaded: {error}.") from error
    return np.asarray(upright if upright.mode == "RGB" else upright.convert("RGB"))


def _from_array(pixels: Any) -> Image.Image:
    kind = getattr(pixels, "dtype", type(pixels).__name__)
    shape: tuple[int, ...] = tuple(getattr(pixels, "shape", ()))
    colours = len(shape) == 2 or (len(shape) == 3 and shape[2] == 3)
    if kind != np.uint8 or not colours or 0 in shape:
        raise UnreadableImage(
            "not_an_image",
            "An array must be uint8, of shape (height, width, 3) in RGB or (height, width) in "
            f"grey; received {kind} {shape}.",
        )
    return Image.fromarray(np.ascontiguousarray(pixels))


def open_upright(source: Path | bytes) -> Image.Image:
    """The picture in full size, RGB, EXIF orientation applied.

    Raises:
        UnreadableImage: the file cannot be read or is no picture.
    """
    return _load(source, None)[0].convert("RGB")


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


def _load(source: Path | bytes, preprocessing: Preprocessing | None) -> tuple[Image.Image, str]:
    """The upright picture, mode L or RGB, at reduced scale where ``preprocessing`` allows."""
    content = read_image_file(source) if isinstance(source, Path) else bytes(source)
    if not content:
        raise UnreadableImage("empty", "The file is empty.")
    name = identify(content[:32])
    # What a damaged file makes a format's reader raise is not limited to a few types.
    try:
        with without_warnings():
            if name == "JPEG":
                return _load_with_pillow(jpeg.checked(content), name, preprocessing)
            if name == "TIFF":
                return _load_tiff(content)
            if name is not None and (missing := missing_reader(name)):
                raise UnreadableImage("unsupported", missing)
            check_tail(content, name)
            return _load_with_pillow(cleaned(content, name), name, preprocessing)
    except UnreadableImage:
        raise
    except MemoryError as error:
        raise UnreadableImage("too_large", "The picture does not fit into memory.") from error
    except Image.DecompressionBombError as error:
        raise UnreadableImage(
            "too_large", f"The picture claims more than {MAXIMUM_PIXELS // 10**6} megapixels."
        ) from error
    except Exception as error:
        if name in (None, "PPM") and isinstance(error, UnidentifiedImageError):
            raise UnreadableImage("not_an_image", _what_it_is(content)) from error
        raise _damaged(content, name, error) from error


def _load_with_pillow(
    content: bytes, name: str | None, preprocessing: Preprocessing | None
) -> tuple[Image.Image, str]:
    image = open_bytes(content, name)
    check_size(image.width, image.height)
    pixels, orientation = image.width * image.height, 1
    if name == "JPEG" and ("exif" in image.info or "xmp" in image.info):
        orientation = orientation_of(image)
    if name == "JPEG" and preprocessing is not None:
        _reduce(image, preprocessing, swapped=orientation >= 5)
        if not image.info.get("progressive"):  # those are in memory in full size all the same
            pixels = image.width * image.height
    deep = name == "PNG" and content[24] == 16
    if deep and pixels > MAXIMUM_DEEP_PIXELS:
        raise UnreadableImage(
            "too_large",
            f"The PNG has {image.width} x {image.height} pixels of 16 bits, more than "
            f"{MAXIMUM_DEEP_PIXELS // 10**6} megapixels.",
        )
    transparent = image.mode in ("RGBA", "LA")
    if (transparent or name == "WebP") and pixels > MAXIMUM_TRANSPARENT_PIXELS:
        what = "pixels with transparency" if transparent else "pixels as a WebP"
        raise UnreadableImage(
            "too_large",
            f"The picture has {image.width} x {image.height} {what}, more than "
            f"{MAXIMUM_TRANSPARENT_PIXELS // 10**6} megapixels.",
        )
    with DECODING.share(BYTES_A_PIXEL * pixels * (2 if deep else 1)):
        stated = _stated_maximum(image)
        image.load()
        if name != "JPEG":  # a PNG's EXIF data may follow its picture
            orientation = orientation_of(image)
        if deep:
            plain, remark = _deep_png(content, image)
        else:
            plain, remark = _to_grey_or_rgb(image, stated)
        return _turned(plain, orientation), remark


def _load_tiff(content: bytes) -> tuple[Image.Image, str]:
    layout = tiff.layout_of(content)
    check_size(layout.width, layout.height)
    pixels = layout.width * layout.height
    if layout.is_deep:
        with DECODING.share(pixels * (BYTES_A_PIXEL + 2 * layout.samples * layout.bits // 8)):
            array, remark = tiff.read(content, layout)
            return _turned(Image.fromarray(array), layout.orientation), remark
    image = open_bytes(content, "TIFF")
    with DECODING.share(BYTES_A_PIXEL * pixels):
        image.load()  # which turns it upright, too
        if image.mode == "P" and tiff.has_8_bit_palette(content):
            image.putpalette(tiff.palette(content))
        return _to_grey_or_rgb(image)


def _turned(image: Image.Image, orientation: int) -> Image.Image:
    return image.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else image


def check_size(width: int, height: int) -> None:
    """Refuse pictures that are too large to be decoded.

    Raises:
        UnreadableImage: more than :data:`MAXIMUM_PIXELS`.
    """
    if width * height > MAXIMUM_PIXELS:
        raise UnreadableImage(
            "too_large",
            f"The picture claims {width} x {height} pixels, more than "
            f"{MAXIMUM_PIXELS // 10**6} megapixels.",
        )


def orientation_of(image: Image.Image) -> int:
    """EXIF orientation 1..8; 1 where there is none or the EXIF data are damaged.

    Of formats whose EXIF data may follow the picture, it must be loaded.
    """
    try:
        value = image.getexif().get(_ORIENTATION, 1)
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


def _stated_maximum(image: Image.Image) -> float | None:
    """White of a PGM of more than 8 bits that is still to be loaded; None where it says nothing.

    Pillow scales the maximum in the header to 65535. Where it is 65535, as most programs write
    whatever the camera had, it says no more than that the numbers have 16 bits.
    """
    if image.format != "PPM" or image.mode != "I":
        return None
    tile: Any = image.tile[0]  # type: ignore[attr-defined]
    is_full = tile[0] == "raw" or tile[3][-1] == 65535
    return None if is_full else 65535.0


def _to_grey_or_rgb(
    image: Image.Image, stated_maximum: float | None = None
) -> tuple[Image.Image, str]:
    mode = image.mode
    if mode.startswith("I;16") or mode in ("I", "F"):  # only PGM and PFM come here
        values = np.asarray(image)
        if image.format == "PPM" and mode == "I":
            values = values.astype(np.uint16)
        array, remark = to_8_bit(values, stated_maximum=stated_maximum)
        return Image.fromarray(array), remark
    if image.has_transparency_data:
        return _on_white(image), ""
    if mode in ("L", "RGB"):
        return image, ""
    if mode == "CMYK" and image.format in ("JPEG", "MPO") and "adobe" not in image.info:
        image = ImageChops.invert(image)  # Pillow takes all for Adobe's, which are negatives
    return image.convert("L" if mode == "1" else "RGB"), ""


def _on_white(image: Image.Image) -> Image.Image:
    """A transparent picture on a white page, a strip at a time where it is large."""
    rows = max(1, _STRIP_PIXELS // image.width)
    if image.height <= rows:
        picture = image.convert("RGBA")
        page = Image.new("RGBA", picture.size, (255, 255, 255, 255))
        return Image.alpha_composite(page, picture).convert("RGB")
    result = Image.new("RGB", image.size)
    for top in range(0, image.height, rows):
        box = (0, top, image.width, min(image.height, top + rows))
        result.paste(_on_white(image.crop(box)), (0, top))
    return result


# --- PNG of 16 bits -------------------------------------------------------------------------

#: Pillow keeps the high bytes alone; read as if the low byte came first, it keeps the low ones.
_LOW_BYTES = {"RGB;16B": "RGB;16L", "RGBA;16B": "RGBA;16L"}


def _deep_png(content: bytes, image: Image.Image) -> tuple[Image.Image, str]:
    """A PNG of 16 bits: grey or colour, with or without transparency."""
    key = image.info.get("transparency")
    values = _png_values(content, image)
    colours = 1 if values.shape[2] < 3 else 3
    stated = _significant_bits(content)
    picture, remark = to_8_bit(
        values[..., 0] if colours == 1 else values[..., :3],
        # The numbers are scaled up to 16 bits or not; the largest tells which (PNG, 11.3.2.4).
        stated_maximum=float(2**stated - 1) if stated else None,
    )
    if values.shape[2] == colours and key is None:
        return Image.fromarray(picture), remark
    rows = max(1, _STRIP_PIXELS // image.width)
    for top in range(0, len(picture), rows):
        strip, numbers = picture[top : top + rows], values[top : top + rows]
        if values.shape[2] > colours:
            alpha = numbers[..., colours] / 65535.0
        else:
            opaque = (numbers[..., :colours] != np.asarray(key).reshape(-1)).any(axis=2)
            alpha = opaque.astype(float)
        share = alpha if picture.ndim == 2 else alpha[..., None]
        strip[...] = np.rint(strip * share + 255.0 * (1.0 - share)).astype(np.uint8)
    return Image.fromarray(picture), remark


def _png_values(content: bytes, image: Image.Image) -> NDArray[np.uint16]:
    """uint16 (H, W, bands)."""
    again: Any = open_bytes(content, "PNG")
    tile = again.tile[0]
    rawmode = tile[3] if isinstance(tile[3], str) else tile[3][0]
    if rawmode == "LA;16B":  # four bytes a pixel, as RGBA has
        again.tile, again._mode = [(*tile[:3], "RGBA")], "RGBA"
        pairs = np.asarray(again)
        return _joined(pairs[..., ::2], pairs[..., 1::2])
    if rawmode in _LOW_BYTES:
        again.tile = [(*tile[:3], _LOW_BYTES[rawmode])]
        return _joined(np.asarray(image), np.asarray(again))
    return np.asarray(image).astype(np.uint16)[..., None]


def _joined(high: NDArray[Any], low: NDArray[Any]) -> NDArray[np.uint16]:
    values: NDArray[np.uint16] = high.astype(np.uint16)
    values <<= np.uint16(8)
    values |= low
    return values


def _significant_bits(content: bytes) -> int:
    """How many bits of 16 the PNG says it uses (sBIT), if all colours use as many; else 0."""
    at = content.find(b"sBIT", 8, content.find(b"IDAT"))
    if at < 0:
        return 0
    length = int.from_bytes(content[at - 4 : at], "big")
    colours = set(content[at + 4 : at + 4 + length][: 3 if length >= 3 else 1])
    bits = colours.pop() if len(colours) == 1 else 0
    return bits if 8 <= bits <= 16 else 0


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


def _what_it_is(content: bytes) -> str:
    if content[4:8] == b"ftyp":
        return "The file is a video or a kind of picture that is not read; save it as JPEG or PNG."
    if not content.strip(b"\x00"):
        return "The file holds nothing but zeros."
    return "The file is not a picture in a format that is read here."


def _ends_early(content: bytes, name: str) -> bool:
    """Whether the mark at which the format ends is missing."""
    if name == "PNG":
        return b"IEND" not in content[-64:]
    if name == "WebP":
        return len(content) < int.from_bytes(content[4:8], "little") + 8
    if name == "BMP":
        return len(content) < int.from_bytes(content[2:6], "little")
    if name == "JPEG":
        return b"\xff\xd9" not in content[-64:]
    return name == "GIF" and content[-1:] != b";"


def _damaged(content: bytes, name: str | None, error: Exception) -> UnreadableImage:
    title = name or "image"
    odd = jpeg.unusual(content) if name == "JPEG" else ""
    if odd:
        return UnreadableImage("unsupported", f"It is a JPEG {odd}; save it as an ordinary one.")
    short = "image file is truncated" in str(error)
    short |= name in ("TIFF", None) and "truncated" in str(error).lower()
    if short or (name and _ends_early(content, name)):
        return UnreadableImage("truncated", f"The {title} file ends before the picture does.")
    if isinstance(error, UnidentifiedImageError):
        return UnreadableImage("unreadable", f"The {title} file is damaged at its beginning.")
    detail = str(error).strip().rstrip(".") or type(error).__name__
    return UnreadableImage("unreadable", f"The {title} file is damaged: {detail}.")
