"""Sizes, formats, modes and looks, against Pillow, SciPy and hand-worked values."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from tellapart.audit.statistics import (
    SIDE,
    has_wrong_extension,
    measure_looks,
    mode_name,
    read_headers,
)
from tellapart.data.pixels import PixelCache, load_pixels
from tellapart.data.reading import read_table
from tellapart.pixels.decode import open_upright
from tellapart.pixels.preprocessing import Preprocessing

SMALL = Preprocessing(SIDE, SIDE)


def odd_pictures(root: Path) -> Path:
    """One picture of every kind that a header can be read wrongly of; 60 x 40 pixels."""
    noise = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)
    picture = Image.fromarray(noise)
    for name in ("a", "b"):
        (root / name).mkdir(parents=True)
    turned = Image.Exif()
    turned[0x0112] = 6
    mirrored = Image.Exif()
    mirrored[0x0112] = 2
    picture.save(root / "a/plain.jpg")
    picture.save(root / "a/turned.jpg", exif=turned)
    picture.save(root / "a/turned.webp", exif=turned)
    picture.save(root / "a/turned.png", exif=turned)
    picture.save(root / "a/turned.tif", exif=turned)
    picture.save(root / "b/mirrored.jpg", exif=mirrored)
    picture.convert("L").save(root / "b/grey.png")
    picture.convert("RGBA").save(root / "b/alpha.png")
    picture.convert("P").save(root / "b/palette.gif")
    picture.convert("CMYK").save(root / "b/print.jpg")
    Image.fromarray(noise[..., 0].astype(np.uint16) * 257).save(root / "b/deep.png")
    picture.save(root / "b/bitmap.bmp")
    return root


@pytest.fixture
def odd(tmp_path: Path) -> PixelCache:
    return load_pixels(read_table(odd_pictures(tmp_path / "odd")), SMALL)


def test_sizes_are_those_of_the_upright_picture(odd: PixelCache) -> None:
    headers = read_headers(odd)
    for row, path in enumerate(odd.table.paths):
        expected = open_upright(odd.table.file(row)).size
        assert (headers.widths[row], headers.heights[row]) == expected, path
    is_turned = dict(zip(odd.table.paths, headers.turned.tolist(), strict=True))
    assert {path for path, turned in is_turned.items() if turned} == {
        "a/turned.jpg",
        "a/turned.webp",
        "a/turned.png",
        "a/turned.tif",
        "b/mirrored.jpg",
    }


def test_formats_modes_and_bytes_are_those_of_the_files(odd: PixelCache) -> None:
    headers = read_headers(odd)
    of = {path: row for row, path in enumerate(odd.table.paths)}
    assert headers.formats[of["a/turned.tif"]] == "TIFF"
    assert headers.formats[of["a/plain.jpg"]] == "JPEG"
    assert [
        mode_name(str(headers.modes[of[f"b/{name}"]]))
        for name in (
            "grey.png",
            "alpha.png",
            "palette.gif",
            "print.jpg",
            "deep.png",
            "bitmap.bmp",
        )
    ] == ["grey", "colour with transparency", "palette", "CMYK (print)", "grey, 16 bit", "colour"]
    for path, row in of.items():
        assert headers.file_bytes[row] == (odd.table.root / path).stat().st_size


def test_headers_are_kept_and_survive_a_second_call(
    odd: PixelCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = read_headers(odd)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("read again")

    monkeypatch.setattr("tellapart.audit.statistics._header", refuse)
    second = read_headers(odd)
    assert second.widths.tolist() == first.widths.tolist()
    assert second.modes.tolist() == first.modes.tolist()


def test_crop_losses_by_hand(tmp_path: Path) -> None:
    for name, size in (("a/square", (50, 50)), ("a/wide", (100, 60)), ("b/tall", (30, 40))):
        file = tmp_path / f"{name}.png"
        file.parent.mkdir(exist_ok=True)
        Image.new("RGB", size, "red").save(file)
    headers = read_headers(load_pixels(read_table(tmp_path), SMALL))
    assert headers.crop_losses.tolist() == pytest.approx([0.0, 0.4, 0.25])
    assert headers.aspect_ratios.tolist() == pytest.approx([1.0, 100 / 60, 0.75])


def test_looks_agree_with_pillow_and_scipy() -> None:
    random = np.random.default_rng(1)
    pixels = random.integers(0, 256, (3, SIDE, SIDE, 3), dtype=np.uint8)
    looks = measure_looks(pixels)
    for row in range(3):
        luma = np.asarray(Image.fromarray(pixels[row]).convert("L"), np.float64)
        assert looks.brightness[row] == pytest.approx(luma.mean() / 255, abs=0.002)
        assert looks.contrast[row] == pytest.approx(luma.std() / 255, abs=0.002)
        laplacian = ndimage.laplace(luma)[1:-1, 1:-1]
        assert looks.sharpness[row] == pytest.approx(laplacian.std(), rel=0.01)


def test_looks_of_plain_pictures() -> None:
    pixels = np.zeros((4, SIDE, SIDE, 3), np.uint8)
    pixels[1] = 255
    pixels[2, :, :, 0] = 255
    pixels[3, : SIDE // 2] = 255
    looks = measure_looks(pixels)
    assert looks.brightness.tolist() == pytest.approx([0.0, 1.0, 0.299, 0.5], abs=1e-5)
    assert looks.contrast.tolist() == pytest.approx([0.0, 0.0, 0.0, 0.5], abs=1e-5)
    assert looks.sharpness[:3].tolist() == pytest.approx([0.0, 0.0, 0.0], abs=1e-3)
    assert looks.sharpness[3] > 10
    assert looks.grey.tolist() == [True, True, False, True]


def test_a_small_coloured_thing_on_white_is_no_grey_picture() -> None:
    pixels = np.full((2, SIDE, SIDE, 3), 255, np.uint8)
    pixels[0, 20:30, 20:30] = (255, 0, 0)  # 2.4 % of the picture
    # JPEG leaves a little colour in grey pictures.
    pixels[1] -= np.random.default_rng(2).integers(0, 6, (SIDE, SIDE, 3), dtype=np.uint8)
    assert measure_looks(pixels).grey.tolist() == [False, True]


def test_blurring_lowers_sharpness() -> None:
    pixels = np.random.default_rng(3).integers(0, 256, (1, SIDE, SIDE, 3), dtype=np.uint8)
    blurred = ndimage.gaussian_filter(pixels.astype(float), (0, 1.5, 1.5, 0)).astype(np.uint8)
    assert measure_looks(blurred).sharpness[0] < 0.2 * measure_looks(pixels).sharpness[0]


def test_larger_pixels_are_averaged() -> None:
    pixels = np.random.default_rng(4).integers(0, 256, (2, SIDE, SIDE, 3), dtype=np.uint8)
    doubled = pixels.repeat(2, axis=1).repeat(2, axis=2)
    assert measure_looks(doubled).sharpness == pytest.approx(measure_looks(pixels).sharpness)
    with pytest.raises(ValueError, match="64 x 64"):
        measure_looks(np.zeros((1, 50, 50, 3), np.uint8))


@pytest.mark.parametrize(
    ("path", "format", "wrong"),
    [
        ("a.jpg", "JPEG", False),
        ("a.JPEG", "MPO", False),
        ("a.png", "JPEG", True),
        ("a.jpg", "WEBP", True),
        ("a", "JPEG", False),
        ("a.xyz", "PNG", False),
        ("a.tiff", "TIFF", False),
        ("a.pgm", "PPM", False),
    ],
)
def test_wrong_extension(path: str, format: str, wrong: bool) -> None:
    assert has_wrong_extension(path, format) == wrong
