"""Sizes without decoding: the same as those of the decoded picture, and nothing escapes."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tellapart.data.reading import read_table
from tellapart.pixels.decode import UnreadableImage, open_upright
from tellapart.pixels.headers import read_header, shorter_sides
from tellapart.recipe_reading import load_recipe
from tellapart.training.auto import settle_image_size


def _saved(file: Path, **options: object) -> Path:
    pixels = np.random.default_rng(0).integers(0, 255, (40, 70, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(file, **options)
    return file


@pytest.mark.parametrize("extension", ["jpg", "png", "webp", "bmp", "gif", "tif", "ppm"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_sizes_are_those_of_the_upright_picture(
    extension: str, orientation: int, tmp_path: Path
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"exif": exif} if extension in ("jpg", "png", "webp", "tif") else {}
    file = _saved(tmp_path / f"a.{extension}", **options)
    header = read_header(file)
    assert (header.width, header.height) == open_upright(file).size
    assert read_header(file.read_bytes()) == header
    assert header.turned == (orientation > 1 and bool(options))


def test_exif_data_behind_a_pngs_picture_turn_it(tmp_path: Path) -> None:
    file = _saved(tmp_path / "a.png")
    exif = b"MM\x00*" + struct.pack(">IHHHIHHI", 8, 1, 0x0112, 3, 1, 6, 0, 0)
    chunk = struct.pack(">I", len(exif)) + b"eXIf" + exif
    chunk += struct.pack(">I", zlib.crc32(b"eXIf" + exif))
    content = file.read_bytes()
    file.write_bytes(content[:-12] + chunk + content[-12:])
    assert open_upright(file).size == (40, 70)
    header = read_header(file)
    assert (header.width, header.height, header.turned) == (40, 70, True)


ODD = {
    "claims.ppm": b"P6 100000000 10000000 255\n" + bytes(100),
    "claims.png": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + b"\x7f\xff\xff\xff" * 2 + b"\x08\x02\0\0\0",
    "cut.avif": b"\x00\x00\x00\x1cftypavif\x00\x00\x00\x00avifmif1miaf" + bytes(40),
    "cut.heic": b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic" + bytes(40),
    "cut.tif": b"II*\x00\xff\xff\xff\x7f",
    "wild.tif": b"II*\x00\x08\x00\x00\x00\xff\xff" + b"\xff" * 60,
    "cut.jpg": b"\xff\xd8\xff\xe1\xff\xff",
    "cut.gif": b"GIF89a",
    "postscript.eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
    "empty.png": b"",
}


@pytest.mark.parametrize("name", ODD)
@pytest.mark.filterwarnings("error")
def test_nothing_else_than_an_unreadable_image_escapes(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(ODD[name])
    for source in (tmp_path / name, ODD[name]):
        with pytest.raises(UnreadableImage) as error:
            read_header(source)
        assert error.value.reason.endswith(".") and "<_io" not in error.value.reason


def test_the_size_of_a_training_is_settled_though_odd_files_are_there(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        for number in range(3):
            _saved(tmp_path / name / f"{number}.png")
    for number, content in enumerate(ODD.values()):
        (tmp_path / "a" / f"odd{number}.ppm").write_bytes(content or b" ")
    settle_image_size(load_recipe("probe"), read_table(tmp_path))
    assert shorter_sides(sorted((tmp_path / "a").iterdir()), most=9) == [40, 40, 40]
    assert shorter_sides([tmp_path / "missing.png"], most=9) == []
