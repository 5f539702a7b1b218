"""The cache: whole entries or none, bounded, safe against races, kills and read-only disks."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tellapart import cache
from tellapart.errors import TellapartError


def _fill(size: int = 10) -> cache.Callable[[Path], None]:
    def build(folder: Path) -> None:
        (folder / "content").write_bytes(b"x" * size)

    return build


def _age(folder: Path, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(folder, (then, then))


def _forget_use(monkeypatch: pytest.MonkeyPatch) -> None:
    """Behave as a process that has not used any entry yet."""
    monkeypatch.setattr(cache, "_in_use", set())


def test_an_entry_is_built_once(fresh_cache: Path) -> None:
    first = cache.entry("things", "one", _fill())

    def fail(folder: Path) -> None:
        raise AssertionError("built again")

    assert cache.entry("things", "one", fail) == first
    assert first == fresh_cache / "things" / "one"
    assert (first / "content").read_bytes() == b"x" * 10


def test_a_failed_build_leaves_nothing(fresh_cache: Path) -> None:
    def fail(folder: Path) -> None:
        (folder / "half").write_text("written")
        raise KeyError("no")

    with pytest.raises(KeyError):
        cache.entry("things", "one", fail)
    assert [p for p in fresh_cache.rglob("*") if p.is_file()] == []
    assert cache.find("things", "one") is None


def test_the_slower_of_two_builders_uses_the_entry_of_the_faster(fresh_cache: Path) -> None:
    def slow(folder: Path) -> None:
        (folder / "who").write_text("slow")
        cache.entry("things", "one", lambda other: (other / "who").write_text("fast") and None)

    assert (cache.entry("things", "one", slow) / "who").read_text() == "fast"
    assert not list(fresh_cache.glob(".building*"))


def _build_in_process(number: int) -> str:
    def build(folder: Path) -> None:
        for part in range(20):
            (folder / str(part)).write_text(str(number))

    folder = cache.entry("race", "same", build)
    return "".join(sorted({(folder / str(part)).read_text() for part in range(20)}))


def test_processes_that_race_see_one_whole_entry(fresh_cache: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        seen = pool.map(_build_in_process, range(6), chunksize=1)
    assert len(set(seen)) == 1
    assert len(seen[0]) == 1


def test_what_a_killed_builder_left_is_removed(fresh_cache: Path) -> None:
    program = (
        "import os, signal\n"
        "from tellapart import cache\n"
        "def build(folder):\n"
        "    (folder / 'half').write_text('written')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "cache.entry('things', 'one', build)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=False, timeout=60)
    assert len(list(fresh_cache.glob(".building*"))) == 1
    assert cache.find("things", "one") is None
    folder = cache.entry("things", "one", _fill())
    assert not list(fresh_cache.glob(".building*"))
    assert [p.name for p in folder.iterdir() if p.name[0] != "."] == ["content"]


def test_the_least_recently_used_entry_goes_first(
    fresh_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TELLAPART_CACHE_LIMIT", "2500")
    for age, name in ((300, "b"), (400, "a")):
        _age(cache.entry("things", name, _fill(1000)), age)
    _forget_use(monkeypatch)
    assert cache.find("things", "a") is not None  # now "b" is the one longest unused
    _forget_use(monkeypatch)
    cache.entry("things", "c", _fill(1000))
    assert cache.find("things", "b") is None
    assert cache.find("things", "a") is not None
    assert cache.find("things", "c") is not None


def test_what_this_process_uses_is_never_evicted(
    fresh_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TELLAPART_CACHE_LIMIT", "1500")
    kept = cache.entry("things", "kept", _fill(1000))
    _age(kept, 1000)
    cache.entry("things", "next", _fill(1000))
    assert (kept / "content").is_file()


@pytest.mark.parametrize(
    ("text", "expected"),
    [("20GB", 20 * 10**9), ("1.5 kb", 1500), ("2GiB", 2 * 1024**3), ("7", 7), ("3M", 3 * 10**6)],
)
def test_limits(text: str, expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TELLAPART_CACHE_LIMIT", text)
    assert cache.cache_limit() == expected


def test_a_limit_that_is_no_size_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TELLAPART_CACHE_LIMIT", "plenty")
    with pytest.raises(TellapartError, match=r"TELLAPART_CACHE_LIMIT='plenty' is not a size"):
        cache.cache_limit()


def test_a_cache_that_cannot_be_written_is_replaced_for_this_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("a file where the cache folder should be")
    monkeypatch.setenv("TELLAPART_CACHE_DIR", str(blocked / "cache"))
    with pytest.warns(RuntimeWarning, match="cannot be written") as said:
        folder = cache.entry("things", "one", _fill())
        assert cache.entry("things", "one", _fill(99)) == folder
        cache.write_note("notes", "n", b"kept")
    assert len(said) == 1
    assert (folder / "content").read_bytes() == b"x" * 10
    assert cache.read_note("notes", "n") == b"kept"


def test_a_read_only_cache_is_still_read(
    fresh_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = cache.entry("things", "one", _fill())
    monkeypatch.setattr(cache, "_is_writable", lambda folder: False)
    assert cache.entry("things", "one", _fill(99)) == there


def test_notes_are_replaced_whole(fresh_cache: Path) -> None:
    assert cache.read_note("notes", "n") is None
    cache.write_note("notes", "n", b"first")
    cache.write_note("notes", "n", b"second")
    assert cache.read_note("notes", "n") == b"second"


@pytest.mark.parametrize("name", ["", "..", "a/b", ".hidden", "a\\b", "a\nb"])
def test_names_cannot_leave_the_cache(name: str) -> None:
    with pytest.raises(ValueError, match="not a name for the cache"):
        cache.find("things", name)


def test_digests(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"content")
    expected = hashlib.blake2b(b"content", digest_size=16).hexdigest()
    assert cache.bytes_digest(b"content") == cache.file_digest(file) == expected
    assert cache.text_digest("ab", "c") != cache.text_digest("a", "bc")
    assert cache.combine_digests(["1", "2"]) != cache.combine_digests(["2", "1"])
