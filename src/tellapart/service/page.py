"""The page at ``/``: its HTML, the files it loads, and what it asks to show the models.

The page itself says nothing of the models, so that it can be had without the token; what it shows
it asks of the service. It loads nothing from another host, and its policy forbids to.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from fastapi import FastAPI, Request, Response

from tellapart.report.page import asset, render_template
from tellapart.service.card import page_of
from tellapart.service.models import Models, ServedModel
from tellapart.service.refusals import Refused

_STATIC = Path(__file__).parent / "static"
#: The files of the page by name; those of the reports are shared with it.
_OWN = ("page.css", "page.js", "intake.js", "results.js", "asking.js", "words.js", "elements.js")
_TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8"}
#: Of every answer of the page. Pictures are shown from memory (``blob:``, ``data:``).
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src 'self' blob: data:; media-src 'self' blob:; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Cache-Control": "no-cache",
}


@cache
def page(*, asks_token: bool = False) -> str:
    """The HTML of the page, without anything of a model.

    Args:
        asks_token: whether the service wants a token, which the page then asks for.
    """
    return render_template("service.html.j2", report=None, asks_token=asks_token)


@cache
def page_file(name: str) -> tuple[bytes, str, str] | None:
    """Content, media type and tag of a file that the page loads; None: there is none."""
    if name == "report.css":
        content = asset("style.css")
    elif name == "report.js":
        content = asset("script.js")
    elif name in _OWN:
        content = (_STATIC / name).read_text("utf-8")
    else:
        return None
    encoded = content.encode()
    return encoded, _TYPES[Path(name).suffix], f'"{sha256(encoded).hexdigest()[:16]}"'


def add_page(
    app: FastAPI,
    models: Models,
    private: Sequence[Any],
    *,
    asks_token: bool = False,
    on_visit: Callable[[], None] = lambda: None,
) -> None:
    """Add the page and its files to the application.

    Args:
        models: those that answer.
        private: what must be given before anything is said of a model.
        asks_token: whether that is a token.
        on_visit: called when the page shows the models to somebody.
    """
    told: WeakKeyDictionary[ServedModel, dict[str, Any]] = WeakKeyDictionary()

    @app.get("/", include_in_schema=False)
    def index() -> Response:
        """The page to try models on."""
        return Response(page(asks_token=asks_token), media_type="text/html", headers=HEADERS)

    def pages_of_models() -> list[dict[str, Any]]:
        shown = list(models)
        for model in shown:
            if model not in told:
                told[model] = page_of(model.name, model.predictor, model.run)
        return [told[model] for model in shown]

    @app.get("/page/models", include_in_schema=False, dependencies=list(private))
    async def models_of_page() -> Response:
        """What the page shows of the models."""
        content = json.dumps(await asyncio.to_thread(pages_of_models), ensure_ascii=False)
        on_visit()
        return Response(
            content.encode("utf-8", "backslashreplace"), media_type="application/json",
            headers={"Cache-Control": "no-store"}
        )  # fmt: skip

    @app.get("/page/{name}", include_in_schema=False)
    def file_of_page(name: str, request: Request) -> Response:
        """A file that the page loads."""
        found = page_file(name)
        if found is None:
            raise Refused(404, "The page has no such file.")
        content, media_type, tag = found
        headers = {**HEADERS, "ETag": tag}
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        return Response(content, media_type=media_type, headers=headers)
