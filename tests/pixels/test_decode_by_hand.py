"""What decoding gives, says and refuses, each worked out by hand, with NumPy or with Pillow."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tellapart.pixels import decode as decoding
from tellapart.pixels.budget import BYTES_A_PIXEL
from tellapart.pixels.decode import (
    MAXIMUM_PIXELS,
    UnreadableImage,
    check_size,
    decode,
    decode_many,
    num_decoding_threads,
    open_upright,
    orientation_of,
    read_image_file,
    read_picture,
)
from tellapart.pixels.preprocessing import Preprocessing

RULE = Preprocessing(16, 16)


def _noise(width: int, height: int, bands: int = 3, seed: int = 0) -> NDArray[np.uint8]:
    values = np.random.default_rng(seed).integers(0, 256, (height, width, bands))
    return values.astype(np.uint8)


def _encoded(picture: NDArray[np.uint8] | Image.Image, form: str, **options: object) -> bytes:
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def _refusal(read: Callable[[], object]) -> tuple[str, str]:
    with pytest.raises(UnreadableImage) as error:
        read()
    return error.value.kind, error.value.reason


# --- transparency -----------------------------------------------------------------------------


def _laid_on_white(values: NDArray[np.generic], full: float) -> NDArray[np.float64]:
    """colour * alpha + white * (1 - alpha), as 0..255, three channels."""
    numbers = values.astype(np.float64) / full
    alpha = numbers[..., -1:]
    laid = 255 * (numbers[..., :-1] * alpha + (1 - alpha))
    return np.repeat(laid, 3, axis=2) if laid.shape[2] == 1 else laid


@pytest.mark.parametrize("strip", [1 << 22, 45, 15, 4])
def test_transparent_pictures_lie_on_white_in_strips_of_any_height(
    strip: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoding, "_STRIP_PIXELS", strip)
    values = _noise(15, 8, 4)
    found = np.asarray(open_upright(_encoded(values, "PNG")))
    assert np.abs(found - _laid_on_white(values, 255)).max() <= 1
    grey = _noise(15, 8, 2)
    found = np.asarray(open_upright(_encoded(grey, "PNG")))
    assert np.abs(found - _laid_on_white(grey, 255)).max() <= 1


def _png16(values: NDArray[np.uint16], *before: tuple[bytes, bytes]) -> bytes:
    """A PNG of 16 bits with chunks before its data (PNG specification, third edition)."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)

    height, width, bands = values.shape
    header = struct.pack(">IIBBBBB", width, height, 16, {1: 0, 2: 4, 3: 2, 4: 6}[bands], 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    chunks = [(b"IHDR", header), *before, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*c) for c in chunks)


