"""Files that were made to hurt: pictures, recipes, tables and archives, each from a seed."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from changes import (
    ODD_VALUES,
    RANDOM,
    change_csv,
    change_tree,
    flip_bits,
    truncate,
    zero_block,
)
from harness import picture
from PIL import Image, PngImagePlugin

Random = np.random.Generator

# --- whole pictures, of every format that is read -------------------------------------------


def _saved(image: Image.Image, format: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def whole_pictures(seed: int = 0) -> dict[str, bytes]:
    """name with extension -> bytes: one picture in every format, mode and compression."""
    image = picture((180, 90, 60), (seed, 1), (48, 36))
    other = picture((60, 90, 180), (seed, 2), (48, 36))
    alpha = image.copy()
    alpha.putalpha(128)
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010E] = "made"
    deep = Image.fromarray(np.arange(48 * 36, dtype=np.uint16).reshape(36, 48) * 30)
    real = Image.fromarray(np.linspace(0, 1, 48 * 36, dtype=np.float32).reshape(36, 48))
    text = PngImagePlugin.PngInfo()
    text.add_text("comment", "x" * 300, zip=True)
    profile = b"\0" * 128 + struct.pack(">I", 0)
    found = {
        "baseline.jpg": _saved(image, "JPEG", exif=exif, icc_profile=profile),
        "progressive.jpg": _saved(image, "JPEG", progressive=True),
        "grey.jpg": _saved(image.convert("L"), "JPEG"),
        "cmyk.jpg": _saved(image.convert("CMYK"), "JPEG"),
        "restart.jpg": _saved(image, "JPEG", restart_marker_rows=1, subsampling=0),
        "rgb.png": _saved(image, "PNG", pnginfo=text, icc_profile=profile),
        "alpha.png": _saved(alpha, "PNG"),
        "palette.png": _saved(image.convert("P"), "PNG", transparency=3),
        "bits1.png": _saved(image.convert("1"), "PNG"),
        "deep.png": _saved(deep, "PNG"),
        "animated.png": _saved(image, "PNG", save_all=True, append_images=[other]),
        "lossy.webp": _saved(image, "WEBP", exif=exif),
        "lossless.webp": _saved(alpha, "WEBP", lossless=True),
        "animated.webp": _saved(image, "WEBP", save_all=True, append_images=[other]),
        "still.gif": _saved(image.convert("P"), "GIF"),
        "animated.gif": _saved(image, "GIF", save_all=True, append_images=[other]),
        "rgb.bmp": _saved(image, "BMP"),
        "palette.bmp": _saved(image.convert("P"), "BMP"),
        "raw.tif": _saved(image, "TIFF"),
        "lzw.tif": _saved(image, "TIFF", compression="tiff_lzw"),
        "deflate.tif": _saved(image, "TIFF", compression="tiff_adobe_deflate"),
        "packbits.tif": _saved(image, "TIFF", compression="packbits"),
        "jpeg.tif": _saved(image, "TIFF", compression="jpeg"),
        "fax.tif": _saved(image.convert("1"), "TIFF", compression="group4"),
        "deep.tif": _saved(deep, "TIFF"),
        "real.tif": _saved(real, "TIFF"),
        "cmyk.tif": _saved(image.convert("CMYK"), "TIFF"),
        "pages.tif": _saved(image, "TIFF", save_all=True, append_images=[other]),
        "rgb.ppm": _saved(image, "PPM"),
        "grey.pgm": _saved(image.convert("L"), "PPM"),
        "bits.pbm": _saved(image.convert("1"), "PPM"),
        "plain.ppm": b"P3 2 2 255\n" + b" ".join(b"%d" % v for v in range(12)) + b"\n",
    }
    return found


# --- mutated pictures -----------------------------------------------------------------------

_EXTREMES = (
    b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", b"\x00\x00\x00\x00",
    b"\x80\x00\x00\x00", b"\xff\xff", b"\x00\x00", b"\x7f\xff", b"\x00\x00\x00\x01",
    b"999999999 999999 ", b"-1", b"\xff", b"\x00",
)  # fmt: skip


def _extreme(content: bytes, random: Random) -> bytes:
    """An extreme number over the header, where sizes, counts and offsets stand."""
    value = _EXTREMES[int(random.integers(len(_EXTREMES)))]
    start = int(random.integers(0, min(len(content), int(random.choice([40, 200, 100_000])))))
    return content[:start] + value + content[start + len(value) :]


def _doubled(content: bytes, random: Random) -> bytes:
    """A piece of the file repeated, up to some thousand times."""
    start = int(random.integers(len(content)))
    piece = content[start : start + int(random.integers(1, 64))]
    return content[:start] + piece * int(random.choice([2, 10, 3000])) + content[start:]


def _removed(content: bytes, random: Random) -> bytes:
    start = int(random.integers(len(content)))
    return content[:start] + content[start + int(random.integers(1, 64)) :]


def _noise(content: bytes, random: Random) -> bytes:
    start = int(random.integers(len(content)))
    length = int(random.integers(1, 64))
    return content[:start] + random.bytes(length) + content[start + length :]


def _png_repaired(content: bytes) -> bytes:
    """A PNG whose chunks have right checksums again, so that the change gets further in."""
    if not content.startswith(b"\x89PNG\r\n\x1a\n"):
        return content
    made, place = bytearray(content[:8]), 8
    while place + 12 <= len(content):
        (length,) = struct.unpack(">I", content[place : place + 4])
        body = content[place + 4 : place + 8 + length]
        if len(body) < 4 + length:
            break
        made += content[place : place + 4] + body + struct.pack(">I", zlib.crc32(body))
        place += 12 + length
    return bytes(made) + content[place:]


_PICTURE_CHANGES: tuple[Callable[[bytes, Random], bytes], ...] = (
    flip_bits, _extreme, _extreme, truncate, zero_block, _doubled, _removed, _noise,
)  # fmt: skip


def mutated_picture(whole: dict[str, bytes], random: Random) -> tuple[str, bytes]:
    """A name's ending and the bytes: one of the whole pictures, changed one to four times."""
    names = sorted(whole)
    name = names[int(random.integers(len(names)))]
    content = whole[name]
    for _ in range(int(random.integers(1, 5))):
        if content:
            content = _PICTURE_CHANGES[int(random.integers(len(_PICTURE_CHANGES)))](content, random)
    if random.integers(10) == 0:  # the head of one format, the body of another
        other = whole[names[int(random.integers(len(names)))]]
        content = content[: int(random.integers(4, 40))] + other[int(random.integers(4, 40)) :]
    if random.integers(2) == 0:
        content = _png_repaired(content)
    if random.integers(12) == 0:
        name = names[int(random.integers(len(names)))]  # another format's ending
    return name.replace(".", "-", name.count(".") - 1), content


