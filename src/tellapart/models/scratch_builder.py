"""What the builders of networks from scratch take and give."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from tellapart.recipe import HeadLayer

Option = float | int | bool | str
Options = Mapping[str, Option]
#: Height and width in pixels.
ImageSize = tuple[int, int]
#: A backbone on normalised float images (N, 3, H, W), and the layers between it and the output.
Layers = tuple[nn.Module, list[HeadLayer]]
