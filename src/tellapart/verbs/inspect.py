"""``tellapart inspect``: what is in a folder of images, and what is wrong with it."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tellapart.audit.fixes import Fix, describe_fix
from tellapart.audit.statistics import CROP_LOSS, SIDE, counted, mode_name
from tellapart.audit.survey import Survey, class_counts, survey
from tellapart.data.listing import listed, shown
from tellapart.data.pixels import PixelCache
from tellapart.data.source import Source
from tellapart.data.table import ImageTable
from tellapart.errors import DataError, RecipeError
from tellapart.extras import require_pytorch
from tellapart.files import replacing, write_json, write_text
from tellapart.folders import write_folder
from tellapart.machine import keep_memory, resolve_device
from tellapart.models.inputs import preprocessing_for, preprocessing_of
from tellapart.pixels.formats import IMAGE_EXTENSIONS
from tellapart.pixels.preprocessing import Preprocessing
from tellapart.progress import DEFAULT, Progress
from tellapart.recipe import BackboneModel, DataSettings, Recipe
from tellapart.recipe_reading import load_recipe
from tellapart.result import DONE, ShortRepr
from tellapart.wording import aligned, capital, percent, some_of, texts

if TYPE_CHECKING:
    from PIL import Image

    from tellapart.audit.checks import AuditReport

#: Pixels a side at which the audit's network looks at the images, multiples of ``SIDE``. On
#: Dogs vs. Cats small with 40 wrong labels, 192 names as many of them as 128, with 20 % instead
#: of 35 % false alarms, in twice the time; large sets take the smaller size.
AUDIT_SIZE, AUDIT_SIZE_OF_MANY, MANY = 3 * SIDE, 2 * SIDE, 20_000
#: Classes that the terminal lists; of more, the smallest.
_MOST_CLASSES = 20
#: A path is shorter than this on every system.
_LONGEST_LINE = 40_000
#: Of a list that is there, so many lines are looked at.
_LINES_READ = 1000
INSPECTION_FILE = "inspection.json"
#: Pictures of each class, and in all, that a notebook shows.
_OF_A_CLASS, _PICTURES = 4, 24


@dataclass(frozen=True, repr=False)
class Inspection(ShortRepr):
    """What was found, and where the report lies."""

    survey: Survey = field(repr=False)
    source: str
    folder: Path
    report: Path
    #: The lists that were asked for, and what they do.
    fix: Fix | None = None
    exit_code: ClassVar[int] = DONE

    def to_json(self) -> dict[str, Any]:
        """What ``tellapart inspect --json`` prints."""
        return {
            "source": self.source,
            **self.survey.to_json(),
            "folder": str(self.folder),
            "report": str(self.report),
            **({"fix": self.fix.to_json()} if self.fix is not None else {}),
        }

    def lines(self) -> list[str]:
        """What ``tellapart inspect`` prints."""
        return [
            *_count_lines(self.survey.table),
            "",
            *_fact_lines(self.survey),
            *_finding_lines(self.survey),
            *(["", *self.fix.lines()] if self.fix is not None else []),
            "",
            f"{self.report.name} and {INSPECTION_FILE} are in",
            shown(self.folder),
        ]

    def _repr_html_(self) -> str:
        from tellapart.notebook import card, pictures

        table = self.survey.table
        counts = class_counts(table)
        heads = ["class", *(part or "images" for part in counts)]
        rows = [[name, *(f"{row[name]:,}" for row in counts.values())] for name in table.classes]
        name = Source(Path(self.source)).display_name
        return card(
            f"{name}: {len(table):,} images of {len(table.classes):,} classes",
            sentences=[one.sentence for one in self.survey.observations],
            table=[heads, *rows[:_MOST_CLASSES]],
            link=self.report,
        ) + pictures(_samples(table))


def inspect(
    folder: str | Path,
    *,
    audit: bool = False,
    augment: str | Path | None = None,
    fix: str | Path | None = None,
    quarantine: str | Path | None = None,
    classes: Sequence[str] = (),
    group_by: str | None = None,
    exclude: str | Path | None = None,
    root: str | Path | None = None,
    path_column: str | None = None,
    label_column: str | None = None,
    min_images: int = 0,
    ignore_unknown: bool = False,
    out: str | Path | None = None,
    seed: int = 0,
    device: str = "auto",
    progress: Progress = DEFAULT,
) -> Inspection:
    """Look at a folder of labelled images and write a report of it. Changes no image.

    Args:
        folder: class folders; part folders above class folders; a table; or a zip.
        audit: also look for near duplicates, doubtful labels, outliers and shortcuts.
        augment: also write a sheet of samples as this recipe augments them.
        fix: write a CSV of images to leave out, for ``train --exclude``; implies ``audit``. Images
            with a doubtful label are in it only where they are in train.
        quarantine: write the same as a plain list of paths; implies ``audit``.
        classes, group_by, exclude, root, path_column, label_column, min_images,
            ignore_unknown: as for ``train``.
        out: folder of the report; None: ``runs/inspect-NAME``, with a number behind it where
            another folder of that name was inspected.
        seed: of the samples' random draws.
        device: where the audit's network runs.

    Raises:
        TellapartError: something in the arguments or in the folder is wrong; nothing is
            written then.
    """
    source = Source(
        folder=Path(folder),
        classes=texts(classes),
        group_by=group_by,
        exclude=Path(exclude) if exclude is not None else None,
        root=Path(root) if root is not None else None,
        ignore_unknown=ignore_unknown,
        path_column=path_column,
        label_column=label_column,
        min_images=min_images,
    )
    place = Path(out) if out is not None else Path("runs") / f"inspect-{source.display_name}"
    _check_out(place, source.folder)
    _check_lists(fix, quarantine, source.folder)
    recipe = load_recipe(augment if augment is not None else "auto")
    if augment is not None and not recipe.augmentation:
        raise RecipeError(f"Recipe {recipe.name} augments nothing; take one that does.")
    if augment is not None:
        require_pytorch("--augment")
    preprocessing = preprocessing_of(recipe)
    target = resolve_device(device)
    keep_memory()
    table = source.read(progress)
    wants_audit = audit or fix is not None or quarantine is not None
    audit_size = AUDIT_SIZE if len(table) <= MANY else AUDIT_SIZE_OF_MANY
    pixels = _load(source, table, audit_size if wants_audit else SIDE, progress)
    findings = _audit(pixels, target, progress) if wants_audit else None
    found = survey(pixels, network_size=preprocessing.height, audit=findings, progress=progress)
    samples = _augmented(recipe, found.table, preprocessing, seed) if augment else None
    if out is None:  # whose name another folder may have
        place = write_folder(
            place,
            {"source": str(source.folder)},
            lambda unfinished: _write(found, unfinished, source, samples, progress),
        )
    else:
        _write(found, place, source, samples, progress)
    lists = _write_lists(found, fix, quarantine)
    described = None
    if found.audit is not None and lists:
        command = _train_command(str(folder), source, lists[0])
        described = describe_fix(found.audit, found.table, lists, command)
    return Inspection(found, str(folder), place, place / "report.html", described)


# --- before any work ------------------------------------------------------------------------------


def _check_out(out: Path, source: Path) -> None:
    inside, outside = out.resolve(), source.resolve()
    if source.is_dir() and (inside == outside or outside in inside.parents):
        raise DataError(
            f"The report would lie in {shown(out)}, inside the folder that is inspected; choose "
            "a folder elsewhere with --out."
        )
    if out.exists() and not out.is_dir():
        raise DataError(f"{shown(out)} is a file; choose a folder for the report with --out.")
    _check_writable(out)


def _check_lists(fix: str | Path | None, quarantine: str | Path | None, source: Path) -> None:
    """Only a list that we wrote may be replaced by a list, and none is written among images."""
    given = {
        option: Path(file)
        for option, file in (("--fix", fix), ("--quarantine", quarantine))
        if file is not None
    }
    for option, file in given.items():
        if source.is_dir() and source.resolve() in file.resolve().parents:
            raise DataError(
                f"{option} {shown(file)} lies inside the folder that is inspected; choose a file "
                "elsewhere."
            )
        if file.is_dir():
            raise DataError(f"{option} {shown(file)} is a folder; choose the name of a file.")
        if file.exists() and not _is_list(file, option):
            raise DataError(
                f"{option} {shown(file)} exists and is no such list of 'tellapart inspect', so it "
                "is not overwritten; choose another name, or delete it first."
            )
        _check_writable(file)
    if len({file.resolve() for file in given.values()}) < len(given):
        raise DataError("--fix and --quarantine name one file; give each its own.")


def _is_list(file: Path, option: str) -> bool:
    """Whether a file may be replaced: by its content one of ours, empty, or no file (a pipe)."""
    from tellapart.audit.checks import FIX_COLUMNS

    if not file.is_file():
        return True
    try:
        with file.open(encoding="utf-8") as opened:
            lines = [opened.readline(_LONGEST_LINE).rstrip("\n") for _ in range(_LINES_READ)]
    except (OSError, UnicodeDecodeError):
        return False
    if not file.stat().st_size:
        return True
    if option == "--fix":
        return lines[0] == ",".join(FIX_COLUMNS)
    return all(Path(line).suffix[1:].lower() in IMAGE_EXTENSIONS for line in lines if line)


def _check_writable(path: Path) -> None:
    """Say that a file or folder cannot be written before the work, not after it."""
    there = path.absolute()
    while not there.exists():
        there = there.parent
    if not os.access(there, os.W_OK):
        raise DataError(f"{shown(path)} cannot be written; choose another place.")
    if there != path.absolute() and not there.is_dir():
        raise DataError(f"{shown(path)} cannot be written: {shown(there)} is a file.")


# --- the work -------------------------------------------------------------------------------------


def _load(source: Source, table: ImageTable, side: int, progress: Progress) -> PixelCache:
    """Small pictures of all images; unreadable ones are what this verb is there to tell."""
    pixels = source.pixels(
        table, _small_preprocessing(side), maximum_unreadable=1.0, progress=progress
    )
    if not len(pixels):
        first = pixels.table.problems[0]
        raise DataError(
            f"{capital(some_of(0, len(table), 'image'))} in {shown(source.folder)} can be read; "
            f"for example {shown(first.path)}: {first.reason}"
        )
    return pixels


def _small_preprocessing(side: int) -> Preprocessing:
    return preprocessing_for(BackboneModel(), DataSettings(image_size=side))


def _audit(pixels: PixelCache, device: str, progress: Progress) -> AuditReport:
    from tellapart.audit.checks import audit
    from tellapart.engines.features import extract_features

    rule = _small_preprocessing(pixels.pixels.shape[1])
    features = extract_features(BackboneModel(), rule, pixels, device=device, progress=progress)[0]
    return audit(pixels, features, progress=progress)


def _augmented(
    recipe: Recipe, table: ImageTable, preprocessing: Preprocessing, seed: int
) -> tuple[str, Image.Image, list[str]]:
    from tellapart.report.augmented import augmented_samples, augmented_sheet

    rows, samples = augmented_samples(table, preprocessing, recipe.augmentation, seed=seed)
    names = [f"{table.classes[table.labels[i]]} ({shown(table.paths[i])})" for i in rows]
    return recipe.name, augmented_sheet(samples), names


def _write(
    found: Survey,
    out: Path,
    source: Source,
    augmented: tuple[str, Image.Image, list[str]] | None,
    progress: Progress,
) -> None:
    from tellapart import __version__
    from tellapart.report.of_data import write_data_report

    with progress.stage("Writing the report", None):
        if augmented is not None:
            with replacing(out / "augmented.png") as unfinished:
                augmented[1].save(unfinished, format="PNG")
        write_json(out / INSPECTION_FILE, found.to_json())
        write_data_report(
            found,
            out,
            title=source.display_name,
            source=str(source.folder),
            command=" ".join(["tellapart", *sys.argv[1:]]),
            augmented=augmented,
            version=__version__,
        )


def _write_lists(
    found: Survey, fix: str | Path | None, quarantine: str | Path | None
) -> list[Path]:
    """Write the files to leave out as ``--exclude`` takes them; no image is moved.

    What an earlier list left out stays out, as training takes one list.
    """
    if found.audit is None:
        return []
    written = []
    earlier = [problem for problem in found.table.problems if problem.kind == "excluded"]
    if fix is not None:
        write_text(Path(fix), found.audit.fix_list(earlier))
        written.append(Path(fix))
    if quarantine is not None:
        paths = [*(problem.path for problem in earlier), *found.audit.excluded()]
        write_text(Path(quarantine), "".join(f"{path}\n" for path in paths))
        written.append(Path(quarantine))
    return written


def _train_command(folder: str, source: Source, left_out: Path) -> str:
    """What trains on the same images without those of a list, as a shell takes it."""
    words = ["tellapart", "train", folder, "--exclude", str(left_out)]
    given = {
        "--classes": ",".join(source.classes), "--group-by": source.group_by,
        "--root": source.root, "--path-column": source.path_column,
        "--label-column": source.label_column, "--min-images": source.min_images or None,
    }  # fmt: skip
    for option, value in given.items():
        words += [option, str(value)] if value else []
    return shlex.join([*words, *(["--ignore-unknown"] if source.ignore_unknown else [])])


def _samples(table: ImageTable) -> list[tuple[bytes, str, str]]:
    """A few pictures of each class, as a notebook shows them."""
    from tellapart.pixels.decode import UnreadableImage
    from tellapart.pixels.thumbnails import make_thumbnail

    found = []
    for number, name in enumerate(table.classes[: _PICTURES // _OF_A_CLASS]):
        for row in np.flatnonzero(table.labels == number)[:_OF_A_CLASS].tolist():
            with suppress(UnreadableImage):  # moved since
                found.append((make_thumbnail(table.file(row), size=160), name, table.paths[row]))
    return found


# --- for the terminal -----------------------------------------------------------------------------


def _count_lines(table: ImageTable) -> list[str]:
    """A table of classes and parts, columns aligned."""
    counts = class_counts(table)
    names = list(table.classes)
    totals = {name: sum(row[name] for row in counts.values()) for name in names}
    hidden = len(names) - _MOST_CLASSES
    if hidden > 0:
        names = sorted(names, key=lambda name: totals[name])[:_MOST_CLASSES]
    heads = [part or "images" for part in counts]
    rows = [["", *heads]]
    rows += [[shown(n), *(f"{row[n]:,}" for row in counts.values())] for n in names]
    if hidden > 0:
        rows.append([f"and {hidden:,} classes with more", *("" for _ in counts)])
    rows.append(["in all", *(f"{sum(row.values()):,}" for row in counts.values())])
    return aligned(rows)


def _fact_lines(found: Survey) -> list[str]:
    headers, looks = found.headers, found.looks
    shortest = np.minimum(headers.widths, headers.heights)
    sizes = f"{headers.widths[0]:,} x {headers.heights[0]:,}, all of them"
    if np.ptp(headers.widths) or np.ptp(headers.heights):
        area = headers.widths * headers.heights
        ends = [
            f"{headers.widths[i]:,} x {headers.heights[i]:,}"
            for i in (int(area.argmin()), int(area.argmax()))
        ]
        sizes = (
            f"{ends[0]} to {ends[1]}, median {np.median(headers.widths):,.0f} x "
            f"{np.median(headers.heights):,.0f} (shorter side {np.median(shortest):,.0f})"
        )
    cut = float((headers.crop_losses > CROP_LOSS).mean())
    shapes = f"a centre crop would lose more than a fifth of {percent(cut)} of the images"
    if not cut:
        shapes = "square, or near enough for a centre crop"
    rows = [
        ("sizes", sizes),
        ("shapes", shapes),
        ("formats", _counted_text(headers.formats.tolist())),
        (
            "colours",
            _counted_text([mode_name(mode) for mode in headers.modes.tolist()])
            + f"; {int(looks.grey.sum()):,} without colour",
        ),
        ("brightness", _range_text(looks.brightness, ".2f")),
        ("sharpness", _range_text(looks.sharpness, ".0f")),
    ]
    return [f"{name:<10}  {text}" for name, text in rows]


def _counted_text(values: list[str]) -> str:
    return listed([f"{name} {count:,}" for name, count in counted(values).items()], 6)


def _range_text(values: Any, form: str) -> str:
    low, middle, high = (format(float(v), form) for v in np.percentile(values, (5, 50, 95)))
    return f"median {middle}, nine of ten images between {low} and {high}"


def _finding_lines(found: Survey) -> list[str]:
    lines = []
    for one in found.observations:
        lines += ["", f"{one.level:<10}  {one.sentence}"]
        if one.advice:
            lines.append(f"{'':<10}  {one.advice}")
    if found.audit is None:
        lines += ["", "Near duplicates and doubtful labels were not looked for: --audit does."]
    return lines
