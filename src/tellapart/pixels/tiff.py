"""TIFF: what kind of picture one is, and the numbers of those kinds that Pillow gets wrong.

A TIFF may hold nearly anything. Each kind is either read rightly or refused with a sentence
that names it (:func:`layout_of`). Pictures of 8 bits and less are opened by Pillow. Deeper
ones (10 to 64 bits, with sign, floating point) and colour planes stored one after another
are read here: libtiff, through Pillow, only takes the compression off, for which the file is
described to it as one of plain bytes; what the bytes mean is then NumPy's part.
"""

from __future__ import annotations

import math
import mmap
import struct
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import TiffImagePlugin

from tellapart.pixels.formats import UnreadableImage
from tellapart.pixels.levels import to_8_bit

#: The numbers of one picture may take this much memory.
MAXIMUM_BYTES = 1 << 29
#: Strips or tiles; each costs as much time as a small picture.
MAXIMUM_PIECES = 200_000

Tags = dict[int, tuple[Any, ...]]

# Tags (TIFF 6.0, Adobe Photoshop TIFF notes, GDAL).
_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _FILL_ORDER = 256, 257, 258, 259, 262, 266
_STRIPS, _ORIENTATION, _SAMPLES, _ROWS_PER_STRIP, _STRIP_BYTES = 273, 274, 277, 278, 279
_MAXIMUM, _PLANAR, _PREDICTOR, _COLOUR_MAP = 281, 284, 317, 320
_TILE_WIDTH, _TILE_HEIGHT, _TILES, _TILE_BYTES = 322, 323, 324, 325
_EXTRA_SAMPLES, _SAMPLE_FORMAT, _SAMPLE_MAXIMUM, _SUBSAMPLING, _NO_DATA = 338, 339, 341, 530, 42113

_FORMATS = {
    1: "B", 2: "s", 3: "H", 4: "I", 6: "b", 7: "s", 8: "h", 9: "i", 11: "f", 12: "d", 13: "I",
    16: "Q", 17: "q", 18: "Q",
}  # fmt: skip
_GREY, _RGB, _PALETTE, _CMYK, _YCBCR, _LAB = (0, 1), 2, 3, 5, 6, 8
#: Photometric interpretation -> what people call it, and how many bands it has.
_COLOURS = {
    0: ("grey", 1), 1: ("grey", 1), _RGB: ("colour", 3), _PALETTE: ("palette", 1),
    _CMYK: ("CMYK", 4), _YCBCR: ("YCbCr", 3), _LAB: ("Lab", 3),
}  # fmt: skip
_NOT_READ = {
    4: "a transparency mask", 9: "a picture in ICC Lab colours", 10: "a picture in ITU Lab colours",
    32803: "raw data of a camera's sensor", 34892: "raw data of a camera's sensor",
    32844: "a picture of logarithmic brightness", 32845: "a picture of logarithmic colours",
}  # fmt: skip
_SAMPLE_FORMATS = {1: "whole numbers", 2: "whole numbers with sign", 3: "floating point"}
#: Compressions that give back the very bytes: none, LZW, Deflate, PackBits, LZMA, Zstandard.
_LOSSLESS = (1, 5, 8, 32946, 32773, 34925, 50000)
_JPEG = (6, 7)


@dataclass(frozen=True)
class Layout:
    """What a TIFF's first page says of itself."""

    width: int
    height: int
    #: Of each sample.
    bits: int
    #: Bands, transparency and unknown ones included.
    samples: int
    #: 1 whole numbers, 2 with sign, 3 floating point.
    sample_format: int
    photometric: int
    compression: int
    #: Bands are stored one after another.
    separate: bool
    predictor: int
    #: What bands beyond the colours are: 0 unknown, 1 transparency already applied, 2 transparency.
    extra: tuple[int, ...]
    orientation: int
    #: Of white, where the file states it.
    maximum: float | None
    no_data: float | None
    #: Whether :func:`read` reads it; else Pillow does.
    is_deep: bool

    @property
    def mode(self) -> str:
        """Pillow's name for such a picture, as far as it has one."""
        if self.photometric == _RGB:
            return "RGBA" if 1 in self.extra[:1] or 2 in self.extra[:1] else "RGB"
        if self.sample_format == 3:
            return "F"
        return "I;16" if self.bits <= 16 and self.sample_format == 1 else "I"


