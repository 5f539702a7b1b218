"""Opening what predicts, by its path."""

from __future__ import annotations

from tellapart.prediction.predictor import Predictor
from tellapart.run import RunGiven, open_run


def open_predictor(path: RunGiven, *, device: str = "auto", unknown: bool = False) -> Predictor:
    """The predictor of a run.

    Args:
        path: a run, or its folder.
        device: see :func:`tellapart.machine.resolve_device`.
        unknown: answer "unknown" for images unlike the training ones.

    Raises:
        RunError: the run cannot be used, or cannot answer "unknown".
    """
    return open_run(path).predictor(device, unknown=unknown)
