"""Pictures of more than 8 bits: right by tifffile and by hand-made bytes, or refused."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms

from tellapart.data.pixels import load_pixels
from tellapart.data.reading import read_table
from tellapart.pixels import tiff
from tellapart.pixels.decode import UnreadableImage, open_upright, read_picture
from tellapart.pixels.headers import read_header
from tellapart.pixels.preprocessing import Preprocessing

tifffile = pytest.importorskip("tifffile")
RULE = Preprocessing(4, 4, interpolation="nearest")


def _tiff(values: NDArray[np.generic], **options: object) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, values, **({"photometric": "minisblack"} | options))
    return buffer.getvalue()


def _grey(content: bytes) -> list[int]:
    """The grey levels of a picture of one row."""
    picture = np.asarray(open_upright(content))
    assert (picture == picture[..., :1]).all()
    return [int(v) for v in picture[0, :, 0]]


def _png(values: NDArray[np.uint16], *, significant: int = 0, key: tuple[int, ...] = ()) -> bytes:
    """A PNG of 16 bits, written by hand (PNG specification, third edition)."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)

    height, width, bands = values.shape
    colour = {1: 0, 2: 4, 3: 2, 4: 6}[bands]
    rows = b"".join(b"\x00" + row.astype(">u2").tobytes() for row in values)
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0)),
            chunk(b"sBIT", bytes([significant] * bands)) if significant else b"",
            chunk(b"tRNS", struct.pack(f">{len(key)}H", *key)) if key else b"",
            chunk(b"IDAT", zlib.compress(rows)),
            chunk(b"IEND", b""),
        ]
    )


