"""Random transforms: what they do is measured on pictures that hold their own coordinates.

In such a picture the first channel is x and the second y, in pixels from the centre. After
a geometric transform each pixel therefore tells where it was taken from, and a straight-line
fit over the pixels that came from inside gives the affine map that was drawn.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Generator, Tensor

from tellapart import recipe
from tellapart.errors import RecipeError
from tellapart.pixels.augmentation import augment_pixels, build_augmentation

HEIGHT, WIDTH = 24, 40
SCIPY_MODES = {"reflect": "reflect", "nearest": "nearest", "constant": "grid-constant"}


def coordinates(number: int, height: int = HEIGHT, width: int = WIDTH) -> Tensor:
    """Pictures (N, 3, H, W) of x, y and 1, in pixels from the centre, not limited to 0..255."""
    y, x = torch.meshgrid(
        torch.arange(height) - (height - 1) / 2,
        torch.arange(width) - (width - 1) / 2,
        indexing="ij",
    )
    return torch.stack([x, y, torch.ones_like(x)]).expand(number, 3, height, width).contiguous()


def measured_maps(augmentation, number: int, seed: int = 0) -> NDArray[np.float64]:
    """(N, 2, 3): source (x, y) = map @ (x, y, 1), in pixels from the centre."""
    pictures = coordinates(number)
    changed = augmentation(pictures, Generator().manual_seed(seed)).numpy()
    x, y = pictures[0, 0].numpy(), pictures[0, 1].numpy()
    maps = []
    for picture in changed:
        inside = (abs(picture[0]) < WIDTH / 2 - 2) & (abs(picture[1]) < HEIGHT / 2 - 2)
        inside &= np.hypot(x / WIDTH, y / HEIGHT) < 0.3  # away from what was filled in
        places = np.stack([x[inside], y[inside], np.ones(inside.sum())], axis=1)
        solution, residuals, rank, _ = np.linalg.lstsq(places, picture[:2, inside].T, rcond=None)
        assert rank == 3 and np.all(residuals < 1e-3)
        maps.append(solution.T)
    return np.array(maps)


def covers(values: NDArray[np.float64], low: float, high: float) -> bool:
    """Whether values lie in low..high and come near both ends and to the middle."""
    margin = 0.02 * (high - low)
    return bool(
        values.min() >= low - 1e-4
        and values.max() <= high + 1e-4
        and values.min() < low + margin
        and values.max() > high - margin
        and abs(values.mean() - (low + high) / 2) < 0.1 * (high - low)
    )


def test_rotation_draws_angles_from_both_sides_and_keeps_the_shape() -> None:
    maps = measured_maps(
        build_augmentation([recipe.Rotation(transform="rotation", degrees=36)]), 400
    )
    turns = maps[:, :, :2]
    assert np.allclose(turns @ turns.transpose(0, 2, 1), np.eye(2), atol=1e-3)
    assert np.allclose(np.linalg.det(turns), 1, atol=1e-3)
    assert np.allclose(maps[:, :, 2], 0, atol=1e-3)
    assert covers(np.degrees(np.arctan2(turns[:, 1, 0], turns[:, 0, 0])), -36, 36)


def test_zoom_scales_both_sides_by_one_factor_about_the_centre() -> None:
    maps = measured_maps(build_augmentation([recipe.Zoom(transform="zoom", fraction=0.2)]), 400)
    assert np.allclose(maps[:, 0, 0], maps[:, 1, 1], atol=1e-3)
    assert np.allclose(maps[:, [0, 1, 0, 1], [1, 0, 2, 2]], 0, atol=1e-3)
    # A factor above 1 reaches further out in the source: it zooms out, as Keras' RandomZoom.
    assert covers(maps[:, 0, 0], 0.8, 1.2)


def test_translation_moves_by_fractions_of_each_side() -> None:
    step = recipe.Translation(transform="translation", height=0.1, width=0.2)
    maps = measured_maps(build_augmentation([step]), 400)
    assert np.allclose(maps[:, :, :2], np.eye(2), atol=1e-3)
    assert covers(maps[:, 0, 2], -0.2 * WIDTH, 0.2 * WIDTH)
    assert covers(maps[:, 1, 2], -0.1 * HEIGHT, 0.1 * HEIGHT)


def test_shear_slides_rows_by_the_tangent_of_the_angle() -> None:
    maps = measured_maps(build_augmentation([recipe.Shear(transform="shear", degrees=20)]), 400)
    assert np.allclose(maps[:, [0, 1, 1, 0, 1], [0, 1, 0, 2, 2]], [1, 1, 0, 0, 0], atol=1e-3)
    assert covers(np.degrees(np.arctan(maps[:, 0, 1])), -20, 20)


def test_random_resized_crop_keeps_area_and_aspect_in_range_and_stays_inside() -> None:
    step = recipe.RandomResizedCrop(
        transform="random_resized_crop", minimum_area=0.4, maximum_aspect=1.5
    )
    maps = measured_maps(build_augmentation([step]), 400)
    width, height = maps[:, 0, 0], maps[:, 1, 1]
    assert covers(np.minimum(width * height, 1), 0.4, 1.0) or (width * height).min() > 0.39
    assert (width * height).min() < 0.42
    assert width.max() <= 1.001 and height.max() <= 1.001
    assert np.all(np.maximum(width / height, height / width) <= 1.501)
    assert np.all(abs(maps[:, 0, 2]) <= (1 - width) * WIDTH / 2 + 1e-2)
    assert np.all(abs(maps[:, 1, 2]) <= (1 - height) * HEIGHT / 2 + 1e-2)


@pytest.mark.parametrize("fill", ["reflect", "nearest", "constant"])
def test_several_geometric_steps_are_one_resampling_as_scipy_does_it(fill: str) -> None:
    steps = [
        recipe.Flip(transform="flip", vertical=True),
        recipe.Rotation(transform="rotation", degrees=30, fill=fill),
        recipe.Zoom(transform="zoom", fraction=0.2, fill=fill),
        recipe.Shear(transform="shear", degrees=10, fill=fill),
        recipe.Translation(transform="translation", height=0.1, width=0.1, fill=fill),
    ]
    augmentation = build_augmentation(steps)
    maps = measured_maps(augmentation, 6, seed=3)
    pictures = torch.rand(6, 3, HEIGHT, WIDTH) * 255
    changed = augmentation(pictures, Generator().manual_seed(3))
    centre = np.array([(HEIGHT - 1) / 2, (WIDTH - 1) / 2])
    for picture, result, affine in zip(pictures, changed, maps, strict=True):
        matrix = affine[::-1, 1::-1]  # SciPy counts (y, x)
        offset = centre + affine[::-1, 2] - matrix @ centre
        for channel in range(3):
            expected = ndimage.affine_transform(
                picture[channel].numpy(), matrix, offset, order=1, mode=SCIPY_MODES[fill]
            )
            assert abs(result[channel].numpy() - expected).max() < 0.5  # of 255


def test_geometric_steps_are_done_in_the_recipes_order() -> None:
    zoom = recipe.Zoom(transform="zoom", fraction=0.2)
    shift = recipe.Translation(transform="translation", width=0.15)
    limit = 0.15 * WIDTH
    # Shifted first, the shift is in pixels of the source; zoomed first, in zoomed ones.
    shifted_first = measured_maps(build_augmentation([shift, zoom]), 400)
    assert covers(shifted_first[:, 0, 2], -limit, limit)
    zoomed_first = measured_maps(build_augmentation([zoom, shift]), 400)
    assert covers(zoomed_first[:, 0, 2] / zoomed_first[:, 0, 0], -limit, limit)
    assert abs(zoomed_first[:, 0, 2]).max() > 1.05 * limit


def test_flip_gives_the_picture_or_its_exact_mirror_equally_often() -> None:
    pictures = torch.rand(200, 3, 9, 13)
    changed = build_augmentation([recipe.Flip(transform="flip")])(
        pictures, Generator().manual_seed(0)
    )
    same = (changed == pictures).flatten(1).all(1)
    mirrored = (changed == pictures.flip(3)).flatten(1).all(1)
    assert torch.all(same ^ mirrored)
    assert 70 < int(same.sum()) < 130


def test_vertical_flip_alone_leaves_left_and_right() -> None:
    pictures = torch.rand(40, 3, 8, 8)
    step = recipe.Flip(transform="flip", horizontal=False, vertical=True)
    changed = build_augmentation([step])(pictures, Generator().manual_seed(0))
    same = (changed == pictures).flatten(1).all(1)
    upside_down = (changed == pictures.flip(2)).flatten(1).all(1)
    assert torch.all(same ^ upside_down) and same.any() and upside_down.any()


def test_quarter_turns_are_exact_and_equally_likely() -> None:
    pictures = torch.rand(400, 3, 7, 7)
    changed = build_augmentation([recipe.QuarterTurns(transform="quarter_turns")])(
        pictures, Generator().manual_seed(0)
    )
    turned = torch.stack(
        [(changed == torch.rot90(pictures, k, (2, 3))).flatten(1).all(1) for k in range(4)]
    )
    assert torch.all(turned.sum(0) == 1)
    assert turned.sum(1).min() > 70


def test_quarter_turns_refuse_pictures_that_are_not_square() -> None:
    augmentation = build_augmentation([recipe.QuarterTurns(transform="quarter_turns")])
    with pytest.raises(RecipeError, match="square images, but they are 13 x 9 pixels"):
        augmentation(torch.zeros(2, 3, 9, 13), Generator())


def test_random_crop_cuts_whole_pixels_from_the_mirrored_surroundings() -> None:
    pictures = torch.rand(300, 3, 10, 12)
    changed = build_augmentation([recipe.RandomCrop(transform="random_crop", padding=2)])(
        pictures, Generator().manual_seed(0)
    )
    padded = np.pad(pictures.numpy(), ((0, 0), (0, 0), (2, 2), (2, 2)), mode="symmetric")
    found = np.array(
        [
            (changed.numpy() == padded[:, :, top : top + 10, left : left + 12]).all((1, 2, 3))
            for top in range(5)
            for left in range(5)
        ]
    )
    assert np.all(found.sum(0) == 1)
    assert found.sum(1).min() > 0


def test_contrast_scales_about_each_channels_mean_and_clips() -> None:
    pictures = torch.rand(300, 3, 8, 8) * 60 + torch.tensor([60.0, 90.0, 120.0]).reshape(3, 1, 1)
    changed = build_augmentation([recipe.Contrast(transform="contrast", fraction=0.5)])(
        pictures, Generator().manual_seed(0)
    )
    mean = pictures.mean(dim=(2, 3), keepdim=True)
    factors = ((changed - mean) * (pictures - mean)).sum((1, 2, 3)) / (
        pictures - mean
    ).square().sum((1, 2, 3))
    assert torch.allclose(
        changed, mean + factors.reshape(-1, 1, 1, 1) * (pictures - mean), atol=1e-3
    )
    assert covers(factors.numpy(), 0.5, 1.5)

    black_and_white = torch.zeros(50, 3, 8, 8)
    black_and_white[..., :4] = 255
    changed = build_augmentation([recipe.Contrast(transform="contrast", fraction=1.0)])(
        black_and_white, Generator().manual_seed(0)
    )
    assert changed.min() == 0 and changed.max() == 255


def test_brightness_adds_one_number_an_image_and_clips() -> None:
    pictures = torch.full((300, 3, 4, 4), 100.0)
    changed = build_augmentation([recipe.Brightness(transform="brightness", fraction=0.2)])(
        pictures, Generator().manual_seed(0)
    )
    assert torch.equal(changed.flatten(1).amin(1), changed.flatten(1).amax(1))
    assert covers((changed - pictures)[:, 0, 0, 0].numpy(), -51, 51)
    bright = build_augmentation([recipe.Brightness(transform="brightness", fraction=1.0)])(
        pictures, Generator().manual_seed(0)
    )
    assert bright.min() == 0 and bright.max() == 255


def test_cutout_blanks_one_square_with_the_mean_colour() -> None:
    pictures = torch.rand(100, 3, 20, 20) * 255
    changed = build_augmentation([recipe.Cutout(transform="cutout", fraction=0.25)])(
        pictures, Generator().manual_seed(0)
    )
    corners = set()
    for before, after in zip(pictures, changed, strict=True):
        y, x = np.nonzero((before != after).any(0).numpy())
        assert len(y) == 25 and np.ptp(y) == 4 and np.ptp(x) == 4
        assert torch.allclose(after[:, y[0], x[0]], before.mean(dim=(1, 2)))
        corners.add((y.min(), x.min()))
    assert len(corners) > 50


def test_noise_comes_after_normalisation_in_units_of_scaled_pixels() -> None:
    # A deviation of 0.01 in 0..1; on 0..255 it would change nothing one could see.
    augmentation = build_augmentation(
        [recipe.GaussianNoise(transform="gaussian_noise", standard_deviation=0.01)]
    )
    images = torch.rand(64, 3, 16, 16)
    generator = Generator().manual_seed(0)
    assert torch.equal(augmentation(images, generator), images)
    std = torch.tensor([0.2, 0.25, 0.5])
    noise = augmentation.after_normalisation(images, std.tolist(), generator) - images
    assert torch.allclose(noise.std(dim=(0, 2, 3)), 0.01 / std, rtol=0.03)
    in_pixels = augmentation.after_normalisation(images, 1 / 255, generator) - images
    assert float(in_pixels.std()) == pytest.approx(2.55, rel=0.03)


ALL_STEPS = [
    recipe.Flip(transform="flip"),
    recipe.Rotation(transform="rotation", degrees=18),
    recipe.Zoom(transform="zoom", fraction=0.2),
    recipe.RandomCrop(transform="random_crop", padding=2),
    recipe.Contrast(transform="contrast", fraction=0.2),
    recipe.Brightness(transform="brightness", fraction=0.2),
    recipe.Cutout(transform="cutout", fraction=0.2),
    recipe.GaussianNoise(transform="gaussian_noise", standard_deviation=0.02),
]


def test_the_seed_decides_everything_and_each_image_has_its_own_draw() -> None:
    augmentation = build_augmentation(ALL_STEPS)
    one = torch.rand(1, 3, 16, 16) * 255
    pictures = one.expand(8, 3, 16, 16).contiguous()
    before = pictures.clone()
    first, again, other = (
        augmentation(pictures, Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert len({tuple(picture.flatten().tolist()) for picture in first}) == 8
    assert torch.equal(pictures, before)
    assert first.shape == pictures.shape and first.dtype == torch.float32
    assert first.min() >= 0 and first.max() <= 255


def test_no_steps_are_no_augmentation() -> None:
    assert build_augmentation([]) is None


def test_steps_that_want_different_fills_are_refused() -> None:
    steps = [
        recipe.Rotation(transform="rotation", degrees=10),
        recipe.Zoom(transform="zoom", fraction=0.1, fill="nearest"),
    ]
    with pytest.raises(RecipeError, match=r"reflect \(rotation\) and nearest \(zoom\)"):
        build_augmentation(steps)


def test_stored_pictures_can_be_augmented_to_look_at() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), dtype=np.uint8)
    kept = pixels.copy()
    sheet = augment_pixels(pixels, build_augmentation(ALL_STEPS), 4)
    assert sheet.shape == pixels.shape and sheet.dtype == np.uint8
    assert np.array_equal(pixels, kept) and not np.array_equal(sheet, pixels)
    flipped = augment_pixels(pixels, build_augmentation([recipe.Flip(transform="flip")]))
    assert all(
        np.array_equal(a, b) or np.array_equal(a, b[:, ::-1])
        for a, b in zip(flipped, pixels, strict=True)
    )


def test_noise_in_stored_pictures_is_in_units_of_0_to_1() -> None:
    """As cached views have it: 0.1 of white is 25.5 grey levels."""
    noise = build_augmentation(
        [recipe.GaussianNoise(transform="gaussian_noise", standard_deviation=0.1)]
    )
    grey = np.full((8, 32, 32, 3), 128, np.uint8)
    changed = augment_pixels(grey, noise).astype(float)
    assert (changed - 128).std() == pytest.approx(25.5, rel=0.02)
