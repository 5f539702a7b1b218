"""Which images show the same picture: cropped a little, resized, recompressed, brightened.

Two steps. Descriptors (16 x 16 grey values) and, where given, features of a network name
candidate pairs, by matrix products over blocks of images. Each candidate is then checked:
one picture is laid over the other, its window moved and stretched until the two agree
best, and only pairs whose grey values then correlate nearly perfectly count. So pictures
that only resemble each other (one scene, one breed, one machine) are told from copies.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tellapart.machine import num_cores, single_threaded
from tellapart.pixels.changed import ChangedPairs, find_changed, find_turned
from tellapart.progress import SILENT, Progress

Floats = NDArray[np.float32]

#: Correlation of two aligned pictures from which on they count as one. On Dogs vs. Cats
#: small, copies cropped by up to 6 % a side reach 0.976 and more; the most alike pair of
#: different pictures 0.943.
SAME_PICTURE = 0.955

#: Correlation from which on two pictures may be one, which is told and nothing more.
BORDERLINE = 0.93
#: Correlation of what is fine in two aligned pictures, each place by its own contrast, from which
#: on they count as one. Shapes before a plain ground correlate well wherever they lie alike, but
#: not in their grain. Of 200 copies made of Dogs vs. Cats small the least is 0.78 for those cropped
#: by up to 6 % a side, and 0.96 for those resized, recompressed or brightened.
_SAME_DETAIL = 0.7
#: So many random pairs say whether all pictures of a set are alike, and so many images at least.
_RANDOM_PAIRS, _FEWEST_TO_COMPARE = 500, 50
#: So many of the most alike pictures are looked at closely for each picture before a training.
#: Of the 394 test images of the brain scans 3 neighbours find 173 with a copy in training, in a
#: tenth of the time of a search in all pairs, which finds 174, as 8 neighbours do.
_NEIGHBOURS = 3
#: And so many where these are all alike: more than the copies that one picture may have.
_CROWD = 24

#: Descriptors that make a pair a candidate where there are no features ...
_LIKELY_DESCRIPTOR = 0.85
#: ... and descriptors and features that do together: alike enough in both, or very much in
#: one. (A plane and a ship, each grey on grey, may agree in all but their features.)
_TOGETHER = ((0.6, 0.65), (0.85, 0.4))

#: Largest part of a side that may be missing at either end.
_LARGEST_CROP = 0.15
#: How far the sides of a window are moved, round by round: on small pictures first, and on
#: the full ones for pairs that correlate this well on the small ones.
_COARSE_STEPS, _FINE_STEPS = (0.06, 0.03), (0.03, 0.015, 0.008)
_PROMISING = 0.88
#: Features are compared in this many principal directions.
_DIRECTIONS = 128
#: Numbers in the largest block of a matrix product (128 MB).
_BLOCK_NUMBERS = 1 << 25
_PAIRS_AT_A_TIME = 256


@dataclass(frozen=True)
class SimilarPairs:
    """Pairs of rows that show the same picture; ``first`` < ``second``, sorted.

    Attributes:
        first, second: int64 (P,), row numbers.
        scores: float32 (P,), correlation of the two when aligned, up to 1.
        changes: str (P,), what was done to one of the two besides cropping, resizing and the
            like: "mirrored", "tilted" ..., "" where nothing; None: "" everywhere.
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    scores: Floats
    changes: NDArray[np.str_] | None = None


def find_similar(
    thumbnails: NDArray[np.uint8] | Floats,
    principal: Floats | None = None,
    *,
    changed: bool = False,
    progress: Progress = SILENT,
) -> SimilarPairs:
    """Find all pairs that show the same picture.

    Args:
        thumbnails: grey (N, S, S), 0..255; S a multiple of 16. Rows that are blank (no
            contrast) are like nothing.
        principal: float32 (N, D), features of a network in their principal directions (see
            :func:`principal_directions`); None: crops are found less surely.
        changed: also find copies that were mirrored or turned and, where there are features,
            tilted, framed or written on (:func:`tellapart.pixels.changed.find_changed`).
        progress: told about the blocks compared.
    """
    grey = np.asarray(thumbnails, np.float32)
    descriptors = _descriptors(grey)
    first, second = _candidates(descriptors, principal, progress)
    scores = _told_by_detail(grey, first, second, _scores(grey, first, second, progress))
    same = scores >= SAME_PICTURE
    found = SimilarPairs(first[same], second[same], scores[same])
    if not changed:
        return found
    return join_pairs(found, find_changed(grey, principal, progress=progress))


