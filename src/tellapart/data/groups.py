"""Images that belong together, and file names that suggest it."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tellapart.data.listing import listed, normal_name, plural, shown
from tellapart.data.table import ImageTable
from tellapart.errors import DataError

#: The value of ``group_by`` that keeps pictures together which show the same.
NEAR_DUPLICATES = "near-duplicates"

_NUMBERED = re.compile(r"(.*?)([0-9]+)")
_FRAME_WORDS = re.compile(
    r"(?<![a-z])(videos?|vid|frames?|burst|clip|movie|scene|seq|sequence|timelapse)(?![a-z])",
    re.IGNORECASE,
)
#: A note is raised from this share of the images on, and from this many.
_FRAME_SHARE, _FEWEST_FRAMES = 0.2, 6
_SUGGESTED = r"^(.*?)\d+\.\w+$"


def find_groups(
    paths: Sequence[str],
    group_by: str,
    columns: Mapping[str, Sequence[str]] | None = None,
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    r"""Number the groups of images that must stay in one part.

    Args:
        paths: the images, as posix paths relative to the root.
        group_by: a column of the manifest; or ``"folder"``, the parent folder; or a regular
            expression searched in each path, whose first (...) names the group.
        columns: the manifest's columns, a value an image.

    Returns:
        int64 (N,), 0 .. number of groups - 1 in order of first appearance, and notes.
        An image that the expression does not match, or whose column is empty, is a group
        of its own.

    Raises:
        DataError: no such column, not a regular expression, or it matches nothing.

    Example:
        >>> find_groups(["cat/tom_1.jpg", "cat/tom_2.jpg", "cat/kit_1.jpg"], r"/(\w+)_")[0]
        array([0, 0, 1])
    """
    keys: list[str | None]
    if columns and group_by in columns:
        keys = [value or None for value in columns[group_by]]
    elif group_by == "folder":
        keys = [path.rpartition("/")[0] for path in paths]
    else:
        keys = _matches(paths, group_by, columns)
    numbers: dict[str | int, int] = {}
    groups = np.array(
        [numbers.setdefault(i if k is None else k, len(numbers)) for i, k in enumerate(keys)],
        dtype=np.int64,
    )
    alone = [path for path, key in zip(paths, keys, strict=True) if key is None]
    if not alone:
        return groups, ()
    note = (
        f"{len(alone):,} of {plural(len(paths), 'image')} have no group by '{group_by}' and "
        f"stand alone, for example {shown(alone[0])}."
    )
    return groups, (note,)


def _matches(
    paths: Sequence[str], pattern: str, columns: Mapping[str, Sequence[str]] | None
) -> list[str | None]:
    there = f"; columns there: {listed(list(columns))}" if columns else ""
    if pattern == NEAR_DUPLICATES:
        raise DataError(
            "Groups of near duplicates come from the pictures, not from their names: "
            "read the images with 'tellapart.data.source.Source', which looks at them."
        )
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise DataError(
            f"--group-by '{pattern}' is neither a column, 'folder' nor a regular expression "
            f"({error}){there}."
        ) from None
    if not expression.groups:
        raise DataError(
            f"--group-by '{pattern}' is neither a column nor 'folder', and as a regular "
            rf"expression it lacks a (group) that names what belongs together, as in "
            rf"'/(\w+)_\d+'{there}."
        )
    found = [expression.search(path) for path in paths]
    keys = [m[1] if m else None for m in found]
    if paths and not any(keys):
        raise DataError(
            f"--group-by '{pattern}' matches none of {plural(len(paths), 'path')}, "
            f"for example '{shown(paths[0])}'."
        )
    return keys


def with_groups(table: ImageTable, groups: ArrayLike) -> ImageTable:
    """The table with ready group numbers, integers (N,); groups that it had are joined.

    Two images are together if either numbering says so, or a chain of both does.

    Raises:
        ValueError: there is not one number for each image.
    """
    numbers = np.asarray(groups)
    if numbers.shape != (len(table),) or not np.issubdtype(numbers.dtype, np.integer):
        raise ValueError(
            f"groups must be {len(table)} integers, one an image; "
            f"received {numbers.dtype} {numbers.shape}"
        )
    numbers = np.unique(numbers, return_inverse=True)[1].astype(np.int64)
    if table.groups is not None:
        numbers = join_groups(table.groups, numbers)
    return replace(table, groups=numbers)


def join_groups(first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.int64]:
    """Smallest groups that neither of two numberings (N,) would tear; int64 (N,)."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    a = np.unique(first, return_inverse=True)[1]
    b = np.unique(second, return_inverse=True)[1]
    if not len(a):
        return np.zeros(0, dtype=np.int64)
    size = int(a.max()) + 1
    nodes = size + int(b.max()) + 1
    edges = coo_matrix((np.ones(len(a), dtype=np.int8), (a, b + size)), shape=(nodes, nodes))
    component = connected_components(edges, directed=False)[1]
    return np.asarray(np.unique(component[a], return_inverse=True)[1], dtype=np.int64)


