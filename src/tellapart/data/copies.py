"""Copies: which images of a table show the same picture, and which of them an earlier part has.

Looked for before every training, by the contents of the files and by small grey pictures; what
counts as a copy is decided here for training, evaluation and the audit alike.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from tellapart import cache
from tellapart.data.groups import with_groups
from tellapart.data.pixels import PixelCache
from tellapart.data.split import Splits, split
from tellapart.data.table import PARTS, ImageTable
from tellapart.errors import DataError
from tellapart.pixels.measures import THUMBNAIL_SIDE, grey_thumbnails
from tellapart.pixels.similarity import (
    SAME_PICTURE,
    SimilarPairs,
    are_all_alike,
    find_nearest,
    group_pairs,
)
from tellapart.progress import SILENT, Progress

#: More different files than this in one group are not copies of one picture but pictures of
#: things that look alike: of 2,624 solar cells, one group had 447.
MOST_COPIES = 20
#: Nor are so many and more, where they are over half of the images of a class.
_FEWEST_LOOK_ALIKES = 4
#: So many pairs of pictures are compared at most, which takes two minutes; of more images only
#: equal files are found.
_MOST_COMPARED = 20_000_000_000
_THUMBNAIL = (THUMBNAIL_SIDE, THUMBNAIL_SIDE)
#: Raised when other pairs are found in the same pixels.
_VERSION = 5

#: How an image is known from an earlier part: not at all, byte for byte, or slightly changed.
CLEAN, COPY, NEAR = "", "copy", "near"

#: Why only equal files were looked for: too many images; the pictures, such as those of solar
#: cells, are all so alike that a copy of one cannot be told from another; a run kept none of them.
TOO_MANY, ALL_ALIKE, NOT_KEPT = "too many", "all alike", "not kept"
#: The same in words about the images that a classifier was made with.
WHY_NOT_SOUGHT: Mapping[str, str] = MappingProxyType({
    TOO_MANY: "there are too many images to compare every two of them",
    ALL_ALIKE: "they are all so alike that a changed copy of one cannot be told from another",
    NOT_KEPT: "it keeps no small pictures of them (it is of an older version, or they are many)",
})  # fmt: skip

NO_PAIRS = SimilarPairs(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32))


@dataclass(frozen=True)
class Copies:
    """Which rows of a table show the same picture.

    Attributes:
        groups: int64 (N,), equal numbers for copies of one picture, byte for byte or changed.
        contents: int64 (N,), equal numbers for equal files.
        borderline: pairs that may be copies and are not counted as such: not quite alike
            enough, or in a large group of look-alikes.
        not_sought: "" or why changed copies were not looked for, only equal files: TOO_MANY
            or ALL_ALIKE.
    """

    groups: NDArray[np.int64]
    contents: NDArray[np.int64]
    borderline: SimilarPairs
    not_sought: str = ""

    def leaked(self, parts: NDArray[np.str_]) -> NDArray[np.str_]:
        """For each row CLEAN, or how an earlier part has its picture: COPY or NEAR, str (N,).

        Train is before validation, and validation before test.
        """
        ranks = _ranks(parts)
        how = np.full(len(parts), CLEAN, "<U4")
        how[_has_earlier(self.groups, ranks)] = NEAR
        how[_has_earlier(self.contents, ranks)] = COPY
        return how

    def borderline_across(self, parts: NDArray[np.str_]) -> SimilarPairs:
        """Those borderline pairs whose images are in two parts, the most alike first."""
        pairs = self.borderline
        across = np.flatnonzero(parts[pairs.first] != parts[pairs.second])
        order = across[np.argsort(-pairs.scores[across], kind="stable")]
        return SimilarPairs(pairs.first[order], pairs.second[order], pairs.scores[order])


def find_copies(images: PixelCache, *, progress: Progress = SILENT) -> Copies:
    """Look for the same picture among images of one table.

    Where all parts are given, images of the train part are not compared with each other. What
    was found is kept in the cache, so that every process and every later run has the same.
    """
    table = images.table
    parts = table.parts
    sought = np.ones(len(table), np.bool_)
    if np.isin(PARTS, parts).all() and not (parts == "").any():
        sought = parts != "train"
    too_many = int(sought.sum()) * len(table) > _MOST_COMPARED
    not_sought, near = TOO_MANY if too_many else "", NO_PAIRS
    if len(table) and not too_many:
        key = cache.text_digest(images.key, str(_VERSION), *parts.tolist())
        stored = cache.read_note("copies", key)
        if stored is None:
            thumbnails = thumbnails_of(images, progress=progress)
            found = None
            if not are_all_alike(thumbnails, progress=progress):
                found = find_nearest(thumbnails, _ranks(parts), sought, progress=progress)
            stored = _to_bytes(found)
            cache.write_note("copies", key, stored)
        found = _from_bytes(stored)
        not_sought, near = (ALL_ALIKE, near) if found is None else ("", found)
    return copies_of(images.digests, table.labels, near, not_sought=not_sought)


def thumbnails_of(images: PixelCache, *, progress: Progress = SILENT) -> NDArray[np.uint8]:
    """The small grey pictures that copies are known by: uint8 (N, 32, 32). Kept in the cache."""
    stored = cache.read_note("thumbnails", images.key)
    if stored is not None:
        return np.frombuffer(stored, np.uint8).reshape(len(images), *_THUMBNAIL)
    thumbnails = grey_thumbnails(images.pixels, progress=progress)
    cache.write_note("thumbnails", images.key, thumbnails.tobytes())
    return thumbnails


@dataclass(frozen=True)
class Seen:
    """Which images of a table are among others that were seen before.

    Attributes:
        how: str (N,), CLEAN, COPY or NEAR.
        groups: int64 (N,), equal numbers for copies of one picture within the table.
        not_sought: "" or why changed copies were not looked for, only equal files: NOT_KEPT,
            TOO_MANY or ALL_ALIKE.
    """

    how: NDArray[np.str_]
    groups: NDArray[np.int64]
    not_sought: str


def find_seen(
    images: PixelCache,
    digests: Sequence[str],
    thumbnails: NDArray[np.uint8] | None,
    *,
    progress: Progress = SILENT,
) -> Seen:
    """Look for images of a table among those that a classifier was made with.

    Args:
        images: the new ones.
        digests: content digests of the others.
        thumbnails: what :func:`thumbnails_of` gave for the others, in that order, at the size and
            fit of ``images``; None: only equal files are known.
    """
    count, old = len(images), len(digests)
    near, not_sought = NO_PAIRS, ""
    if thumbnails is None:
        not_sought = NOT_KEPT
    elif count * (count + old) > _MOST_COMPARED:
        not_sought = TOO_MANY
    elif are_all_alike(thumbnails, progress=progress):
        not_sought = ALL_ALIKE
    else:
        every = np.concatenate([thumbnails, thumbnails_of(images, progress=progress)])
        new = np.arange(old + count) >= old
        near = find_nearest(every, new.astype(np.int64), new, progress=progress)
    unknown = np.full(old + count, -1, np.int64)
    copies = copies_of([*digests, *images.digests], unknown, near)
    parts = np.array([PARTS[0]] * old + [PARTS[-1]] * count)
    groups = np.unique(copies.groups[old:], return_inverse=True)[1].astype(np.int64)
    return Seen(copies.leaked(parts)[old:], groups, not_sought)


def copies_of(
    digests: Sequence[str],
    labels: NDArray[np.int64],
    near: SimilarPairs,
    *,
    not_sought: str = "",
) -> Copies:
    """What pairs of similar pictures say of an entire table.

    Images that equal files or similar pictures connect are one group. A group of many
    different files (see :data:`MOST_COPIES`), or of over half of the images of a class, holds
    pictures of things that look alike: in it only equal files are copies, and its pairs are
    borderline.

    Args:
        digests: content digest of each image.
        labels: int64 (N,), class numbers, -1 where not known.
        near: pairs of rows from ``BORDERLINE`` on.
    """
    contents = content_numbers(digests)
    same = near.scores >= SAME_PICTURE
    groups = joined_by(contents, near.first[same], near.second[same])
    alike = _look_alikes(groups, contents, labels)
    kept = same & ~alike[near.first]
    groups = joined_by(contents, near.first[kept], near.second[kept])
    open_pairs = ~kept & (groups[near.first] != groups[near.second])
    borderline = SimilarPairs(
        near.first[open_pairs], near.second[open_pairs], near.scores[open_pairs]
    )
    return Copies(groups, contents, borderline, not_sought)


def split_apart(
    table: ImageTable, copies: Copies, *, validation: float, test: float, seed: int
) -> Splits:
    """Split as :func:`tellapart.data.split.split` does, and never a picture from its copies.

    Where that is impossible because a class holds too few different pictures, equal files are
    kept together, and where that is impossible too, only the groups of the table itself: what
    is torn then counts as leaked. The table comes back with the groups that it had.

    Raises:
        DataError: as ``split``.
    """
    torn: list[str] = []
    for numbers, kind in ((copies.groups, "near copies"), (copies.contents, "equal files")):
        joined = _of_pool(table, numbers)
        if joined is None:
            continue
        try:
            done = split(with_groups(table, joined), validation=validation, test=test, seed=seed)
        except DataError:
            torn.append(kind)
            continue
        notes = [note for note in done.table.notes if note not in table.notes]
        notes += _told_torn(torn)
        if table.groups is None:
            notes = [note.replace(", whole groups,", ", copies kept together,") for note in notes]
        done_table = replace(done.table, groups=table.groups, notes=(*table.notes, *notes))
        return Splits(done_table)
    done = split(table, validation=validation, test=test, seed=seed)
    return Splits(replace(done.table, notes=(*done.table.notes, *_told_torn(torn))))


def _told_torn(kinds: Sequence[str]) -> list[str]:
    if not kinds:
        return []
    return [
        f"Not kept in one part: {' and '.join(kinds)}, for a class has too few different pictures "
        "to put one into each part. Those that are now in two parts count as leaked."
    ]


def _of_pool(table: ImageTable, numbers: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """Group numbers in which only images that are to be split are together; None: none are."""
    pool = (table.parts == "") | (table.parts == "train")
    if set(PARTS) <= {*table.parts.tolist(), "train"} or not len(numbers):
        return None  # nothing is left to split
    alone = int(numbers.max()) + 1 + np.arange(len(numbers))
    joined = np.where(pool, numbers, alone)
    return joined if len(np.unique(joined)) < len(joined) else None


def content_numbers(digests: Sequence[str]) -> NDArray[np.int64]:
    """Equal numbers for equal digests, in order of first appearance: int64 (N,)."""
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(d, len(numbers)) for d in digests], np.int64)


def joined_by(
    contents: NDArray[np.int64], first: NDArray[np.int64], second: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Groups of rows that equal contents or pairs connect: int64 (N,)."""
    count = int(contents.max()) + 1 if len(contents) else 0
    return group_pairs(count, contents[first], contents[second])[contents]


