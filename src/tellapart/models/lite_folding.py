"""Convolutions of EfficientNet-Lite with the BatchNorm behind them folded in.

``scale = gamma / sqrt(variance + epsilon)``; kernels are multiplied by it, and the bias is
``beta - mean * scale``. PyTorch's exporter takes the root by a library that rounds it otherwise
than IEEE says, and in bfloat16 a last bit of a weight shows. So for the weights that come as
packages scale and bias are those that it gives, kept beside this module (``tools/fold_lite.py``
writes them): the network is the same to the bit with and without PyTorch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tellapart.models.lite import EPSILON, LITE, Layer, State, lite_digest
from tellapart.models.tensors import read_header, read_tensors, write_tensors

Floats = NDArray[np.float32]
_FOLDER = Path(__file__).parent / "lite_scales"


@dataclass(frozen=True)
class Folded:
    """What one layer does to a map before it is clipped."""

    weight: Floats  # (out, in, k, k)
    bias: Floats  # (out,)


def fold(state: State, layer: Layer, kept: Mapping[str, NDArray[Any]]) -> Folded:
    """A layer's convolution and BatchNorm as one.

    Args:
        state: the network's tensors by timm's names.
        kept: of :func:`kept_scales`; empty: computed here.
    """
    weight = state[layer.weight]
    scale = kept.get(f"{layer.norm}.scale")
    if scale is None:
        scale = computed_scale(state, layer)
    bias = kept.get(f"{layer.norm}.bias")
    if bias is None:
        bias = state[f"{layer.norm}.bias"] - state[f"{layer.norm}.running_mean"] * scale
    return Folded(weight * scale[:, None, None, None], bias)


def computed_scale(state: State, layer: Layer) -> Floats:
    """``gamma / sqrt(variance + epsilon)`` in float32, (out,)."""
    variance = state[f"{layer.norm}.running_var"] + np.float32(EPSILON)
    scale: Any = state[f"{layer.norm}.weight"] / np.sqrt(variance)
    return np.asarray(scale, np.float32)


def kept_scales(state: State) -> Mapping[str, NDArray[Any]]:
    """``NORM.scale`` and ``NORM.bias`` that are kept for these very weights; empty for others."""
    return _kept_by_digest().get(lite_digest(state), {})


def are_kept(digest: str) -> bool:
    """Whether scales are kept for the weights of this :func:`lite_digest`."""
    return digest in _kept_by_digest()


def write_scales(name: str, state: State, scales: Mapping[str, NDArray[Any]]) -> Path:
    """Keep scales and biases for the weights of a network of ``LITE``."""
    _FOLDER.mkdir(exist_ok=True)
    file = _FOLDER / f"{name}.safetensors"
    write_tensors(file, scales, lite_digest(state))
    return file


@lru_cache(maxsize=1)
def _kept_by_digest() -> dict[str, dict[str, NDArray[Any]]]:
    found = {}
    for name in LITE:
        file = _FOLDER / f"{name}.safetensors"
        if file.is_file():
            header = read_header(file)
            found[header.text] = read_tensors(file, header.digest)[0]
    return found