def frames_note(
    paths: Sequence[str], labels: NDArray[np.int64], classes: Sequence[str] = ()
) -> str | None:
    """The question to ask when many names look like video frames, bursts or one series.

    A name counts if it ends in a number, at least three in its folder share what stands
    before the number, the numbers go in even steps, and

    - what stands before says frame, video, burst or the like, or
    - it is an id with a digit of its own (``patient7_001``), of which there are three, or
    - the folder is one of three that are no class folders (``cat/garden/001.jpg``).
    """
    series: dict[tuple[str, str], list[tuple[int, int]]] = defaultdict(list)
    for index, path in enumerate(paths):
        folder, _, name = path.rpartition("/")
        match = _NUMBERED.fullmatch(name.rpartition(".")[0])
        if match and len(match[2]) < 19:
            series[folder, match[1]].append((int(match[2]), index))
    series = {key: sorted(members) for key, members in series.items() if len(members) >= 3}
    num_ids = sum(_has_id(prefix) for _, prefix in series)
    below = {f for f, _ in series if normal_name(f.rpartition("/")[2]) not in classes}
    flagged: list[int] = []
    for (folder, prefix), members in series.items():
        told = (
            _FRAME_WORDS.search(prefix)
            or (num_ids >= 3 and _has_id(prefix))
            or (classes and len(below) >= 3 and folder in below)
        )
        if told and _even_steps([number for number, _ in members]):
            flagged += [index for _, index in members]
    if len(flagged) < max(_FEWEST_FRAMES, _FRAME_SHARE * len(paths)):
        return None
    flagged.sort()
    examples = ", ".join(shown(paths[i].rpartition("/")[2]) for i in flagged[:2])
    return (
        f"{len(flagged):,} of {plural(len(paths), 'image')} look by their names like frames of "
        f"a video, a burst or one series ({examples}); if neighbours land in different parts, "
        f"the scores come out too good: keep them together with --group-by "
        f"{_suggest(paths, labels)}."
    )


def _has_id(prefix: str) -> bool:
    """An id before the counter: ``patient7_``, not ``IMG_`` and not ``2020-``."""
    return any(c.isdigit() for c in prefix) and not prefix.isdigit() and prefix[-1] in "_-. ("


def _even_steps(numbers: list[int]) -> bool:
    steps = np.diff(numbers)
    usual = int(np.median(steps))
    return usual > 0 and float(np.mean(steps == usual)) >= 0.8


def _suggest(paths: Sequence[str], labels: NDArray[np.int64]) -> str:
    """The grouping that leaves every class at least three groups to share out."""
    for name, group_by in ((f"'{_SUGGESTED}'", _SUGGESTED), ("folder", "folder")):
        groups, _ = find_groups(paths, group_by)
        pairs = np.unique(np.stack([labels, groups]), axis=1)
        if np.unique(pairs[0], return_counts=True)[1].min() >= 3:
            return name
    return NEAR_DUPLICATES


_FRAMES_NOTE = re.compile(
    r"(?s)^([\d,]+) of ([\d,]+) images? look by their names like frames .* --group-by (.+)\.$"
)


def frames_of_note(notes: Sequence[str]) -> tuple[int, int, str] | None:
    """What :func:`frames_note` said, found among notes: images, of how many, the grouping."""
    for note in notes:
        match = _FRAMES_NOTE.match(note)
        if match:
            images, of = (int(match[i].replace(",", "")) for i in (1, 2))
            return images, of, match[3].strip("'")
    return None
