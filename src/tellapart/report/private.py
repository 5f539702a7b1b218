"""A copy of a page that can be sent: no pictures nor their names, no absolute paths, no machine.

It works on the page itself, not on what it was made of, so that nothing that is on it is
overlooked: what the templates mark with ``data-private`` goes as a whole, and in all the text
that stays a path keeps its last name only, and that of a picture none.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from html.parser import HTMLParser

from tellapart.errors import FileError

#: Elements that have no end tag.
_VOID = frozenset({"meta", "link", "img", "input", "br", "hr", "rect", "circle", "path"})
#: What is written as it is: the page's own style and script, the same on every page.
_RAW = frozenset({"style", "script"})
#: Attributes that hold text for people.
_TEXTS = frozenset({"alt", "aria-label", "title", "placeholder", "value"})
_MARK = '<meta name="tellapart-private" content="marked">'
_NAME = r"[^\s/\\'\"<>,;:()]+"
#: An absolute path in quotes, which may hold spaces; one without; one of Windows.
_QUOTED = re.compile(r"(['\"])(?:~|[A-Za-z]:)?[/\\][^'\"<>\n]*?([^/\\'\"<>\n]+)[/\\]?\1")
_POSIX = re.compile(rf"(?<![\w.:/<~-])(?:file:)?~?/+(?:{_NAME}/)*({_NAME})/?")
_WINDOWS = re.compile(r"(?<!\w)(?:[A-Za-z]:|\\)[\\/](?:[^\\/\s'\"<>]+[\\/])*([^\\/\s'\"<>]+)[\\/]?")

#: A picture's file, in a sentence; and after "for example", where its name may hold spaces.
_ENDING = r"\.(?:jpe?g|png|webp|bmp|gif|tiff?|hei[cf]|avif)\b"
_FILE = re.compile(rf"[^\s'\"<>,;:(][^\s'\"<>,;:]*{_ENDING}", re.IGNORECASE)
_EXAMPLE = re.compile(
    rf"(?<=for example )[^\n]*?{_ENDING}( and )?(?(1)[^\n]*?{_ENDING})", re.IGNORECASE
)
_A_FILE = "a file"


def private_page(page: str, folders: Sequence[str] = ()) -> str:
    """The page as it may be sent.

    Args:
        page: a page of tellapart, whole.
        folders: absolute paths that are known to be on it; they may hold spaces.

    Raises:
        FileError: it is no page of tellapart, or one of a version that marked nothing.
    """
    if _MARK not in page:
        raise FileError(
            "This is no page of this version of tellapart, so what is private on it is not known; "
            "make the page again."
        )
    gone = _Writer(folders, frozenset())
    gone.feed(page)
    gone.close()
    writer = _Writer(folders, frozenset(gone.ids_left_out))
    writer.feed(page)
    writer.close()
    return "".join(writer.written)


def without_paths(text: str, folders: Sequence[str] = ()) -> str:
    """The text with each absolute path cut down to its last name, and no names of pictures.

    >>> without_paths("tellapart train /home/ann/brain --seed 1")
    'tellapart train brain --seed 1'
    >>> without_paths("2 are in train as well, for example test/ann smith.jpg and train/3.png.")
    '2 are in train as well, for example a file and a file.'
    """
    for folder in sorted(folders, key=len, reverse=True):
        if len(folder) > 1:
            name = re.split(r"[/\\]", folder.rstrip("/\\"))[-1]
            text = re.sub(re.escape(folder) + r"(?![\w-])", name.replace("\\", r"\\"), text)
    text = _QUOTED.sub(r"\1\2\1", text)
    text = _POSIX.sub(r"\1", _WINDOWS.sub(r"\1", text))
    text = _EXAMPLE.sub(lambda found: _A_FILE + (f" and {_A_FILE}" if found[1] else ""), text)
    return _FILE.sub(_A_FILE, text)


class _Writer(HTMLParser):
    """Writes a page again, without what is private."""

    def __init__(self, folders: Sequence[str], ids: frozenset[str]) -> None:
        super().__init__(convert_charrefs=True)
        self.written: list[str] = []
        self.ids_left_out: list[str] = []
        self._folders, self._ids = folders, ids
        self._raw = ""
        self._depth = 0  # of open elements inside one that is left out

    def handle_decl(self, decl: str) -> None:
        self.written.append(f"<!{decl}>")

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._begin(tag, attrs, closed=tag in _VOID, end="")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._begin(tag, attrs, closed=True, end="/")

    def _begin(self, tag: str, attrs: list[tuple[str, str | None]], closed: bool, end: str) -> None:
        given = dict(attrs)
        link = (given.get("href") or "").removeprefix("#") if tag == "a" else ""
        if self._depth or "data-private" in given or (link and link in self._ids):
            self.ids_left_out += [value for name, value in attrs if name == "id" and value]
            self._depth += not closed
            return
        texts = []
        for name, value in attrs:
            if value is None:
                texts.append(f" {name}")
                continue
            kept = without_paths(value, self._folders) if name in _TEXTS else value
            texts.append(f' {name}="{escape(kept)}"')
        self.written.append(f"<{tag}{''.join(texts)}{end}>")
        self._raw = tag if tag in _RAW else ""

    def handle_endtag(self, tag: str) -> None:
        if self._depth:
            self._depth -= 1
            return
        self._raw = ""
        self.written.append(f"</{tag}>")

    def handle_data(self, data: str) -> None:
        if not self._depth:
            text = data if self._raw else escape(without_paths(data, self._folders), quote=False)
            self.written.append(text)
