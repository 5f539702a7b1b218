"""Refused: a request that is answered with a sentence on what is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping


class Refused(Exception):
    """Why a request is not answered: its status, and a sentence on what to do."""

    def __init__(
        self, status: int, sentence: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence
        self.headers = dict(headers or {})


def busy(what: str, seconds: float) -> Refused:
    """Come again in so many seconds."""
    wait = max(1, round(seconds))
    return Refused(429, f"{what} Try again in {wait} s.", {"Retry-After": str(wait)})
