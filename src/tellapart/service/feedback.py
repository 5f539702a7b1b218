"""Corrections: pictures that were called wrong, kept under what they are, in class folders."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from tellapart.files import write_bytes
from tellapart.pixels.formats import PICTURE_FORMATS, identify


@dataclass(frozen=True)
class Inbox:
    """A folder of class folders, as ``tellapart inspect`` and ``train`` read them.

    A picture is called by its content, so that it is there once, under what was said
    of it last.
    """

    folder: Path

    def keep(self, content: bytes, label: str) -> Path:
        """Keep a picture under a class.

        Args:
            label: fit for the name of a folder, see :func:`is_folder_name`.

        Raises:
            FileError: it cannot be written.
        """
        name = identify(content[:32])
        extension = next(row.extensions[0] for row in PICTURE_FORMATS if row.name == name)
        digest = hashlib.sha256(content).hexdigest()[:32]
        file = self.folder / label / f"{digest}.{extension}"
        if not file.exists():
            write_bytes(file, content)
        for other in self.folder.glob(f"*/{file.name}"):
            if other != file:  # what was said of it before
                other.unlink(missing_ok=True)
        return file


def is_folder_name(label: str) -> bool:
    """Whether a class folder of exactly this name can be made, everywhere."""
    return (
        label.isprintable()
        and label == label.strip(" .")
        and 0 < len(label.encode()) <= 200
        and not set(label) & set('<>:"/\\|?*')
    )
