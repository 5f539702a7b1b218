"""Probes fitted again and again on features that are there: over splits, sizes and classes.

By such refits a run says how good a classifier trained in the same way on other images would
be, and what more images would buy. None of them is kept, and none chooses anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tellapart.machine import single_threaded
from tellapart.recipe import ProbeSettings
from tellapart.training.probe import fit_at_strength, log_loss


@dataclass(frozen=True, eq=False)
class Refits:
    """What probes are fitted on, again and again.

    Attributes:
        features: float32 (V, N, D), V views of each image.
        labels: int64 (N,).
        settings: of the probe.
        strengths: those that are tried in a refit.
    """

    features: NDArray[np.float32]
    labels: NDArray[np.int64]
    settings: ProbeSettings
    strengths: tuple[float, ...]
    num_classes: int

    def logits(
        self, trained: NDArray[np.int64], tested: NDArray[np.int64]
    ) -> dict[float, NDArray[np.float32]]:
        """Logits (len(tested), num_classes) of a probe of each strength, averaged over views.

        Args:
            trained: rows to fit on, with every class among them.
            tested: rows to look at.
        """
        views, _, width = self.features.shape
        stacked = self.features[:, trained].reshape(-1, width)
        mean = stacked.mean(axis=0, dtype=np.float64).astype(np.float32)
        scale = stacked.std(axis=0, dtype=np.float64).astype(np.float32)
        scale[scale < 1e-6] = 1.0
        x = (stacked - mean) / scale
        held_out = (self.features[:, tested] - mean) / scale
        y = np.tile(self.labels[trained], views)
        found: dict[float, NDArray[np.float32]] = {}
        start: NDArray[np.float64] | None = None
        with single_threaded("sklearn.linear_model"):
            if 3 * len(x) < width:
                # The penalty draws the solution into the space that the images span, where it
                # is the same in fewer numbers.
                basis = np.linalg.qr(x.T)[0]
                x, held_out = x @ basis, held_out @ basis
            for strength in sorted(self.strengths):
                weight, bias = fit_at_strength(
                    x, y, strength, self.settings, self.num_classes, start
                )
                start = np.concatenate([weight, bias[:, None]], axis=1).astype(np.float64)
                found[strength] = (held_out @ weight.T + bias).mean(axis=0)
        return found

    def losses(
        self, logits: Mapping[float, NDArray[np.float32]], rows: NDArray[np.int64]
    ) -> dict[float, float]:
        """Log loss of each strength on rows, in nats an image."""
        return {strength: log_loss(of, self.labels[rows]) for strength, of in logits.items()}

    def right(self, logits: NDArray[np.float32], rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """bool (len(rows),): which rows are right."""
        hits: NDArray[np.bool_] = logits.argmax(axis=1) == self.labels[rows]
        return hits


def chosen_accuracy(
    refits: Refits,
    trained: NDArray[np.int64],
    choosing: NDArray[np.int64],
    tested: NDArray[np.int64],
) -> float:
    """Share of ``tested`` that is right, at the strength that does best on ``choosing``."""
    both = refits.logits(trained, np.concatenate([choosing, tested]))
    count = len(choosing)
    losses = refits.losses({s: of[:count] for s, of in both.items()}, choosing)
    best = min(losses, key=lambda strength: losses[strength])
    return float(refits.right(both[best][count:], tested).mean())


def near_strengths(strengths: Sequence[float], chosen: float) -> tuple[float, ...]:
    """The chosen strength and its neighbours among those of the recipe."""
    every = sorted({*strengths, chosen})
    place = every.index(chosen)
    return tuple(every[max(0, place - 1) : place + 2])
