"""Refits on ever more of the images, and with half of one class: what would more images buy?"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from tellapart.data.folds import assign_folds
from tellapart.data.table import ImageTable
from tellapart.evaluation.learning_curve import LearningCurve, curve_of
from tellapart.progress import SILENT, Progress
from tellapart.training.refits import Refits

#: Shares of the training images that are trained on, each within the next.
SHARES = (0.1, 0.25, 0.5, 1.0)
#: Of so many classes at most it is asked what half of their images cost, the worst first.
MOST_CLASSES = 10
#: Divisions into folds; of more images than this one alone.
_REPEATS, _MANY = 2, 10_000


def measure_growth(
    refits: Refits,
    together: ImageTable,
    *,
    folds: int = 5,
    seed: int = 0,
    progress: Progress = SILENT,
) -> LearningCurve:
    """Train on 10, 25, 50 and 100 % of the images beside each fold, and test on the fold.

    For each size the strength with the lowest log loss over all folds counts.

    Args:
        together: the table of the images with the groups that must not be torn.

    Raises:
        DataError: a class is too small for so many folds.
    """
    repeats = 1 if len(together) > _MANY else _REPEATS
    splits = []
    for repeat in range(repeats):
        assigned = assign_folds(together, folds, seed=seed + 104_729 * (repeat + 1))
        for fold in range(1, folds + 1):
            random = np.random.default_rng([seed, repeat, fold])
            rest = np.flatnonzero(assigned != fold)
            splits.append((_order(together, rest, random), np.flatnonzero(assigned == fold)))
    sizes = _sizes(refits, splits)
    classes, count = refits.num_classes, len(refits.strengths)
    losses = np.zeros((len(splits), len(sizes), count))
    right = np.zeros((len(splits), len(sizes), count))
    recalls = np.zeros((len(splits), count, classes))
    steps = len(splits) * (len(sizes) + min(classes, MOST_CLASSES))
    with progress.stage("Refitting on fewer images", steps, "refits") as stage:
        for number, (order, tested) in enumerate(splits):
            for place, share in enumerate(sizes):
                logits = refits.logits(_first(order, share), tested)
                for k, of in enumerate(logits[s] for s in sorted(logits)):
                    losses[number, place, k] = refits.losses({0.0: of}, tested)[0.0]
                    hits = refits.right(of, tested)
                    right[number, place, k] = hits.mean()
                    if place == len(sizes) - 1:
                        recalls[number, k] = _recalls(hits, refits.labels[tested], classes)
                stage.advance()
        best = losses.mean(axis=0).argmin(axis=1)
        accuracies = np.stack([right[:, place, k] for place, k in enumerate(best.tolist())], axis=1)
        whole = recalls[:, best[-1]]
        costs = _costs(refits, splits, sorted(refits.strengths)[best[-1]], whole, stage.advance)
    tested_images = float(np.mean([len(tested) for _, tested in splits]))
    return curve_of(
        [round(float(np.mean([len(_first(o, share)) for o, _ in splits]))) for share in sizes],
        accuracies,
        images=len(together),
        tested=tested_images,
        ratio=1.0 / (folds - 1),
        costs={together.classes[label]: values for label, values in costs.items()},
    )


#: Of each class its rows, group by group in random order, and where each group ends.
_Order = list[tuple[NDArray[np.int64], NDArray[np.int64]]]


def _order(together: ImageTable, rest: NDArray[np.int64], random: np.random.Generator) -> _Order:
    """The order in which images come to train; a group counts to the class of its first image."""
    groups = rest if together.groups is None else together.groups[rest]
    numbers, first, member = np.unique(groups, return_index=True, return_inverse=True)
    label_of_group = together.labels[rest[first]]
    order: _Order = []
    rank = random.permutation(len(numbers))
    by_rank = rest[np.argsort(rank[member], kind="stable")]
    rank_of = np.sort(rank[member], kind="stable")
    label_of_rank = np.zeros(len(numbers), np.int64)
    label_of_rank[rank] = label_of_group
    for label in range(len(together.classes)):
        own = label_of_rank[rank_of] == label
        ranks = rank_of[own]
        ends = np.flatnonzero(np.append(np.diff(ranks) != 0, True)) + 1 if len(ranks) else ranks
        order.append((by_rank[own], ends.astype(np.int64)))
    return order


def _first(order: _Order, share: float, thinned: int | None = None) -> NDArray[np.int64]:
    """The first rows of each class, whole groups, at least ``share`` of the class and one group.

    Args:
        thinned: the one class that ``share`` is of; the others have all of their images.
    """
    rows = []
    for label, (own, ends) in enumerate(order):
        part = share if thinned is None or label == thinned else 1.0
        if len(own):
            rows.append(own[: int(ends[np.searchsorted(ends, part * len(own))])])
    return np.sort(np.concatenate(rows))


def _sizes(refits: Refits, splits: Sequence[tuple[_Order, NDArray[np.int64]]]) -> list[float]:
    """The shares at which every class has an image in each split, no size twice."""
    found: list[float] = []
    before = 0
    for share in SHARES:
        subsets = [_first(order, share) for order, _ in splits]
        there = all(
            np.bincount(refits.labels[rows], minlength=refits.num_classes).all() for rows in subsets
        )
        size = sum(map(len, subsets))
        if there and size > before:
            found.append(share)
            before = size
    return found


def _recalls(
    hits: NDArray[np.bool_], labels: NDArray[np.int64], classes: int
) -> NDArray[np.float64]:
    """Of each class the share that is right; NaN where none was tested."""
    there = np.bincount(labels, minlength=classes)
    found = np.bincount(labels, hits, classes)
    with np.errstate(invalid="ignore"):
        shares: NDArray[np.float64] = np.where(there > 0, found / there, np.nan)
    return shares


def _costs(
    refits: Refits,
    splits: Sequence[tuple[_Order, NDArray[np.int64]]],
    strength: float,
    whole: NDArray[np.float64],
    advance: Callable[[], None],
) -> dict[int, NDArray[np.float64]]:
    """What halving each of the worst classes costs the mean over classes: (splits,) each."""
    of_class = np.nanmean(whole, axis=0)
    worst = np.argsort(of_class, kind="stable")[:MOST_CLASSES].tolist()
    alone = Refits(refits.features, refits.labels, refits.settings, (strength,), refits.num_classes)
    costs: dict[int, NDArray[np.float64]] = {}
    for label in worst:
        values = []
        for number, (order, tested) in enumerate(splits):
            rows = _first(order, 0.5, thinned=label)
            hits = refits.right(alone.logits(rows, tested)[strength], tested)
            recalls = _recalls(hits, refits.labels[tested], refits.num_classes)
            values.append(float(np.nanmean(whole[number]) - np.nanmean(recalls)))
            advance()
        costs[label] = np.array(values)
    return costs
