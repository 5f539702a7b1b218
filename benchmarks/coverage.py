"""How often the 95 % intervals cover the truth, in simulated test sets of many kinds.

    python benchmarks/coverage.py --sets 2000       # all cases, about 15 minutes of one core
    python benchmarks/coverage.py --only unseen     # no method was tuned on these
    python benchmarks/coverage.py --case "50 groups of about" --sets 2000
    python benchmarks/coverage.py --exact           # the accuracy's coverage, without chance
    python benchmarks/coverage.py --one-class       # areas of one class with 1 to 20 images

Scores are drawn, so the truth is known as closely as one likes: it is the value on some hundred
thousand images; of the digits it is the value on all of them, from which sets are drawn.
``results/coverage.json`` has, for each case and number, the share of test sets whose interval
holds it, the shares below and above, how often there was an interval, and its mean width. Cases
that were not asked for stay in it as they were; each says how many sets it was counted on.
docs/how-numbers-are-computed.md shows the tables that ``--table`` prints.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tellapart.comparison.differences import difference_of
from tellapart.evaluation.image_groups import image_groups
from tellapart.evaluation.intervals import prediction_interval, wilson
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
        scores: normal; student (t of 3 degrees of freedom); skewed (lognormal); or digits, the
            answers of a logistic regression on scikit-learn's handwritten digits.
        spread: of the logarithm of the groups' sizes, which are then lognormal; 0: see ``equal``.
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
    scores: str = "normal"
    spread: float = 0.0


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

#: So few groups that Student's quantile matters most.
FEW = tuple(
    Case(
        f"{groups} groups of 40, alike {alike:g}, 4 classes in each", groups * 40, 4, 3.0,
        groups=groups, alike=alike, of_one_class=False,
    )
    for groups in (2, 3, 4)
    for alike in (0.5, 1.0)
)  # fmt: skip

#: Kinds that no constant of a method was chosen on: other scores, other sizes of groups, and a
#: classifier's own answers.
UNSEEN = (
    Case("30 images, Student's t", 30, scores="student"),
    Case("200 images, 4 classes, Student's t", 200, 4, 2.2, scores="student"),
    Case("60 images, 1:5, skewed", 60, shares=(5 / 6, 1 / 6), scores="skewed"),
    Case("300 images, 3 classes, skewed", 300, 3, 2.0, scores="skewed"),
    Case("30 digits", 30, 10, scores="digits"),
    Case("200 digits", 200, 10, scores="digits"),
    Case("40 groups, Student's t, alike 0.5", 320, groups=40, spread=1.0, alike=0.5,
         scores="student"),
    Case("40 groups, skewed, alike 0.5, 4 classes in each", 320, 4, 2.5, groups=40, spread=1.0,
         alike=0.5, of_one_class=False, scores="skewed"),
    Case("100 groups, Student's t, alike 0.8", 600, groups=100, spread=1.0, alike=0.8,
         scores="student"),
    # Counted once, after what the cases above had shown of few images was mended.
    Case("40 images, 3 classes, Student's t", 40, 3, 2.4, scores="student"),
    Case("80 images, 1:7, skewed", 80, separation=2.0, shares=(7 / 8, 1 / 8), scores="skewed"),
    Case("150 images, 6 classes, Student's t", 150, 6, 3.0, scores="student"),
    Case("30 classes, 4 images each, skewed", 120, 30, 3.0, scores="skewed"),
)  # fmt: skip


@cache
def digits() -> Predictions:
    """1,797 handwritten digits, each answered by a model fitted on another tenth of them."""
    from sklearn.datasets import load_digits
    from sklearn.linear_model import LogisticRegression

    pixels, labels = load_digits(return_X_y=True)
    tenth = np.random.default_rng(0).permutation(len(labels)) % 10
    probabilities = np.empty((len(labels), 10))
    for number in range(10):
        model = LogisticRegression(C=0.01, max_iter=1000)
        model.fit(pixels[tenth == (number + 1) % 10], labels[tenth == (number + 1) % 10])
        probabilities[tenth == number] = model.predict_proba(pixels[tenth == number])
    return Predictions(
        "test", tuple(map(str, range(10))), tuple(map(str, range(len(labels)))),
        labels.astype(np.int64), probabilities,
    )  # fmt: skip


def drawn(case: Case, random: np.random.Generator, count: int) -> NDArray[np.float64]:
    """Scores (count, classes) of mean 0 and variance 1; Student's t has a variance of 3."""
    shape = (count, case.classes)
    if case.scores == "student":
        return random.standard_t(3, shape)
    if case.scores == "skewed":  # exp of a normal of variance 0.5
        mean, variance = np.exp(0.25), np.exp(0.5) * (np.exp(0.5) - 1)
        return (random.lognormal(0.0, np.sqrt(0.5), shape) - mean) / np.sqrt(variance)
    return random.normal(size=shape)


