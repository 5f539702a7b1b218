"""Number: a measured value with its 95 % interval, or the reason why there is none.

It stands to the left of everything that measures, stores or shows a number: run folders,
metrics, comparisons, figures, reports, notebooks and the command line all mean the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from tellapart.wording import percent

Kind = Literal["text", "count", "share", "score", "seconds", "milliseconds", "bytes"]
"""How a number is written: ``share`` 0.98 as 98.0 %, ``score`` as 0.980, ``bytes`` as 1.2 MB."""

#: What stands in a table for a number that is not there.
MISSING = "-"


@dataclass(frozen=True)
class Number:
    """A measured value.

    Attributes:
        value: None where the number is not defined; never 0 or NaN instead.
        low, high: the 95 % interval, None where there is none.
        method: of the interval, see :mod:`tellapart.evaluation.intervals`.
        reason: why ``value`` is None, in a few words.
        note: what should be known about the value.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    method: str | None = None
    reason: str = ""
    note: str = ""

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Number:
        """The inverse of :meth:`to_json`.

        >>> Number.from_json({"value": None, "low": None, "high": None, "method": None,
        ...                   "reason": "one class only"}).reason
        'one class only'

        Raises:
            KeyError, TypeError: the content is no number.
        """
        values = content["value"], content.get("low"), content.get("high")
        for value in values:
            if isinstance(value, bool) or not isinstance(value, int | float | None):
                raise TypeError(f"{value!r:.40} is no number")
        texts = content.get("reason", ""), content.get("note", "")
        return cls(*values, content.get("method"), *texts)

    def to_json(self) -> dict[str, Any]:
        """As it stands in ``metrics.json``: a "note" where there is one, a "reason" for None.

        >>> Number(0.98, 0.97, 0.99, "wilson").to_json()
        {'value': 0.98, 'low': 0.97, 'high': 0.99, 'method': 'wilson'}
        """
        content: dict[str, Any] = {
            "value": self.value, "low": self.low, "high": self.high, "method": self.method,
        }  # fmt: skip
        if self.note:
            content["note"] = self.note
        if self.value is None:
            content["reason"] = self.reason
        return content

    @property
    def known(self) -> bool:
        """It has a value."""
        return self.value is not None

    def measured(self) -> tuple[float, float, float]:
        """Value, low and high of a number that has all three.

        Raises:
            ValueError: the number is not defined, or has no interval.
        """
        if self.value is None or self.low is None or self.high is None:
            raise ValueError(self.reason or "the number has no interval")
        return self.value, self.low, self.high

    def percent(self, decimals: int = 1) -> str:
        """The value as a percentage, a dash where there is none.

        >>> Number(0.98, 0.97, 0.99).percent()
        '98.0 %'
        """
        return MISSING if self.value is None else percent(self.value, decimals)

    def limits(self, decimals: int = 1) -> str:
        """The interval in percent, empty where there is none.

        >>> Number(0.98, 0.97, 0.99).limits()
        '97.0 % to 99.0 %'
        """
        if self.low is None or self.high is None:
            return ""
        return f"{percent(self.low, decimals)} to {percent(self.high, decimals)}"

    def with_limits(self, decimals: int = 1) -> str:
        """Value and interval in percent, for a line of its own.

        >>> Number(0.98, 0.97, 0.99).with_limits()
        '98.0 %  (95 %: 97.0 % to 99.0 %)'
        """
        limits = self.limits(decimals)
        return f"{self.percent(decimals)}  (95 %: {limits})" if limits else self.percent(decimals)


def undefined(reason: str) -> Number:
    """A number that has no value here, and why."""
    return Number(None, reason=reason)
