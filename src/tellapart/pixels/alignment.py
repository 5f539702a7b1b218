"""Laying one small picture over another: moved, stretched, tilted, with some of it hidden.

Batches of pairs at once, by Gauss-Newton steps on the six numbers of an affine map together
with gain and offset of the grey values (Lucas and Kanade 1981; Baker and Matthews 2004), each
place weighted by how well it fits (Tukey's biweight), so that a stamp or a frame does not pull.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

#: Largest step of an affine number, in halves of a side.
_LARGEST_STEP = 0.15
#: Least gain that a step is divided by.
_LEAST_GAIN = 0.2
#: Residuals of this many medians have no weight.
_TUKEY = 6.0
_RIDGE = 1e-3
#: Share of the places seen in both pictures that may be hidden in one of them.
HIDDEN = 0.15


@dataclass(frozen=True)
class Agreement:
    """How well pairs agree where they overlap; float32 (P,) each.

    Attributes:
        whole: correlation over all places seen in both.
        trimmed: the same without the ``HIDDEN`` share of them that fits worst.
        overlap: share of the second picture's places that lie in the first.
    """

    whole: Floats
    trimmed: Floats
    overlap: Floats


def affine(angle: float = 0.0, across: float = 1.0, down: float = 1.0) -> Floats:
    """A map (2, 3) about the middle: turned by ``angle`` degrees, then scaled.

    >>> affine(90).round(3).tolist()
    [[0.0, -1.0, 0.0], [1.0, 0.0, 0.0]]
    """
    cos, sin = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    return np.array([[across * cos, -across * sin, 0], [down * sin, down * cos, 0]], np.float32)


def align(ones: Floats, others: Floats, maps: Floats, steps: int) -> Floats:
    """Improve the maps that lay each of ``ones`` over its picture of ``others``.

    Args:
        ones, others: grey (P, S, S).
        maps: (P, 2, 3): place (x, y) of the other, -1..1 from edge to edge, is place
            ``map @ (x, y, 1)`` of the one.
        steps: Gauss-Newton steps.

    Returns:
        float32 (P, 2, 3).
    """
    maps = maps.copy()
    x, y = _places(ones.shape[1])
    target = others.reshape(len(others), -1)
    weights = np.ones_like(target)
    for _ in range(steps):
        values, slope_x, slope_y, seen = _sampled(ones, maps)
        columns = np.stack(
            [
                values, np.ones_like(values), slope_x * x, slope_x * y, slope_x,
                slope_y * x, slope_y * y, slope_y,
            ],
            axis=1,
        )  # fmt: skip
        weighted = columns * (weights * seen)[:, None]
        normal = weighted @ columns.transpose(0, 2, 1)
        diagonal = np.einsum("pii->pi", normal)
        diagonal[:, 2:] *= 1 + _RIDGE
        diagonal += _RIDGE
        found = np.linalg.solve(normal, weighted @ target[:, :, None])[:, :, 0]
        gain = found[:, :1]
        gain = np.where(np.abs(gain) < _LEAST_GAIN, np.copysign(_LEAST_GAIN, gain), gain)
        move = np.clip(found[:, 2:] / gain, -_LARGEST_STEP, _LARGEST_STEP)
        maps += move.reshape(-1, 2, 3)
        misfit = np.abs(target - found[:, :1] * values - found[:, 1:2])
        typical = np.median(misfit, axis=1, keepdims=True) + 1.0
        weights = np.maximum(0, 1 - (misfit / (_TUKEY * typical)) ** 2) ** 2
    return maps


def agreement(ones: Floats, others: Floats, maps: Floats, margin: float = 0.0) -> Agreement:
    """How well pictures (P, S, S) agree under maps as :func:`align` gives them.

    ``margin`` is the share of a side of the others that is passed over at every edge.
    """
    values, _, _, seen = _sampled(ones, maps)
    if margin:
        x, y = _places(ones.shape[1])
        seen &= np.maximum(np.abs(x), np.abs(y)) <= 1 - 2 * margin
    target = others.reshape(len(others), -1)
    weights = seen.astype(np.float32)
    overlap = weights.mean(axis=1)
    whole = _correlation(values, target, weights)
    for _ in range(2):
        misfit = _misfit(values, target, weights)
        misfit[~seen] = np.inf
        kept = np.round((1 - HIDDEN) * seen.sum(axis=1)).astype(np.int64)
        ranked = np.sort(misfit, axis=1)
        limit = ranked[np.arange(len(kept)), np.maximum(kept - 1, 0)]
        weights = (misfit <= limit[:, None]).astype(np.float32) * seen
    return Agreement(whole, _correlation(values, target, weights), overlap)


def _places(side: int) -> tuple[Floats, Floats]:
    """Middles of the places of a picture, row by row: x (S * S,) and y, -1..1."""
    middles: Floats = (((np.arange(side) + 0.5) / side) * 2 - 1).astype(np.float32)
    return np.tile(middles, side), np.repeat(middles, side)


def _sampled(pictures: Floats, maps: Floats) -> tuple[Floats, Floats, Floats, NDArray[np.bool_]]:
    """Values and slopes at the mapped places, each (P, S * S), and which lie in the picture."""
    count, side = pictures.shape[:2]
    x, y = _places(side)
    half = side / 2
    across = (maps[:, 0, :1] * x + maps[:, 0, 1:2] * y + maps[:, 0, 2:] + 1) * half - 0.5
    down = (maps[:, 1, :1] * x + maps[:, 1, 1:2] * y + maps[:, 1, 2:] + 1) * half - 0.5
    limit = side - 0.5
    seen = (across > -0.5) & (across < limit) & (down > -0.5) & (down < limit)
    across, down = np.clip(across, 0, side - 1.001), np.clip(down, 0, side - 1.001)
    left, top = across.astype(np.int32), down.astype(np.int32)
    right_share, low_share = across - left.astype(np.float32), down - top.astype(np.float32)
    corner = top * side + left + (np.arange(count, dtype=np.int32) * (side * side))[:, None]
    flat = np.ascontiguousarray(pictures).reshape(-1)
    a, b = flat[corner], flat[corner + 1]
    c, d = flat[corner + side], flat[corner + side + 1]
    upper, lower = a + (b - a) * right_share, c + (d - c) * right_share
    values = upper + (lower - upper) * low_share
    slope_x = ((b - a) * (1 - low_share) + (d - c) * low_share) * half
    slope_y = (lower - upper) * half
    return values, slope_x, slope_y, seen


def _centred(values: Floats, weights: Floats) -> Floats:
    total = weights.sum(axis=1, keepdims=True) + 1e-6
    result: Floats = values - (values * weights).sum(axis=1, keepdims=True) / total
    return result


def _misfit(values: Floats, target: Floats, weights: Floats) -> Floats:
    """How far each place is from the best line between the two."""
    one, other = _centred(values, weights), _centred(target, weights)
    gain = (weights * one * other).sum(axis=1) / ((weights * one * one).sum(axis=1) + 1e-3)
    result: Floats = np.abs(other - gain[:, None] * one)
    return result


def _correlation(values: Floats, target: Floats, weights: Floats) -> Floats:
    one, other = _centred(values, weights), _centred(target, weights)
    product = (weights * one * other).sum(axis=1)
    norms = (weights * one * one).sum(axis=1) * (weights * other * other).sum(axis=1)
    result: Floats = product / np.sqrt(norms + 1e-3)
    return result