def layout_of(content: bytes | mmap.mmap) -> Layout:
    """Read and judge a TIFF's tags.

    Raises:
        UnreadableImage: the tags are damaged, or say that it is of a kind that is not read.
    """
    order, tags = read_tags(content)
    del order
    layout = _layout(tags)
    _check(layout, tags)
    return layout


def _layout(tags: Tags) -> Layout:
    def one(tag: int, default: int) -> int:
        value = tags.get(tag, (default,))[0]
        return value if isinstance(value, int) else default

    samples = one(_SAMPLES, 1)
    bits = tags.get(_BITS, (1,))
    formats = tags.get(_SAMPLE_FORMAT, (1,))
    if len(set(bits)) > 1 or len(set(formats)) > 1:
        raise _refused(f"bands of different kinds ({', '.join(map(str, bits))} bits)")
    sample_format = {4: 1}.get(int(formats[0]), int(formats[0]))
    photometric, depth = one(_PHOTOMETRIC, 0), int(bits[0])
    separate = one(_PLANAR, 1) == 2 and samples > 1
    plain = sample_format == 1 and depth in (1, 2, 4, 8)
    is_deep = photometric in (*_GREY, _RGB) and (
        not plain or (separate and depth == 8 and one(_COMPRESSION, 1) in _LOSSLESS)
    )
    return Layout(
        width=one(_WIDTH, 0), height=one(_HEIGHT, 0), bits=depth, samples=samples,
        sample_format=sample_format, photometric=photometric, compression=one(_COMPRESSION, 1),
        separate=separate, predictor=one(_PREDICTOR, 1),
        extra=tuple(int(v) for v in tags.get(_EXTRA_SAMPLES, ())),
        orientation=one(_ORIENTATION, 1), maximum=_maximum(tags, depth, sample_format),
        no_data=_no_data(tags), is_deep=is_deep,
    )  # fmt: skip


def _maximum(tags: Tags, bits: int, sample_format: int) -> float | None:
    """White, where the file says more than that all bits may be used."""
    if sample_format != 3 and bits in (10, 12, 14):
        return float(2**bits - 1)
    for tag in (_SAMPLE_MAXIMUM, _MAXIMUM):
        values = [float(v) for v in tags.get(tag, ()) if isinstance(v, int | float)]
        if values and math.isfinite(max(values)) and 0.0 < max(values) < 2.0**bits - 1:
            # Only depths: software also writes the largest value that happens to be there.
            white = max(values)
            if sample_format != 3 and math.log2(white + 1).is_integer():
                return white
    return None


def _no_data(tags: Tags) -> float | None:
    text = tags.get(_NO_DATA, (b"",))[0]
    try:
        return float(text.strip(b"\x00 ").decode("ascii")) if isinstance(text, bytes) else None
    except ValueError:
        return None


def _check(layout: Layout, tags: Tags) -> None:
    """Refuse what neither Pillow nor :func:`read` reads rightly."""
    if layout.width < 1 or layout.height < 1 or layout.samples < 1:
        raise UnreadableImage("unreadable", "The TIFF file is damaged: it states no size.")
    pieces = max(len(tags.get(_STRIPS, ())), len(tags.get(_TILES, ())))
    if pieces > MAXIMUM_PIECES:
        raise UnreadableImage(
            "too_large", f"The TIFF is cut into {pieces:,} pieces, more than {MAXIMUM_PIECES:,}."
        )
    if layout.photometric not in _COLOURS:
        kind = _NOT_READ.get(layout.photometric, f"a picture of kind {layout.photometric}")
        raise _refused(kind)
    if layout.sample_format not in _SAMPLE_FORMATS:
        raise _refused("complex numbers" if layout.sample_format in (5, 6) else "unknown numbers")
    _check_bands(layout)
    if layout.is_deep:
        _check_deep(layout, tags)
    else:
        _check_plain(layout, tags)


def _check_bands(layout: Layout) -> None:
    name, colours = _COLOURS[layout.photometric]
    more = layout.samples - colours
    alpha = more == 1 and len(layout.extra) == 1
    grey_and_more = layout.photometric in (*_GREY, _PALETTE) and more and not alpha
    if more < 0 or more > 3 or grey_and_more:
        said = " that are not said to be red, green and blue" if layout.samples in (3, 4) else ""
        said = f" for {name}" if more < 0 else said
        bands = f"{layout.samples} band{'' if layout.samples == 1 else 's'}"
        raise _refused(
            f"{bands}{said}", "tellapart reads 1 (grey), 3 (colour) or 4 (with transparency)"
        )


