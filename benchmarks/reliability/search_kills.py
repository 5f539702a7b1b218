"""Kills of a search at random moments: each may cost the candidate in progress, and nothing else.

    python benchmarks/reliability/search_kills.py FOLDER [--kills 10] [--time 60s] [--seed 0]

``tellapart train FOLDER --time TIME`` is started and killed (SIGKILL) at a random moment, again
and again. After each kill a folder that holds a run must open, predict an image, and have in its
record every candidate that the terminal had shown as finished; then ``--resume`` goes on to an end
that has the test part. Ends with 1 where one of these fails.
"""

from __future__ import annotations

import argparse
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from time import sleep

from tellapart.run import Run, open_run
from tellapart.search.budget import read_time
from tellapart.search.record import read_record

#: A line of the table of candidates.
_CANDIDATE = re.compile(r"^ {0,2}(\d+)  \S.*%")


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "tellapart", "train", *words]


def shown_trials(log: Path) -> int:
    """Candidates that the terminal showed as finished."""
    found = [_CANDIDATE.match(line) for line in log.read_text("utf-8", "replace").splitlines()]
    return max((int(match[1]) for match in found if match), default=0)


def faults_after_kill(run: Run, shown: int, image: Path) -> list[str]:
    faults = []
    record = read_record(run.path)
    kept = len(record.trials) if record is not None else 0
    # The first line is shown when its record is about to be written.
    if kept < shown - (1 if shown == 1 else 0):
        faults.append(f"{shown} candidates were shown and {kept} are kept")
    if run.predict(image)[0].prediction not in run.classes:
        faults.append("it answers nothing")
    return faults


def killed_once(folder: Path, work: Path, time: str, moment: float) -> tuple[str, list[str]]:
    run_folder, log = work / "run", work / "log.txt"
    shutil.rmtree(run_folder, ignore_errors=True)
    with log.open("w") as file:
        process = subprocess.Popen(
            command(str(folder), "--time", time, "--run", str(run_folder)),
            stdout=file, stderr=subprocess.STDOUT,
        )  # fmt: skip
        sleep(moment)
        process.send_signal(signal.SIGKILL)
        process.wait()
    shown = shown_trials(log)
    if not (run_folder / "run.json").exists():
        return f"after {moment:.1f} s: before the first answer", []
    if not (run_folder / "model.safetensors").exists():
        return f"after {moment:.1f} s: during the first answer", []
    run = open_run(run_folder, complete=False)
    image = next(folder.rglob("*.jpg"))
    # While the first answer is written there is nothing else yet.
    faults = faults_after_kill(run, shown, image) if run.status != "running" or shown else []
    before = read_record(run_folder)
    done = subprocess.run(
        command("--resume", str(run_folder), "--time", "10s"), stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    said = f"after {moment:.1f} s: {shown} candidates"
    if done.returncode:
        return said, [*faults, done.stdout.splitlines()[-1]]
    after, run = read_record(run_folder), open_run(run_folder)
    if run.status != "complete" or "test" not in run.parts:
        faults.append("resumed, it is not complete")
    earlier = before.trials if before is not None else ()
    if after is None or after.trials[: len(earlier)] != earlier:
        faults.append("resumed, it has lost a candidate")
    if leftovers := [path.name for path in work.iterdir() if path not in (run_folder, log)]:
        faults.append(f"left behind: {leftovers}")
    return said, faults


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--time", default="60s")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    random.seed(given.seed)
    bad = 0
    with tempfile.TemporaryDirectory() as place:
        for _ in range(given.kills):
            moment = random.uniform(5.0, read_time(given.time))
            said, faults = killed_once(given.folder, Path(place), given.time, moment)
            bad += bool(faults)
            print(said, *faults, sep="; ", flush=True)
    print(f"{given.kills} kills, {bad} with a fault")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
