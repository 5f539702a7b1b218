"""How long each stage of a run took."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter


class Stopwatch:
    """Seconds by stage, in the order in which the stages ran."""

    def __init__(self) -> None:
        self._started = perf_counter()
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time what happens inside; a stage that comes twice is added up."""
        started = perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + perf_counter() - started

    def total(self) -> float:
        """Seconds since this stopwatch was made."""
        return perf_counter() - self._started

    def rounded(self) -> dict[str, float]:
        """Stages and ``total``, in seconds, to the hundredth."""
        stages = {name: round(value, 2) for name, value in self.seconds.items()}
        return {**stages, "total": round(self.total(), 2)}
