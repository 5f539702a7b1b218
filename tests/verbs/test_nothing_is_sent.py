"""No verb asks the network anything, starts a process of its own, or writes into the home."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ImageFolder = Callable[..., Path]

#: Short look-ups of Python (``platform``, ``ctypes.util``) and of matplotlib (its list of fonts).
LOOKUPS = {"uname", "fc-list", "/sbin/ldconfig"}
#: matplotlib keeps that list; a person may move it with MPLCONFIGDIR.
FONTS = "fontlist"

#: Runs every command line given, and writes down what Python was asked to do.
RECORDER = """
import json, sys
started, asked = [], []

def record(event, given):
    if event.startswith(("socket.connect", "socket.getaddrinfo", "socket.gethostby",
                         "socket.sendto", "socket.sendmsg", "urllib.", "http.client")):
        asked.append([event, repr(given)[:200]])
    elif event in ("subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn",
                   "os.exec", "os.system", "os.startfile"):
        started.append(str(given[0]) if event == "subprocess.Popen" else event)

sys.addaudithook(record)
from tellapart.cli import main

codes = []
for line in json.loads(sys.argv[1]):
    sys.argv = ["tellapart", *line]
    try:
        main()
    except SystemExit as end:
        codes.append([line[0], end.code or 0])
json.dump([codes, asked, started], open({found!r}, "w"))
"""


def check(lines: list[list[str]], folder: Path) -> None:
    home, found = folder / "home", folder / "found.json"
    home.mkdir()
    env = {name: value for name, value in os.environ.items() if not name.startswith("XDG_")}
    program = RECORDER.replace("{found!r}", repr(str(found)))
    done = subprocess.run(
        [sys.executable, "-c", program, json.dumps(lines)],
        env={**env, "HOME": str(home)},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.is_file(), done.stderr
    codes, asked, started = json.loads(found.read_text("utf-8"))
    assert codes == [[line[0], 0] for line in lines], done.stderr
    assert asked == []
    assert set(started) <= LOOKUPS
    left = [file for file in home.rglob("*") if file.is_file() and FONTS not in file.name]
    assert left == []


def test_the_main_job_asks_nobody_and_leaves_nothing(
    image_folder: ImageFolder, tmp_path: Path
) -> None:
    photos = str(image_folder(per_class=30))
    check(
        [
            ["train", photos, "--recipe", "probe", "--run", "run", "--set", "data.image_size=64"],
            ["predict", "run", photos],
            ["recipes"],
            ["backbones"],
            ["subset", photos, "chosen", "--train", "5", "--validation", "2", "--test", "2"],
        ],
        tmp_path,
    )


@pytest.mark.slow
def test_the_other_verbs_ask_nobody_and_leave_nothing(
    image_folder: ImageFolder, tmp_path: Path
) -> None:
    photos = str(image_folder(per_class=30))
    short = ["--set", "training.epochs=1", "--set", "data.image_size=64"]
    check(
        [
            ["train", photos, "--recipe", "probe", "--run", "probe"],
            ["train", photos, "--recipe", "partial", "--run", "fitted", *short],
            ["evaluate", "probe", photos],
            ["compare", "probe", "fitted", "--out", "comparison.html"],
            ["explain", "probe", f"{photos}/blue"],
            ["inspect", photos, "--audit", "--out", "inspected"],
            ["imagenet", f"{photos}/blue"],
            ["ladder", photos, "--epochs", "1", "--set", "data.image_size=32"],
        ],
        tmp_path,
    )
