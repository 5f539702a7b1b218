"""Every verb gives one kind of thing: lines, JSON, an exit code, and a face in notebooks."""

from __future__ import annotations

import typing
from typing import Any

import pytest

import tellapart as ta
from tellapart.result import ShortRepr
from tellapart.verbs.recipes import Recipes

VERBS = [name for name, module in ta._PUBLIC.items() if module.startswith("tellapart.verbs.")]


def results_of(verb: Any) -> list[type]:
    given = typing.get_type_hints(verb)["return"]
    return list(typing.get_args(given)) or [given]


@pytest.mark.parametrize("name", VERBS)
def test_what_a_verb_gives_has_the_one_interface(name: str) -> None:
    found = results_of(getattr(ta, name))
    assert found
    for kind in found:
        for member in ("lines", "to_json", "_repr_html_"):
            assert callable(getattr(kind, member, None)), (kind, member)
        # A class attribute, a property, or a field of a dataclass.
        assert hasattr(kind, "exit_code") or "exit_code" in kind.__dataclass_fields__, kind
        if name not in ("train", "resume", "demo"):  # a Run shows its path, to be copied
            assert issubclass(kind, ShortRepr), kind


def test_all_verbs_are_looked_at() -> None:
    assert len(VERBS) >= 21


def test_a_recipe_shows_itself_in_full_and_escaped() -> None:
    one = Recipes(({"name": "mine", "title": "Cats & dogs"},), "name: mine  # <b>\nmethod: probe\n")
    html = one._repr_html_()
    assert "# &lt;b&gt;\nmethod: probe" in html and "Cats &amp; dogs" in html
    assert "<table" in ta.recipes()._repr_html_() and "<pre" not in ta.recipes()._repr_html_()
