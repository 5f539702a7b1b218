"""How often the 95 % intervals cover the truth, in simulated test sets of many kinds.

    python benchmarks/coverage.py                # all cases, about 10 minutes on 2 cores
    python benchmarks/coverage.py --only grouped --sets 200

Scores are Gaussian, so the truth is known as closely as one likes: it is the value on some
hundred thousand images. ``results/coverage.json`` has, for each case and number, the share of
test sets whose interval holds it, the shares below and above, how often there was an interval,
and its mean width. docs/how-numbers-are-computed.md shows the table that ``--table`` prints.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tellapart.comparison.differences import difference_of
from tellapart.evaluation.image_groups import image_groups
from tellapart.evaluation.intervals import prediction_interval
from tellapart.evaluation.metrics import evaluate_predictions
from tellapart.evaluation.predictions import Predictions
from tellapart.number import Number

RESULT = Path(__file__).parent / "results" / "coverage.json"
NUMBERS = (
    "accuracy", "macro.precision", "macro.recall", "macro.f1", "weighted.precision",
    "weighted.f1", "roc_auc", "average_precision", "log_loss", "brier", "calibration_error",
)  # fmt: skip


@dataclass(frozen=True)
class Case:
    """One kind of test set.

    Attributes:
        images: of each set; with ``groups`` the number expected.
        separation: of the classes' scores, in standard deviations.
        sharpness: of the probabilities; 1.6 is about right at a separation of 1.8.
        shares: of the classes; empty: all alike.
        groups: 0 where each image stands alone.
        equal: groups of one size, otherwise geometric sizes.
        alike: correlation of the scores within a group.
        of_one_class: a group has one class (a patient), otherwise any (a camera).
    """

    name: str
    images: int
    classes: int = 2
    separation: float = 1.8
    sharpness: float = 1.6
    shares: tuple[float, ...] = ()
    groups: int = 0
    equal: bool = True
    alike: float = 0.0
    of_one_class: bool = True


UNGROUPED = (
    Case("400 images", 400),
    Case("500 images, 5 classes", 500, 5, 2.5),
    Case("30 images", 30),
    Case("30 images, very accurate", 30, separation=3.5),
    Case("30 images, very accurate, too sure", 30, separation=3.0, sharpness=4.0),
    Case("30 images, 5 classes", 30, 5, 2.5),
    Case("1:50, 6 rare images", 300, separation=2.5, shares=(50 / 51, 1 / 51)),
    Case("1:50, very accurate", 300, separation=4.0, shares=(50 / 51, 1 / 51)),
    Case("20 classes, 1 image each", 20, 20, 3.5),
    Case("20 classes, 2 images each", 40, 20, 3.5),
    Case("20 classes, 10 images each", 200, 20, 3.5),
    Case("50 classes, 3 images each", 150, 50, 3.0),
)
GROUPED = tuple(
    Case(
        f"{groups} groups {'of' if equal else 'of about'} {size}, alike {alike:g}"
        + ("" if one else ", 4 classes in each"),
        groups * size, 2 if one else 4, 1.8 if one else 3.0,
        groups=groups, equal=equal, alike=alike, of_one_class=one,
    )
    for groups, size in ((20, 10), (50, 10), (200, 5))
    for equal in (True, False)
    for alike in (0.2, 0.5, 1.0)
    for one in (True, False)
)  # fmt: skip


def made(case: Case, seed: int) -> Predictions:
    """A test set of this kind."""
    random = np.random.default_rng(seed)
    images, classes = case.images, case.classes
    shares = case.shares or None
    if case.groups:
        size = images / case.groups
        sizes = (
            np.full(case.groups, round(size)) if case.equal
            else random.geometric(1.0 / size, case.groups)
        )
        groups = np.repeat(np.arange(case.groups), sizes)
        images = len(groups)
        common = random.normal(size=(case.groups, classes))[groups]
        labels = random.choice(classes, case.groups if case.of_one_class else images, p=shares)
        labels = labels[groups] if case.of_one_class else labels
        scores = np.sqrt(case.alike) * common
        scores += np.sqrt(1.0 - case.alike) * random.normal(size=(images, classes))
    else:
        groups = None
        labels = random.choice(classes, images, p=shares)
        scores = random.normal(size=(images, classes))
    scores[np.arange(images), labels] += case.separation
    powers = np.exp(case.sharpness * (scores - scores.max(axis=1, keepdims=True)))
    return Predictions(
        "test", tuple(f"class {i}" for i in range(classes)), tuple(map(str, range(images))),
        labels.astype(np.int64), powers / powers.sum(axis=1, keepdims=True), groups=groups,
    )  # fmt: skip


def _numbers(predictions: Predictions, seed: int) -> dict[str, Number]:
    metrics = evaluate_predictions(predictions, seed=seed)
    found = {}
    for name in NUMBERS:
        value: Any = metrics
        for part in name.split("."):
            value = getattr(value, part)
        found[name] = value
    return found


def covered(case: Case, sets: int) -> dict[str, Any]:
    """How often each number's interval covers."""
    many = Case(
        case.name, 400_000 // case.classes, case.classes, case.separation, case.sharpness,
        case.shares,
    )  # fmt: skip
    truth = {name: number.value for name, number in _numbers(made(many, 10**6), 0).items()}
    rows = {name: {"below": 0, "above": 0, "given": 0, "width": 0.0} for name in NUMBERS}
    for seed in range(sets):
        for name, number in _numbers(made(case, seed), seed).items():
            if number.low is None:
                continue
            value, low, high = number.measured()
            if not 0.0 <= low <= value <= high:
                raise RuntimeError(f"{case.name}, seed {seed}: {name} is {number}")
            row = rows[name]
            row["given"] += 1
            row["below"] += truth[name] < low
            row["above"] += truth[name] > high
            row["width"] += high - low
    return {
        name: {
            "truth": round(truth[name] or 0.0, 4),
            "given": row["given"] / sets,
            "covered": round(1 - (row["below"] + row["above"]) / max(row["given"], 1), 4),
            "below": round(row["below"] / max(row["given"], 1), 4),
            "above": round(row["above"] / max(row["given"], 1), 4),
            "width": round(row["width"] / max(row["given"], 1), 4),
        }
        for name, row in rows.items()
    }