def different_files(groups: NDArray[np.int64], contents: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each row how many different files its group holds: int64 (N,)."""
    _, rows = np.unique(contents, return_index=True)
    return np.bincount(groups[rows], minlength=int(groups.max(initial=-1)) + 1)[groups]


def _look_alikes(
    groups: NDArray[np.int64], contents: NDArray[np.int64], labels: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """bool (N,): the row's group is one of look-alikes, not of copies."""
    if not len(groups):
        return np.zeros(0, np.bool_)
    files = different_files(groups, contents)
    known = labels >= 0
    of_class = np.bincount(labels[known], minlength=1)
    pairs, members = np.unique(np.stack([groups[known], labels[known]]), axis=1, return_counts=True)
    swallowed = 2 * members > of_class[pairs[1]] if len(members) else np.zeros(0, np.bool_)
    swallowing = np.isin(groups, pairs[0][swallowed])
    result: NDArray[np.bool_] = (files > MOST_COPIES) | (
        swallowing & (files >= _FEWEST_LOOK_ALIKES)
    )
    return result


def _ranks(parts: NDArray[np.str_]) -> NDArray[np.int64]:
    """0 for train, 1 for validation, 2 for test, 3 for what has no part yet."""
    ranks = np.full(len(parts), len(PARTS), np.int64)
    for rank, part in enumerate(PARTS):
        ranks[parts == part] = rank
    return ranks


def _has_earlier(numbers: NDArray[np.int64], ranks: NDArray[np.int64]) -> NDArray[np.bool_]:
    """bool (N,): another row of the same number has a lower rank; without a part: never."""
    first = np.full(int(numbers.max(initial=-1)) + 1, len(PARTS), np.int64)
    np.minimum.at(first, numbers, ranks)
    result: NDArray[np.bool_] = (first[numbers] < ranks) & (ranks < len(PARTS))
    return result


def _to_bytes(pairs: SimilarPairs | None) -> bytes:
    """Pairs, or that they were not looked for, because all pictures are alike."""
    if pairs is None:
        return b""
    stream = io.BytesIO()
    np.savez(stream, first=pairs.first, second=pairs.second, scores=pairs.scores)
    return stream.getvalue()


def _from_bytes(content: bytes) -> SimilarPairs | None:
    if not content:
        return None
    with np.load(io.BytesIO(content), allow_pickle=False) as stored:
        return SimilarPairs(stored["first"], stored["second"], stored["scores"])
