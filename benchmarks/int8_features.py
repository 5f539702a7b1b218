"""What features in int8 cost in accuracy, and how much quicker they are.

    tellapart train dogs-vs-cats-small --recipe probe --run usual
    tellapart train dogs-vs-cats-small --recipe probe --set probe.precision=int8 --run int8
    python benchmarks/int8_features.py usual int8 [--json results.json]

Each run's head was fitted on its own features. Told is the accuracy of the second run less that
of the first on the same test images, a paired difference with its 95 % interval, and how many
images are answered otherwise. Then both backbones extract features of the same 128 test images in
turn; told are images for each second of processor time, which other work on the machine hardly
moves, and the ratio of neighbouring rounds: median, and 5 and 95 % of them.

Ends with 1 where int8 loses 0.2 points and more, or is not quicker: the pass mark.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from tellapart.comparison.differences import SIGNIFICANCE, difference_of
from tellapart.machine import keep_memory, num_cores, processor_name
from tellapart.pixels.decode import decode_many
from tellapart.run import Run, open_run

IMAGES, LARGEST_LOSS = 128, 0.002


def accuracy(usual: Run, int8: Run) -> dict[str, Any]:
    ours, theirs = int8.scored_predictions("test"), usual.scored_predictions("test")
    if ours.paths != theirs.paths:
        raise SystemExit("the two runs have other test images")
    right, usually = ours.predicted == ours.labels, theirs.predicted == theirs.labels
    found = difference_of(right, usually)
    return {
        "test_images": len(right),
        "accuracy": {"usual": float(usually.mean()), "int8": float(right.mean())},
        "answered_otherwise": int((ours.predicted != theirs.predicted).sum()),
        "difference": found.number(SIGNIFICANCE, found.p_value < SIGNIFICANCE).to_json(),
    }


def speed(usual: Run, int8: Run, rounds: int) -> dict[str, Any]:
    root = Path(usual.info.data.root)
    files = [root / path for path in usual.predictions("test").paths]
    some = [files[i] for i in np.linspace(0, len(files) - 1, IMAGES).astype(int)]
    classifiers = {"usual": usual.classifier("cpu"), "int8": int8.classifier("cpu")}
    rules = {each.preprocessing.resize_rule() for each in classifiers.values()}
    if len(rules) != 1:
        raise SystemExit("the two runs look at pictures of other sizes")
    pixels, _ = decode_many(some, classifiers["usual"].preprocessing)
    rates: dict[str, list[float]] = {name: [] for name in classifiers}
    for turn in range(rounds + 1):
        for name, classifier in classifiers.items():
            before = time.process_time()
            classifier.features(pixels)
            took = time.process_time() - before
            if turn:  # the first is a warm-up
                rates[name].append(len(pixels) / took)
    ratios = np.array(rates["int8"]) / np.array(rates["usual"])
    low, middle, high = np.percentile(ratios, [5, 50, 95]).round(3).tolist()
    return {
        "pixels": list(pixels.shape[1:3]),
        "rounds": rounds,
        "engines": {name: each.engine_name for name, each in classifiers.items()},
        "images_a_cpu_second": {
            name: round(float(np.median(found)), 1) for name, found in rates.items()
        },
        "ratio": {"median": middle, "5 %": low, "95 %": high},
    }


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("usual", type=Path)
    parser.add_argument("int8", type=Path)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    keep_memory()
    usual, int8 = open_run(options.usual), open_run(options.int8)
    found = {
        "machine": f"{num_cores()} cores of {processor_name()}",
        **accuracy(usual, int8),
        "speed": speed(usual, int8, options.rounds),
    }
    print(json.dumps(found, indent=1))
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    passed = found["difference"]["value"] > -LARGEST_LOSS and found["speed"]["ratio"]["median"] > 1
    print("passed" if passed else "FAILED")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