def paired(sets: int) -> dict[str, Any]:
    """Two runs that differ by a tenth, or not at all, on images alone and in groups of six."""
    random, found = np.random.default_rng(0), {}
    for group in (1, 6):
        for gap in (0.0, 0.1):
            inside = called = 0
            for _ in range(sets):
                common = random.normal(size=40 * 6 // group).repeat(group)
                right = []
                for limit in (1.0364, 1.0364 if gap == 0.0 else 0.6745):  # 0.85, and 0.75
                    own = random.normal(size=40 * 6 // group).repeat(group)
                    noise = random.normal(size=240)
                    right.append(0.6 * common + 0.6 * own + 0.5292 * noise < limit)
                groups = np.arange(240) // group if group > 1 else None
                difference = difference_of(right[0], right[1], image_groups(groups))
                real = difference.p_value < 0.05
                _, low, high = difference.number(0.05, real).measured()
                inside += low <= gap <= high
                called += real
            found[f"240 images, groups of {group}, difference {gap:g}"] = {
                "covered": inside / sets, "called real": called / sets,
            }  # fmt: skip
    return found


def next_images(sets: int) -> dict[str, float]:
    """How often the prediction interval holds what the next 100 images come to."""
    random, found = np.random.default_rng(0), {}
    for images, accuracy in ((50, 0.9), (100, 0.74), (400, 0.95)):
        inside = 0
        for right, following in zip(
            random.binomial(images, accuracy, sets), random.binomial(100, accuracy, sets),
            strict=True,
        ):  # fmt: skip
            low, high = prediction_interval(int(right), images, 100)
            inside += low <= following <= high
        found[f"{images} images, accuracy {accuracy:g}"] = inside / sets
    return found


def table(content: dict[str, Any]) -> str:
    """The cases as a Markdown table of coverages in percent."""
    lines = [
        "| test set | " + " | ".join(name.replace("_", " ") for name in NUMBERS) + " |",
        "| --- |" + " ---: |" * len(NUMBERS),
    ]
    for row in content["cases"]:
        shares = []
        for name in NUMBERS:
            number = row["numbers"][name]
            text = f"{100 * number['covered']:.0f}"
            shares.append("none" if number["given"] < 0.5 else text)
        lines.append(f"| {row['case']['name']} | " + " | ".join(shares) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sets", type=int, default=500, help="test sets a case (500)")
    parser.add_argument("--only", choices=("ungrouped", "grouped"), help="half of the cases")
    parser.add_argument("--table", action="store_true", help="print the stored table and end")
    parser.add_argument("--out", type=Path, default=RESULT, help="the JSON file")
    options = parser.parse_args()
    if options.table:
        print(table(json.loads(options.out.read_text("utf-8"))))
        return
    cases = {"ungrouped": UNGROUPED, "grouped": GROUPED, None: UNGROUPED + GROUPED}[options.only]
    start = time.monotonic()
    rows = []
    for case in cases:
        rows.append({"case": asdict(case), "numbers": covered(case, options.sets)})
        print(f"{case.name}: {time.monotonic() - start:.0f} s", flush=True)
    content = {
        "sets": options.sets,
        "cases": rows,
        "paired": paired(2 * options.sets),
        "next_images": next_images(10 * options.sets),
    }
    options.out.write_text(json.dumps(content, indent=1) + "\n", "utf-8")
    print(table(content))


if __name__ == "__main__":
    main()
