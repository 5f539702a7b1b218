"""JPEGs that are not all there, and those that only look so."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image

from tellapart.pixels.decode import UnreadableImage, decode, open_upright
from tellapart.pixels.preprocessing import Preprocessing

RULE = Preprocessing(48, 64)
END = b"\xff\xd9"
KINDS = {
    "baseline": {},
    "optimized": {"optimize": True},
    "progressive": {"progressive": True},
    "restarts": {"restart_marker_rows": 1},
}


def _photograph(seed: int = 0, *, flat: bool = False) -> Image.Image:
    random = np.random.default_rng(seed)
    coarse = Image.fromarray(random.integers(0, 256, (9, 12, 3), dtype=np.uint8))
    fine = np.asarray(coarse.resize((320, 240), Image.Resampling.BICUBIC)).astype(float)
    picture = Image.fromarray(np.clip(fine + random.normal(0, 9, fine.shape), 0, 255).astype("u1"))
    if flat:
        picture.paste((255, 255, 255), (0, 90, 320, 240))
    return picture


def _jpeg(kind: str, picture: Image.Image | None = None, **options: object) -> bytes:
    buffer = io.BytesIO()
    (picture or _photograph()).save(buffer, "JPEG", quality=90, **KINDS[kind], **options)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_end_is_noticed_wherever_it_begins(kind: str) -> None:
    content = _jpeg(kind)
    first = content.index(b"\xff\xda") + 20
    for at in np.linspace(first, len(content) - 200, 9, dtype=int).tolist():
        lost = len(content) - at
        spoilt = [content[:at], content[:at] + bytes(lost), content[:at] + bytes(lost - 2) + END]
        if kind != "progressive":  # a progressive one that ends early is only less sharp
            spoilt.append(content[:at] + END)
        for damaged in spoilt:
            for read in (open_upright, lambda c: decode(c, RULE)):
                with pytest.raises(UnreadableImage, match="ends before the picture does") as error:
                    read(damaged)
                assert error.value.kind == "truncated"


def test_how_much_is_missing_is_said() -> None:
    content = _jpeg("baseline")
    half = len(content) // 2
    with pytest.raises(UnreadableImage, match="the last 50 % of it are zeros"):
        decode(content[:half] + bytes(half), RULE)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("flat", [False, True])
def test_whole_pictures_are_read_whatever_follows_them(kind: str, flat: bool) -> None:
    for seed in range(3):
        content = _jpeg(kind, _photograph(seed, flat=flat))
        expected = np.asarray(open_upright(content))
        body = content[:-2]
        for other in (
            body,  # no end mark
            content + b"a camera's own data " * 50,
            content + bytes(5000),
            body + b"\xff\xff\xff\xd9",  # fill bytes before the mark
            content + _jpeg(kind),  # a second picture, as phones append
            *([] if flat else [body + bytes(3000), body + bytes(300) + END]),
        ):
            assert np.array_equal(np.asarray(open_upright(other)), expected)


def test_a_flat_picture_whose_data_are_zeros_is_whole() -> None:
    """With codes made to measure, one flat colour is one bit a block: zeros, rightly."""
    picture = Image.new("L", (1600, 1200), 255)
    picture.paste(0, (0, 0, 8, 8))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=90, optimize=True)
    content = buffer.getvalue()
    assert content[-100:-2].count(0) > 90
    assert np.asarray(open_upright(content))[600:].min() >= 253


def test_cmyk_without_adobes_mark_is_no_negative() -> None:
    """The APP14 segment says that inks are stored as negatives; without it they are not."""
    inks = Image.new("CMYK", (32, 32), (0, 255, 255, 0))
    buffer = io.BytesIO()
    inks.save(buffer, "JPEG", quality=95)
    content = buffer.getvalue()
    assert np.asarray(open_upright(content))[9, 9].tolist() == pytest.approx([255, 0, 0], abs=9)
    at = content.index(b"\xff\xee")
    length = struct.unpack_from(">H", content, at + 2)[0]
    plain = content[:at] + content[at + 2 + length :]
    assert np.asarray(open_upright(plain))[9, 9].tolist() == pytest.approx([0, 0, 0], abs=9)


def _with_sof(marker: int, precision: int) -> bytes:
    content = bytearray(_jpeg("baseline"))
    at = content.index(b"\xff\xc0")
    content[at + 1], content[at + 4] = marker, precision
    return bytes(content)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (_with_sof(0xC1, 12), "a JPEG with 12 bits a colour"),
        (_with_sof(0xC3, 8), "lossless JPEG"),
        (_with_sof(0xF7, 8), "JPEG-LS"),
    ],
)
def test_kinds_that_are_not_read_are_named(content: bytes, says: str) -> None:
    with pytest.raises(UnreadableImage, match=says) as error:
        decode(content, RULE)
    assert error.value.kind == "unsupported"


def test_too_many_scans_or_segments_are_refused() -> None:
    content = _jpeg("progressive")
    last = content.rindex(b"\xff\xda")
    many = content[:last] + content[last:-2] * 200 + END
    with pytest.raises(UnreadableImage, match="scans, more than 100") as error:
        decode(many, RULE)
    assert error.value.kind == "too_large"
    segments = content[:2] + b"\xff\xfe\x00\x02" * 10_000 + content[2:]
    with pytest.raises(UnreadableImage, match="more than 4,096 segments"):
        decode(segments, RULE)
