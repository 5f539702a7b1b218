"""Numbers of more than 8 bits -> grey levels 0..255: which value is black, and which white.

One picture must not look lighter or darker for what happens to be on it, so the scale comes
from the file's kind wherever that says it:

- A stated maximum (PNG ``sBIT``, TIFF ``MaxSampleValue``) or a depth of 10, 12 or 14 bits is
  taken at its word.
- Whole numbers in 16 bits rarely fill them: cameras and detectors deliver 10, 12 or 14 bits. Where
  nothing is stated, the smallest of 8, 10, 12, 14 and 16 bits that holds the largest value
  is the depth.
- Floating point that lies in 0..1 or in 0..255 is taken so; what goes a little beyond 1 (up to
  2: resampled pictures, reflectances) has 1 for white all the same.
- All else (values below 0 or above 65535, other floating point) has no natural black and
  white: it is stretched from its smallest to its largest value.

Places without data are black and count for nothing: NaN, infinities, the value that a TIFF's
GDAL_NODATA names, and the usual fill values where they are the smallest or largest.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Depths that whole numbers are looked for in, in bits.
DEPTHS = (8, 10, 12, 14, 16)
#: Fill values that are taken for "no data" where nothing valid lies beyond them.
LOW_FILLS = (-9999.0, -99999.0, -32768.0, -1e30, -1e38)
HIGH_FILLS = (9.969209968386869e36, 1e20, 1e30)  # netCDF, CF conventions
#: Floating point that ends between 1 and this is of the kind 0..1, with a few values beyond.
BEYOND_ONE = 2.0
#: What fills fewer grey levels than this is told, as most of its differences are gone.
FEW_LEVELS = 16.0
#: Numbers that are worked on at a time.
_BLOCK = 1 << 20


@dataclass(frozen=True)
class Levels:
    """What is black and what is white, and what to say about it ("" if nothing)."""

    black: float
    white: float
    remark: str = ""


def to_8_bit(
    values: NDArray[Any],
    *,
    stated_maximum: float | None = None,
    no_data: float | None = None,
    white_is_zero: bool = False,
) -> tuple[NDArray[np.uint8], str]:
    """Scale numbers to 0..255, rounded.

    Args:
        values: (H, W) or (H, W, 3), whole numbers or floating point of any size.
        stated_maximum: the value that the file says is white.
        no_data: a value that means "nothing known here".
        white_is_zero: the smallest value is white, the largest black.

    Returns:
        uint8 of the same shape, and a remark for the user ("" if there is nothing to say).
    """
    low, high, fills = _extremes(values, no_data)
    levels = choose_levels(values.dtype, low, high, stated_maximum)
    span = levels.white - levels.black
    result = np.empty(values.shape, np.uint8)
    for rows in _blocks(values):
        block = values[rows]
        invalid = _invalid(block, fills)
        numbers = np.where(invalid, levels.black, block).astype(np.float64)
        with np.errstate(over="ignore", invalid="ignore"):
            grey = np.rint(np.clip((numbers - levels.black) * 255.0 / span, 0.0, 255.0))
        if white_is_zero:
            grey = 255.0 - grey
        grey[invalid] = 0.0
        result[rows] = grey
    return result, levels.remark


def choose_levels(
    kind: np.dtype[Any], low: float, high: float, stated_maximum: float | None = None
) -> Levels:
    """Black and white of numbers of a type that run from ``low`` to ``high``.

    >>> choose_levels(np.dtype("u2"), 0, 4095)
    Levels(black=0.0, white=4095.0, remark='12 bits in 16: 0 to 4095 is shown as black to white')
    """
    if stated_maximum is not None and low >= 0.0 and 0.0 < high <= stated_maximum:
        return Levels(0.0, float(stated_maximum))
    levels = _unstated_levels(kind, low, high)
    if 0.0 < (high - low) * 255.0 / (levels.white - levels.black) < FEW_LEVELS:
        few = (
            f"its values fill fewer than {FEW_LEVELS:.0f} of 256 grey levels; where their small "
            "differences count, scale all pictures by one rule before training"
        )
        return Levels(levels.black, levels.white, f"{levels.remark}; {few}".removeprefix("; "))
    return levels


def _unstated_levels(kind: np.dtype[Any], low: float, high: float) -> Levels:
    if kind.kind in "ui":
        if low >= 0.0 and high <= 65535.0:
            whole = kind.itemsize * 8 - (kind.kind == "i")
            depth = next(bits for bits in DEPTHS if high < 2**bits)
            depth = min(depth, whole)
            white = float(2**depth - 1)
            stored = kind.itemsize * 8
            remark = f"{depth} bits in {stored}: 0 to {white:.0f} is shown as black to white"
            return Levels(0.0, white, remark if depth < min(16, whole) else "")
    else:
        if low >= 0.0 and high <= BEYOND_ONE:
            remark = "0 to 1 is shown as black to white, and what lies above 1 as white"
            return Levels(0.0, 1.0, remark if high > 1.0 else "")
        if low >= 0.0 and high <= 255.0:
            return Levels(0.0, 255.0)
    # A flat picture is black; the gap must be one that floating point can tell.
    white = high if high > low else low + max(1.0, abs(low))
    return Levels(low, white, "its smallest value is shown as black and its largest as white")


def _extremes(
    values: NDArray[Any], no_data: float | None
) -> tuple[float, float, tuple[float, ...]]:
    """Smallest and largest valid value, and what is not valid; 0 and 0 if none is valid."""
    fills: tuple[float, ...] = () if no_data is None else (float(no_data),)
    if values.dtype.kind != "u":
        limits = np.iinfo(values.dtype) if values.dtype.kind == "i" else np.finfo(values.dtype)
        low_fills = {*LOW_FILLS, float(limits.min)}
        high_fills = {*HIGH_FILLS, float(limits.max)} if values.dtype.kind == "f" else set()
        # Fills as they are when stored in this type.
        low_fills, high_fills = (_stored(f, values.dtype) for f in (low_fills, high_fills))
    else:
        low_fills = high_fills = set()
    while True:
        low, high = np.inf, -np.inf
        for rows in _blocks(values):
            block = values[rows]
            valid = block[~_invalid(block, fills)]
            if valid.size:
                low, high = min(low, float(valid.min())), max(high, float(valid.max()))
        found = tuple(v for v, known in ((low, low_fills), (high, high_fills)) if v in known)
        if not found:
            return (low, high, fills) if low <= high else (0.0, 0.0, fills)
        fills += found


def _stored(fills: set[float], kind: np.dtype[Any]) -> set[float]:
    if kind.kind == "i":
        limits = np.iinfo(kind)
        return {fill for fill in fills if limits.min <= fill <= limits.max}
    with np.errstate(over="ignore"):
        return {float(np.asarray(fill).astype(kind)) for fill in fills}


def _invalid(block: NDArray[Any], fills: tuple[float, ...]) -> NDArray[np.bool_]:
    if block.dtype.kind == "f":
        invalid: NDArray[np.bool_] = ~np.isfinite(block)
    else:
        invalid = np.zeros(block.shape, np.bool_)
    for fill in fills:
        invalid |= block == _like(fill, block.dtype)
    return invalid


def _like(fill: float, kind: np.dtype[Any]) -> float:
    """A fill value as it is when stored in this type (-9999.9 in float32 is another number)."""
    if kind.kind != "f":
        return fill
    with np.errstate(over="ignore"):
        return float(np.asarray(fill).astype(kind))


def _blocks(values: NDArray[Any]) -> Iterator[slice]:
    """Rows a few at a time, so that large pictures need little beside themselves."""
    rows = max(1, _BLOCK // max(1, values[:1].size))
    for start in range(0, len(values), rows):
        yield slice(start, start + rows)
