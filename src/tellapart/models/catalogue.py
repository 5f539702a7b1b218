"""What pretrained networks there are, what each expects, and whether its weights are here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tellapart.errors import RecipeError, WeightsError
from tellapart.extras import require_pytorch
from tellapart.models.known import KNOWN, KnownNetwork
from tellapart.models.weights import (
    cached_names,
    canonical_name,
    create_network,
    locate_weights,
    pretrained_configuration,
)

if TYPE_CHECKING:
    from torch import nn


Channels = tuple[float, float, float]


@dataclass(frozen=True)
class BackboneInfo:
    """What a pretrained network is and expects.

    ``parameters`` counts the layers up to the features as Keras does (BatchNorm statistics
    included); ``feature_size`` is the length of the pooled vector; ``size`` the height and
    width of its pretraining; ``mean`` and ``std`` are of pixels scaled to 0..1.
    """

    name: str
    parameters: int
    feature_size: int
    size: int
    interpolation: str
    mean: Channels
    std: Channels
    licence: str
    weights_source: str


@dataclass(frozen=True)
class BackboneRow:
    """One line of ``tellapart backbones``; ``parameters`` is None where it was not counted."""

    name: str
    parameters: int | None
    size: int
    licence: str
    where: str
    source: str


def backbone_info(name: str, weights: str = "auto") -> BackboneInfo:
    """Describe a backbone with the weights that would be used.

    Normalisation and size come from the weights themselves, not from the architecture:
    the same network trained elsewhere may expect other numbers. PyTorch is not needed for
    the networks of :data:`tellapart.models.known.KNOWN`.

    Raises:
        RecipeError: there is no such network.
        WeightsError: the weights file does not exist.
    """
    name = canonical_name(name)
    source = locate_weights(name, weights)
    row = source.package
    known = KNOWN.get(name)
    if known is None and row is not None:
        known = KNOWN.get(name.removesuffix(".in1k"))
    known = known or _said_by_timm(name)
    return BackboneInfo(
        name=name,
        parameters=known.parameters,
        feature_size=known.feature_size,
        size=row.size if row else known.size,
        interpolation=row.interpolation if row else known.interpolation,
        mean=row.mean if row else known.mean,
        std=row.std if row else known.std,
        licence=row.licence if row else known.licence,
        weights_source=source.description,
    )


def _said_by_timm(name: str) -> KnownNetwork:
    """What timm says of a network that is not in :data:`tellapart.models.known.KNOWN`."""
    from tellapart.models.backbone import Backbone

    cut = Backbone(create_network_without_memory(name), "pooled")
    configuration = pretrained_configuration(name)
    return KnownNetwork(
        parameters=_count(cut),
        feature_size=cut.feature_size,
        size=configuration.input_size[-1],
        interpolation=configuration.interpolation,
        mean=tuple(configuration.mean),
        std=tuple(configuration.std),
        licence=configuration.license or "unknown",
        hub="",
        url="",
    )


def list_backbones(name_filter: str = "", *, count_up_to: int = 60) -> list[BackboneRow]:
    """Networks that can be a backbone, those whose weights are here first.

    Args:
        name_filter: a part of the name, or a pattern (``vit*patch16*``; ``*`` is all of timm).
            Empty: the best known ones, and those in the hub cache.
        count_up_to: parameters of less known networks are counted when no more than this many
            networks are listed (about 0.05 s each), and are None otherwise.

    Raises:
        RecipeError: no network with pretrained weights has such a name.
    """
    if not name_filter:
        names = [*KNOWN, *(name for name in cached_names() if name not in KNOWN)]
    else:
        require_pytorch("Looking through timm's networks")
        import timm

        pattern = name_filter if any(c in name_filter for c in "*?[") else f"*{name_filter}*"
        names = timm.list_models(pattern)
        alias = canonical_name(name_filter)
        names += [alias] if alias in KNOWN and alias not in names else []
    rows = []
    for name in names:
        try:
            rows.append(_row(name, count=len(names) <= count_up_to))
        except WeightsError:
            continue  # nobody offers weights for it
    if not rows:
        raise RecipeError(
            f"No network with pretrained weights has '{name_filter}' in its name; 'tellapart "
            f"backbones' lists the best known, 'tellapart backbones \"*\"' all."
        )
    order = ("package", "cache", "hub")
    return sorted(rows, key=lambda row: (order.index(row.where), row.name))


def _row(name: str, *, count: bool) -> BackboneRow:
    source = locate_weights(name)
    if name in KNOWN:
        info = backbone_info(name)
        parameters: int | None = info.parameters
        size, licence = info.size, info.licence
    else:
        from tellapart.models.backbone import Backbone

        configuration = pretrained_configuration(name)
        size, licence = configuration.input_size[-1], configuration.license or "unknown"
        if source.package is not None:
            size, licence = source.package.size, source.package.licence
        parameters = (
            _count(Backbone(create_network_without_memory(name), "pooled")) if count else None
        )
    return BackboneRow(name, parameters, size, licence, source.where, source.description)


def imagenet_labels() -> list[tuple[str, str]]:
    """WordNet id and description of each of the 1000 ImageNet classes, in class order."""
    from timm.data.imagenet_info import ImageNetInfo

    info: Any = ImageNetInfo()
    return [
        (info.index_to_label_name(i), info.index_to_description(i))
        for i in range(info.num_classes())
    ]


def create_network_without_memory(name: str) -> nn.Module:
    """A network on the meta device: shapes and counts, no numbers."""
    import torch

    with torch.device("meta"):
        return create_network(name)


def _count(module: nn.Module) -> int:
    """Parameters and BatchNorm statistics, as Keras counts."""
    statistics = (
        buffer.numel()
        for name, buffer in module.named_buffers()
        if name.endswith(("running_mean", "running_var"))
    )
    return sum(p.numel() for p in module.parameters()) + sum(statistics)
