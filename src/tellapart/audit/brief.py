"""The audit that costs next to nothing: what copies and the names of the files give away.

Run before every training. The digests are those of the pixel cache, so no file is read.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tellapart.audit.observations import Observation
from tellapart.data.copies import (
    ALL_ALIKE,
    CLEAN,
    COPY,
    NO_PAIRS,
    TOO_MANY,
    Copies,
    copies_of,
)
from tellapart.data.groups import frames_note
from tellapart.data.listing import plural, shown
from tellapart.data.table import PARTS, ImageTable
from tellapart.wording import capital, share_of_all


@dataclass(frozen=True)
class BriefAudit:
    """What was found, worst first.

    ``leaked`` holds, for validation and test, the paths of images that an earlier part has
    too (train is before validation, validation before test): their scores are not honest.
    ``copies`` are all files that are there more than once, ``contradictions`` those of them
    that lie under more than one class, as groups of paths.
    """

    observations: tuple[Observation, ...]
    leaked: Mapping[str, tuple[str, ...]]
    copies: tuple[tuple[str, ...], ...]
    contradictions: tuple[tuple[str, ...], ...]

    @property
    def sentences(self) -> tuple[str, ...]:
        """What was found and what to do about it, a text each."""
        return tuple(f"{found.sentence} {found.advice}".strip() for found in self.observations)


def brief_audit(
    table: ImageTable,
    digests: Sequence[str],
    copies: Copies | None = None,
    *,
    left_out: bool = False,
) -> BriefAudit:
    """Look for the same picture in two parts, under two labels, or simply twice.

    Args:
        table: the images, with their parts where they are known.
        digests: content digest of each file, in the order of ``table``.
        copies: what ``find_copies`` gave; None: only equal files are known.
        left_out: whether the scores will be without the leaked images.

    Raises:
        ValueError: there is not one digest for each image.
    """
    if len(digests) != len(table):
        raise ValueError(f"{len(digests)} digests for {len(table)} images")
    groups = _equal_files(digests)
    if copies is None:
        copies = copies_of(digests, table.labels, NO_PAIRS)
    leaked = copies.leaked(table.parts)
    contradictions = [rows for rows in groups if len({int(table.labels[i]) for i in rows}) > 1]
    found = [
        *_leak_observations(table, leaked, left_out),
        *_contradiction(table, contradictions),
        *_copies(table, groups),
        *_borderline(table, copies),
    ]
    if copies.not_sought == TOO_MANY:
        found.append(Observation(
            "warning", "not_compared",
            f"{len(table):,} images are too many to compare every two of them, so only copies "
            "byte for byte are known.",
        ))  # fmt: skip
    elif copies.not_sought == ALL_ALIKE:
        found.append(Observation(
            "note", "not_compared",
            "These pictures are all so alike that a changed copy of one cannot be told from "
            "another, so only copies byte for byte are known.",
            "Where several show the same thing, keep them in one part with --group-by.",
        ))  # fmt: skip
    if table.groups is None:
        note = frames_note(table.paths, table.labels, table.classes)
        if note and note not in table.notes:
            found.append(Observation("warning", "frames", note))

    def paths(rows: Sequence[int]) -> tuple[str, ...]:
        return tuple(table.paths[i] for i in rows)

    return BriefAudit(
        observations=tuple(found),
        leaked={
            part: paths(rows)
            for part in PARTS[1:]
            if (rows := np.flatnonzero((table.parts == part) & (leaked != CLEAN)).tolist())
        },
        copies=tuple(paths(rows) for rows in groups),
        contradictions=tuple(paths(rows) for rows in contradictions),
    )


def _equal_files(digests: Sequence[str]) -> list[tuple[int, ...]]:
    rows: dict[str, list[int]] = defaultdict(list)
    for row, digest in enumerate(digests):
        rows[digest].append(row)
    return [tuple(same) for same in rows.values() if len(same) > 1]


def _leak_observations(
    table: ImageTable, leaked: NDArray[np.str_], left_out: bool
) -> list[Observation]:
    found = []
    for part in ("test", "validation"):
        of_part = table.parts == part
        rows = np.flatnonzero(of_part & (leaked != CLEAN)).tolist()
        if not rows:
            continue
        size, equal = int(of_part.sum()), int((leaked[rows] == COPY).sum())
        earlier = "train" if part == "validation" else "train or validation"
        them = "it" if len(rows) == 1 else "them"
        advice = (
            f"Every number of {part} is without {them}."
            if left_out
            else f"The {part} score is too good by that; leave {them} out with --exclude."
        )
        found.append(
            Observation(
                "problem",
                "leak",
                f"{capital(share_of_all(len(rows), size, f'{part} image'))} "
                f"{_are(rows)} also in {earlier}, {how_copied(equal, len(rows) - equal)}, for "
                f"example {shown(table.paths[rows[0]])}.",
                advice,
                tuple(table.paths[i] for i in rows),
            )
        )
    return found


def how_copied(equal: int, changed: int) -> str:
    """Of so many copies, which are equal files.

    >>> how_copied(2, 0), how_copied(0, 1), how_copied(88, 184)
    ('byte for byte', 'slightly changed', '88 byte for byte and 184 slightly changed')
    """
    if equal and changed:
        return f"{equal:,} byte for byte and {changed:,} slightly changed"
    return "byte for byte" if equal else "slightly changed"


def _borderline(table: ImageTable, copies: Copies) -> list[Observation]:
    """Pairs that only a person can judge: told, and left in every number."""
    pairs = copies.borderline_across(table.parts)
    if not len(pairs.first):
        return []
    first, second = (shown(table.paths[int(rows[0])]) for rows in (pairs.first, pairs.second))
    return [
        Observation(
            "note",
            "borderline",
            f"{plural(len(pairs.first), 'pair')} of images in two parts may show the same picture "
            f"and {_count_as(pairs.first)} different, for example {first} and {second} "
            f"(correlation {float(pairs.scores[0]):.3f}).",
            "Look at some; leave out with --exclude what is a copy.",
            tuple(dict.fromkeys(
                table.paths[int(row)]
                for pair in zip(pairs.first, pairs.second, strict=True)
                for row in pair
            )),
        )
    ]  # fmt: skip


def _count_as(items: Sequence[object] | NDArray[np.int64]) -> str:
    return "counts as" if len(items) == 1 else "count as"


def _contradiction(table: ImageTable, groups: Sequence[tuple[int, ...]]) -> list[Observation]:
    if not groups:
        return []
    first = groups[0]
    other = next(i for i in first if table.labels[i] != table.labels[first[0]])
    return [
        Observation(
            "problem",
            "two_labels",
            f"{plural(len(groups), 'picture')} {_are(groups)} there under two labels, for "
            f"example {shown(table.paths[first[0]])} and {shown(table.paths[other])}.",
            "At most one is right; look at them and leave the wrong ones out with --exclude.",
            tuple(table.paths[i] for rows in groups for i in rows),
        )
    ]


def _copies(table: ImageTable, groups: Sequence[tuple[int, ...]]) -> list[Observation]:
    """Copies within one class and part, which do less harm."""
    copies: list[int] = []
    example: tuple[int, int] | None = None
    for rows in groups:
        seen: dict[tuple[str, int], int] = {}
        for i in rows:
            key = (str(table.parts[i]), int(table.labels[i]))
            if key in seen:
                copies.append(i)
                example = example or (seen[key], i)
            seen.setdefault(key, i)
    if example is None:
        return []
    first, second = (shown(table.paths[i]) for i in example)
    advice = "They count twice; leave them out with --exclude."
    if any(table.parts[i] == "" for i in copies):
        advice = (
            "A random split may put copies on both sides of it; leave them out with --exclude, "
            "or keep them together with --group-by near-duplicates."
        )
    return [
        Observation(
            "warning",
            "exact_duplicate",
            f"{plural(len(copies), 'file')} {'is a copy' if len(copies) == 1 else 'are copies'} "
            f"of another in the same class and part, for example {second} of {first}.",
            advice,
            tuple(table.paths[i] for i in copies),
        )
    ]


def _are(items: Sequence[object]) -> str:
    return "is" if len(items) == 1 else "are"
