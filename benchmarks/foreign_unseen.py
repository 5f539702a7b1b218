"""Which score that a run can hold tells foreign images best, on sets that no choice was made on.

    python benchmarks/foreign.py --cifar FOLDER --pets FOLDER --scans FOLDER --keep FEATURES.npz
    python benchmarks/foreign_unseen.py FEATURES.npz

``foreign.py`` compared 22 scores, and by it Mahalanobis' distance at unit length was the
candidate. Here it and its variants are held against the nearest neighbours on other splits, with
the 1,000 training images that a run keeps. Near: six other splits of CIFAR-10 into seven known and
three foreign classes; brain scans, a class left out at a time; CIFAR-10 with 60 and 200 training
images, and 100 that validate. Far: noise, text and gradients, photographs scrambled, solar cells,
and brain scans for CIFAR-10.

Writes ``benchmarks/results/foreign_unseen.json``: of each score the share noticed where 5 % of the
validation images are called foreign, and the area under the ROC curve, by classifier and set.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

RESULTS = Path(__file__).parent / "results" / "foreign_unseen.json"
HELD_OUT = ((0, 1, 2), (3, 4, 5), (6, 7, 8), (5, 7, 9), (0, 3, 9), (1, 4, 6))
FALSE_ALARMS, REFERENCE, NEAR = 0.05, 1000, 600
FAR = ("noise", "made", "scrambled", "solar cells", "brain scans")

Rows = NDArray[np.float32]
Values = NDArray[np.float64]
#: A classifier: its name, train features and labels, validation, test, and foreign sets by name.
Case = tuple[str, Rows, NDArray[np.int64], Rows, Rows, dict[str, Rows]]

#: Directions of the training images' spread that are kept, the widest first.
MOST_DIRECTIONS = 256


@dataclass(frozen=True, eq=False)
class ClassDistance:
    """Mahalanobis distance to each class, all with one covariance, 1 for a usual training image.

    As a run could store it: float16 (C, D) means, and (D, K) directions in which the images of a
    class differ most, each times the root of 1 / ``floor`` less 1 / its variance, where ``floor``
    is the variance in every other direction.
    """

    means: Rows
    directions: Rows
    floor: float

    def by_class(self, features: Rows) -> Values:
        """Features (N, D) of unit length to distances (N, C), each row from the nearest on."""
        within, centres = features @ self.directions, self.means @ self.directions
        squares = _squares(features, self.means) / self.floor - _squares(within, centres)
        found: Values = np.sort(np.sqrt(np.clip(squares, 0.0, None) / features.shape[1]), axis=1)
        return found

    def of(self, features: Rows) -> Values:
        """float64 (N,): to the nearest class."""
        return self.by_class(features)[:, 0]


def class_distance(features: Rows, labels: NDArray[np.int64]) -> ClassDistance:
    """Of training images: features (M, D) of unit length, labels (M,). The covariance within the
    classes is shrunk as Ledoit and Wolf (2004) do; by fewer images than directions it is found in
    the space of the images."""
    classes, rows = np.unique(labels, return_inverse=True)
    counts = np.bincount(rows)
    means = np.zeros((len(classes), features.shape[1]))
    np.add.at(means, rows, features.astype(np.float64))
    means /= counts[:, None]
    spread = features - means[rows]
    images, length = spread.shape
    products = spread @ spread.T if images < length else spread.T @ spread
    shrinkage, mean_variance = _shrinkage(spread, products)
    values, vectors = np.linalg.eigh(products / images)
    kept = np.argsort(values)[::-1][: min(MOST_DIRECTIONS, images - 1, length - 1)]
    kept = kept[values[kept] > 1e-9 * max(values[-1], 1e-30)]
    directions = vectors[:, kept]
    if images < length:
        directions = spread.T @ directions / np.sqrt(images * values[kept])
    # What the directions that are not kept have of the spread is spread evenly over them.
    rest = max(float(np.trace(products)) / images - float(values[kept].sum()), 0.0)
    floor = shrinkage * mean_variance + (1.0 - shrinkage) * rest / max(length - len(kept), 1)
    floor = max(floor, 1e-9)
    variances = shrinkage * mean_variance + (1.0 - shrinkage) * values[kept]
    weights = np.sqrt(np.clip(1.0 / floor - 1.0 / np.maximum(variances, floor), 0.0, None))
    return ClassDistance(
        means.astype(np.float16).astype(np.float32),
        (directions * weights).astype(np.float16).astype(np.float32), floor,
    )  # fmt: skip


def _shrinkage(spread: Values, products: Values) -> tuple[float, float]:
    """How far a covariance is drawn to the identity times the mean variance, and that variance.

    Args:
        spread: (M, D), of mean 0; products: its Gram matrix, of images or of directions.
    """
    images, length = spread.shape
    mean = float(np.trace(products)) / images / length
    squares = float((products**2).sum()) / images**2
    fourth = float(((spread**2).sum(axis=1) ** 2).sum())
    noise = (fourth / images - squares) / (images * length)
    distance = squares / length - mean**2
    return (min(max(noise, 0.0), distance) / distance if distance > 0.0 else 1.0), mean


def _squares(rows: Rows, centres: Rows) -> Values:
    """Squared Euclidean distances, float64 (N, C)."""
    rows, centres = rows.astype(np.float64), centres.astype(np.float64)
    found: Values = (
        (rows**2).sum(axis=1)[:, None] - 2.0 * rows @ centres.T + (centres**2).sum(axis=1)
    )
    return found


def unit(rows: NDArray[Any]) -> Rows:
    lengths = np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return np.asarray(rows / lengths, np.float32)


def cases(features: dict[str, NDArray[Any]]) -> Iterator[Case]:
    """Each split in parts of 60, 20 and 20 %."""
    random = np.random.default_rng(7)
    far = {side: {kind: features[f"{kind} {side}"] for kind in FAR} for side in (96, 192)}

    def case(
        name: str, rows: Rows, labels: NDArray[np.int64], known: NDArray[np.bool_],
        others: dict[str, Rows], train: int = REFERENCE, validation: int = 10**6,
    ) -> Case:  # fmt: skip
        order = random.permutation(np.flatnonzero(known))[:3500]
        first, second = round(0.6 * len(order)), round(0.8 * len(order))
        parts = order[:first][:train], order[first:second][:validation], order[second:]
        near = rows[random.permutation(np.flatnonzero(~known))[:NEAR]]
        return (name, rows[parts[0]], labels[parts[0]], rows[parts[1]], rows[parts[2]],
                {"near": near, **others})  # fmt: skip

    cifar, labels = features["cifar"], features["cifar_labels"]
    for held_out in HELD_OUT:
        known = ~np.isin(labels, held_out)
        yield case(f"CIFAR-10 without {held_out}", cifar, labels, known, far[96])
    scans, kinds = features["scans"], features["scan_labels"]
    others = {kind: rows for kind, rows in far[192].items() if kind != "brain scans"}
    for kind in np.unique(kinds):
        yield case(f"scans without class {kind}", scans, kinds, kinds != kind, others)
    for images in (60, 200):
        known = ~np.isin(labels, (3, 5, 9))
        yield case(f"{images} training images", cifar, labels, known, far[96], images, 100)


def scores(train: Rows, labels: NDArray[np.int64]) -> dict[str, Callable[[Rows], Values]]:
    """Of features of unit length; higher is more foreign."""
    found = class_distance(train, labels)

    def neighbour(number: int) -> Callable[[Rows], Values]:
        return lambda rows: np.sqrt(
            np.sort(np.clip(2.0 - 2.0 * rows @ train.T, 0.0, None), axis=1)[:, number - 1]
        ).astype(np.float64)

    def margin(weight: float) -> Callable[[Rows], Values]:
        """Further away where the second class is hardly further than the first."""

        def score(rows: Rows) -> Values:
            distances = found.by_class(rows)
            return np.asarray(distances[:, 0] - weight * (distances[:, 1] - distances[:, 0]))

        return score

    return {
        "5 nearest (in use)": neighbour(5),
        "nearest": neighbour(1),
        "Mahalanobis, unit length": found.of,
        "with the margin to the second class": margin(1.0),
        "with half of it": margin(0.5),
    }


def standard(score: Callable[[Rows], Values], known: Rows) -> Callable[[Rows], Values]:
    """In standard deviations of validation images."""
    values = score(known)
    mean, spread = float(values.mean()), float(values.std())
    return lambda rows: (score(rows) - mean) / spread


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("features", type=Path)
    options = parser.parse_args()
    from sklearn.metrics import roc_auc_score

    table: dict[str, dict[str, Any]] = {}
    for name, train, labels, validation, test, foreign in cases(dict(np.load(options.features))):
        known = unit(validation)
        makers = scores(unit(train), labels)
        first, second = (standard(makers[score], known) for score in list(makers)[0:3:2])
        makers["5 nearest + Mahalanobis"] = lambda rows, a=first, b=second: a(rows) + b(rows)
        rank = min(int(np.ceil((len(known) + 1) * (1 - FALSE_ALARMS))), len(known))
        asked = {kind: unit(rows) for kind, rows in foreign.items()}
        for score, of in makers.items():
            threshold, usual = np.sort(of(known))[rank - 1], of(unit(test))
            row: dict[str, Any] = {"false_alarms": round(float((usual > threshold).mean()), 4)}
            for kind, rows in asked.items():
                found = of(rows)
                truth = np.repeat([0, 1], [len(usual), len(found)])
                row[kind] = {
                    "noticed": round(float((found > threshold).mean()), 4),
                    "auroc": round(float(roc_auc_score(truth, np.append(usual, found))), 4),
                }
            table.setdefault(score, {})[name] = row
        print(f"{name}: done", flush=True)
    for score, rows in table.items():
        near = [row["near"] for row in rows.values()]
        far = [row[kind]["noticed"] for row in rows.values() for kind in FAR if kind in row]
        print(
            f"{score:36s}", *(f"{row['noticed']:4.0%} ({row['auroc']:.2f})" for row in near),
            f" near {np.mean([row['noticed'] for row in near]):.1%}",
            f"({np.mean([row['auroc'] for row in near]):.3f})",
            f"far {np.mean(far):.1%}, least {min(far):.0%}, alarms",
            f"{np.mean([row['false_alarms'] for row in rows.values()]):.1%}",
        )  # fmt: skip
    RESULTS.write_text(json.dumps(table, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
