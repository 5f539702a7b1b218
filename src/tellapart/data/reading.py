"""Find images and their labels in every layout: a source in, an ImageTable out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np

from tellapart.data.archives import is_archive, with_files_of
from tellapart.data.class_names import notes_on_names, similar_key
from tellapart.data.groups import find_groups, frames_note
from tellapart.data.layouts import (
    PartFolders,
    find_base,
    hint_for_one_class,
    list_folder,
    no_class_folders,
    only_parts_for_classes,
    own_output_note,
    setting_of,
)
from tellapart.data.listing import (
    Listing,
    Problem,
    inside,
    listed,
    normal_name,
    plural,
    scan,
    shown,
    visible_folders,
)
from tellapart.data.locate import Locator
from tellapart.data.manifests import (
    has_path_and_label,
    list_manifest,
    one_row_an_image,
    read_path_list,
)
from tellapart.data.part_names import part_of_name
from tellapart.data.table import ImageTable
from tellapart.data.table_files import is_manifest
from tellapart.errors import DataError
from tellapart.progress import SILENT, Progress, Work
from tellapart.wording import did_you_mean, texts


def read_table(
    source: Path | str,
    *,
    classes: Sequence[str] = (),
    train: Sequence[str] = (),
    validation: Sequence[str] = (),
    test: Sequence[str] = (),
    group_by: str | None = None,
    path_column: str | None = None,
    label_column: str | None = None,
    root: Path | str | None = None,
    exclude: Path | str | None = None,
    min_images: int = 0,
    ignore_unknown: bool = False,
    progress: Progress = SILENT,
) -> ImageTable:
    r"""Find the images of a folder, a table or a zip, and their labels. Decodes nothing.

    Args:
        source: a folder of class folders, with or without train, validation and test folders
            above them; a CSV, TSV, JSON or Parquet file with a path and a label column (and
            perhaps a split column); or a zip of any of these.
        classes: the class order, patterns with ``*`` allowed; empty: alphabetical.
        train, validation, test: folders (or tables) relative to ``source`` that make up each
            part, patterns with ``*`` allowed; empty: found by name.
        group_by: what belongs together and stays in one part: a column, "folder", or a
            regular expression with one (group); see :func:`tellapart.data.groups.find_groups`.
        path_column, label_column: columns of the table; None: found by their usual names.
        root: the folder that a table's paths are relative to; None: the table's own.
        exclude: a CSV with a ``path`` column, or a list, of images to leave out.
        min_images: leave out classes with fewer images to train on; 0: none.
        ignore_unknown: leave out images of classes that the train part (or ``classes``) lacks,
            instead of stopping.
        progress: told about the listing and every note.

    Returns:
        The table, in order of path. Files that are no images are in ``problems``.

    Raises:
        DataError: there is nothing to read, or it contradicts itself; says what to do.
    """
    place = Path(source)
    named = PartFolders(texts(train), texts(validation), texts(test))
    if not place.exists():
        raise DataError(f"There is no folder or file {shown(place)}; check the spelling.")

    def listed_in(folder: Path) -> Listing:
        with progress.stage("Listing files", None, "images") as stage:
            return _list(folder, named, path_column, label_column, root, texts(classes), stage)

    listing = with_files_of(place, listed_in, progress) if is_archive(place) else listed_in(place)
    if exclude is not None:
        _exclude(listing, Path(exclude))
    _require_images(listing, place)
    class_map = _class_map(listing, texts(classes), place)
    if min_images:
        class_map = _without_small(listing, class_map, min_images, place)
    if not classes:
        counts = Counter(listing.names)
        listing.notes += notes_on_names({name: counts[name] for name in class_map})
    known = _known_rows(listing, class_map, bool(classes), ignore_unknown)
    table = _to_table(listing, class_map, known)
    table = _with_groups_and_notes(table, listing, known, group_by)
    return _told(table, progress)


def read_unlabelled(source: Path | str, progress: Progress = SILENT) -> ImageTable:
    """Every image in a folder and below, or one image file, without labels (all -1).

    Raises:
        DataError: there is no such folder or file, or no image in it.
    """
    place = Path(source)
    if place.is_file():
        listing = Listing(place.parent, [place.name], [""], [""])
    elif place.is_dir():
        with progress.stage("Listing files", None, "images") as stage:
            found = scan(place, "", stage)
        blank = [""] * len(found.paths)
        listing = Listing(place, found.paths, blank, blank, found.problems)
        listing.notes += own_output_note(found.own)
        _require_images(listing, place)
    else:
        raise DataError(f"There is no folder or file {shown(place)}; check the spelling.")
    by_path = sorted(range(len(listing.paths)), key=listing.paths.__getitem__)
    return _told(_to_table(listing, (), by_path), progress)


def _told(table: ImageTable, progress: Progress) -> ImageTable:
    for sentence in table.sentences:
        progress.note(sentence)
    return table


# --- which layout -------------------------------------------------------------------------


def _list(
    place: Path,
    named: PartFolders,
    path_column: str | None,
    label_column: str | None,
    root: Path | str | None,
    classes: tuple[str, ...],
    stage: Work,
) -> Listing:
    columns = {"path_column": path_column, "label_column": label_column}
    if place.is_file():
        if is_manifest(place):
            below = Path(root) if root is not None else None
            listing = list_manifest(place, stage, root=below, **columns)
            one_row_an_image(listing)
            return listing
        raise DataError(
            f"{shown(place)} is a file; give a folder of class folders, a zip of one, or a "
            "table (CSV, TSV, JSON, Parquet) with a path and a label column."
        )
    tables = _named_tables(place, named)
    if tables:
        return _list_tables(tables, place if root is None else Path(root), columns, stage)
    listing = list_folder(place, named, stage, classes)
    parts_only = bool(listing.names) and only_parts_for_classes(listing)
    found = set(listing.names)
    if (len(found) < 2 or parts_only) and not any(names for _, names in named.items()):
        tables = [] if root is not None else _tables_of_parts(place, columns)
        if tables:
            return _list_tables_of_parts(tables, place, columns, stage)
        only = _only_table(place, columns)
        if only is not None:
            below = place if only.parent == place else None
            listing = list_manifest(only, stage, root=Path(root) if root else below, **columns)
            one_row_an_image(listing)
            listing.notes.append(f"Read as the table {shown(only.name)} says.")
            return listing if root else _move_root(listing, place)
    if parts_only and not found & set(classes):
        raise no_class_folders(place, sorted(found))
    given = {"--path-column": path_column, "--label-column": label_column, "--root": root}
    unused = [option for option, value in given.items() if value is not None]
    if unused:
        listing.notes.append(
            f"{' and '.join(unused)} without effect: {shown(place)} is read as a folder of class "
            "folders, and not as a table."
        )
    return listing


def _named_tables(place: Path, named: PartFolders) -> list[tuple[str, Path]]:
    """Tables given as parts: ``train=("train.csv",)``; all parts must then be tables."""
    given = [(part, name) for part, names in named.items() for name in names]
    tables = [
        (part, place / inside(name, place, f"{setting_of(part)}={name}"))
        for part, name in given
        if is_manifest(Path(name))
    ]
    if tables and len(tables) != len(given):
        settings = ", ".join(setting_of(part) for part, _ in named.items())
        raise DataError(f"{settings} must all name folders or all name tables.")
    for part, path in tables:
        if not path.is_file():
            raise DataError(f"There is no table '{shown(path)}' for the {part} part.")
    return tables


def _list_tables(
    tables: Sequence[tuple[str, Path]], root: Path, columns: dict[str, str | None], stage: Work
) -> Listing:
    lists = [list_manifest(path, stage, root=root, part=p, **columns) for p, path in tables]
    return _joined(root, lists)


def _tables_of_parts(place: Path, columns: Mapping[str, str | None]) -> list[tuple[str, Path]]:
    """Tables with paths and labels, one a part: ``train/metadata.csv``, or ``train.csv``.

    They lie in the folders of the parts (as Hugging Face and Roboflow have them), or beside
    each other, named after them. There must be one for train and for another part.
    """
    base = place / find_base(place)
    in_folders = [
        (part, table)
        for name in visible_folders(base)
        if (part := part_of_name(name)) and (table := _table_in(base / name, columns))
    ]
    named = [
        (part, table)
        for table in sorted(base.iterdir())
        if table.is_file()
        and is_manifest(table)
        and (part := part_of_name(table.stem))
        and has_path_and_label(table, **columns)
    ]
    for found in (in_folders, named):
        parts = [part for part, _ in found]
        if "train" in parts and len(parts) == len(set(parts)) > 1:
            return found
    return []


def _table_in(folder: Path, columns: Mapping[str, str | None]) -> Path | None:
    """The one table with paths and labels directly in a folder."""
    tables = [
        p for p in sorted(folder.iterdir())
        if p.is_file() and is_manifest(p) and has_path_and_label(p, **columns)
    ]  # fmt: skip
    return tables[0] if len(tables) == 1 else None


def _list_tables_of_parts(
    tables: Sequence[tuple[str, Path]],
    place: Path,
    columns: dict[str, str | None],
    stage: Work,
) -> Listing:
    lists = [
        _move_root(list_manifest(table, stage, root=None, part=part, **columns), place)
        for part, table in tables
    ]
    whole = _joined(place, lists)
    names = [table.relative_to(place).as_posix() for _, table in tables]
    whole.notes.append(f"Read as the tables {listed(names)} say, each for its part.")
    read = {table.parent for _, table in tables}
    base = place / find_base(place)
    others = [n for n in visible_folders(base) if part_of_name(n) and base / n not in read]
    if others and base not in read:
        whole.notes.append(f"Left out, as no table lies in it: {listed(others)}.")
    return whole


def _joined(root: Path, lists: Sequence[Listing]) -> Listing:
    """Tables of several parts as one, each image once."""
    whole = Listing(root)
    shared = set.intersection(*(set(one.columns) for one in lists))
    for one in lists:
        whole.paths += one.paths
        whole.names += one.names
        whole.parts += one.parts
        whole.problems += one.problems
        whole.places += one.places
        whole.notes += one.notes
        for name in shared:
            whole.columns.setdefault(name, []).extend(one.columns[name])
    one_row_an_image(whole)
    return whole


def _only_table(place: Path, columns: Mapping[str, str | None]) -> Path | None:
    """The one table with paths and labels at the top of a folder that has no class folders."""
    below = visible_folders(place)
    for folder in [place, *(place / name for name in below if len(below) == 1)]:
        if (table := _table_in(folder, columns)) is not None:
            return table
    return None


def _move_root(listing: Listing, root: Path) -> Listing:
    """The same rows with paths relative to a folder above."""
    prefix = listing.root.relative_to(root).as_posix()
    if prefix == ".":
        return listing
    return replace(
        listing,
        root=root,
        paths=[f"{prefix}/{path}" for path in listing.paths],
        problems=[replace(p, path=f"{prefix}/{p.path}") for p in listing.problems],
    )


# --- from rows to a table -----------------------------------------------------------------


def _exclude(listing: Listing, source: Path) -> None:
    """Move the rows that a list names to the problems."""
    if not source.is_file():
        raise DataError(f"There is no list {shown(source)} of images to leave out.")
    locator = Locator(listing.root)
    wanted: dict[str, str] = {}
    for text, where in read_path_list(source):
        # An id that several files have leaves out none of them; it is told below.
        found = locator.find(text, where)
        wanted[found[0] if len(found) == 1 else locator.written(text, where)] = where
    out = [path for path in listing.paths if path in wanted]
    strangers = sorted(wanted.keys() - set(out) - {p.path for p in listing.problems})
    listing.keep([i for i, path in enumerate(listing.paths) if path not in wanted])
    listing.problems += [Problem(p, "excluded", f"Left out by {wanted[p]}.") for p in out]
    if strangers:
        listing.notes.append(
            f"{shown(source.name)} leaves out {plural(len(strangers), 'path')} that no image "
            f"has: {listed(strangers, 3)}."
        )


def _require_images(listing: Listing, place: Path) -> None:
    if listing.paths:
        return
    loose = [p.path for p in listing.problems if p.kind == "no_class"]
    others = [p.path for p in listing.problems]
    if loose:
        hint = ""
        if all(len(p.rpartition("/")[2].split(".")) >= 3 for p in loose):
            hint = "; for files named class.number.jpg, 'tellapart subset' sorts them"
        raise DataError(
            f"{shown(place)} holds {plural(len(loose), 'image')} but no class folders with "
            f"images; put the images of each class into a folder named after it{hint}."
        )
    if others:
        raise DataError(
            f"{shown(place)} holds no images that can be used; {plural(len(others), 'file')} "
            f"left out, for example '{shown(others[0])}': {listing.problems[0].reason}"
        )
    folders = visible_folders(place) if place.is_dir() else []
    where = f" in its folders ({listed(folders)})" if folders else ""
    raise DataError(
        f"{shown(place)} holds no images{where}; it needs one folder of images for each class."
    )


def _class_map(listing: Listing, wanted: tuple[str, ...], place: Path) -> tuple[str, ...]:
    """The classes of the train part in alphabetical order, or those asked for in theirs."""
    in_train = zip(listing.names, listing.parts, strict=True)
    found = sorted({name for name, part in in_train if part in {"", "train"}})
    everywhere = sorted(set(listing.names))
    if not wanted:
        if not found:
            raise DataError(
                f"{shown(place)} has {' and '.join(sorted(set(listing.parts)))} images but none "
                f"to train on; it needs a folder named train, or --set {setting_of('train')}=[...]."
            )
        if len(found) == 1:
            hint = "" if listing.places or not place.is_dir() else hint_for_one_class(listing)
            raise DataError(
                f"{shown(place)} holds images of one class only ('{shown(found[0])}'); telling "
                f"apart needs at least two, each in a folder of its own{hint}."
            )
        return tuple(found)
    order: list[str] = []
    for name in map(normal_name, wanted):
        is_pattern = name not in everywhere and any(c in name for c in "*?[")
        matches = [f for f in everywhere if fnmatchcase(f, name)] if is_pattern else [name]
        if is_pattern and not matches:
            raise DataError(f"No class matches '{shown(name)}'; classes: {listed(everywhere)}.")
        order += [m for m in matches if m not in order]
    absent = [name for name in order if name not in everywhere]
    for name in absent:
        hint = did_you_mean(name, [f for f in everywhere if f not in order], cutoff=0.6)
        if hint or len(absent) == len(order):
            raise DataError(
                f"There are no images of class '{shown(name)}' in {shown(place)}; classes there: "
                f"{listed(everywhere)}.{hint}"
            )
    if len(order) < 2:
        raise DataError(f"Telling apart needs at least two classes; received {listed(order)}.")
    return tuple(order)


def _without_small(
    listing: Listing, classes: tuple[str, ...], min_images: int, place: Path
) -> tuple[str, ...]:
    """Leave out, in every part, the classes that have too few images to train on."""
    in_train = zip(listing.names, listing.parts, strict=True)
    counts = Counter(name for name, part in in_train if part in {"", "train"})
    small = [name for name in classes if counts[name] < min_images]
    kept = tuple(name for name in classes if counts[name] >= min_images)
    if len(kept) < 2:
        raise DataError(
            f"--min-images {min_images} leaves {len(kept)} of {len(classes):,} classes in "
            f"{shown(place)}; telling apart needs at least two."
        )
    if small:
        gone = set(small)
        listing.keep([i for i, name in enumerate(listing.names) if name not in gone])
        told = [f"{shown(name)} ({counts[name]:,})" for name in small]
        listing.notes.append(
            f"Left out by --min-images {min_images}, with fewer images to train on: {listed(told)}."
        )
    return kept


def _known_rows(
    listing: Listing, classes: tuple[str, ...], given: bool, ignore_unknown: bool
) -> list[int]:
    """Rows whose class is in the map, by path; notes classes that a part lacks."""
    known = set(classes)
    order = sorted(range(len(listing.paths)), key=listing.paths.__getitem__)
    unknown = Counter(
        (listing.names[i], listing.parts[i]) for i in order if listing.names[i] not in known
    )
    if unknown:
        counts = "; ".join(
            f"'{shown(name)}' ({plural(count, 'image')}{f' in {part}' if part else ''})"
            for (name, part), count in sorted(unknown.items())[:5]
        )
        where = "not among the classes given" if given else "not in the train part"
        if not ignore_unknown:
            by_key = {similar_key(name): name for name in classes}
            alike = [
                f"'{shown(name)}' for '{shown(by_key[similar_key(name)])}'"
                for name in dict.fromkeys(name for name, _ in sorted(unknown))
                if similar_key(name) in by_key
            ]
            hint = f" (perhaps {'; '.join(alike[:3])})" if alike else ""
            raise DataError(
                f"{'Class' if len(unknown) == 1 else 'Classes'} {where}: {counts}{hint}. Correct "
                f"the names, or leave these images out with --ignore-unknown; "
                f"classes: {listed(classes)}."
            )
        listing.notes.append(f"Left out, {where}: {counts}.")
    rows = [i for i in order if listing.names[i] in known]
    for part in sorted(set(listing.parts)):
        there = {listing.names[i] for i in rows if listing.parts[i] == part}
        lacking = [name for name in classes if name not in there]
        if lacking:
            listing.notes.append(
                f"No images of {listed(lacking)} in {f'the {part} part' if part else 'the folder'}."
            )
    return rows


def _to_table(listing: Listing, classes: tuple[str, ...], rows: Sequence[int]) -> ImageTable:
    number = {name: i for i, name in enumerate(classes)}
    return ImageTable(
        root=listing.root,
        paths=tuple(listing.paths[i] for i in rows),
        labels=np.array([number.get(listing.names[i], -1) for i in rows], dtype=np.int64),
        parts=np.array([listing.parts[i] for i in rows], dtype="<U10"),
        classes=classes,
        problems=tuple(sorted(listing.problems, key=lambda p: (p.path, p.kind))),
        notes=tuple(listing.notes),
    )


def _with_groups_and_notes(
    table: ImageTable, listing: Listing, rows: Sequence[int], group_by: str | None
) -> ImageTable:
    if group_by is None:
        note = frames_note(table.paths, table.labels, table.classes)
        return table if note is None else replace(table, notes=(*table.notes, note))
    columns = {name: [values[i] for i in rows] for name, values in listing.columns.items()}
    groups, notes = find_groups(table.paths, group_by, columns)
    return replace(table, groups=groups, notes=table.notes + notes)
