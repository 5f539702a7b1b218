"""What a training step costs alone and beside other work, by how long threads wait awake.

    python benchmarks/waiting_threads.py --rounds 5

Each measurement is a process of its own, because libgomp reads ``GOMP_SPINCOUNT`` once; the
settings take turns. ``beside``: two processes that compute without end, in a session of their
own (Linux gives sessions equal shares) or in ours. A machine that does other work as well makes
"alone" a lie.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SETTINGS = ("", "0", "1000", "5000", "10000", "100000")


def step_seconds(width: int, size: int, seconds: float) -> float:
    """Mean time of a training step of a small CNN on 32 images."""
    import torch
    from torch import nn

    from tellapart.machine import keep_memory

    keep_memory()
    torch.manual_seed(0)

    def block(i: int, o: int) -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(i, o, 3, padding=1, bias=False), nn.BatchNorm2d(o), nn.GELU()
        )

    network = nn.Sequential(
        block(3, width), nn.MaxPool2d(2), block(width, 2 * width), block(2 * width, 2 * width),
        nn.MaxPool2d(2), block(2 * width, 4 * width), block(4 * width, 4 * width),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4 * width, 2),
    ).to(memory_format=torch.channels_last)  # fmt: skip
    optimizer = torch.optim.AdamW(network.parameters())
    images = torch.randn(32, 3, size, size).to(memory_format=torch.channels_last)
    labels = torch.randint(0, 2, (32,))

    def step() -> None:
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(images), labels).backward()
        optimizer.step()

    for _ in range(3):
        step()
    steps, started = 0, time.monotonic()
    while time.monotonic() - started < seconds:
        step()
        steps += 1
    return (time.monotonic() - started) / steps


@contextmanager
def busy(number: int, own_session: bool) -> Iterator[None]:
    """So many processes that compute without end."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", "while True: sum(range(10**6))"],
            start_new_session=own_session,
        )
        for _ in range(number)
    ]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement")
    parser.add_argument("--width", type=int, default=32, help="channels of the first layer")
    parser.add_argument("--size", type=int, default=64, help="pixels a side")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--once", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.once:
        print(step_seconds(given.width, given.size, given.seconds))
        return
    found: dict[str, dict[str, list[float]]] = {}
    command = [sys.executable, __file__, "--once", "--seconds", str(given.seconds),
               "--width", str(given.width), "--size", str(given.size)]  # fmt: skip
    beside = {"alone": (0, True), "beside another session": (2, True),
              "beside our session": (2, False)}  # fmt: skip
    for name, (number, own_session) in beside.items():
        with busy(number, own_session):
            for _ in range(given.rounds):
                for turns in SETTINGS:
                    env = {k: v for k, v in os.environ.items() if k != "GOMP_SPINCOUNT"}
                    if turns:
                        env["GOMP_SPINCOUNT"] = turns
                    said = subprocess.run(command, env=env, capture_output=True, check=True)
                    times = found.setdefault(name, {}).setdefault(turns or "default", [])
                    times.append(round(float(said.stdout), 4))
        for turns, times in found[name].items():
            print(f"{name}, {turns}: {statistics.median(times):.3f} s", flush=True)
    if given.json is not None:
        given.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
