"""The building blocks that all reports share: templates, pictures, one file that needs no other.

A page loads nothing: style, script, pictures and figures are inside it, and its
Content-Security-Policy forbids every request and every script but its own.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from tellapart.number import Number
from tellapart.report.content import Callout, Cell, Figure, Gallery, Picture, Table
from tellapart.report.graphics import column_scale, headline_scale, heat_step, interval_bar
from tellapart.report.numbers import (
    day,
    format_cell,
    format_interval,
    format_value,
    meaningful_decimals,
    sort_key,
    unbroken,
)

MAXIMUM_ROWS = 1000
PICTURE_BYTES = 9_000_000  # encoded pictures in one page; base64 makes them a third larger
FIGURE_BYTES = 600_000  # an SVG above this is drawn slowly: its PNG is taken instead
#: The word beside a light, which does not go by its colour alone.
LIGHTS: Mapping[str, str] = {"green": "Yes", "yellow": "With care", "red": "No"}
_HERE = Path(__file__).parent
_SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
)


def render_page(template: str, **context: Any) -> str:
    """Fill one of the templates; all that it is given is escaped unless it is ``Markup``."""
    script = _asset("script.js")
    digest = b64encode(sha256(script.encode()).digest()).decode()
    policy = (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
    # The script goes in unchanged: the policy allows exactly these bytes.
    return render_template(
        template, style=Markup(_asset("style.css")), script=Markup(script), policy=policy, **context
    )


def render_template(template: str, **context: Any) -> str:
    """Fill one of the templates that need neither style nor script inside; all is escaped."""
    return _environment().get_template(template).render(**context)


def asset(name: Literal["style.css", "script.js"]) -> str:
    """The design and the script of all pages, for one that has them in files of their own."""
    return _asset(name)


def data_uri(image: str | bytes) -> str:
    """The image as an address that contains it; text is taken as SVG.

    Raises ``ValueError`` for bytes that no browser would show.
    """
    if isinstance(image, str):
        # An SVG in an <img> runs no script, loads nothing and keeps its ids to itself.
        return f"data:image/svg+xml;base64,{b64encode(image.encode()).decode()}"
    return f"data:{_media_type(image)};base64,{b64encode(image).decode()}"


def figure_uri(figure: Figure) -> str:
    """The figure as a data address: its PNG where its SVG is too large to be drawn quickly."""
    image = figure.image
    if isinstance(image, str) and len(image) > FIGURE_BYTES and figure.png is not None:
        image = figure.png
    return data_uri(image)


def limit_galleries(
    galleries: Sequence[Gallery], budget_bytes: int = PICTURE_BYTES
) -> tuple[Gallery, ...]:
    """Leave out the last pictures of the largest galleries until all fit into the budget.

    Each gallery keeps its order and remembers how many images there are in all. Names
    become fit for addresses inside the page, each its own.
    """
    names: list[str] = []
    for gallery in galleries:
        name = re.sub(r"[^A-Za-z0-9]+", "-", gallery.name).strip("-") or "pictures"
        names.append(name if name not in names else f"{name}-{len(names)}")
    sizes = [[len(picture.image) for picture in gallery.pictures] for gallery in galleries]
    kept = [len(row) for row in sizes]
    total = sum(sum(row) for row in sizes)
    while total > budget_bytes and any(kept):
        largest = max(range(len(kept)), key=kept.__getitem__)
        kept[largest] -= 1
        total -= sizes[largest][kept[largest]]
    return tuple(
        replace(
            gallery,
            name=name,
            pictures=tuple(gallery.pictures[:count]),
            total=len(gallery.pictures) if gallery.total is None else gallery.total,
        )
        for gallery, name, count in zip(galleries, names, kept, strict=True)
    )


def limit_callouts(callouts: Iterable[Callout], pictures_each: int = 12) -> tuple[Callout, ...]:
    """Callouts with at most so many pictures each."""
    return tuple(
        replace(callout, pictures=tuple(callout.pictures[:pictures_each])) for callout in callouts
    )


def _media_type(image: bytes) -> str:
    for signature, media_type in _SIGNATURES:
        if image.startswith(signature):
            return media_type
    if image[:4] == b"RIFF" and image[8:12] == b"WEBP":
        return "image/webp"
    raise ValueError("a picture in a report must be PNG, JPEG, WebP or GIF")


def _column_decimals(table: Table) -> list[int]:
    return [
        meaningful_decimals(*(cell for cell in cells if isinstance(cell, Number)))
        for cells in ([row[index] for row in table.rows] for index in range(len(table.columns)))
    ]


def _scales(table: Table) -> list[tuple[float, float]]:
    """The scale of each column's whiskers."""
    scales = []
    for index, column in enumerate(table.columns):
        cells = (row[index] for row in table.rows)
        low, high = column_scale([cell for cell in cells if isinstance(cell, Number)])
        if column.kind == "share" and high <= 1.1:
            high = min(high, 1.0)
        scales.append((low, high))
    return scales