def join_pairs(similar: SimilarPairs, changed: ChangedPairs) -> SimilarPairs:
    """All pairs of both, sorted; a pair that is similar as it is does not count as changed."""
    first = np.concatenate([similar.first, changed.first])
    second = np.concatenate([similar.second, changed.second])
    scores = np.concatenate([similar.scores, changed.scores])
    unchanged = similar.changes
    if unchanged is None:
        unchanged = np.zeros(len(similar.first), "<U1")
    changes = np.concatenate([unchanged, changed.changes])
    _, rows = np.unique(np.stack([first, second], axis=1), axis=0, return_index=True)
    return SimilarPairs(first[rows], second[rows], scores[rows], changes[rows])


def find_nearest(
    thumbnails: NDArray[np.uint8] | Floats,
    ranks: NDArray[np.int64],
    sought: NDArray[np.bool_],
    *,
    progress: Progress = SILENT,
) -> SimilarPairs:
    """Find pairs from ``BORDERLINE`` on among each picture's nearest neighbours, without features.

    Quicker than :func:`find_similar`, and nearly as good where it does not matter to have all
    pairs of a group, but whether a picture has a copy, and has one in an earlier part. Copies that
    were mirrored or turned are found as well.

    Args:
        thumbnails: as for :func:`find_similar`.
        ranks: int64 (N,), the place of each picture's part; neighbours are looked for among all
            pictures, and again among those of lower ranks.
        sought: bool (N,), whose neighbours are looked for; between two others no pair is found.
    """
    grey = np.asarray(thumbnails, np.float32)
    descriptors = _descriptors(grey)
    rows = np.flatnonzero(sought)
    with progress.stage("Comparing images", len(rows), "images") as stage:
        pairs = _neighbours(descriptors, rows, ranks, _NEIGHBOURS, stage.advance)
    scores = _scored(grey, pairs, progress)
    # Where all neighbours are alike there may be many more: pictures of one kind of thing.
    alike = np.bincount(pairs[scores >= SAME_PICTURE].reshape(-1), minlength=len(grey))
    crowded = np.flatnonzero(sought & (alike >= _NEIGHBOURS))
    if len(crowded):
        more = _neighbours(descriptors, crowded, np.zeros_like(ranks), _CROWD)
        known = pairs[:, 0] * len(grey) + pairs[:, 1]
        more = more[~np.isin(more[:, 0] * len(grey) + more[:, 1], known)]
        added = _scored(grey, more, progress)
        pairs, scores = np.concatenate([pairs, more]), np.concatenate([scores, added])
    close = np.flatnonzero(scores >= BORDERLINE)
    close = close[np.lexsort((pairs[close, 1], pairs[close, 0]))]
    found = SimilarPairs(pairs[close, 0], pairs[close, 1], scores[close])
    turned = find_turned(grey, sought, progress=progress)
    # Checked by its own limits: all of them count.
    turned = replace(turned, scores=np.maximum(turned.scores, np.float32(SAME_PICTURE)))
    return join_pairs(found, turned)


def are_all_alike(thumbnails: NDArray[np.uint8] | Floats, *, progress: Progress = SILENT) -> bool:
    """Whether pictures drawn at random agree in what is fine, so that no copy can be told.

    In photographs of solar cells one in twenty random pairs correlates at 0.88 in detail (brain
    scans 0.44, cats and dogs 0.2): cells of one make are as alike as copies of one picture.
    Whether turned, tilted and framed copies can be told is another question, with another limit:
    ``_all_alike`` of :mod:`tellapart.pixels.changed` says why.
    """
    grey = np.asarray(thumbnails, np.float32)
    if len(grey) < _FEWEST_TO_COMPARE:
        return False
    first, second = np.random.default_rng(0).integers(0, len(grey), (2, _RANDOM_PAIRS))
    different = first != second
    with progress.stage("Looking how alike the images are", None):
        detail = detail_correlation(grey[first[different]], grey[second[different]])
    return bool(np.percentile(detail, 95) >= _SAME_DETAIL)


