"""The audit that costs nothing: what the digests and the names of the files give away.

Run before every training. The digests are those of the pixel cache, so no file is read.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tellapart.audit.observations import Observation
from tellapart.data.groups import frames_note
from tellapart.data.listing import plural, shown
from tellapart.data.table import PARTS, ImageTable
from tellapart.wording import percent


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


def brief_audit(table: ImageTable, digests: Sequence[str]) -> BriefAudit:
    """Look for the same picture in two parts, under two labels, or simply twice.

    Args:
        table: the images, with their parts where they are known.
        digests: content digest of each file, in the order of ``table``.

    Raises:
        ValueError: there is not one digest for each image.
    """
    if len(digests) != len(table):
        raise ValueError(f"{len(digests)} digests for {len(table)} images")
    groups = _equal_files(digests)
    leaked = _leaks(table, groups)
    contradictions = [rows for rows in groups if len({int(table.labels[i]) for i in rows}) > 1]
    found = [
        *_leak_observations(table, leaked),
        *_contradiction(table, contradictions),
        *_copies(table, groups),
    ]
    if table.groups is None:
        note = frames_note(table.paths, table.labels, table.classes)
        if note and note not in table.notes:
            found.append(Observation("warning", "frames", note))

    def paths(rows: Sequence[int]) -> tuple[str, ...]:
        return tuple(table.paths[i] for i in rows)

    return BriefAudit(
        observations=tuple(found),
        leaked={part: paths(rows) for part, rows in leaked.items()},
        copies=tuple(paths(rows) for rows in groups),
        contradictions=tuple(paths(rows) for rows in contradictions),
    )


def without_leaks(
    paths: Sequence[str], correct: NDArray[np.bool_], leaked: Sequence[str]
) -> str | None:
    """How a score changes without the leaked images, as a sentence; None without any.

    Args:
        paths: the scored images.
        correct: bool (N,), which of them the classifier got right.
        leaked: those of ``BriefAudit.leaked`` of the same part.
    """
    out = set(leaked)
    clean = np.array([path not in out for path in paths], dtype=np.bool_)
    num_leaked = int((~clean).sum())
    if not num_leaked:
        return None
    if not clean.any():
        return "Every scored image is also in training, so the score says nothing about new ones."
    return (
        f"Without the {plural(num_leaked, 'image')} that {'is' if num_leaked == 1 else 'are'} "
        f"also in training, {percent(float(correct[clean].mean()), 2)} of the other "
        f"{int(clean.sum()):,} are right, instead of {percent(float(np.mean(correct)), 2)} of all."
    )


def _equal_files(digests: Sequence[str]) -> list[tuple[int, ...]]:
    rows: dict[str, list[int]] = defaultdict(list)
    for row, digest in enumerate(digests):
        rows[digest].append(row)
    return [tuple(same) for same in rows.values() if len(same) > 1]


def _leaks(table: ImageTable, groups: Sequence[tuple[int, ...]]) -> dict[str, list[int]]:
    """Rows of validation and test whose content an earlier part has."""
    order = {part: number for number, part in enumerate(PARTS)}
    leaked: dict[str, list[int]] = {part: [] for part in PARTS[1:]}
    for rows in groups:
        parts = [str(table.parts[i]) for i in rows]
        for row, part in zip(rows, parts, strict=True):
            if part in leaked and any(order.get(p, len(order)) < order[part] for p in parts):
                leaked[part].append(row)
    return {part: sorted(rows) for part, rows in leaked.items() if rows}


def _leak_observations(table: ImageTable, leaked: Mapping[str, Sequence[int]]) -> list[Observation]:
    found = []
    for part, rows in leaked.items():
        size = int((table.parts == part).sum())
        earlier = "train" if part == "validation" else "train or validation"
        found.append(
            Observation(
                "problem",
                "leak",
                f"{len(rows):,} of {plural(size, f'{part} image')} {_are(rows)} also in "
                f"{earlier}, for example {shown(table.paths[rows[0]])}.",
                f"The {part} score is too good by that; leave "
                f"{'it' if len(rows) == 1 else 'them'} out with --exclude.",
                tuple(table.paths[i] for i in rows),
            )
        )
    return found


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
