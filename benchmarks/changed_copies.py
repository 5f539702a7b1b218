"""Copies of pictures as people and programs make them: mirrored, turned, framed, stamped.

``KINDS`` names a function for each; it takes a picture in RGB and a random generator and gives
the changed copy. Every copy is resized a little and recompressed as well.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

Random = np.random.Generator


def _cropped(image: Image.Image, random: Random) -> Image.Image:
    left, top, right, bottom = random.uniform(0.0, 0.06, 4)
    width, height = image.size
    box = (left * width, top * height, (1 - right) * width, (1 - bottom) * height)
    return image.crop(tuple(round(side) for side in box))


def _mirrored(image: Image.Image, random: Random) -> Image.Image:
    return ImageOps.mirror(image)


def _mirrored_and_cropped(image: Image.Image, random: Random) -> Image.Image:
    return _cropped(ImageOps.mirror(image), random)


def _upside_down(image: Image.Image, random: Random) -> Image.Image:
    turns = (Image.Transpose.FLIP_TOP_BOTTOM, Image.Transpose.ROTATE_180)
    return image.transpose(turns[random.integers(2)])


def _quarter_turned(image: Image.Image, random: Random) -> Image.Image:
    turns = (
        Image.Transpose.ROTATE_90,
        Image.Transpose.ROTATE_270,
        Image.Transpose.TRANSPOSE,
        Image.Transpose.TRANSVERSE,
    )
    return image.transpose(turns[random.integers(4)])


def _tilted(image: Image.Image, random: Random) -> Image.Image:
    """By 2 to 12 degrees: with corners of one colour, on a larger canvas, or cropped to content."""
    angle = float(random.uniform(2, 12) * random.choice([-1, 1]))
    way = random.integers(3)
    bicubic = Image.Resampling.BICUBIC
    if way == 2:
        turned = image.rotate(angle, bicubic)
        radians = np.deg2rad(abs(angle))
        width, height = image.size
        share = 1 / (np.cos(radians) + np.sin(radians) * max(width / height, height / width))
        across, down = width * (1 - share) / 2, height * (1 - share) / 2
        box = (across, down, width - across, height - down)
        return turned.crop(tuple(round(side) for side in box))
    fill = tuple(int(v) for v in random.choice([0, 255, 128]) * np.ones(3))
    return image.rotate(angle, bicubic, expand=bool(way), fillcolor=fill)


def _framed(image: Image.Image, random: Random) -> Image.Image:
    """A border of one colour, 3 to 12 % a side, on all sides or on two opposite ones."""
    colour = [(0, 0, 0), (255, 255, 255), tuple(int(v) for v in random.integers(0, 256, 3))]
    share = random.uniform(0.03, 0.12)
    across, down = round(share * image.width), round(share * image.height)
    way = random.integers(4)
    border = (0 if way == 0 else across, 0 if way == 1 else down)
    return ImageOps.expand(image, border, fill=colour[random.integers(3)])


def _stamped(image: Image.Image, random: Random) -> Image.Image:
    """A date, a line of text across, or a block that hides 3 to 10 % of the picture."""
    stamped = image.copy()
    draw = ImageDraw.Draw(stamped, "RGBA")
    width, height = image.size
    way = random.integers(3)
    if way == 0:
        size = round(0.07 * height)
        place = (random.uniform(0.03, 0.4) * width, random.choice([0.03, 0.88]) * height)
        draw.text(place, "2019-07-23 14:05", fill=(255, 160, 0), font=ImageFont.load_default(size))
    elif way == 1:
        size = round(0.13 * width)
        place = (0.08 * width, random.uniform(0.3, 0.6) * height)
        font = ImageFont.load_default(size)
        draw.text(place, "SAMPLE 123", fill=(255, 255, 255, 170), font=font)
    else:
        area, shape = random.uniform(0.03, 0.10), random.uniform(0.5, 2.0)
        across, down = np.sqrt(area * shape) * width, np.sqrt(area / shape) * height
        left = random.choice([0.02, random.uniform(0.1, 0.5), 0.98 - across / width]) * width
        top = random.choice([0.02, random.uniform(0.1, 0.5), 0.98 - down / height]) * height
        colour = tuple(int(v) for v in random.integers(0, 256, 3))
        draw.rectangle((left, top, left + across, top + down), fill=colour)
    return stamped


KINDS: dict[str, Callable[[Image.Image, Random], Image.Image]] = {
    "cropped": _cropped,
    "mirrored": _mirrored,
    "mirrored and cropped": _mirrored_and_cropped,
    "upside down": _upside_down,
    "quarter-turned": _quarter_turned,
    "tilted": _tilted,
    "framed": _framed,
    "stamped": _stamped,
}


def changed_copy(image: Image.Image, kind: str, random: Random) -> bytes:
    """A JPEG of the changed picture, 0.6 to 1.4 times as large, of quality 40 to 90."""
    changed = KINDS[kind](image.convert("RGB"), random)
    scale = random.uniform(0.6, 1.4)
    size = (max(8, round(scale * changed.width)), max(8, round(scale * changed.height)))
    buffer = io.BytesIO()
    quality = int(random.integers(40, 90))
    changed.resize(size, Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()
