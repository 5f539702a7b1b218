"""Lines and branches that the fast tests reach, by module: a table, and a mark that must be met.

Usage: python tools/coverage_table.py coverage.json [--at-least 92] [--write]   (``make coverage``)

``coverage.json`` is what ``coverage json`` writes. ``--write`` puts the table of packages, and of
the modules below 90 %, into docs/reliability.md, and every module into
benchmarks/results/coverage.csv. Ends with 1 where all modules together are below ``--at-least``
percent of lines and branches.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "reliability.md"
MODULES = ROOT / "benchmarks" / "results" / "coverage.csv"
#: Modules below this percentage are named on the page.
NAMED_BELOW = 90.0
BEGIN, END = "<!-- coverage: begin -->", "<!-- coverage: end -->"


@dataclass(frozen=True)
class Reached:
    """What was reached of a module, a package or all; lines are statements."""

    name: str
    lines: int
    lines_reached: int
    branches: int
    branches_reached: int

    @property
    def percent(self) -> float:
        """Of lines and branches together, as coverage.py counts; nothing to reach is all.

        >>> Reached("data/split.py", 8, 7, 2, 1).percent
        80.0
        """
        whole = self.lines + self.branches
        return 100.0 * (self.lines_reached + self.branches_reached) / whole if whole else 100.0


def modules(report: dict[str, Any]) -> list[Reached]:
    """A row for every module of ``tellapart``, by its path in the package."""
    rows = []
    for file, facts in report["files"].items():
        _, _, name = file.replace("\\", "/").partition("src/tellapart/")
        found = facts["summary"]
        if name:
            rows.append(
                Reached(
                    name, found["num_statements"], found["covered_lines"],
                    found["num_branches"], found["covered_branches"],
                )
            )  # fmt: skip
    return sorted(rows, key=lambda row: row.name)


def together(name: str, rows: Iterable[Reached]) -> Reached:
    """Several rows as one.

    >>> rows = [Reached("a.py", 10, 9, 0, 0), Reached("b.py", 6, 6, 4, 3)]
    >>> together("all", rows).percent
    90.0
    """
    kept = list(rows)
    return Reached(
        name,
        sum(row.lines for row in kept),
        sum(row.lines_reached for row in kept),
        sum(row.branches for row in kept),
        sum(row.branches_reached for row in kept),
    )


def packages(rows: Iterable[Reached]) -> list[Reached]:
    """One row a package; modules that lie in none are "(top)"."""
    by_package: dict[str, list[Reached]] = {}
    for row in rows:
        package, inside, _ = row.name.partition("/")
        by_package.setdefault(package if inside else "(top)", []).append(row)
    return [together(name, by_package[name]) for name in sorted(by_package)]


def table(rows: list[Reached]) -> str:
    """The rows in Markdown: all, packages, then what is below the mark."""
    low = [row for row in rows if row.percent < NAMED_BELOW]
    lines = ["| | lines | branches | both |", "| --- | --- | --- | --- |"]
    lines += [_line(row) for row in (together("all", rows), *packages(rows))]
    if low:
        lines += ["", f"Of {len(rows)} modules, {len(low)} are below {NAMED_BELOW:.0f} %:", ""]
        lines += ["| module | lines | branches | both |", "| --- | --- | --- | --- |"]
        lines += [_line(row) for row in sorted(low, key=lambda row: row.percent)]
    else:
        lines += ["", f"All {len(rows)} modules reach {NAMED_BELOW:.0f} %."]
    return "\n".join(lines)


def _line(row: Reached) -> str:
    lines = _share(row.lines_reached, row.lines)
    branches = _share(row.branches_reached, row.branches)
    return f"| {row.name} | {lines} | {branches} | {row.percent:.1f} % |"


def _share(part: int, whole: int) -> str:
    return f"{part:,} of {whole:,}" if whole else "-"


def write(rows: list[Reached], page: Path = PAGE, csv_file: Path = MODULES) -> None:
    """Put the table between the page's marks, and every module into the CSV."""
    text = page.read_text("utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise SystemExit(f"{page} has no place for the table ({BEGIN} ... {END})")
    page.write_text(f"{before}{BEGIN}\n\n{table(rows)}\n\n{END}{after}", "utf-8")
    with csv_file.open("w", encoding="utf-8", newline="") as stream:
        out = csv.writer(stream, lineterminator="\n")
        out.writerow(
            ["module", "lines", "lines_reached", "branches", "branches_reached", "percent"]
        )
        for row in rows:
            out.writerow(
                [row.name, row.lines, row.lines_reached, row.branches, row.branches_reached,
                 f"{row.percent:.1f}"]
            )  # fmt: skip


def main(words: list[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("report", type=Path)
    parser.add_argument("--at-least", type=float, default=0.0, metavar="PERCENT")
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args(words)
    rows = modules(json.loads(given.report.read_text("utf-8")))
    if not rows:
        print(f"{given.report} tells of no module of tellapart", file=sys.stderr)
        return 1
    if given.write:
        write(rows)
    print(table(rows))
    reached = together("all", rows).percent
    if reached < given.at_least:
        print(
            f"The tests reach {reached:.2f} % of lines and branches; {given.at_least:g} % is the "
            "mark.", file=sys.stderr,
        )  # fmt: skip
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