def made(case: Case, seed: int) -> Predictions:
    """A test set of this kind."""
    random = np.random.default_rng(seed)
    if case.scores == "digits":
        rows = random.integers(0, len(digits()), case.images)
        return Predictions(
            "test", digits().classes, tuple(map(str, range(case.images))),
            digits().labels[rows], digits().probabilities[rows],
        )  # fmt: skip
    images, classes = case.images, case.classes
    shares = case.shares or None
    if case.groups:
        size = images / case.groups
        if case.spread:
            mean = np.log(size) - case.spread**2 / 2
            sizes = np.maximum(1, np.round(random.lognormal(mean, case.spread, case.groups)))
        elif case.equal:
            sizes = np.full(case.groups, round(size))
        else:
            sizes = random.geometric(1.0 / size, case.groups)
        groups = np.repeat(np.arange(case.groups), sizes.astype(np.int64))
        images = len(groups)
        common = drawn(case, random, case.groups)[groups]
        labels = random.choice(classes, case.groups if case.of_one_class else images, p=shares)
        labels = labels[groups] if case.of_one_class else labels
        scores = np.sqrt(case.alike) * common
        scores += np.sqrt(1.0 - case.alike) * drawn(case, random, images)
    else:
        groups = None
        labels = random.choice(classes, images, p=shares)
        scores = drawn(case, random, images)
        if case.alike:  # of groups of one image, for the truth
            scores = np.sqrt(case.alike) * drawn(case, random, images)
            scores += np.sqrt(1.0 - case.alike) * drawn(case, random, images)
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
    many = replace(
        case, images=400_000 // case.classes, groups=0,
        alike=0.0 if case.scores == "normal" else case.alike,  # sums of normal ones are normal
    )  # fmt: skip
    all_images = digits() if case.scores == "digits" else made(many, 10**6)
    truth = {name: number.value for name, number in _numbers(all_images, 0).items()}
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


def one_class(sets: int) -> dict[str, Any]:
    """AUC and average precision of one class against 50 other images, normal scores.

    The true average precision is that of as many images of the class for each other one.
    """
    from scipy.stats import norm

    found = {}
    grid = np.linspace(-6.0, 10.0, 20001)
    for area in (0.76, 0.9, 0.97):
        apart = norm.ppf(area) * np.sqrt(2.0)
        density, hits, alarms = norm.pdf(grid - apart), norm.sf(grid - apart), norm.sf(grid)
        for positives in (1, 2, 3, 5, 10, 20):
            precision = positives * hits / (positives * hits + 50 * alarms)
            truth = {
                "roc_auc": area,
                "average_precision": float((precision * density).sum() / density.sum()),
            }
            labels = (np.arange(50 + positives) < positives).astype(np.int64)
            held, given = dict.fromkeys(truth, 0), dict.fromkeys(truth, 0)
            for seed in range(sets):
                scores = np.random.default_rng(seed).normal(size=len(labels)) + apart * labels
                chances = 1.0 / (1.0 + np.exp(-scores))
                names = tuple(map(str, range(len(labels))))
                row = evaluate_predictions(Predictions(
                    "test", ("other", "one"), names, labels,
                    np.stack([1.0 - chances, chances], axis=1),
                )).per_class["one"]  # fmt: skip
                for name, value in truth.items():
                    number = getattr(row, name)
                    if number.low is not None:
                        given[name] += 1
                        held[name] += number.low <= value <= number.high
            found[f"{positives} images, area {area:g}"] = {
                name: round(held[name] / given[name], 4) if given[name] else None for name in truth
            }
            print(positives, area, found[f"{positives} images, area {area:g}"], flush=True)
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


