"""What of a backbone moves in training: stages, selection, freezing, description.

"Layer" is counted as people count Keras layers: a module with weights of its own
(convolution, dense, normalisation), in the order in which the network defines them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tellapart.errors import RecipeError

if TYPE_CHECKING:
    from torch import nn

    from tellapart.recipe import Trainable


@dataclass(frozen=True)
class TrainableDescription:
    """Names and counts of what moves and what does not.

    ``moving`` and ``still`` hold one (layer, number of values) row a layer; values of
    ``still`` include BatchNorm statistics, as Keras counts them.
    """

    moving: tuple[tuple[str, int], ...]
    still: tuple[tuple[str, int], ...]
    batch_norm: str

    @property
    def trainable(self) -> int:
        """Number of values that gradient descent moves."""
        return sum(count for _, count in self.moving)

    @property
    def frozen(self) -> int:
        """Number of values that stay, or that only BatchNorm's averages move."""
        return sum(count for _, count in self.still)

    def text(self) -> str:
        """Two or three lines for people."""
        return (
            f"moves: {self.trainable:,} values in {len(self.moving)} layers"
            f"{_span(self.moving)}\n"
            f"stays: {self.frozen:,} values in {len(self.still)} layers{_span(self.still)}\n"
            f"BatchNorm of the backbone: {self.batch_norm}"
        )


def backbone_stages(backbone: nn.Module) -> list[tuple[str, list[nn.Module]]]:
    """Parts of a backbone from input to output, for layer-wise learning rates and unfreezing.

    Each stage is a name and its modules with parameters of their own: read them with
    ``module.parameters(recurse=False)``, and every parameter of the backbone is there once.
    VGG is cut at its pooling layers, other timm networks where timm's own layer groups are,
    anything else at its direct children.
    """
    network: Any = getattr(backbone, "network", backbone)
    owners = [
        (name, module)
        for name, module in network.named_modules()
        if next(module.parameters(recurse=False), None) is not None
    ]
    number_of = _stage_numbers(network, [name for name, _ in owners])
    grouped: dict[int, list[tuple[str, nn.Module]]] = {}
    for name, module in owners:
        grouped.setdefault(number_of[name], []).append((name, module))
    is_vgg = type(network).__name__ == "VGG"
    return [
        (
            f"block{number + 1}" if is_vgg else _stage_name([name for name, _ in rows]),
            [module for _, module in rows],
        )
        for number, rows in sorted(grouped.items())
    ]


def layers(backbone: nn.Module) -> list[tuple[str, nn.Module]]:
    """Modules with weights of their own, by name, from input to output."""
    return [
        (name, module)
        for name, module in backbone.named_modules()
        if next(module.parameters(recurse=False), None) is not None
    ]


def select_trainable(backbone: nn.Module, trainable: Trainable) -> list[str]:
    """Names of the backbone's parameters that a recipe lets move.

    A BatchNorm that is frozen does not move its scale and shift either, as in Keras.

    Raises:
        RecipeError: a module path does not exist, or fewer layers exist than asked for.
    """
    from torch.nn.modules.batchnorm import _BatchNorm

    rows = layers(backbone)
    if trainable.backbone == "none":
        chosen = []
    elif trainable.backbone == "all":
        chosen = rows
    elif trainable.backbone == "last_layers":
        wanted = trainable.last_layers or 0
        if wanted > len(rows):
            raise RecipeError(
                f"trainable.last_layers={wanted}: this backbone has {len(rows)} layers with "
                f"weights; ask for fewer, or set trainable.backbone=all."
            )
        chosen = rows[len(rows) - wanted :]
    else:
        chosen = _below(rows, trainable.modules)
    names = []
    for layer, module in chosen:
        if trainable.batch_norm == "frozen" and isinstance(module, _BatchNorm):
            continue
        names += [
            f"{layer}.{name}" if layer else name
            for name, _ in module.named_parameters(recurse=False)
        ]
    return names


