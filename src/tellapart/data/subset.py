"""So many images a class for each part, copied or linked into a new folder."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from tellapart import cache
from tellapart.data.archives import is_archive, with_files_of
from tellapart.data.listing import (
    Problem,
    is_system_name,
    listed,
    natural_key,
    normal_name,
    plural,
    shown,
)
from tellapart.data.reading import read_table
from tellapart.data.table import PARTS, ImageTable
from tellapart.errors import DataError, FileError
from tellapart.files import clear_leftovers, write_problem
from tellapart.leftovers import remove, unfinished_name
from tellapart.notebook import card
from tellapart.pixels.formats import IMAGE_EXTENSIONS
from tellapart.progress import SILENT, Progress
from tellapart.result import DONE, ShortRepr
from tellapart.wording import aligned

#: ``cat.0.jpg``: class, number, extension.
_NUMBERED = re.compile(r"(.+)\.([0-9]+)\.([A-Za-z]+)")


@dataclass(frozen=True, repr=False)
class Subset(ShortRepr):
    """What a subset holds."""

    folder: Path
    #: Number of images by part, then class.
    counts: dict[str, dict[str, int]]
    #: Images passed over: the same picture was taken already, or it cannot be read.
    skipped: tuple[Problem, ...] = field(repr=False)
    exit_code: ClassVar[int] = DONE

    def lines(self) -> Iterator[str]:
        """Images by class and part, and the folder."""
        parts = list(self.counts)
        names = list(dict.fromkeys(name for row in self.counts.values() for name in row))
        rows = [["", *parts]]
        rows += [[shown(n), *(f"{self.counts[p].get(n, 0):,}" for p in parts)] for n in names]
        rows.append(["in all", *(f"{sum(self.counts[p].values()):,}" for p in parts)])
        yield from aligned(rows)
        yield shown(self.folder)

    def to_json(self) -> dict[str, Any]:
        return {
            "folder": str(self.folder),
            "counts": self.counts,
            "skipped": [{"path": p.path, "reason": p.reason} for p in self.skipped],
        }

    def _repr_html_(self) -> str:
        parts = list(self.counts)
        names = list(dict.fromkeys(name for row in self.counts.values() for name in row))
        rows = [(name, *(f"{self.counts[p].get(name, 0):,}" for p in parts)) for name in names]
        return card(f"Subset in {self.folder}", table=[("class", *parts), *rows])


@dataclass(frozen=True)
class _Image:
    file: Path
    #: As shown to the user, and what the order sorts by.
    path: str


#: Images by the part they come from ("" where there are no parts), then by class.
_Pools = dict[str, dict[str, list[_Image]]]
#: Images by the part they are for, then by class; and those passed over.
_Choice = tuple[dict[str, dict[str, list[_Image]]], list[Problem]]
_UNREADABLE, _DUPLICATE = "unreadable", "duplicate"
_PASSED_OVER = {_DUPLICATE: "the same picture as another", _UNREADABLE: "which cannot be read"}


def subset(
    source: Path | str,
    out: Path | str,
    *,
    train: int = 1000,
    validation: int = 500,
    test: int = 1000,
    order: Literal["sorted", "random"] = "sorted",
    seed: int = 0,
    link: bool = False,
    root: Path | str | None = None,
    path_column: str | None = None,
    label_column: str | None = None,
    classes: Sequence[str] = (),
    min_images: int = 0,
    progress: Progress = SILENT,
) -> Subset:
    """Copy so many images of each class into ``out/train``, ``out/validation``, ``out/test``.

    Args:
        source: anything that :func:`tellapart.data.table.read_table` reads, or one folder of
            files named ``class.number.jpg``. Parts that the source has are drawn from
            themselves, the others from its train part.
        out: a folder that does not exist or is empty.
        train, validation, test: images a class, 0 for no such part.
        order: "sorted" takes them as they are named, 9 before 10: the first ones for train,
            the next for validation, the next for test; "random" shuffles them first.
        seed: of the shuffling.
        link: symbolic links to the source's files instead of copies.
        root, path_column, label_column, classes, min_images: as for
            :func:`tellapart.data.reading.read_table`.

    Returns:
        What was written. No picture is there twice: a file with the content of one that was
        taken already is passed over and listed.

    Raises:
        DataError: a class has too few images, ``out`` is not free, or ``link`` is asked for
            images in a zip. Nothing is written then.
    """
    wanted = dict(zip(PARTS, (train, validation, test), strict=True))
    target, place = Path(out), Path(source)
    _check_request(place, target, wanted, order)
    if link and is_archive(place):
        raise DataError(
            f"{shown(place)} is a zip, whose files are unpacked for a while only, so that links to "
            "them would break; leave --link out, or extract it and give the folder."
        )

    def choose() -> _Choice:
        pools = _numbered_files(place)
        if pools is not None:
            pools = {"": _asked_for(pools[""], classes, min_images, progress)}
        else:
            table = read_table(
                place, root=root, path_column=path_column, label_column=label_column,
                classes=classes, min_images=min_images, progress=progress,
            )  # fmt: skip
            pools = _labelled_files(table)
        for pool in pools.values():
            for name, images in pool.items():
                images.sort(key=lambda image: natural_key(image.path))
                if order == "random":
                    shuffle = np.random.default_rng([seed, *name.encode("utf-8")]).permutation
                    images[:] = [images[i] for i in shuffle(len(images))]
        return _choose(pools, wanted, place, progress)

    def of_archive() -> _Choice:
        folder, choice = with_files_of(place, lambda folder: (folder, choose()), progress)
        with cache.using(folder):
            _write(choice[0], target, link, progress)
        return choice

    if is_archive(place):
        chosen, skipped = cache.undeterred(of_archive)
    else:
        chosen, skipped = choose()
        _write(chosen, target, link, progress)
    for kind, words in _PASSED_OVER.items():
        if paths := [problem.path for problem in skipped if problem.kind == kind]:
            count = plural(len(paths), "image")
            progress.note(f"{count} passed over, {words}: {listed(paths, 3)}.")
    counts = {part: {n: len(i) for n, i in pool.items()} for part, pool in chosen.items()}
    return Subset(target, counts, tuple(skipped))


def _check_request(source: Path, out: Path, wanted: dict[str, int], order: str) -> None:
    if order not in {"sorted", "random"}:
        raise DataError(f"--order is sorted or random; received '{order}'.")
    for part, count in wanted.items():
        if count < 0 or count != int(count):
            raise DataError(f"--{part} {count}: give a whole number of images a class.")
    if not any(wanted.values()):
        raise DataError("A subset needs --train, --validation or --test images a class.")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(
            f"{shown(out)} is there already and not an empty folder; choose another, or empty it."
        )
    inside, outside = out.resolve(), source.resolve()
    if source.is_dir() and (inside == outside or outside in inside.parents):
        raise DataError(
            f"{shown(out)} lies inside {shown(source)}, where it would be read as images of it; "
            "choose a folder elsewhere."
        )


def _numbered_files(source: Path) -> _Pools | None:
    """Images of one folder by class, where (nearly) all are named ``class.number.jpg``."""
    if not source.is_dir():
        return None
    classes: dict[str, list[_Image]] = defaultdict(list)
    others = 0
    for file in source.iterdir():
        if is_system_name(file.name) or file.suffix[1:].lower() not in IMAGE_EXTENSIONS:
            continue
        match = _NUMBERED.fullmatch(file.name)
        if match is None or not file.is_file():
            others += 1
            continue
        classes[normal_name(match[1])].append(_Image(file, file.name))
    count = sum(map(len, classes.values()))
    if len(classes) < 2 or others > count:
        return None
    return {"": classes}


def _asked_for(
    pool: dict[str, list[_Image]], classes: Sequence[str], min_images: int, progress: Progress
) -> dict[str, list[_Image]]:
    """The classes of numbered files that are wanted, and not too small."""
    wanted = [normal_name(name) for name in classes] or sorted(pool)
    absent = [name for name in wanted if name not in pool]
    if absent:
        raise DataError(
            f"There are no images of {listed(absent)}; classes there: {listed(sorted(pool))}."
        )
    small = [name for name in wanted if len(pool[name]) < min_images]
    if small:
        told = [f"{name} ({len(pool[name]):,})" for name in small]
        progress.note(f"Left out by --min-images {min_images}: {listed(told)}.")
    return {name: pool[name] for name in wanted if name not in small}


def _labelled_files(table: ImageTable) -> _Pools:
    pools: _Pools = defaultdict(lambda: {name: [] for name in table.classes})
    for index, path in enumerate(table.paths):
        part = str(table.parts[index])
        name = table.classes[table.labels[index]]
        pools["" if part == "train" else part][name].append(_Image(table.file(index), path))
    return dict(pools)


def _choose(pools: _Pools, wanted: dict[str, int], source: Path, progress: Progress) -> _Choice:
    """Take images part by part and class by class, each picture once."""
    names = sorted(pools[""])
    _check_counts(pools, names, wanted, source)
    seen: dict[str, str] = {}
    skipped: list[Problem] = []
    chosen: dict[str, dict[str, list[_Image]]] = {}
    streams = {
        (part, name): _new_pictures(images, seen, skipped)
        for part, classes in pools.items()
        for name, images in classes.items()
    }
    total = sum(wanted.values()) * len(names)
    with progress.stage("Comparing files", total, "images") as stage:
        for part, count in wanted.items():
            if not count:
                continue
            own = part if part in pools else ""
            chosen[part] = {name: [] for name in names}
            for name in names:
                for _ in range(count):
                    image = next(streams[own, name], None)
                    if image is None:
                        raise DataError(
                            f"Class '{shown(name)}' of {shown(source)} has too few different "
                            f"pictures: {len(chosen[part][name]):,} of {count:,} found for "
                            f"{part}; ask for fewer."
                        )
                    chosen[part][name].append(image)
                    stage.advance()
    return chosen, skipped


def _check_counts(
    pools: _Pools, names: Iterable[str], wanted: dict[str, int], source: Path
) -> None:
    """Every class has enough files; say all that have not before anything is read."""
    short = []
    for own in pools:
        drawn = [p for p in wanted if wanted[p] and (p if p in pools else "") == own]
        needed = sum(wanted[p] for p in drawn)
        for name in names:
            has = len(pools[own].get(name, []))
            if has < needed:
                text = f"'{shown(name)}' has {has:,} of {needed:,}"
                short.append(f"{text} in {own}" if own else text)
    if short:
        raise DataError(
            f"Too few images in {shown(source)}: {'; '.join(short[:5])}; ask for fewer, or leave "
            "classes so small out with --min-images."
        )


def _new_pictures(
    images: Iterable[_Image], seen: dict[str, str], skipped: list[Problem]
) -> Iterator[_Image]:
    """The images whose content has not been seen, in order."""
    for image in images:
        try:
            with image.file.open("rb") as opened:
                digest = hashlib.file_digest(opened, "sha256").hexdigest()
        except OSError as error:
            reason = f"It cannot be read: {error.strerror}."
            skipped.append(Problem(image.path, _UNREADABLE, reason))
            continue
        if digest in seen:
            reason = f"The same picture as {shown(seen[digest])}."
            skipped.append(Problem(image.path, _DUPLICATE, reason))
            continue
        seen[digest] = image.path
        yield image


def _write(
    chosen: dict[str, dict[str, list[_Image]]], out: Path, link: bool, progress: Progress
) -> None:
    """Write under a temporary name beside ``out``, then rename: all or nothing."""
    total = sum(len(images) for classes in chosen.values() for images in classes.values())
    partial = None
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        clear_leftovers(out.parent)
        partial = out.with_name(unfinished_name())
        with progress.stage("Linking" if link else "Copying", total, "images") as stage:
            for part, classes in chosen.items():
                for name, images in classes.items():
                    folder = partial / part / _folder_name(name)
                    folder.mkdir(parents=True)
                    for image, file_name in zip(images, _file_names(images), strict=True):
                        if link:
                            (folder / file_name).symlink_to(image.file.resolve())
                        else:
                            _copy(image.file, folder / file_name)
                        stage.advance()
        if out.exists():
            out.rmdir()  # empty, or this stops
        partial.rename(out)
    except OSError as error:
        raise FileError(write_problem(error, out)) from error
    finally:
        if partial is not None:
            remove(partial)


def _copy(file: Path, target: Path) -> None:
    """Copy an image; the errors that are left are those of ``target``."""
    try:
        shutil.copyfile(file, target)
    except OSError as error:
        if file.is_file():
            raise
        raise DataError(
            f"{shown(file)} was there a moment ago and cannot be read now; run it again when "
            "nothing else changes the folder."
        ) from error


def _folder_name(name: str) -> str:
    """A class name that is safe as a folder's name."""
    if name in {"", ".", ".."} or any(c in name for c in "/\\\0") or is_system_name(name):
        raise DataError(f"The class '{shown(name)}' cannot be the name of a folder; rename it.")
    return name


def _file_names(images: list[_Image]) -> list[str]:
    """The files' own names, or numbers where two would be the same."""
    names = [image.file.name for image in images]
    if len({name.lower() for name in names}) == len(names):
        return names
    return [f"{number:06d}{image.file.suffix}" for number, image in enumerate(images)]
