"""The CIFAR-10 baseline of document 001 here and in Keras, in turn, on the same files.

    python benchmarks/cifar_baseline.py FOLDER --keras KERAS-ENVIRONMENT/bin/python

FOLDER holds train1 .. train5 and test, each with one folder a class. For each seed one
tellapart run with an empty cache and two Keras runs (``keras_cifar_baseline.py``), each a
process of its own, with the same network, settings and early stopping. One Keras run reads the
files each epoch, as document 001 does; the other keeps the images in memory, which is
Keras at its best. Seconds are those of the whole process, from the image files to the test
accuracy (here also the report).

Pass marks: the mean accuracies differ by no more than two standard errors of their
difference over the seeds, and the whole process takes at most half of the time of Keras as
the document uses it; the ratio to Keras at its best is told beside it. The result goes to
results/cifar_baseline.json; the exit code is 1 if a mark is missed.
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
OURS, AS_DOCUMENT = "tellapart", "Keras, reading files each epoch"
#: How Keras reads the images, by the name of the runs.
READING = {AS_DOCUMENT: "files", "Keras, images kept in memory": "memory"}
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


def run_keras(python: Path, folder: Path, seed: int, reading: str) -> dict[str, Any]:
    """One training by the script beside this one."""
    started = perf_counter()
    done = subprocess.run(
        [str(python), str(KERAS_SCRIPT), str(folder), "--seeds", str(seed), "--reading", reading],
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
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in (OURS, *READING)}
    for seed in options.seeds:
        runs[OURS].append(run_tellapart(options.folder, seed))
        for name, reading in READING.items():
            runs[name].append(run_keras(options.keras, options.folder, seed, reading))
        for name, done in runs.items():
            print(name, json.dumps(done[-1]), flush=True)
    means = {name: summary(done) for name, done in runs.items()}
    mine = means[OURS]
    ratios = {
        name: {key: round(mine[key] / means[name][key], 3) for key in ("epoch_seconds", "seconds")}
        for name in READING
    }
    as_document = means[AS_DOCUMENT]
    variances = mine["standard_deviation"] ** 2 + as_document["standard_deviation"] ** 2
    difference = abs(mine["accuracy"] - as_document["accuracy"])
    within = difference <= 2 * (variances / len(options.seeds)) ** 0.5
    passed = within and ratios[AS_DOCUMENT]["seconds"] <= 0.5
    result = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "means": means, "ratios": ratios,
        "accuracies_agree": within, "passed": passed, "runs": runs,
    }  # fmt: skip
    RESULTS.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps({name: result[name] for name in list(result)[2:6]}, indent=1))
    sys.exit(0 if passed else 1)


if __name__ == "__main__":
    main()
