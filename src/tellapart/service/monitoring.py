"""Numbers about answers, for ``/metrics``: how many, how confident, and whether they drift.

No picture is remembered.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from threading import Lock
from types import MappingProxyType
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from tellapart.errors import RunError
from tellapart.evaluation.unknown import load_unknown
from tellapart.monitoring.compare import LEVEL
from tellapart.monitoring.known import load_known
from tellapart.monitoring.monitor import Monitor
from tellapart.prediction.answers import Answer
from tellapart.service.gatherer import Features
from tellapart.service.models import ServedModel

#: Upper ends of the bins that confidences are counted in.
_CONFIDENCES = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
_LOG = logging.getLogger("tellapart.service")
#: What each number of :meth:`tellapart.monitoring.monitor.Reading.numbers` is.
_HELP: Mapping[str, str] = MappingProxyType(
    {
        "window_answers": "Answers that the window holds.",
        "window_unknown_share": "Share of the window that is far from every training image.",
        "window_confidence": "Mean probability of the likeliest class in the window.",
        "drift_p": "How often chance sets a window so far apart from the validation images.",
        "drift_separation": "How well the window is told from the validation images: 0.5 to 1.",
        "drifted": f"1 where drift_p is at most {LEVEL}; absent where answers are too few to tell.",
    }
)


class AnswerMetrics:
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
        self._windows: WeakKeyDictionary[ServedModel, Monitor | None] = WeakKeyDictionary()
        self._lock = Lock()
        registry.register(_Windows(self))

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
        window = self._window(model) if features is not None else None
        if window is not None and features is not None:
            said = [list(answer.probabilities.values()) for answer in answers]
            window.add(features, np.array(said, np.float64))

    def windows(self) -> list[tuple[str, Monitor]]:
        """The window of each model in use, by its name."""
        with self._lock:
            found = {model.name: window for model, window in
                     sorted(self._windows.items(), key=lambda item: item[0].loaded)
                     if window is not None}  # fmt: skip
        return list(found.items())

    def _window(self, model: ServedModel) -> Monitor | None:
        """That of a model; None where it kept nothing to hold answers against."""
        with self._lock:
            if model not in self._windows:
                self._windows[model] = _new_window(model)
            return self._windows[model]


class _Windows:
    """What the windows say, as prometheus-client asks for it."""

    def __init__(self, metrics: AnswerMetrics) -> None:
        self._metrics = metrics

    def describe(self) -> Iterator[Any]:
        """Nothing is computed before somebody looks."""
        return iter(())

    def collect(self) -> Iterator[Any]:
        """A gauge for each number, a value for each model."""
        from prometheus_client.core import GaugeMetricFamily

        readings = [(name, window.reading()) for name, window in self._metrics.windows()]
        for number, text in _HELP.items():
            gauge = GaugeMetricFamily(f"tellapart_{number}", text, labels=["model"])
            for name, reading in readings:
                if number in (numbers := reading.numbers()):
                    gauge.add_metric([name], numbers[number])
            yield gauge
        shares = GaugeMetricFamily(
            "tellapart_window_class_share", "How often each class is the likeliest in the window.",
            labels=["model", "class"],
        )  # fmt: skip
        for name, reading in readings:
            for label, share in reading.class_shares.items():
                shares.add_metric([name, label], share)
        yield shares


def _new_window(model: ServedModel) -> Monitor | None:
    run = model.run
    if run is None or not (run.unknown_file.is_file() and run.known_file.is_file()):
        return None
    try:
        detector = load_unknown(run.intact(run.unknown_file))
        known = load_known(run.intact(run.known_file))
        return Monitor(detector, known, model.predictor.classes)
    except (RunError, OSError) as error:  # replaced in this moment: its answers go on
        _LOG.warning("%s: drift is not watched: %s", model.name, error)
        return None
