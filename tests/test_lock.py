"""A folder is for one process at a time, and a kill leaves no lock."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tellapart.errors import RunError
from tellapart.lock import locked

HOLDER = """
import sys, time
from pathlib import Path
from tellapart.lock import locked
with locked(Path(sys.argv[1]), "held"):
    print("inside", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("unlockable", [False, True])
def test_one_at_a_time_and_a_kill_frees_it(
    tmp_path: Path, unlockable: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = HOLDER
    if unlockable:  # as folders are on NFS
        fcntl = pytest.importorskip("fcntl")
        lock = fcntl.flock

        def flock(number: int, how: int) -> None:
            import os
            import stat

            if stat.S_ISDIR(os.fstat(number).st_mode):
                raise OSError(9, "Bad file descriptor")
            lock(number, how)

        monkeypatch.setattr(fcntl, "flock", flock)
        code = (
            "import fcntl, os, stat\nlock = fcntl.flock\n"
            "def flock(number, how):\n"
            "    if stat.S_ISDIR(os.fstat(number).st_mode):\n"
            "        raise OSError(9, 'Bad file descriptor')\n"
            "    lock(number, how)\n"
            "fcntl.flock = flock\n"
        ) + HOLDER
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "inside\n"
        with pytest.raises(RunError, match="held"), locked(tmp_path, "held"):
            pass
        holder.kill()
    with (
        locked(tmp_path, "held"),
        pytest.raises(RunError, match="held"),
        locked(tmp_path, "held"),
    ):
        pass
    with locked(tmp_path, "held"):
        pass