# --- the scale ------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_the_depth_in_use_is_black_to_white(bits: int) -> None:
    full = 2**bits - 1
    row = np.array([[0, full // 2, full]], np.uint16)
    expected = [0, round(full // 2 * 255 / full), 255]
    assert _grey(_tiff(row)) == expected
    assert _grey(_tiff(row, byteorder=">", compression="zlib")) == expected
    assert _grey(_png(row[..., None])) == expected
    colours = np.repeat(row[..., None], 3, axis=2)
    assert _grey(_png(colours)) == expected
    assert _grey(_tiff(colours, photometric="rgb")) == expected


def test_4096_values_are_256_levels_and_the_user_is_told(tmp_path, fresh_cache) -> None:
    values = np.arange(4096, dtype=np.uint16).reshape(64, 64)
    assert len(np.unique(np.asarray(open_upright(_tiff(values))))) == 256
    for name in "abcdefgh":
        (tmp_path / name[0] / "x").parent.mkdir(exist_ok=True)
        for number in range(2):
            (tmp_path / name / f"{number}.tif").write_bytes(_tiff(values + number * 4))
    table = read_table(tmp_path)
    for _ in range(2):  # cold, then from the cache
        notes = " ".join(load_pixels(table, RULE).table.notes)
        assert "12 bits in 16: 0 to 4095 is shown as black to white" in notes


def test_a_stated_depth_counts_whatever_the_picture_holds() -> None:
    dark = np.array([[[0], [100], [200]]], np.uint16)
    assert _grey(_png(dark, significant=10)) == [0, 25, 50]  # 100 * 255 / 1023 = 24.9
    stated = _tiff(dark[..., 0], extratags=[(281, 3, 1, 1023, True)])
    assert _grey(stated) == [0, 25, 50]


def test_packed_12_bits() -> None:
    """4095, 2048, 0 and 1000 as they lie in a file: three hexadecimal digits each."""
    data = bytes.fromhex("fff8000003e8")
    entries = [(256, 4), (257, 1), (258, 12), (259, 1), (262, 1), (273, 8), (277, 1), (279, 6)]
    table = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries)
    head = struct.pack("<4sI", b"II*\x00", 14)
    content = head + data + struct.pack("<H", len(entries)) + table + bytes(4)
    assert _grey(content) == [255, 128, 0, 62]  # 2048 / 4095 = 127.5; 1000 * 255 / 4095 = 62.3


# --- kinds that came out wrong ---------------------------------------------------------------


def test_white_is_zero() -> None:
    row = np.array([[0, 13107, 65535]], np.uint16)  # 13107 is a fifth
    assert _grey(_tiff(row, photometric="miniswhite")) == [255, 204, 0]
    floats = np.array([[0.0, 0.2, 1.0]], np.float32)
    assert _grey(_tiff(floats, photometric="miniswhite")) == [255, 204, 0]
    assert _grey(_tiff(row.astype(np.uint32), photometric="miniswhite")) == [255, 204, 0]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_32_bits_and_signs(order: str, compression: str | None) -> None:
    how = {"byteorder": order, "compression": compression}
    large = np.array([[0, 2**31, 2**32 - 1]], np.uint32)
    assert _grey(_tiff(large, **how)) == [0, 128, 255]
    computed = np.array([[-1000, 0, 1000, 3000]], np.int16)  # as in computed tomography
    assert _grey(_tiff(computed, **how)) == [0, 64, 128, 255]
    assert _grey(_tiff(np.array([[0, 2047, 4095]], np.int16), **how)) == [0, 127, 255]
    assert _grey(_tiff(np.array([[-100, 0, 100]], np.int8), **how)) == [0, 128, 255]
    doubles = np.array([[0.0, 0.2, 1.0]], np.float64)
    assert _grey(_tiff(doubles, **how)) == [0, 51, 255]
    assert _grey(_tiff(doubles.astype(np.float16), **how)) == [0, 51, 255]


@pytest.mark.parametrize("nothing", [np.nan, np.inf, -np.inf, -9999.0, -3.4028235e38, 3.4028235e38])
def test_places_without_data_are_black_and_do_not_change_the_rest(nothing: float) -> None:
    values = np.array([[0.0, 0.2, nothing, 1.0]], np.float32)
    assert _grey(_tiff(values)) == [0, 51, 0, 255]
    heights = np.array([[300.0, 400.0, nothing, 800.0]], np.float32)
    assert _grey(_tiff(heights)) == [0, 51, 0, 255]


def test_the_value_that_gdal_names_is_no_data() -> None:
    tag = (42113, "s", 0, "255.5", True)
    floats = np.array([[0, 255.5, 0.2, 1]], np.float32)
    assert _grey(_tiff(floats, extratags=[tag])) == [0, 0, 51, 255]
    tag = (42113, "s", 0, "65535", True)
    whole = np.array([[0, 65535, 819, 4095]], np.uint16)
    assert _grey(_tiff(whole, extratags=[tag])) == [0, 0, 51, 255]
    all_gone = np.full((2, 2), np.nan, np.float32)
    assert _grey(_tiff(all_gone)) == [0, 0]


def test_minus_9999_is_a_value_like_others_where_lower_ones_are_there() -> None:
    values = np.array([[-20000, -9999, 20000]], np.int16)
    assert _grey(_tiff(values)) == [0, 64, 255]  # (20000 - 9999) * 255 / 40000 = 63.8


def _cases() -> list[tuple[NDArray[np.generic], dict[str, object]]]:
    random = np.random.default_rng(0)
    kinds = ("u1", "i1", "u2", "i2", "u4", "i4", "f2", "f4", "f8")
    cases = []
    for kind in kinds:
        for bands in (1, 3, 4):
            shape = (9, 13) if bands == 1 else (9, 13, bands)
            values = (random.normal(size=shape) * 90).astype(kind)
            for order in "<>":
                for tile in (None, (16, 16)):
                    how = {"byteorder": order, "tile": tile, "compression": "zlib"}
                    how |= {} if bands == 1 else {"photometric": "rgb"}
                    if bands == 4:
                        how["extrasamples"] = ["unspecified"]
                    cases.append((values, how))
                    if np.dtype(kind).kind != "f":
                        cases.append((values, how | {"predictor": True}))
                    if bands > 1:
                        cases.append((values, how | {"planarconfig": "separate"}))
    return cases


def test_numbers_are_those_that_were_written() -> None:
    """Type, byte order, strips and tiles, compression, differences, planes: against tifffile."""
    read = 0
    for values, how in _cases():
        separate = how.get("planarconfig") == "separate"
        written = np.moveaxis(values, 2, 0).copy() if separate else values
        content = _tiff(written, **how)
        layout = tiff.layout_of(content)
        header = read_header(content)
        assert (header.height, header.width) == values.shape[:2]
        if layout.is_deep:
            found = tiff.samples(content, layout)
            assert np.array_equal(found.reshape(values.shape), values), how
            read += 1
    assert read > 200


def test_differences_of_floating_point() -> None:
    """Predictor 3 by hand (Adobe TIFF Technical Note 3): bytes apart, then differences."""
    values = np.array([[0.0, 0.2, 0.4, 1.0]], np.float32)
    planes = values.astype(">f4").view(np.uint8).reshape(4, 4).T.reshape(-1)
    differences = np.diff(planes, prepend=np.uint8(0)).astype(np.uint8)
    data = zlib.compress(differences.tobytes())
    entries = [
        (256, 4), (257, 1), (258, 32), (259, 8), (262, 1), (273, 8), (277, 1), (279, len(data)),
        (317, 3), (339, 3),
    ]  # fmt: skip
    table = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries)
    content = struct.pack("<4sI", b"II*\x00", 8 + len(data)) + data
    content += struct.pack("<H", len(entries)) + table + bytes(4)
    assert _grey(content) == [0, 51, 102, 255]


def test_transparency_of_16_bits_lies_on_white() -> None:
    pixel = np.array([[[0, 0, 65535, 65535], [0, 0, 65535, 0], [65535, 0, 0, 13107]]], np.uint16)
    expected = [(0, 0, 255), (255, 255, 255), (255, 204, 204)]
    alpha = {"photometric": "rgb", "extrasamples": ["unassalpha"]}
    for content in (_png(pixel), _tiff(pixel, **alpha)):
        assert [tuple(map(int, p)) for p in np.asarray(open_upright(content))[0]] == expected
    grey = np.array([[[65535, 65535], [0, 0], [0, 13107]]], np.uint16)
    assert _grey(_png(grey)) == [255, 255, 204]
    assert _grey(_png(np.array([[[0], [256], [65535]]], np.uint16), key=(256,))) == [0, 255, 255]
    key = np.array([[[0, 1, 2], [0, 1, 3], [65535, 65535, 65535]]], np.uint16)
    picture = np.asarray(open_upright(_png(key, key=(0, 1, 2))))
    assert picture[0, :2].tolist() == [[255] * 3, [0] * 3]


def test_palettes_of_8_bit_colours_where_16_belong() -> None:
    indices = np.array([[0, 1]], np.uint8)
    colours = np.zeros((3, 256), np.uint16)
    colours[:, 0], colours[:, 1] = (200, 10, 20), (30, 40, 220)
    for scale in (1, 257):
        content = _tiff(indices, photometric="palette", colormap=colours * np.uint16(scale))
        assert np.asarray(open_upright(content))[0].tolist() == [[200, 10, 20], [30, 40, 220]]


def test_lab_and_ycbcr_and_cmyk() -> None:
    lab = np.array([[[255, 0, 0], [0, 0, 0]]], np.uint8)  # L 100 and L 0, no colour
    white, black = np.asarray(open_upright(_tiff(lab, photometric="cielab")))[0]
    assert white.min() >= 253 and black.max() <= 2
    profile = ImageCms.createProfile("LAB", 5000)
    known = ImageCms.profileToProfile(
        Image.new("RGB", (1, 1), (200, 30, 30)), ImageCms.createProfile("sRGB"), profile,
        outputMode="LAB",
    )  # fmt: skip
    stored = np.asarray(known).astype(np.uint8) ^ np.array([0, 128, 128], np.uint8)
    found = np.asarray(open_upright(_tiff(np.asarray(stored), photometric="cielab")))[0, 0]
    other = np.asarray(open_upright(_tiff(np.asarray(known), photometric="cielab")))[0, 0]
    assert min(np.abs(f.astype(int) - (200, 30, 30)).max() for f in (found, other)) <= 3
    ycbcr = np.array([[[255, 128, 128], [76, 85, 255]]], np.uint8)  # white, red (ITU-R BT.601)
    for compression in (None, "zlib"):
        content = _tiff(ycbcr, photometric="ycbcr", compression=compression, subsampling=(1, 1))
        picture = np.asarray(open_upright(content))[0].astype(int)
        assert np.abs(picture - [[255, 255, 255], [255, 0, 0]]).max() <= 2
    ink = np.array([[[0, 0, 0, 0], [65535, 0, 65535, 0]]], np.uint16)
    picture = np.asarray(open_upright(_tiff(ink, photometric="separated")))[0]
    assert picture.tolist() == [[255, 255, 255], [0, 255, 0]]


def test_a_turned_deep_tiff_is_upright() -> None:
    row = np.array([[0, 13107, 65535]], np.uint16)
    content = _tiff(row, extratags=[(274, 3, 1, 6, True)])
    assert np.asarray(open_upright(content))[:, 0, 0].tolist() == [0, 51, 255]
    header = read_header(content)
    assert (header.width, header.height, header.turned) == (1, 3, True)


@pytest.mark.parametrize(
    ("shape", "kind", "how", "says"),
    [
        ((9, 9, 5), "u1", {}, "a TIFF with 5 bands; tellapart reads 1"),
        ((9, 9, 3), "u2", {}, "3 bands that are not said to be red, green and blue"),
        ((9, 9), "c8", {}, "complex numbers"),
        ((9, 9, 3), "f4", {"photometric": "cielab"}, "Lab in floating point of 32 bits"),
        ((9, 9, 4), "f4", {"photometric": "separated"}, "CMYK in floating point"),
        ((9, 9), "u1", {"photometric": "cfa"}, "raw data of a camera's sensor"),
    ],
)
def test_what_is_not_read_is_named(
    shape: tuple[int, ...], kind: str, how: dict[str, str], says: str
) -> None:
    content = _tiff(np.zeros(shape, kind), **({"planarconfig": "contig"} | how))
    for read in (open_upright, read_header):
        with pytest.raises(UnreadableImage, match=says) as error:
            read(content)
        assert error.value.kind == "unsupported"
        assert "damaged" not in error.value.reason and "<" not in error.value.reason


def test_a_bigtiff_is_read() -> None:
    assert _grey(_tiff(np.array([[0, 13107, 65535]], np.uint16), bigtiff=True)) == [0, 51, 255]
    assert _grey(_tiff(np.array([[0, 51, 255]], np.uint8), bigtiff=True)) == [0, 51, 255]


def test_plain_pictures_have_no_remark() -> None:
    for values in (np.array([[0, 65535]], np.uint16), np.array([[0, 9]], np.uint8)):
        assert read_picture(_tiff(values), RULE).remark == ""


# --- scales that a picture must not lose itself in --------------------------------------------


def test_floating_point_a_little_beyond_one_keeps_one_as_white() -> None:
    """Resampling overshoots 1, and reflectances pass it: neither makes a picture black."""
    assert _grey(_tiff(np.array([[0.0, 0.2, 1.0]], np.float32))) == [0, 51, 255]
    beyond = _tiff(np.array([[0.0, 0.2, 1.0, 1.3]], np.float32))
    assert _grey(beyond) == [0, 51, 255, 255]
    assert "what lies above 1 as white" in read_picture(beyond, RULE).remark
    assert _grey(_tiff(np.array([[0.0, 51.0, 200.0]], np.float32))) == [0, 51, 200]


def test_a_full_maximum_of_a_pgm_says_nothing_of_its_depth() -> None:
    """Programs write 65535 for 16 bits, whatever the camera had; 4095 is a statement."""
    row = np.array([819, 4095], ">u2").tobytes()
    for maximum, greys in ((b"65535", [51, 255]), (b"4095", [51, 255]), (b"8190", [26, 128])):
        assert _grey(b"P5 2 1 " + maximum + b"\n" + row) == greys
    assert _grey(b"P2 2 1 65535\n819 4095\n") == [51, 255]
    remark = read_picture(b"P5 2 1 65535\n" + row, RULE).remark
    assert remark == "12 bits in 16: 0 to 4095 is shown as black to white"


def test_a_picture_of_few_grey_levels_is_told() -> None:
    """A thermal camera: 29,000 to 31,000 hundredths of a kelvin are 113 to 121 of 255."""
    warm = _tiff(np.array([[29000, 31000]], np.uint16))
    assert _grey(warm) == [113, 121]
    assert "fewer than 16 of 256 grey levels" in read_picture(warm, RULE).remark
    wide = _tiff(np.array([[29000, 34000]], np.uint16))
    assert read_picture(wide, RULE).remark == ""
    flat = _tiff(np.array([[29000, 29000]], np.uint16))
    assert read_picture(flat, RULE).remark == ""
