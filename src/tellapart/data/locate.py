"""The file that a table means, where the table writes its name in another way."""

from __future__ import annotations

import os
import re
import unicodedata
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tellapart.data.listing import inside, shown
from tellapart.errors import DataError
from tellapart.pixels.formats import IMAGE_EXTENSIONS

_WEB = re.compile(r"(?:https?|ftp|s3|gs)://", re.IGNORECASE)
_DRIVE = re.compile(r"[A-Za-z]:[\\/]|\\\\")


@dataclass(frozen=True)
class _Names:
    """The names in one folder, by the ways in which a table may write them."""

    exact: dict[str, list[str]]
    any_case: dict[str, list[str]]
    without_extension: dict[str, list[str]]


class Locator:
    """Finds files below ``root`` by what a table calls them.

    A path is taken as it is written where such a file exists. Otherwise, in this order:
    backslashes are slashes; spaces at its ends do not count; accents are the same in either
    Unicode form; upper and lower case are the same; an image's extension may be missing.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._folders: dict[str, _Names] = {}

    def find(self, text: str, where: str) -> list[str]:
        """Paths relative to the root that ``text`` may mean: none, one, or several.

        Raises:
            DataError: the path leads out of the root; ``where`` says who gave it.
        """
        path = self.written(text, where)
        if os.path.exists(f"{self._root}/{path}"):  # noqa: PTH110 - asked of every row
            return [path]
        return self._search(path.strip())

    def written(self, text: str, where: str) -> str:
        """``text`` as a path relative to the root, whether or not it is there."""
        if text[:7].lower() == "file://":
            text = unquote(urlsplit(text).path)
        elif _WEB.match(text):
            raise DataError(
                f"{where}: '{shown(text)}' is an address on the web; save the pictures as files, "
                "and give their names."
            )
        path = inside(text, self._root, where)
        if "\\" in text and os.sep == "/" and not (self._root / path).exists():
            if _DRIVE.match(text):
                raise DataError(
                    f"{where}: the path '{shown(text)}' is one of another computer; write paths "
                    f"relative to {shown(self._root)}, or to the folder given with --root."
                )
            path = inside(text.replace("\\", "/"), self._root, where)
        return path

    def _search(self, path: str) -> list[str]:
        *above, last = path.split("/")
        places = [""]
        for piece in above:
            places = [f"{p}{name}/" for p in places for name in self._matches(p, piece)]
        for way in ("exact", "any_case", "without_extension"):
            found = [
                f"{place}{name}"
                for place in places
                for name in getattr(self._names(place), way).get(_key(last, way), [])
            ]
            if found:
                return sorted(found)
        return []

    def _matches(self, place: str, piece: str) -> list[str]:
        names = self._names(place)
        key = _key(piece, "exact")
        return names.exact.get(key) or names.any_case.get(_key(piece, "any_case"), [])

    def _names(self, place: str) -> _Names:
        if place not in self._folders:
            names = _Names(defaultdict(list), defaultdict(list), defaultdict(list))
            try:
                there = os.listdir(self._root / place)  # noqa: PTH208 - names are all it takes
            except OSError:  # no folder: nothing in it can be meant
                there = []
            for name in there:
                names.exact[_key(name, "exact")].append(name)
                names.any_case[_key(name, "any_case")].append(name)
                stem, _, extension = name.rpartition(".")
                if extension.lower() in IMAGE_EXTENSIONS and stem:
                    names.without_extension[_key(stem, "without_extension")].append(name)
            self._folders[place] = names
        return self._folders[place]


def _key(name: str, way: str) -> str:
    normal = unicodedata.normalize("NFC", name)
    return normal.casefold() if way == "any_case" else normal