def _cell_value(cell: Cell) -> float | None:
    value = cell.value if isinstance(cell, Number) else cell
    return float(value) if isinstance(value, int | float) else None


def _best_values(table: Table) -> list[float | None]:
    """The best value of each column; None where no end is best or there is no choice."""
    best: list[float | None] = []
    for index, column in enumerate(table.columns):
        found = [_cell_value(row[index]) for row in table.rows]
        values = [value for value in found if value is not None]
        if not column.best or len(set(values)) < 2:
            best.append(None)
        else:
            best.append(max(values) if column.best == "high" else min(values))
    return best


def _describe(picture: Picture) -> str:
    """What a screen reader says for a picture."""
    parts = [picture.caption or picture.path or "image"]
    if picture.true:
        parts.append(f"labelled {picture.true}")
    if picture.predicted:
        parts.append(f"called {picture.predicted}")
    if picture.confidence is not None:
        parts.append(f"with {format_value(picture.confidence, 'share')} confidence")
    return ", ".join(parts)


def _judgements(judgements: Sequence[str]) -> str:
    """How many conclusions there are of each kind, "2 not in order, 5 in order"."""
    words = {"bad": "not in order", "too_few": "with too few images to tell", "good": "in order"}
    counts = {word: judgements.count(kind) for kind, word in words.items()}
    return ", ".join(f"{count} {word}" for word, count in counts.items() if count)


def _without_word(answer: str) -> str:
    """The answer without the word that stands large above it: "No: too few" is "Too few"."""
    for word in LIGHTS.values():
        if answer.startswith(f"{word}: "):
            answer = answer.removeprefix(f"{word}: ")
    return answer[:1].upper() + answer[1:]


def _class_names(pictures: Sequence[Picture], attribute: str) -> list[str]:
    names = {getattr(picture, attribute) for picture in pictures} - {""}
    return sorted(names, key=lambda name: (name.casefold(), name))


@cache
def _asset(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        data_uri=data_uri,
        figure_uri=figure_uri,
        cell=format_cell,
        day=day,
        judgements=_judgements,
        without_word=_without_word,
        interval=format_interval,
        number=format_value,
        sort_key=sort_key,
        describe=_describe,
        decimals=meaningful_decimals,
        unbroken=unbroken,
    )
    environment.tests.update(
        interval_number=lambda cell: isinstance(cell, Number),
        numeric=lambda column: column.kind != "text",
    )
    environment.globals.update(
        MAXIMUM_ROWS=MAXIMUM_ROWS,
        LIGHTS=LIGHTS,
        interval_bar=interval_bar,
        headline_scale=headline_scale,
        heat_step=heat_step,
        scales=_scales,
        column_decimals=_column_decimals,
        best_values=_best_values,
        cell_value=_cell_value,
        class_names=_class_names,
    )
    return environment
