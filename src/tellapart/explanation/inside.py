"""A classifier's network opened up: which layers give maps, and what they say of an image.

PyTorch does it for every network; where it is not installed, NumPy for those that need none.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from tellapart.errors import RunError
from tellapart.extras import pytorch_is_here, require_pytorch
from tellapart.prediction.classifier import Classifier
from tellapart.wording import did_you_mean

#: Names listed in a message about a layer that does not exist.
_NAMES_SHOWN = 12


class LayerWithMap(Protocol):
    """A layer whose output is ``channels`` numbers at each of ``height`` x ``width`` places."""

    @property
    def name(self) -> str:
        """The module's path in the backbone, as timm has it."""

    @property
    def channels(self) -> int: ...

    @property
    def height(self) -> int: ...

    @property
    def width(self) -> int: ...


class Inside(Protocol):
    """A network opened up."""

    #: Of the images that it takes, in pixels.
    height: int
    #: Why there are no maps of evidence; "" where there are.
    refusal: str

    @property
    def layers(self) -> Sequence[LayerWithMap]:
        """Layers that give a map, in the order they finish."""

    @property
    def evidence_layer(self) -> LayerWithMap | None:
        """The layer on which Grad-CAM looks; None where there is none."""

    def evidence(self, images: NDArray[np.uint8], classes: Sequence[int]) -> NDArray[np.float32]:
        """Where the evidence for a class lies in each image, as ``explanation.gradcam`` says it.

        Args:
            images: uint8 (N, H, W, 3), prepared for the network.
            classes: the class to look for in each image, (N,).

        Returns:
            float32 (N, H, W), 0..1.
        """

    def maps(self, image: NDArray[np.uint8], layer: str) -> NDArray[np.float32]:
        """What a layer makes of an image, uint8 (H, W, 3): float32 (C, h, w)."""

    def kernels(self) -> NDArray[np.float32]:
        """The kernels of the first convolution over colours, float32 (K, h, w, 3).

        Raises:
            RunError: the network has none.
        """


def look_inside(classifier: Classifier, *, light: bool = False) -> Inside:
    """Open a classifier's network.

    Args:
        light: by NumPy wherever that does all, even if PyTorch is installed, which takes seconds
            to import.

    Raises:
        MissingPackageError: only PyTorch could, and it is not installed.
    """
    if light or not pytorch_is_here():
        plain = classifier.plain_network() or classifier.plain_backbone()
        if plain is not None and (plain.head is not None or not pytorch_is_here()):
            from tellapart.explanation.inside_lite import InsideLite

            return InsideLite(plain, classifier)
    require_pytorch("Looking inside this network")
    from tellapart.explanation.inside_module import InsideModule

    return InsideModule(classifier)


_Layer = TypeVar("_Layer", bound=LayerWithMap)


def layer_named(name: str, layers: Sequence[_Layer]) -> _Layer:
    """The layer of this name.

    Raises:
        RunError: no layer of this name gives a map; the message has the nearest names.
    """
    by_name = {layer.name: layer for layer in layers}
    if name in by_name:
        return by_name[name]
    step = max(1, math.ceil(len(by_name) / _NAMES_SHOWN))
    some = f" Some that do: {', '.join(list(by_name)[::step])}."
    hint = did_you_mean(name, by_name, most=3) or some
    raise RunError(f"--layer: no layer '{name}' of this network gives a map.{hint}")


def layer_to_show(layers: Sequence[_Layer], height: int) -> _Layer | None:
    """The deepest layer whose map still shows the picture: at least an eighth of its height."""
    fine = [layer for layer in layers if layer.height * 8 >= height and layer.height < height]
    shown = fine or layers
    return shown[-1] if shown else None
