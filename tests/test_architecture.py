"""Imports go one way, importing costs little, and the verbs are the public API."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import tellapart

SOURCE = Path(tellapart.__file__).parent

#: Each layer may import itself and those before it.
LAYERS = (
    (
        "deadline",
        "durations",
        "errors",
        "extras",
        "files",
        "folders",
        "leftovers",
        "lock",
        "notebook",
        "number",
        "progress",
        "result",
        "stopwatch",
        "wording",
    ),
    ("arrays", "cache", "integrity", "machine", "openmp", "recipe", "recipe_reading", "run_info"),
    ("pixels",),
    ("data",),
    ("audit",),
    ("models",),
    ("package_licences",),
    ("engines",),
    ("evaluation",),
    ("monitoring",),
    ("prediction",),
    ("predictors", "run", "run_images"),
    ("training",),
    ("search", "tuning"),
    ("comparison", "explanation", "exporting", "verdict"),
    ("report",),
    ("service",),
    ("verbs",),
    ("estimator",),
    ("terminal",),
    ("cli",),
    ("__main__",),
)
PAGE = SOURCE.parents[1] / "docs" / "architecture.md"
MODULES = "## Modules\n"
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


def modules() -> dict[str, Path]:
    """Every module of tellapart by its dotted name; a package goes by its own."""
    named = {}
    for file in SOURCE.rglob("*.py"):
        parts = file.relative_to(SOURCE.parent).with_suffix("").parts
        named[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return named


def modules_imported_by(file: Path, known: dict[str, Path]) -> set[str]:
    """The modules of tellapart that a file imports anywhere in it; all names are absolute."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module in known:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found.add(inner if inner in known else node.module)
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name in known}
    return found


def circle_in(imports: dict[str, set[str]]) -> list[str]:
    """The modules of a circle, or none."""
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_no_modules_import_each_other_in_a_circle() -> None:
    known = modules()
    imports = {name: modules_imported_by(file, known) for name, file in known.items()}
    assert len(imports) > 150 and sum(map(len, imports.values())) > 500
    for name in imports:  # the package itself only names what is in it, and its version
        imports[name] -= {"tellapart", name}
    assert not circle_in(imports)


def test_a_circle_is_found() -> None:
    assert circle_in({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": set()})
    assert not circle_in({"a": {"b", "c"}, "b": {"c"}})


def test_imports_are_absolute() -> None:
    relative = [
        file.name
        for file in SOURCE.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert not relative


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
    public = set(tellapart.__all__) - {
        "ImageClassifier",
        "open_predictor",
        "open_run",
        "resume",
        "TellapartError",
    }
    assert commands == public
    for name in public:
        assert callable(getattr(tellapart, name))


def module_tables() -> str:
    """The tables of modules in docs/architecture.md: file and first line of its docstring."""
    sections = []
    for names in LAYERS:
        files = [
            file
            for name in names
            for file in (
                [SOURCE / f"{name}.py"]
                if (SOURCE / f"{name}.py").is_file()
                else sorted((SOURCE / name).rglob("*.py"))
            )
            if file.name != "__init__.py" or (file.parent != SOURCE and len(file.read_text()) > 900)
        ]
        if not files:
            continue
        rows = [
            f"| `{file.relative_to(SOURCE).as_posix()}` | "
            f"{(ast.get_docstring(ast.parse(file.read_text('utf-8'))) or '').splitlines()[0]} |"
            for file in files
        ]
        sections.append(
            "\n".join(
                [f"### {', '.join(names)}", "", "| module | its one job |", "| --- | --- |", *rows]
            )
        )
    return "\n\n".join(sections) + "\n"


def test_the_architecture_page_lists_every_module() -> None:
    """``python tests/test_architecture.py`` writes the tables anew."""
    assert PAGE.read_text("utf-8").partition(MODULES)[2].strip() == module_tables().strip()


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


if __name__ == "__main__":
    before, heading, _ = PAGE.read_text("utf-8").partition(MODULES)
    PAGE.write_text(f"{before}{heading}\n{module_tables()}", "utf-8")
