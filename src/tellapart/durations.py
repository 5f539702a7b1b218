"""How long something may take, as people write it: ``90``, ``45s``, ``5m``, ``1.5h``, ``1h30m``."""

from __future__ import annotations

import math
import re

from tellapart.errors import TellapartError

_SECONDS = {"": 1.0, "s": 1.0, "sec": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_PIECE = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]*)\s*")
#: A month: more is a slip of the finger.
LONGEST_SECONDS = 31 * 86400.0


def seconds_of(text: str | float, option: str = "--time") -> float:
    """The seconds that a duration means; a number without a unit is seconds.

    >>> seconds_of("5m"), seconds_of("1h30m"), seconds_of(45), seconds_of("1.5 h")
    (300.0, 5400.0, 45.0, 5400.0)

    Raises:
        TellapartError: it is no duration above zero and below a month; ``option`` is named.
    """
    wrong = TellapartError(
        f"{option} '{text}' is no time; give a number and a unit, as in 30s, 5m, 1h30m or 2h."
    )
    words = str(text).strip().lower()
    pieces = _PIECE.findall(words)
    if not pieces or _PIECE.sub("", words) or any(unit not in _SECONDS for _, unit in pieces):
        raise wrong
    if len(pieces) > 1 and not all(unit for _, unit in pieces):
        raise wrong
    seconds = math.fsum(float(number) * _SECONDS[unit] for number, unit in pieces)
    if not 0 < seconds <= LONGEST_SECONDS:
        raise wrong
    return seconds
