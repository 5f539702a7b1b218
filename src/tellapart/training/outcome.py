"""What every way of training hands on: weights, and how to get logits of the images it saw."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tellapart.data.pixels import PixelCache
from tellapart.pixels.preprocessing import Preprocessing
from tellapart.prediction.stored import AnyDescription
from tellapart.progress import SILENT, Progress
from tellapart.recipe import Recipe
from tellapart.training.callbacks import Callback
from tellapart.training.position import Stopped


@dataclass(frozen=True)
class Task:
    """All that a way of training needs to know.

    ``rows`` gives, for each part, the rows of ``images`` that form it, in table order.
    """

    recipe: Recipe
    images: PixelCache
    labels: NDArray[np.int64]
    rows: Mapping[str, NDArray[np.int64]]
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    device: str = "auto"
    progress: Progress = SILENT
    #: Where a long training keeps what resuming needs.
    checkpoint_folder: Path | None = None
    history_file: Path | None = None
    tensorboard_folder: Path | None = None
    #: Whoever else wants to know of each epoch.
    callbacks: Sequence[Callback] = ()
    #: Weights to start from, by name; for ``--from RUN``.
    start_state: Mapping[str, NDArray[Any]] | None = None
    #: Epochs to add to a finished training.
    extend: int = 0
    #: Every stage keeps the weights of its last epoch: validation images choose nothing.
    keep_last: bool = False
    #: When a training in epochs has to end, on ``time.perf_counter``; None: when it is done.
    deadline: float | None = None
    #: Validation images that choose: those that training has no copy of; None: all of them.
    choosing: NDArray[np.int64] | None = None

    @property
    def num_classes(self) -> int:
        return len(self.classes)

    def without_test(self) -> Task:
        """The same task, which cannot look at the test part: as training and choosing get it.

        Nor does it see validation images that the train part has too: by them what was learnt
        by heart (more epochs, a weaker penalty, more confidence) would look good.
        """
        rows = {part: rows for part, rows in self.rows.items() if part != "test"}
        if self.choosing is not None:
            rows["validation"] = self.choosing
        return replace(self, rows=rows)

    def labels_of(self, part: str) -> NDArray[np.int64]:
        return self.labels[self.rows[part]]


@dataclass(frozen=True)
class Trained:
    """The outcome of one way of training."""

    #: Every weight of the network, by its name in ``tellapart.models.network.Network``.
    state: Mapping[str, NDArray[Any]]
    #: Identifies the pretrained backbone where it was left as it was, else "".
    frozen_backbone: str
    #: Logits (len(rows), num_classes) of rows of the pixel cache; None: ask the classifier.
    logits: Callable[[NDArray[np.int64]], NDArray[np.float32]] | None
    total_parameters: int
    trainable_parameters: int
    #: What the output layer sees (len(rows), D) of rows of the pixel cache; None: ask the
    #: classifier.
    features: Callable[[NDArray[np.int64]], NDArray[np.float32]] | None = None
    #: Engine and precision that computed ``logits`` and ``features``; "" where they are None.
    engine_name: str = ""
    history: Sequence[Mapping[str, float]] = ()
    #: What the classifier is, where recipe and preprocessing do not say it; no temperature yet.
    description: AnyDescription | None = None
    #: The recipe as it was in the end (method auto settles what it left open).
    recipe: Recipe | None = None
    #: Facts for ``run.json``, for example the strength that a probe chose.
    facts: Mapping[str, Any] = field(default_factory=dict)
    notes: Sequence[str] = ()
    #: Where training ended before its last epoch, unless the recipe itself asked for that.
    stopped: Stopped | None = None
