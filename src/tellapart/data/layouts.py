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
from tellapart.data.manifests import has_path_and_label
from tellapart.data.masks import find_masks, is_folder_of_images, without_companions
from tellapart.data.own_output import is_own_output
from tellapart.data.part_names import PART_NAMES, paired_parts, part_of_name, stem_of
from tellapart.data.table_files import is_manifest
from tellapart.errors import DataError
from tellapart.pixels.formats import IMAGE_EXTENSIONS
from tellapart.progress import Work

_MAXIMUM_WRAPPERS = 3
#: Share of all names that folders must have in common to be sites, years or folds above classes.
_MOSTLY = 0.75


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
            holds = _holds_classes(base / name, part)
            (candidates.setdefault(part, []) if holds else flat).append(name)
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


def _holds_classes(folder: Path, part: str) -> bool:
    """Whether a part's folder holds folders; ``test/test/1.jpg`` is as flat as ``test/1.jpg``."""
    names = visible_folders(folder)
    again = len(names) == 1 and part_of_name(names[0]) == part
    return bool(names) and not (again and not visible_folders(folder / names[0]))


def _inside_part(base: Path, folder: str, part: str) -> str:
    """Where a part's classes are: archives often repeat its name, ``train/train/CLASS``."""
    for _ in range(_MAXIMUM_WRAPPERS):
        names = without_companions(visible_folders(base / folder))
        if len(names) != 1 or _has_images(base / folder):
            break
        again = part_of_name(names[0]) == part or is_folder_of_images(names[0])
        if not again or not visible_folders(base / folder / names[0]):
            break
        folder = f"{folder}/{names[0]}".removeprefix("./")
    return folder


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
        f"a table that says the label of each{_tables_there(base)}{hint}."
    )


def _tables_there(folder: Path) -> str:
    names = sorted(e.name for e in entries(folder) if is_manifest(Path(e.name)))
    return f" (there: {listed(names, 3)})" if names else ""


def hint_for_one_class(listing: Listing) -> str:
    """What else the folder of the only class may be, as the end of a sentence; "" if nothing."""
    pieces = listing.paths[0].split("/")[:-1]
    names = [normal_name(piece) for piece in pieces]
    depth = names.index(listing.names[0]) + 1 if listing.names[0] in names else len(pieces)
    folder = listing.root.joinpath(*pieces[:depth])
    below = [name for name in visible_folders(folder) if not part_of_name(name)]
    if len(below) > 1:
        return (
            f"; it holds the folders {listed(below, 4)}: if those are the classes, give "
            f"{shown(folder)}"
        )
    tables = _tables_there(listing.root)
    return f"; or give a table that says the label of each image{tables}" if tables else ""


