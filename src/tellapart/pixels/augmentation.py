"""Random transforms on whole batches, each image with its own draw.

``build_augmentation`` turns the steps of a recipe into one callable. All geometric
steps of a recipe become one affine map an image, so a picture is resampled once
however many there are, and not at all (pixels only move) where only flips, quarter
turns and whole-pixel crops are asked for. Steps that change values follow, in the
recipe's order. Every number comes from the generator that is passed in: the same
generator state gives the same pictures.

Ranges and fill modes are those of Keras' preprocessing layers where Keras has the
layer (RandomFlip, RandomRotation, RandomZoom, RandomTranslation, RandomContrast,
RandomBrightness, GaussianNoise).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor
from torch.nn import functional

from tellapart import recipe
from tellapart.errors import RecipeError
from tellapart.recipe import AugmentationStep

#: A recipe's word for what lies outside the picture, and PyTorch's.
PADDING_MODES = {"reflect": "reflection", "nearest": "border", "constant": "zeros"}

#: (number of images, height, width, generator) -> matrices (N, 3, 3).
DrawMatrices = Callable[[int, int, int, Generator], Tensor]
#: (images, generator) -> images.
ChangeValues = Callable[[Tensor, Generator], Tensor]


class Augmentation:
    """The random transforms of a recipe, for training batches only.

    Call it on float32 images (N, 3, H, W), RGB, 0..255, on any device, before they are
    normalised; it returns new images of the same shape and range.
    """

    def __init__(
        self,
        geometry: Sequence[DrawMatrices],
        values: Sequence[ChangeValues],
        *,
        mode: str,
        padding_mode: str,
        noise: float,
    ) -> None:
        self._geometry = tuple(geometry)
        self._values = tuple(values)
        self._mode = mode
        self._padding_mode = padding_mode
        self._noise = noise

    def __call__(self, images: Tensor, generator: Generator) -> Tensor:
        """Transform a batch.

        Args:
            images: float32 (N, 3, H, W), 0..255; left as it is.
            generator: a CPU generator; its state decides every draw.

        Raises:
            RecipeError: quarter turns of images that are not square.
        """
        if self._geometry:
            number, _, height, width = images.shape
            matrices = torch.eye(3).expand(number, 3, 3)
            for draw in self._geometry:
                matrices = matrices @ draw(number, height, width, generator)
            images = self._resample(images, matrices.to(images.device))
        for change in self._values:
            images = change(images, generator)
        return images

    def after_normalisation(
        self, images: Tensor, std: Sequence[float] | float, generator: Generator
    ) -> Tensor:
        """Add the recipe's Gaussian noise to normalised images.

        Args:
            images: float (N, 3, H, W), normalised with ``std``.
            std: the deviation that images were divided by, in units of 0..1 pixels, one
                number or one a channel. Images still in 0..255 have 1/255.
            generator: a CPU generator.
        """
        if not self._noise:
            return images
        noise = torch.randn(images.shape, generator=generator).to(images.device)
        scale = torch.as_tensor(std, dtype=torch.float32, device=images.device)
        return images + noise * (self._noise / scale.reshape(-1, 1, 1))

    def _resample(self, images: Tensor, matrices: Tensor) -> Tensor:
        """Sample images at ``matrices`` @ (x, y, 1), in -1..1 from edge to edge."""
        height, width = images.shape[2:]
        x, y = (
            ((torch.arange(size, device=images.device) * 2 + 1) / size - 1)
            for size in (width, height)
        )
        rows = matrices[:, :2, 0, None, None] * x[None, None, None, :] + (
            matrices[:, :2, 1, None, None] * y[None, None, :, None] + matrices[:, :2, 2, None, None]
        )
        sampled = functional.grid_sample(
            images,
            rows.permute(0, 2, 3, 1),
            mode=self._mode,
            padding_mode=self._padding_mode,
            align_corners=False,
        )
        return sampled.contiguous(memory_format=torch.channels_last)


def build_augmentation(steps: Sequence[AugmentationStep]) -> Augmentation | None:
    """Make the transforms that a recipe lists; None if it lists none.

    Geometric steps are done first and as one; the others follow in their order.

    Raises:
        RecipeError: geometric steps ask for different fills, of which one resampling
            can have only one.

    >>> from tellapart.recipe import Flip, Rotation
    >>> augmentation = build_augmentation([Flip(transform="flip"),
    ...                                    Rotation(transform="rotation", degrees=20)])
    >>> images = torch.rand(8, 3, 32, 32) * 255
    >>> augmentation(images, torch.Generator().manual_seed(0)).shape
    torch.Size([8, 3, 32, 32])
    """
    if not steps:
        return None
    geometry: list[DrawMatrices] = []
    values: list[ChangeValues] = []
    variance = 0.0
    for step in steps:
        if isinstance(step, recipe.GaussianNoise):
            variance += step.standard_deviation**2
        elif type(step) in _GEOMETRY:
            geometry.append(_GEOMETRY[type(step)](step))
        else:
            values.append(_VALUES[type(step)](step))
    interpolates = any(type(step) in _GEOMETRY and type(step) not in _EXACT for step in steps)
    return Augmentation(
        geometry,
        values,
        mode="bilinear" if interpolates else "nearest",
        padding_mode=PADDING_MODES[_fill(steps)],
        noise=math.sqrt(variance),
    )


def augment_pixels(
    pixels: NDArray[np.uint8], augmentation: Augmentation, random: Generator | int = 0
) -> NDArray[np.uint8]:
    """Transform stored pictures and round the result to pixel values again.

    Args:
        pixels: uint8 (N, H, W, 3), RGB.
        augmentation: of ``build_augmentation``; its noise is added too.
        random: of the draws: a CPU generator, or a seed.

    Returns:
        uint8 (N, H, W, 3).
    """
    generator = Generator().manual_seed(random) if isinstance(random, int) else random
    images = torch.from_numpy(np.array(pixels)).permute(0, 3, 1, 2).float()
    images = augmentation.after_normalisation(augmentation(images, generator), 1 / 255, generator)
    rounded = images.round_().clamp_(0, 255).to(torch.uint8)
    return np.ascontiguousarray(rounded.permute(0, 2, 3, 1).numpy())


def _fill(steps: Sequence[AugmentationStep]) -> str:
    """The one fill that all geometric steps with a fill agree on."""
    fills = {fill: step.transform for step in steps if (fill := getattr(step, "fill", None))}
    if len(fills) > 1:
        named = " and ".join(f"{fill} ({transform})" for fill, transform in fills.items())
        raise RecipeError(
            f"augmentation: the picture is resampled once, so all steps need one fill, "
            f"but they ask for {named}; give them the same."
        )
    return next(iter(fills), "reflect")


# --- geometry: each draws matrices that map a place in the result to one in the source -----
# Places are (x, y, 1) with x and y from -1 to 1, from edge to edge of the picture.


def _uniform(number: int, low: float, high: float, generator: Generator) -> Tensor:
    return torch.rand(number, generator=generator) * (high - low) + low


def _choice(number: int, options: int, generator: Generator) -> Tensor:
    return torch.randint(options, (number,), generator=generator)


def _matrices(
    xx: Tensor | float = 1.0,
    xy: Tensor | float = 0.0,
    yx: Tensor | float = 0.0,
    yy: Tensor | float = 1.0,
    x: Tensor | float = 0.0,
    y: Tensor | float = 0.0,
    *,
    number: int,
) -> Tensor:
    """(N, 3, 3) with rows (xx, xy, x), (yx, yy, y), (0, 0, 1)."""
    matrices = torch.zeros(number, 3, 3)
    for row, column, value in (
        (0, 0, xx), (0, 1, xy), (0, 2, x), (1, 0, yx), (1, 1, yy), (1, 2, y), (2, 2, 1.0),
    ):  # fmt: skip
        matrices[:, row, column] = value
    return matrices


def _flip(step: recipe.Flip) -> DrawMatrices:
    def draw(number: int, height: int, width: int, generator: Generator) -> Tensor:
        signs = 1.0 - 2.0 * torch.randint(2, (2, number), generator=generator)
        return _matrices(
            xx=signs[0] if step.horizontal else 1.0,
            yy=signs[1] if step.vertical else 1.0,
            number=number,
        )

    return draw


def _quarter_turns(step: recipe.QuarterTurns) -> DrawMatrices:
    def draw(number: int, height: int, width: int, generator: Generator) -> Tensor:
        if height != width:
            raise RecipeError(
                f"augmentation.quarter_turns needs square images, but they are {width} x "
                f"{height} pixels; set data.image_size, or use 'flip' or 'rotation'."
            )
        turns = _choice(number, 4, generator)
        cosine = torch.tensor([1.0, 0.0, -1.0, 0.0])[turns]
        sine = torch.tensor([0.0, 1.0, 0.0, -1.0])[turns]
        return _matrices(xx=cosine, xy=-sine, yx=sine, yy=cosine, number=number)

    return draw


def _rotation(step: recipe.Rotation) -> DrawMatrices:
    def draw(number: int, height: int, width: int, generator: Generator) -> Tensor:
        angle = _uniform(number, -step.degrees, step.degrees, generator).deg2rad()
        cosine, sine = angle.cos(), angle.sin()
        # A rotation keeps right angles in pixels, so the picture's aspect comes in.
        return _matrices(
            xx=cosine, xy=-sine * (height / width), yx=sine * (width / height), yy=cosine,
            number=number,
        )  # fmt: skip

    return draw


def _zoom(step: recipe.Zoom) -> DrawMatrices:
    def draw(number: int, height: int, width: int, generator: Generator) -> Tensor:
        factor = _uniform(number, 1 - step.fraction, 1 + step.fraction, generator)
        return _matrices(xx=factor, yy=factor, number=number)

    return draw


def _translation(step: recipe.Translation) -> DrawMatrices:
    def draw(number: int, height: int, width: int, generator: Generator) -> Tensor:
        # The whole picture is 2 wide in these units.
        return _matrices(
            x=2 * _uniform(number, -step.width, step.width, generator),
            y=2 * _uniform(number, -step.height, step.height, generator),
            number=number,
        )

    return draw


def _shear(step: recipe.Shear) -> DrawMatrices:
    def draw(number: int, height: int, width: int, generator: Generator) -> Tensor:
        angle = _uniform(number, -step.degrees, step.degrees, generator).deg2rad()
        return _matrices(xy=angle.tan() * (height / width), number=number)

    return draw


def _random_crop(step: recipe.RandomCrop) -> DrawMatrices:
    def draw(number: int, height: int, width: int, generator: Generator) -> Tensor:
        shift = _choice(2 * number, 2 * step.padding + 1, generator) - step.padding
        return _matrices(x=shift[:number] * 2 / width, y=shift[number:] * 2 / height, number=number)

    return draw


def _random_resized_crop(step: recipe.RandomResizedCrop) -> DrawMatrices:
    def draw(number: int, height: int, width: int, generator: Generator) -> Tensor:
        area = _uniform(number, step.minimum_area, 1.0, generator)
        limit = math.log(step.maximum_aspect)
        aspect = _uniform(number, -limit, limit, generator).exp()
        # Widths and heights as shares of the picture's; a part cannot be larger than it.
        part_width = (area * aspect).sqrt().clamp(max=1.0)
        part_height = (area / aspect).sqrt().clamp(max=1.0)
        return _matrices(
            xx=part_width,
            yy=part_height,
            x=(1 - part_width) * _uniform(number, -1.0, 1.0, generator),
            y=(1 - part_height) * _uniform(number, -1.0, 1.0, generator),
            number=number,
        )

    return draw


# --- values: each returns new images, 0..255 -----------------------------------------------


def _a_number_an_image(images: Tensor, low: float, high: float, generator: Generator) -> Tensor:
    drawn = _uniform(len(images), low, high, generator)
    return drawn.to(images.device).reshape(-1, 1, 1, 1)


def _contrast(step: recipe.Contrast) -> ChangeValues:
    def change(images: Tensor, generator: Generator) -> Tensor:
        factor = _a_number_an_image(images, 1 - step.fraction, 1 + step.fraction, generator)
        mean = images.mean(dim=(2, 3), keepdim=True)
        return ((images - mean) * factor).add_(mean).clamp_(0, 255)

    return change


def _brightness(step: recipe.Brightness) -> ChangeValues:
    def change(images: Tensor, generator: Generator) -> Tensor:
        limit = step.fraction * 255
        added = _a_number_an_image(images, -limit, limit, generator)
        return (images + added).clamp_(0, 255)

    return change


def _cutout(step: recipe.Cutout) -> ChangeValues:
    """One square of the picture's own mean colour, wholly inside the picture."""

    def change(images: Tensor, generator: Generator) -> Tensor:
        number, _, height, width = images.shape
        side_y, side_x = round(step.fraction * height), round(step.fraction * width)
        top = _choice(number, height - side_y + 1, generator)
        left = _choice(number, width - side_x + 1, generator)
        y = torch.arange(height) - top[:, None]
        x = torch.arange(width) - left[:, None]
        rows, columns = (y >= 0) & (y < side_y), (x >= 0) & (x < side_x)
        blank = (rows[:, None, :, None] & columns[:, None, None, :]).to(images.device)
        return torch.where(blank, images.mean(dim=(2, 3), keepdim=True), images)

    return change


_GEOMETRY: dict[type, Callable[[Any], DrawMatrices]] = {
    recipe.Flip: _flip,
    recipe.QuarterTurns: _quarter_turns,
    recipe.Rotation: _rotation,
    recipe.Zoom: _zoom,
    recipe.Translation: _translation,
    recipe.Shear: _shear,
    recipe.RandomCrop: _random_crop,
    recipe.RandomResizedCrop: _random_resized_crop,
}
#: Geometric steps that only move whole pixels.
_EXACT = (recipe.Flip, recipe.QuarterTurns, recipe.RandomCrop)
_VALUES: dict[type, Callable[[Any], ChangeValues]] = {
    recipe.Contrast: _contrast,
    recipe.Brightness: _brightness,
    recipe.Cutout: _cutout,
}
