"""Guard: what holds for every request, whatever its address: headers, origin, counting."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Any

from starlette.responses import Response

from tellapart.service.json_response import Json
from tellapart.service.settings import HEADER_BYTES

Scope = dict[str, Any]
#: Told of the address ("" if none answers there), the status and the seconds of each request.
Count = Callable[[str, int, float], None]

#: Of every answer that does not say otherwise.
_USUALLY = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
)


class Guard:
    """An ASGI application around another.

    Args:
        count: told of each request.
        is_stopping: whether each answer closes its connection.
    """

    def __init__(self, app: Any, count: Count, is_stopping: Callable[[], bool]) -> None:
        self._app = app
        self._count = count
        self._is_stopping = is_stopping

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        """Answer a request, or let the application answer it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = perf_counter(), 500

        async def tell(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                given = list(message.get("headers", ()))
                names = {name.lower() for name, _ in given}
                message["headers"] = given + [h for h in _USUALLY if h[0] not in names]
                if self._is_stopping():
                    message["headers"].append((b"connection", b"close"))
            await send(message)

        refusal = _refusal(scope)
        try:
            await (refusal or self._app)(scope, receive, tell)
        finally:
            route = scope.get("route")
            path = str(getattr(route, "path", ""))
            self._count(path, status, perf_counter() - started)


def _refusal(scope: Scope) -> Response | None:
    """Why a request is not looked at."""
    headers = scope["headers"]
    size = len(scope.get("raw_path", b"")) + len(scope.get("query_string", b""))
    if size + sum(len(name) + len(value) for name, value in headers) > HEADER_BYTES:
        return Json({"error": "The headers of the request are too large."}, 431)
    # A page of another site may post to this one without being asked; browsers say that it did.
    if scope["method"] == "POST" and (b"sec-fetch-site", b"cross-site") in headers:
        return Json({"error": "Pages of other sites may not ask this service."}, 403)
    return None
