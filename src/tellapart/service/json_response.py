"""Responses that are JSON."""

from __future__ import annotations

import json
from typing import Any

from starlette.responses import JSONResponse


class Json(JSONResponse):
    """JSON in which names stand as they are; a name that is no Unicode, with escapes."""

    def render(self, content: Any) -> bytes:
        """The bytes that are sent."""
        text = json.dumps(content, ensure_ascii=False, allow_nan=False)
        return text.encode("utf-8", "backslashreplace")
