"""The moving average of a network's weights (EMA), which is what gets evaluated."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class WeightAverage:
    """Exponential moving average of weights and BatchNorm statistics.

    In the first steps the decay is ``(1 + step) / (10 + step)`` where that is smaller, so
    that the random first weights are soon forgotten.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self._decay = decay
        self.steps = 0
        state = network.state_dict(keep_vars=True)
        # Integers (BatchNorm's count of batches) are not averaged.
        self._live = {name: value for name, value in state.items() if value.is_floating_point()}
        self._average = {name: value.detach().clone() for name, value in self._live.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights after a step."""
        self.steps += 1
        decay = min(self._decay, (1 + self.steps) / (10 + self.steps))
        live = [value.detach() for value in self._live.values()]
        torch._foreach_lerp_(list(self._average.values()), live, 1 - decay)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Inside, the network has the averaged weights."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def state(self) -> dict[str, Tensor]:
        """The averages, by the names of the network's weights."""
        return self._average

    @torch.no_grad()
    def load(self, state: Mapping[str, Tensor], steps: int) -> None:
        """Go on from a saved state."""
        for name, value in self._average.items():
            value.copy_(state[name])
        self.steps = steps

    @torch.no_grad()
    def _swap(self) -> None:
        for name, value in self._live.items():
            kept = value.detach().clone()
            value.copy_(self._average[name])
            self._average[name].copy_(kept)
