"""Monitor: counts what is asked and answered, for ``/metrics``; remembers no picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tellapart.prediction.answers import Answer
from tellapart.service.gatherer import Features
from tellapart.service.models import ServedModel

#: Upper ends of the bins that confidences are counted in.
_CONFIDENCES = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)


class Monitor:
    """Counts answers by class, and how confident they were."""

    def __init__(self, registry: Any) -> None:
        """Make its metrics in a registry of prometheus-client."""
        from prometheus_client import Counter, Histogram

        self._answers = Counter(
            "tellapart_answers", "Pictures answered, by answer.", ["model", "answer"],
            registry=registry,
        )  # fmt: skip
        self._confidence = Histogram(
            "tellapart_confidence", "Probability of the likeliest class.", ["model"],
            buckets=_CONFIDENCES, registry=registry,
        )  # fmt: skip

    def observe(
        self, model: ServedModel, answers: Sequence[Answer], features: Features | None
    ) -> None:
        """Take note of the answers to a batch.

        Args:
            features: (N, D), what the last layer saw of them; None where that would cost time.
        """
        for answer in answers:
            self._answers.labels(model.name, answer.prediction).inc()
            self._confidence.labels(model.name).observe(max(answer.probabilities.values()))
