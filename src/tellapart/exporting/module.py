"""The network of a run as PyTorch modules: what is converted, and all of it in one program."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tellapart.exporting.graph import Around, Shown, least_float32, most_float32
from tellapart.pixels.views import View

if TYPE_CHECKING:
    import torch
    from torch import nn

    from tellapart.prediction.classifier import Classifier


def network_of(classifier: Classifier, *, float_input: bool) -> nn.Module:
    """The trained network in inference mode, from the exported model's input to logits (N, K).

    Args:
        float_input: it takes normalised float32 (N, 3, H, W); else uint8 (N, H, W, 3).

    Raises:
        RunError: the weights are damaged.
    """
    import torch

    network: Any = classifier.network()
    if float_input:
        return torch.nn.Sequential(network.backbone, network.head).eval()

    class FromPixels(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.network(pixels.permute(0, 3, 1, 2).float())
            return logits

    return FromPixels().eval()


def examples_for(around: Around) -> tuple[torch.Tensor, ...]:
    """Two pictures as the exported model takes them, one tensor an input."""
    import torch

    kind = torch.float32 if around.float_input else torch.uint8
    return tuple(torch.zeros(2, *shape, dtype=kind) for shape in around.shapes)


def whole_module(network: nn.Module, around: Around) -> nn.Module:
    """What :func:`tellapart.exporting.graph.whole_graph` makes in ONNX, as a PyTorch module.

    Takes the pictures, a tensor an input, and gives (probabilities, decision, probability).
    """
    import torch

    mean_logits = network
    if not around.more_sizes:
        mean_logits = mean_over_views(
            network, around.views, around.height, around.width, float_input=around.float_input
        )

    class Whole(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = mean_logits

        def forward(self, *pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
            probabilities = probabilities_of(
                self.network(*pixels), around.temperature, around.sigmoid
            )
            decision = self._decided(probabilities)
            probability = probabilities.gather(1, decision[:, None])[:, 0]
            if around.uncertain_up_to is not None:
                is_answered = probability > float(most_float32(around.uncertain_up_to))
                uncertain = torch.full_like(decision, len(around.classes))
                decision = torch.where(is_answered, decision, uncertain)
            return probabilities, decision, probability

        def _decided(self, probabilities: torch.Tensor) -> torch.Tensor:
            decision = around.decision
            if decision is None:
                return probabilities.argmax(dim=1)
            column = around.classes.index(decision.positive)
            hidden = torch.zeros(len(around.classes))
            hidden[column] = 2.0  # below every probability once it is taken away
            called = probabilities[:, column] >= float(least_float32(decision.threshold))
            others = (probabilities - hidden).argmax(dim=1)
            return torch.where(called, torch.full_like(others, column), others)

    return Whole().eval()


def probabilities_of(logits: torch.Tensor, temperature: float, sigmoid: bool) -> torch.Tensor:
    """Logits (N, C), or (N, 1) of a sigmoid, to probabilities (N, C)."""
    import torch

    logits = logits / temperature
    if sigmoid:
        logits = torch.cat([torch.zeros_like(logits), logits], dim=1)
    return torch.softmax(logits, dim=1)


def mean_over_views(
    network: nn.Module,
    views: Sequence[View],
    height: int,
    width: int,
    *,
    float_input: bool = False,
) -> nn.Module:
    """A network around which pictures are shown in several views and the outputs are averaged."""
    import torch

    if tuple(views) == (View(),):
        return network

    class MeanOverViews(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network
            self.views = torch.nn.ModuleList(
                in_view(view, height, width, float_input=float_input) for view in views
            )

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            outputs: torch.Tensor = self.network(torch.cat([view(pixels) for view in self.views]))
            by_view = outputs.reshape(len(self.views), -1, *outputs.shape[1:])
            return by_view.mean(dim=0)

    return MeanOverViews()


def in_view(view: View, height: int, width: int, *, float_input: bool = False) -> nn.Module:
    """Shows pictures, (N, H, W, 3) or with ``float_input`` (N, 3, H, W), in one view."""
    import torch

    if view == View():
        return torch.nn.Identity()
    shown = Shown.of(view, height, width)
    high = 2 if float_input else 1

    class InView(torch.nn.Module):
        rows: torch.Tensor
        columns: torch.Tensor

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("rows", torch.from_numpy(np.array(shown.rows)))
            self.register_buffer("columns", torch.from_numpy(np.array(shown.columns)))

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            taken = pixels.index_select(high, self.rows).index_select(high + 1, self.columns)
            return taken.transpose(high, high + 1) if shown.transposed else taken

    return InView()
