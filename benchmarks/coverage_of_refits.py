"""How often do the intervals of repeats and refits hold what they are meant to?

    python benchmarks/coverage_of_refits.py [--replicates 400] [--logistic] [--write FILE]

Populations are known here: features drawn from normal distributions of each class, of which a
classifier's true accuracy can be had to within half a point, on 10,000 more images. For each
replicate a data set is drawn, and its interval made as ``train --cross-validate 5`` makes it;
then another data set is drawn, and a classifier trained in the same way on it. Counted is how
often the interval of the first holds the accuracy of the second: of a classifier trained on as
many images as beside a fold, and of one trained on all of them. Pass mark: 93 to 97 % of the
first kind in each cell, to within two standard errors of the simulation.

The classifier is a ridge regression on the classes, solved in closed form, which is thirty times
as fast as the logistic regression of ``--logistic``; the intervals know nothing of either.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tellapart.data.folds import assign_folds, divide_rest
from tellapart.data.table import ImageTable
from tellapart.evaluation.intervals import wilson
from tellapart.recipe import ProbeSettings
from tellapart.training.procedure import refit_procedure, repeats_for
from tellapart.training.refits import Refits

STRENGTHS = (0.003, 0.03, 0.3)
LARGE = 10_000


@dataclass(frozen=True)
class Population:
    """Classes that are normal clouds; the features of real networks have such spectra."""

    classes: int
    distance: float
    features: int = 48
    spectrum: float = 0.7

    def draw(self, images: int, random: np.random.Generator) -> tuple[NDArray, NDArray]:
        """Features (1, images, features) and labels, as even over the classes as can be."""
        labels = np.arange(images) % self.classes
        centres = np.random.default_rng(5).normal(size=(self.classes, self.features))
        scales = np.arange(1, self.features + 1) ** -self.spectrum
        centres *= self.distance * scales / np.sqrt((scales**2).sum())
        noise = random.normal(size=(images, self.features)) * scales
        return (centres[labels] + noise).astype(np.float32)[None], labels.astype(np.int64)


class RidgeRefits(Refits):
    """Refits whose probes are ridge regressions on the classes."""

    def logits(self, trained: NDArray, tested: NDArray) -> dict[float, NDArray]:
        x = self.features[0, trained].astype(np.float64)
        mean, scale = x.mean(axis=0), x.std(axis=0) + 1e-9
        x = (x - mean) / scale
        held_out = (self.features[0, tested] - mean) / scale
        targets = np.eye(self.num_classes)[self.labels[trained]]
        values, vectors = np.linalg.eigh(x.T @ x)
        inner = vectors.T @ (x.T @ (targets - targets.mean(axis=0)))
        seen = held_out @ vectors
        return {
            # As probabilities, about: the loss of a strength is told on these.
            s: 4.0 * (seen @ (inner / (values[:, None] + 1.0 / s)) + targets.mean(axis=0))
            for s in self.strengths
        }


def table_of(labels: NDArray, classes: int) -> ImageTable:
    names = tuple(f"{i:05}" for i in range(len(labels)))
    parts = np.full(len(labels), "", "<U10")
    return ImageTable(Path(), names, labels, parts, tuple(map(str, range(classes))))


def true_accuracy(
    refits: Refits, trained: NDArray, choosing: NDArray, large: tuple[NDArray, NDArray]
) -> float:
    """Of a probe on ``trained`` whose strength ``choosing`` chose, on the large sample."""
    features, labels = large
    own = len(refits.labels)
    joined = type(refits)(
        np.concatenate([refits.features, features], axis=1),
        np.concatenate([refits.labels, labels]),
        refits.settings, refits.strengths, refits.num_classes,
    )  # fmt: skip
    rows = np.arange(own, own + len(labels))
    logits = joined.logits(trained, np.concatenate([choosing, rows]))
    losses = joined.losses({s: of[: len(choosing)] for s, of in logits.items()}, choosing)
    best = min(losses, key=lambda strength: losses[strength])
    return float(joined.right(logits[best][len(choosing) :], rows).mean())


def simulate(
    population: Population,
    images: int,
    replicates: int,
    seed: int,
    kind: type[Refits] = RidgeRefits,
) -> dict[str, float]:
    random = np.random.default_rng([seed, images, population.classes])
    classes, folds = population.classes, 5
    large = population.draw(LARGE, random)
    beside, on_all, naive, widths, found, fresh = [], [], [], [], [], []
    for replicate in range(replicates):
        features, labels = population.draw(images, random)
        refits = kind(features, labels, ProbeSettings(), STRENGTHS, classes)
        number = refit_procedure(
            refits, table_of(labels, classes), folds=folds, repeats=repeats_for(images),
            validation=0.15, seed=replicate,
        )  # fmt: skip
        value, low, high = number.measured()
        other_features, other_labels = population.draw(images, random)
        other = kind(other_features, other_labels, ProbeSettings(), STRENGTHS, classes)
        table = table_of(other_labels, classes)
        assigned = assign_folds(table, folds, seed=replicate)
        rest = np.flatnonzero(assigned != 1)
        chosen = divide_rest(table.select(rest), 0.15, seed=replicate)
        truth = true_accuracy(other, rest[~chosen], rest[chosen], large)
        on_everything = true_accuracy(other, np.arange(images), rest[chosen], large)
        beside.append(low <= truth <= high)
        on_all.append(low <= on_everything <= high)
        lower, upper = wilson(value * images, images)
        naive.append(lower <= truth <= upper)
        widths.append(high - low)
        found.append(value)
        fresh.append(truth)
    return {
        "classes": classes, "images": images, "accuracy": float(np.mean(fresh)),
        "spread_of_fresh": float(np.std(fresh)), "spread_of_estimate": float(np.std(found)),
        "covers": float(np.mean(beside)), "covers_on_all": float(np.mean(on_all)),
        "wilson_covers": float(np.mean(naive)), "width": float(np.mean(widths)),
    }  # fmt: skip


CELLS = tuple(
    (Population(classes, distance), images)
    for classes, distances in ((2, (0.3, 0.5, 0.8)), (5, (0.4, 0.8)))
    for distance in distances
    for images in (40, 100, 300)
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replicates", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--logistic", action="store_true")
    parser.add_argument("--write", type=Path)
    given = parser.parse_args()
    rows = []
    print("classes images accuracy  covers on_all wilson width  sd(fresh) sd(estimate)")
    for population, images in CELLS:
        row = simulate(population, images, given.replicates, given.seed,
                       Refits if given.logistic else RidgeRefits)  # fmt: skip
        rows.append(row)
        print(
            f"{row['classes']:7} {images:6} {row['accuracy']:8.3f} {row['covers']:7.3f} "
            f"{row['covers_on_all']:6.3f} {row['wilson_covers']:6.3f} {row['width']:.3f} "
            f"{row['spread_of_fresh']:.4f} {row['spread_of_estimate']:.4f}",
            flush=True,
        )
    if given.write is not None:
        given.write.write_text(json.dumps({"replicates": given.replicates, "rows": rows}, indent=1))
    margin = 2 * (0.95 * 0.05 / given.replicates) ** 0.5
    outside = [r for r in rows if not 0.93 - margin <= r["covers"] <= 0.97 + margin]
    print(f"outside 93 to 97 % beyond chance: {len(outside)} of {len(rows)}")
    raise SystemExit(bool(outside))


if __name__ == "__main__":
    main()