# --- bombs ----------------------------------------------------------------------------------


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _png(width: int, height: int, colour: int, depth: int, more: bytes = b"") -> bytes:
    """A PNG of zeros: as small as its compression allows, as large as its head says."""
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    row = 1 + (width * channels * depth + 7) // 8
    packer = zlib.compressobj(9)
    packed = [packer.compress(bytes(row)) for _ in range(height)]
    body = b"".join(packed) + packer.flush()
    palette = _chunk(b"PLTE", bytes(768)) if colour == 3 else b""
    head = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return (
        b"\x89PNG\r\n\x1a\n" + head + more + palette + _chunk(b"IDAT", body) + _chunk(b"IEND", b"")
    )


def _jpeg_with_comment(size: int) -> bytes:
    """A JPEG behind many comments."""
    whole = _saved(picture((90, 90, 90), (1,), (48, 36)), "JPEG")
    comment = b"\xff\xfe" + struct.pack(">H", 65535) + bytes(65533)
    return whole[:2] + comment * (size // len(comment)) + whole[2:]


def _jpeg_of_scans(scans: int, side: int) -> bytes:
    """A progressive JPEG whose last scan is repeated: little to read, much to decode."""
    whole = _saved(Image.new("RGB", (side, side), (90, 90, 90)), "JPEG", progressive=True)
    start = whole.rindex(b"\xff\xda")
    return whole[:start] + whole[start:-2] * scans + whole[-2:]


def _tiff(entries: list[tuple[int, int, int, int]], body: bytes = b"") -> bytes:
    """A little-endian TIFF of one directory: (tag, type, count, value)."""
    directory = struct.pack("<H", len(entries))
    directory += b"".join(struct.pack("<HHII", *entry) for entry in entries) + bytes(4)
    return b"II*\0" + struct.pack("<I", 8 + len(body)) + body + directory


def _gif_frames(frames: int) -> bytes:
    images = [Image.new("L", (8, 8), index % 256) for index in range(frames)]
    return _saved(images[0], "GIF", save_all=True, append_images=images[1:], optimize=False)


def bombs() -> dict[str, Callable[[], bytes]]:
    """name -> what makes it: small files that cost much, or claim much, when they are read."""
    return {
        "rgb-under-the-limit.png": lambda: _png(13_300, 13_300, 2, 8),
        "rgba-under-the-limit.png": lambda: _png(13_300, 13_300, 6, 8),
        "deep-rgba-under-the-limit.png": lambda: _png(9_000, 9_000, 6, 16),
        "deep-grey.png": lambda: _png(13_000, 13_000, 0, 16),
        "palette.png": lambda: _png(13_300, 13_300, 3, 8),
        "one-bit.png": lambda: _png(13_300, 13_300, 0, 1),
        "over-the-limit.png": lambda: _png(30_000, 30_000, 0, 1),
        "long.png": lambda: _png(100_000_000, 1, 0, 1),
        "tall.png": lambda: _png(1, 100_000_000 // 64, 0, 8),
        "claims-much.png": lambda: _png_repaired(
            _png(8, 8, 2, 8).replace(
                struct.pack(">II", 8, 8), struct.pack(">II", 2**31 - 1, 2**31 - 1)
            )
        ),
        "text.png": lambda: _png(
            32, 32, 2, 8, _chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(400_000_000), 9))
        ),
        "profile.png": lambda: _png(
            32, 32, 2, 8, _chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(400_000_000), 9))
        ),
        "many-chunks.png": lambda: _png(32, 32, 2, 8, _chunk(b"tEXt", b"a\0b") * 300_000),
        "scans-3000.jpg": lambda: _jpeg_of_scans(3000, 1000),
        "scans-300-large.jpg": lambda: _jpeg_of_scans(300, 3000),
        "comment-52-megabytes.jpg": lambda: _jpeg_with_comment(52 * 10**6),
        "comment-200-megabytes.jpg": lambda: _jpeg_with_comment(200 * 10**6),
        "large.jpg": lambda: _saved(Image.new("RGB", (13_000, 13_000)), "JPEG"),
        "large-progressive.jpg": lambda: _saved(
            Image.new("RGB", (9_000, 9_000)), "JPEG", progressive=True
        ),
        "large-cmyk.jpg": lambda: _saved(Image.new("CMYK", (9_000, 9_000)), "JPEG"),
        "frames.gif": lambda: _gif_frames(3000),
        "large.gif": lambda: _saved(Image.new("P", (13_300, 13_300)), "GIF"),
        "large.webp": lambda: _saved(Image.new("RGB", (12_000, 12_000)), "WEBP", method=0),
        "lossless.webp": lambda: _saved(
            Image.new("RGBA", (12_000, 12_000)), "WEBP", lossless=True, method=0
        ),
        "claims-much.bmp": lambda: b"BM" + struct.pack(
            "<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, 10**9, 10**9, 1, 24, 0, 0, 0, 0, 0, 0
        ),
        "claims-1e15.ppm": lambda: b"P6 100000000 10000000 255\n" + bytes(1000),
        "claims-much.pgm": lambda: b"P5 13000 13000 255\n" + bytes(1000),
        "long-number.ppm": lambda: b"P6 " + b"9" * 1_000_000 + b" 1 255\n",
        "comment.ppm": lambda: b"P6\n#" + b"x" * 60_000_000 + b"\n2 2 255\n" + bytes(12),
        "deflate.tif": lambda: _saved(
            Image.new("RGB", (13_000, 13_000)), "TIFF", compression="tiff_adobe_deflate"
        ),
        "claims-much.tif": lambda: _tiff(
            [(256, 4, 1, 2**31 - 1), (257, 4, 1, 2**31 - 1), (258, 3, 1, 8), (262, 3, 1, 1),
             (273, 4, 1, 8), (277, 3, 1, 1), (278, 4, 1, 2**31 - 1), (279, 4, 1, 2**31 - 1)]
        ),
        "many-strips.tif": lambda: _tiff(
            [(256, 4, 1, 100), (257, 4, 1, 100), (258, 3, 1, 8), (262, 3, 1, 1),
             (273, 4, 2**28, 8), (279, 4, 2**28, 8)]
        ),
        "directory-loop.tif": lambda: b"II*\0\x08\0\0\0\0\0\x08\0\0\0",
        "disguised-postscript.jpg": lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        "avif-head.jpg": lambda: b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf" + bytes(200),
        "svg.png": lambda: b'<svg xmlns="http://www.w3.org/2000/svg"><rect width="9"/></svg>',
    }  # fmt: skip


