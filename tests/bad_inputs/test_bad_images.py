"""Files that are no pictures, or only parts of them: said, never fatal, never silent."""

from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tellapart.data.pixels import load_pixels
from tellapart.data.reading import read_table
from tellapart.errors import DataError
from tellapart.pixels.decode import UnreadableImage, decode, open_upright
from tellapart.pixels.preprocessing import Preprocessing

RULE = Preprocessing(16, 16)


def _noise(form: str, **options: object) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 255, (60, 80, 3)).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, form, **options)
    return buffer.getvalue()


def _png_that_claims(width: int, height: int) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        check = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + data + chunk(b"IEND", b"")


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM"])
@pytest.mark.parametrize("share", [0.3, 0.7, 0.95])
def test_a_file_cut_short_is_not_a_picture(form: str, share: float) -> None:
    content = _noise(form)
    decode(content, RULE)  # whole, it is one
    for read in (lambda c: decode(c, RULE), open_upright):
        with pytest.raises(UnreadableImage) as error:
            read(content[: int(share * len(content))])
        assert error.value.kind in ("truncated", "unreadable")
        assert error.value.reason.endswith(".")


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "BMP", "GIF"])
def test_a_file_cut_short_is_called_truncated(form: str) -> None:
    content = _noise(form)
    with pytest.raises(UnreadableImage, match="ends before the picture does") as error:
        decode(content[: len(content) // 2], RULE)
    assert error.value.kind == "truncated"


@pytest.mark.parametrize(
    ("content", "kind", "reason"),
    [
        (b"", "empty", "The file is empty"),
        (b"\x00" * 5000, "not_an_image", "nothing but zeros"),
        (b"<html><body>404</body></html>", "not_an_image", "not a picture in a format"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not_an_image", "not a picture"),
        (b"\x00\x00\x00\x18ftypisom\x00\x00\x00\x00", "not_an_image", "a video or a kind of"),
        (b"\xff\xd8\xff\xe0" + b"garbage" * 99 + b"\xff\xd9", "unreadable", "JPEG file is damaged"),
        (_png_that_claims(100_000, 100_000), "too_large", "more than 178 megapixels"),
        (_png_that_claims(0, 10), "unreadable", "PNG file is damaged"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_what_is_no_picture_is_named(content: bytes, kind: str, reason: str) -> None:
    with pytest.raises(UnreadableImage, match=reason) as error:
        decode(content, RULE)
    assert error.value.kind == kind


def test_a_missing_file_a_folder_and_a_forbidden_one(tmp_path: Path) -> None:
    (tmp_path / "folder.jpg").mkdir()
    for name in ("missing.jpg", "folder.jpg"):
        with pytest.raises(UnreadableImage, match="cannot be opened") as error:
            decode(tmp_path / name, RULE)
        assert error.value.kind == "unreadable"


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_damaged_exif_data_do_not_lose_the_picture() -> None:
    content = _noise("JPEG", exif=b"Exif\x00\x00MM\x00*\xff\xff\xff\xff garbage")
    assert decode(content, RULE).shape == (16, 16, 3)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_random_damage_gives_a_picture_or_an_unreadable_image() -> None:
    """Bytes changed anywhere never raise anything else."""
    random = np.random.default_rng(1)
    for form in ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM"):
        whole = np.frombuffer(_noise(form), np.uint8)
        for _ in range(25):
            damaged = whole.copy()
            places = random.integers(0, min(len(whole), 400), 6)
            damaged[places] = random.integers(0, 256, 6)
            try:
                assert decode(damaged.tobytes(), RULE).shape == (16, 16, 3)
            except UnreadableImage as error:
                assert error.reason


def _spoil(folder: Path) -> dict[str, str]:
    """Add one file of each kind to a class folder; name -> kind."""
    whole = _noise("JPEG")
    bad = {
        "0001_truncated.jpg": (whole[: len(whole) // 2], "truncated"),
        "0003_text.jpg": (b"this is no picture", "not_an_image"),
        "0003_bomb.png": (_png_that_claims(100_000, 100_000), "too_large"),
    }
    for name, (content, _) in bad.items():
        (folder / name).write_bytes(content)
    return {name: kind for name, (_, kind) in bad.items()}


def test_bad_files_among_good_ones_are_left_out_and_said(image_folder, fresh_cache) -> None:
    root = image_folder(per_class=10)
    kinds = _spoil(root / "red")
    table = read_table(root)
    for _ in range(2):  # cold, then from the cache
        cache = load_pixels(table, RULE)
        found = {Path(p.path).name: p.kind for p in cache.table.problems}
        assert {k: v for k, v in found.items() if k in kinds} == kinds
        assert len(cache.table) == len(cache.pixels) == len(cache.digests) == 20
        for i in range(20):
            assert np.array_equal(cache.pixels[i], decode(cache.table.file(i), RULE))


def test_too_many_bad_files_stop_and_ask(image_folder, fresh_cache) -> None:
    root = image_folder(per_class=5)
    _spoil(root / "red")
    with pytest.raises(
        DataError, match=r"3 of 13 images .* more than 20 %.*right folder.*0001_trunc"
    ):
        load_pixels(read_table(root), RULE)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads all")
def test_a_file_that_may_not_be_read_is_left_out(image_folder, fresh_cache) -> None:
    root = image_folder(per_class=5)
    file = next((root / "red").iterdir())
    file.chmod(0)
    cache = load_pixels(read_table(root), RULE)
    assert [Path(p.path).name for p in cache.table.problems] == [file.name]
