"""Responses that are JSON."""

from __future__ import annotations

import json
from typing import Any

from starlette.responses import Response


class Json(Response):
    """JSON in which names stand as they are; a name that is no Unicode, with escapes."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """The bytes that are sent."""
        text = json.dumps(content, ensure_ascii=False, allow_nan=False)
        return text.encode("utf-8", "backslashreplace")
