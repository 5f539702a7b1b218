"""Small labelled image folders, made on the spot, in which the classes can be learnt.

A picture is a coloured shape at a random place on an uneven grey ground, with noise. The
class gives colour and shape; place, size, ground and noise come from the seed, so no two
pictures are alike and the same call writes the same files.
"""

from __future__ import annotations

import colorsys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance

COLOURS = {
    "red": (210, 40, 40),
    "green": (40, 170, 60),
    "blue": (50, 70, 210),
    "yellow": (220, 200, 40),
    "purple": (150, 50, 170),
    "cyan": (40, 190, 200),
}
SHAPES = ("disc", "square", "diamond", "ring")


def colour_of(name: str, index: int) -> tuple[int, int, int]:
    """The colour of a class: its own name's, else a hue by its place among the classes."""
    if name in COLOURS:
        return COLOURS[name]
    red, green, blue = colorsys.hsv_to_rgb((index * 0.381966) % 1.0, 0.8, 0.85)
    return int(255 * red), int(255 * green), int(255 * blue)


def make_picture(
    colour: tuple[int, int, int],
    shape: str,
    seed: Sequence[int] | int,
    size: tuple[int, int] = (40, 32),
    noise: float = 12.0,
) -> NDArray[np.uint8]:
    """One picture, uint8 (height, width, 3), RGB; ``size`` is (width, height)."""
    width, height = size
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    ground = random.uniform(60, 190) + random.uniform(-1.5, 1.5) * (x - width / 2)
    ground = ground + random.uniform(-1.5, 1.5) * (y - height / 2)
    picture = np.repeat(ground[..., None], 3, axis=2)
    radius = random.uniform(0.22, 0.36) * min(width, height)
    dx = x - random.uniform(radius, width - radius)
    dy = y - random.uniform(radius, height - radius)
    distance = {
        "disc": np.hypot(dx, dy),
        "square": np.maximum(abs(dx), abs(dy)) * 1.13,
        "diamond": (abs(dx) + abs(dy)) * 0.8,
        "ring": np.hypot(dx, dy),
    }[shape]
    inside = distance <= radius
    if shape == "ring":
        inside &= distance >= 0.5 * radius
    picture[inside] = colour
    picture += random.normal(0, noise, picture.shape)
    return np.clip(picture, 0, 255).astype(np.uint8)


def write_image(
    path: Path,
    colour: tuple[int, int, int] = (210, 40, 40),
    shape: str = "disc",
    seed: Sequence[int] | int = 0,
    size: tuple[int, int] = (40, 32),
) -> Path:
    """Write one picture; the extension chooses the format. Returns the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(make_picture(colour, shape, seed, size)).save(path)
    return path


def write_folder(
    root: Path,
    classes: Sequence[str] = ("blue", "red"),
    per_class: int = 12,
    size: tuple[int, int] = (40, 32),
    parts: Mapping[str, int] | None = None,
    extension: str = "jpg",
    seed: int = 0,
) -> Path:
    """Write ``root/class/0000.jpg`` or, with ``parts``, ``root/part/class/0000.jpg``.

    ``parts`` maps a part's folder name to its number of images a class, as in
    ``{"train": 8, "validation": 4, "test": 4}``; ``per_class`` counts without it.
    """
    for part, count in (parts or {"": per_class}).items():
        for index, name in enumerate(classes):
            for number in range(count):
                write_image(
                    root / part / name / f"{number:04d}.{extension}",
                    colour_of(name, index),
                    SHAPES[index % len(SHAPES)],
                    seed=(seed, index, number, *part.encode()),
                    size=size,
                )
    return root


def photograph(seed: int) -> Image.Image:
    """A picture with large and small structure, like no other seed's."""
    random = np.random.default_rng(seed)
    small = random.integers(0, 256, (9, 9, 3), dtype=np.uint8)
    image = Image.fromarray(small).resize((160, 140), Image.Resampling.BICUBIC)
    noise = random.normal(0, 6, (140, 160, 3))
    return Image.fromarray(np.clip(np.asarray(image) + noise, 0, 255).astype(np.uint8))


def recompressed(image: Image.Image, file: Path) -> None:
    image.save(file, quality=40)


def resized(image: Image.Image, file: Path) -> None:
    image.resize((97, 83), Image.Resampling.LANCZOS).save(file, quality=90)


def cropped(image: Image.Image, file: Path) -> None:
    width, height = image.size
    box = (round(0.04 * width), round(0.03 * height), round(0.97 * width), round(0.96 * height))
    image.crop(box).save(file, quality=90)


def brightened(image: Image.Image, file: Path) -> None:
    ImageEnhance.Brightness(image).enhance(1.2).save(file, quality=90)


#: What makes a near copy of a picture: each writes one.
CHANGES = (recompressed, resized, cropped, brightened)
