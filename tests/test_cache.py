"""The cache: whole entries or none, bounded, safe against races, kills and read-only disks."""

from __future__ import annotations

import errno
import hashlib
import multiprocessing
import os
import shutil
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest

from tellapart import cache, integrity, leftovers
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


def test_what_was_there_and_what_had_to_be_made_is_written_down(fresh_cache: Path) -> None:
    cache.entry("things", "old", _fill())
    with cache.recorded() as record:
        cache.entry("things", "old", _fill())
        cache.entry("things", "new", _fill())
        cache.entry("things", "new", _fill())
        assert cache.find("things", "none") is None
        with cache.recorded() as inner:
            cache.entry("things", "new", _fill())
    cache.entry("things", "after", _fill())
    assert record == {("things", "old"): True, ("things", "new"): False}
    assert inner == {("things", "new"): True}


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


# --- damage -----------------------------------------------------------------------------------


def _fill_many(folder: Path) -> None:
    (folder / "a" / "b").mkdir(parents=True)
    for number in range(4):
        (folder / "a" / "b" / f"{number}.jpg").write_bytes(bytes([number]) * 1000)
    (folder / "large").write_bytes(bytes(range(256)) * 80_000)  # several pieces of 8 MiB


def _zero_the_second_half(file: Path) -> None:
    """What a power cut leaves: the size is right, what was not written yet is zeros."""
    size = file.stat().st_size
    os.truncate(file, size // 2)
    os.truncate(file, size)


DAMAGE = {
    "half zeros": lambda folder: _zero_the_second_half(folder / "large"),
    "cut": lambda folder: os.truncate(folder / "large", 100),
    "one bit": lambda folder: (folder / "a/b/1.jpg").write_bytes(b"\x01" * 999 + b"\x03"),
    "a file less": lambda folder: (folder / "a/b/2.jpg").unlink(),
    "a file more": lambda folder: (folder / "a/b/9.jpg").write_bytes(b"x"),
    "list cut": lambda folder: os.truncate(folder / ".manifest", 50),
    "list changed": lambda folder: (folder / ".manifest").write_bytes(b"[]"),
    "list gone": lambda folder: (folder / ".manifest").unlink(),
}


@pytest.mark.parametrize("how", DAMAGE)
def test_a_damaged_entry_is_made_again_and_said_once(fresh_cache: Path, how: str) -> None:
    folder = cache.entry("things", "one", _fill_many)
    large = (folder / "large").read_bytes()
    DAMAGE[how](folder)
    with pytest.warns(RuntimeWarning, match=r"things/one is damaged: it is thrown away and made"):
        again = cache.entry("things", "one", _fill_many)
    assert again == folder
    assert (folder / "large").read_bytes() == large
    assert sorted(p.name for p in (folder / "a/b").iterdir()) == [f"{i}.jpg" for i in range(4)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nothing more is said
        assert cache.find("things", "one") == folder
    assert not list(fresh_cache.glob(".building*"))


def test_a_damaged_entry_is_no_sibling(fresh_cache: Path) -> None:
    good, bad = (cache.entry("things", name, _fill()) for name in ("good", "bad"))
    (bad / "content").write_bytes(b"y" * 10)
    with pytest.warns(RuntimeWarning, match="bad is damaged"):
        assert cache.siblings("things") == [good]


def test_a_copied_cache_is_read_in_full_once(fresh_cache: Path, tmp_path: Path) -> None:
    """Another place on the disk is no proof of the same content, nor of another."""
    folder = cache.entry("things", "one", _fill_many)
    moved = folder.with_name("two")
    shutil.copytree(folder, moved)
    checked = (moved / ".checked").read_text()
    assert cache.find("things", "two") == moved
    assert (moved / ".checked").read_text() != checked
    shutil.copytree(folder, folder.with_name("three"))
    _zero_the_second_half(folder.with_name("three") / "large")
    with pytest.warns(RuntimeWarning, match="three is damaged"):
        assert cache.find("things", "three") is None


def test_looking_again_does_not_read_the_content(
    fresh_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = cache.entry("things", "one", _fill_many)
    monkeypatch.setattr(integrity, "_digests", None)
    assert cache.find("things", "one") == folder


def test_a_damaged_note_is_none(fresh_cache: Path) -> None:
    cache.write_note("notes", "n", b"content")
    file = fresh_cache / "notes" / "n"
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.warns(RuntimeWarning, match="notes/n is damaged"):
        assert cache.read_note("notes", "n") is None
    assert cache.read_note("notes", "n") is None


def test_files_are_flushed_before_the_entry_appears(
    fresh_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[bool] = []
    target = fresh_cache / "things" / "one"
    monkeypatch.setattr(os, "fsync", lambda number: flushed.append(target.exists()))
    cache.entry("things", "one", _fill())
    assert flushed == [False, False]  # the file and the list


# --- two users, and none ----------------------------------------------------------------------


def test_what_one_user_makes_in_a_shared_cache_another_can_read_and_remove(
    fresh_cache: Path,
) -> None:
    fresh_cache.mkdir()
    fresh_cache.chmod(0o1777)
    folder = cache.entry("things", "one", _fill())
    assert folder.stat().st_mode & 0o777 == 0o777
    assert folder.parent.stat().st_mode & 0o777 == 0o777
    assert (folder / "content").stat().st_mode & 0o044 == 0o044


def test_a_cache_of_ones_own_can_be_read_by_others_as_umask_says(fresh_cache: Path) -> None:
    before = os.umask(0o022)
    try:
        folder = cache.entry("things", "one", _fill())
    finally:
        os.umask(before)
    assert folder.stat().st_mode & 0o777 == 0o755


def test_an_entry_that_somebody_keeps_to_himself_is_made_elsewhere(
    fresh_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = cache.entry("things", "one", _fill())

    def refuse(folder: Path) -> bool:
        if folder == theirs:
            raise PermissionError(13, "Permission denied", str(folder))
        return whole(folder)

    whole = integrity.is_whole
    monkeypatch.setattr(integrity, "is_whole", refuse)
    monkeypatch.setattr(cache, "_replaced", {})
    with pytest.warns(RuntimeWarning, match="cannot be written"):
        ours = cache.entry("things", "one", _fill(20))
    assert (ours / "content").read_bytes() == b"x" * 20
    assert ours != theirs and (theirs / "content").read_bytes() == b"x" * 10
    assert cache.entry("things", "one", _fill(99)) == ours


def test_a_cache_that_is_deleted_meanwhile_is_made_anew(fresh_cache: Path) -> None:
    tries = []

    def build(folder: Path) -> None:
        tries.append(folder)
        if len(tries) == 1:
            shutil.rmtree(fresh_cache)
        (folder / "content").write_text("made")

    assert (cache.entry("things", "one", build) / "content").read_text() == "made"
    assert len(tries) == 2


def test_an_entry_that_is_deleted_before_it_is_opened_is_made_anew(fresh_cache: Path) -> None:
    tries = []

    def opening(folder: Path) -> str:
        tries.append(folder)
        if len(tries) < 3:
            shutil.rmtree(fresh_cache)
            raise RuntimeError("a library that has its own words for a file that is gone")
        return (folder / "content").read_text()

    assert cache.opened("things", "one", _fill(3), opening) == "xxx"


def test_an_entry_some_of_whose_files_are_deleted_already_is_made_anew(fresh_cache: Path) -> None:
    """As another process's ``rm -r`` finds it in its middle."""
    tries = []

    def opening(folder: Path) -> str:
        tries.append(folder)
        if len(tries) == 1:
            (folder / "content").unlink()
        return (folder / "content").read_text()

    with pytest.warns(RuntimeWarning, match="made again"):
        assert cache.opened("things", "one", _fill(3), opening) == "xxx"


def test_what_goes_wrong_with_a_whole_entry_is_not_tried_again(fresh_cache: Path) -> None:
    tries = []

    def opening(folder: Path) -> str:
        tries.append(folder)
        raise ValueError("no such thing in it")

    with pytest.raises(ValueError, match="no such thing"):
        cache.opened("things", "one", _fill(), opening)
    assert len(tries) == 1


def test_a_cache_that_is_deleted_each_time_is_a_sentence(fresh_cache: Path) -> None:
    def opening(folder: Path) -> str:
        shutil.rmtree(fresh_cache)
        return (folder / "content").read_text()

    with pytest.raises(TellapartError, match="let nothing else delete files of the cache"):
        cache.opened("things", "one", _fill(), opening)


def test_a_cache_may_go_before_a_workspace_is_made(
    fresh_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, times = cache._new_folder, []

    def later(folder: Path, *, exist_ok: bool = False) -> None:
        times.append(folder)
        if len(times) == 1:
            shutil.rmtree(fresh_cache)
        make(folder, exist_ok=exist_ok)

    monkeypatch.setattr(cache, "_new_folder", later)
    assert cache.entry("things", "one", _fill(3)).is_dir()


def test_a_note_is_written_though_the_cache_goes_meanwhile(
    fresh_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flush, times = os.fsync, []

    def later(number: int) -> None:
        times.append(number)
        if len(times) == 1:
            shutil.rmtree(fresh_cache)
        flush(number)

    monkeypatch.setattr(os, "fsync", later)
    cache.write_note("notes", "one", b"content")
    assert cache.read_note("notes", "one") == b"content"


def test_a_file_that_lacks_outside_the_cache_is_not_taken_for_one_of_the_cache(
    fresh_cache: Path, tmp_path: Path
) -> None:
    tries = []

    def build(folder: Path) -> None:
        tries.append(folder)
        (tmp_path / "not there").read_bytes()

    with pytest.raises(FileNotFoundError, match="not there"):
        cache.entry("things", "one", build)
    assert len(tries) == 1


def test_a_full_disk_is_a_sentence(fresh_cache: Path) -> None:
    def build(folder: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(TellapartError, match=r"The disk of the cache folder .* is full"):
        cache.entry("things", "one", build)
    assert not list(fresh_cache.iterdir())


def test_a_temporary_folder_with_a_number_too_long_is_let_be(fresh_cache: Path) -> None:
    odd = fresh_cache / f".building-{leftovers.owner().rpartition('-')[0]}-{10**30}-x"
    odd.mkdir(parents=True)
    cache.entry("things", "one", _fill())
    assert odd.is_dir()
