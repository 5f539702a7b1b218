"""The CIFAR-10 baseline of document 001 here and in Keras, in turn, on the same files.

    python benchmarks/cifar_baseline.py FOLDER --keras KERAS-ENVIRONMENT/bin/python

FOLDER holds train1 .. train5 and test, each with one folder a class. For each seed one
tellapart run with an empty cache and one Keras run (``keras_cifar_baseline.py``), each a
process of its own, with the same network, settings and early stopping. Seconds are those of
the whole process, from the image files to the test accuracy (here also the report).

Pass marks: the mean accuracies differ by no more than two standard errors of their
difference over the seeds, and an epoch and a whole process take at most half of Keras's
time. The result goes to results/cifar_baseline.json; the exit code is 1 if a mark is missed.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import Any

RESULTS = Path(__file__).parent / "results" / "cifar_baseline.json"
KERAS_SCRIPT = Path(__file__).with_name("keras_cifar_baseline.py")


def run_tellapart(folder: Path, seed: int) -> dict[str, Any]:
    """One training with nothing cached."""
    with tempfile.TemporaryDirectory() as temporary:
        started = perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", "from tellapart.cli import main; main()",
             "train", str(folder), "--recipe", "cifar-baseline-sgd", "--seed", str(seed),
             "--run", f"{temporary}/run", "--json"],
            env={**os.environ, "TELLAPART_CACHE_DIR": f"{temporary}/cache"},
            stdout=subprocess.PIPE, text=True, check=True,
        )  # fmt: skip
        seconds = perf_counter() - started
        run = Path(temporary) / "run"
        stages = json.loads((run / "run.json").read_text("utf-8"))["seconds"]
        with (run / "history.csv").open(encoding="utf-8", newline="") as file:
            history = list(csv.DictReader(file))
    losses = [float(row["validation_loss"]) for row in history]
    return {
        "seed": seed,
        "test_accuracy": json.loads(done.stdout)["test"]["accuracy"]["value"],
        "best_epoch": losses.index(min(losses)) + 1,
        "last_epoch": len(losses),
        "seconds": round(seconds, 2),
        "epoch_seconds": [float(row["seconds"]) for row in history],
        "stages": stages,
    }


def run_keras(python: Path, folder: Path, seed: int) -> dict[str, Any]:
    """One training by the script beside this one."""
    started = perf_counter()
    done = subprocess.run(
        [str(python), str(KERAS_SCRIPT), str(folder), "--seeds", str(seed)],
        stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    seconds = perf_counter() - started
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return {**result, "seconds": round(seconds, 2)}


def summary(runs: list[dict[str, Any]]) -> dict[str, float]:
    """Mean and spread of the accuracy; the median epoch; the mean process."""
    accuracies = [run["test_accuracy"] for run in runs]
    return {
        "accuracy": statistics.mean(accuracies),
        "standard_deviation": statistics.stdev(accuracies),
        "epoch_seconds": statistics.median(s for run in runs for s in run["epoch_seconds"]),
        "seconds": statistics.mean(run["seconds"] for run in runs),
        "seconds_an_epoch_in_all": sum(run["seconds"] for run in runs)
        / sum(run["last_epoch"] for run in runs),
    }


def main() -> None:
    """Run both for each seed; exit code 1 if a pass mark is missed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--keras", type=Path, required=True, help="a Python that has Keras")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args()
    ours: list[dict[str, Any]] = []
    keras: list[dict[str, Any]] = []
    for seed in options.seeds:
        ours.append(run_tellapart(options.folder, seed))
        print("tellapart", json.dumps(ours[-1]), flush=True)
        keras.append(run_keras(options.keras, options.folder, seed))
        print("keras", json.dumps(keras[-1]), flush=True)
    mine, theirs = summary(ours), summary(keras)
    variances = mine["standard_deviation"] ** 2 + theirs["standard_deviation"] ** 2
    within = abs(mine["accuracy"] - theirs["accuracy"]) <= 2 * (variances / len(ours)) ** 0.5
    ratios = {
        name: mine[name] / theirs[name]
        for name in ("epoch_seconds", "seconds_an_epoch_in_all", "seconds")
    }
    passed = within and max(ratios["epoch_seconds"], ratios["seconds"]) <= 0.5
    result = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "tellapart": mine, "keras": theirs, "ratios": ratios,
        "accuracies_agree": within, "passed": passed,
        "runs": {"tellapart": ours, "keras": keras},
    }  # fmt: skip
    RESULTS.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps({name: result[name] for name in list(result)[2:7]}, indent=1))
    sys.exit(0 if passed else 1)


if __name__ == "__main__":
    main()