def freeze(network: nn.Module, trainable: Trainable) -> None:
    """Set what moves in a network: the head always, of the backbone what the recipe says.

    Sets ``requires_grad`` of every parameter, and holds what is frozen in inference mode
    through any later ``train()``: the whole backbone if none of it moves, otherwise its
    BatchNorm layers unless the recipe trains them. A network without a pretrained backbone
    moves as a whole.

    Args:
        network: a ``Network`` with ``backbone`` and ``head``, or a backbone alone.
        trainable: the recipe's choice.

    Raises:
        RecipeError: the choice names modules or layers that do not exist.
    """
    from tellapart.models.backbone import Backbone

    for parameter in network.parameters():
        parameter.requires_grad_(True)
    backbone = network if isinstance(network, Backbone) else getattr(network, "backbone", None)
    if not isinstance(backbone, Backbone):
        return
    moving = set(select_trainable(backbone, trainable))
    for name, parameter in backbone.named_parameters():
        parameter.requires_grad_(name in moving)
    backbone.frozen = trainable.backbone == "none"
    backbone.batch_norm_frozen = trainable.batch_norm == "frozen"
    backbone.train(network.training)


def describe_trainable(network: nn.Module) -> TrainableDescription:
    """Say by name and count what moves and what does not, from the flags as they are set."""
    moving: list[tuple[str, int]] = []
    still: list[tuple[str, int]] = []
    for name, module in network.named_modules():
        parameters = list(module.parameters(recurse=False))
        moves = sum(p.numel() for p in parameters if p.requires_grad)
        stays = sum(p.numel() for p in parameters if not p.requires_grad) + sum(
            b.numel()
            for key, b in module.named_buffers(recurse=False)
            if key in ("running_mean", "running_var")
        )
        if moves:
            moving.append((name, moves))
        if stays:
            still.append((name, stays))
    return TrainableDescription(tuple(moving), tuple(still), _batch_norm_state(network))


def _batch_norm_state(network: nn.Module) -> str:
    backbone: Any = getattr(network, "backbone", network)
    if getattr(backbone, "frozen", False) or getattr(backbone, "batch_norm_frozen", False):
        return "in inference mode, its statistics stay"
    return "in training mode, its statistics move"


def _below(
    rows: list[tuple[str, nn.Module]], paths: tuple[str, ...]
) -> list[tuple[str, nn.Module]]:
    """Layers at or below any of the paths, which are timm's (without our own prefix)."""
    chosen: dict[str, nn.Module] = {}
    for path in paths:
        found = {
            name: module
            for name, module in rows
            if f"{name.removeprefix('network.')}.".startswith(f"{path}.")
        }
        if not found:
            tops = sorted({name.removeprefix("network.").split(".")[0] for name, _ in rows})
            raise RecipeError(
                f"trainable.modules: this backbone has no module '{path}' with weights; "
                f"its parts are {', '.join(tops)}."
            )
        chosen |= found
    return [(name, module) for name, module in rows if name in chosen]


def _stage_numbers(network: Any, names: list[str]) -> dict[str, int]:
    if type(network).__name__ == "VGG":
        from torch import nn

        pools = [i for i, m in enumerate(network.features) if isinstance(m, nn.MaxPool2d)]
        return {n: sum(p < int(n.split(".")[1]) for p in pools) for n in names}
    if not hasattr(network, "group_matcher"):
        children = [name for name, _ in network.named_children()]
        return {n: children.index(n.split(".")[0]) if n else 0 for n in names}
    from timm.models import group_parameters

    try:
        matcher = network.group_matcher(coarse=True)
    except AssertionError:  # RDNet has no coarse groups
        matcher = network.group_matcher(coarse=False)
    groups: dict[int, list[str]] = group_parameters(network, matcher)
    of_parameter = {p: number for number, parameters in groups.items() for p in parameters}
    numbers: dict[str, int] = {}
    for parameter, number in of_parameter.items():
        owner = parameter.rpartition(".")[0]
        numbers[owner] = min(number, numbers.get(owner, number))
    return numbers


def _stage_name(names: list[str]) -> str:
    """What the layers of a stage have in common, or the first and last of them."""
    names = [name or "embeddings" for name in names]
    if len(names) == 1:
        return names[0]
    common = []
    for parts in zip(*(name.split(".") for name in names), strict=False):
        if len(set(parts)) > 1:
            break
        common.append(parts[0])
    return ".".join(common) or f"{names[0]} to {names[-1]}"


def _span(rows: tuple[tuple[str, int], ...]) -> str:
    if not rows:
        return ""
    return f" ({rows[0][0]} to {rows[-1][0]})" if len(rows) > 1 else f" ({rows[0][0]})"
