"""Several networks that answer together as one PyTorch module: their logits, however joined.

What :class:`~tellapart.prediction.joint.JointClassifier` computes in NumPy around its engines
happens here inside one graph: every member's views and temperature, the sum of logits or the mean
of probabilities. A backbone that members share is in it once, and runs once for members that look
at the same pixels in the same views.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from tellapart.evaluation.calibration import SMALLEST
from tellapart.exporting.module import in_view, probabilities_of
from tellapart.pixels.views import TEST_TIME_VIEWS, View
from tellapart.prediction.classifier import Classifier
from tellapart.prediction.joint import JointClassifier, JointDescription
from tellapart.prediction.stored import AnyClassifier

if TYPE_CHECKING:
    import torch
    from torch import nn


def joint_network_of(classifier: JointClassifier) -> nn.Module:
    """From uint8 pictures (N, H, W, 3), one tensor for each of ``preprocessings``, to logits.

    Raises:
        RunError: the weights are damaged.
    """
    return _of_joint(classifier).eval()


def networks_in(classifier: AnyClassifier) -> Iterator[Classifier]:
    """The single networks of a classifier, in the order of its members."""
    if isinstance(classifier, JointClassifier):
        for member in classifier.members:
            yield from networks_in(member)
    else:
        yield classifier


#: What frozen backbones have said of pictures already, while one block of them is computed.
_Seen = dict[tuple[Any, ...], Any]


def _of_joint(classifier: JointClassifier) -> nn.Module:
    import torch

    description = classifier.description
    parts: list[Any] = [
        _of_joint(member) if isinstance(member, JointClassifier) else _of_member(member)
        for member in classifier.members
    ]
    for own, place in zip(parts, description.backbones, strict=True):
        if own is not parts[place]:
            own.network.backbone = parts[place].network.backbone

    class Joint(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.members = torch.nn.ModuleList(parts)

        def forward(self, *pixels: torch.Tensor) -> torch.Tensor:
            return self.seen(pixels, {})

        def seen(self, pixels: Sequence[torch.Tensor], seen: _Seen) -> torch.Tensor:
            members: Any = self.members
            of_members = [
                member.seen([pixels[way] for way in ways], seen)
                for member, ways in zip(members, description.ways_of_members, strict=True)
            ]
            return _joined(of_members, description)

    return Joint()


def _of_member(classifier: Classifier) -> nn.Module:
    import torch

    rule, built = classifier.preprocessing, classifier.network()
    views = TEST_TIME_VIEWS[classifier.description.test_time]

    class Member(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = built
            self.views = torch.nn.ModuleList(
                in_view(view, rule.height, rule.width) for view in views
            )

        def seen(self, pixels: Sequence[torch.Tensor], seen: _Seen) -> torch.Tensor:
            (given,) = pixels
            logits = [
                self.network.head(self._features(given, view, shown, seen))
                for view, shown in zip(views, self.views, strict=True)
            ]
            return torch.stack(logits).mean(dim=0)

        def _features(
            self, given: torch.Tensor, view: View, shown: nn.Module, seen: _Seen
        ) -> torch.Tensor:
            network: Any = self.network
            key = id(network.backbone), id(given), view, rule.mean, rule.std
            if key not in seen:
                images = shown(given).permute(0, 3, 1, 2).float()
                seen[key] = network.backbone(network.normalise(images))
            features: torch.Tensor = seen[key]
            return features

    return Member()


def _joined(of_members: Sequence[torch.Tensor], description: JointDescription) -> torch.Tensor:
    """As :func:`tellapart.prediction.joint.joined_logits`."""
    import torch

    if description.rule == "sum":
        return torch.stack(list(of_members)).sum(dim=0)
    mean = sum(
        weight * probabilities_of(logits, member.temperature, member.single_output)
        for logits, member, weight in zip(
            of_members, description.members, description.weights, strict=True
        )
    )
    return torch.as_tensor(mean).clamp(min=SMALLEST).log()
