"""Stratified, seeded splits that never tear a group of images apart."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from tellapart.data.listing import listed, plural, shown
from tellapart.data.table import PARTS, ImageTable
from tellapart.errors import DataError

#: How often the grouped split is tried in another order, and how many groups that may take.
_TRIES, _GROUPS_IN_ALL = 32, 50_000
#: Up to so many groups a placement that leaves no class out is looked for exactly, in so many
#: steps of branch and bound.
_EXACT_GROUPS, _EXACT_NODES = 400, 2_000

#: What a class that a part lacks adds to the error of a placement: more than all else.
_LACKING = 1e12

#: The classes of a group's images, and how many it has of each.
_Members = list[tuple[NDArray[np.int64], NDArray[np.float64]]]


@dataclass(frozen=True)
class Splits:
    """A table in which every image has a part."""

    table: ImageTable

    def part(self, name: str) -> ImageTable:
        """The images of "train", "validation" or "test", in table order."""
        if name not in PARTS:
            raise ValueError(f"a part is one of {', '.join(PARTS)}; received {name!r}")
        return self.table.select(self.table.parts == name)


def split(
    table: ImageTable, *, validation: float = 0.15, test: float = 0.15, seed: int = 0
) -> Splits:
    """Give every image a part; only parts that are missing are split off, from the train part.

    Images that are only to be trained on stay there; the others are divided as without them.

    Args:
        table: images that have no part yet, or some parts.
        validation, test: from 0 to below 1 a share of the images that are split; from 1 up a
            number of images; 0: no such part.
        seed: the same table, shares and seed give the same parts.

    Returns:
        Parts in which each class has its share to within one image (with groups: as nearly
        as whole groups allow); how they were made is added to the table's notes.

    Raises:
        DataError: a class (or its groups) is too small to be in every part.
    """
    free = np.ones(len(table), np.bool_) if table.train_only is None else ~table.train_only
    there = set(np.unique(table.parts[free]).tolist())
    shares = {"validation": validation, "test": test}
    for name, share in shares.items():
        _check_share(name, share)
    wanted = {n: s for n, s in shares.items() if n not in there and s > 0}
    pool = np.flatnonzero(free & ((table.parts == "") | (table.parts == "train")))
    if not len(pool):
        raise DataError(f"There are no images to train on in {shown(table.root)}.")
    _require_train_images(table, pool)
    parts = table.parts.astype("<U10")
    parts[parts == ""] = "train"
    notes: list[str] = []
    if wanted:
        labels = table.labels[pool]
        targets = _targets(table, labels, wanted)
        if table.groups is None:
            assigned = split_each_class(labels, targets, seed)
        else:
            assigned = split_groups(labels, table.groups[pool], targets, seed)
            notes += _check_grouped(table, labels, table.groups[pool], assigned, list(wanted))
        names = np.array(["train", *wanted], dtype="<U10")
        parts[pool] = names[assigned]
        notes.insert(0, _how(table, names[assigned], list(wanted), "train" in there, seed))
    done = replace(table, parts=parts)
    notes += _torn_groups(done)
    return Splits(replace(done, notes=table.notes + tuple(notes)))


def _check_share(name: str, share: float) -> None:
    if not share >= 0 or (share >= 1 and share != int(share)):
        raise DataError(
            f"--{name} {share}: give a share from 0 to below 1, or a whole number of images."
        )


def _require_train_images(table: ImageTable, pool: NDArray[np.int64]) -> None:
    counts = np.bincount(table.labels[pool], minlength=len(table.classes))
    lacking = [table.classes[i] for i in np.flatnonzero(counts == 0)]
    if lacking:
        raise DataError(
            f"There are no images of {listed(lacking)} to train on; add some, or leave the "
            "class out."
        )


def _targets(
    table: ImageTable, labels: NDArray[np.int64], wanted: Mapping[str, float]
) -> NDArray[np.int64]:
    """How many images of each class each part should get: (1 + parts, classes), train first."""
    counts = np.bincount(labels, minlength=len(table.classes)).astype(np.int64)
    needed = 1 + len(wanted)
    small = np.flatnonzero(counts < needed)
    if len(small):
        names = ", ".join(f"'{shown(table.classes[i])}' has {counts[i]}" for i in small[:5])
        more = f" and {len(small) - 5:,} more have as few" if len(small) > 5 else ""
        if len(counts) - len(small) > 1:
            rest = f", or leave classes so small out with --min-images {needed}"
        else:  # nothing would be left to tell apart
            rest = ", or do without a test part, with --test 0" if "test" in wanted else ""
        raise DataError(
            f"Too few images to split: class {names}{more}, and {needed} are needed to put one "
            f"into train, {' and '.join(wanted)}; add images{rest}."
        )
    totals = {n: int(s) if s >= 1 else round(s * len(labels)) for n, s in wanted.items()}
    classes = len(counts)
    for name, total in totals.items():
        if wanted[name] >= 1 and total < classes:
            raise DataError(
                f"--{name} {total} is less than one image for each of {classes} classes."
            )
    if sum(totals.values()) > len(labels) - classes:
        asked = " and ".join(f"{total:,} for {name}" for name, total in totals.items())
        raise DataError(
            f"{asked} are too many of {plural(len(labels), 'image')}: the train part needs at "
            "least one image of each class; lower --validation or --test."
        )
    rows: list[NDArray[np.int64]] = []
    left = counts.copy()
    for place, total in enumerate(totals.values()):
        still_to_come = len(totals) - place  # later parts and train keep at least one each
        row = share_out(counts, max(total, classes), left - still_to_come)
        rows.append(row)
        left = left - row
    return np.stack([left, *rows])


def share_out(counts: NDArray[np.int64], total: int, most: NDArray[np.int64]) -> NDArray[np.int64]:
    """``total`` images over classes in proportion to ``counts``, each at least 1, at most ``most``.

    Largest remainders: each class is within one of its exact share where the limits let it.
    """
    exact = counts * (total / counts.sum())
    given: NDArray[np.int64] = np.clip(np.floor(exact).astype(np.int64), 1, most)
    while (missing := total - int(given.sum())) != 0:
        step = 1 if missing > 0 else -1
        free = np.flatnonzero(given < most if step > 0 else given > 1)
        if not len(free):
            break
        order = free[np.argsort(step * (given - exact)[free], kind="stable")]
        given[order[: abs(missing)]] += step
    return given


def split_each_class(
    labels: NDArray[np.int64], targets: NDArray[np.int64], seed: int
) -> NDArray[np.int64]:
    """Row of ``targets`` for each image; each class is shuffled by itself."""
    assigned = np.zeros(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        places = np.repeat(np.arange(len(targets)), targets[:, label])
        np.random.default_rng([seed, int(label)]).shuffle(places)
        assigned[rows] = places
    return assigned


# --- groups -------------------------------------------------------------------------------


def split_groups(
    labels: NDArray[np.int64],
    groups: NDArray[np.int64],
    targets: NDArray[np.int64],
    seed: int,
) -> NDArray[np.int64]:
    """Put whole groups into parts so that every class comes near its target in every part.

    Large groups first, each where it lowers the sum of (images - target)^2 / target over
    classes and parts most, in several random orders, the best of which is improved by moving
    single groups; images that stand alone fill up at the end. Where that leaves a part without
    a class, the groups that every part needs are placed first, and where that fails too, a
    placement is looked for exactly, as a small integer program.

    Args:
        labels, groups: int64 (N,).
        targets: int64 (parts, classes), all at least 1.

    Returns:
        int64 (N,), the part of each image, equal within a group.
    """
    _, group = np.unique(groups, return_inverse=True)
    size = np.bincount(group)
    pairs, pair_counts = np.unique(group * targets.shape[1] + labels, return_counts=True)
    group_of_pair, label_of_pair = np.divmod(pairs, targets.shape[1])
    starts = np.searchsorted(group_of_pair, np.arange(len(size) + 1))
    members = [
        (label_of_pair[a:b], pair_counts[a:b].astype(np.float64)) for a, b in pairwise(starts)
    ]
    together = np.flatnonzero(size > 1)
    tries = int(np.clip(_GROUPS_IN_ALL // max(len(together), 1), 1, _TRIES))

    def best_of(place: Callable[[np.random.Generator], NDArray[np.int64]]) -> _Placement:
        found = (place(np.random.default_rng([seed, attempt])) for attempt in range(tries))
        return min(
            (_Placement(_error(part[group], labels, targets), part) for part in found),
            key=lambda placement: placement.error,
        )

    best = best_of(lambda random: _place(members, size, together, targets, random))
    if best.lacks_a_class:
        best = best_of(lambda random: _place_needed_first(members, targets, random))
    if best.lacks_a_class and len(size) <= _EXACT_GROUPS:
        exact = _place_exactly(members, targets)
        best = best if exact is None else _Placement(0.0, exact)
    return best.part[group]


@dataclass(frozen=True)
class _Placement:
    """The part of each group, and how far that is from what was asked."""

    error: float
    part: NDArray[np.int64]

    @property
    def lacks_a_class(self) -> bool:
        return self.error >= _LACKING


def _place_needed_first(
    members: _Members, targets: NDArray[np.int64], random: np.random.Generator
) -> NDArray[np.int64]:
    """One greedy placement in which every part gets a group of every class before the rest.

    The rarest classes (by groups) come first; among the groups that hold a class the one is
    taken that leaves the part nearest to its targets.
    """
    parts, classes = targets.shape
    over, weight = -targets.astype(np.float64), 1.0 / targets
    groups_in = np.zeros((parts, classes), dtype=np.int64)
    part = np.full(len(members), -1, dtype=np.int64)
    holders: list[list[int]] = [[] for _ in range(classes)]
    for g in random.permutation(len(members)).tolist():
        for label in members[g][0]:
            holders[label].append(g)

    def cost(g: int) -> NDArray[np.float64]:
        labels, counts = members[g]
        summed: NDArray[np.float64] = (
            (2 * over[:, labels] * counts + counts**2) * weight[:, labels]
        ).sum(axis=1)
        return summed

    def put(g: int, place: int, sign: int = 1) -> None:
        labels, counts = members[g]
        part[g] = place
        over[place, labels] += sign * counts
        groups_in[place, labels] += sign

    for label in sorted(range(classes), key=lambda label: len(holders[label])):
        for place in np.argsort(targets[:, label], kind="stable").tolist():
            free = [g for g in holders[label] if part[g] < 0]
            if groups_in[place, label] == 0 and free:
                put(min(free, key=lambda g: float(cost(g)[place])), place)
    largest_first = sorted(
        np.flatnonzero(part < 0).tolist(), key=lambda g: -float(members[g][1].sum())
    )
    for g in largest_first:
        put(g, int(np.argmin(cost(g))))
    for g in largest_first[::-1]:  # second thoughts, which take no part its last group of a class
        if (groups_in[part[g], members[g][0]] > 1).all():
            put(g, int(part[g]), sign=-1)
            put(g, int(np.argmin(cost(g))))
    return part


def _place_exactly(members: _Members, targets: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """The placement nearest to the targets in which no part lacks a class; None: there is none.

    An integer program: one variable says whether a group lies in a part; deviations from the
    targets, as shares of them, are minimised.
    """
    from scipy.optimize import Bounds, LinearConstraint, milp
    from scipy.sparse import coo_array, csr_array, eye_array, hstack, kron

    parts, classes = targets.shape
    number = len(members)
    label = np.concatenate([labels for labels, _ in members])
    group = np.repeat(np.arange(number), [len(labels) for labels, _ in members])
    count = np.concatenate([counts for _, counts in members])
    has = coo_array((np.ones(len(label)), (label, group)), shape=(classes, number))
    counts = coo_array((count, (label, group)), shape=(classes, number))
    each_part = eye_array(parts)
    cells = parts * classes
    nothing = coo_array((number, cells))
    once = hstack([kron(np.ones((1, parts)), eye_array(number)), nothing])
    covered = hstack([kron(each_part, has), coo_array((cells, cells))])
    images = kron(each_part, counts)
    below = hstack([images, eye_array(cells)])  # images + deviation >= target
    above = hstack([images, -eye_array(cells)])  # images - deviation <= target
    wanted = targets.reshape(-1).astype(np.float64)
    result = milp(
        np.concatenate([np.zeros(parts * number), 1.0 / wanted]),
        integrality=np.concatenate([np.ones(parts * number), np.zeros(cells)]),
        bounds=Bounds(0, np.concatenate([np.ones(parts * number), np.full(cells, np.inf)])),
        constraints=[
            LinearConstraint(csr_array(once), 1, 1),
            LinearConstraint(csr_array(covered), 1, np.inf),
            LinearConstraint(csr_array(below), wanted, np.inf),
            LinearConstraint(csr_array(above), -np.inf, wanted),
        ],
        options={"node_limit": _EXACT_NODES},  # by nodes, not seconds: the same on any machine,
    )
    if result.x is None:
        return None
    chosen = result.x[: parts * number].reshape(parts, number)
    found: NDArray[np.int64] = chosen.argmax(axis=0).astype(np.int64)
    return found


def _place(
    members: _Members,
    size: NDArray[np.int64],
    together: NDArray[np.int64],
    targets: NDArray[np.int64],
    random: np.random.Generator,
) -> NDArray[np.int64]:
    """One greedy placement: the part of each group."""
    over = -targets.astype(np.float64)  # images above the target, (parts, classes)
    weight = 1.0 / targets
    part = np.zeros(len(size), dtype=np.int64)
    # Largest first, but not strictly: the tries must differ for the best of them to be worth it.
    order = together[np.argsort(-size[together] * random.uniform(0.6, 1.0, len(together)))]
    for g in order:
        classes, counts = members[g]
        cost = ((2 * over[:, classes] * counts + counts**2) * weight[:, classes]).sum(axis=1)
        part[g] = np.argmin(cost)
        over[part[g], classes] += counts
    for g in order[::-1]:  # second thoughts, smallest first
        classes, counts = members[g]
        over[part[g], classes] -= counts
        cost = ((2 * over[:, classes] * counts + counts**2) * weight[:, classes]).sum(axis=1)
        part[g] = np.argmin(cost)
        over[part[g], classes] += counts
    alone = random.permutation(np.flatnonzero(size == 1))
    label = np.array([members[g][0][0] for g in alone], dtype=np.int64)
    for c in np.unique(label):
        rows = alone[label == c]
        part[rows] = np.repeat(np.arange(len(targets)), _fill(-over[:, c], len(rows)))
    return part


def _fill(lacking: NDArray[np.float64], count: int) -> NDArray[np.int64]:
    """``count`` images over parts, in proportion to what each still lacks; train takes the rest."""
    need = np.maximum(lacking, 0)
    if need.sum() == 0:
        need[0] = 1
    exact = need * (count / need.sum())
    given: NDArray[np.int64] = np.floor(exact).astype(np.int64)
    given[np.argsort(given - exact, kind="stable")[: count - given.sum()]] += 1
    return given


def _error(part: NDArray[np.int64], labels: NDArray[np.int64], targets: NDArray[np.int64]) -> float:
    """Distance from the targets; a class that a part lacks outweighs everything else."""
    counts = np.zeros_like(targets)
    np.add.at(counts, (part, labels), 1)
    chi_squared = float(((counts - targets) ** 2 / targets).sum())
    return chi_squared + _LACKING * int((counts == 0).sum())


def _check_grouped(
    table: ImageTable,
    labels: NDArray[np.int64],
    groups: NDArray[np.int64],
    assigned: NDArray[np.int64],
    wanted: list[str],
) -> list[str]:
    """Stop where a class cannot be in every part; tell how far whole groups are off."""
    needed = 1 + len(wanted)
    for label, name in enumerate(table.classes):
        held = len(np.unique(groups[labels == label]))
        if held < needed:
            raise DataError(
                f"Class '{shown(name)}' lies in {plural(held, 'group')}, and {needed} are needed "
                f"to put one into train, {' and '.join(wanted)} without tearing a group; group "
                "by something finer, or make the parts by hand."
            )
    names = ["train", *wanted]
    notes = []
    for place, part in enumerate(names):
        there = np.bincount(labels[assigned == place], minlength=len(table.classes))
        lacking = [table.classes[i] for i in np.flatnonzero(there == 0)]
        if lacking and (part == "train" or not there.any()):
            raise DataError(
                f"Whole groups leave no images of {listed(lacking)} for {part}; group by "
                "something finer, or make the parts by hand."
            )
        if lacking:
            notes.append(f"Whole groups leave no images of {listed(lacking)} for {part}.")
    return notes


def _torn_groups(table: ImageTable) -> list[str]:
    """Groups that the given parts themselves tear apart."""
    if table.groups is None or not len(table):
        return []
    part = np.unique(table.parts, return_inverse=True)[1]
    group = np.unique(table.groups, return_inverse=True)[1]
    num_parts = int(part.max()) + 1
    group_of_pair = np.unique(group * num_parts + part) // num_parts
    torn = int((np.bincount(group_of_pair) > 1).sum())
    if not torn:
        return []
    return [
        f"The parts, as they were given, tear {plural(torn, 'group')} apart; scores on them may "
        "be too good."
    ]


def _how(
    table: ImageTable, parts: NDArray[np.str_], wanted: list[str], had_train: bool, seed: int
) -> str:
    """One sentence on how the new parts were made."""
    counts = " and ".join(f"{int((parts == name).sum()):,} for {name}" for name in wanted)
    source = "the train part" if had_train else "all images"
    groups = "" if table.groups is None else ", whole groups"
    return (
        f"Split off from {source} ({plural(len(parts), 'image')}): {counts}; "
        f"by class{groups}, seed {seed}."
    )


def parts_split_off(notes: Sequence[str]) -> tuple[str, ...]:
    """Which parts were split off, by the notes of a table that :func:`split` gave.

    >>> parts_split_off(["Split off from all images (9 images): 3 for test; by class, seed 0."])
    ('test',)
    """
    told = " ".join(note for note in notes if note.startswith("Split off from "))
    return tuple(part for part in PARTS if f" for {part}" in told)
