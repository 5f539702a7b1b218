"""docs/architecture.md says where a change belongs: what it names is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import tellapart

SOURCE = Path(tellapart.__file__).parent
PAGE = (SOURCE.parents[1] / "docs" / "architecture.md").read_text("utf-8")
TABLE = PAGE.partition("## Where a change belongs\n")[2].partition("\n## ")[0]
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in TABLE.splitlines()
    if line.startswith("| ")
][2:]
#: What a cell names that is no name in a Python file.
ELSEWHERE = {
    "NAME.yaml",
    "recipes/",
    "verbs/",
    "--version",
    "docs/command-line.md",
    "docs/reading-a-report.md",
    "docs/tuning.md",
    "fit",
}


def names_in(file: Path) -> set[str]:
    """Functions, classes and tables of a module, those of classes as ``Class.name`` too."""
    found = set()
    for node in ast.parse(file.read_text("utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign):
            targets = [t for target in node.targets for t in ast.walk(target)]
            found |= {t.id for t in targets if isinstance(t, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found.add(node.target.id)
    return found


def test_there_are_more_than_twenty() -> None:
    assert len(ROWS) > 20 and all(len(row) == 4 for row in ROWS)


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_what_a_row_names_is_there(row: list[str]) -> None:
    opened = row[1].strip("`")
    place = SOURCE / opened
    assert place.is_dir() if opened.endswith("/") else place.is_file()
    known = ELSEWHERE | {"Listing", "Problem", "Result", "Task.callbacks"}
    if place.is_file():
        known |= names_in(place)
    for also in re.findall(r"`([\w/]+\.py)`", row[3]):
        known |= names_in(SOURCE / also) | {also}
    named = set(re.findall(r"`([^`]+)`", " ".join(row[2:])))
    assert named <= known


@pytest.mark.parametrize(
    "table",
    [
        "OPTIMIZERS",
        "SCHEDULES",
        "WAYS",
        "NETWORKS",
        "PACKAGES",
        "ENGINES",
        "PICTURE_FORMATS",
        "TABLE_READERS",
        "METRICS",
    ],
)
def test_the_tables_are_named(table: str) -> None:
    assert any(f"`{table}`" in row[2] for row in ROWS)
