"""Which folders mean what: wrappers, parts, classes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from tellapart.data.listing import (
    Listing,
    Problem,
    entries,
    inside,
    is_system_name,
    listed,
    natural_key,
    normal_name,
    plural,
    scan,
    shown,
    visible_folders,
)
from tellapart.data.masks import find_masks, without_companions
from tellapart.data.own_output import is_own_output
from tellapart.data.part_names import PART_NAMES, paired_parts, part_of_name, stem_of
from tellapart.errors import DataError
from tellapart.pixels.formats import IMAGE_EXTENSIONS
from tellapart.progress import Work

_MAXIMUM_WRAPPERS = 3


@dataclass(frozen=True)
class PartFolders:
    """Folders that a caller names for each part, relative to the root; ``*`` is allowed."""

    train: tuple[str, ...] = ()
    validation: tuple[str, ...] = ()
    test: tuple[str, ...] = ()

    def items(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        return (("train", self.train), ("validation", self.validation), ("test", self.test))


def setting_of(part: str) -> str:
    """The recipe's setting that names the folders of a part."""
    return f"data.{part}_folders"


# --- folders that mean a part -----------------------------------------------------------


def _has_images(folder: Path) -> bool:
    return any(
        e.name.rpartition(".")[2].lower() in IMAGE_EXTENSIONS and not is_system_name(e.name)
        for e in entries(folder)
    )


def find_base(root: Path) -> str:
    """The prefix of a single wrapping folder, as archives have one: ``""`` or ``"photos/"``.

    A folder of masks beside one of images is no second folder.
    """
    prefix = ""
    for _ in range(_MAXIMUM_WRAPPERS):
        folder = root / prefix
        names = without_companions(visible_folders(folder))
        if len(names) != 1 or part_of_name(names[0]) or _has_images(folder):
            break
        below = folder / names[0]
        if not visible_folders(below) or _has_images(below):
            break
        prefix += f"{names[0]}/"
    return prefix


def find_parts(base: Path, named: PartFolders) -> tuple[dict[str, list[str]], list[str]]:
    """Folders of each part below ``base``: those named, then those with a part's name.

    A folder is a part only if it holds folders: ``train/*.jpg`` beside ``car/*.jpg`` is a
    class. ``train1 train2 ...`` together are the train part where there is no ``train``.

    Returns:
        Folder names for each part that is there, and notes about folders left out.

    Raises:
        DataError: a folder is named twice, or it is not clear which folders are meant.
    """
    chosen = {part: _expand(base, part, patterns) for part, patterns in named.items() if patterns}
    taken = [name for names in chosen.values() for name in names]
    for name in taken:
        if taken.count(name) > 1:
            raise DataError(f"The folder '{shown(name)}' is named twice; give it to one part.")
    folders = visible_folders(base)
    meanings = _meanings(base, folders)
    candidates: dict[str, list[str]] = {}
    flat: list[str] = []
    for name, part in meanings.items():
        if part not in chosen and name not in taken:
            holds_classes = bool(visible_folders(base / name))
            (candidates.setdefault(part, []) if holds_classes else flat).append(name)
    for part, names in candidates.items():
        chosen[part] = _choose(base, part, names)
    named_any = any(patterns for _, patterns in named.items())
    others = [name for name in folders if name not in meanings]
    if "train" not in chosen and not named_any and (others or not chosen):
        return {}, []
    if list(chosen) == ["train"] and not named_any and not flat:
        _require_train_is_no_class(base, chosen["train"], others)
    used = {name.split("/")[0] for names in chosen.values() for name in names}
    left = [name for name in folders if name not in used]
    notes = []
    if left:
        why = " (no class folders in it)" if set(left) <= set(flat) else ""
        notes.append(f"Left out, beside the parts: {', '.join(map(shown, left))}{why}.")
    return chosen, notes


def _meanings(base: Path, folders: Sequence[str]) -> dict[str, str]:
    """The part of each folder whose name means one, by itself or beside its neighbours."""
    meanings = {name: part for name in folders if (part := part_of_name(name))}
    pairs = paired_parts([name for name in folders if name not in meanings])
    if len(pairs) == 1:
        (group,) = pairs.values()
        if all(visible_folders(base / name) for name in group):
            return meanings | group
    if pairs and not meanings:
        names = sorted(name for group in pairs.values() for name in group)
        raise DataError(
            f"The names of the folders {listed(names, 4)} in {shown(base)} say class and part "
            "at once; sort them into train/CLASS and test/CLASS, or give a table with the "
            "columns path, label and split."
        )
    return meanings


def only_parts_for_classes(listing: Listing) -> bool:
    """Whether all that was taken for classes is named after parts: ``train/*.jpg test/*.jpg``."""
    return not any(listing.parts) and all(part_of_name(name) for name in set(listing.names))


