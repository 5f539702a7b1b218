"""Labels that a network's answer speaks against, and images unlike their class.

Confident learning (Northcutt, Jiang, Chuang, "Confident Learning: Estimating Uncertainty in
Dataset Labels", JAIR 2021): a classifier that never saw an image's own label says what it
looks like; where it is as sure of another class as it is, on average, of images of that
class, the label is doubtful. On data whose labels are good most of these are right, and the
image is hard.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from tellapart.audit.finding import DOUBTFUL_LABEL, Finding, class_of, finding_of
from tellapart.data.table import ImageTable
from tellapart.machine import num_cores, single_threaded
from tellapart.pixels.similarity import Floats
from tellapart.wording import percent

#: Another class as probable as this is confident, however sure the classifier is elsewhere.
#: With 40 labels of Dogs vs. Cats small changed at random, features at 192 pixels, over 8 draws:
#: recall 89 % at a precision of 85 %; with averages alone 84 % at 96 %. At 128 pixels 80 % at 70 %.
_CONFIDENT = 0.9
#: On CIFAR-10 at 128 pixels, where the classifier errs on 24 %, with 1 % of the labels changed
#: at random: of what these odds leave, 2 in 5 were changed (without them 1 in 12), and they keep
#: 5 in 6 of those found. They change nothing on Dogs vs. Cats small.
_LEAST_ODDS, _ODDS_OF_ERRORS = 9.0, 200.0
_LOOK = (
    "Look at it: it may be wrong, or right and the image hard. If it is wrong, move the image to "
)
_IN_TRAIN = "its class, or leave it out with --exclude."
_ELSEWHERE = "its class; --fix leaves it in, as a score without hard images would be too good."
_FOLDS = 5
#: Inverse strength of the regularisation, for features of length 1.
_STRENGTH = 2.0
#: Classes with fewer images say too little about what their images look like.
_FEWEST = 5
_NEIGHBOURS = 5
#: Images of a class that others of it are compared with.
_MOST_COMPARED = 4096
#: Outliers lie this many times the usual spread above the median distance.
_OUTLIER_SPREADS = 2.8


def out_of_fold_probabilities(
    features: Floats,
    labels: NDArray[np.int64],
    num_classes: int,
    *,
    groups: NDArray[np.int64] | None = None,
    seed: int = 0,
) -> NDArray[np.float64]:
    """What a classifier that was fitted on the other images says of each image.

    Args:
        features: float32 (N, D), rows of length 1.
        labels: int64 (N,), 0 .. num_classes - 1.
        groups: images with one number are left out together, or a copy would give away the
            label.

    Returns:
        float64 (N, num_classes), rows sum to 1; 0 for classes that a fold did not have.
    """
    from sklearn.linear_model import LogisticRegression

    folds = _folds(labels, groups, seed)
    probabilities = np.zeros((len(labels), num_classes))

    def train_fold(fold: int) -> None:
        held, fitted = folds == fold, folds != fold
        present = np.unique(labels[fitted])
        if not held.any() or len(present) < 2:
            probabilities[held] = np.bincount(labels, minlength=num_classes) / len(labels)
            return
        model = LogisticRegression(C=_STRENGTH, max_iter=300)
        model.fit(features[fitted], labels[fitted])
        probabilities[np.ix_(held, present)] = model.predict_proba(features[held])

    # The products are small: a fold a core is up to ten times faster than all cores a product.
    with single_threaded(), ThreadPoolExecutor(num_cores()) as pool:
        list(pool.map(train_fold, range(_FOLDS)))
    return probabilities


def _folds(
    labels: NDArray[np.int64], groups: NDArray[np.int64] | None, seed: int
) -> NDArray[np.int64]:
    """Deal groups into folds, class by class, as cards are dealt: int64 (N,)."""
    groups = np.arange(len(labels)) if groups is None else groups
    names, first = np.unique(groups, return_index=True)
    order = np.random.default_rng(seed).permutation(len(names))
    order = order[np.argsort(labels[first[order]], kind="stable")]
    fold_of = np.empty(len(names), np.int64)
    fold_of[order] = np.arange(len(names)) % _FOLDS
    result: NDArray[np.int64] = fold_of[np.searchsorted(names, groups)]
    return result


def doubtful_labels(
    labels: NDArray[np.int64],
    probabilities: NDArray[np.float64],
    *,
    confident: float = _CONFIDENT,
    odds: float | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows whose label is doubtful, the clearest first, and what they look like.

    Args:
        labels: int64 (N,).
        probabilities: float64 (N, C), each row from a model that did not see it.
        confident: upper bound on what counts as sure.
        odds: times the other class must be more probable than the label; None: 200 times the
            model's error rate, and at least 9, for where a model errs often it is often wrong
            when it is sure. ``confident=1, odds=1`` is confident learning as published.

    Returns:
        Rows and suggested labels, int64 each.
    """
    num_classes = probabilities.shape[1]
    own = probabilities[np.arange(len(labels)), labels]
    counts = np.bincount(labels, minlength=num_classes)
    sums = np.bincount(labels, weights=own, minlength=num_classes)
    thresholds = np.minimum(sums / np.maximum(counts, 1), confident)
    thresholds[counts < _FEWEST] = np.inf
    sure = probabilities >= thresholds
    candidate = np.where(sure, probabilities, -1.0).argmax(axis=1)
    likeliest = probabilities.argmax(axis=1)
    wrong = sure.any(axis=1) & (candidate != labels) & (likeliest != labels)
    if odds is None:
        odds = max(_LEAST_ODDS, _ODDS_OF_ERRORS * float(np.mean(likeliest != labels)))
    wrong &= probabilities[np.arange(len(labels)), candidate] >= odds * own
    rows = np.flatnonzero(wrong)
    rows = rows[np.argsort(own[rows] - probabilities[rows, candidate[rows]], kind="stable")]
    return rows, candidate[rows]


