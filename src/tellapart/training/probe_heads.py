"""The heads that a probe can have, as a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from tellapart.models.feature_heads import LinearHead
from tellapart.progress import SILENT, Progress
from tellapart.recipe import ProbeSettings
from tellapart.training.fitted import FittedHead
from tellapart.training.selection import ProbeData


@dataclass(frozen=True)
class HeadRow:
    """One kind of head: ``probe.head`` of a recipe."""

    name: str
    #: What it is, in a few words.
    summary: str
    fit: Callable[[ProbeData, ProbeSettings, Progress], FittedHead]
    #: Settings of ``probe`` that it alone reads.
    settings: tuple[str, ...]
    #: Whether it is one linear layer, which features of several backbones can share.
    is_linear: bool


def _fit_logistic(data: ProbeData, settings: ProbeSettings, progress: Progress) -> FittedHead:
    from tellapart.training.probe import train_probe

    probe = train_probe(
        data.train, data.labels, data.validation, data.validation_labels, settings,
        num_classes=data.num_classes, seed=data.seed, progress=progress,
    )  # fmt: skip
    return FittedHead(
        LinearHead(probe.weight, probe.bias),
        {
            "strength": probe.strength,
            "strength_chosen_by": probe.chosen_by,
            "strength_log_losses": {str(k): v for k, v in probe.losses.items()},
        },
    )


def _fit_discriminant(data: ProbeData, settings: ProbeSettings, progress: Progress) -> FittedHead:
    from tellapart.training.discriminant import fit_discriminant

    return fit_discriminant(data, settings, progress)


def _fit_network(data: ProbeData, settings: ProbeSettings, progress: Progress) -> FittedHead:
    from tellapart.training.hidden_network import fit_hidden_network

    return fit_hidden_network(data, settings, progress)


def _fit_neighbours(data: ProbeData, settings: ProbeSettings, progress: Progress) -> FittedHead:
    from tellapart.training.nearest import fit_neighbours

    return fit_neighbours(data, settings, progress)


#: A new one is a module with its function, a row here, and its name in ``recipe.ProbeSettings``.
HEADS: Mapping[str, HeadRow] = MappingProxyType(
    {
        row.name: row
        for row in (
            HeadRow("logistic", "regularised logistic regression", _fit_logistic,
                    ("strengths",), is_linear=True),
            HeadRow("discriminant", "shrinkage discriminant analysis", _fit_discriminant,
                    ("shrinkages",), is_linear=True),
            HeadRow("network", "a network with one hidden layer", _fit_network,
                    ("units",), is_linear=False),
            HeadRow("neighbours", "votes of the nearest training images", _fit_neighbours,
                    ("neighbours",), is_linear=False),
        )
    }
)  # fmt: skip


def fit_head(data: ProbeData, settings: ProbeSettings, progress: Progress = SILENT) -> FittedHead:
    """Fit the head that the settings name; its own settings are chosen on held-out images.

    Raises:
        DataError: images are too few, or too many, for it.
    """
    return HEADS[settings.head].fit(data, settings, progress)
