"""What the images of a table are like: sizes, formats, colour modes, brightness, sharpness.

Sizes, formats and modes come from the first bytes of each file, without decoding it.
Brightness, contrast, sharpness and colour come from the decoded pixels at a small size.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tellapart import cache
from tellapart.data.listing import shown
from tellapart.data.pixels import PixelCache
from tellapart.errors import DataError
from tellapart.machine import num_cores
from tellapart.pixels.formats import (
    IMAGE_EXTENSIONS,
    PICTURE_FORMATS,
    UnreadableImage,
    without_warnings,
)
from tellapart.pixels.headers import read_header
from tellapart.progress import SILENT, Progress

#: The looks of an image are measured at this many pixels a side.
SIDE = 64
#: A centre crop that loses more than this share of a picture is worth a warning.
CROP_LOSS = 0.2
#: A picture is grey if its channels differ by more than this at hardly any pixel.
_GREY_SPREAD, _GREY_SHARE = 12, 0.005
_BLOCK = 256
#: Pillow's name of a format -> its extensions.
_EXTENSIONS = {name: row.extensions for row in PICTURE_FORMATS for name in row.pillow_names}
#: How Pillow's modes are called by people.
MODE_NAMES = {
    "RGB": "colour",
    "L": "grey",
    "1": "black and white",
    "P": "palette",
    "PA": "palette with transparency",
    "RGBA": "colour with transparency",
    "LA": "grey with transparency",
    "CMYK": "CMYK (print)",
    "YCbCr": "colour (YCbCr)",
    "LAB": "colour (Lab)",
    "I": "grey, 32 bit",
    "F": "grey, floating point",
}


@dataclass(frozen=True)
class Headers:
    """What the files say of themselves; row i is image i of the table.

    ``widths`` and ``heights`` are those of the upright picture; ``turned`` says where the
    EXIF data turn it. ``formats`` and ``modes`` are Pillow's names.
    """

    #: int64 (N,), pixels.
    widths: NDArray[np.int64]
    heights: NDArray[np.int64]
    formats: NDArray[np.str_]
    modes: NDArray[np.str_]
    #: bool (N,).
    turned: NDArray[np.bool_]
    #: int64 (N,), size of the files in bytes.
    file_bytes: NDArray[np.int64]

    @property
    def aspect_ratios(self) -> NDArray[np.float64]:
        """Width / height, float64 (N,)."""
        ratios: NDArray[np.float64] = self.widths / self.heights
        return ratios

    @property
    def crop_losses(self) -> NDArray[np.float64]:
        """Share of each picture that a square centre crop leaves out, float64 (N,), 0..1.

        >>> one = np.array([1])
        >>> Headers(one * 400, one * 300, one, one, one, one).crop_losses
        array([0.25])
        """
        shorter = np.minimum(self.widths, self.heights)
        losses: NDArray[np.float64] = 1.0 - shorter / np.maximum(self.widths, self.heights)
        return losses


@dataclass(frozen=True)
class Looks:
    """How the pictures look, measured at ``SIDE`` x ``SIDE`` pixels; row i is image i.

    ``brightness`` is the mean luma, 0 black to 1 white. ``contrast`` is the luma's standard
    deviation on the same scale. ``sharpness`` is the standard deviation of the luma's
    Laplacian (4 neighbours), in grey levels: how much fine detail is left at that size.
    ``grey`` says whether the picture has no colour, whatever its file's mode.
    """

    #: float32 (N,).
    brightness: NDArray[np.float32]
    contrast: NDArray[np.float32]
    sharpness: NDArray[np.float32]
    #: bool (N,).
    grey: NDArray[np.bool_]


# --- from the files' first bytes ----------------------------------------------------------


def read_headers(pixels: PixelCache, *, progress: Progress = SILENT) -> Headers:
    """Read the headers of all files, or find them in the cache.

    Raises:
        DataError: a file that was read before is gone or has changed.
    """

    def build(folder: Path) -> None:
        headers = _read_all(pixels, progress)
        np.savez(
            folder / "headers.npz",
            widths=headers.widths,
            heights=headers.heights,
            formats=headers.formats,
            modes=headers.modes,
            turned=headers.turned,
            file_bytes=headers.file_bytes,
        )

    def opening(folder: Path) -> Headers:
        with np.load(folder / "headers.npz", allow_pickle=False) as found:
            return Headers(**{name: found[name] for name in found.files})

    # Equal contents have equal headers, so the digests of the files are the whole key.
    return cache.opened("headers", cache.combine_digests(pixels.digests), build, opening)


def _read_all(pixels: PixelCache, progress: Progress) -> Headers:
    table = pixels.table
    count = len(table)
    blocks = [range(s, min(s + _BLOCK, count)) for s in range(0, count, _BLOCK)]
    rows: list[tuple[int, int, str, str, bool, int]] = []
    with (
        progress.stage("Reading sizes", count, "images") as stage,
        without_warnings(),
        ThreadPoolExecutor(num_cores()) as pool,
    ):
        for block in pool.map(lambda numbers: [_header(table.file(i)) for i in numbers], blocks):
            rows += block
            stage.advance(len(block))
    columns = list(zip(*rows, strict=True)) or [()] * 6
    return Headers(
        widths=np.array(columns[0], dtype=np.int64),
        heights=np.array(columns[1], dtype=np.int64),
        formats=np.array(columns[2], dtype=np.str_),
        modes=np.array(columns[3], dtype=np.str_),
        turned=np.array(columns[4], dtype=np.bool_),
        file_bytes=np.array(columns[5], dtype=np.int64),
    )


def _header(file: Path) -> tuple[int, int, str, str, bool, int]:
    """Width, height, format, mode, whether EXIF turns it, and the file's size."""
    try:
        header = read_header(file)
        size = file.stat().st_size
    except (OSError, UnreadableImage) as error:
        raise DataError(
            f"{shown(file)} was there a moment ago and cannot be read now; run it again when "
            "nothing else changes the folder."
        ) from error
    return header.width, header.height, header.format, header.mode, header.turned, size


