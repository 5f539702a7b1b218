"""Are these images like those that a classifier was trained for? All that is said about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tellapart.evaluation.intervals import proportion
from tellapart.evaluation.unknown import UnknownDetector, unit_length
from tellapart.monitoring.known import KnownImages
from tellapart.monitoring.two_sample import (
    PERMUTATIONS,
    Rows,
    apart,
    directions,
    draw,
    further_out,
    other_shares,
    p_values,
    ranks,
    tail_ranks,
    together,
    told_apart,
)
from tellapart.number import Number

#: "alike": nothing speaks against it, and a fifth of clearly foreign images would have been
#: noticed; "drifted": more than chance; "too few": neither.
Outcome = Literal["alike", "drifted", "too few"]
#: From this p on a difference is called chance; so often images of the same kind are called
#: drifted.
LEVEL = 0.05
#: So much of the level is for the shares of the classes: where they change, they mostly do plainly.
SHARES_PART = 0.2
#: A share of clearly foreign images that has to be noticed, and how often, before images are
#: called alike.
FOREIGN_SHARE, POWER = 0.2, 0.9
#: Images of a folder that are compared as a whole, a random choice of more: a difference that
#: does not show in so many is too small to matter.
MOST_COMPARED = 1000
#: Images from which on it is measured how well they are told from the validation images.
LEAST_SEPARATED = 20
#: Draws by which is found out what would have been noticed.
_TRIALS = 200


@dataclass(frozen=True)
class ClassShare:
    """How often a class is the likeliest one."""

    name: str
    asked: float
    known: float


@dataclass(frozen=True)
class Tests:
    """The p of each test; small where the images differ from the validation images.

    Attributes:
        looks: of the next two together.
        unlike: some are far from every training image.
        altogether: seen as a whole they look otherwise.
        shares: other classes are frequent.
        within: of the looks, among images of the same predicted class: other shares of the
            classes are no evidence there.
        confidence: the probabilities of the likeliest class are higher or lower; decides nothing.
    """

    looks: float
    unlike: float
    altogether: float
    shares: float
    within: float
    confidence: float

    @property
    def all(self) -> float:
        """Of looks and shares, which decides: the smaller one, after each was divided by its
        part of the level (Bonferroni's correction, weighted)."""
        return min(1.0, self.looks / (1 - SHARES_PART), self.shares / SHARES_PART)


@dataclass(frozen=True, eq=False)
class Compared:
    """Images against the validation images of a run.

    Attributes:
        images: N, how many there are.
        known: how many images of the run their looks are held against: validation images, and
            training images where these are seen as others are.
        validation: how many validation images their predicted classes are held against.
        tests: what chance says of the differences.
        outcome: by :attr:`Tests.all`, and by what would have been noticed.
        noticeable: the smallest share of clearly foreign images that is noticed nine times out of
            ten, among so many images; None: not even all of them.
        unknown: the share of images further from the training images than nearly all validation
            images are.
        expected_unknown: the share that this is among images of the same kind.
        separation: how well a new image can be told from a validation image by its looks, as the
            area under the ROC curve, from 0.5, guessing, to 1, always; by a direction chosen
            without the image in question. None: of too few images.
        classes: shares of the predicted classes, in the classes' order.
        confidence, known_confidence: mean probability of the likeliest class.
        oddness: float64 (N,), how odd each image is: 0 as the validation images in their middle,
            from 1 on as hardly any of them (see :func:`_oddness`).
        far: bool (N,), further from the training images than nearly all validation images.
        distances, known_distances: float64 (N,), (K,), from the training images, of a training
            image from the others.
    """

    images: int
    known: int
    validation: int
    tests: Tests
    outcome: Outcome
    noticeable: float | None
    unknown: Number
    expected_unknown: float
    threshold: float
    separation: float | None
    classes: tuple[ClassShare, ...]
    confidence: float
    known_confidence: float
    oddness: NDArray[np.float64]
    far: NDArray[np.bool_]
    distances: NDArray[np.float64]
    known_distances: NDArray[np.float64]

    @property
    def pictures_differ(self) -> bool:
        """Whether the images look otherwise, and not only their classes have other shares."""
        return self.outcome == "drifted" and min(self.tests.within, self.tests.unlike) <= LEVEL

    @property
    def shares_differ(self) -> bool:
        """Whether other classes are frequent."""
        return self.outcome == "drifted" and self.tests.shares <= LEVEL

    @property
    def odd_first(self) -> NDArray[np.int64]:
        """int64 (N,): the images, the oddest first."""
        order: NDArray[np.int64] = np.argsort(-self.oddness, kind="stable")
        return order

    def to_json(self) -> dict[str, Any]:
        """Plain numbers, without those of single images."""
        tests = self.tests
        return {
            "outcome": self.outcome,
            "images": self.images,
            "known_images": self.known,
            "validation_images": self.validation,
            "p": tests.all,
            "p_of": {
                "looks": tests.looks, "unlike": tests.unlike, "altogether": tests.altogether,
                "shares": tests.shares, "within_classes": tests.within,
                "confidence": tests.confidence,
            },
            "noticeable_share": self.noticeable,
            "unknown": self.unknown.to_json(),
            "unknown_expected": self.expected_unknown,
            "separation": None if self.separation is None else round(self.separation, 4),
            "confidence": {"asked": round(self.confidence, 4),
                           "validation": round(self.known_confidence, 4)},
            "classes": {
                share.name: {"asked": round(share.asked, 4), "validation": round(share.known, 4)}
                for share in self.classes
            },
        }  # fmt: skip


def compare(
    features: NDArray[np.float32],
    probabilities: NDArray[np.float64],
    detector: UnknownDetector,
    known: KnownImages,
    classes: Sequence[str],
    *,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
) -> Compared:
    """Hold images against the validation images of a run.

    Args:
        features: float32 (N, D) of the images, N > 0, as the last layer sees them.
        probabilities: float64 (N, C).
        detector: of the run, with the training images.
        known: of the run, its validation images.

    Raises:
        RunError: the features have another length than those of the run.
    """
    distances = detector.distances(features)
    known_distances = np.concatenate(
        [detector.distances(known.features), detector.own_distances()[known.trained]]
    )
    far = distances > detector.threshold
    rows = np.arange(len(features))
    if len(rows) > MOST_COMPARED:
        random = np.random.default_rng(seed)
        rows = np.sort(random.choice(rows, MOST_COMPARED, replace=False))
    looks = np.concatenate(
        [unit_length(features[rows]), known.features, detector.reference[known.trained]]
    )
    draws = draw(
        len(rows), np.zeros(len(looks), np.int64), permutations=permutations, seed=seed
    )  # fmt: skip
    coordinates = directions(draws, looks)
    away = np.concatenate([distances[rows], known_distances])
    unlike, altogether = further_out(draws, away), apart(draws, coordinates)
    validated = len(rows) + len(known)
    shares, within, confidence = _by_answers(
        looks[:validated], away[:validated],
        np.concatenate([probabilities[rows], known.probabilities]), len(rows), permutations, seed,
    )  # fmt: skip
    tests = Tests(
        looks=together(unlike, altogether),
        unlike=float(p_values(unlike)[0]),
        altogether=float(p_values(altogether)[0]),
        shares=shares,
        within=within,
        confidence=confidence,
    )
    noticeable = _noticeable(len(rows), len(known_distances))
    if tests.all <= LEVEL:
        outcome: Outcome = "drifted"
    elif noticeable is None or noticeable > FOREIGN_SHARE:
        outcome = "too few"
    else:
        outcome = "alike"
    scores = told_apart(draws, coordinates, seed=seed)
    return Compared(
        images=len(features),
        known=len(known_distances),
        validation=len(known),
        tests=tests,
        outcome=outcome,
        noticeable=noticeable,
        unknown=proportion(int(far.sum()), len(far), "there are no images"),
        expected_unknown=detector.false_alarm_rate,
        threshold=detector.threshold,
        separation=_separation(scores[: len(rows)], scores[len(rows) :]),
        classes=_shares(probabilities, known.probabilities, classes),
        confidence=float(probabilities.max(axis=1).mean()),
        known_confidence=float(known.probabilities.max(axis=1).mean()),
        oddness=_oddness(distances, known_distances, detector.threshold, scores, rows),
        far=far,
        distances=distances,
        known_distances=known_distances,
    )


def _by_answers(
    looks: Rows,
    away: NDArray[np.float64],
    said: NDArray[np.float64],
    images: int,
    permutations: int,
    seed: int,
) -> tuple[float, float, float]:
    """The p of other shares, of other looks within predicted classes, and of other confidence.

    Args:
        looks, away, said: features of unit length, distances and probabilities of the images, of
            which there are so many, and of the validation images behind them.
    """
    predicted = said.argmax(axis=1)
    freely = draw(images, np.zeros_like(predicted), permutations=permutations, seed=seed)
    within = draw(images, predicted, permutations=permutations, seed=seed)
    one_hot = np.eye(said.shape[1], dtype=np.float32)[predicted]
    confidence = ranks(said.max(axis=1))
    surer = np.abs(freely.differences(confidence - confidence.mean())[:, 0])
    return (
        float(p_values(other_shares(freely, one_hot))[0]),
        together(further_out(within, away), apart(within, directions(within, looks))),
        float(p_values(surer)[0]),
    )


@lru_cache(maxsize=64)
def _noticeable(images: int, known: int) -> float | None:
    """The smallest share of clearly foreign images that is noticed with a chance of
    :data:`POWER`; None: not even all of them.

    Clearly foreign images are further out than all others. By draws of the ranks alone; the other
    tests, which would notice them as well, are taken to know nothing, so they are noticed rather
    more often.
    """
    from scipy.stats import gamma

    random = np.random.default_rng(0)
    weights = tail_ranks(np.arange(images + known, dtype=np.float64))[:, 0]  # ascending

    def sums(foreign: int, trials: int) -> NDArray[np.float64]:
        """Weights of the images in all, of which so many are further out than all others."""
        others = np.tile(weights[: len(weights) - foreign], (trials, 1))
        chosen = random.permuted(others, axis=1)[:, : images - foreign]
        return np.asarray(chosen.sum(axis=1) + weights[len(weights) - foreign :].sum(), np.float64)

    by_chance = np.sort(sums(0, PERMUTATIONS))
    ignorant = -np.log(random.random(_TRIALS))
    critical = gamma.ppf(1 - LEVEL * (1 - SHARES_PART), 2)  # of the sum of two logarithms
    low, high = 0, images + 1  # not noticed, noticed
    while high - low > 1:
        foreign = (low + high) // 2
        above = len(by_chance) - np.searchsorted(by_chance, sums(foreign, _TRIALS))
        found = -np.log((above + 1) / (len(by_chance) + 1)) + ignorant
        if np.mean(found >= critical) >= POWER:
            high = foreign
        else:
            low = foreign
    return high / images if high <= images else None


def _shares(
    probabilities: NDArray[np.float64], known: NDArray[np.float64], classes: Sequence[str]
) -> tuple[ClassShare, ...]:
    asked = np.bincount(probabilities.argmax(axis=1), minlength=len(classes)) / len(probabilities)
    before = np.bincount(known.argmax(axis=1), minlength=len(classes)) / len(known)
    return tuple(
        ClassShare(name, float(ours), float(theirs))
        for name, ours, theirs in zip(classes, asked, before, strict=True)
    )


def _separation(scores: NDArray[np.float64], others: NDArray[np.float64]) -> float | None:
    """The chance that a score is above one of the others, ties counting half; no less than a half,
    which is what a direction without sense comes to."""
    if len(scores) < LEAST_SEPARATED:
        return None
    order = np.sort(others)
    below = np.searchsorted(order, scores, side="left")
    up_to = np.searchsorted(order, scores, side="right")
    return max(0.5, float((below + up_to).mean() / (2 * len(others))))


def _oddness(
    distances: NDArray[np.float64],
    known_distances: NDArray[np.float64],
    threshold: float,
    scores: NDArray[np.float64],
    rows: NDArray[np.int64],
) -> NDArray[np.float64]:
    """How odd each image is, float64 (N,), by what is larger: its distance from the training
    images, or how much it looks like the new images rather than the validation images.

    Both on a scale on which the validation images have their median at 0 and their highest 5 %
    from 1 on (distances: from where an image is called unknown).

    Args:
        scores: of the compared images, ``rows``, and of the validation images behind them.
    """
    odd = _scaled(distances, float(np.median(known_distances)), threshold)
    ours, theirs = scores[: len(rows)], scores[len(rows) :]
    looks = _scaled(ours, float(np.median(theirs)), float(np.quantile(theirs, 0.95)))
    odd[rows] = np.maximum(odd[rows], looks)
    return odd


def _scaled(values: NDArray[np.float64], zero: float, one: float) -> NDArray[np.float64]:
    scaled: NDArray[np.float64] = (values - zero) / max(one - zero, 1e-9)
    return scaled
