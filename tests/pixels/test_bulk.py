"""Files that would cost minutes or gigabytes: read in little, or refused; and other lost tails."""

from __future__ import annotations

import io
import struct
import threading
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tellapart.pixels import decode as decoding
from tellapart.pixels.budget import Budget
from tellapart.pixels.decode import UnreadableImage, decode, open_upright
from tellapart.pixels.preprocessing import Preprocessing

RULE = Preprocessing(32, 32)


def _encoded(form: str, **options: object) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 255, (60, 80, 3)).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, form, **options)
    return buffer.getvalue()


def _chunk(kind: bytes, content: bytes) -> bytes:
    check = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)


def _gif_with_comment(size: int) -> bytes:
    content = _encoded("GIF")
    at = 13 + (3 << ((content[10] & 7) + 1))
    comment = b"!\xfe" + (b"\xff" + b"c" * 255) * (size // 255) + b"\x00"
    return content[:at] + comment + content[at:]


def _ppm_with_comment(size: int) -> bytes:
    content = _encoded("PPM")
    assert content.startswith(b"P6\n80 60\n255\n")
    return b"P6\n80 #" + b"c" * size + b"\n60 # 7\n255\n" + content[13:]


def _png_with_text(size: int) -> bytes:
    content = _encoded("PNG")
    text = _chunk(b"tEXt", b"a\x00" + b"b" * 10_000)
    return content[:33] + text * (size // 10_000) + content[33:]


@pytest.mark.parametrize("make", [_gif_with_comment, _ppm_with_comment, _png_with_text])
def test_large_comments_cost_little_and_change_nothing(make: object) -> None:
    plain, bulky = make(10), make(70 << 20)  # type: ignore[operator]
    started = time.process_time()
    assert np.array_equal(decode(bulky, RULE), decode(plain, RULE))
    assert time.process_time() - started < 5  # Pillow alone takes a minute, or refuses


def test_a_picture_may_begin_like_a_comment() -> None:
    pixels = b"#" * (1200 * 900)
    content = b"P5 1200 900 255\n" + pixels
    assert (np.asarray(open_upright(content)) == ord("#")).all()


def test_pictures_written_as_long_text_are_refused() -> None:
    with pytest.raises(UnreadableImage, match="as text, more than 32 MiB"):
        decode(b"P3 4000 4000 255\n" + b"1 " * (17 << 20), RULE)


def test_large_pictures_are_decoded_within_a_budget() -> None:
    budget, running, most = Budget(100 << 20), 0, 0
    lock = threading.Lock()

    def work() -> None:
        nonlocal running, most
        with budget.share(60 << 20):
            with lock:
                running += 1
                most = max(most, running)
            time.sleep(0.02)
            with lock:
                running -= 1

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1
    with budget.share(500 << 20), budget.share(1):  # larger than all, alone; small ones pass
        pass


def test_a_large_transparent_picture_is_the_same_in_strips(monkeypatch) -> None:
    random = np.random.default_rng(0)
    buffer = io.BytesIO()
    Image.fromarray(random.integers(0, 256, (50, 40, 4)).astype(np.uint8)).save(buffer, "PNG")
    whole = np.asarray(open_upright(buffer.getvalue()))
    monkeypatch.setattr(decoding, "_STRIP_PIXELS", 40 * 7)
    assert np.array_equal(np.asarray(open_upright(buffer.getvalue())), whole)


@pytest.mark.parametrize(
    ("form", "options"),
    [("PNG", {}), ("WEBP", {}), ("WEBP", {"lossless": True}), ("GIF", {}),
     ("TIFF", {"compression": "tiff_lzw"}), ("TIFF", {"compression": "tiff_deflate"})],
)  # fmt: skip
def test_zeros_in_place_of_the_last_part_are_noticed(form: str, options: dict[str, str]) -> None:
    content = _encoded(form, **options)
    for share in (0.3, 0.6, 0.9):
        at = int(share * len(content))
        with pytest.raises(UnreadableImage) as error:
            decode(content[:at] + bytes(len(content) - at), RULE)
        assert error.value.kind in ("truncated", "unreadable")
    assert np.array_equal(decode(content + bytes(3000), RULE), decode(content, RULE))


def test_warnings_as_errors_read_the_same(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    """In a process of its own, with threads, and filters put back at the end."""
    import subprocess
    import sys

    spoilt = b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\xff" * 40
    files = [tmp_path / f"{number}.jpg" for number in range(40)]
    for file in files:
        file.write_bytes(_encoded("JPEG", exif=spoilt))
    program = (
        "import sys, warnings; from pathlib import Path; import numpy as np\n"
        "from tellapart.pixels.decode import decode, decode_many, open_upright\n"
        "from tellapart.pixels.headers import read_header\n"
        "from tellapart.pixels.preprocessing import Preprocessing\n"
        "files = [Path(f) for f in sys.argv[1:]]; before = list(warnings.filters)\n"
        "pixels, reasons = decode_many(files, Preprocessing(8, 8))\n"
        "assert not any(reasons), reasons\n"
        "assert read_header(files[0]).width == 80 and open_upright(files[0]).size == (80, 60)\n"
        "assert list(warnings.filters) == before\n"
        "print(pixels.sum())\n"
    )
    sums = {
        subprocess.run(
            [sys.executable, *options, "-c", program, *map(str, files)],
            capture_output=True, text=True, check=True,
        ).stdout
        for options in ([], ["-W", "error::UserWarning"], ["-W", "error::Warning:PIL"])
    }  # fmt: skip
    assert len(sums) == 1


def test_a_large_png_of_16_bits_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    buffer = io.BytesIO()
    Image.fromarray(np.full((30, 40), 65535, np.uint16)).save(buffer, "PNG")
    assert (np.asarray(open_upright(buffer.getvalue())) == 255).all()
    monkeypatch.setattr(decoding, "MAXIMUM_DEEP_PIXELS", 1000)
    with pytest.raises(UnreadableImage, match="40 x 30 pixels of 16 bits") as error:
        decode(buffer.getvalue(), RULE)
    assert error.value.kind == "too_large"


@pytest.mark.parametrize(
    ("mode", "name", "what"),
    [("RGBA", "PNG", "with transparency"), ("RGB", "WEBP", "as a WebP")],
)
def test_a_picture_that_is_in_memory_twice_is_refused_earlier(
    monkeypatch: pytest.MonkeyPatch, mode: str, name: str, what: str
) -> None:
    """A WebP of 144 megapixels took 2.3 GB."""
    stream = io.BytesIO()
    Image.new(mode, (40, 30)).save(stream, name)
    assert decoding.open_upright(stream.getvalue()).size == (40, 30)
    monkeypatch.setattr(decoding, "MAXIMUM_TRANSPARENT_PIXELS", 1000)
    with pytest.raises(UnreadableImage, match=f"40 x 30 pixels {what}") as error:
        decoding.open_upright(stream.getvalue())
    assert error.value.kind == "too_large"
