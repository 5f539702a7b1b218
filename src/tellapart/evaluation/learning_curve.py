"""What more images would buy: accuracy against the number of training images, and beyond.

The error of a classifier falls about as a power of the number of training images, towards a
rest that no images remove (Mukherjee et al. 2003, "Estimating dataset size requirements for
classifying DNA microarray data"). Four sizes do not tell the exponent, so it is set, as Hoiem et
al. (2021, "Learning curves for analysis of deep networks", section 3) do: error = rest + slope *
images ** exponent with the exponent -1/2, by weighted least squares. What other exponents that
they saw would give widens the interval.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tellapart.errors import RunError
from tellapart.evaluation.resampled import accuracy_of_procedure, mean_difference
from tellapart.files import write_json
from tellapart.number import Number, undefined
from tellapart.wording import listed, percent, shown

#: The exponent that is told, and those that widen its interval.
_EXPONENT, _OTHERS = -0.5, (-0.25, -1.0)
#: Fewer sizes leave nothing to tell a rest and a slope apart by.
_FEWEST_SIZES = 3
#: A gain that is surely below this is "hardly".
HARDLY = 0.005


@dataclass(frozen=True)
class CurvePoint:
    """Accuracy with so many training images, with its interval over subsets and splits."""

    images: int
    accuracy: Number


@dataclass(frozen=True)
class ClassCost:
    """What the mean over classes loses when half of the training images of a class are gone."""

    name: str
    cost: Number


@dataclass(frozen=True)
class LearningCurve:
    """What was measured by refits on ever more of the images.

    Attributes:
        images: all that there are.
        points: the smallest size first.
        doubled: by how much twice the images would raise the accuracy (0.01: a point); its
            value is None where that cannot be told at all.
        classes: those that were halved, the dearest first.
        lead: by how much halving the first of them costs more than halving one of the others.
        splits: divisions into training and tested images that all of it comes from.
    """

    images: int
    points: tuple[CurvePoint, ...]
    doubled: Number
    classes: tuple[ClassCost, ...]
    lead: Number
    splits: int

    @property
    def helps(self) -> bool:
        """Twice the images would surely raise the accuracy, and probably by more than hardly."""
        value, low = self.doubled.value, self.doubled.low
        return value is not None and low is not None and low > 0.0 and value >= HARDLY

    @property
    def hardly_helps(self) -> bool:
        """They would surely raise it by next to nothing."""
        return self.doubled.high is not None and self.doubled.high < HARDLY

    @property
    def next_class(self) -> str | None:
        """The class that should get the next images; None where that cannot be told."""
        if not self.classes or self.lead.low is None or self.lead.low <= 0.0:
            return None
        low = self.classes[0].cost.low
        return self.classes[0].name if low is not None and low > 0.0 else None

    def to_json(self) -> dict[str, Any]:
        """As ``learning_curve.json`` holds it."""
        return {
            "images": self.images,
            "points": [{"images": p.images, "accuracy": p.accuracy.to_json()} for p in self.points],
            "doubled": self.doubled.to_json(),
            "classes": [{"name": c.name, "cost": c.cost.to_json()} for c in self.classes],
            "lead": self.lead.to_json(),
            "splits": self.splits,
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> LearningCurve:
        """The inverse of :meth:`to_json`.

        Raises:
            KeyError, TypeError, ValueError: it is none.
        """
        return cls(
            images=int(content["images"]),
            points=tuple(
                CurvePoint(int(p["images"]), Number.from_json(p["accuracy"]))
                for p in content["points"]
            ),
            doubled=Number.from_json(content["doubled"]),
            classes=tuple(
                ClassCost(str(c["name"]), Number.from_json(c["cost"])) for c in content["classes"]
            ),
            lead=Number.from_json(content["lead"]),
            splits=int(content["splits"]),
        )


def curve_of(
    sizes: Sequence[int],
    accuracies: NDArray[np.float64],
    *,
    images: int,
    tested: float,
    ratio: float,
    costs: Mapping[str, NDArray[np.float64]],
) -> LearningCurve:
    """What refits say.

    Args:
        sizes: training images of each size, rising; the mean over the splits.
        accuracies: float64 (splits, sizes).
        images: all that there are.
        tested: images tested in a split, in the mean; ratio: over those to train on.
        costs: of each class that was halved, float64 (splits,).
    """
    points = tuple(
        CurvePoint(size, accuracy_of_procedure(accuracies[:, k], tested, ratio))
        for k, size in enumerate(sizes)
    )
    dearest = sorted(costs, key=lambda name: -float(costs[name].mean()))
    lead = undefined("there is nothing to compare")
    if len(dearest) > 1:
        others = np.mean([costs[name] for name in dearest[1:]], axis=0)
        lead = mean_difference(costs[dearest[0]] - others, ratio)
    return LearningCurve(
        images=images,
        points=points,
        doubled=gain_of_doubling(sizes, accuracies, images, ratio),
        classes=tuple(ClassCost(name, mean_difference(costs[name], ratio)) for name in dearest),
        lead=lead,
        splits=len(accuracies),
    )


def gain_of_doubling(
    sizes: Sequence[int], accuracies: NDArray[np.float64], images: int, ratio: float
) -> Number:
    """By how much twice ``images`` would raise the accuracy, from accuracies (splits, sizes).

    The gain is linear in the accuracies, so that each split has one of its own, and the interval
    is that of a mean of paired differences; over all exponents the lowest and the highest limit.
    """
    if len(sizes) < _FEWEST_SIZES:
        return undefined("there are too few images to train on ever fewer of them")
    gains = {
        exponent: mean_difference(_gains(sizes, accuracies, images, exponent), ratio)
        for exponent in (_EXPONENT, *_OTHERS)
    }
    if gains[_EXPONENT].value is None:
        return gains[_EXPONENT]
    limits = np.array([number.measured()[1:] for number in gains.values()])
    # Nothing can be more than right.
    room = 1.0 - float(accuracies[:, -1].mean())
    value, low, high = gains[_EXPONENT].measured()[0], limits[:, 0].min(), limits[:, 1].max()
    return Number(
        min(value, room), min(float(low), room), min(float(high), room), "power law of the error"
    )


def _gains(
    sizes: Sequence[int], accuracies: NDArray[np.float64], images: int, exponent: float
) -> NDArray[np.float64]:
    """Of each split what the fitted curve gains from ``images`` to twice as many, (splits,)."""
    number = np.asarray(sizes, dtype=np.float64)
    # A size counts by its images: that the law holds down to a handful is not known.
    weight = np.sqrt(number / number.max())
    design = np.stack([np.ones(len(number)), number**exponent], axis=1) * weight[:, None]
    errors = (1.0 - accuracies) * weight
    slopes = (np.linalg.pinv(design) @ errors.T)[1]
    gains: NDArray[np.float64] = slopes * (images**exponent - (2.0 * images) ** exponent)
    return gains


# --- in words -------------------------------------------------------------------------------


def sentences_of(curve: LearningCurve) -> list[str]:
    """What was measured, what twice the images would buy, and which class needs them first."""
    return [_measured(curve), doubling_sentence(curve), *_of_classes(curve)]


def doubling_sentence(curve: LearningCurve) -> str:
    """What twice the images would buy, or that it cannot be told."""
    number = curve.doubled
    if number.value is None:
        return f"What twice the images would bring cannot be told: {number.reason}."
    value, low, high = number.measured()
    if curve.helps:
        return (
            f"Twice as many images would probably bring {_points(value)} more "
            f"({_limits(low, high)})."
        )
    if curve.hardly_helps:
        return f"Twice as many images would hardly help: they would bring at most {_points(high)}."
    return (
        f"What twice as many images would bring cannot be told from these: between "
        f"{_points(low)} and {_points(high)}."
    )


def class_sentence(curve: LearningCurve) -> str:
    """Which class should get the next images; "" where that cannot be told."""
    name = curve.next_class
    if name is None:
        return ""
    value, low, high = curve.classes[0].cost.measured()
    return (
        f"The next images should be of '{shown(name)}': with half of its training images the "
        f"mean over classes falls by {_points(value)} ({_limits(low, high)}), more than with half "
        "of another's."
    )


def _measured(curve: LearningCurve) -> str:
    sizes = listed([f"{p.images:,}" for p in curve.points], last="and")
    shares = listed([percent(p.accuracy.value or 0.0) for p in curve.points], last="and")
    return f"Trained on {sizes} images, classifiers are right on {shares} of others."


def _of_classes(curve: LearningCurve) -> list[str]:
    if not curve.classes:
        return []
    told = class_sentence(curve)
    if told:
        return [told]
    value, low, high = curve.classes[0].cost.measured()
    return [
        "Which class should get the next images cannot be told: with half of the training images "
        f"of '{shown(curve.classes[0].name)}', which costs most, the mean over classes falls by "
        f"{_points(value)} ({_limits(low, high)})."
    ]


def _points(gain: float) -> str:
    text = f"{100 * gain:.1f}"
    return f"{text} point{'' if text == '1.0' else 's'}"


def _limits(low: float, high: float) -> str:
    return f"{100 * low:.1f} to {100 * high:.1f}"


# --- the file -------------------------------------------------------------------------------


def save_curve(file: Path, curve: LearningCurve) -> None:
    """Write ``learning_curve.json``, whole or not at all."""
    write_json(file, curve.to_json())


def read_curve(file: Path, content: Mapping[str, Any]) -> LearningCurve:
    """What :func:`save_curve` wrote.

    Raises:
        RunError: it is of another form.
    """
    try:
        return LearningCurve.from_json(content)
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"{file} is damaged: it lacks or has wrong {error}; train again.") from error