def no_class_folders(root: Path, names: Sequence[str]) -> DataError:
    """What to say of folders named after parts that hold images and no class folders."""
    base = root / find_base(root)
    hint = ""
    for name in names:
        images = [e.name for e in entries(base / name) if not is_system_name(e.name)]
        if images and all(len(image.split(".")) >= 3 for image in images):
            hint = (
                f"; for files named class.number.jpg, 'tellapart subset {shown(base / name)} OUT' "
                "sorts them"
            )
            break
    return DataError(
        f"The folders {listed(names)} in {shown(base)} are named after parts, and hold images but "
        f"no class folders; put the images of each class into a folder named after it, or give "
        f"a table that says the label of each{hint}."
    )


def _require_train_is_no_class(base: Path, train: Sequence[str], others: Sequence[str]) -> None:
    """A lone ``train`` beside folders like it may be the vehicle."""
    inner = set(visible_folders(base / train[0]))
    alike = [name for name in others if inner and inner <= set(visible_folders(base / name))]
    full = [name for name in others if _has_images(base / name)]
    if not alike and len(full) < 2:  # one folder beside it may hold what has no labels
        return
    what = f"the same folders as {listed(alike, 3)}" if alike else (
        f"folders, and {listed(full, 3)} beside it hold images"
    )
    raise DataError(
        f"'{shown(train[0])}' in {shown(base)} holds {what}, so it is not clear whether it is a "
        f"part or a class: for the part, give {shown(base / train[0])}; for a class, put its "
        "images directly into it."
    )


def _choose(base: Path, part: str, names: list[str]) -> list[str]:
    """The folder without a number, else all that differ in their numbers only."""
    plain = [n for n in names if n.lower() in PART_NAMES]
    if len(plain) > 1 or (not plain and len({stem_of(n) for n in names}) > 1):
        several = plain or sorted(names, key=natural_key)
        raise DataError(
            f"{shown(base)} has several {part} folders ({', '.join(map(shown, several))}); name "
            f"the one that is meant with --set {setting_of(part)}=[{shown(several[0])}]."
        )
    return plain or sorted(names, key=natural_key)


def _expand(base: Path, part: str, patterns: Sequence[str]) -> list[str]:
    """Folders that a caller names for a part, patterns filled in."""
    found: list[str] = []
    for pattern in patterns:
        name = inside(pattern, base, f"{setting_of(part)}={pattern}")
        if not any(c in name for c in "*?["):
            matches = [name] if (base / name).is_dir() else []
        else:
            matches = sorted(_match(base, name), key=natural_key)
        if not matches:
            raise DataError(
                f"There is no folder '{shown(pattern)}' for the {part} part in {shown(base)}; "
                f"folders there: {listed(visible_folders(base))}."
            )
        found += [m for m in matches if m not in found]
    return found


def _match(base: Path, pattern: str) -> Iterable[str]:
    names = [""]
    for piece in PurePosixPath(pattern).parts:
        names = [
            f"{above}/{name}".lstrip("/")
            for above in names
            for name in visible_folders(base / above)
            if fnmatchcase(name, piece)
        ]
    return names


# --- a folder of class folders ------------------------------------------------------------


def list_folder(
    root: Path, named: PartFolders, stage: Work, classes: Sequence[str] = ()
) -> Listing:
    """List a folder of class folders, with or without folders of parts above or below them.

    Args:
        classes: names that are known to be classes, in case the layout could mean two things.

    Raises:
        DataError: nothing says which folders are the classes.
    """
    listing = Listing(root)
    first = next((names[0] for _, names in named.items() if names), None)
    prefix = "" if first and any(_match(root, first)) else find_base(root)
    parts, notes = find_parts(root / prefix, named)
    listing.notes += notes
    own: list[str] = []
    if not parts:
        own += _list_classes(listing, prefix, "", stage, classes)
    for part, folders in parts.items():
        for folder in folders:
            below = "" if folder == "." else f"{folder}/"
            own += _list_classes(listing, prefix + below, part, stage, classes)
    own += [name for name in _own_folders(root) if name not in own]
    listing.notes += own_output_note(own)
    return listing


def own_output_note(folders: Sequence[str]) -> list[str]:
    """One sentence about runs and reports that were passed over; none if there are none."""
    them = "it" if len(folders) == 1 else "them"
    told = f"Passed over, as tellapart wrote {them}: {listed(sorted(folders))}."
    return [told] if folders else []


def _own_folders(root: Path) -> list[str]:
    return sorted(
        entry.name
        for entry in entries(root)
        if not is_system_name(entry.name) and is_own_output(entry.path)
    )