# --- recipes --------------------------------------------------------------------------------

_ODD_YAML = (
    ".inf", "-.inf", ".nan", "0x7fffffffffffffff", "1_000", "2026-01-01", "12:30:45", "~", "yes",
    "!!python/object/apply:os.system [id]", "!!binary aGVsbG8=", "!!set {a, b}", "!!timestamp x",
    "!!int text", "!!float abc", "&a [*a]", "*unknown", "<<", "=", "? a", "'", '"', "\t", "|",
    ">-", "[", "]", "{", "}", "%YAML 9.9", "---", "...", "\ufeff", "\u2028", "\x85", "😀",
    "9" * 5000, "-" * 300, "1e999", "0o9", "- " * 200, "[" * 300, "{a: " * 300, "x" * 100_000,
    "2026-99-99", "0000-00-00", "!<tag:x,2000:y> z", "!!omap [a: 1]", "!!null x", "0b102",
    "1:99:99", "190:20:30.15", "\ud800", "\0",
)  # fmt: skip


def _aliases(levels: int) -> bytes:
    """Aliases of aliases: ten times as many a level."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    for level in range(1, levels):
        lines.append(f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]")
    return ("\n".join(lines) + "\n").encode()


def recipe_bombs(whole: bytes) -> tuple[Callable[[], bytes], ...]:
    """A recipe with something that multiplies, is deep, is long, or is not its encoding."""
    return (
        lambda: _aliases(9) + whole,
        lambda: whole + b"zzz: &b {x: 1}\nyyy: {<<: [*b, *b], y: *b}\n",
        lambda: b"".join(b"key%d: 1\n" % n for n in range(300_000)) + whole,
        lambda: whole + b"deep: " + b"[" * 20_000 + b"]" * 20_000 + b"\n",
        lambda: whole + b"deep: " + b"{a: " * 20_000 + b"1" + b"}" * 20_000 + b"\n",
        lambda: whole + b"long: " + b"x" * 20_000_000 + b"\n",
        lambda: whole + b"name: " + b"\\x1b[31m" + b"\x1b[31mred\n",
        lambda: b"\xff\xfe" + whole.decode().encode("utf-16-le"),
        lambda: whole + b"\xff\xfe\xfa\n",
        lambda: whole + b"list: [" + b"1, " * 1_000_000 + b"1]\n",
        lambda: b"&a\n- *a\n",
        lambda: whole + b"self: &s {me: *s}\n",
    )


def mutated_recipe(recipes: list[bytes], random: Random) -> bytes:
    """A recipe's YAML with values, keys or single characters changed, or made to be large."""
    import yaml

    whole = recipes[int(random.integers(len(recipes)))]
    way = int(random.integers(10))
    if way == 0:
        made = recipe_bombs(whole)
        return made[int(random.integers(len(made)))]()
    if way <= 3:
        changed = yaml.safe_load(whole)
        for _ in range(int(random.integers(1, 4))):
            changed = change_tree(changed, random)
        return yaml.safe_dump(changed, allow_unicode=True).encode("utf-8", "surrogateescape")
    if way <= 5:
        return (list(RANDOM.values())[int(random.integers(6))])(whole, random) or b""
    lines = whole.decode().splitlines()
    for _ in range(int(random.integers(1, 4))):
        at = int(random.integers(len(lines)))
        odd = _ODD_YAML[int(random.integers(len(_ODD_YAML)))]
        key = lines[at].partition(":")[0]
        lines[at] = (f"{key}: {odd}", odd, f"{odd}: 1", f"{lines[at]}\n{lines[at]}")[
            int(random.integers(4))
        ]
    return "\n".join(lines).encode("utf-8", "surrogatepass")


