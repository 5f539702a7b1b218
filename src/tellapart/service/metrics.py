"""Numbers about the service itself, in the form that Prometheus reads.

With several processes each writes into files of one folder, which any of them adds up; that is
how prometheus-client does it, and the folder must be known before that package is imported.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

#: The variable that says where several processes write.
FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
_SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
_IMAGES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """Counts requests and batches.

    Attributes:
        registry: in which others make metrics of theirs.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "tellapart_requests", "Requests answered.", ["path", "status"], registry=self.registry
        )
        self._seconds = Histogram(
            "tellapart_request_seconds", "From a request's headers to the end of its answer.",
            ["path"], buckets=_SECONDS, registry=self.registry,
        )  # fmt: skip
        self._batches = Histogram(
            "tellapart_batch_images", "Pictures that went through the network together.",
            ["model"], buckets=_IMAGES, registry=self.registry,
        )  # fmt: skip
        self._waiting = Gauge(
            "tellapart_waiting_images", "Pictures accepted and not yet answered.",
            registry=self.registry, multiprocess_mode="livesum",
        )  # fmt: skip
        if FOLDER_VARIABLE not in os.environ:
            ProcessCollector(registry=self.registry)

    def count_request(self, path: str, status: int, seconds: float) -> None:
        """Count a request; those to addresses that do not exist under one name."""
        self._requests.labels(path or "other", str(status)).inc()
        if path:
            self._seconds.labels(path).observe(seconds)

    def count_batch(self, model: str, images: int) -> None:
        """Count pictures that went through the network together."""
        self._batches.labels(model).observe(images)

    def watch_waiting(self, waiting: Callable[[], int]) -> None:
        """Ask for the number of waiting pictures whenever somebody wants to know."""
        self._waiting_now = waiting

    def text(self) -> bytes:
        """All numbers, of all processes."""
        self._waiting.set(self._waiting_now())
        if FOLDER_VARIABLE not in os.environ:
            return generate_latest(self.registry)
        together = CollectorRegistry()
        MultiProcessCollector(together)  # type: ignore[no-untyped-call]
        return generate_latest(together)

    _waiting_now: Callable[[], int] = staticmethod(lambda: 0)