@pytest.mark.parametrize("strip", [1 << 22, 45, 4])
@pytest.mark.parametrize("bands", [1, 2, 3, 4])
def test_every_kind_of_png_of_16_bits(
    bands: int, strip: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against NumPy: v / 257, on white by alpha or by the transparent colour."""
    monkeypatch.setattr(decoding, "_STRIP_PIXELS", strip)
    values = np.random.default_rng(bands).integers(0, 65536, (8, 15, bands)).astype(np.uint16)
    values[0, 0] = 65535
    if bands in (2, 4):
        expected = _laid_on_white(values, 65535)
        found = np.asarray(open_upright(_png16(values)))
    else:
        key = values[5, 3]
        expected = np.broadcast_to(values / 257.0, (8, 15, bands)).copy()
        plain = np.asarray(open_upright(_png16(values)))
        assert np.abs(plain - expected).max() <= 1
        expected[(values == key).all(axis=2)] = 255
        found = np.asarray(open_upright(_png16(values, (b"tRNS", key.astype(">u2").tobytes()))))
    assert np.abs(found - expected).max() <= 1


@pytest.mark.parametrize(
    ("bands", "bits", "expected"),
    [
        (1, [12], 19),  # 300 * 255 / 4095 = 18.7
        (1, [9], 150),  # 300 * 255 / 511 = 149.7
        (1, [16], 1),  # 300 / 257 = 1.2
        (1, [7], 75),  # no depth of 16 bits: the largest number tells, 300 * 255 / 1023
        (1, [17], 75),
        (2, [12, 16], 19),  # what alpha has does not count
        (3, [12, 12, 12], 19),
        (3, [12, 12, 14], 75),  # colours of different depths
        (4, [12, 12, 12, 16], 19),
    ],
)
def test_the_depth_that_a_png_states(bands: int, bits: list[int], expected: int) -> None:
    values = np.full((2, 2, bands), 300, np.uint16)
    if bands in (2, 4):
        values[..., -1] = 65535
    picture = np.asarray(open_upright(_png16(values, (b"sBIT", bytes(bits)))))
    assert (picture == expected).all()


def test_a_maximum_that_a_pgm_states() -> None:
    numbers = np.array([0, 200, 400], ">u2").tobytes()
    for content in (b"P5 3 1 1000\n" + numbers, b"P2 3 1 1000\n0 200 400\n"):
        assert np.asarray(open_upright(content))[0, :, 0].tolist() == [0, 51, 102]
    assert np.asarray(open_upright(b"P5 3 1 255\n\x00\x33\x66"))[0, :, 0].tolist() == [0, 51, 102]


# --- to size ----------------------------------------------------------------------------------


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic", "lanczos"])
@pytest.mark.parametrize("form", ["PNG", "JPEG", "MPO"])
def test_large_pictures_are_brought_to_size_as_pillow_does(interpolation: str, form: str) -> None:
    """JPEG at half its size where that leaves twice what is asked; never for "nearest"."""
    smooth = Image.fromarray(_noise(8, 6)).resize((160, 120), Image.Resampling.BICUBIC)
    options = {"save_all": True, "append_images": [smooth]} if form == "MPO" else {}
    content = _encoded(smooth, form, **options)
    how = getattr(Image.Resampling, interpolation.upper())
    with Image.open(io.BytesIO(content)) as image:
        if form != "PNG" and interpolation != "nearest":
            image.draft("RGB", (80, 60))
            assert image.size == (80, 60)
        expected = np.asarray(image.resize((32, 24), how))
        found = decode(content, Preprocessing(24, 32, "squash", interpolation))
    assert np.array_equal(found, expected)


def test_black_and_white_become_grey_where_they_are_made_smaller() -> None:
    """Half of all pixels are white: 127.5, and no choice of one pixel of each square."""
    board = np.indices((32, 32)).sum(axis=0) % 2 == 0
    found = decode(_encoded(Image.fromarray(board), "PNG"), Preprocessing(4, 4, "squash"))
    assert np.abs(found - 127.5).max() <= 2


def test_inks_become_colours_before_they_are_mixed() -> None:
    """Cyan and yellow by CMYK's plain rule, (1 - ink) * (1 - black), then Pillow's resizing."""
    inks = _noise(12, 8, 4)
    values = inks.astype(np.float64) / 255
    colours = np.rint(255 * (1 - values[..., :3]) * (1 - values[..., 3:])).astype(np.uint8)
    expected = Image.fromarray(colours).resize((6, 4), Image.Resampling.BILINEAR)
    content = _encoded(Image.frombytes("CMYK", (12, 8), inks.tobytes()), "TIFF")
    found = decode(content, Preprocessing(4, 6, "squash", "bilinear"))
    assert np.abs(found.astype(int) - np.asarray(expected)).max() <= 2


@pytest.mark.parametrize(("width", "height"), [(40, 20), (20, 40), (41, 20), (21, 50)])
def test_crops_are_from_the_middle(width: int, height: int) -> None:
    picture = Image.fromarray(_noise(width, height))
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    box = (left, top, left + side, top + side)
    expected = np.asarray(picture.resize((10, 10), Image.Resampling.BILINEAR, box=box))
    found = decode(_encoded(picture, "PNG"), Preprocessing(10, 10, "crop", "bilinear"))
    assert np.array_equal(found, expected)


@pytest.mark.parametrize(
    ("width", "height", "inner", "place"),
    [
        (40, 20, (16, 8), (0, 4)),
        (20, 40, (8, 16), (4, 0)),
        (40, 22, (16, 9), (0, 3)),  # 7 rows are left over: 3 above, 4 below
    ],
)
def test_pages_are_padded_on_both_sides(
    width: int, height: int, inner: tuple[int, int], place: tuple[int, int]
) -> None:
    picture = Image.fromarray(_noise(width, height))
    page = Image.new("RGB", (16, 16), (0, 128, 255))
    page.paste(picture.resize(inner, Image.Resampling.BICUBIC), place)
    rule = Preprocessing(16, 16, "pad", "bicubic", mean=(0.0, 0.5, 1.0))
    assert np.array_equal(decode(_encoded(picture, "PNG"), rule), np.asarray(page))


# --- orientation ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0, 1), (1, 1), (2, 2), (6, 6), (8, 8), (9, 1), ("6", 1), (None, 1)],
)
def test_orientations_beyond_the_standard_count_as_none(value: object, expected: int) -> None:
    image = Image.new("RGB", (2, 1))
    if value is not None:
        image.getexif()[0x0112] = value
    assert orientation_of(image) == expected


# --- refusals -----------------------------------------------------------------------------------


def test_the_largest_size_that_is_read() -> None:
    check_size(MAXIMUM_PIXELS, 1)
    assert _refusal(lambda: check_size(1, MAXIMUM_PIXELS + 1)) == (
        "too_large",
        "The picture claims 1 x 178956971 pixels, more than 178 megapixels.",
    )


def test_the_largest_file_that_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"12345678")
    monkeypatch.setattr(decoding, "MAXIMUM_FILE_BYTES", 8)
    assert read_image_file(file) == b"12345678"
    monkeypatch.setattr(decoding, "MAXIMUM_FILE_BYTES", 7)
    assert _refusal(lambda: read_image_file(file)) == (
        "too_large",
        "The file is larger than 1 GiB.",
    )
    assert _refusal(lambda: read_image_file(tmp_path / "none")) == (
        "unreadable",
        "The file cannot be opened: No such file or directory.",
    )


@pytest.mark.parametrize(
    ("content", "limit", "says"),
    [
        (
            _png16(np.zeros((3, 4, 1), np.uint16)),
            "MAXIMUM_DEEP_PIXELS",
            "The PNG has 4 x 3 pixels of 16 bits, more than 0 megapixels.",
        ),
        (
            _encoded(_noise(4, 3, 4), "PNG"),
            "MAXIMUM_TRANSPARENT_PIXELS",
            "The picture has 4 x 3 pixels with transparency, more than 0 megapixels.",
        ),
        (
            _encoded(_noise(4, 3, 2), "PNG"),
            "MAXIMUM_TRANSPARENT_PIXELS",
            "The picture has 4 x 3 pixels with transparency, more than 0 megapixels.",
        ),
        (
            _encoded(_noise(4, 3), "WEBP"),
            "MAXIMUM_TRANSPARENT_PIXELS",
            "The picture has 4 x 3 pixels as a WebP, more than 0 megapixels.",
        ),
    ],
)
def test_limits_are_the_last_size_that_is_read(
    content: bytes, limit: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoding, limit, 12)
    assert open_upright(content).size == (4, 3)
    monkeypatch.setattr(decoding, limit, 11)
    assert _refusal(lambda: open_upright(content)) == ("too_large", says)
    plain = _encoded(_noise(4, 3), "PNG")
    assert open_upright(plain).size == (4, 3)


@pytest.mark.parametrize(
    ("width", "bits", "says"),
    [
        (11_000, 8, "11000 x 11000 pixels with transparency, more than 120 megapixels."),
        (8_001, 16, "8001 x 8001 pixels of 16 bits, more than 64 megapixels."),
    ],
)
def test_the_limits_are_named(width: int, bits: int, says: str) -> None:
    """Of a file whose header alone claims so many."""
    start = _encoded(_noise(4, 3, 4), "PNG")
    header = struct.pack(">IIBBBBB", width, width, bits, 6, 0, 0, 0)
    check = struct.pack(">I", zlib.crc32(b"IHDR" + header))
    kind, reason = _refusal(lambda: open_upright(start[:16] + header + check + start[33:]))
    assert kind == "too_large" and reason.endswith(says)


def test_too_little_memory_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object, **__: object) -> None:
        raise MemoryError

    content = _encoded(_noise(20, 20), "PNG")
    expected = ("too_large", "The picture does not fit into memory.")
    with monkeypatch.context() as patch:
        patch.setattr(Image.Image, "resize", none)
        assert _refusal(lambda: decode(content, RULE)) == expected
    with monkeypatch.context() as patch:
        patch.setattr(decoding, "check_size", none)
        assert _refusal(lambda: decode(content, RULE)) == expected


def test_pillows_own_limit_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    assert _refusal(lambda: open_upright(_encoded(_noise(20, 20), "PNG"))) == (
        "too_large",
        "The picture claims more than 178 megapixels.",
    )


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", ("empty", "The file is empty.")),
        (bytes(99), ("not_an_image", "The file holds nothing but zeros.")),
        (
            b"\0\0\0\x18ftypisom" + bytes(8),
            (
                "not_an_image",
                "The file is a video or a kind of picture that is not read; "
                "save it as JPEG or PNG.",
            ),
        ),
        (
            b"words, not pixels",
            ("not_an_image", "The file is not a picture in a format that is read here."),
        ),
        (
            b"PF as of a floating point map",
            ("not_an_image", "The file is not a picture in a format that is read here."),
        ),
    ],
)
def test_what_is_no_picture_is_said_in_full(content: bytes, expected: tuple[str, str]) -> None:
    assert _refusal(lambda: open_upright(content)) == expected


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WebP", "BMP", "GIF"])
def test_a_file_that_ends_early_is_told_from_one_that_is_damaged(form: str) -> None:
    """The same middle is spoilt; only one of both has its end."""
    content = _encoded(_noise(60, 50), form.upper())
    half = len(content) // 2
    more = ": it has no end mark" if form == "JPEG" else ""
    assert _refusal(lambda: open_upright(content[:half])) == (
        "truncated",
        f"The {form} file ends before the picture does{more}.",
    )
    start = {"JPEG": 4, "PNG": 12, "WebP": 12, "BMP": 14}.get(form, 0)
    if not start:
        return
    spoilt = content[:start] + b"\xff" * 40 + content[start + 40 :]
    kind, reason = _refusal(lambda: open_upright(spoilt))
    assert kind == "unreadable"
    assert reason.startswith(f"The {form} file is damaged") and reason.endswith(".")
    assert not reason.endswith("..")


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WebP", "BMP", "GIF"])
def test_the_mark_of_the_end_may_have_a_little_behind_it(form: str) -> None:
    content = _encoded(_noise(20, 10), form.upper())
    assert not decoding._ends_early(content, form)
    assert decoding._ends_early(content[:-1], form) or form == "PNG"
    assert decoding._ends_early(content[:-12], form)
    if form != "GIF":
        assert not decoding._ends_early(content + bytes(40), form)
    assert not decoding._ends_early(content, "TIFF")
    if form in ("PNG", "JPEG"):
        assert decoding._ends_early(content + bytes(64), form)


@pytest.mark.parametrize(
    ("error", "name", "expected"),
    [
        (
            ValueError(" odd number. "),
            "TIFF",
            ("unreadable", "The TIFF file is damaged: odd number."),
        ),
        (KeyError(), "TIFF", ("unreadable", "The TIFF file is damaged: KeyError.")),
        (ValueError("odd"), None, ("unreadable", "The image file is damaged: odd.")),
        (
            OSError("image file is truncated (3 bytes not processed)"),
            "PPM",
            ("truncated", "The PPM file ends before the picture does."),
        ),
        (
            OSError("Truncated File Read"),
            "TIFF",
            ("truncated", "The TIFF file ends before the picture does."),
        ),
        (
            OSError("Truncated File Read"),
            None,
            ("truncated", "The image file ends before the picture does."),
        ),
        (
            OSError("Truncated header"),
            "PPM",
            ("unreadable", "The PPM file is damaged: Truncated header."),
        ),
        (
            decoding.UnidentifiedImageError("cannot identify"),
            "TIFF",
            ("unreadable", "The TIFF file is damaged at its beginning."),
        ),
    ],
)
def test_what_a_reader_raises_becomes_a_sentence(
    error: Exception, name: str | None, expected: tuple[str, str]
) -> None:
    found = decoding._damaged(b"some bytes", name, error)
    assert (found.kind, found.reason) == expected


# --- memory and threads -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (_encoded(_noise(8, 6), "PNG"), BYTES_A_PIXEL * 48),
        (_png16(np.zeros((6, 8, 1), np.uint16)), 2 * BYTES_A_PIXEL * 48),
        (_encoded(_noise(8, 6), "TIFF"), BYTES_A_PIXEL * 48),
        # Numbers as they lie in the file and once more: 2 * 2 bytes.
        (_encoded(Image.fromarray(np.zeros((6, 8), np.uint16)), "TIFF"), (BYTES_A_PIXEL + 4) * 48),
        (_encoded(_noise(64, 64), "JPEG"), BYTES_A_PIXEL * 32 * 32),  # read at half its size
        (_encoded(_noise(64, 64), "JPEG", progressive=True), BYTES_A_PIXEL * 64 * 64),
    ],
)
def test_memory_is_asked_for_by_the_size_of_the_picture(
    content: bytes, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    class Record:
        def share(self, wanted: int) -> AbstractContextManager[None]:
            asked.append(wanted)
            return nullcontext()

    monkeypatch.setattr(decoding, "DECODING", Record())
    decode(content, RULE)
    assert asked == [expected]


def test_threads_by_the_size_of_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "num_cores", lambda: 4)
    assert num_decoding_threads([2999, 3000]) == 1
    assert num_decoding_threads([3000, 3000]) == 4
    assert num_decoding_threads(iter([2000, 3999])) == 1


def test_reasons_of_many_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good, empty, missing = (tmp_path / name for name in ("good.png", "empty.png", "missing.png"))
    good.write_bytes(_encoded(_noise(8, 8), "PNG"))
    empty.touch()
    sizes = []
    monkeypatch.setattr(decoding, "num_decoding_threads", lambda found: sizes.extend(found) or 1)
    pixels, reasons = decode_many([empty, good, missing], RULE)
    assert reasons == [
        "The file is empty.",
        "",
        "The file cannot be opened: No such file or directory.",
    ]
    assert sizes == [0, good.stat().st_size, 0]
    assert np.array_equal(pixels[0], decode(good, RULE))
    nothing, _ = decode_many([missing], RULE)
    assert nothing.shape == (0, 16, 16, 3) and nothing.dtype == np.uint8


def test_a_grey_picture_has_three_equal_channels_and_no_remark() -> None:
    picture = read_picture(_encoded(_noise(16, 16)[..., 0], "PNG"), RULE)
    assert picture.remark == ""
    assert np.array_equal(picture.pixels, np.repeat(_noise(16, 16)[..., :1], 3, axis=2))
