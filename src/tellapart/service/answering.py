"""From a picture's answer to the JSON of a response."""

from __future__ import annotations

from typing import Any

from tellapart.prediction.answers import Answer


def answer_to_json(answer: Answer, top: int) -> dict[str, Any]:
    """An answer as a :class:`~tellapart.service.schema.PictureAnswer`; ``top`` classes ranked."""
    if answer.error:
        return {"name": answer.path, "error": answer.error}
    content = answer.to_json()
    del content["path"]
    ranked = sorted(answer.probabilities.items(), key=lambda item: -item[1])[:top]
    likeliest = [{"class": name, "probability": p} for name, p in ranked]
    return {"name": answer.path, "likeliest": likeliest, **content}
