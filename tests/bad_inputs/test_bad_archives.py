"""Zip archives: good ones are read like folders, bad ones are refused whole."""

from __future__ import annotations

import stat
import struct
import zipfile
import zlib
from pathlib import Path

import pytest

from tellapart.data import archives
from tellapart.data.reading import read_table
from tellapart.errors import DataError

pytestmark = pytest.mark.usefixtures("fresh_cache")


def make_zip(file: Path, members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(file, "w", compression) as opened:
        for name, content in members.items():
            opened.writestr(zipfile.ZipInfo(name), content, compress_type=compression)
    return file


GOOD = {f"{name}/{number}.jpg": f"{name} {number}".encode() for name in "ab" for number in "12"}


def files_below(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def refused(file: Path, folder: Path) -> str:
    """The sentence, after a check that nothing was written anywhere."""
    before = set(files_below(folder))
    with pytest.raises(DataError) as raised:
        read_table(file)
    assert set(files_below(folder)) == before
    return str(raised.value)


@pytest.mark.parametrize("prefix", ["", "photos/", "photos/train/", "deep/er/train/"])
def test_any_layout_in_a_zip(tmp_path: Path, prefix: str) -> None:
    members = {prefix + name: content for name, content in GOOD.items()}
    members |= {"__MACOSX/._x": b"x", f"{prefix}a/.DS_Store": b"x", f"{prefix}c/": b""}
    table = read_table(make_zip(tmp_path / "x.zip", members))
    assert [path.removeprefix(prefix) for path in table.paths] == sorted(GOOD)
    assert table.classes == ("a", "b")
    assert table.parts.tolist() == ["train" if "train" in prefix else ""] * 4
    assert table.file(0).read_bytes() == b"a 1"


def test_a_table_in_a_zip(tmp_path: Path) -> None:
    rows = b"path,label\nimg/1.jpg,x\nimg/2.jpg,y\n"
    members = {"labels.csv": rows, "img/1.jpg": b"1", "img/2.jpg": b"2"}
    assert read_table(make_zip(tmp_path / "x.zip", members)).classes == ("x", "y")


def test_the_second_time_nothing_is_extracted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = make_zip(tmp_path / "x.zip", GOOD)
    first = read_table(file)
    monkeypatch.setattr(archives, "unpack", lambda *_: pytest.fail("extracted again"))
    assert read_table(file).root == first.root
    monkeypatch.undo()
    monkeypatch.setenv("TELLAPART_CACHE_DIR", str(tmp_path / "fresh-cache"))
    other = make_zip(tmp_path / "x.zip", {**GOOD, "a/3.jpg": b"new"})
    assert len(read_table(other)) == 5


@pytest.mark.parametrize(
    "name",
    ["../evil.jpg", "a/../../evil.jpg", "/evil.jpg", "..\\evil.jpg", "C:/evil.jpg", "a\\..\\..\\e"],
)
def test_members_that_would_leave_the_folder(tmp_path: Path, name: str) -> None:
    text = refused(make_zip(tmp_path / "x.zip", {**GOOD, name: b"evil"}), tmp_path)
    assert "is refused: its member" in text
    assert "outside the archive's folder" in text


def test_backslashes_of_windows_programs_are_folders(tmp_path: Path) -> None:
    members = {name.replace("/", "\\"): content for name, content in GOOD.items()}
    assert read_table(make_zip(tmp_path / "x.zip", members)).paths == tuple(sorted(GOOD))


def test_links_are_refused(tmp_path: Path) -> None:
    file = make_zip(tmp_path / "x.zip", GOOD)
    link = zipfile.ZipInfo("a/passwords.jpg")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(file, "a") as opened:
        opened.writestr(link, "/etc/passwd")
    assert "'a/passwords.jpg' is a link" in refused(file, tmp_path)


def test_bomb(tmp_path: Path) -> None:
    zeros = bytes(150 * 2**20)
    members = {**GOOD, "a/bomb1.jpg": zeros, "a/bomb2.jpg": zeros}
    text = refused(make_zip(tmp_path / "x.zip", members, zipfile.ZIP_DEFLATED), tmp_path)
    assert "would grow to 300 MB, which no archive of photos does" in text


def test_total_size_and_number_of_files_are_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = make_zip(tmp_path / "x.zip", GOOD)
    monkeypatch.setattr(archives, "MAXIMUM_BYTES", 11)
    assert "more than 0 GB; extract it yourself" in refused(file, tmp_path)
    monkeypatch.setattr(archives, "MAXIMUM_MEMBERS", 3)
    assert "holds 4 files, more than 3" in refused(file, tmp_path)


def test_member_that_lies_about_its_size(tmp_path: Path) -> None:
    """A directory that declares 3 bytes for a member of 1,000: no more than 3 are written."""
    file = make_zip(tmp_path / "x.zip", {**GOOD, "a/liar.jpg": bytes(1000)}, zipfile.ZIP_DEFLATED)
    content = bytearray(file.read_bytes())
    at = content.rfind(b"PK\x01\x02", 0, content.rfind(b"a/liar.jpg"))
    assert struct.unpack_from("<I", content, at + 24)[0] == 1000
    struct.pack_into("<I", content, at + 24, 3)
    file.write_bytes(content)
    assert "is not a zip that can be read (Bad CRC-32" in refused(file, tmp_path)


def test_the_same_name_twice(tmp_path: Path) -> None:
    file = make_zip(tmp_path / "x.zip", GOOD)
    with zipfile.ZipFile(file, "a") as opened, pytest.warns(UserWarning, match="Duplicate name"):
        opened.writestr("a/1.jpg", "other")
    assert "holds 'a/1.jpg' twice" in refused(file, tmp_path)


@pytest.mark.parametrize("damage", ["no zip", "cut off", "changed", "encrypted"])
def test_damaged(tmp_path: Path, damage: str) -> None:
    file = make_zip(tmp_path / "x.zip", GOOD)
    content = bytearray(file.read_bytes())
    if damage == "no zip":
        content = bytearray(b"hello")
    elif damage == "cut off":
        content = content[: len(content) // 2]
    elif damage == "changed":
        content[content.index(b"a 1")] ^= 1
    else:  # the flag in the directory
        content[content.index(b"PK\x01\x02") + 8] |= 1
    file.write_bytes(content)
    text = refused(file, tmp_path)
    assert ("is encrypted" if damage == "encrypted" else "is not a zip that can be read") in text


def test_empty_archive_is_named_in_the_message(tmp_path: Path) -> None:
    file = make_zip(tmp_path / "x.zip", {})
    with pytest.raises(DataError, match=r"x\.zip holds no images"):
        read_table(file)


def test_a_name_too_long_to_be_written(tmp_path: Path) -> None:
    file = make_zip(tmp_path / "x.zip", {**GOOD, f"a/{'x' * 300}.jpg": b"x"})
    assert "cannot be extracted into the cache: File name too long" in refused(file, tmp_path)


# --- names -----------------------------------------------------------------------------------


def renamed(file: Path, old: bytes, new: bytes, flags: int = 0) -> Path:
    """The archive with other bytes for a name of the same length, and these flags."""
    assert len(old) == len(new)
    content = bytearray(file.read_bytes().replace(old, new))
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = content.find(signature)
        while at >= 0:
            struct.pack_into("<H", content, at + offset, flags)
            at = content.find(signature, at + 4)
    file.write_bytes(content)
    return file


@pytest.mark.parametrize(
    ("raw", "flags"),
    [
        ("K\u00e4tzchen".encode(), 0),  # macOS Finder
        ("Ka\u0308tzchen".encode(), 0),  # the same, with the accent as a character of its own
        ("K\u00e4tzchen".encode(), 0x800),  # as the standard has it
        (b"K\x84tzchen", 0),  # code page 437, old Windows
    ],
)
def test_names_beyond_ascii(tmp_path: Path, raw: bytes, flags: int) -> None:
    stand_in = "X" * len(raw)
    members = {f"{stand_in}/1.jpg": b"1", f"{stand_in}/2.jpg": b"2", "dog/1.jpg": b"3"}
    file = renamed(make_zip(tmp_path / "x.zip", members), stand_in.encode(), raw, flags)
    table = read_table(file)
    assert table.classes == ("K\u00e4tzchen", "dog")
    assert [table.file(row).read_bytes() for row in range(3)] == [b"1", b"2", b"3"]


def test_a_name_in_the_extra_field_of_info_zip(tmp_path: Path) -> None:
    """APPNOTE 4.6.9: version 1, the checksum of the plain name, the name in UTF-8."""
    plain, name = b"caf_/1.jpg", "caf\u00e9/1.jpg".encode()
    member = zipfile.ZipInfo(plain.decode())
    content = struct.pack("<BI", 1, zlib.crc32(plain)) + name
    member.extra = struct.pack("<HH", 0x7075, len(content)) + content
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as opened:
        opened.writestr(member, b"1")
        opened.writestr("tea/1.jpg", b"2")
    assert read_table(tmp_path / "x.zip").classes == ("caf\u00e9", "tea")


def test_a_name_that_would_leave_is_refused_in_the_extra_field_too(tmp_path: Path) -> None:
    plain, name = b"a/9.jpg", b"../9.jpg"
    member = zipfile.ZipInfo(plain.decode())
    content = struct.pack("<BI", 1, zlib.crc32(plain)) + name
    member.extra = struct.pack("<HH", 0x7075, len(content)) + content
    file = make_zip(tmp_path / "x.zip", GOOD)
    with zipfile.ZipFile(file, "a") as opened:
        opened.writestr(member, b"evil")
    assert "outside the archive's folder" in refused(file, tmp_path)


@pytest.mark.parametrize("name", ["", ".", "./."])
def test_a_member_without_a_name_is_refused(tmp_path: Path, name: str) -> None:
    file = make_zip(tmp_path / "x.zip", GOOD)
    nameless = zipfile.ZipInfo("x")
    nameless.filename = name
    with zipfile.ZipFile(file, "a") as opened:
        opened.writestr(nameless, b"nameless")
    assert "without a name" in refused(file, tmp_path)


def test_memory_that_a_member_asks_for_and_does_not_get_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """LZMA's header names the size of a dictionary, up to 4 GB."""

    def no_memory(*_: object) -> None:
        raise MemoryError

    file = make_zip(tmp_path / "x.zip", GOOD, zipfile.ZIP_LZMA)
    monkeypatch.setattr("tellapart.data.archives.shutil.copyfileobj", no_memory)
    assert "more memory" in refused(file, tmp_path)
