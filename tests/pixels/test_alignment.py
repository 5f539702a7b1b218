"""One picture is laid over another: the map that made it is found again, hidden places or not."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tellapart.pixels.alignment import affine, agreement, align

SIDE = 32


def picture(map_: NDArray[np.float32], seed: int = 0) -> NDArray[np.float32]:
    """A sum of waves, looked at through a map: place p of the result shows the waves at map @ p."""
    random = np.random.default_rng(seed)
    middles = (np.arange(SIDE) + 0.5) / SIDE * 2 - 1
    y, x = np.meshgrid(middles, middles, indexing="ij")
    u = map_[0, 0] * x + map_[0, 1] * y + map_[0, 2]
    v = map_[1, 0] * x + map_[1, 1] * y + map_[1, 2]
    waves = sum(
        random.normal() * np.sin(random.normal(0, 3) * u + random.normal(0, 3) * v + phase)
        for phase in random.uniform(0, 6, 12)
    )
    return (128 + 30 * waves).astype(np.float32)


def test_the_map_between_two_pictures_is_found() -> None:
    truth = affine(6, 0.95, 1.04) + np.float32([[0, 0, 0.05], [0, 0, -0.03]])
    whole, seen_through = picture(affine()), picture(truth)
    found = align(whole[None], 0.5 * seen_through[None] + 20, affine()[None], 10)
    assert np.abs(found[0] - truth).max() < 0.01  # 0.16 pixels at the edge
    agrees = agreement(whole[None], seen_through[None], found)
    assert agrees.whole[0] > 0.998 and agrees.trimmed[0] > 0.999


def test_what_is_hidden_does_not_pull() -> None:
    truth = affine(4)
    whole, stamped = picture(affine()), picture(truth)
    stamped[3:13, 3:15] = 255  # 12 % of the picture
    found = align(whole[None], stamped[None], affine()[None], 10)
    assert np.abs(found[0] - truth).max() < 0.02
    agrees = agreement(whole[None], stamped[None], found)
    assert agrees.trimmed[0] > 0.995 > agrees.whole[0]


def test_overlap_is_the_share_of_places_that_the_first_picture_has() -> None:
    whole = picture(affine())[None]
    half = affine() + np.float32([[0, 0, 1], [0, 0, 0]])  # moved by half of the width
    assert agreement(whole, whole, affine()[None]).overlap[0] == 1.0
    assert agreement(whole, whole, half[None]).overlap[0] == 0.5


def test_a_margin_is_passed_over() -> None:
    framed, other = picture(affine(), 1)[None] / 4, picture(affine(), 2)[None] / 4
    for pictures in (framed, other):
        for edge in (np.s_[:, :4], np.s_[:, -4:], np.s_[:, :, :4], np.s_[:, :, -4:]):
            pictures[edge] = 255
    plain = agreement(framed, other, affine()[None]).trimmed[0]
    inner = agreement(framed, other, affine()[None], margin=0.125).trimmed[0]
    assert plain > 0.9 and inner < 0.5