def _check_deep(layout: Layout, tags: Tags) -> None:
    kind = _SAMPLE_FORMATS[layout.sample_format]
    depths = {1: (8, 10, 12, 14, 16, 32, 64), 2: (8, 16, 32, 64), 3: (16, 32, 64)}
    if layout.bits not in depths[layout.sample_format]:
        raise _refused(f"{kind} of {layout.bits} bits")
    if layout.compression not in _LOSSLESS:
        raise _refused(f"{layout.bits} bits in compression {layout.compression}")
    packed = layout.bits not in (8, 16, 32, 64)
    predictors = (1, 3) if layout.sample_format == 3 else (1, 2)
    if tags.get(_FILL_ORDER, (1,))[0] != 1 or (
        layout.compression != 1 and layout.predictor not in ((1,) if packed else predictors)
    ):
        raise _refused(f"{layout.bits} bits in an unusual order")
    if layout.width * layout.height * layout.samples * max(1, layout.bits // 8) > MAXIMUM_BYTES:
        raise UnreadableImage(
            "too_large",
            f"The TIFF's {layout.width} x {layout.height} pixels of {layout.samples} x "
            f"{layout.bits} bits take more than {MAXIMUM_BYTES >> 20:,} MiB.",
        )


def _check_plain(layout: Layout, tags: Tags) -> None:
    name = _COLOURS[layout.photometric][0]
    kind = _SAMPLE_FORMATS[layout.sample_format]
    if layout.compression not in TiffImagePlugin.COMPRESSION_INFO:
        raise _refused(f"compression {layout.compression}")
    if layout.sample_format != 1 or layout.bits not in (1, 2, 4, 8, 16):
        raise _refused(f"{name} in {kind} of {layout.bits} bits")
    single = layout.photometric in (*_GREY, _PALETTE)
    if layout.bits != 8 and not (
        (single and layout.samples == 1 and layout.bits < 16)
        or (layout.photometric == _CMYK and layout.bits == 16 and not layout.separate)
    ):
        raise _refused(f"{name} in {kind} of {layout.bits} bits")
    raw = layout.compression == 1
    if layout.photometric == _YCBCR and layout.samples != 3:
        raise _refused(f"YCbCr in {layout.samples} bands")
    if layout.photometric == _YCBCR and raw:
        if layout.separate or tuple(tags.get(_SUBSAMPLING, (2, 2))) != (1, 1):
            raise _refused("uncompressed YCbCr with reduced colour")
    elif layout.separate and not (layout.photometric == _CMYK and layout.samples == 4):
        if layout.compression in _JPEG and layout.photometric in (_RGB, _YCBCR):
            return
        if layout.photometric != _YCBCR:
            raise _refused(f"{name} with its bands one after another")


def _refused(
    what: str, instead: str = "save it as an 8-bit or 16-bit PNG or TIFF"
) -> UnreadableImage:
    return UnreadableImage("unsupported", f"It is a TIFF with {what}; {instead}.")


# --- tags -----------------------------------------------------------------------------------


def read_tags(content: bytes | mmap.mmap) -> tuple[str, Tags]:
    """The byte order (``<`` or ``>``) and the tags of the first page.

    Raises:
        UnreadableImage: the file ends before them.
    """
    order = "<" if content[:2] == b"II" else ">"
    try:
        big = struct.unpack_from(order + "H", content, 2)[0] == 43
        start = struct.unpack_from(order + ("Q" if big else "I"), content, 8 if big else 4)[0]
        number = struct.unpack_from(order + ("Q" if big else "H"), content, start)[0]
        first, step = start + (8 if big else 2), 20 if big else 12
        tags: Tags = {}
        for at in range(first, first + step * min(number, 4096), step):
            tag, kind = struct.unpack_from(order + "HH", content, at)
            count = struct.unpack_from(order + ("Q" if big else "I"), content, at + 4)[0]
            if kind not in _FORMATS or not count:
                continue
            code = _FORMATS[kind]
            where = at + (12 if big else 8)
            if struct.calcsize(code) * count > (8 if big else 4):
                where = struct.unpack_from(order + ("Q" if big else "I"), content, where)[0]
            if tag not in _WANTED:
                continue
            if struct.calcsize(code) * count > len(content):
                raise struct.error
            tags[tag] = struct.unpack_from(f"{order}{count}{code}", content, where)
    except (struct.error, OverflowError):
        raise UnreadableImage(
            "truncated", "The TIFF file ends before the picture does: its description is missing."
        ) from None
    return order, tags


_WANTED = frozenset(
    {
        *(_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _FILL_ORDER, _STRIPS, _ORIENTATION),
        *(_SAMPLES, _ROWS_PER_STRIP, _STRIP_BYTES, _MAXIMUM, _PLANAR, _PREDICTOR, _COLOUR_MAP),
        *(_TILE_WIDTH, _TILE_HEIGHT, _TILES, _TILE_BYTES, _EXTRA_SAMPLES, _SAMPLE_FORMAT),
        *(_SAMPLE_MAXIMUM, _SUBSAMPLING, _NO_DATA),
    }
)


def has_8_bit_palette(content: bytes) -> bool:
    """Whether a palette of 16-bit colours holds 8-bit ones, as some software writes."""
    colours = read_tags(content)[1].get(_COLOUR_MAP, ())
    return bool(colours) and 0 < max(colours) < 256


def palette(content: bytes) -> bytes:
    """Such a palette: red, green and blue of one entry after another."""
    colours = read_tags(content)[1][_COLOUR_MAP]
    each = len(colours) // 3
    return bytes(v for i in range(each) for v in (colours[i::each])[:3])


# --- numbers --------------------------------------------------------------------------------


def read(content: bytes, layout: Layout) -> tuple[NDArray[np.uint8], str]:
    """The picture of a deep TIFF, as stored (not yet turned), on white where it is transparent.

    Returns:
        uint8 (H, W) or (H, W, 3), and a remark for the user ("" if there is nothing to say).

    Raises:
        UnreadableImage: the file ends before the picture does.
    """
    values = samples(content, layout)
    colours = _COLOURS[layout.photometric][1]
    picture, remark = to_8_bit(
        values[..., 0] if colours == 1 else values[..., :3],
        stated_maximum=layout.maximum,
        no_data=layout.no_data,
        white_is_zero=layout.photometric == 0,
    )
    if layout.extra[:1] in ((1,), (2,)) and values.shape[2] > colours:
        picture = _on_white(picture, values[..., colours], layout)
    return picture, remark


def _on_white(picture: NDArray[np.uint8], alpha: NDArray[Any], layout: Layout) -> NDArray[np.uint8]:
    if layout.sample_format == 3:
        full = 1.0
    else:
        full = layout.maximum or float(2 ** (layout.bits - (layout.sample_format == 2)) - 1)
    share = np.clip(alpha.astype(np.float64) / full, 0.0, 1.0)
    if picture.ndim == 3:
        share = share[..., None]
    colours = picture.astype(np.float64) * (share if layout.extra[0] == 2 else 1.0)
    result: NDArray[np.uint8] = np.rint(np.clip(colours + 255.0 * (1.0 - share), 0, 255)).astype(
        np.uint8
    )
    return result


def samples(content: bytes, layout: Layout) -> NDArray[Any]:
    """All numbers of a deep TIFF as stored: (H, W, bands), in a type of this machine's order.

    Raises:
        UnreadableImage: the file ends before the picture does.
    """
    order, tags = read_tags(content)
    together = 1 if layout.separate else layout.samples
    planes = []
    for plane in range(layout.samples if layout.separate else 1):
        rows = _plane_bytes(content, tags, layout, plane, together)
        planes.append(_numbers(rows, layout, together, order, tags))
    return planes[0] if len(planes) == 1 else np.concatenate(planes, axis=2)


def _plane_bytes(
    content: bytes, tags: Tags, layout: Layout, plane: int, together: int
) -> NDArray[np.uint8]:
    """The bytes of each row of a plane, uncompressed: (H, bytes)."""

    def in_bytes(pixels: int) -> int:
        return -(-pixels * together * layout.bits // 8)

    def of_plane(tag: int) -> tuple[Any, ...]:
        values = tags.get(tag, ())
        each = len(values) // layout.samples if layout.separate else len(values)
        return values[plane * each : (plane + 1) * each]

    entries: Tags = {
        _WIDTH: (in_bytes(_padded_width(layout, tags)),), _HEIGHT: (layout.height,), _BITS: (8,),
        _COMPRESSION: (layout.compression,), _PHOTOMETRIC: (1,), _SAMPLES: (1,), _PLANAR: (1,),
    }  # fmt: skip
    if _TILES in tags:
        across = tags.get(_TILE_WIDTH, (0,))[0]
        entries |= {
            _TILE_WIDTH: (in_bytes(across),), _TILE_HEIGHT: tags.get(_TILE_HEIGHT, (0,)),
            _TILES: of_plane(_TILES), _TILE_BYTES: of_plane(_TILE_BYTES),
        }  # fmt: skip
    else:
        entries |= {
            _ROWS_PER_STRIP: (min(layout.height, tags.get(_ROWS_PER_STRIP, (layout.height,))[0]),),
            _STRIPS: of_plane(_STRIPS), _STRIP_BYTES: of_plane(_STRIP_BYTES),
        }  # fmt: skip
    described = _with_tags(content, entries)
    with TiffImagePlugin.TiffImageFile(BytesIO(described)) as image:
        image.load()
        return np.asarray(image)


def _padded_width(layout: Layout, tags: Tags) -> int:
    """Pixels in a row, those included by which the last tile reaches beyond the picture."""
    across = int(tags.get(_TILE_WIDTH, (0,))[0]) if _TILES in tags else 0
    return -(-layout.width // across) * across if across > 0 else layout.width


def _with_tags(content: bytes, entries: Tags) -> bytes:
    """The file with another description; the data stay where they are."""
    table, extra = b"", b""
    start = len(content) + len(content) % 2
    after = start + 2 + 12 * len(entries) + 4
    for tag, values in sorted(entries.items()):
        packed = struct.pack(f"<{len(values)}I", *values)
        if len(values) == 1:
            table += struct.pack("<HHI", tag, 4, 1) + packed
        else:
            table += struct.pack("<HHII", tag, 4, len(values), after + len(extra))
            extra += packed
    head = b"II*\x00" + struct.pack("<I", start)
    number = struct.pack("<H", len(entries))
    return b"".join(
        [head, content[8:], b"\x00" * (len(content) % 2), number, table, bytes(4), extra]
    )


def _numbers(
    rows: NDArray[np.uint8], layout: Layout, together: int, order: str, tags: Tags
) -> NDArray[Any]:
    padded = _padded_width(layout, tags)
    if layout.bits % 8:
        shape = (layout.height, padded, together)
        return _unpacked(rows, layout.bits, shape)[:, : layout.width]
    predictor = layout.predictor if layout.compression != 1 else 1
    # Differences start anew in each tile: (rows, tiles, pixels, bands).
    across = int(tags.get(_TILE_WIDTH, (padded,))[0]) if _TILES in tags else padded
    tiles = (layout.height, padded // across, across, together)
    code = {1: "u", 2: "i", 3: "f"}[layout.sample_format] + str(layout.bits // 8)
    if predictor == 3:
        values = _undone_float(rows, tiles, code)
    else:
        values = rows.view(order + code).astype(code).reshape(tiles)
    if predictor == 2:
        bits = values.view("u" + code[1:])
        values = np.cumsum(bits, axis=2, dtype=bits.dtype).view(code)
    return values.reshape(layout.height, padded, together)[:, : layout.width]


def _undone_float(
    rows: NDArray[np.uint8], tiles: tuple[int, int, int, int], code: str
) -> NDArray[Any]:
    """Differences of bytes, the first bytes of all numbers first (Adobe TIFF Technical Note 3)."""
    height, count, across, together = tiles
    size = int(code[1:])
    differences = rows.reshape(height, count, across * size, together)
    plain = np.cumsum(differences, axis=2, dtype=np.uint8)
    planes = plain.reshape(height, count, size, across * together)
    numbers = np.ascontiguousarray(planes.transpose(0, 1, 3, 2)).view(">" + code)
    return numbers.astype(code).reshape(tiles)


def _unpacked(rows: NDArray[np.uint8], bits: int, shape: tuple[int, ...]) -> NDArray[np.uint16]:
    """Numbers of 10, 12 or 14 bits that follow one another without gaps, the highest bit first."""
    weights = (1 << np.arange(bits - 1, -1, -1)).astype(np.uint16)
    result = np.empty(shape, np.uint16)
    count = shape[1] * shape[2]
    for row, packed in enumerate(rows):
        digits = np.unpackbits(packed, count=count * bits).reshape(count, bits)
        result[row] = (digits @ weights).reshape(shape[1:])
    return result
