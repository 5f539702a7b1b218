"""The table of what the tests reach, and the mark of ``make coverage``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))

import coverage_table


def summary(lines: int, reached: int, branches: int = 0, branches_reached: int = 0) -> Any:
    return {
        "summary": {
            "num_statements": lines, "covered_lines": reached,
            "num_branches": branches, "covered_branches": branches_reached,
        }
    }  # fmt: skip


@pytest.fixture
def report(tmp_path: Path) -> Path:
    """180 lines and branches of 200: 90 %."""
    files = {
        "src/tellapart/data/split.py": summary(80, 80, 20, 18),  # 98 %
        "src/tellapart/data/low.py": summary(40, 24, 10, 8),  # 64 %
        "src/tellapart/cli.py": summary(50, 50),
        "tests/test_x.py": summary(1000, 0),
    }
    file = tmp_path / "coverage.json"
    file.write_text(json.dumps({"files": files}), "utf-8")
    return file


def test_modules_below_the_mark_are_named_and_packages_added_up(
    report: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert coverage_table.main([str(report), "--at-least", "90"]) == 0

    told = capsys.readouterr().out.splitlines()
    assert "| all | 154 of 170 | 26 of 30 | 90.0 % |" in told
    assert "| data | 104 of 120 | 26 of 30 | 86.7 % |" in told
    assert "| (top) | 50 of 50 | - | 100.0 % |" in told
    assert "Of 3 modules, 1 are below 90 %:" in told
    assert told[-1] == "| data/low.py | 24 of 40 | 8 of 10 | 64.0 % |"


def test_too_little_is_a_failure(report: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert coverage_table.main([str(report), "--at-least", "90.1"]) == 1
    assert "90.00 % of lines and branches; 90.1 % is the mark" in capsys.readouterr().err


def test_the_table_takes_the_place_of_the_last_one(report: Path, tmp_path: Path) -> None:
    page, modules = tmp_path / "page.md", tmp_path / "modules.csv"
    page.write_text(
        f"before\n{coverage_table.BEGIN}\nold\n{coverage_table.END}\nafter\n", encoding="utf-8"
    )
    rows = coverage_table.modules(json.loads(report.read_text("utf-8")))

    coverage_table.write(rows, page, modules)
    coverage_table.write(rows, page, modules)

    text = page.read_text("utf-8")
    assert text.startswith("before\n") and text.endswith("after\n") and "old" not in text
    assert text.count("| data/low.py |") == 1
    assert modules.read_text("utf-8").splitlines()[1:] == [
        "cli.py,50,50,0,0,100.0", "data/low.py,40,24,10,8,64.0", "data/split.py,80,80,20,18,98.0",
    ]  # fmt: skip