def odd_setting(random: Random) -> str:
    """What follows ``--set``; no NUL, which no command line can hold."""
    keys = (
        "training.epochs", "data.image_size", "model.options.width", "augmentation", "model",
        "seed", "training", "data.classes", "model.network", "test_time", "", "a.b.c", "..", "name",
    )  # fmt: skip
    odd = _ODD_YAML[int(random.integers(len(_ODD_YAML)))][:20_000]
    value = odd if random.integers(2) else str(ODD_VALUES[int(random.integers(len(ODD_VALUES)))])
    return f"{keys[int(random.integers(len(keys)))]}={value}".replace("\0", "").replace(
        "\ud800", ""
    )


# --- tables ---------------------------------------------------------------------------------

_ODD_PATHS = (
    "../outside.png", "/etc/passwd", "cat/\0.png", "cat/../../x.png", "C:\\x\\y.png", "", ".",
    "cat", "cat/000.png\n", "file:///etc/passwd", "\x1b[31m.png", "x" * 5000, "\ud800.png",
    "-rf", "=cmd|' /C calc'!A0", "con", "cat/000.png/", "//cat//000.png", "~/x.png", "\u202egnp.x",
)  # fmt: skip


def whole_table(data: Path) -> list[list[str]]:
    """path, label, part of every image below a data folder."""
    rows = [["path", "label", "part"]]
    for number, file in enumerate(sorted(data.rglob("*.*"))):
        part = ("train", "validation", "test")[number % 3]
        rows.append([file.relative_to(data).as_posix(), file.parent.name, part])
    return rows


