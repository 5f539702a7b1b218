"""What a request prefers, by its header Prefer (RFC 7240)."""

from __future__ import annotations

from collections.abc import Iterable

#: A picture that cannot be read gets an answer that says so, where all are such, too.
LENIENT = "handling=lenient"


def is_lenient(headers: Iterable[str]) -> bool:
    """Whether one of the preferences is :data:`LENIENT`; those that are not known do not count.

    >>> is_lenient(["respond-async, Handling = \\"lenient\\"; because=x"])
    True
    >>> is_lenient(["handling=strict, handling=lenient"])  # the first one counts
    False
    """
    for preference in ",".join(headers).split(","):
        name, _, value = preference.partition(";")[0].partition("=")
        if name.strip().lower() == "handling":
            return value.strip().strip('"').lower() == "lenient"
    return False