def has_wrong_extension(path: str, format: str) -> bool:
    """Whether a file's name promises another format than its content has.

    >>> has_wrong_extension("cat/1.png", "JPEG")
    True
    """
    extension = path.rpartition(".")[2].lower()
    return (
        format in _EXTENSIONS
        and extension in IMAGE_EXTENSIONS
        and extension not in _EXTENSIONS[format]
    )


def mode_name(mode: str) -> str:
    """A colour mode as people call it."""
    return MODE_NAMES.get(mode, "grey, 16 bit" if mode.startswith("I;16") else mode)


def counted(values: Iterable[str]) -> dict[str, int]:
    """How often each value occurs, the most frequent first."""
    return dict(sorted(Counter(map(str, values)).items(), key=lambda item: (-item[1], item[0])))


# --- from the pixels ----------------------------------------------------------------------


def measure_looks(pixels: NDArray[np.uint8], *, progress: Progress = SILENT) -> Looks:
    """Measure brightness, contrast, sharpness and colour.

    Args:
        pixels: uint8 (N, S, S, 3), RGB, 0..255; S is :data:`SIDE` or a multiple of it, which
            is averaged down to it.

    Raises:
        ValueError: the pixels have another size.
    """
    height, width = pixels.shape[1:3]
    if height != width or height % SIDE:
        raise ValueError(f"pixels must be {SIDE} x {SIDE} or a multiple: {height} x {width}")
    count = len(pixels)
    brightness, contrast, sharpness = (np.zeros(count, np.float32) for _ in range(3))
    grey = np.zeros(count, np.bool_)
    with progress.stage("Measuring brightness and sharpness", count, "images") as stage:
        for start in range(0, count, _BLOCK):
            rows = slice(start, start + _BLOCK)
            red, green, blue = _planes(np.asarray(pixels[rows]))
            luma = 0.299 * red + 0.587 * green + 0.114 * blue  # ITU-R BT.601
            brightness[rows] = luma.mean(axis=(1, 2)) / 255.0
            contrast[rows] = luma.std(axis=(1, 2)) / 255.0
            sharpness[rows] = _laplacian(luma).std(axis=(1, 2))
            spread = np.maximum(np.maximum(red, green), blue)
            spread -= np.minimum(np.minimum(red, green), blue)
            grey[rows] = (spread > _GREY_SPREAD).mean(axis=(1, 2)) < _GREY_SHARE
            stage.advance(len(luma))
    return Looks(brightness, contrast, sharpness, grey)


def _planes(block: NDArray[np.uint8]) -> NDArray[np.float32]:
    """float32 (3, N, SIDE, SIDE): the channels one after the other, averaged down."""
    planes = np.ascontiguousarray(block.transpose(3, 0, 1, 2))
    times = block.shape[1] // SIDE
    if times == 1:
        return planes.astype(np.float32)
    total = np.zeros((3, len(block), SIDE, SIDE), np.float32)
    for row in range(times):
        for column in range(times):
            total += planes[:, :, row::times, column::times]
    total /= times * times
    return total


def _laplacian(luma: NDArray[np.float32]) -> NDArray[np.float32]:
    """Sum of the four neighbours minus four times the pixel; inner pixels only."""
    inner = luma[:, 1:-1, 1:-1]
    around = luma[:, :-2, 1:-1] + luma[:, 2:, 1:-1] + luma[:, 1:-1, :-2] + luma[:, 1:-1, 2:]
    result: NDArray[np.float32] = around - 4.0 * inner
    return result
