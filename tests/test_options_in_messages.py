"""A message that names an option names one that exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import typer

import tellapart
from tellapart.cli import app

SOURCE = Path(tellapart.__file__).parent
_OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*[a-z](?![\w-])")


def known_options() -> set[str]:
    command = typer.main.get_command(app)
    found = {"--help"}
    for verb in [command, *command.commands.values()]:  # type: ignore[attr-defined]
        found |= {option for parameter in verb.params for option in parameter.opts}
    return found


def options_in_strings(file: Path) -> set[str]:
    """Options in string literals, f-strings included; those of pip are not ours."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        text = node.value if isinstance(node, ast.Constant) else None
        if isinstance(text, str) and "pip install" not in text:
            found |= set(_OPTION.findall(text))
    return found


def test_verbs_that_read_tables_take_their_columns() -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    for verb in ("train", "inspect", "subset", "ladder", "evaluate"):
        options = {option for parameter in commands[verb].params for option in parameter.opts}
        assert {"--path-column", "--label-column", "--root"} <= options
        assert ("--min-images" in options) is (verb != "evaluate")


def test_every_option_that_a_string_names_exists() -> None:
    known = known_options()
    assert {"--path-column", "--label-column", "--min-images", "--root", "--set"} <= known
    named = {file: options_in_strings(file) for file in SOURCE.rglob("*.py")}
    assert "--path-column" in set().union(*named.values())
    unknown = {
        f"{file.relative_to(SOURCE)}: {option}"
        for file, options in named.items()
        for option in options - known
    }
    assert not unknown
