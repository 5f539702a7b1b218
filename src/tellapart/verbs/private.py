"""``tellapart private``: a copy of a page that can be sent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from tellapart.errors import FileError
from tellapart.files import write_text
from tellapart.result import DONE, ShortRepr, card_of
from tellapart.run_info import read_object
from tellapart.wording import shown


@dataclass(frozen=True, repr=False)
class PrivatePage(ShortRepr):
    """The copy of a page that can be sent."""

    page: Path
    source: Path

    exit_code: ClassVar[int] = DONE

    def lines(self) -> Iterator[str]:
        """What the command prints."""
        yield "without pictures, their names, absolute paths and what says which machine made it:"
        yield shown(self.page)

    def to_json(self) -> Mapping[str, Any]:
        return {"page": str(self.page), "of": str(self.source)}

    def _repr_html_(self) -> str:
        return card_of("A page that can be sent", self.lines())


def private(page: str | Path, out: str | Path | None = None) -> PrivatePage:
    """Write a copy of a page without pictures, absolute paths and facts of the machine.

    Args:
        page: a page of any verb, or a folder that holds a ``report.html``, such as a run's.
        out: the copy; None: beside the page, ``report-private.html``.

    Raises:
        FileError: there is no such page, or it is not of this version of tellapart.
    """
    from tellapart.report.private import private_page

    source = Path(page)
    if source.is_dir():
        source /= "report.html"
    target = Path(out) if out is not None else source.with_name(f"{source.stem}-private.html")
    if target.absolute() == source.absolute():
        raise FileError(f"{target} is the page itself; give the copy another name.")
    try:
        text = source.read_text("utf-8")
    except FileNotFoundError:
        raise FileError(f"There is no page {source}; give an HTML page or a run folder.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise FileError(f"{source} cannot be read as a page: {error}.") from error
    try:
        copy = private_page(text, _folders(source))
    except FileError as error:
        raise FileError(f"{source}: {error}") from None
    write_text(target, copy)
    return PrivatePage(target, source)


def _folders(page: Path) -> list[str]:
    """Absolute paths that are likely on the page: its own, the user's, and its run's."""
    here = page.absolute()
    found = [str(Path.home()), str(Path.cwd()), *map(str, here.parents)]
    for parent in here.parents:
        file = parent / "run.json"
        if file.is_file():
            content = read_object(file)
            for place in (content.get("source"), content.get("data")):
                for key in ("folder", "root", "source"):
                    value = place.get(key) if isinstance(place, Mapping) else None
                    if isinstance(value, str) and Path(value).is_absolute():
                        found.append(value)
            break
    return [folder for folder in found if folder.strip("/\\")]