def mutated_table(data: Path, random: Random) -> tuple[str, bytes]:
    """A table's ending and its bytes: CSV, TSV, JSON or JSON lines, changed."""
    rows = whole_table(data)
    ending = ("csv", "tsv", "json", "jsonl")[int(random.integers(4))]
    if random.integers(2):
        at = int(random.integers(1, len(rows)))
        rows[at][int(random.integers(3))] = _ODD_PATHS[int(random.integers(len(_ODD_PATHS)))]
    if random.integers(3) == 0:
        rows[0][int(random.integers(3))] = ("Path", "", "path", "label", "x" * 3000, "\ufeff")[
            int(random.integers(6))
        ]
    records = [dict(zip(rows[0], row, strict=True)) for row in rows[1:]]
    if ending == "json":
        tree = change_tree(records, random) if random.integers(2) else {"images": records}
        content = json.dumps(tree).encode()
    elif ending == "jsonl":
        content = "\n".join(json.dumps(record) for record in records).encode()
    else:
        text = io.StringIO()
        csv.writer(text, delimiter="\t" if ending == "tsv" else ",").writerows(rows)
        content = text.getvalue().encode("utf-8", "surrogatepass")
        if ending == "csv" and random.integers(2):
            with contextlib.suppress(UnicodeDecodeError, csv.Error):
                content = change_csv(content, random)
    way = int(random.integers(8))
    if way == 0:
        content = flip_bits(content, random)
    elif way == 1:
        content = truncate(content, random)
    elif way == 2:
        content = content.decode("utf-8", "replace").encode("utf-16")
    elif way == 3:
        content += random.bytes(40)
    elif way == 4 and random.integers(4) == 0:
        content = b"[" * 200_000 if ending.startswith("json") else b'"' + b"x," * 3_000_000
    return ending, content