def _require_train_is_no_class(base: Path, train: Sequence[str], others: Sequence[str]) -> None:
    """A lone ``train`` beside folders like it may be the vehicle."""
    inner = set(visible_folders(base / train[0]))
    alike = [name for name in others if inner and inner <= set(visible_folders(base / name))]
    full = [name for name in others if _has_images(base / name)]
    if not alike and len(full) < 2:  # one folder beside it may hold what has no labels
        return
    what = (
        f"the same folders as {listed(alike, 3)}"
        if alike
        else (f"folders, and {listed(full, 3)} beside it hold images")
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
            inner = _inside_part(root / prefix, folder, part)
            below = "" if inner == "." else f"{inner}/"
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
    part_of, depth = _parts_below(place, inner) if not part else ({}, 0)
    if part_of:
        _require_parts_of_classes(listing, prefix, inner, part_of, depth, classes)
        listing.notes.append(
            f"The parts are those of the folders below the classes: {listed(sorted(part_of))}."
        )
    else:
        _require_clear_classes(listing, prefix, inner, classes)
        _require_no_class_of_classes(listing, prefix, inner, classes)
    for name, rests in inner.items():
        for rest in rests:
            listing.paths.append(f"{prefix}{name}/{rest}")
            listing.names.append(normal_name(name))
            listing.parts.append(part_of[_folder_at(rest, depth)] if part_of else part)
    listing.notes += _tables_in_classes(listing.root, found.problems, start)
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


def _parts_below(place: Path, inner: Mapping[str, Sequence[str]]) -> tuple[dict[str, str], int]:
    """``CLASS/train`` and ``CLASS/test``, or ``CLASS/KIND/train``: folders of parts below classes.

    Returns:
        The part of each such folder, and how many folders lie between it and the class; ({}, 0)
        where there are none.

    Raises:
        DataError: some class folders hold parts and others do not.
    """
    for depth in range(_MAXIMUM_WRAPPERS):
        below = {name: {_folder_at(r, depth) for r in rests} for name, rests in inner.items()}
        means = {
            f: part for folders in below.values() for f in folders if (part := part_of_name(f))
        }
        sorted_out = [name for name in inner if below[name] <= means.keys()]
        if "train" not in means.values() or len(set(means.values())) < 2 or not sorted_out:
            continue
        others = [name for name in inner if name not in sorted_out]
        if not others:
            return means, depth
        if depth == 0:
            example = sorted_out[0]
            raise DataError(
                f"In {shown(place)} the class folder '{shown(example)}' holds parts "
                f"({listed(sorted(below[example]))}), which is not so for {listed(others, 5)}; "
                "sort all images into train/CLASS and test/CLASS."
            )
    return {}, 0


def _folder_at(rest: str, depth: int) -> str:
    """The folder at a depth of a path below a class folder; "" if the path is not as deep."""
    pieces = rest.split("/", depth + 1)
    return pieces[depth] if len(pieces) > depth + 1 else ""


def _require_parts_of_classes(
    listing: Listing,
    prefix: str,
    inner: Mapping[str, Sequence[str]],
    part_of: Mapping[str, str],
    depth: int,
    classes: Sequence[str],
) -> None:
    """Stop at ``siteA/train/CLASS`` and ``siteB/train/CLASS``: what holds the parts is no class."""
    if set(classes) & {*map(normal_name, inner)}:
        return
    below = {
        name: _first_choice([rest.split("/", depth + 1)[-1] for rest in rests])
        for name, rests in inner.items()
    }
    shared = _mostly_shared(below)
    if not shared:
        return
    tops = [f"{prefix}{top}" for top in sorted(below, key=natural_key)]
    raise DataError(
        f"The folders {listed(tops, 4)} in {shown(listing.root)} all hold parts "
        f"({listed(sorted(part_of))}) with folders of the same names "
        f"({listed(sorted(shared, key=natural_key), 4)}), so it is not clear which are the "
        f"classes: give one of them, {shown(listing.root / tops[0])}; or sort all images into "
        "train/CLASS and test/CLASS; or, if they are the classes, say so with --classes "
        f"{_names_for_option(prefix, tops)}."
    )


def _require_no_class_of_classes(
    listing: Listing, prefix: str, inner: Mapping[str, Sequence[str]], classes: Sequence[str]
) -> None:
    """Stop at ``no``, ``yes`` and ``all/no``, ``all/yes``: a copy of all beside the classes."""
    below = {name: _first_choice(rests) for name, rests in inner.items()}
    flat = {normal_name(name) for name, folders in below.items() if not folders}
    holders = [name for name, folders in below.items() if len(folders & flat) > 1]
    if len(holders) != 1 or normal_name(holders[0]) in classes:
        return
    (holder,) = holders
    raise DataError(
        f"The folder '{shown(holder)}' in {shown(listing.root / prefix)} holds folders named as "
        f"those beside it ({listed(sorted(below[holder] & flat), 4)}), as a copy of all of them "
        f"would: move it elsewhere, or give it alone, {shown(listing.root / prefix / holder)}; "
        "or, if it is a class, name all classes with --classes "
        f"{_names_for_option('', sorted(inner, key=natural_key))}."
    )


def _tables_in_classes(root: Path, problems: Sequence[Problem], start: int) -> list[str]:
    """A note on tables of paths and labels in class folders, which are not read.

    Of several in one folder (as programs for annotations write, one an image) none is opened.
    """
    by_folder: dict[str, list[str]] = {}
    for problem in problems:
        if problem.path.count("/", start) == 1 and is_manifest(Path(problem.path)):
            by_folder.setdefault(problem.path.rpartition("/")[0], []).append(problem.path)
    alone = [paths[0] for paths in by_folder.values() if len(paths) == 1]
    tables = sorted(path for path in alone if has_path_and_label(root / path))
    if not tables:
        return []
    what, say = ("table", "it says") if len(tables) == 1 else ("tables", "they say")
    return [
        f"Not read, as the folders' names are the classes: the {what} {listed(tables, 3)}; if "
        f"{say} what the classes are, give a table instead of the folder."
    ]


def _require_clear_classes(
    listing: Listing, prefix: str, inner: Mapping[str, Sequence[str]], classes: Sequence[str]
) -> None:
    """Stop where all folders hold folders of the same names: sites, years, folds above classes.

    A name or two that one of them lacks (a site without a rare class) change nothing.
    """
    below = {name: _first_choice(rests) for name, rests in inner.items()}
    if len(below) < 2 or not all(below.values()) or set(classes) & {*map(normal_name, below)}:
        return
    shared = set.intersection(*below.values())
    if len(shared) < 2:
        return
    tops = [f"{prefix}{top}" for top in sorted(below, key=natural_key)]
    names = sorted(shared, key=natural_key)
    if not _mostly_shared(below):
        listing.notes.append(
            f"The folders {listed(tops, 3)} are taken for the classes; all of them hold folders "
            f"named {listed(names, 3)}: if those are the classes, give one of {listed(tops, 3)}."
        )
        return
    same = all(folders == shared for folders in below.values())
    raise DataError(
        f"The folders {listed(tops, 4)} in {shown(listing.root)} all hold "
        f"{'' if same else 'mostly '}the same names "
        f"({listed(names, 4)}), so it is not clear which are the classes: give one of them, "
        f"{shown(listing.root / tops[0])}; or train on one and test on another with --set "
        f"{setting_of('train')}=[{shown(tops[0])}] --set "
        f"{setting_of('test')}=[{shown(tops[1])}]; or, if they are the classes, say so with "
        f"--classes {_names_for_option(prefix, tops)}."
    )


def _mostly_shared(below: Mapping[str, set[str]]) -> set[str]:
    """Names that all folders hold, if there are several and hardly any others; else none."""
    if len(below) < 2:
        return set()
    shared, union = set.intersection(*below.values()), set.union(*below.values())
    return shared if len(shared) > 1 and _MOSTLY * len(union) <= len(shared) else set()


def _names_for_option(prefix: str, tops: Sequence[str]) -> str:
    names = ",".join(shown(top[len(prefix) :]) for top in tops[:4])
    return f"{names},..." if len(tops) > 4 else names


def _first_choice(rests: Sequence[str]) -> set[str]:
    """The folders among which a class folder's images are spread; empty if some lie in none."""
    while True:
        names = {normal_name(rest.partition("/")[0]) for rest in rests if "/" in rest}
        if not names or any("/" not in rest for rest in rests):
            return set()
        if len(names) > 1:
            return names
        rests = [rest.partition("/")[2] for rest in rests]
