"""Pictures of an explanation: arrays in, picture or matplotlib figure out."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tellapart.evaluation.plots.style import INK, MUTED, new_figure, set_title, style
from tellapart.explanation.feature_maps import most_varied
from tellapart.explanation.kernels import signed_parts

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: At most this many kernels and channels are drawn; more could not be told apart.
MAXIMUM_KERNELS = 64
MAXIMUM_CHANNELS = 28

#: Small images are enlarged to about this many pixels before they are drawn over.
_OVERLAY_SIDE = 336


def overlay(image: NDArray[np.uint8], heat: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The image in dark grey, and over it a glow where the heat is: uint8 (h, w, 3), RGB.

    More heat is always lighter, so the picture reads the same printed in grey and to
    colour-blind readers. Small images are enlarged.

    Args:
        image: uint8 (H, W, 3).
        heat: float (H, W), 0..1.
    """
    from matplotlib import colormaps
    from PIL import Image

    height, width = heat.shape
    scale = max(1, round(_OVERLAY_SIDE / max(height, width)))
    size = (width * scale, height * scale)
    grey = Image.fromarray(image).convert("L").resize(size, Image.Resampling.BICUBIC)
    large = Image.fromarray(heat.astype(np.float32)).resize(size, Image.Resampling.BICUBIC)
    strength = np.clip(np.asarray(large), 0, 1)[..., None]
    glow = colormaps["inferno"](0.45 + 0.5 * strength[..., 0])[..., :3]
    base = np.asarray(grey, dtype=np.float64)[..., None] / 255
    # A part of the brightness is left to the picture, so that it is seen through the glow.
    ground = 0.08 + 0.5 * base
    lit = glow * (0.55 + 0.45 * base)
    share = 0.9 * np.clip((strength - 0.1) / 0.6, 0, 1)  # a faint trace would tint everything
    mixed = ground * (1 - share) + lit * share
    drawn: NDArray[np.uint8] = np.clip(mixed * 255, 0, 255).round().astype(np.uint8)
    return drawn


def kernel_sheet(kernels: NDArray[np.float32]) -> Figure:
    """First-layer kernels (K, h, w, 3), RGB: what each wants to see, and what it does not.

    The two sheets have the same order; each part is divided by its own maximum. At most
    :data:`MAXIMUM_KERNELS` are drawn.
    """
    kernels = kernels[:MAXIMUM_KERNELS]
    columns = 8 if len(kernels) > 16 else 4
    rows = math.ceil(len(kernels) / columns)
    with style():
        figure, axes = new_figure(9.0, 0.75 + 4.1 * rows / columns, 1, 2)
        for panel, parts, name in zip(
            axes[0], signed_parts(kernels), ("Positive part", "Negative part"), strict=True
        ):
            _sheet(panel, parts, columns)
            panel.set_title(name, loc="left", fontsize=9.5, color=MUTED)
        set_title(figure, f"Kernels of the first layer: 0 to {len(kernels) - 1}")
    return figure


def feature_map_sheet(maps: NDArray[np.float32], image: NDArray[np.uint8], layer: str) -> Figure:
    """The channels of a layer that tell places apart most, after the image they come from.

    Args:
        maps: (C, h, w).
        image: uint8 (H, W, 3).
        layer: for the title.
    """
    chosen = most_varied(maps, MAXIMUM_CHANNELS)
    columns = 8
    rows = math.ceil((len(chosen) + 4) / columns) if len(chosen) > 4 else 2
    with style():
        figure, axes = new_figure(9.0, 0.5 + 1.13 * rows + 0.1, rows, columns)
        for panel in axes.flat:
            panel.set_axis_off()
        grid = axes[0, 0].get_gridspec()
        picture = figure.add_subplot(grid[:2, :2])
        picture.imshow(image, interpolation="nearest")
        picture.set_axis_off()
        free = [axes[r, c] for r in range(rows) for c in range(columns) if r > 1 or c > 1]
        for panel, channel in zip(free, chosen.tolist(), strict=False):
            panel.imshow(maps[channel], cmap="gray", interpolation="nearest")
            panel.set_title(str(channel), loc="left", fontsize=7, color=MUTED, pad=2)
        set_title(figure, f"Feature maps of layer {layer}: {len(chosen)} of {len(maps)} channels")
    return figure


def _sheet(axes: Axes, pictures: NDArray[np.float32], columns: int) -> None:
    """Small pictures (K, h, w, 3) side by side on one grid, the first of each row numbered."""
    number, height, width, _ = pictures.shape
    rows = math.ceil(number / columns)
    gap = max(1, round(0.12 * width))
    sheet = np.ones((rows * (height + gap) - gap, columns * (width + gap) - gap, 3))
    for index, picture in enumerate(pictures):
        top, left = (index // columns) * (height + gap), (index % columns) * (width + gap)
        sheet[top : top + height, left : left + width] = picture
    axes.imshow(sheet, interpolation="nearest")
    axes.set_yticks(
        [row * (height + gap) + (height - 1) / 2 for row in range(rows)],
        [str(row * columns) for row in range(rows)],
    )
    axes.set_xticks([])
    axes.tick_params(length=0, labelcolor=INK)
    for spine in axes.spines.values():
        spine.set_visible(False)
