"""HEIC and AVIF, as phones make them: read with the extra, named without it."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

from tellapart.data.reading import read_table
from tellapart.pixels import formats
from tellapart.pixels.decode import UnreadableImage, decode, open_upright
from tellapart.pixels.headers import read_header
from tellapart.pixels.preprocessing import Preprocessing

RULE = Preprocessing(16, 24)
RED, GREEN, BLUE, WHITE = (200, 30, 30), (30, 160, 40), (40, 60, 200), (250, 250, 250)


def _stored(orientation: int) -> Image.Image:
    """Four quarters, upright red, green, blue, white; stored as a phone held sideways does (6)."""
    picture = np.zeros((64, 96, 3), np.uint8)
    picture[:32, :48], picture[:32, 48:], picture[32:, :48], picture[32:, 48:] = (
        RED, GREEN, BLUE, WHITE,
    )  # fmt: skip
    if orientation == 6:
        picture = np.ascontiguousarray(picture.swapaxes(0, 1)[::-1])
    return Image.fromarray(picture)


def _noise() -> Image.Image:
    random = np.random.default_rng(0)
    return Image.fromarray(random.integers(0, 255, (64, 96, 3)).astype(np.uint8))


def _encoded(name: str, orientation: int = 1, picture: Image.Image | None = None) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    picture = picture or _stored(orientation)
    if name == "AVIF":
        if not features.check("avif"):
            pytest.skip("this Pillow has no AVIF")
        picture.save(buffer, "AVIF", quality=95, exif=exif)
    else:
        pytest.importorskip("pi_heif", reason="pi-heif reads HEIC; it is not here")
        writer = pytest.importorskip("pillow_heif", reason="pillow-heif writes the file; not here")
        heif = writer.from_pillow(picture)
        heif.save(buffer, quality=95, exif=exif.tobytes())
    return buffer.getvalue()


@pytest.mark.parametrize("name", ["HEIC", "AVIF"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_they_are_read_upright(name: str, orientation: int) -> None:
    content = _encoded(name, orientation)
    picture = np.asarray(open_upright(content)).astype(int)
    assert picture.shape == (64, 96, 3)
    middles = [picture[y, x] for y in (16, 48) for x in (24, 72)]
    assert np.abs(np.array(middles) - [RED, GREEN, BLUE, WHITE]).max() <= 8
    header = read_header(content)
    assert (header.width, header.height) == (96, 64)
    assert decode(content, RULE).shape == (16, 24, 3)


@pytest.mark.parametrize("name", ["HEIC", "AVIF"])
def test_damage_is_said(name: str) -> None:
    content = _encoded(name, picture=_noise())
    half = len(content) // 2
    with pytest.raises(UnreadableImage):
        decode(content[:half], RULE)
    with pytest.raises(UnreadableImage, match="ends before the picture does"):
        decode(content[:-half] + bytes(half), RULE)
    assert decode(content + bytes(500), RULE).shape == (16, 24, 3)


def _folder(root: Path, contents: dict[str, bytes]) -> Path:
    for path, content in contents.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)
    return root


def test_they_are_images_of_a_folder(tmp_path: Path) -> None:
    heic, avif = _encoded("HEIC"), _encoded("AVIF")
    files = {"a/1.HEIC": heic, "a/2": heic, "b/1.avif": avif, "b/2.heif": heic}
    table = read_table(_folder(tmp_path, files))
    assert table.paths == ("a/1.HEIC", "a/2", "b/1.avif", "b/2.heif")


def test_without_their_readers_they_are_left_out_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(formats, "_heif_reader", lambda: None)
    monkeypatch.setattr(formats, "_reads_avif", lambda: False)
    heic = b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic" + bytes(40)
    avif = b"\x00\x00\x00\x1cftypavif\x00\x00\x00\x00avifmif1miaf" + bytes(40)
    png = io.BytesIO()
    _stored(1).save(png, "PNG")
    files = {"a/1.heic": heic, "a/2.png": png.getvalue(), "b/1.avif": avif, "b/2.png": b"x"}
    table = read_table(_folder(tmp_path, files))
    assert {(p.path, p.kind) for p in table.problems} == {
        ("a/1.heic", "unsupported"),
        ("b/1.avif", "unsupported"),
    }
    for name, content, problem in zip(("HEIC", "AVIF"), (heic, avif), table.problems, strict=True):
        assert problem.reason.startswith(f"{name} pictures need pip install 'tellapart[phone]'")
        for read in (open_upright, read_header):
            with pytest.raises(UnreadableImage, match="pip install 'tellapart"):
                read(content)
