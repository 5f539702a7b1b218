"""Study: the images of a search, ready for a candidate of any size, and without their test part."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tellapart.data.pixels import PixelCache
from tellapart.data.source import Source
from tellapart.data.table import PARTS, ImageTable
from tellapart.errors import DataError
from tellapart.models.inputs import preprocessing_for
from tellapart.progress import SILENT, Progress
from tellapart.recipe import Recipe
from tellapart.training.outcome import Task

#: Validation images below which probes are judged by folds of train and validation together.
_FEW_TO_CHOOSE = 150


@dataclass(frozen=True)
class Study:
    """What every candidate is trained on and judged by.

    ``table`` has a part for every image; the candidates' pixels are read for it anew where their
    size is another one. ``choosing`` are the rows of validation that choose, None for all.
    """

    source: Source
    table: ImageTable
    device: str
    choosing: NDArray[np.int64] | None = None
    #: The table with the groups that no fold may tear; None: folds are not asked.
    together: ImageTable | None = None

    @property
    def by_folds(self) -> bool:
        """Whether so few images choose that probes are judged by folds of all that they know."""
        return self.together is not None and 0 < self.num_validation < _FEW_TO_CHOOSE

    def rows(self, part: str) -> NDArray[np.int64]:
        """Rows of the images of a part."""
        return np.flatnonzero(self.table.parts == part)

    @property
    def num_train(self) -> int:
        return int((self.table.parts == "train").sum())

    @property
    def num_validation(self) -> int:
        """Images that choose."""
        if self.choosing is not None:
            return len(self.choosing)
        return int((self.table.parts == "validation").sum())

    @property
    def largest_share(self) -> float:
        """What saying always the most frequent class gets right of the images that choose."""
        rows = self.choosing if self.choosing is not None else self.rows("validation")
        labels = self.table.labels[rows]
        return float(np.bincount(labels).max() / len(labels)) if len(labels) else 0.0

    def task(
        self, recipe: Recipe, progress: Progress = SILENT, deadline: float | None = None
    ) -> Task:
        """A task of this recipe on these images, with its test part.

        Args:
            deadline: when training has to end, on ``perf_counter``.

        Raises:
            DataError: other images can be read at this size than at the first answer's.
        """
        preprocessing = preprocessing_for(recipe.model, recipe.data)
        images = self.source.pixels(self.table, preprocessing, group=False, progress=progress)
        _require_same_images(self.table, images)
        return Task(
            recipe=recipe,
            images=images,
            labels=self.table.labels,
            rows={part: self.rows(part) for part in PARTS},
            classes=self.table.classes,
            preprocessing=preprocessing,
            device=self.device,
            progress=progress,
            choosing=self.choosing,
            deadline=deadline,
        )


def _require_same_images(table: ImageTable, images: PixelCache) -> None:
    if images.table.paths != table.paths:
        raise DataError("not the same images can be read at this size")


def without_test(task: Task) -> Task:
    """The same task without its test part; validation is whole, unlike ``Task.without_test``."""
    return replace(task, rows={part: r for part, r in task.rows.items() if part != "test"})