# --- archives -------------------------------------------------------------------------------

_MEMBERS = (
    "../evil.png", "../../evil.png", "/evil.png", "a/../../evil.png", "C:/evil.png", "C:evil.png",
    "..\\evil.png", "\\evil.png", "cat/..\\..\\evil.png", "", ".", "/", "cat/", "cat//x.png",
    "cat/\x1b[31m.png", "\u202egnp.png", "cat/" + "x" * 300 + ".png", "a/" * 300 + "x.png",
    "cat/con.png", "cat/x.png ", "cat/x.", "cat/.hidden.png", "__MACOSX/x.png", "cat/ÿ\xff.png",
    "~/evil.png", "cat/x\n.png", "-x/y.png", "=1+1/x.png", "cat", "cat/000.png",
)  # fmt: skip


def made_archive(random: Random, outside: Path) -> bytes:
    """A zip of some pictures with one to three tricks played on it."""
    stream = io.BytesIO()
    method = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)[
        int(random.integers(4))
    ]
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name in ("cat", "dog"):
            for index in range(4):
                image = picture((90, 120, 200), (int(random.integers(2**31)), index), (16, 12))
                archive.writestr(f"{name}/{index:03}.png", _saved(image, "PNG"))
        for _ in range(int(random.integers(1, 4))):
            _play(archive, random, outside)
    content = stream.getvalue()
    way = int(random.integers(6))
    if way == 0:
        content = flip_bits(content, random)
    elif way == 1:
        content = truncate(content, random)
    elif way == 2:
        content = _patched(content, random)
    elif way == 3:
        content = random.bytes(50) + content  # as self-extracting archives begin
    return content


def _play(archive: zipfile.ZipFile, random: Random, outside: Path) -> None:
    """One trick: an odd name, a link, a bomb, a name twice, an odd comment or date."""
    way = int(random.integers(8))
    name = _MEMBERS[int(random.integers(len(_MEMBERS)))]
    if random.integers(6) == 0:
        name = str(outside / "evil.png")
    with_warnings = zipfile.ZipInfo(name or "empty")
    with_warnings.filename = name
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names twice
        if way <= 3:
            archive.writestr(with_warnings, b"not a picture")
        elif way == 4:
            link = zipfile.ZipInfo(("cat/link.png", "link", "cat/up")[int(random.integers(3))])
            link.create_system = 3
            link.external_attr = (stat.S_IFLNK | 0o777) << 16
            archive.writestr(link, str(outside))
            archive.writestr(f"{link.filename}/evil.png", b"through the link")
        elif way == 5:
            size = int(random.choice([10**6, 3 * 10**8]))
            archive.writestr("cat/bomb.png", bytes(size), zipfile.ZIP_DEFLATED, 9)
        elif way == 6:
            device = zipfile.ZipInfo("cat/device.png")
            device.create_system = 3
            kinds = (stat.S_IFCHR, stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFBLK)
            device.external_attr = (kinds[int(random.integers(4))] | 0o4777) << 16
            archive.writestr(device, b"")
        else:
            archive.writestr("cat/000.png", b"twice")
            archive.comment = random.bytes(200)


def _patched(content: bytes, random: Random) -> bytes:
    """A field of a head (sizes, offsets, flags, method) made extreme, in one member."""
    heads = [
        at for mark in (b"PK\x01\x02", b"PK\x03\x04", b"PK\x05\x06") for at in _found(content, mark)
    ]
    at = heads[int(random.integers(len(heads)))] + 4 + int(random.integers(0, 38))
    value = _EXTREMES[int(random.integers(7))]
    return content[:at] + value + content[at + len(value) :]


def _found(content: bytes, mark: bytes) -> list[int]:
    places, at = [], content.find(mark)
    while at >= 0:
        places.append(at)
        at = content.find(mark, at + 1)
    return places
