"""Occlusion: hide one place after another and see what it does to the answer.

Needs no gradient and nothing but the answers themselves (Zeiler and Fergus 2014), so it
checks what a method that looks inside the network says.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: uint8 images (N, H, W, 3) to the log-odds (N,) of the class in question.
Score = Callable[[NDArray[np.uint8]], NDArray[np.float64]]


@dataclass(frozen=True)
class Occlusion:
    """What hiding each place of one image did.

    ``heat`` is float32 (H, W), 0..1: how much the log-odds of the class fall when a place is
    hidden, 1 where they fall most; all zeros where they never fall. ``probability`` is the
    class's with nothing hidden, ``least_probability`` with the worst place hidden.
    """

    heat: NDArray[np.float32]
    probability: float
    least_probability: float


def occlusion(
    score: Score, image: NDArray[np.uint8], *, window: float = 0.22, steps: int = 12
) -> Occlusion:
    """Slide a square over an image, filled with the image's own mean colour.

    Args:
        score: the classifier's answer; called once with all steps * steps + 1 versions.
        image: uint8 (H, W, 3), prepared for the network.
        window: side of the square as a share of the image's.
        steps: places in each direction.
    """
    height, width = image.shape[:2]
    tall, wide = (max(1, round(window * side)) for side in (height, width))
    rows, columns = _starts(height, tall, steps), _starts(width, wide, steps)
    places = [(top, left) for top in rows for left in columns]
    versions = np.repeat(image[None], len(places) + 1, axis=0)
    colour = image.reshape(-1, 3).mean(axis=0).round().astype(np.uint8)
    for version, (top, left) in zip(versions[1:], places, strict=True):
        version[top : top + tall, left : left + wide] = colour
    scores = score(versions)
    falls = scores[0] - scores[1:]
    # A window says most about its middle; with equal weights its edges would be drawn.
    weight = np.outer(_triangle(tall), _triangle(wide))
    total, weights = np.zeros((height, width)), np.zeros((height, width))
    for fall, (top, left) in zip(falls.tolist(), places, strict=True):
        total[top : top + tall, left : left + wide] += fall * weight
        weights[top : top + tall, left : left + wide] += weight
    heat = np.clip(total / weights, 0, None)
    largest = heat.max()
    return Occlusion(
        (heat / largest if largest > 0 else heat).astype(np.float32),
        probability_of(float(scores[0])),
        probability_of(float(scores[1:].min())),
    )


def log_odds(probabilities: NDArray[np.float64], column: int) -> NDArray[np.float64]:
    """log(p / (1 - p)) of one class of probability rows (N, C).

    Unlike the probability itself it still moves where an answer is nearly certain.
    """
    others = np.delete(probabilities, column, axis=1).sum(axis=1)
    smallest = np.finfo(np.float64).tiny
    result: NDArray[np.float64] = np.log(np.maximum(probabilities[:, column], smallest)) - np.log(
        np.maximum(others, smallest)
    )
    return result


def probability_of(odds: float) -> float:
    """The probability that belongs to log-odds."""
    return float(1 / (1 + np.exp(-np.clip(odds, -700, 700))))


def _triangle(size: int) -> NDArray[np.float64]:
    """Weights (size,) that fall evenly from the middle to both ends, none of them 0."""
    weights: NDArray[np.float64] = 1 - np.abs(np.linspace(-1, 1, size + 2))[1:-1]
    return weights


def _starts(side: int, size: int, steps: int) -> list[int]:
    """Evenly spread first pixels of windows, so that every pixel of the side is covered."""
    number = max(steps, -(-side // size))
    spread = np.unique(np.linspace(0, side - size, number).round().astype(int))
    starts: list[int] = spread.tolist()
    return starts
