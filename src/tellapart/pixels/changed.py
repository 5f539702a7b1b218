"""Which images are changed copies of others: mirrored, turned, tilted, framed, written on.

What :mod:`tellapart.pixels.similarity` finds is a picture cropped, resized or brightened. Here a
picture is first turned in the eight ways that keep a square, then laid over the other with any
small tilt, stretch and shift, a share of it hidden (:mod:`tellapart.pixels.alignment`). So many
ways to agree make different pictures agree by chance; fine detail does not: grey values less
the mean around them correlate at 0.88 and more in changed copies of photographs, and at 0.6 and
less in the most alike of different ones (measured on Dogs vs. Cats small).
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tellapart.machine import num_cores, single_threaded
from tellapart.pixels.alignment import Agreement, affine, agreement, align
from tellapart.progress import SILENT, Progress

Floats = NDArray[np.float32]
Rows = NDArray[np.int64]

#: The ways to turn a square picture: whether rows and columns change places, then whether the
#: rows and the columns are read backwards. The first leaves it as it is.
TURNS = (
    (False, False, False),
    (False, False, True),
    (False, True, False),
    (False, True, True),
    (True, False, False),
    (True, False, True),
    (True, True, False),
    (True, True, True),
)
STRAIGHT, MIRRORED = 0, 1
_NAMES = (
    "", "mirrored", "upside down and mirrored", "turned by half",
    "turned by a quarter and mirrored",
    "turned by a quarter", "turned by a quarter", "turned by a quarter and mirrored",
)  # fmt: skip

#: Correlation of aligned pictures, and of their fine detail, from which on they are one; the
#: worst fitting places left out.
_SAME_PICTURE, _SAME_DETAIL = 0.95, 0.88
#: Detail that random pairs of a set reach in the upper twentieth, from which on all its
#: pictures are alike (solar cells: 0.93; photographs: 0.2), ...
_LOOK_ALIKE = 0.6
_RANDOM_PAIRS = 200
#: ... and what a turned copy must then reach over all places (first at 8 x 8 values), ...
_EXACT, _SAME_LOOK_ALIKE = 0.995, 0.998
#: ... its misfit no more than this share of that of the picture and its own turned self.
_OWN_SYMMETRY = 0.25
#: Detail must agree without this share of a side at every edge, too: equal frames prove nothing.
_MARGIN = 0.125
#: Share that two pictures must overlap, and by how much an area may shrink or grow.
_LEAST_OVERLAP, _LEAST_AREA = 0.6, 0.55
#: Correlation of aligned 16 x 16 pictures from which on the full ones are compared.
_PROMISING = 0.9

#: Cosine of features from which on an image's nearest, second nearest ... is tried in all ways.
_LIKELY_FEATURES = (0.6, 0.8)
#: Correlation of 8 x 8 pictures to be tried turned: by looks, and where features agree as well.
_LIKELY_TURNED, _LIKELY_MIRRORED = 0.9, 0.5
_NEAREST_UNTURNED = 3
#: Where the search for a map begins.
_STARTS = (
    affine(), affine(9), affine(-9), affine(0, 0.85, 0.85), affine(0, 1.18, 1.18),
    affine(0, 0.85), affine(0, 1.18), affine(0, 1, 0.85), affine(0, 1, 1.18),
)  # fmt: skip
_FIRST_STEPS, _COARSE_STEPS, _FINE_STEPS = 2, 4, 5
_STARTS_KEPT = 2
_PAIRS_AT_A_TIME = 256
_BLOCK_NUMBERS = 1 << 24


@dataclass(frozen=True)
class ChangedPairs:
    """Pairs of rows that show one picture, changed; ``first`` < ``second``, sorted.

    Attributes:
        first, second: int64 (P,), row numbers.
        scores: float32 (P,), correlation of the two when aligned, without what is hidden.
        changes: str (P,), what was done in words: "mirrored", "tilted", "framed or written on".
    """

    first: Rows
    second: Rows
    scores: Floats
    changes: NDArray[np.str_]


def find_changed(
    grey: Floats,
    principal: Floats | None = None,
    *,
    thorough: bool = True,
    progress: Progress = SILENT,
) -> ChangedPairs:
    """Find changed copies: each image is compared with the few that are most like it.

    In a set of pictures that are all alike, such as solar cells, only exactly mirrored or
    turned copies are told.

    Args:
        grey: (N, S, S), 0..255; S a multiple of 16.
        principal: float32 (N, D), features of a network in their principal directions; None:
            only mirrored and turned copies are found.
        thorough: also look for tilted, framed and written on copies (about 1 ms an image).
        progress: told about the pairs compared.
    """
    if len(grey) < 2:
        return _no_pairs()
    candidates = _candidates(grey, principal, thorough)
    return _checked(grey, candidates, asymmetric=False, progress=progress)


def find_turned(
    grey: Floats, sought: NDArray[np.bool_], *, progress: Progress = SILENT
) -> ChangedPairs:
    """Find copies that were mirrored or turned, quickly, as is done before every training.

    Only of pictures that are not nearly symmetric themselves: of others a mirrored copy looks like
    the picture as it is, and what is left out of a number must be certain.

    Args:
        grey: as for :func:`find_changed`.
        sought: bool (N,), whose copies are looked for; between two others no pair is found.
    """
    if len(grey) < 2 or not sought.any():
        return _no_pairs()
    candidates = _turned_alike(grey, np.flatnonzero(sought))
    order = np.unique(np.stack(candidates, axis=1), axis=0)
    return _checked(grey, (order[:, 0], order[:, 1], order[:, 2]), asymmetric=True,
                    progress=progress)  # fmt: skip


def _checked(
    grey: Floats,
    candidates: tuple[Rows, Rows, Rows],
    *,
    asymmetric: bool,
    progress: Progress,
) -> ChangedPairs:
    """Those candidates (first, second, turn) that are one picture when laid over each other.

    Args:
        asymmetric: only pictures that differ from their own turned selves; always asked where all
            pictures are alike.
    """
    first, second, turns = candidates
    if not len(first):
        return _no_pairs()
    alike = _all_alike(grey, progress)
    if alike:
        kept = _exactly_turned(grey, first, second, turns)
        first, second, turns = first[kept], second[kept], turns[kept]
    found = _compare(grey, first, second, turns, progress)
    same = _is_same(found, strict=alike)
    if (alike or asymmetric) and same.any():
        rows = np.flatnonzero(same)
        own = _compare(grey, first[rows], first[rows], turns[rows], progress)
        same[rows] = 1 - found.whole[rows] < _OWN_SYMMETRY * (1 - own.whole)
    order = np.flatnonzero(same)
    order = order[np.lexsort((-found.trimmed[order], second[order], first[order]))]
    pairs = np.stack([first[order], second[order]], axis=1)
    _, places = np.unique(pairs, axis=0, return_index=True)  # the best way of each pair
    rows = order[places]
    return ChangedPairs(first[rows], second[rows], found.trimmed[rows], _words(found, turns, rows))


def turned(pictures: Floats, turn: int) -> Floats:
    """Pictures (N, S, S) turned in the way ``TURNS[turn]``."""
    swap, rows, columns = TURNS[turn]
    result = pictures.transpose(0, 2, 1) if swap else pictures
    result = result[:, ::-1] if rows else result
    return result[:, :, ::-1] if columns else result


def _no_pairs() -> ChangedPairs:
    none = np.zeros(0, np.int64)
    return ChangedPairs(none, none, np.zeros(0, np.float32), np.zeros(0, "<U1"))


# --- which pairs to try -----------------------------------------------------------------------


def _candidates(grey: Floats, principal: Floats | None, thorough: bool) -> tuple[Rows, Rows, Rows]:
    """Rows of each pair, first < second, and the turn to try."""
    lists = [_turned_alike(grey, np.arange(len(grey)))]
    if principal is not None:
        first, second = _nearest(principal, grey)
        mirrored = _descriptors(turned(grey, MIRRORED))
        looks = np.einsum("ni,ni->n", mirrored[first], _descriptors(grey)[second])
        likely = looks >= _LIKELY_MIRRORED
        lists.append((first[likely], second[likely], np.full(likely.sum(), MIRRORED)))
        if thorough:
            lists.append((first, second, np.full(len(first), STRAIGHT)))
    stacked = np.concatenate([np.stack(columns, axis=1) for columns in lists])
    stacked = np.unique(stacked.astype(np.int64), axis=0)
    return stacked[:, 0], stacked[:, 1], stacked[:, 2]


def _turned_alike(grey: Floats, sought: Rows) -> tuple[Rows, Rows, Rows]:
    """Each image that is sought and those whose turned picture is like it, among the few nearest
    in numbers that no turn changes."""
    count = len(grey)
    numbers = _unturned(grey)
    lengths = (numbers**2).sum(axis=1) / 2
    rows = _descriptors(grey)
    partners = min(_NEAREST_UNTURNED, count - 1)
    found = []
    size = max(64, _BLOCK_NUMBERS // max(1, count))
    for start in range(0, len(sought), size):
        own = sought[start : start + size]
        at = np.arange(len(own))
        nearness = numbers[own] @ numbers.T - lengths
        nearness[at, own] = -np.inf
        for _ in range(partners):
            other = nearness.argmax(axis=1)
            nearness[at, other] = -np.inf
            found.append(np.stack([own, other]))
    first, second = np.concatenate(found, axis=1) if found else np.zeros((2, 0), np.int64)
    looks = np.stack(
        [
            np.einsum("ni,ni->n", rows[first], _descriptors(turned(grey, turn))[second])
            for turn in range(1, len(TURNS))
        ]
    )
    how = looks.argmax(axis=0)
    likely = looks[how, np.arange(len(first))] >= _LIKELY_TURNED
    return _in_order(first[likely], second[likely], how[likely] + 1)


def _unturned(grey: Floats) -> Floats:
    """Numbers (N, 72) that turning a picture does not change: of each set of places that turns
    carry into each other, the mean and the spread; of 16 x 16 values less their mean, of
    length 1."""
    small = _reduced(grey).reshape(len(grey), -1)
    small = small - small.mean(axis=1, keepdims=True)
    small /= np.linalg.norm(small, axis=1, keepdims=True) + 16.0
    index = np.arange(256, dtype=np.float32).reshape(1, 16, 16)
    least = np.min([turned(index, turn) for turn in range(len(TURNS))], axis=0).ravel()
    _, orbits, sizes = np.unique(least, return_inverse=True, return_counts=True)
    share = np.zeros((256, len(sizes)), np.float32)
    share[np.arange(256), orbits] = 1 / sizes[orbits]
    means = small @ share
    spreads = np.sqrt(np.maximum(small**2 @ share - means**2, 0))
    result: Floats = np.concatenate([means, spreads], axis=1) * np.tile(np.sqrt(sizes), 2)
    return result.astype(np.float32)


def _in_order(first: Rows, second: Rows, turns: Rows) -> tuple[Rows, Rows, Rows]:
    """Pairs with the smaller row first, and the turn that makes it the second.

    ``turns`` makes ``second`` the picture ``first``.
    """
    back = np.array([0, 1, 2, 3, 4, 6, 5, 7])  # quarters are the only turns not their own
    swapped = first > second
    turns = np.where(swapped, turns, back[turns])
    return np.minimum(first, second), np.maximum(first, second), turns


def _nearest(principal: Floats, grey: Floats) -> tuple[Rows, Rows]:
    """Pairs of an image and one of the few that are nearest by features; none is blank."""
    count = len(principal)
    seen = np.abs(_descriptors(grey)).sum(axis=1) > 0
    found = []
    for start, stop in _blocks(count):
        own = np.arange(start, stop)
        sense = principal[start:stop] @ principal.T
        sense[own - start, own] = -1.0
        for least in _LIKELY_FEATURES:
            other = sense.argmax(axis=1)
            likely = sense[own - start, other] >= least
            sense[own - start, other] = -1.0
            likely &= seen[own] & seen[other]
            found.append(np.stack([own[likely], other[likely]], axis=1))
    pairs = np.concatenate(found) if found else np.zeros((0, 2), np.int64)
    pairs = np.unique(np.sort(pairs, axis=1), axis=0)
    return pairs[:, 0], pairs[:, 1]


def _descriptors(grey: Floats) -> Floats:
    """8 x 8 grey values less their mean, of length 1; blank pictures are zero: (N, 64)."""
    count, side = grey.shape[:2]
    rows = grey.reshape(count, 8, side // 8, 8, side // 8).mean(axis=(2, 4)).reshape(count, 64)
    rows = rows - rows.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    result: Floats = np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 8.0)
    return result


def _blocks(count: int) -> Iterator[tuple[int, int]]:
    rows = max(64, _BLOCK_NUMBERS // max(1, count))
    for start in range(0, count, rows):
        yield start, min(count, start + rows)


# --- how well pairs agree ---------------------------------------------------------------------


@dataclass(frozen=True)
class _Found:
    """Of each candidate: agreement of grey values, of detail, and the map; (P,) and (P, 2, 3)."""

    whole: Floats
    trimmed: Floats
    overlap: Floats
    detail: Floats
    maps: Floats


def _all_alike(grey: Floats, progress: Progress) -> bool:
    """Whether pairs drawn at random already agree in detail when aligned.

    :func:`tellapart.pixels.similarity.are_all_alike` asks the same of pictures that are only
    stretched and moved a little. Here a picture may also be tilted and partly hidden, so random
    pairs agree better, and the limit must be another: brain scans reach 0.66 here and 0.44 there.
    Their cropped or brightened copies can be told from other scans, but not their mirrored ones,
    for a head is nearly its own mirror image: taken as not alike, 200 pairs of 1,829 scans would
    be called mirrored.
    """
    random = np.random.default_rng(0)
    first, second = random.integers(0, len(grey), (2, _RANDOM_PAIRS))
    different = first != second
    if not different.any():
        return False
    first, second = first[different], second[different]
    found = _compare(grey, first, second, np.zeros(len(first), np.int64), progress)
    return bool(np.percentile(found.detail, 95) >= _LOOK_ALIKE)


def _exactly_turned(grey: Floats, first: Rows, second: Rows, turns: Rows) -> NDArray[np.bool_]:
    """Which candidates agree at 8 x 8 values without being moved, once turned."""
    rows = _descriptors(grey)
    kept = np.zeros(len(first), np.bool_)
    for turn in range(1, len(TURNS)):
        chosen = turns == turn
        ones = _descriptors(turned(grey[first[chosen]], turn))
        kept[chosen] = np.einsum("ni,ni->n", ones, rows[second[chosen]]) >= _EXACT
    return kept


def _is_same(found: _Found, *, strict: bool) -> NDArray[np.bool_]:
    area = np.abs(np.linalg.det(found.maps[:, :, :2]))
    same: NDArray[np.bool_] = (area >= _LEAST_AREA) & (area <= 1 / _LEAST_AREA)
    same &= found.overlap >= _LEAST_OVERLAP
    same &= (found.trimmed >= _SAME_PICTURE) & (found.detail >= _SAME_DETAIL)
    if strict:
        same &= found.whole >= _SAME_LOOK_ALIKE
    return same


def _compare(grey: Floats, first: Rows, second: Rows, turns: Rows, progress: Progress) -> _Found:
    """Align each pair, block by block on all cores."""
    count = len(first)
    whole, trimmed, overlap, detail = (np.full(count, -1.0, np.float32) for _ in range(4))
    maps = np.zeros((count, 2, 3), np.float32)
    blocks = [
        members[start : start + _PAIRS_AT_A_TIME]
        for members in (np.flatnonzero(turns == turn) for turn in range(len(TURNS)))
        for start in range(0, len(members), _PAIRS_AT_A_TIME)
    ]

    def block(rows: Rows) -> int:
        turn = int(turns[rows[0]])
        ones = turned(grey[first[rows]], turn)
        starts = _STARTS if turn == STRAIGHT else _STARTS[:1]
        found = _aligned(ones, grey[second[rows]], starts)
        whole[rows], trimmed[rows], overlap[rows] = found.whole, found.trimmed, found.overlap
        detail[rows], maps[rows] = found.detail, found.maps
        return len(rows)

    with (
        progress.stage("Looking for changed copies", count, "pairs") as stage,
        single_threaded(),
        ThreadPoolExecutor(num_cores()) as pool,
    ):
        for done in pool.map(block, blocks):
            stage.advance(done)
    return _Found(whole, trimmed, overlap, detail, maps)


def _aligned(ones: Floats, others: Floats, starts: tuple[Floats, ...]) -> _Found:
    """Align pairs coarsely from several starts, and finely where that promises something."""
    maps, coarse = _coarse_maps(_reduced(ones), _reduced(others), starts)
    whole, trimmed, overlap = coarse.whole, coarse.trimmed, coarse.overlap
    detail = np.zeros(len(ones), np.float32)
    rows = np.flatnonzero(trimmed >= _PROMISING)
    if len(rows):
        one, other = ones[rows], others[rows]
        maps[rows] = align(one, other, maps[rows], _FINE_STEPS)
        fine = agreement(one, other, maps[rows])
        whole[rows], trimmed[rows], overlap[rows] = fine.whole, fine.trimmed, fine.overlap
        one, other = _detail(one), _detail(other)
        detail[rows] = np.minimum(
            agreement(one, other, maps[rows]).trimmed,
            agreement(one, other, maps[rows], margin=_MARGIN).trimmed,
        )
    return _Found(whole, trimmed, overlap, detail, maps)


def _coarse_maps(
    ones: Floats, others: Floats, starts: tuple[Floats, ...]
) -> tuple[Floats, Agreement]:
    """The best of all starts: a few steps from each, more from the best few."""
    count = len(ones)
    tried = np.stack([np.tile(start, (count, 1, 1)) for start in starts])
    scores = np.empty((len(starts), count), np.float32)
    for number, maps in enumerate(tried):
        tried[number] = align(ones, others, maps, _FIRST_STEPS)
        scores[number] = _worth(agreement(ones, others, tried[number]))
    best = np.argsort(-scores, axis=0)[:_STARTS_KEPT]
    kept = []
    for numbers in best:
        maps = align(ones, others, tried[numbers, np.arange(count)], _COARSE_STEPS)
        kept.append((maps, agreement(ones, others, maps)))
    (maps, found), *rest = kept
    for other_maps, other in rest:
        better = _worth(other) > _worth(found)
        maps = np.where(better[:, None, None], other_maps, maps)
        found = Agreement(
            np.where(better, other.whole, found.whole),
            np.where(better, other.trimmed, found.trimmed),
            np.where(better, other.overlap, found.overlap),
        )
    return maps, found


def _worth(found: Agreement) -> Floats:
    result: Floats = np.where(found.overlap >= _LEAST_OVERLAP, found.trimmed, -1.0)
    return result


def _reduced(pictures: Floats) -> Floats:
    """16 x 16 means: (P, S, S) to (P, 16, 16)."""
    count, side = pictures.shape[:2]
    result: Floats = pictures.reshape(count, 16, side // 16, 16, side // 16).mean(axis=(2, 4))
    return result


def _detail(pictures: Floats) -> Floats:
    """Grey values less the mean of the 3 x 3 around them."""
    side = pictures.shape[1]
    padded = np.pad(pictures, ((0, 0), (1, 1), (1, 1)), mode="edge")
    rows = padded[:, :side] + padded[:, 1 : side + 1] + padded[:, 2:]
    around = rows[:, :, :side] + rows[:, :, 1 : side + 1] + rows[:, :, 2:]
    result: Floats = pictures - around / 9
    return result


# --- what was changed -------------------------------------------------------------------------


def _words(found: _Found, turns: Rows, rows: Rows) -> NDArray[np.str_]:
    maps = found.maps[rows]
    angles = np.degrees(np.arctan2(maps[:, 1, 0] - maps[:, 0, 1], maps[:, 0, 0] + maps[:, 1, 1]))
    words = [
        _NAMES[turn] or ("tilted" if abs(angle) >= 1.5 else "framed, cut or written on")
        for turn, angle in zip(turns[rows], angles, strict=True)
    ]
    return np.array(words, np.str_) if words else np.zeros(0, "<U1")
