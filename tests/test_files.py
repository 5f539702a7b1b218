"""Files appear whole or not at all, and a user is told why one cannot be written."""

from __future__ import annotations

import csv
import errno
import json
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tellapart import files
from tellapart.errors import FileError
from tellapart.files import (
    replacing,
    write_csv,
    write_json,
    write_problem,
    write_text,
)
from tellapart.leftovers import unfinished_name


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    write_text(target, "old")
    with pytest.raises(KeyboardInterrupt), replacing(target) as unfinished:
        unfinished.write_text("half")
        assert target.read_text() == "old"
        raise KeyboardInterrupt
    assert target.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        (errno.ENOSPC, "No space left on device; free some space there"),
        (errno.EROFS, "Read-only file system; choose a place that can be written"),
        (errno.EACCES, "Permission denied; choose a place that you may write to"),
    ],
)
def test_a_disk_that_takes_nothing_is_said_with_path_reason_and_remedy(
    code: int, remedy: str, tmp_path: Path
) -> None:
    target = tmp_path / "run" / "a.json"
    with (
        pytest.raises(FileError, match=f"a.json cannot be written: {remedy}"),
        replacing(target) as unfinished,
    ):
        unfinished.write_text("half")
        raise OSError(code, os.strerror(code))
    assert names(target.parent) == []


def test_a_folder_in_the_place_of_a_file_and_a_file_in_that_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(FileError, match="choose the name of a file"):
        write_text(tmp_path / "folder", "x")
    write_text(tmp_path / "file", "x")
    with pytest.raises(FileError, match=r"below.txt cannot be written: (Not a directory|File ex)"):
        write_text(tmp_path / "file" / "below.txt", "x")
    assert names(tmp_path) == ["file", "folder"]


def test_a_link_put_in_the_way_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    planted = tmp_path / ".tellapart-known.part"
    monkeypatch.setattr(files, "unfinished_name", lambda: planted.name)
    planted.symlink_to(victim)
    with pytest.raises(FileError, match="File exists"):
        write_text(tmp_path / "a.txt", "new")
    assert victim.read_text() == "precious"


def test_a_link_in_the_place_of_the_file_is_replaced_and_its_target_stays(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "a.txt").symlink_to(victim)
    write_text(tmp_path / "a.txt", "new")
    assert victim.read_text() == "precious"
    assert (tmp_path / "a.txt").read_text() == "new"


@pytest.mark.parametrize("mask", [0o022, 0o027])
def test_others_may_read_it_as_any_new_file(mask: int, tmp_path: Path) -> None:
    before = os.umask(mask)
    try:
        with replacing(tmp_path / "a") as unfinished:
            unfinished.unlink()
            unfinished.write_bytes(b"written by a library that lets only its user read")
            unfinished.chmod(0o600)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o666 & ~mask


def test_threads_that_write_one_file_do_not_meet(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    texts = [str(number) * 200_000 for number in range(4)]

    def write(text: str) -> None:
        for _ in range(5):
            write_text(target, text, durable=False)

    threads = [threading.Thread(target=write, args=(text,)) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert target.read_text() in texts
    assert names(tmp_path) == ["a.txt"]


def test_what_is_no_file_is_written_and_stays(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()))
    reader.start()
    write_text(pipe, "through")
    reader.join(timeout=10)
    assert read == ["through"]
    assert pipe.is_fifo()


def test_names_of_broken_bytes_are_written_and_read_back_from_json(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"name": "caf\udce9", "é": 1})
    assert json.loads((tmp_path / "a.json").read_text("utf-8")) == {"name": "caf\udce9", "é": 1}
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"value": float("nan")})
    assert names(tmp_path) == ["a.json"]


def test_a_table_reads_back_whatever_its_cells_hold(tmp_path: Path) -> None:
    rows = [["a\rb", 0.1], ['say "x", then\ny', 1 / 3], ["=1+1", 2.5e-300]]
    write_csv(tmp_path / "a.csv", ["name", "value"], rows)
    with (tmp_path / "a.csv").open(newline="", encoding="utf-8") as file:
        head, *read = csv.reader(file)
    assert head == ["name", "value"]
    assert [[name, float(value)] for name, value in read] == rows


def test_the_first_write_into_a_folder_removes_what_a_killed_process_left(tmp_path: Path) -> None:
    program = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from tellapart.files import replacing\n"
        "with replacing(Path(sys.argv[1]) / 'a.txt') as unfinished:\n"
        "    unfinished.write_text('half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False, timeout=60)
    assert len(names(tmp_path)) == 1
    running = tmp_path / unfinished_name()  # of this process, as another thread may have one
    running.write_text("half")
    write_text(tmp_path / "a.txt", "whole")
    assert names(tmp_path) == sorted([running.name, "a.txt"])


def test_an_error_without_a_number_is_told_in_its_own_words() -> None:
    error = OSError("8 requested and 0 written")
    assert write_problem(error, "a\x1b.npy") == (
        r"a\x1b.npy cannot be written: 8 requested and 0 written."
    )
