"""Whose weights a run builds on: where they come from, under which licence, learned from what."""

from __future__ import annotations

from collections.abc import Iterable

from tellapart.models.catalogue import backbone_info
from tellapart.models.known import KNOWN
from tellapart.models.weights import canonical_name, locate_weights, weights_digest
from tellapart.recipe import BackboneModel, NetworkModel
from tellapart.run_info import WeightsOrigin

#: What the tags at the end of timm's names mean; the first that fits counts.
TRAINED_ON: tuple[tuple[str, str], ...] = (
    ("in22k_ft_in1k", "ImageNet-22k, then ImageNet-1k"),
    ("in21k_ft_in1k", "ImageNet-21k, then ImageNet-1k"),
    ("in12k_ft_in1k", "ImageNet-12k, then ImageNet-1k"),
    ("in22k", "ImageNet-22k"),
    ("in21k", "ImageNet-21k"),
    ("in12k", "ImageNet-12k"),
    ("in1k", "ImageNet-1k"),
    ("laion2b", "LAION-2B"),
    ("lvd142m", "LVD-142M"),
    ("webli", "WebLI"),
)


def weights_origins(models: Iterable[NetworkModel]) -> tuple[WeightsOrigin, ...]:
    """The origins of the weights that several networks start from, each once."""
    found = (weights_origin(model) for model in models)
    return tuple(dict.fromkeys(origin for origin in found if origin is not None))


def weights_origin(model: NetworkModel) -> WeightsOrigin | None:
    """The origin of the weights that a model starts from; None where they are random.

    Raises:
        RecipeError, WeightsError: there is no such network, or no such file.
    """
    if not isinstance(model, BackboneModel) or model.weights == "none":
        return None
    name = canonical_name(model.backbone)
    source = locate_weights(name, model.weights)
    if source.where == "file":  # one's own: nobody but the user knows more
        return WeightsOrigin(name, "as its publisher says", "not known", source.description,
                             weights_digest(source))  # fmt: skip
    return WeightsOrigin(
        name=name,
        licence=backbone_info(name, model.weights).licence or "not known",
        trained_on=_trained_on(name, source.hub),
        source=source.description,
        sha256=weights_digest(source) if source.here else "",
    )


def _trained_on(name: str, hub: str) -> str:
    if name in KNOWN:
        return "ImageNet-1k"
    tag = f"{name} {hub}".rpartition(".")[2]
    return next((text for part, text in TRAINED_ON if part in tag), "not known")
