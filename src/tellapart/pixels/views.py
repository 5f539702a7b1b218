"""Views: the ways an image is shown to the network, in training and at test time.

Turned, mirrored, or moved by a little: what does not change the class of a picture but does
change what a network makes of it. An average of logits over views is steadier than any one
(``TEST_TIME_VIEWS``); features of a frozen backbone are kept for each view (``VIEWS``).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class View:
    """One way of showing an image."""

    #: Counter-clockwise.
    quarter_turns: int = 0
    #: Left and right exchanged, after the turns.
    mirrored: bool = False
    #: What moves into the middle lies so far right and down of it, as a share of the image's
    #: sides; the edge is filled with its reflection.
    shift_x: float = 0.0
    shift_y: float = 0.0


#: A pixel of a picture of 32, so that pictures enlarged from such are moved by whole pixels.
SHIFT = 1 / 32

_MIRRORED = (False, True)

#: Views by the recipe's ``test_time``.
TEST_TIME_VIEWS: dict[str, tuple[View, ...]] = {
    "none": (View(),),
    "flip": tuple(View(mirrored=mirrored) for mirrored in _MIRRORED),
    # Both, and a move to each corner, of which two are mirrored: as good as all ten.
    "flip_and_shifts": (
        View(),
        View(mirrored=True),
        View(shift_x=SHIFT, shift_y=SHIFT),
        View(shift_x=-SHIFT, shift_y=-SHIFT, mirrored=True),
        View(shift_x=SHIFT, shift_y=-SHIFT, mirrored=True),
        View(shift_x=-SHIFT, shift_y=SHIFT),
    ),
    "flips_and_turns": tuple(
        View(quarter_turns=turns, mirrored=mirrored) for mirrored in _MIRRORED for turns in range(4)
    ),
}


#: Single views by name; features in the cache go by these names.
VIEWS: dict[str, View] = {
    "original": View(),
    "flip": View(mirrored=True),
    "turn_90": View(quarter_turns=1),
    "turn_180": View(quarter_turns=2),
    "turn_270": View(quarter_turns=3),
    "flip_turn_90": View(quarter_turns=1, mirrored=True),
    "flip_turn_180": View(quarter_turns=2, mirrored=True),
    "flip_turn_270": View(quarter_turns=3, mirrored=True),
}


def view_images(images: NDArray[np.uint8], views: Sequence[View]) -> Iterator[NDArray[np.uint8]]:
    """The images (N, H, W, 3) in each view, one array (N, H, W, 3) a view.

    Quarter turns exchange height and width of images that are not square.
    """
    for view in views:
        yield show(images, view)


def show(images: NDArray[np.uint8], view: View) -> NDArray[np.uint8]:
    """The images (N, H, W, 3) in one view."""
    shown = np.rot90(_moved(images, view), view.quarter_turns, axes=(1, 2))
    return np.ascontiguousarray(shown[:, :, ::-1] if view.mirrored else shown)


def _moved(images: NDArray[np.uint8], view: View) -> NDArray[np.uint8]:
    """Images moved by whole pixels, at least one where the view moves at all."""
    height, width = images.shape[1:3]
    down, right = _pixels(view.shift_y, height), _pixels(view.shift_x, width)
    if not (down or right):
        return images
    rows, columns = _reflected(height, down), _reflected(width, right)
    return images[:, rows][:, :, columns]


def _pixels(share: float, side: int) -> int:
    """A share of a side in whole pixels, less than the side."""
    pixels = round(share * side)
    if share and not pixels:
        pixels = 1 if share > 0 else -1
    return max(-(side - 1), min(side - 1, pixels))


def _reflected(side: int, shift: int) -> NDArray[np.int64]:
    """Where each of ``side`` pixels comes from; beyond an edge the picture is mirrored at it."""
    places = np.abs(np.arange(side) + shift)
    return np.where(places > side - 1, 2 * (side - 1) - places, places)
