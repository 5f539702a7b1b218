"""The network of a run as PyTorch modules: what is converted, and all of it in one program."""

from __future__ import annotations

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


def example_for(around: Around) -> torch.Tensor:
    """Two pictures as the exported model takes them."""
    import torch

    if around.float_input:
        return torch.zeros(2, 3, around.height, around.width)
    return torch.zeros(2, around.height, around.width, 3, dtype=torch.uint8)


def whole_module(network: nn.Module, around: Around) -> nn.Module:
    """What :func:`tellapart.exporting.graph.whole_graph` makes in ONNX, as a PyTorch module.

    Takes the pictures and gives (probabilities, decision, probability).
    """
    import torch

    class Whole(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network
            self.views = [
                None if view == View() else Shown.of(view, around.height, around.width)
                for view in around.views
            ]
            for number, view in enumerate(self.views):
                if view is not None:
                    self.register_buffer(f"rows{number}", torch.from_numpy(np.array(view.rows)))
                    self.register_buffer(
                        f"columns{number}", torch.from_numpy(np.array(view.columns))
                    )

        def forward(
            self, pixels: torch.Tensor
        ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
            logits = self._mean_logits(pixels) / around.temperature
            if around.sigmoid:
                logits = torch.cat([torch.zeros_like(logits), logits], dim=1)
            probabilities = torch.softmax(logits, dim=1)
            decision = self._decided(probabilities)
            probability = probabilities.gather(1, decision[:, None])[:, 0]
            if around.uncertain_up_to is not None:
                is_answered = probability > float(most_float32(around.uncertain_up_to))
                uncertain = torch.full_like(decision, len(around.classes))
                decision = torch.where(is_answered, decision, uncertain)
            return probabilities, decision, probability

        def _mean_logits(self, pixels: torch.Tensor) -> torch.Tensor:
            if len(self.views) == 1 and self.views[0] is None:
                alone: torch.Tensor = self.network(pixels)
                return alone
            shown = [self._shown(pixels, number) for number in range(len(self.views))]
            logits: torch.Tensor = self.network(torch.cat(shown))
            return logits.reshape(len(shown), -1, around.outputs).mean(dim=0)

        def _shown(self, pixels: torch.Tensor, number: int) -> torch.Tensor:
            view = self.views[number]
            if view is None:
                return pixels
            high = 2 if around.float_input else 1
            taken = pixels.index_select(high, getattr(self, f"rows{number}"))
            taken = taken.index_select(high + 1, getattr(self, f"columns{number}"))
            return taken.transpose(high, high + 1) if view.transposed else taken

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
