"""Imports go one way, importing costs little, and the verbs are the public API."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import tellapart

SOURCE = Path(tellapart.__file__).parent

#: Each layer may import itself and those before it.
LAYERS = (
    ("errors", "notebook", "progress", "stopwatch", "wording"),
    ("cache", "machine", "recipe", "recipe_reading", "run"),
    ("data",),
    ("models",),
    ("training", "evaluation"),
    ("comparison", "explanation", "exporting", "service"),
    ("report",),
    ("verbs",),
    ("cli",),
)
NUMBER = {name: number for number, layer in enumerate(LAYERS) for name in layer}


def imports_of(file: Path) -> set[str]:
    """Top-level parts of tellapart that a file imports, lazily or not."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module]
            if node.module == "tellapart":
                names = [f"tellapart.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        found |= {name.split(".")[1] for name in names if name.startswith("tellapart.")}
    return found


def test_modules_import_only_from_their_left() -> None:
    files = [file for file in SOURCE.rglob("*.py") if file.name != "__init__.py"]
    assert len(files) > 40
    wrong = []
    for file in files:
        own = file.relative_to(SOURCE).parts[0].removesuffix(".py")
        for other in imports_of(file) - {"__version__"}:
            if NUMBER[other] > NUMBER[own]:
                wrong.append(f"{file.relative_to(SOURCE)} imports {other}")
    assert not wrong


def test_help_needs_no_heavy_library() -> None:
    code = (
        "import sys, tellapart.cli; "
        "heavy = {'torch', 'numpy', 'pandas', 'matplotlib', 'sklearn', 'timm', 'pydantic'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_verb_is_public_and_a_command() -> None:
    from tellapart.cli import app

    commands = {command.callback.__name__ for command in app.registered_commands}
    public = set(tellapart.__all__) - {"open_run", "TellapartError"}
    assert commands == public
    for name in public:
        assert callable(getattr(tellapart, name))


def test_the_architecture_page_names_every_module() -> None:
    page = SOURCE.parents[1] / "docs" / "architecture.md"
    text = page.read_text("utf-8")
    missing = [
        name
        for file in SOURCE.rglob("*.py")
        if file.name != "__init__.py"
        and f"`{(name := file.relative_to(SOURCE).as_posix())}`" not in text
    ]
    assert not missing


def test_the_page_of_mistakes_names_tests_that_are_there() -> None:
    root = Path(__file__).parent
    page = (root.parent / "docs" / "mistakes.md").read_text("utf-8")
    named = set(re.findall(r"`(test_\w+)`", page))
    there = {
        node.name
        for file in root.rglob("test_*.py")
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef)
    }
    assert len(named) > 20 and not named - there
