"""The weights of a pretrained backbone, for images of one size, kept in the cache as arrays.

Once they are there nothing imports PyTorch or timm; those that come as packages never need it.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from tellapart import cache
from tellapart.extras import require_pytorch
from tellapart.models.lite import in_network, lite_name
from tellapart.models.tensors import joint_digest, tensor_digests
from tellapart.models.weights import (
    WeightsSource,
    canonical_name,
    fetch_weights,
    packaged_state,
    weights_digest,
)
from tellapart.pixels.preprocessing import Preprocessing
from tellapart.recipe import BackboneModel

_T = TypeVar("_T")
_STATE, _DIGEST = "state.safetensors", "digest.txt"


def backbone_state(model: BackboneModel, preprocessing: Preprocessing) -> dict[str, NDArray[Any]]:
    """The backbone's weights by their name in a Network: ``backbone.`` and timm's.

    Raises:
        WeightsError: weights are missing, damaged or of another network.
        RecipeError: the backbone cannot take images of this size.
    """
    from safetensors.numpy import load_file

    return _opened(model, preprocessing, lambda folder: dict(load_file(folder / _STATE)))


def backbone_digest(model: BackboneModel, preprocessing: Preprocessing) -> str:
    """Names the backbone's weights by their values: equal digests mean equal weights.

    It is :func:`~tellapart.models.tensors.joint_digest` of :func:`backbone_state`.

    Raises:
        WeightsError, RecipeError: as :func:`backbone_state`.
    """
    return _opened(model, preprocessing, lambda folder: (folder / _DIGEST).read_text("ascii"))


def network_definition(name: str) -> str:
    """What says how a network of this name computes: our own table, or a version of timm.

    Raises:
        MissingPackageError: timm would say it, and is not installed.
    """
    if lite_name(canonical_name(name)) is not None:
        return "EfficientNet-Lite 1"
    require_pytorch(f"The network '{name}'")
    return f"timm {metadata.version('timm')}"


def _opened(
    model: BackboneModel, preprocessing: Preprocessing, opening: Callable[[Path], _T]
) -> _T:
    size = (preprocessing.height, preprocessing.width)
    source = fetch_weights(model.backbone, model.weights)

    def build(folder: Path) -> None:
        from safetensors.numpy import save

        state = _packaged(model.backbone, source)
        if state is None:
            state = _from_timm(model, size)
        (folder / _STATE).write_bytes(save(state))
        (folder / _DIGEST).write_text(joint_digest(tensor_digests(state)), "ascii")

    key = cache.text_digest(
        canonical_name(model.backbone),
        model.features,
        f"{size[0]} x {size[1]}",
        weights_digest(source),
        network_definition(model.backbone),
    )
    return cache.opened("backbones", key, build, opening)


def _packaged(name: str, source: WeightsSource) -> dict[str, NDArray[Any]] | None:
    """The weights of a package as arrays, without PyTorch; None where they are others."""
    if source.package is None or lite_name(canonical_name(name)) is None:
        return None
    return in_network(packaged_state(canonical_name(name), source))


def _from_timm(model: BackboneModel, size: tuple[int, int]) -> dict[str, NDArray[Any]]:
    require_pytorch(f"Reading the weights of '{model.backbone}'")
    from tellapart.models.backbone import build_backbone

    module = build_backbone(model.backbone, model.weights, features=model.features, image_size=size)
    return {
        f"backbone.{name}": np.ascontiguousarray(value.detach().numpy())
        for name, value in module.state_dict().items()
    }
