"""Do the promises of ``tellapart decide`` hold as often as they say? Resplits of stored answers.

    python benchmarks/promises.py RUN [RUN ...] [--splits 1000] [--json results.json]

What a run said of its validation and test images, at its own probabilities, is pooled, and so many
times validation images are drawn from it, half as many as there are:

- with replacement: then the share of wrong answers in the whole pool is what the promise is about,
  and it is known. The promise is broken where that share is above it, which may happen in 5 %.
- without: then the other half is measured, as a user would measure the test part. Such a share is
  above a promise that is kept exactly in half of the splits, by chance alone.

Told are, for several promises, in how many draws one could be made, those two counts, what share
was answered, and how often sets held the true class. Beside it stands MAPIE's
``BinaryClassificationController`` (risk "precision" of "the answer is right", Holm's correction
over its 100 thresholds), if it is installed.

Ends with 1 where more than 5 % of the promises that were made are broken, and 3 standard errors
more, or sets hold the truth less often than promised by more than 3: the pass marks.
"""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tellapart.evaluation.abstaining import abstain_up_to
from tellapart.evaluation.class_sets import ClassSets, least_probability
from tellapart.run import open_run

WRONG = (0.01, 0.02, 0.05, 0.1)
COVERAGES = (0.9, 0.95)
SURE = 0.95


def pooled(run: Path) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Probabilities and labels of the run's validation and test images."""
    opened = open_run(run)
    parts = [opened.scored_predictions(part) for part in ("validation", "test")
             if part in opened.parts]  # fmt: skip
    known = [part.select(part.labelled) for part in parts]
    return (np.concatenate([p.probabilities for p in known]),
            np.concatenate([p.labels for p in known]))  # fmt: skip


def by_mapie(
    confidence: NDArray[np.float64], right: NDArray[np.bool_], wrong: float
) -> float | None:
    """The threshold that MAPIE gives; None: none."""
    from mapie.risk_control import BinaryClassificationController

    controller = BinaryClassificationController(
        lambda scores: np.column_stack([1 - scores, scores]), "precision", 1 - wrong,
        confidence_level=SURE,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        controller.calibrate(confidence, right.astype(int))
    return None if controller.best_predict_param is None else float(controller.best_predict_param)


def abstaining(
    confidence: NDArray[np.float64], right: NDArray[np.bool_], wrong: float, splits: int, way: str
) -> dict[str, float]:
    random = np.random.default_rng(0)
    images = len(right)

    def chosen(rows: NDArray[np.int64]) -> NDArray[np.bool_] | None:
        """Which of all images are answered, by these validation images; None: no promise."""
        if way == "mapie":
            least = by_mapie(confidence[rows], right[rows], wrong)
            return None if least is None else confidence >= least
        above = abstain_up_to(confidence[rows], right[rows], wrong, sure=SURE)
        return None if above is None else confidence > above

    made = broken = made_by_halves = above = 0
    answered = []
    for _ in range(splits):
        given = chosen(random.integers(0, images, images // 2))
        if given is not None:
            made += 1
            answered.append(float(given.mean()))
            broken += float((given & ~right).sum()) > wrong * float(given.sum())
        order = random.permutation(images)
        given = chosen(order[: images // 2])
        if given is not None:
            made_by_halves += 1
            rest = order[images // 2 :]
            above += float((given & ~right)[rest].sum()) > wrong * float(given[rest].sum())
    return {
        "made": made, "broken": broken, "made_by_halves": made_by_halves, "above": above,
        "answered": round(float(np.mean(answered)), 4) if made else 0.0,
    }  # fmt: skip


def sets(
    probabilities: NDArray[np.float64], labels: NDArray[np.int64], coverage: float, splits: int
) -> dict[str, float]:
    random = np.random.default_rng(0)
    held, sizes = [], []
    for _ in range(splits):
        order = random.permutation(len(labels))
        choose, rest = order[: len(order) // 2], order[len(order) // 2 :]
        least = least_probability(probabilities[choose, labels[choose]], coverage)
        if least is None:
            continue
        members = ClassSets(least, coverage).members(
            probabilities[rest], probabilities[rest].argmax(axis=1)
        )
        held.append(float(members[np.arange(len(rest)), labels[rest]].mean()))
        sizes.append(float(members.sum(axis=1).mean()))
    return {"made": len(held), "held": round(float(np.mean(held)), 5),
            "standard_error": float(np.std(held) / np.sqrt(len(held))),
            "classes": round(float(np.mean(sizes)), 3)}  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--splits", type=int, default=1000)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found, passed = {}, True
    ways = ["ours"]
    try:
        import mapie  # noqa: F401

        ways.append("mapie")
    except ImportError:
        print("mapie is not installed and left out")
    for run in options.runs:
        probabilities, labels = pooled(run)
        predicted = probabilities.argmax(axis=1)
        confidence, right = probabilities.max(axis=1), predicted == labels
        print(f"{run.name}: {len(labels):,} images, accuracy {right.mean():.2%}")
        of_run: dict[str, object] = {
            "images": len(labels), "classes": probabilities.shape[1],
            "accuracy": round(float(right.mean()), 5), "splits": options.splits,
        }  # fmt: skip
        for wrong in WRONG:
            for way in ways:
                # MAPIE's takes long; a tenth of the splits tells enough to compare.
                splits = options.splits if way == "ours" else max(1, options.splits // 10)
                told = abstaining(confidence, right, wrong, splits, way)
                of_run[f"{way} {wrong}"] = {**told, "splits": splits}
                print(
                    f"  at most {wrong:.0%} wrong, {way:>5}: made in {told['made']:,} of "
                    f"{splits:,}, broken in {told['broken']:,}; {told['answered']:.1%} answered; "
                    f"other half above it in {told['above']:,} of {told['made_by_halves']:,}"
                )
                if way == "ours":
                    chance = 3 * (0.05 * 0.95 * told["made"]) ** 0.5
                    passed &= told["broken"] <= 0.05 * told["made"] + chance
        for coverage in COVERAGES:
            told = sets(probabilities, labels, coverage, options.splits)
            of_run[f"sets {coverage}"] = told
            print(f"  sets of {coverage:.0%}: hold {told['held']:.2%}, "
                  f"{told['classes']:.2f} classes")  # fmt: skip
            passed &= told["held"] >= coverage - 3 * told["standard_error"]
        found[run.name] = of_run
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    print("passed" if passed else "FAILED")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
