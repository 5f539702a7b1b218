"""One file -> the picture a person would see, the same on every path."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tellapart.pixels.decode import decode, decode_many, num_decoding_threads, open_upright
from tellapart.pixels.preprocessing import Preprocessing

# Four flat quarters, so that JPEG and resizing leave their middles as they are.
RED, GREEN, BLUE, WHITE = (200, 30, 30), (30, 160, 40), (40, 60, 200), (250, 250, 250)


def _quarters(width: int = 96, height: int = 64) -> NDArray[np.uint8]:
    """Upright: red top left, green top right, blue bottom left, white bottom right."""
    picture = np.zeros((height, width, 3), np.uint8)
    top, left = slice(0, height // 2), slice(0, width // 2)
    bottom, right = slice(height // 2, None), slice(width // 2, None)
    picture[top, left], picture[top, right] = RED, GREEN
    picture[bottom, left], picture[bottom, right] = BLUE, WHITE
    return picture


def _middles(picture: NDArray[np.uint8]) -> NDArray[np.int64]:
    """The colour in the middle of each quarter: top left, top right, bottom left, right."""
    height, width = picture.shape[:2]
    rows, columns = (height // 4, 3 * height // 4), (width // 4, 3 * width // 4)
    return np.array([picture[y, x] for y in rows for x in columns], np.int64)


def _encoded(image: Image.Image, form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


#: How a camera stores an upright picture for each orientation (Exif 2.32: where row 0 and
#: column 0 of the stored picture lie in the upright one).
STORED = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: a.swapaxes(0, 1)[::-1],
    7: lambda a: a.swapaxes(0, 1)[::-1, ::-1],
    8: lambda a: a.swapaxes(0, 1)[:, ::-1],
}


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_upright(form: str, orientation: int, tmp_path: Path) -> None:
    stored = np.ascontiguousarray(STORED[orientation](_quarters()))
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = tmp_path / f"picture.{form.lower()}"
    file.write_bytes(_encoded(Image.fromarray(stored), form, exif=exif))
    expected = np.array([RED, GREEN, BLUE, WHITE])

    upright = open_upright(file)
    assert upright.size == (96, 64)
    assert np.abs(_middles(np.asarray(upright)) - expected).max() <= 6

    for fit in ("squash", "crop", "pad"):
        small = decode(file, Preprocessing(16, 24, fit=fit))
        assert small.shape == (16, 24, 3)
        assert np.abs(_middles(small) - expected).max() <= 6


def test_a_turned_jpeg_that_is_decoded_at_reduced_scale_is_upright() -> None:
    stored = np.ascontiguousarray(STORED[6](_quarters(960, 640)))
    exif = Image.Exif()
    exif[0x0112] = 6
    content = _encoded(Image.fromarray(stored), "JPEG", exif=exif)
    expected = np.array([RED, GREEN, BLUE, WHITE])
    assert np.abs(_middles(decode(content, Preprocessing(32, 32))) - expected).max() <= 6


def _half(mode: str, left: object, right: object) -> Image.Image:
    """A picture of two flat halves."""
    image = Image.new(mode, (32, 16), left)  # type: ignore[arg-type]
    image.paste(Image.new(mode, (16, 16), right), (16, 0))  # type: ignore[arg-type]
    return image


def _palette(transparent: int | None = None) -> bytes:
    image = Image.new("P", (32, 16), 0)
    image.paste(1, (16, 0, 32, 16))
    image.putpalette([200, 10, 20, 30, 40, 220])
    options = {} if transparent is None else {"transparency": transparent}
    return _encoded(image, "PNG", **options)


def _float_tiff(low: float, high: float) -> bytes:
    values = np.full((16, 32), low, np.float32)
    values[:, 16:] = high
    return _encoded(Image.fromarray(values), "TIFF")


def _uint16(low: int, high: int, form: str) -> bytes:
    values = np.full((16, 32), low, np.uint16)
    values[:, 16:] = high
    return _encoded(Image.fromarray(values), form)


def _pgm16(low: int, high: int) -> bytes:
    values = np.full((16, 32), low, ">u2")
    values[:, 16:] = high
    return b"P5 32 16 65535\n" + values.tobytes()


#: name -> (file content, left colour, right colour), worked out by hand.
MODES: dict[str, tuple[bytes, tuple[int, int, int], tuple[int, int, int]]] = {
    "1": (_encoded(_half("1", 0, 1), "PNG"), (0, 0, 0), (255, 255, 255)),
    "L": (_encoded(_half("L", 10, 200), "PNG"), (10, 10, 10), (200, 200, 200)),
    "L bmp": (_encoded(_half("L", 10, 200), "BMP"), (10, 10, 10), (200, 200, 200)),
    "L pgm": (_encoded(_half("L", 10, 200), "PPM"), (10, 10, 10), (200, 200, 200)),
    # On white: 100 * 51/255 + 255 * 204/255 = 20 + 204 = 224.
    "LA": (_encoded(_half("LA", (10, 255), (100, 51)), "PNG"), (10, 10, 10), (224, 224, 224)),
    "P": (_palette(), (200, 10, 20), (30, 40, 220)),
    "P transparent": (_palette(1), (200, 10, 20), (255, 255, 255)),
    "P gif": (_encoded(_half("P", 0, 0), "GIF"), (0, 0, 0), (0, 0, 0)),
    "PA tiff": (
        _encoded(_half("RGBA", (9, 8, 7, 255), (1, 2, 3, 0)).convert("PA"), "TIFF"),
        (9, 8, 7),
        (255, 255, 255),
    ),
    "RGB": (_encoded(_half("RGB", RED, BLUE), "PNG"), RED, BLUE),
    "RGB bmp": (_encoded(_half("RGB", RED, BLUE), "BMP"), RED, BLUE),
    "RGB ppm": (_encoded(_half("RGB", RED, BLUE), "PPM"), RED, BLUE),
    "RGB tiff": (_encoded(_half("RGB", RED, BLUE), "TIFF"), RED, BLUE),
    "RGB webp": (_encoded(_half("RGB", RED, BLUE), "WEBP", lossless=True), RED, BLUE),
    # A colour key: every pixel of exactly this colour is transparent.
    "RGB key": (
        _encoded(_half("RGB", RED, BLUE), "PNG", transparency=BLUE),
        RED,
        (255, 255, 255),
    ),
    "RGBA": (
        _encoded(_half("RGBA", (9, 8, 7, 255), (0, 0, 0, 0)), "PNG"),
        (9, 8, 7),
        (255, 255, 255),
    ),
    "RGBA webp": (
        _encoded(_half("RGBA", (9, 8, 7, 255), (0, 0, 0, 0)), "WEBP", lossless=True),
        (9, 8, 7),
        (255, 255, 255),
    ),
    # No ink is white; full cyan and yellow make green.
    "CMYK": (
        _encoded(_half("CMYK", (0, 0, 0, 0), (255, 0, 255, 0)), "TIFF"),
        (255, 255, 255),
        (0, 255, 0),
    ),
    # 16 bit: v * 255 / 65535 = v / 257, so 12850 is 50 and 51400 is 200.
    "I;16": (_uint16(12850, 51400, "PNG"), (50, 50, 50), (200, 200, 200)),
    "I;16 tiff": (_uint16(12850, 51400, "TIFF"), (50, 50, 50), (200, 200, 200)),
    "I pgm": (_pgm16(12850, 51400), (50, 50, 50), (200, 200, 200)),
    "I stretched": (
        _encoded(_half("I", 100_000, 300_000), "TIFF"),
        (0, 0, 0),
        (255, 255, 255),
    ),
    "F 0..1": (_float_tiff(0.2, 1.0), (51, 51, 51), (255, 255, 255)),
    "F 0..255": (_float_tiff(51.0, 102.0), (51, 51, 51), (102, 102, 102)),
    "F not a number": (_float_tiff(float("nan"), 1.0), (0, 0, 0), (255, 255, 255)),
    "F flat": (_float_tiff(-3.0, -3.0), (0, 0, 0), (0, 0, 0)),
}


@pytest.mark.parametrize("name", MODES)
def test_every_colour_mode(name: str) -> None:
    content, left, right = MODES[name]
    full = np.asarray(open_upright(content))
    assert full.shape == (16, 32, 3)
    assert (tuple(full[8, 4]), tuple(full[8, 28])) == (left, right)
    small = decode(content, Preprocessing(8, 16))
    assert small.dtype == np.uint8
    assert (tuple(small[4, 2]), tuple(small[4, 14])) == (left, right)


def test_adobe_cmyk_jpeg_is_not_inverted() -> None:
    content = _encoded(_half("CMYK", (0, 0, 0, 0), (0, 255, 255, 0)), "JPEG", quality=95)
    full = np.asarray(open_upright(content)).astype(int)
    assert full[8, 4].min() > 245
    assert full[8, 28, 0] > 245
    assert full[8, 28, 1:].max() < 12


def test_the_first_frame_of_an_animation_is_the_picture() -> None:
    frames = [Image.new("RGB", (32, 16), colour) for colour in (RED, BLUE)]
    for form in ("GIF", "WEBP", "PNG", "TIFF"):
        content = _encoded(frames[0], form, save_all=True, append_images=frames[1:])
        assert np.abs(np.asarray(open_upright(content))[8, 8] - np.array(RED)).max() <= 4


def _photograph(width: int, height: int) -> Image.Image:
    """Smooth colour with fine texture, as photographs have."""
    random = np.random.default_rng(0)
    coarse = random.uniform(0, 255, (12, 16, 3)).astype(np.uint8)
    smooth = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))
    return Image.fromarray(
        np.clip(smooth + random.normal(0, 12, smooth.shape), 0, 255).astype(np.uint8)
    )


@pytest.mark.parametrize("fit", ["squash", "crop"])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "lanczos"])
def test_reduced_scale_loses_nothing_that_is_seen(fit: str, interpolation: str) -> None:
    content = _encoded(_photograph(1600, 1200), "JPEG", quality=92)
    rule = Preprocessing(150, 150, fit=fit, interpolation=interpolation)
    full = Image.open(io.BytesIO(content)).convert("RGB")
    box = (200, 0, 1400, 1200) if fit == "crop" else None
    how = getattr(Image.Resampling, interpolation.upper())
    expected = np.asarray(full.resize((150, 150), how, box=box)).astype(int)
    difference = np.abs(decode(content, rule).astype(int) - expected)
    assert difference.mean() < 1.0
    assert np.quantile(difference, 0.99) <= 4


@pytest.mark.parametrize(
    ("stored", "orientation", "height", "width", "fit"),
    [
        ((400, 400), 1, 150, 150, "squash"),  # 200 x 200 would be less than twice 150
        ((1600, 400), 6, 100, 200, "squash"),  # 400 wide when upright
        ((1600, 300), 1, 100, 100, "crop"),  # the middle 300 x 300 counts
        ((300, 1600), 1, 100, 100, "crop"),
        ((700, 350), 1, 200, 200, "pad"),
    ],
)
def test_scale_is_reduced_only_where_twice_the_size_is_left(
    stored: tuple[int, int], orientation: int, height: int, width: int, fit: str
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = _encoded(_photograph(*stored), "JPEG", exif=exif)
    rule = Preprocessing(height, width, fit=fit)
    # The same pixels in a format that has no reduced scale.
    lossless = _encoded(open_upright(content), "PNG")
    assert np.array_equal(decode(content, rule), decode(lossless, rule))


def test_fits_on_a_wide_picture() -> None:
    """30 x 10: black, white and black thirds of 10 pixels each."""
    picture = np.zeros((10, 30, 3), np.uint8)
    picture[:, 10:20] = 255
    content = _encoded(Image.fromarray(picture), "PNG")
    grey = (0.5, 0.5, 0.5)

    crop = decode(content, Preprocessing(10, 10, fit="crop", mean=grey))
    assert (crop == 255).all()

    squash = decode(content, Preprocessing(10, 30, fit="squash", mean=grey))
    assert np.array_equal(squash, picture)

    pad = decode(content, Preprocessing(30, 30, fit="pad", mean=grey))
    assert np.array_equal(pad[10:20], picture)
    assert (pad[:10] == 128).all() and (pad[20:] == 128).all()


def test_an_extreme_shape_keeps_at_least_one_pixel() -> None:
    content = _encoded(Image.new("RGB", (3000, 1), RED), "PNG")
    pad = decode(content, Preprocessing(16, 16, fit="pad"))
    assert (pad == np.array(RED)).all(axis=2).sum() == 16
    for fit in ("squash", "crop"):
        assert (decode(content, Preprocessing(16, 16, fit=fit)) == np.array(RED)).all()


def test_a_file_and_its_bytes_give_the_same_array(tmp_path: Path) -> None:
    content = _encoded(_photograph(640, 480), "JPEG")
    file = tmp_path / "photo.jpg"
    file.write_bytes(content)
    rule = Preprocessing(64, 64)
    assert np.array_equal(decode(file, rule), decode(content, rule))


def test_the_resize_rule_names_all_that_changes_pixels() -> None:
    base = Preprocessing(8, 8)
    assert base.resize_rule() == Preprocessing(8, 8, mean=(0, 0, 0)).resize_rule()
    others = (
        Preprocessing(8, 9),
        Preprocessing(9, 8),
        Preprocessing(8, 8, fit="pad"),
        Preprocessing(8, 8, fit="pad", mean=(0, 0, 0)),
        Preprocessing(8, 8, interpolation="bilinear"),
    )
    assert len({base.resize_rule(), *(p.resize_rule() for p in others)}) == 6


def test_preprocessing_survives_json() -> None:
    import json

    rule = Preprocessing(30, 20, "pad", "lanczos", (0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    assert Preprocessing.from_dict(json.loads(json.dumps(rule.to_dict()))) == rule


@pytest.mark.parametrize(
    "wrong",
    [{"height": 0}, {"fit": "stretch"}, {"interpolation": "cubic"}, {"std": (0.0, 1.0, 1.0)}],
)
def test_preprocessing_that_makes_no_sense_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"must be|three numbers"):
        Preprocessing(**({"height": 8, "width": 8} | wrong))  # type: ignore[arg-type]


# --- many files -----------------------------------------------------------------------------


def test_many_files_come_in_their_order_and_the_broken_ones_with_a_reason(tmp_path: Path) -> None:
    size = Preprocessing(8, 8)
    files = [tmp_path / f"{number:02}.png" for number in range(20)]
    for number, file in enumerate(files):
        Image.new("RGB", (10, 10), (number * 10, 0, 0)).save(file)
    files[3].write_bytes(b"")
    files[11].unlink()

    pixels, reasons = decode_many(files, size)

    assert [number for number, reason in enumerate(reasons) if reason] == [3, 11]
    expected = [number * 10 for number in range(20) if number not in (3, 11)]
    assert pixels.shape == (18, 8, 8, 3) and pixels[:, 0, 0, 0].tolist() == expected
    assert decode_many(files[3:4], size)[0].shape == (0, 8, 8, 3)
    assert decode_many([], size)[0].shape == (0, 8, 8, 3)


def test_small_files_are_read_by_one_thread(monkeypatch) -> None:
    monkeypatch.setattr("tellapart.pixels.decode.num_cores", lambda: 4)
    assert num_decoding_threads([2_000, 2_500]) == 1
    assert num_decoding_threads([2_000, 250_000]) == 4
