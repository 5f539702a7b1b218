"""Test-time views: what each shows of an image."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from tellapart.pixels.views import TEST_TIME_VIEWS, View, view_images
from tellapart.recipe import Recipe

IMAGES = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)


def shown(view: View, images: np.ndarray = IMAGES) -> np.ndarray:
    (result,) = view_images(images, [view])
    return result


def test_every_kind_that_a_recipe_may_ask_for_has_views_with_the_plain_image_first() -> None:
    kinds = Recipe.model_fields["test_time"].annotation.__args__
    assert set(TEST_TIME_VIEWS) == set(kinds)
    for kind, number in {"none": 1, "flip": 2, "flip_and_shifts": 6, "flips_and_turns": 8}.items():
        views = TEST_TIME_VIEWS[kind]
        assert views[0] == View() and len(set(views)) == len(views) == number
        assert all(image.flags.c_contiguous for image in view_images(IMAGES, views))


def test_turns_and_mirror() -> None:
    assert_array_equal(shown(View()), IMAGES)
    assert_array_equal(shown(View(mirrored=True)), IMAGES[:, :, ::-1])
    assert_array_equal(shown(View(quarter_turns=2)), IMAGES[:, ::-1, ::-1])
    # Counter-clockwise: the right edge becomes the top.
    assert_array_equal(shown(View(quarter_turns=1))[:, 0], IMAGES[:, :, -1])


def test_a_shift_moves_by_a_share_of_the_side_and_mirrors_at_the_edge() -> None:
    moved = shown(View(shift_x=1 / 32, shift_y=-1 / 32))
    assert_array_equal(moved[:, 2:, :-2], IMAGES[:, :-2, 2:])
    padded = np.pad(IMAGES, ((0, 0), (2, 2), (2, 2), (0, 0)), mode="reflect")
    assert_array_equal(moved, padded[:, 0:64, 4:68])


@pytest.mark.parametrize("side", [1, 2, 8])
def test_a_small_image_is_moved_by_a_pixel_where_it_has_two(side: int) -> None:
    small = IMAGES[:, :side, :side]
    moved = shown(View(shift_x=1 / 32), small)
    assert moved.shape == small.shape
    if side > 1:
        assert_array_equal(moved[:, :, :-1], small[:, :, 1:])


def test_shifted_views_of_an_oblong_image_keep_its_shape() -> None:
    oblong = IMAGES[:, :32]
    for image in view_images(oblong, TEST_TIME_VIEWS["flip_and_shifts"]):
        assert image.shape == oblong.shape
