"""Heads on the features of a frozen backbone, as arrays: features in, logits out, no PyTorch.

Each has the tensors that ``models.head`` names in the same network as a module, so that a
stored classifier is one thing whether NumPy or PyTorch runs it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tellapart.recipe import BackboneModel, HeadLayer

Floats = NDArray[np.float32]

#: Similarities are divided by this before they become votes: a neighbour whose cosine is 0.1
#: below the nearest one's counts e times less.
SHARPNESS = 0.1
#: Votes that no neighbour casts, shared by all classes: no class is ever impossible.
SPARE_VOTES = 1.0

#: Images that are held against all references at a time.
_BLOCK = 1024
_OUTPUT, _HIDDEN = "head.output.", "head.hidden.0."


class FeatureHead(Protocol):
    """Features (..., D) of a frozen backbone to logits (..., C)."""

    def logits(self, features: Floats) -> Floats:
        """float32 (..., num_classes)."""

    def state(self) -> dict[str, NDArray[Any]]:
        """Its tensors, by their name in ``tellapart.models.network.Network``."""

    def model(self, backbone: BackboneModel) -> BackboneModel:
        """The model that backbone and head are together."""


@dataclass(frozen=True)
class LinearHead:
    """One linear layer: logistic regression, discriminant analysis."""

    weight: Floats  # (num_classes, D)
    bias: Floats  # (num_classes,)

    def logits(self, features: Floats) -> Floats:
        """Features (..., D) to logits (..., num_classes)."""
        result: Floats = features @ self.weight.T + self.bias
        return result

    def slope(self, features: Floats, column: int) -> Floats:
        """How much one logit grows with each feature, (D,), at features (D,)."""
        result: Floats = self.weight[column]
        return result

    def state(self) -> dict[str, NDArray[Any]]:
        """``head.output``."""
        return {f"{_OUTPUT}weight": self.weight, f"{_OUTPUT}bias": self.bias}

    def model(self, backbone: BackboneModel) -> BackboneModel:
        """The backbone under an output layer."""
        return backbone


@dataclass(frozen=True)
class HiddenLayerHead:
    """One hidden layer with ReLU, then a linear one."""

    hidden_weight: Floats  # (units, D)
    hidden_bias: Floats  # (units,)
    weight: Floats  # (num_classes, units)
    bias: Floats  # (num_classes,)

    def logits(self, features: Floats) -> Floats:
        """Features (..., D) to logits (..., num_classes)."""
        hidden = np.maximum(features @ self.hidden_weight.T + self.hidden_bias, 0)
        result: Floats = hidden @ self.weight.T + self.bias
        return result

    def slope(self, features: Floats, column: int) -> Floats:
        """How much one logit grows with each feature, (D,), at features (D,)."""
        active = features @ self.hidden_weight.T + self.hidden_bias > 0
        result: Floats = (self.weight[column] * active) @ self.hidden_weight
        return result

    def state(self) -> dict[str, NDArray[Any]]:
        """``head.hidden.0`` and ``head.output``."""
        return {
            f"{_HIDDEN}weight": self.hidden_weight,
            f"{_HIDDEN}bias": self.hidden_bias,
            f"{_OUTPUT}weight": self.weight,
            f"{_OUTPUT}bias": self.bias,
        }

    def model(self, backbone: BackboneModel) -> BackboneModel:
        """The backbone under a dense layer and an output layer."""
        layer = HeadLayer(layer="dense", units=len(self.hidden_bias))
        return backbone.model_copy(update={"head": (layer,)})


@dataclass(frozen=True)
class NeighboursHead:
    """Votes of the nearest reference vectors, by the cosine of centred features.

    The ``count`` nearest vote for their class, each by ``exp((cosine - largest cosine) /
    SHARPNESS)`` times its row of ``votes``; logits are the logarithms of the classes' shares.
    """

    references: Floats  # (M, D), centred and of length 1
    votes: Floats  # (M, num_classes), how much each speaks for each class
    mean: Floats  # (D,), what features are centred by
    count: int

    def logits(self, features: Floats) -> Floats:
        """Features (..., D) to logits (..., num_classes)."""
        flat = features.reshape(-1, features.shape[-1])
        found = [self._block(flat[k : k + _BLOCK]) for k in range(0, max(len(flat), 1), _BLOCK)]
        return np.concatenate(found).reshape(*features.shape[:-1], self.votes.shape[1])

    def _block(self, features: Floats) -> Floats:
        near = unit(features - self.mean) @ self.references.T
        order = np.argpartition(-near, self.count - 1, axis=-1)[..., : self.count]
        cosines = np.take_along_axis(near, order, axis=-1)
        cast = np.exp((cosines - cosines.max(axis=-1, keepdims=True)) / np.float32(SHARPNESS))
        sums = (cast[..., None] * self.votes[order]).sum(axis=-2)
        sums += np.float32(SPARE_VOTES / self.votes.shape[1])
        result: Floats = np.log(sums / sums.sum(axis=-1, keepdims=True)).astype(np.float32)
        return result

    def state(self) -> dict[str, NDArray[Any]]:
        """``head.output``, whose tensors are those of ``models.head.Neighbours``."""
        return {
            f"{_OUTPUT}references": self.references,
            f"{_OUTPUT}votes": self.votes,
            f"{_OUTPUT}mean": self.mean,
            f"{_OUTPUT}count": np.array([self.count], dtype=np.int64),
        }

    def model(self, backbone: BackboneModel) -> BackboneModel:
        """The backbone; that neighbours vote is said by the classifier's description."""
        return backbone


