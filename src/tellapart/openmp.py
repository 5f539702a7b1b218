"""How PyTorch's threads wait for each other: not long awake, where other work wants the cores."""

from __future__ import annotations

import os
import sys

#: Turns of libgomp's waiting loop, about 0.1 ms in all, before a thread goes to sleep.
_TURNS = "5000"
#: What says already how threads are to wait.
_SAID = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")


def wait_briefly() -> bool:
    """Have the threads of OpenMP sleep soon while they wait for the slowest of them.

    libgomp, with which PyTorch is built for Linux, has a thread that waits look 300,000 times
    whether the others are there. On a machine of its own they are there sooner. Beside other
    work it keeps a core from the very thread that it waits for, and a training step that
    takes 0.15 s alone took 1.25 s beside two busy processes; with this it takes 0.36 s, near its
    share, and 0.15 s alone (2 cores, ``docs/reliability.md``). No result depends on it.

    Must come before PyTorch is imported, because libgomp reads it once.

    Returns:
        Whether it was done: not where PyTorch is there already, and not where the
        environment says how threads are to wait.
    """
    if sys.platform != "linux" or "torch" in sys.modules:
        return False
    if any(name in os.environ for name in _SAID):
        return False
    os.environ["GOMP_SPINCOUNT"] = _TURNS
    return True
