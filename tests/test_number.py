"""A number, its interval, or why there is none: in words and in JSON."""

from __future__ import annotations

import json

import pytest

from tellapart.number import Number, undefined


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (Number(0.75, 0.3, 0.95, "wilson"),
         '{"value": 0.75, "low": 0.3, "high": 0.95, "method": "wilson"}'),
        (Number(0.75, 0.3, 0.95, "jackknife", note="over 2 classes"),
         '{"value": 0.75, "low": 0.3, "high": 0.95, "method": "jackknife", '
         '"note": "over 2 classes"}'),
        (undefined("no image is cat"),
         '{"value": null, "low": null, "high": null, "method": null, '
         '"reason": "no image is cat"}'),
    ],
)  # fmt: skip
def test_in_json(number: Number, text: str) -> None:
    assert json.dumps(number.to_json()) == text
    assert Number.from_json(json.loads(text)) == number


def test_in_words() -> None:
    number = Number(0.9865, 0.98123, 0.99049)
    assert number.percent(2) == "98.65 %"
    assert number.limits() == "98.1 % to 99.0 %"
    assert number.with_limits(2) == "98.65 %  (95 %: 98.12 % to 99.05 %)"
    alone = Number(0.5)
    assert (alone.limits(), alone.with_limits()) == ("", "50.0 %")
    assert undefined("none").with_limits() == "-"


def test_what_was_not_measured_is_no_number() -> None:
    assert Number(0.5, 0.4, 0.6).measured() == (0.5, 0.4, 0.6)
    with pytest.raises(ValueError, match="no image is cat"):
        undefined("no image is cat").measured()
    with pytest.raises(ValueError, match="no interval"):
        Number(0.5).measured()
