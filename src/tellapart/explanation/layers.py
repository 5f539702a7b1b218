"""Which layers of a network give a map, and how its numbers lie in their tensor."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from tellapart.errors import RunError
from tellapart.models.network import Network

Layout = Literal["channels_first", "channels_last", "tokens"]


@dataclass(frozen=True)
class MapLayer:
    """A layer whose output is ``channels`` numbers at each of ``height`` x ``width`` places.

    ``name`` is the module's path in the backbone, as timm has it. ``layout`` says how the
    numbers lie in the output tensor: (N, C, h, w), (N, h, w, C), or tokens (N, P + h * w, C)
    of which the first P belong to no place.
    """

    name: str
    module: nn.Module
    layout: Layout
    channels: int
    height: int
    width: int

    def to_map(self, output: Tensor) -> Tensor:
        """The layer's output as a map (N, C, h, w)."""
        if self.layout == "channels_first":
            return output
        if self.layout == "channels_last":
            return output.permute(0, 3, 1, 2)
        places = output[:, -self.height * self.width :].transpose(1, 2)
        return places.reshape(len(output), self.channels, self.height, self.width)


def map_layers(network: Network, height: int, width: int) -> list[MapLayer]:
    """Layers of the backbone that give a map for images of this size, in the order they finish.

    A block comes after the layers inside it. Maps of a single place are left out: they say
    nothing about where.
    """
    grid = _token_grid(network.backbone)
    found: dict[str, MapLayer] = {}

    names = {
        module: name.removeprefix("network.")
        for name, module in network.backbone.named_modules()
        if name not in ("", "network")
    }

    def look(module: nn.Module, _: object, output: object) -> None:
        if isinstance(output, Tensor) and len(output) == 1:
            name = names[module]
            layer = _map_layer(name, module, tuple(output.shape), height / width, grid)
            if layer is not None and layer.height * layer.width > 1:
                found.pop(name, None)  # called again: its place is where it finished last
                found[name] = layer

    hooks = [module.register_forward_hook(look) for module in names]
    was_training = network.training
    network.eval()
    try:
        with torch.no_grad():
            device = next(network.parameters()).device
            network(torch.zeros(1, 3, height, width, device=device))
    finally:
        network.train(was_training)
        for hook in hooks:
            hook.remove()
    return list(found.values())


def evidence_layer(network: Network, layers: list[MapLayer]) -> MapLayer:
    """The layer on which Grad-CAM looks: the last map before the places are pooled.

    In a vision transformer it is what the last attention layer reads, because of that
    layer's own output the class score may use the class token alone.

    Args:
        layers: of :func:`map_layers`.

    Raises:
        RunError: the network keeps no map of places to its end.
    """
    maps = [layer for layer in layers if layer.layout != "tokens"]
    backbone: Any = network.backbone
    blocks = getattr(getattr(backbone, "network", None), "blocks", None)
    if _token_grid(backbone) is not None and blocks is not None:
        name = f"blocks.{len(blocks) - 1}.norm1"
        maps = [layer for layer in layers if layer.name == name]
    if not maps:
        kind = getattr(backbone, "name", type(backbone).__name__)
        raise RunError(
            f"Grad-CAM needs a layer that keeps a map of places, and the network '{kind}' has "
            "none that is known here; occlusion and nearest images explain it all the same."
        )
    return maps[-1]


def _map_layer(
    name: str,
    module: nn.Module,
    shape: tuple[int, ...],
    aspect: float,
    grid: tuple[int, int] | None,
) -> MapLayer | None:
    """How an output of this shape (for one image) is a map, or None if it is none."""
    if len(shape) == 4:
        _, a, b, c = shape
        # The two sides of a map have the aspect of the image: in (C, h, w) they come last.
        first, last = (abs(math.log(h / w / aspect)) for h, w in ((b, c), (a, b)))
        if first <= last:
            return MapLayer(name, module, "channels_first", a, b, c)
        return MapLayer(name, module, "channels_last", c, a, b)
    if len(shape) == 3 and grid is not None:
        _, tokens, channels = shape
        height, width = grid
        if 0 <= tokens - height * width <= 16:  # class and register tokens come first
            return MapLayer(name, module, "tokens", channels, height, width)
    return None


def _token_grid(backbone: Any) -> tuple[int, int] | None:
    """Rows and columns of patches, for networks that turn an image into tokens."""
    patches = getattr(getattr(backbone, "network", None), "patch_embed", None)
    grid = getattr(patches, "grid_size", None)
    if grid is None or getattr(backbone, "channels_last_map", False):
        return None
    return int(grid[0]), int(grid[1])
