"""Predicting very many files: peak memory, and the same answers after being killed.

    python benchmarks/many_files.py [--files 1000000] [--few 10000] [--folder /dev/shm/many]
                                    [--json results.json]

Trains the smallest network on made pictures, and lets ``tellapart predict --out`` answer ``--few``
and ``--files`` files, hard links of 40 pictures of 32 pixels in folders of 1,000. The peak resident
size of both is told. Then the larger job is done again and killed (SIGKILL) at about a quarter, a
half and three quarters of its rows, gone on with each time, and its rows, sorted, are compared with
those of the job that was left alone, byte for byte.

Ends with 1 where the rows differ, or where the larger job takes more than 48 bytes of memory a file
above the smaller one: the pass marks.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from hashlib import sha256
from pathlib import Path

import numpy as np
from PIL import Image

PICTURES = 40
A_FOLDER = 1000
SMALLEST = (
    "model={kind: scratch, network: small_cnn}", "training.batch_size=16", "training.epochs=1",
    "data.train_folders=[]", "data.validation_folders=[]", "data.test_folders=[]",
)  # fmt: skip


def make_files(folder: Path, pictures: list[Path], count: int) -> None:
    """``count`` files, each a hard link of one of the pictures; links of one have a limit."""
    for number in range(0, count, A_FOLDER):
        place = folder / f"{number // A_FOLDER:05}"
        place.mkdir(parents=True)
        for i in range(number, min(number + A_FOLDER, count)):
            os.link(pictures[i % len(pictures)], place / f"{i:07}.png")


def predict(run: Path, folder: Path, out: Path, kill_at: int = 0) -> tuple[float, int]:
    """Seconds and peak bytes of one command; killed when ``out`` has so many bytes."""
    command = [sys.executable, "-m", "tellapart", "predict", str(run), str(folder),
               "--out", str(out), "--json"]  # fmt: skip
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while kill_at:
        if process.poll() is not None:
            raise SystemExit(f"ended with {process.returncode} before it could be killed")
        if out.is_file() and out.stat().st_size >= kill_at:
            process.send_signal(signal.SIGKILL)
            break
        time.sleep(0.05)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != (-signal.SIGKILL if kill_at else 0):
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    return time.perf_counter() - started, usage.ru_maxrss * 1024


def sorted_digest(file: Path) -> str:
    """Of all rows, sorted, by the system's sort, which needs little memory."""
    done = subprocess.run(["sort", str(file)], env={**os.environ, "LC_ALL": "C"},
                          stdout=subprocess.PIPE, check=True)  # fmt: skip
    return sha256(done.stdout).hexdigest()


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--files", type=int, default=1_000_000)
    parser.add_argument("--few", type=int, default=10_000)
    parser.add_argument("--folder", type=Path, default=Path("many-files"))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    work: Path = options.folder
    if work.exists():
        raise SystemExit(f"{work} exists; name a folder that does not")
    try:
        photos = work / "photos"
        random = np.random.default_rng(0)
        for name, lightest in (("dark", 128), ("light", 256)):
            (photos / name).mkdir(parents=True)
            for i in range(PICTURES // 2):
                pixels = random.integers(lightest - 128, lightest, (32, 32, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(photos / name / f"{i}.png")
        run = work / "run"
        # In a process of its own: a child's peak begins with what its parent has in memory.
        subprocess.run(
            [sys.executable, "-m", "tellapart", "train", str(photos), "--run", str(run),
             "--recipe", "cifar-baseline-sgd", *(w for s in SMALLEST for w in ("--set", s))],
            check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        pictures = sorted(photos.rglob("*.png"))
        found: dict[str, object] = {"files": options.files, "few": options.few}
        for count, folder in ((options.few, work / "few"), (options.files, work / "all")):
            make_files(folder, pictures, count)
            seconds, peak = predict(run, folder, work / f"{count}.csv")
            found[f"{count}"] = {"seconds": round(seconds, 1), "peak_mb": round(peak / 1e6, 1)}
            print(f"{count:>9,} files: {seconds:.0f} s, {count / seconds:.0f} a second, peak "
                  f"{peak / 1e6:.0f} MB", flush=True)  # fmt: skip
        whole, again = work / f"{options.files}.csv", work / "again.csv"
        for share in (0.25, 0.5, 0.75):
            predict(run, work / "all", again, kill_at=int(share * whole.stat().st_size))
            print(f"killed at {again.stat().st_size:,} bytes", flush=True)
        _, resumed_peak = predict(run, work / "all", again)
        same = sorted_digest(whole) == sorted_digest(again)
        found |= {"killed": 3, "same_rows": same, "resumed_peak_mb": round(resumed_peak / 1e6, 1)}
        few, many = (found[str(n)]["peak_mb"] for n in (options.few, options.files))  # type: ignore[index]
        growth = 1e6 * (many - few) / (options.files - options.few)
        found["bytes_a_file"] = round(growth, 1)
        print(f"killed three times: {'the same rows' if same else 'OTHER ROWS'}; "
              f"{growth:.0f} bytes of memory a file")  # fmt: skip
        if options.json:
            options.json.write_text(json.dumps(found, indent=1) + "\n", "utf-8")
        return 0 if same and growth < 48 else 1
    finally:
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
