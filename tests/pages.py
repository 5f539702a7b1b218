"""Pages of docs/ whose commands are run by a test, and the pictures of report pages."""

from __future__ import annotations

import re
import shlex
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass
from html import unescape
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tellapart import cli
from tellapart.errors import TellapartError


@dataclass(frozen=True)
class Command:
    """A line of a page's bash blocks."""

    #: Without what is said beside it.
    text: str
    #: The exit code that the page names; 0 where it names none.
    code: int

    @property
    def words(self) -> list[str]:
        """The words after ``tellapart``."""
        command, *words = shlex.split(self.text)
        assert command == "tellapart", self.text
        return words


def commands_of(page: str) -> list[Command]:
    """The commands of a page, in their order."""
    found = []
    for block in re.findall(r"```bash\n(.*?)```", page, flags=re.DOTALL):
        for line in block.splitlines():
            text, _, comment = line.partition("#")
            code = re.search(r"exit code (\d+)", comment)
            found.append(Command(text, int(code[1]) if code else 0))
    return found


def exit_code(words: list[str]) -> int:
    """What a command ends with, run in this process."""
    try:
        return cli.app(words, standalone_mode=False) or 0
    except TellapartError:
        return 2


# --- pictures of a report page -------------------------------------------------------------------


@dataclass(frozen=True)
class Shown:
    """A picture of a page and what stands under it.

    Attributes:
        path, true, predicted: as the page names them; "" where it does not.
        confidence: of the predicted class; None where none is told.
        caption: the free sentence below it.
        looks: float64 (16, 16, 3), the picture itself, made small.
    """

    path: str
    true: str
    predicted: str
    confidence: float | None
    caption: str
    looks: NDArray[np.float64]


def pictures_of_page(page: str) -> list[Shown]:
    """Every picture that has a file's path under it, in the order of the page."""
    found = []
    for figure in re.findall(r'<figure class="picture".*?</figure>', page, flags=re.DOTALL):
        said = {key: unescape(value) for key, value in re.findall(r'data-(\w+)="([^"]*)"', figure)}
        caption = re.search(r'<span class="caption">(.*?)</span>', figure, flags=re.DOTALL)
        path = re.search(r'<span class="path" title="([^"]*)">', figure)
        content = re.search(r'src="data:image/\w+;base64,([^"]+)"', figure)
        assert content is not None
        if path is None:
            continue
        assert unescape(path[1]) == said["path"]
        found.append(
            Shown(
                said["path"],
                said["true"],
                said["predicted"],
                float(said["confidence"]) if "confidence" in said else None,
                unescape(caption[1]) if caption else "",
                small_of(Image.open(BytesIO(b64decode(content[1])))),
            )
        )
    return found


def small_of(image: Image.Image) -> NDArray[np.float64]:
    """float64 (16, 16, 3): what a picture looks like, whatever its size."""
    return np.asarray(image.convert("RGB").resize((16, 16), Image.Resampling.BOX), np.float64)


def most_alike(looks: NDArray[np.float64], files: Mapping[str, Path]) -> str:
    """The name of the file that a picture looks like most."""
    differences = {
        name: float(np.abs(looks - small_of(Image.open(file))).mean())
        for name, file in files.items()
    }
    return min(differences, key=differences.__getitem__)
