"""What the method auto settles by itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tellapart.data.reading import read_table
from tellapart.recipe_reading import apply_settings, load_recipe
from tellapart.training.auto import settle_image_size


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((200, 200), 192),  # a little smaller than the network's 224: not enlarged
        ((400, 199), 192),  # the shorter side counts
        ((500, 400), None),  # larger: the network's own size
        ((224, 224), None),
        ((40, 32), None),  # tiny pictures are enlarged to the network's own size
    ],
)
def test_the_image_size_is_no_larger_than_the_pictures(
    image_folder: Callable[..., Path], size: tuple[int, int], expected: int | None
) -> None:
    table = read_table(image_folder(per_class=3, size=size))
    assert settle_image_size(load_recipe("auto"), table).data.image_size == expected


def test_a_size_that_was_asked_for_stays(image_folder: Callable[..., Path]) -> None:
    table = read_table(image_folder(per_class=3, size=(200, 200)))
    recipe = apply_settings(load_recipe("auto"), ["data.image_size=96"])
    assert settle_image_size(recipe, table) == recipe