def _neighbours(
    descriptors: Floats,
    rows: NDArray[np.int64],
    ranks: NDArray[np.int64],
    most: int,
    advance: Callable[[int], None] = lambda number: None,
) -> NDArray[np.int64]:
    """Pairs (P, 2) of ``rows`` and their nearest in all and in lower ranks, each once, in order."""
    found: list[NDArray[np.int64]] = [np.zeros((0, 2), np.int64)]
    size = max(64, _BLOCK_NUMBERS // max(len(descriptors), 1))
    for start in range(0, len(rows), size):
        block = rows[start : start + size]
        looks = descriptors[block] @ descriptors.T
        looks[np.arange(len(block)), block] = -1.0
        found.append(_nearest(looks, block, most))
        for rank in np.unique(ranks[block]):
            earlier = np.flatnonzero(ranks < rank)
            of_rank = np.flatnonzero(ranks[block] == rank)
            if len(earlier):
                pairs = _nearest(looks[np.ix_(of_rank, earlier)], block[of_rank], most)
                found.append(np.stack([pairs[:, 0], earlier[pairs[:, 1]]], axis=1))
        advance(len(block))
    return np.unique(np.sort(np.concatenate(found), axis=1), axis=0)


def _nearest(looks: Floats, rows: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """Pairs (P, 2) of a row's number and the column of one of its nearest that are likely."""
    likely = looks >= _LIKELY_DESCRIPTOR
    many = np.flatnonzero(likely.sum(axis=1) > most)
    if len(many):
        best = np.argpartition(-looks[many], most - 1, axis=1)[:, :most]
        likely[many] = False
        likely[many[:, None], best] = True
    at, columns = np.nonzero(likely)
    return np.stack([rows[at], columns], axis=1)


def _scores(
    grey: Floats, first: NDArray[np.int64], second: NDArray[np.int64], progress: Progress
) -> Floats:
    """Aligned correlation of each pair, block by block on all cores."""
    scores = np.empty(len(first), np.float32)

    def block(start: int) -> int:
        rows = slice(start, start + _PAIRS_AT_A_TIME)
        scores[rows] = aligned_correlation(grey[first[rows]], grey[second[rows]])
        return len(scores[rows])

    with (
        progress.stage("Comparing closely", len(first), "pairs") as stage,
        single_threaded(),
        ThreadPoolExecutor(num_cores()) as pool,
    ):
        for done in pool.map(block, range(0, len(first), _PAIRS_AT_A_TIME)):
            stage.advance(done)
    return scores


def _scored(grey: Floats, pairs: NDArray[np.int64], progress: Progress) -> Floats:
    first, second = pairs[:, 0], pairs[:, 1]
    return _told_by_detail(grey, first, second, _scores(grey, first, second, progress))


def _told_by_detail(
    grey: Floats, first: NDArray[np.int64], second: NDArray[np.int64], scores: Floats
) -> Floats:
    """The scores, those of pairs whose fine structure differs just below ``SAME_PICTURE``."""
    scores = scores.copy()
    close = np.flatnonzero(scores >= SAME_PICTURE)
    for start in range(0, len(close), _PAIRS_AT_A_TIME):
        rows = close[start : start + _PAIRS_AT_A_TIME]
        differs = detail_correlation(grey[first[rows]], grey[second[rows]]) < _SAME_DETAIL
        scores[rows[differs]] = np.nextafter(np.float32(SAME_PICTURE), np.float32(0))
    return scores


def group_pairs(
    count: int, first: NDArray[np.int64], second: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Number the groups that pairs connect: int64 (count,), in order of first appearance.

    Example:
        >>> group_pairs(5, np.array([1, 3]), np.array([3, 4]))
        array([0, 1, 2, 1, 1])
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    links = coo_matrix((np.ones(len(first), np.int8), (first, second)), shape=(count, count))
    labels = connected_components(links, directed=False)[1]
    _, places, numbers = np.unique(labels, return_index=True, return_inverse=True)
    ranks = np.empty(len(places), np.int64)
    ranks[np.argsort(places)] = np.arange(len(places))
    result: NDArray[np.int64] = ranks[numbers]
    return result


def principal_directions(features: Floats, count: int = _DIRECTIONS) -> Floats:
    """Features (N, ...) in their principal directions, rows of length 1: float32 (N, <= count).

    Taking the mean away first is what makes cosines of a network's features tell: before
    it, all are positive and alike.
    """
    from scipy.linalg import eigh

    rows: Floats = np.asarray(features, np.float32).reshape(len(features), -1)
    centred: Floats = rows - rows.mean(axis=0, dtype=np.float64).astype(np.float32)
    size = centred.shape[1]
    if size > count and len(rows):
        covariance = (centred.T @ centred).astype(np.float64)
        _, directions = eigh(covariance, subset_by_index=(size - count, size - 1))
        centred = centred @ directions.astype(np.float32)
    return _unit_rows(centred)


def _unit_rows(rows: Floats) -> Floats:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    result: Floats = np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 1e-3)
    return result


def _descriptors(grey: Floats) -> Floats:
    """16 x 16 grey values, less their mean, of length 1; blank pictures are zero."""
    small = _reduced(grey)
    rows = small.reshape(len(small), -1)
    rows = rows - rows.mean(axis=1, keepdims=True)
    blank = np.linalg.norm(rows, axis=1) < 16.0  # one grey level a value, on average
    rows = _unit_rows(rows)
    rows[blank] = 0.0
    return rows


def _reduced(pictures: Floats) -> Floats:
    """16 x 16 means: (N, S, S) to (N, 16, 16)."""
    count, side = pictures.shape[:2]
    result: Floats = pictures.reshape(count, 16, side // 16, 16, side // 16).mean(axis=(2, 4))
    return result


def _candidates(
    descriptors: Floats, principal: Floats | None, progress: Progress
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs worth a close look, the most alike first where there are very many."""
    count = len(descriptors)
    most = 4 * count + 20_000
    found: list[tuple[NDArray[np.int64], NDArray[np.int64], Floats]] = []
    with progress.stage("Comparing images", count, "images") as stage:
        for start, stop in _blocks(count):
            looks = descriptors[start:stop] @ descriptors[start:].T
            if principal is None:
                wanted = looks >= _LIKELY_DESCRIPTOR
            else:
                sense = principal[start:stop] @ principal[start:].T
                wanted = np.zeros(looks.shape, np.bool_)
                for least_looks, least_sense in _TOGETHER:
                    wanted |= (looks >= least_looks) & (sense >= least_sense)
            rows, columns = np.nonzero(np.triu(wanted, k=1))
            found.append((rows + start, columns + start, looks[rows, columns]))
            stage.advance(stop - start)
    first = np.concatenate([f for f, _, _ in found]) if found else np.zeros(0, np.int64)
    second = np.concatenate([s for _, s, _ in found]) if found else np.zeros(0, np.int64)
    if len(first) > most:
        best = np.sort(np.argsort(np.concatenate([v for _, _, v in found]))[-most:])
        first, second = first[best], second[best]
    return first, second


def _blocks(count: int) -> Iterator[tuple[int, int]]:
    start = 0
    while start < count:
        stop = min(count, start + max(64, _BLOCK_NUMBERS // (count - start)))
        yield start, stop
        start = stop


# --- laying one picture over another ------------------------------------------------------------


def aligned_correlation(ones: Floats, others: Floats) -> Floats:
    """Correlation of pairs of pictures when one is a window of the other, the best there is.

    Args:
        ones, others: grey (P, S, S), S a multiple of 16.

    Returns:
        float32 (P,), -1..1. Pairs that are far from alike get the value of a coarse search.
    """
    best: Floats = np.maximum(_best_window(ones, others)[1], _best_window(others, ones)[1])
    return best


def detail_correlation(ones: Floats, others: Floats) -> Floats:
    """Correlation of the fine structure of pairs that are alike, when one is laid over the other.

    Fine is what differs from the mean of 5 x 5 places; it is divided by its deviation nearby, so
    that edges of large shapes do not count for more than the grain of the ground.

    Args:
        ones, others: grey (P, S, S), 0..255, S a multiple of 16.

    Returns:
        float32 (P,), -1..1.
    """
    in_ones, first = _best_window(ones, others)
    in_others, second = _best_window(others, ones)
    there = _correlation(_detail(_window(ones, in_ones)), _detail(others))
    back = _correlation(_detail(_window(others, in_others)), _detail(ones))
    result: Floats = np.where(first >= second, there, back)
    return result


def _detail(pictures: Floats) -> Floats:
    from scipy.ndimage import uniform_filter

    fine = pictures - uniform_filter(pictures, (0, 5, 5))
    deviation = np.sqrt(np.maximum(uniform_filter(fine * fine, (0, 7, 7)), 0))
    # A grey level or two are no structure.
    result: Floats = np.asarray(fine / (deviation + 1.5), np.float32)
    return result


def _best_window(whole: Floats, part: Floats) -> tuple[Floats, Floats]:
    """The window of ``whole`` that ``part`` is most like, and its correlation with it."""
    windows = np.tile(np.array([0.0, 0.0, 1.0, 1.0], np.float32), (len(whole), 1))
    windows, best = _search(_reduced(whole), _reduced(part), windows, _COARSE_STEPS)
    promising = best >= _PROMISING
    windows[promising], best[promising] = _search(
        whole[promising], part[promising], windows[promising], _FINE_STEPS
    )
    return windows, best


def _search(
    whole: Floats, part: Floats, windows: Floats, steps: tuple[float, ...]
) -> tuple[Floats, Floats]:
    """Move one side of each window after the other, keeping what correlates better."""
    best = _correlation(_window(whole, windows), part)
    for step in steps:
        for _ in range(2):
            for side in range(4):
                low, high = (0.0, _LARGEST_CROP) if side < 2 else (1.0 - _LARGEST_CROP, 1.0)
                for move in (-step, step):
                    tried = windows.copy()
                    tried[:, side] = np.clip(tried[:, side] + move, low, high)
                    scores = _correlation(_window(whole, tried), part)
                    better = scores > best
                    windows = np.where(better[:, None], tried, windows)
                    best = np.where(better, scores, best)
    return windows, best


def _window(pictures: Floats, windows: Floats) -> Floats:
    """Windows (left, top, right, bottom; shares of a side) enlarged to the full size."""
    side = pictures.shape[1]
    down = _sampling(windows[:, 1], windows[:, 3], side)
    across = _sampling(windows[:, 0], windows[:, 2], side)
    result: Floats = np.matmul(np.matmul(down, pictures), across.transpose(0, 2, 1))
    return result


def _sampling(start: Floats, end: Floats, side: int) -> Floats:
    """(P, S, S): row k weighs the values between which place k of the window lies."""
    middles = (np.arange(side, dtype=np.float32) + 0.5) / side
    places = (start[:, None] + (end - start)[:, None] * middles) * side - 0.5
    places = np.clip(places, 0, side - 1).astype(np.float32)
    distance = np.abs(places[:, :, None] - np.arange(side, dtype=np.float32))
    result: Floats = np.maximum(0, 1 - distance)
    return result


def _correlation(a: Floats, b: Floats) -> Floats:
    a = a - a.mean(axis=(1, 2), keepdims=True)
    b = b - b.mean(axis=(1, 2), keepdims=True)
    product = np.einsum("pij,pij->p", a, b)
    norms = np.einsum("pij,pij->p", a, a) * np.einsum("pij,pij->p", b, b)
    result: Floats = product / np.sqrt(norms + 1e-3)
    return result