def exact(cases: list[dict[str, Any]]) -> dict[str, Any]:
    """Of ungrouped cases what Wilson's interval of the accuracy covers, from the binomial alone.

    Beside it the coverages nearest to 95 % that any interval can have which grows with the number
    of right images and fails in at most 2.5 % at either end: those hold the truth for a run of
    numbers, so their coverage is that run's chance.
    """
    from scipy.stats import binom

    found = {}
    for row in cases:
        images, truth = row["case"]["images"], row["numbers"]["accuracy"]["truth"]
        if row["case"]["groups"]:
            continue
        counts = np.arange(images + 1)
        chances = binom.pmf(counts, images, truth)
        limits = [wilson(int(count), images) for count in counts]
        held = [low <= truth <= high for low, high in limits]
        so_far = np.append(0.0, np.cumsum(chances))
        possible = [
            so_far[last + 1] - so_far[first]
            for first in counts for last in range(first, images + 1)
            if so_far[first] <= 0.025 and 1.0 - so_far[last + 1] <= 0.025
        ]  # fmt: skip
        found[row["case"]["name"]] = {
            "accuracy": truth,
            "wilson": round(float(chances[held].sum()), 4),
            "nearest possible": round(float(min(possible, key=lambda c: abs(c - 0.95))), 4),
        }
    return found


def table(rows: list[dict[str, Any]]) -> str:
    """Cases as a Markdown table of coverages in percent."""
    lines = [
        "| test set | " + " | ".join(name.replace("_", " ") for name in NUMBERS) + " |",
        "| --- |" + " ---: |" * len(NUMBERS),
    ]
    for row in rows:
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
    kinds = {"ungrouped": UNGROUPED, "grouped": GROUPED, "few": FEW, "unseen": UNSEEN}
    parser.add_argument("--only", choices=kinds, help="cases of one kind")
    parser.add_argument("--case", default="", help="cases with this in their name")
    parser.add_argument("--exact", action="store_true", help="compute the accuracy's and end")
    parser.add_argument("--one-class", action="store_true", help="areas of one small class and end")
    parser.add_argument("--table", action="store_true", help="print the stored table and end")
    parser.add_argument("--out", type=Path, default=RESULT, help="the JSON file")
    options = parser.parse_args()
    content = json.loads(options.out.read_text("utf-8")) if options.out.is_file() else {}
    if options.table:
        print(table(content["cases"]), table(content["unseen"]), sep="\n\n")
        return
    if options.exact:
        content["exact"] = exact([*content["cases"], *content["unseen"]])
        options.out.write_text(json.dumps(content, indent=1) + "\n", "utf-8")
        print(json.dumps(content["exact"], indent=1))
        return
    if options.one_class:
        content["one_class"] = one_class(options.sets)
        options.out.write_text(json.dumps(content, indent=1) + "\n", "utf-8")
        return
    start = time.monotonic()
    stored = {row["case"]["name"]: row for kind in ("cases", "unseen")
              for row in content.get(kind, ())}  # fmt: skip
    for kind, cases in kinds.items():
        for case in cases if options.only in (None, kind) else ():
            if options.case in case.name:
                numbers = covered(case, options.sets)
                row = {"case": asdict(case), "numbers": numbers, "sets": options.sets}
                stored[case.name] = row
                print(f"{case.name}: {time.monotonic() - start:.0f} s", flush=True)
    seen = [*UNGROUPED, *GROUPED, *FEW]
    content["cases"] = [stored[case.name] for case in seen if case.name in stored]
    content["unseen"] = [stored[case.name] for case in UNSEEN if case.name in stored]
    if options.only is None and not options.case:
        content["paired"] = paired(2 * options.sets)
        content["next_images"] = next_images(10 * options.sets)
    content.pop("sets", None)  # each case says its own
    options.out.write_text(json.dumps(content, indent=1) + "\n", "utf-8")
    print(table(content["cases"]), table(content["unseen"]), sep="\n\n")


if __name__ == "__main__":
    main()
