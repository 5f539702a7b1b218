"""What happens to an image before a network sees it: the network's own preprocessing.

Needs no PyTorch for backbones, so that a run on cached features starts quickly.
"""

from __future__ import annotations

from tellapart.pixels.preprocessing import Preprocessing
from tellapart.recipe import BackboneModel, DataSettings, ScratchModel


def preprocessing_for(model: ScratchModel | BackboneModel, data: DataSettings) -> Preprocessing:
    """The recipe's size, fit and interpolation, else the network's own.

    Mean and std are always the network's own: those its weights were trained with, or
    those its definition names.

    Raises:
        RecipeError: there is no such network.
        WeightsError: a weights file does not exist.
    """
    if isinstance(model, ScratchModel):
        from tellapart.models.scratch import scratch_network

        row = scratch_network(model.network)
        size, interpolation, mean, std = row.image_size, "bilinear", row.mean, row.std
    else:
        from tellapart.models.catalogue import backbone_info

        info = backbone_info(model.backbone, model.weights)
        size, interpolation, mean, std = info.size, info.interpolation, info.mean, info.std
    side = data.image_size or size
    return Preprocessing(
        height=side,
        width=side,
        fit=data.fit,
        interpolation=data.interpolation or interpolation,
        mean=mean,
        std=std,
    )
