"""The weights of a pretrained backbone, for images of one size, kept in the cache as arrays.

Once they are there nothing imports PyTorch or timm.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from tellapart import cache
from tellapart.models.tensors import joint_digest, tensor_digests
from tellapart.models.weights import canonical_name, fetch_weights, weights_digest
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


def _opened(
    model: BackboneModel, preprocessing: Preprocessing, opening: Callable[[Path], _T]
) -> _T:
    size = (preprocessing.height, preprocessing.width)

    def build(folder: Path) -> None:
        from safetensors.numpy import save

        from tellapart.models.backbone import build_backbone

        module = build_backbone(
            model.backbone, model.weights, features=model.features, image_size=size
        )
        state = {
            f"backbone.{name}": np.ascontiguousarray(value.detach().numpy())
            for name, value in module.state_dict().items()
        }
        (folder / _STATE).write_bytes(save(state))
        (folder / _DIGEST).write_text(joint_digest(tensor_digests(state)), "ascii")

    key = cache.text_digest(
        canonical_name(model.backbone),
        model.features,
        f"{size[0]} x {size[1]}",
        weights_digest(fetch_weights(model.backbone, model.weights)),
        f"timm {metadata.version('timm')}",
    )
    return cache.opened("backbones", key, build, opening)
