"""What a run's ``run.json`` and ``images.csv`` say from the start, of what was prepared."""

from __future__ import annotations

import sys
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from tellapart.cache import text_digest
from tellapart.data.copies import COPY, NEAR
from tellapart.data.groups import with_groups
from tellapart.data.source import Source
from tellapart.data.table import PARTS, ImageTable
from tellapart.machine import describe_machine
from tellapart.pixels.similarity import SimilarPairs
from tellapart.run import Run
from tellapart.run_images import StoredImage
from tellapart.run_info import (
    FORMAT,
    RUNNING,
    BorderlinePair,
    DataInfo,
    Leaks,
    LeftOut,
    RunInfo,
)
from tellapart.verbs.preparation import Prepared

#: Borderline pairs that ``run.json`` names.
_MOST_BORDERLINE = 20


def new_run_info(source: Source, prepared: Prepared, parent: Run | None) -> RunInfo:
    """What is known of a run from the start."""
    from tellapart import __version__

    table = prepared.splits.table
    return RunInfo(
        format=FORMAT,
        status=RUNNING,
        tellapart=__version__,
        created=datetime.now().astimezone().isoformat(timespec="seconds"),
        command=" ".join(["tellapart", *sys.argv[1:]]),
        classes=table.classes,
        preprocessing=prepared.preprocessing.to_dict(),
        source=source.to_dict(),
        data=DataInfo(
            root=str(table.root),
            fingerprint=prepared.images.key,
            images=len(table),
            counts={part: _class_counts(table, part) for part in PARTS},
            assignment=assignment(table),
            notes=table.sentences,
            left_out=tuple(LeftOut(p.path, p.reason, p.kind) for p in table.problems[:1000]),
            num_left_out=len(table.problems),
            audit=tuple(prepared.audit.sentences),
            leaks=leaks_of(prepared),
            groups=num_groups(prepared),
        ),
        seed=prepared.recipe.seed,
        device=prepared.device,
        machine=describe_machine(prepared.device),
        parent=str(parent.path.absolute()) if parent is not None else None,
    )


def leaks_of(prepared: Prepared) -> dict[str, Leaks]:
    """What earlier parts have of validation and of test."""
    table, leaked = prepared.splits.table, prepared.leaked
    if prepared.folds is not None:
        return {"test": _between_folds(prepared, prepared.folds)}
    pairs = prepared.copies.borderline_across(table.parts)
    found = {}
    for part in PARTS[1:]:
        of_part = table.parts == part
        if not of_part.any():
            continue
        touching = np.flatnonzero(of_part[pairs.first] | of_part[pairs.second])
        found[part] = Leaks(
            images=int(of_part.sum()),
            copies=int((leaked[of_part] == COPY).sum()),
            near=int((leaked[of_part] == NEAR).sum()),
            borderline=_named(table, pairs, touching.tolist()),
            num_borderline=len(touching),
            not_sought=prepared.copies.not_sought,
        )
    return found


def _between_folds(prepared: Prepared, folds: NDArray[np.int64]) -> Leaks:
    """Of a cross-validation, whose folds never tear copies apart: pairs that may be copies."""
    pairs = prepared.copies.borderline_across(folds.astype(np.str_))
    return Leaks(
        images=len(folds),
        borderline=_named(prepared.splits.table, pairs, list(range(len(pairs.scores)))),
        num_borderline=len(pairs.scores),
        not_sought=prepared.copies.not_sought,
    )


def _named(table: ImageTable, pairs: SimilarPairs, rows: list[int]) -> tuple[BorderlinePair, ...]:
    """The first of some pairs, with the paths of their images."""
    return tuple(
        BorderlinePair(
            table.paths[int(pairs.first[k])],
            table.paths[int(pairs.second[k])],
            round(float(pairs.scores[k]), 4),
        )
        for k in rows[:_MOST_BORDERLINE]
    )


def _groups(prepared: Prepared) -> NDArray[np.int64]:
    """Numbers of the images that belong together, as copies or as the table says: (N,)."""
    groups = with_groups(prepared.splits.table, prepared.copies.groups).groups
    return np.zeros(0, np.int64) if groups is None else groups


def num_groups(prepared: Prepared) -> int:
    """How many groups hold several images."""
    return int((np.bincount(_groups(prepared), minlength=1) > 1).sum())


def stored_images(prepared: Prepared) -> list[StoredImage]:
    """What ``images.csv`` says: by part, and in it by path."""
    table, groups = prepared.splits.table, _groups(prepared)
    sizes = np.bincount(groups, minlength=1)
    return [
        StoredImage(
            part,
            prepared.images.digests[row],
            table.paths[row],
            int(groups[row]) if sizes[groups[row]] > 1 else None,
            prepared.leaked[row],
        )
        for part in PARTS
        for row in np.flatnonzero(table.parts == part).tolist()
    ]


def _class_counts(table: ImageTable, part: str) -> dict[str, int]:
    labels = table.labels[table.parts == part]
    counts = np.bincount(labels, minlength=len(table.classes)).tolist()
    return dict(zip(table.classes, counts, strict=True))


def assignment(table: ImageTable) -> str:
    """The digest of the path, class and part of every image."""
    names = [table.classes[label] for label in table.labels]
    return text_digest(*table.classes, *table.paths, *names, *table.parts.tolist())
