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


@pytest.mark.parametrize(
    ("images", "seconds", "size"),
    [
        # 0.08 s a million pixels: 20 s are enough for 4,982 pictures of 224 pixels, 27,126 of 96.
        (4_900, 60, None),
        (5_500, 60, 192),
        (27_000, 60, 96),
        (60_000, 300, 64),
        (60_000, 1200, 128),  # a tenth of the time, 120 s
        (10_000_000, 300, 64),
        (60_000, None, None),  # without a search the first answer is all there is
    ],
)
def test_with_very_many_images_the_first_answer_of_a_search_sees_smaller_ones(
    image_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, images: int,
    seconds: float | None, size: int | None,
) -> None:  # fmt: skip
    table = read_table(image_folder(per_class=3, size=(300, 300)))
    monkeypatch.setattr(type(table), "__len__", lambda _: images)
    monkeypatch.setattr("tellapart.training.auto.typical_side", lambda _: 300)
    recipe = load_recipe("auto").model_copy(update={"time_limit_seconds": seconds})
    assert settle_image_size(recipe, table).data.image_size == size
    assert settle_image_size(recipe, table, on_processor=False).data.image_size is None


def test_small_pictures_leave_the_time_to_the_training_that_they_need(
    image_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A twentieth of 1,200 s is enough for 60,000 pictures of 111 pixels."""
    table = read_table(image_folder(per_class=3, size=(32, 32)))
    monkeypatch.setattr(type(table), "__len__", lambda _: 60_000)
    monkeypatch.setattr("tellapart.training.auto.typical_side", lambda _: 32)
    recipe = load_recipe("auto").model_copy(update={"time_limit_seconds": 1200})
    assert settle_image_size(recipe, table).data.image_size == 96


def test_a_size_that_was_asked_for_stays(image_folder: Callable[..., Path]) -> None:
    table = read_table(image_folder(per_class=3, size=(200, 200)))
    recipe = apply_settings(load_recipe("auto"), ["data.image_size=96"])
    assert settle_image_size(recipe, table) == recipe
