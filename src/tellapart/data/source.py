"""Source: where the images of a run are and how they are read, the one way to table and pixels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeVar

from tellapart.cache import is_there
from tellapart.data.archives import is_archive, with_files_of
from tellapart.data.feedback import with_feedback
from tellapart.data.groups import NEAR_DUPLICATES, with_groups
from tellapart.data.near_duplicates import near_duplicate_groups
from tellapart.data.pixels import PixelCache, load_pixels
from tellapart.data.reading import read_table
from tellapart.data.table import ImageTable
from tellapart.data.table_files import is_manifest
from tellapart.errors import DataError
from tellapart.pixels.preprocessing import Preprocessing
from tellapart.progress import SILENT, Progress
from tellapart.wording import texts

T = TypeVar("T")


@dataclass(frozen=True)
class Source:
    """Where images are and how they are read; with a recipe, all that repeats a run.

    Paths are made absolute when a source is made, so that what is stored of it does not
    depend on the working directory. What the fields mean is said at
    :func:`tellapart.data.reading.read_table`, which takes them by the same names.

    Attributes:
        folder: class folders, part folders, a table or a zip.
        train, validation, test: folders (or tables) below it that make up each part.
        feedback: a folder of corrected pictures, which are only trained on; see
            :mod:`tellapart.data.feedback`.
        group_by: as for ``read_table``; or "near-duplicates", which looks at the pictures.
    """

    folder: Path
    classes: tuple[str, ...] = ()
    train: tuple[str, ...] = ()
    validation: tuple[str, ...] = ()
    test: tuple[str, ...] = ()
    group_by: str | None = None
    exclude: Path | None = None
    root: Path | None = None
    ignore_unknown: bool = False
    path_column: str | None = None
    label_column: str | None = None
    min_images: int = 0
    feedback: Path | None = None

    def __post_init__(self) -> None:
        for name in ("folder", "exclude", "root", "feedback"):
            given = getattr(self, name)
            if given is not None:
                object.__setattr__(self, name, _absolute(given))
        for name in ("classes", "train", "validation", "test"):
            object.__setattr__(self, name, texts(getattr(self, name)))

    @property
    def display_name(self) -> str:
        """What people call it: the folder's name, or that of a table or archive without ending.

        >>> Source(Path("photos/v1.2")).display_name, Source(Path("birds.zip")).display_name
        ('v1.2', 'birds')
        """
        path = self.folder
        is_file = path.is_file() or (
            # It may be gone by the time a report is written.
            not path.exists() and (path.suffix.lower() == ".zip" or is_manifest(path))
        )
        return (path.stem if is_file else path.name) or "images"

    def read(self, progress: Progress = SILENT) -> ImageTable:
        """Find the images and their labels; decodes nothing.

        Groups of near duplicates are not known before there are pixels: :meth:`pixels` adds them.

        Raises:
            DataError: there is nothing to read, or it contradicts itself.
        """
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        feedback = given.pop("feedback")
        if self._groups_by_looks:
            given["group_by"] = None
        table = read_table(given.pop("folder"), **given, progress=progress)
        return table if feedback is None else with_feedback(table, feedback, progress)

    def pixels(
        self,
        table: ImageTable,
        preprocessing: Preprocessing,
        *,
        group: bool = True,
        maximum_unreadable: float = 0.2,
        progress: Progress = SILENT,
    ) -> PixelCache:
        """The pixels of a table that :meth:`read` gave, for any preprocessing.

        Args:
            group: find near duplicates where they are what images are grouped by; False where
                nobody asks which images belong together.
            maximum_unreadable: share of the files that may be left out.

        Raises:
            DataError: more of the files than that cannot be read.
        """

        def decoded() -> PixelCache:
            return load_pixels(
                table, preprocessing, progress=progress, maximum_unreadable=maximum_unreadable
            )

        cache = self._undeterred(table, decoded, progress)
        if not (group and self._groups_by_looks):
            return cache
        groups = near_duplicate_groups(cache, progress=progress)
        return replace(cache, table=with_groups(cache.table, groups))

    def _undeterred(
        self, table: ImageTable, decode: Callable[[], PixelCache], progress: Progress
    ) -> PixelCache:
        """The pixels, though somebody deletes the unpacked files of an archive meanwhile."""
        try:
            cache = decode()
        except DataError:
            if not is_archive(self.folder) or is_there(table.root):
                raise
        else:
            complete = len(cache) == len(table)
            if complete or not is_archive(self.folder) or is_there(table.root):
                return cache
        return with_files_of(self.folder, lambda _: decode(), progress)

    def with_files(self, work: Callable[[], T]) -> T:
        """What ``work()`` makes of files that :meth:`read` listed, where it takes what it finds.

        Done again where somebody deletes the unpacked files of an archive meanwhile.
        """
        return with_files_of(self.folder, lambda _: work()) if is_archive(self.folder) else work()

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            name: str(value) if isinstance(value, Path) else
            list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
            if name != "feedback" or value is not None  # which most runs do not know
        }  # fmt: skip

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Source:
        """The source that :meth:`to_dict` gave; keys that this version does not know are left.

        Raises:
            KeyError: there is no folder.
            TypeError: a value is of another kind.
        """
        known = {field.name for field in fields(cls)}
        given = {name: value for name, value in stored.items() if name in known}
        return cls(given.pop("folder"), **given)

    @property
    def _groups_by_looks(self) -> bool:
        return self.group_by == NEAR_DUPLICATES


def _absolute(path: str | Path) -> Path:
    """A path from the root on; links keep the names that the user gave them."""
    given = Path(path)
    return given.resolve() if ".." in given.parts else given.absolute()
