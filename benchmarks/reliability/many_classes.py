"""Train, look at and compare runs of very many classes within 3 GB of memory.

    python benchmarks/reliability/many_classes.py --classes 200 500 1000

Made pictures, three a class. A probe and a network from scratch are trained (which draws their
reports), evaluated on the folder again and compared, each in a process of its own, whose peak of
resident memory is taken. A report must be there and be no larger than 30 MB.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from harness import (
    PROBE,
    SCRATCH,
    Bench,
    Tally,
    arguments,
    campaign_of,
    finish,
    make_data,
)

MOST_BYTES = 3 * 2**30
MOST_REPORT_BYTES = 30 * 10**6
#: Where a machine would suffer: the process is ended.
GIVEN_UP_BYTES = 8 * 2**30


def attack(bench: Bench, classes: int, found: list[dict[str, Any]]) -> Tally:
    tally = Tally()
    shutil.rmtree(bench.case / "data")
    names = [f"class-{number:04}" for number in range(classes)]
    make_data(bench.case / "data", per_class=3, classes=names)
    trainings = {"probe": PROBE, "scratch": SCRATCH}
    starts: list[tuple[str, tuple[str, ...], str]] = [
        (f"train {name}", ("train", "data", *way, "--run", f"runs/{name}"),
         f"runs/{name}/report.html")
        for name, way in trainings.items()
    ]  # fmt: skip
    starts += [
        ("inspect", ("inspect", "data", "--out", "inspection"), "inspection/report.html"),
        ("evaluate", ("evaluate", "runs/probe", "data"), ""),
        ("compare", ("compare", "runs/probe", "runs/scratch", "--out", "page"), "page"),
    ]
    for name, argv, page in starts:
        outcome = bench.start(*argv, limit_bytes=GIVEN_UP_BYTES, limit_seconds=3600.0)
        row = {
            "classes": classes, "command": name,
            "peak_gigabytes": round(outcome.peak_bytes / 2**30, 2),
            "seconds": round(outcome.seconds, 1),
        }  # fmt: skip
        found.append(row)
        print(f"  {row}", flush=True)
        story = {**row, "said": outcome.told()}
        pages = list((bench.case / page).rglob("*.html")) if page else []
        pages = [bench.case / page] if page.endswith(".html") else pages
        if outcome.stopped == "memory" or outcome.peak_bytes > MOST_BYTES:
            tally.add(name, "memory", story)
        elif outcome.code != 0:
            tally.add(name, "failed", story)
        elif page and not any(p.is_file() for p in pages):
            tally.add(name, "no report", story)
        elif any(p.stat().st_size > MOST_REPORT_BYTES for p in pages):
            tally.add(name, "report too large", story)
        else:
            tally.add(name, "right")
    return tally


def main() -> int:
    parser = arguments(__doc__ or "")
    parser.add_argument("--classes", type=int, nargs="+", default=[200, 500, 1000])
    given = parser.parse_args()
    given.cold = True  # memory is told of a process as users have it
    started = time.monotonic()
    campaign = campaign_of(given)
    found: list[dict[str, Any]] = []
    jobs: list[tuple[str, Callable[[Bench], Tally]]] = [
        (f"{number} classes", partial(attack, classes=number, found=found))
        for number in given.classes
    ]
    tally = campaign.each(jobs)
    return finish(Path(sys.argv[0]).stem, given, campaign, tally, started, measured=found)


if __name__ == "__main__":
    sys.exit(main())
