"""Finding: one thing that the audit has to say about some images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tellapart.data.table import ImageTable

#: The kind of a label that a network's answer speaks against. Most are right where the labels are
#: good, so it is a list to look at.
DOUBTFUL_LABEL = "doubtful_label"


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, or may be, with some images.

    Attributes:
        kind: a key of ``tellapart.audit.summary.KINDS``, or the kind of a file that was
            left out ("truncated", "not_an_image", ...).
        paths: the images, relative to the table's root.
        classes: the label of each; "" where it has none.
        parts: the part of each; "" where the data are not split yet.
        score: how clear it is, 0..1; findings of one kind are sorted by it.
        sentence: what is wrong.
        advice: what to do about it.
        exclude: those of ``paths`` to leave out of training; empty where only a person can say.
        suggested: the class that an image with a doubtful label looks like, else "".
    """

    kind: str
    paths: tuple[str, ...]
    classes: tuple[str, ...]
    parts: tuple[str, ...]
    score: float
    sentence: str
    advice: str
    exclude: tuple[str, ...] = ()
    suggested: str = ""


def finding_of(
    table: ImageTable,
    rows: Sequence[int] | NDArray[np.int64],
    kind: str,
    score: float,
    sentence: str,
    advice: str,
    *,
    exclude: Sequence[int] = (),
    suggested: str = "",
) -> Finding:
    """The finding about some rows of a table."""
    return Finding(
        kind=kind,
        paths=tuple(table.paths[i] for i in rows),
        classes=tuple(class_of(table, i) for i in rows),
        parts=tuple(str(table.parts[i]) for i in rows),
        score=float(min(1.0, max(0.0, score))),
        sentence=sentence,
        advice=advice,
        exclude=tuple(table.paths[i] for i in exclude),
        suggested=suggested,
    )


def class_of(table: ImageTable, row: int) -> str:
    """The name of an image's class, "" where it has none."""
    label = int(table.labels[row])
    return table.classes[label] if label >= 0 else ""