def _list_classes(
    listing: Listing, prefix: str, part: str, stage: Work, classes: Sequence[str]
) -> list[str]:
    """Add what lies below ``prefix``; returns the folders that tellapart wrote."""
    found = scan(listing.root / prefix, prefix, stage)
    start = len(prefix)
    masks = find_masks(found.paths, start)
    inner: dict[str, list[str]] = {}
    for path in found.paths:
        name, slash, rest = path[start:].partition("/")
        if not slash:
            reason = "It lies outside the class folders."
            listing.problems.append(Problem(path, "no_class", reason))
        elif path in masks:
            reason = "By its name it is a segmentation mask of the image beside it."
            listing.problems.append(Problem(path, "mask", reason))
        else:
            inner.setdefault(name, []).append(rest)
    companions = sorted(set(inner) - set(without_companions(list(inner))))
    if companions:
        listing.notes.append(
            f"The folder {listed([prefix + c for c in companions])} is taken for a class, though "
            "by its name it may hold the masks of the images beside it; if so, give a folder of "
            "class folders without it."
        )
    place = listing.root / prefix
    part_of = _parts_below(place, inner) if not part else {}
    if part_of:
        listing.notes.append(
            f"The parts are those of the folders below the classes: {listed(sorted(part_of))}."
        )
    else:
        _require_clear_classes(listing, prefix, inner, classes)
    for name, rests in inner.items():
        for rest in rests:
            listing.paths.append(f"{prefix}{name}/{rest}")
            listing.names.append(normal_name(name))
            listing.parts.append(part_of.get(rest.partition("/")[0], part))
    # A read-me or a table beside the class folders is no picture that somebody will miss.
    listing.problems += [
        p for p in found.problems if "/" in p.path[start:] or p.kind != "other_file"
    ]
    bare = sorted(
        name
        for name in set(found.folders) - set(inner)
        if f"{prefix}{name}" not in found.own
        and not any(mask.startswith(f"{prefix}{name}/") for mask in masks)
    )
    if bare and inner:
        listing.notes.append(
            f"No images in {plural(len(bare), 'folder')}, taken for no class: "
            f"{listed([prefix + b for b in bare])}."
        )
    return found.own


def _parts_below(place: Path, inner: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """``CLASS/train`` and ``CLASS/test``: the part of each folder below the classes, or {}.

    Raises:
        DataError: some class folders hold parts and others do not.
    """
    below = {
        name: {rest.partition("/")[0] for rest in rests if "/" in rest}
        for name, rests in inner.items()
    }
    means = {f: part for folders in below.values() for f in folders if (part := part_of_name(f))}
    sorted_out = [
        name
        for name, rests in inner.items()
        if all("/" in rest for rest in rests) and below[name] <= means.keys()
    ]
    if "train" not in means.values() or len(set(means.values())) < 2 or not sorted_out:
        return {}
    others = [name for name in inner if name not in sorted_out]
    if others:
        example = sorted_out[0]
        raise DataError(
            f"In {shown(place)} the class folder '{shown(example)}' holds parts "
            f"({listed(sorted(below[example]))}), which is not so for {listed(others, 5)}; sort "
            "all images into train/CLASS and test/CLASS."
        )
    return means


def _require_clear_classes(
    listing: Listing, prefix: str, inner: Mapping[str, Sequence[str]], classes: Sequence[str]
) -> None:
    """Stop where all folders hold folders of the same names: sites, years, folds above classes."""
    below = {name: _first_choice(rests) for name, rests in inner.items()}
    if len(below) < 2 or not all(below.values()) or set(classes) & {*map(normal_name, below)}:
        return
    shared = set.intersection(*below.values())
    if len(shared) < 2:
        return
    tops = [f"{prefix}{top}" for top in sorted(below, key=natural_key)]
    names = sorted(shared, key=natural_key)
    same = all(folders == shared for folders in below.values())
    if not same:
        listing.notes.append(
            f"The folders {listed(tops, 3)} are taken for the classes; all of them hold folders "
            f"named {listed(names, 3)}: if those are the classes, give one of {listed(tops, 3)}."
        )
        return
    raise DataError(
        f"The folders {listed(tops, 4)} in {shown(listing.root)} all hold the same names "
        f"({listed(names, 4)}), so it is not clear which are the classes: give one of them, "
        f"{shown(listing.root / tops[0])}; or train on one and test on another with --set "
        f"{setting_of('train')}=[{shown(tops[0])}] --set "
        f"{setting_of('test')}=[{shown(tops[1])}]; or, if they are the classes, say so with "
        f"--classes {','.join(shown(top[len(prefix):]) for top in tops[:4])}"
        f"{',...' if len(tops) > 4 else ''}."
    )


def _first_choice(rests: Sequence[str]) -> set[str]:
    """The folders among which a class folder's images are spread; empty if some lie in none."""
    while True:
        names = {normal_name(rest.partition("/")[0]) for rest in rests if "/" in rest}
        if not names or any("/" not in rest for rest in rests):
            return set()
        if len(names) > 1:
            return names
        rests = [rest.partition("/")[2] for rest in rests]
