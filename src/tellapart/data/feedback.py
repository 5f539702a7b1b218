"""Corrections: pictures that a service was told it called wrong, as one more source of images.

They lie in class folders (``inbox/dog/...``) outside the folder of the images, and are only trained
on. What is corrected is what a classifier found hard: in a validation or test part such pictures
would make it look worse than it is for the pictures that come.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np

from tellapart.data.groups import with_groups
from tellapart.data.listing import (
    Problem,
    listed,
    normal_name,
    plural,
    scan,
    shown,
    visible_folders,
)
from tellapart.data.table import ImageTable
from tellapart.errors import DataError
from tellapart.progress import SILENT, Progress
from tellapart.wording import did_you_mean


def with_feedback(table: ImageTable, folder: Path, progress: Progress = SILENT) -> ImageTable:
    """A table with the pictures of a folder of corrections behind its own.

    Their ids are absolute paths, for they lie outside the table's root.

    Raises:
        DataError: there is no such folder, a folder in it is none of the table's classes, or it
            holds no picture.
    """
    if not folder.is_dir():
        raise DataError(f"--feedback {shown(folder)}: there is no such folder.")
    number = {name: i for i, name in enumerate(table.classes)}
    prefix = f"{folder.as_posix()}/"
    paths: list[str] = []
    labels: list[int] = []
    problems: list[Problem] = []
    with progress.stage("Listing corrections", None, "images") as stage:
        for name in visible_folders(folder):
            label = number.get(normal_name(name))
            if label is None:
                hint = did_you_mean(name, table.classes) or f" There is: {listed(table.classes)}."
                raise DataError(
                    f"--feedback {shown(folder)}: its folder '{shown(name)}' is no class of the "
                    f"images.{hint}"
                )
            found = scan(folder / name, f"{prefix}{name}/", stage)
            paths += sorted(found.paths)
            labels += [label] * len(found.paths)
            problems += found.problems
    if not paths:
        raise DataError(
            f"--feedback {shown(folder)} holds no pictures in folders named after classes; leave "
            "it out."
        )
    counts = Counter(labels)
    said = ", ".join(f"{counts[i]:,} of {shown(table.classes[i])}" for i in sorted(counts))
    note = f"{plural(len(paths), 'correction')} in the train part only: {said}."
    progress.note(note)
    joined = replace(
        table,
        paths=(*table.paths, *paths),
        labels=np.concatenate([table.labels, np.array(labels, np.int64)]),
        parts=np.concatenate([table.parts, np.full(len(paths), "train", "<U10")]),
        train_only=np.arange(len(table) + len(paths)) >= len(table),
        groups=None,
        problems=(*table.problems, *problems),
        notes=(*table.notes, note),
    )
    if table.groups is None:
        return joined
    first = int(table.groups.max(initial=-1)) + 1
    alone = first + np.arange(len(paths))
    return with_groups(joined, np.concatenate([table.groups, alone]))