def find_doubtful_labels(
    table: ImageTable, rows: Sequence[int], probabilities: NDArray[np.float64]
) -> list[Finding]:
    """Findings of the kind doubtful_label.

    Only those of train are to be left out: a score on validation or test without the images
    that a network finds hard would be too good, and images that have no part yet may come there.

    Args:
        rows: the rows of ``table`` that ``probabilities`` are of; all have a label.
    """
    numbers = np.asarray(rows, np.int64)
    labels = table.labels[numbers]
    found, suggested = doubtful_labels(labels, probabilities)
    findings = []
    for place, label in zip(found, suggested, strict=True):
        row, likely = int(numbers[place]), float(probabilities[place, label])
        name = table.classes[int(label)]
        in_train = str(table.parts[row]) == "train"
        findings.append(
            finding_of(
                table,
                [row],
                DOUBTFUL_LABEL,
                likely,
                f"{table.paths[row]} is labelled {class_of(table, row)} but looks like {name} "
                f"(probability {percent(likely, 0)}).",
                _LOOK + (_IN_TRAIN if in_train else _ELSEWHERE),
                exclude=[row] if in_train else [],
                suggested=name,
            )
        )
    return findings


def find_outliers(table: ImageTable, rows: Sequence[int], features: Floats) -> list[Finding]:
    """Images far from all others of their class, findings of the kind outlier.

    Args:
        rows: the rows of ``table`` that are compared.
        features: float32 (len(rows), D), rows of length 1.
    """
    numbers = np.asarray(rows, np.int64)
    distances = _distances(features, table.labels[numbers])
    usual = np.isfinite(distances)
    if not usual.any():
        return []
    middle = np.median(distances[usual])
    spread = 1.4826 * np.median(np.abs(distances[usual] - middle))
    limit = middle + _OUTLIER_SPREADS * max(float(spread), 1e-6)
    far = np.flatnonzero(usual & (distances > limit))
    return [
        finding_of(
            table,
            [int(numbers[place])],
            "outlier",
            float(distances[place]) / 2,
            f"{table.paths[numbers[place]]} is unlike every other image"
            + (f" of {name}." if (name := class_of(table, int(numbers[place]))) else "."),
            "Look whether it belongs here.",
        )
        for place in far[np.argsort(-distances[far])]
    ]


def _distances(features: Floats, labels: NDArray[np.int64]) -> Floats:
    """1 - mean cosine with the nearest images of the class; infinite in classes too small."""
    distances = np.full(len(labels), np.inf, np.float32)
    random = np.random.default_rng(0)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        if len(rows) <= 2 * _NEIGHBOURS:
            continue
        others = rows
        if len(rows) > _MOST_COMPARED:
            others = np.sort(random.choice(rows, _MOST_COMPARED, replace=False))
        for start in range(0, len(rows), 2048):
            block = rows[start : start + 2048]
            cosines = features[block] @ features[others].T
            cosines[block[:, None] == others[None, :]] = -1.0  # an image is not its own neighbour
            nearest = np.partition(cosines, -_NEIGHBOURS, axis=1)[:, -_NEIGHBOURS:]
            distances[block] = 1.0 - nearest.mean(axis=1)
    return distances
