"""The same picture more than once: as a copy, in two parts, or under two labels."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from tellapart.audit.finding import Finding, class_of, finding_of
from tellapart.data.copies import MOST_COPIES, content_numbers, joined_by
from tellapart.data.table import PARTS, ImageTable
from tellapart.pixels.similarity import SimilarPairs
from tellapart.wording import listed

_ADVICE = {
    "leak": "A classifier may have learnt it by heart, so the score is too good; leave it out "
    "of the later part with --exclude.",
    "two_labels": "At most one label is right; keep the right one and leave the others out with "
    "--exclude.",
    "exact_duplicate": "It counts twice; leave all but one out with --exclude.",
    "near_duplicate": "Keep them in one part with --group-by near-duplicates, or leave all but "
    "one out with --exclude.",
}


def find_copies(table: ImageTable, digests: Sequence[str], near: SimilarPairs) -> list[Finding]:
    """Findings of the kinds exact_duplicate, near_duplicate, leak and two_labels.

    Images that are connected by equal files or similar pictures are one group, and a group is
    told once, as the worst that it is; both, if it is a leak under two labels. Of groups of many
    look-alikes only equal files are told as copies.

    Args:
        digests: content digest of each image.
        near: pairs of rows that show the same picture.
    """
    closeness = {
        (int(i), int(j)): float(score)
        for i, j, score in zip(near.first, near.second, near.scores, strict=True)
    }
    changes = _changes(near)
    findings: list[Finding] = []
    for rows in _groups(table, digests, near):
        same = _same_files(rows, digests)
        if len(same) > MOST_COPIES:
            findings.append(_look_alikes(table, rows))
            told = [copies for copies in same if len(copies) > 1]
        else:
            told = [rows]
        for copies in told:
            known = [closeness[i, j] for i in copies for j in copies if (i, j) in closeness]
            how = [changes[i, j] for i in copies for j in copies if (i, j) in changes]
            findings += _one_group(table, copies, digests, min(known, default=1.0), how)
    return findings


def _changes(near: SimilarPairs) -> dict[tuple[int, int], str]:
    """What was done to one picture of a pair, of the pairs where that can be said."""
    if near.changes is None:
        return {}
    pairs = zip(near.first.tolist(), near.second.tolist(), near.changes.tolist(), strict=True)
    return {(i, j): change for i, j, change in pairs if change}


def _one_group(
    table: ImageTable,
    rows: Sequence[int],
    digests: Sequence[str],
    score: float,
    changes: Sequence[str],
) -> list[Finding]:
    same_file = len({digests[i] for i in rows}) == 1
    score = 1.0 if same_file else score
    how = "byte for byte" if same_file else " or ".join(dict.fromkeys(changes))
    how = how or "slightly changed"
    found = [*_two_labels(table, rows, digests, score, how), *_leak(table, rows, score, how)]
    if not found:
        return _duplicates(table, rows, digests, score, how)
    left_out = {path for finding in found for path in finding.exclude}
    return [*found, *_copies_that_stay(table, rows, digests, left_out)]


def _copies_that_stay(
    table: ImageTable, rows: Sequence[int], digests: Sequence[str], left_out: set[str]
) -> list[Finding]:
    """Equal files of one part and class in a group that was told as something worse."""
    places: dict[tuple[str, str], list[int]] = defaultdict(list)
    for row in rows:
        if table.paths[row] not in left_out:
            places[str(table.parts[row]), class_of(table, row)].append(row)
    return [
        finding
        for stay in places.values()
        for copies in _same_files(stay, digests)
        for finding in _same_file_twice(table, copies)
    ]


def _same_files(rows: Sequence[int], digests: Sequence[str]) -> list[list[int]]:
    same: dict[str, list[int]] = defaultdict(list)
    for row in rows:
        same[digests[row]].append(row)
    return list(same.values())


def _look_alikes(table: ImageTable, rows: Sequence[int]) -> Finding:
    """One finding about a large group: products, solar cells, frames of one scene."""
    parts = [part for part in dict.fromkeys(str(table.parts[i]) for i in rows) if part]
    spread = f" of {', '.join(parts[:-1])} and {parts[-1]}" if len(parts) > 1 else ""
    sentence = (
        f"{len(rows)} images{spread} look so alike, for example {_listed(table, rows[:2])}, that "
        "copies among them cannot be told from pictures of the same kind of thing."
    )
    advice = (
        "Look at some; if they are frames of one scene or copies, keep them in one part with "
        "--group-by near-duplicates."
    )
    return finding_of(table, rows, "near_duplicate", 0.0, sentence, advice)


def _groups(table: ImageTable, digests: Sequence[str], near: SimilarPairs) -> list[list[int]]:
    """Groups of two rows and more, each in order."""
    numbers = joined_by(content_numbers(digests), near.first, near.second)
    groups: dict[int, list[int]] = defaultdict(list)
    repeated = np.bincount(numbers, minlength=1)[numbers] > 1
    for member in np.flatnonzero(repeated):
        groups[int(numbers[member])].append(int(member))
    return list(groups.values())


def _two_labels(
    table: ImageTable, rows: Sequence[int], digests: Sequence[str], score: float, how: str
) -> list[Finding]:
    labelled: dict[str, int] = {}
    for row in rows:
        if table.labels[row] >= 0:
            labelled.setdefault(class_of(table, row), row)
    if len(labelled) < 2:
        return []
    places = ", and as ".join(f"{name} ({table.paths[row]})" for name, row in labelled.items())
    sentence = f"The same picture, {how}, is there as {places}."
    if len({digests[i] for i in rows}) > 1:  # what was changed may be what the label is about
        advice = "If they show the same thing, at most one label is right; look at them."
        return [finding_of(table, rows, "two_labels", score, sentence, advice)]
    advice = _ADVICE["two_labels"]
    return [finding_of(table, rows, "two_labels", score, sentence, advice, exclude=rows)]


def _leak(table: ImageTable, rows: Sequence[int], score: float, how: str) -> list[Finding]:
    in_part: dict[str, int] = {}
    for row in sorted(rows, key=lambda row: _rank(table, row)):
        in_part.setdefault(str(table.parts[row]), row)
    in_part.pop("", None)
    if len(in_part) < 2:
        return []
    earliest = min(_rank(table, row) for row in rows)
    later = [row for row in rows if _rank(table, row) > earliest]
    places = " and in ".join(f"{part} ({table.paths[row]})" for part, row in in_part.items())
    sentence = f"The same picture, {how}, is in {places}."
    return [finding_of(table, rows, "leak", score, sentence, _ADVICE["leak"], exclude=later)]


def _rank(table: ImageTable, row: int) -> int:
    part = str(table.parts[row])
    return PARTS.index(part) if part in PARTS else len(PARTS)


def _duplicates(
    table: ImageTable, rows: Sequence[int], digests: Sequence[str], score: float, how: str
) -> list[Finding]:
    """A group within one class and part: equal files, then what is only similar."""
    same = _same_files(rows, digests)
    findings = [finding for copies in same for finding in _same_file_twice(table, copies)]
    if len(same) > 1:
        names = _listed(table, rows)
        sentence = f"{names} show the same picture, {how} (correlation {score:.3f})."
        findings.append(_copies(table, rows, "near_duplicate", score, sentence))
    return findings


def _same_file_twice(table: ImageTable, copies: Sequence[int]) -> list[Finding]:
    if len(copies) < 2:
        return []
    sentence = f"{_listed(table, copies)} are the same file, byte for byte."
    return [_copies(table, copies, "exact_duplicate", 1.0, sentence)]


def _copies(
    table: ImageTable, rows: Sequence[int], kind: str, score: float, sentence: str
) -> Finding:
    return finding_of(table, rows, kind, score, sentence, _ADVICE[kind], exclude=rows[1:])


def _listed(table: ImageTable, rows: Sequence[int]) -> str:
    return listed([table.paths[i] for i in rows], 3, "and")
