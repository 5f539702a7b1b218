"""Small pictures: right size, right shape, right content."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tellapart.pixels.thumbnails import make_thumbnail


def opened(data: bytes) -> Image.Image:
    return Image.open(BytesIO(data))


def test_large_pictures_shrink_and_keep_their_shape() -> None:
    picture = opened(make_thumbnail(np.zeros((300, 600, 3), np.uint8), size=100))
    assert (picture.format, picture.size) == ("WEBP", (100, 50))


def test_small_pictures_stay_as_they_are() -> None:
    assert opened(make_thumbnail(np.zeros((32, 20, 3), np.uint8))).size == (20, 32)


@pytest.mark.parametrize("value", [0, 200])
def test_grey_arrays_stay_grey(value: int) -> None:
    pixels = np.asarray(opened(make_thumbnail(np.full((40, 40), value, np.uint8))).convert("RGB"))
    assert np.abs(pixels.astype(int) - value).max() <= 3


def test_the_given_picture_is_not_changed() -> None:
    picture = Image.new("RGB", (400, 400), "red")
    make_thumbnail(picture, size=50)
    assert picture.size == (400, 400)


def test_files_are_shown_upright(tmp_path: Path) -> None:
    picture = Image.new("RGB", (60, 30), "blue")
    exif = Image.Exif()
    exif[0x0112] = 6  # turn a quarter clockwise to see it upright
    picture.save(tmp_path / "turned.jpg", exif=exif)
    assert opened(make_thumbnail(tmp_path / "turned.jpg")).size == (30, 60)