def unit(vectors: Floats) -> Floats:
    """Vectors (..., D) at length 1; one of zeros stays as it is."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    result: Floats = (vectors / np.where(length > 0, length, 1)).astype(np.float32)
    return result


def read_head(
    state: Mapping[str, NDArray[Any]], layers: Sequence[HeadLayer], outputs: int
) -> FeatureHead:
    """The layers of a head that the tensors of a network hold.

    Args:
        state: tensors by name; those of the backbone are not looked at.
        layers: hidden layers, of which there is at most one (:func:`can_be_frozen`).
        outputs: columns of the logits.

    Raises:
        ValueError: tensors are missing, or their shapes do not fit together; the text is the name
            of the first one.
    """
    if not layers:
        weight = _tensor(state, f"{_OUTPUT}weight", outputs, None)
        return LinearHead(weight, _tensor(state, f"{_OUTPUT}bias", outputs))
    units = layers[0].units
    return HiddenLayerHead(
        _tensor(state, f"{_HIDDEN}weight", units, None),
        _tensor(state, f"{_HIDDEN}bias", units),
        _tensor(state, f"{_OUTPUT}weight", outputs, units),
        _tensor(state, f"{_OUTPUT}bias", outputs),
    )


def read_neighbours(state: Mapping[str, NDArray[Any]], outputs: int) -> NeighboursHead:
    """The reference vectors that the tensors of a network hold.

    Raises:
        ValueError: as for :func:`read_head`.
    """
    references = _tensor(state, f"{_OUTPUT}references", None, None)
    count = int(_tensor(state, f"{_OUTPUT}count", 1)[0])
    if not 1 <= count <= len(references):
        raise ValueError(f"{_OUTPUT}count")
    return NeighboursHead(
        references,
        _tensor(state, f"{_OUTPUT}votes", len(references), outputs),
        _tensor(state, f"{_OUTPUT}mean", references.shape[1]),
        count,
    )


def can_be_frozen(model: BackboneModel) -> bool:
    """Whether a model is a backbone under a head of this module."""
    layers = model.head
    hidden = len(layers) == 1 and layers[0].layer == "dense" and layers[0].activation == "relu"
    return model.features == "pooled" and (not layers or hidden)


def _tensor(state: Mapping[str, NDArray[Any]], name: str, *shape: int | None) -> NDArray[Any]:
    """A tensor of this shape, None standing for any length."""
    found = state.get(name)
    if (
        found is None
        or found.ndim != len(shape)
        or any(wanted not in (None, size) for size, wanted in zip(found.shape, shape, strict=True))
    ):
        raise ValueError(name)
    return found
