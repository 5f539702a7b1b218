"""Backbone: a pretrained timm network cut where its features leave."""

from __future__ import annotations

import warnings
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from tellapart.errors import RecipeError
from tellapart.models.weights import load_pretrained


class Backbone(nn.Module):
    """Normalised float images (N, 3, H, W) -> features.

    Pooled features are what the network's own classifier reads, (N, D); for VGG, whose
    classifier sits on two huge dense layers, they are the average of the map. The map is
    (N, D, h, w). Layers above the features are removed.

    A frozen part stays in inference mode whatever ``train()`` is called on it or on a
    network around it: ``frozen`` does it for the whole backbone, ``batch_norm_frozen``
    for its BatchNorm layers. :func:`tellapart.models.freezing.freeze` sets both.
    """

    def __init__(self, network: nn.Module, features: Literal["pooled", "map"]) -> None:
        super().__init__()
        net: Any = network
        self.name: str = net.pretrained_cfg.get("architecture", type(network).__name__)
        self.features = features
        self.frozen = False
        self.batch_norm_frozen = False
        self.channels_last_map = getattr(net, "output_fmt", "NCHW") == "NHWC"
        self.average_map = type(network).__name__ == "VGG"
        if self.average_map:
            net.pre_logits, net.head = nn.Identity(), nn.Identity()
            self.feature_size: int = net.num_features
        else:
            self._remove_classifier(net)
            self.feature_size = (
                net.num_features if features == "map" else net.head_hidden_size or net.num_features
            )
        self.network = network
        if features == "map":
            self._refuse_without_map()

    def forward(self, images: Tensor) -> Tensor:
        net: Any = self.network
        map_: Tensor = net.forward_features(images)
        if self.features == "pooled" and not self.average_map:
            pooled: Tensor = net.forward_head(map_, pre_logits=True)
            return pooled
        if self.channels_last_map:
            map_ = map_.permute(0, 3, 1, 2)
        return map_ if self.features == "map" else map_.mean((2, 3))

    def train(self, mode: bool = True) -> Backbone:
        super().train(mode and not self.frozen)
        if self.batch_norm_frozen:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def set_image_size(self, height: int, width: int) -> None:
        """Make a network with a position for each patch take images of another size.

        Its position embeddings are interpolated, by timm. Networks that take any size stay
        as they are, and so do those that take no other.

        Raises:
            RecipeError: the images are too small for its patches or windows.
        """
        net: Any = self.network
        own = tuple(net.pretrained_cfg.get("input_size", (3, 0, 0))[1:])
        if (height, width) == own or not hasattr(net, "set_input_size"):
            return
        try:
            with warnings.catch_warnings():  # about timm's own way to interpolate
                warnings.filterwarnings("ignore", module=r"timm\.layers")
                net.set_input_size(img_size=(height, width))
        except (RuntimeError, AssertionError, ValueError, ZeroDivisionError) as error:
            raise _bad_size(self, height, width, error) from error

    def _remove_classifier(self, net: Any) -> None:
        """Drop the classifier; where only the map is asked for, its own layers as well."""
        net.reset_classifier(0)
        if getattr(net, "head_hidden_size", None) is None:
            net.head_hidden_size = net.num_features

    def _refuse_without_map(self) -> None:
        """Say so at once where the features are a sequence of tokens, not a map."""
        net: Any = self.network
        configuration = net.pretrained_cfg
        tokens = hasattr(net, "pos_embed") and hasattr(net, "patch_embed")
        if tokens and not self.channels_last_map and not hasattr(net, "stages"):
            raise RecipeError(
                f"The backbone '{configuration.get('architecture', self.name)}' gives a sequence "
                f"of tokens, not a spatial map: set model.features=pooled, or choose a "
                f"convolutional network."
            )


def build_backbone(
    name: str,
    weights: str = "auto",
    *,
    features: Literal["pooled", "map"] = "pooled",
    image_size: tuple[int, int] | None = None,
) -> Backbone:
    """Build a pretrained network that ends in features.

    Args:
        name: a timm name.
        weights: "auto", "none" (random, the same every time) or a file, see
            :func:`tellapart.models.weights.locate_weights`.
        features: "pooled" gives (N, D), "map" the spatial map before pooling, (N, D, h, w).
        image_size: height and width of the images to come; None: those of its pretraining,
            or any, where the network takes any.

    Returns:
        A module on normalised float images (N, 3, H, W).

    Raises:
        RecipeError: there is no such network, it has no spatial map, or it cannot take
            images of this size.
        WeightsError: weights are missing, damaged or of another network.
    """
    backbone = Backbone(load_pretrained(name, weights), features)
    if image_size is not None:
        backbone.set_image_size(*image_size)
        feature_shape(backbone, *image_size)  # refuses a size that it cannot take
    return backbone


def load_imagenet_network(name: str, weights: str = "auto") -> nn.Module:
    """A network with its own classifier of the 1000 ImageNet classes, in inference mode.

    It takes normalised float images (N, 3, H, W) and gives logits (N, 1000), in the order
    of :func:`imagenet_labels`.

    Raises:
        RecipeError: there is no such network, or its classifier has other classes.
        WeightsError: weights are missing, damaged or of another network.
    """
    network = load_pretrained(name, weights)
    classes: Any = network.num_classes
    if classes != 1000:
        raise RecipeError(
            f"The backbone '{name}' was trained on {classes} classes, not on the 1000 of "
            f"ImageNet: choose another, for example tf_efficientnet_lite0."
        )
    return network.eval()


def feature_shape(backbone: Backbone, height: int, width: int) -> tuple[int, ...]:
    """Shape of one image's features, (D,) or (D, h, w), at an image size.

    Raises:
        RecipeError: the backbone cannot work on images of this size; the message says why.
    """
    parameter = next(backbone.parameters())
    was_training = backbone.training
    backbone.eval()
    try:
        with torch.no_grad():
            example = torch.zeros(1, 3, height, width, device=parameter.device)
            features: Any = backbone(example.to(parameter.dtype))
    except (RuntimeError, AssertionError, ValueError) as error:
        raise _bad_size(backbone, height, width, error) from error
    finally:
        backbone.train(was_training)
    # Networks of several branches end in a list of maps.
    shape = tuple(features.shape[1:]) if isinstance(features, Tensor) else ()
    if not shape or 0 in shape or (backbone.features == "map" and len(shape) != 3):
        found = f"features of shape {shape}" if shape else "but several"
        raise RecipeError(
            f"The backbone '{backbone.name}' gives no spatial map at {height} x {width} pixels "
            f"({found}): use larger images, or set model.features=pooled."
        )
    return shape


def _bad_size(backbone: Backbone, height: int, width: int, error: Exception) -> RecipeError:
    reason = str(error).strip().splitlines()
    return RecipeError(
        f"The backbone '{backbone.name}' cannot take images of {height} x {width} pixels "
        f"({reason[0] if reason else type(error).__name__}): set data.image_size to the size "
        f"of its pretraining, which 'tellapart backbones {backbone.name}' tells."
    )
