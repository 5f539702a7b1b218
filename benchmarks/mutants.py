"""Make small mistakes in a module on purpose and see whether its tests notice (mutmut).

    python benchmarks/mutants.py [MODULE ...] [--sample 60] [--seed 0] [--json results.json]

MODULE is one of ``mutants.toml`` ("data/split.py"); without one, all of them. A random sample of
each module's mutants is tried, in a copy of the repository, with the tests that ``mutants.toml``
names. Needs ``pip install mutmut==3.8.1``. Prints the mutants that no test noticed; ends with 1
where fewer were noticed than ``least_killed``. Those that ``mutants.toml`` lists as equivalent,
with the reason, are left out of the count. A mutant with which the tests take too long counts as
noticed; how many did is printed, for on a busy machine it may be the machine.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
TABLE = Path(__file__).with_suffix(".toml")
#: mutmut's exit codes of a mutant that lived: every test passed, or none reached it.
LIVED = {0: "survived", 33: "no test reaches it", 5: "no test reaches it"}
#: Its exit codes of a mutant whose tests took too long (15 times as long as without it): noticed.
TOO_LONG = (36, 24, -24, 152, 255)
_SETTINGS = """
[tool.mutmut]
source_paths = ["src"]
only_mutate = ["src/tellapart/{module}"]
pytest_add_cli_args_test_selection = {tests}
pytest_add_cli_args = {arguments}
also_copy = ["docs", "benchmarks", "README.md", "CHANGELOG.md", "Makefile"]
use_setproctitle = false
use_git_change_detection = false
track_dependencies = false
"""


def try_module(
    module: str,
    tests: list[str],
    *,
    deselect: list[str],
    equivalent: list[list[str]],
    sample: int,
    seed: int,
) -> dict[str, Any]:
    """Try a sample of a module's mutants: counts, and the changes that lived."""
    excused = {(removed, added) for removed, added, _ in equivalent}
    with tempfile.TemporaryDirectory() as temporary:
        copy = Path(temporary) / "repository"
        shutil.copytree(
            REPOSITORY, copy, ignore=shutil.ignore_patterns(".*", "mutants", "__pycache__", "runs")
        )
        selection = json.dumps([f"tests/{name}" for name in tests])
        with (copy / "pyproject.toml").open("a", encoding="utf-8") as file:
            arguments = ["-p", "no:cacheprovider"]
            arguments += [word for test in deselect for word in ("--deselect", test)]
            file.write(
                _SETTINGS.format(module=module, tests=selection, arguments=json.dumps(arguments))
            )
        _mutmut(copy, "run", "no such mutant")
        facts = copy / "mutants" / "src" / "tellapart" / f"{module}.meta"
        if not facts.is_file():
            raise SystemExit(f"mutmut made no mutants of {module}; see what it says in {copy}.")
        names = sorted(json.loads(facts.read_text("utf-8"))["exit_code_by_key"])
        chosen = sorted(random.Random(seed).sample(names, min(sample, len(names))))
        said = _mutmut(copy, "run", *chosen)
        codes = json.loads(facts.read_text("utf-8"))["exit_code_by_key"]
        if all(codes[name] is None for name in chosen):
            raise SystemExit(f"No mutant of {module} was tried; mutmut says:\n{said[-3000:]}")
        lived = {name: LIVED[codes[name]] for name in chosen if codes[name] in LIVED}
        shown = {name: f"{why}\n{_mutmut(copy, 'show', name)}" for name, why in lived.items()}
    alike = [name for name, text in shown.items() if changed_lines(text) in excused]
    untried = sum(codes[name] is None for name in chosen)
    tried = len(chosen) - untried - len(alike)
    return {
        "mutants": len(names),
        "tried": tried,
        "killed": tried - (len(lived) - len(alike)),
        "too_long": sum(codes[name] in TOO_LONG for name in chosen),
        "equivalent": len(alike),
        "lived": {name: text for name, text in shown.items() if name not in alike},
    }


def changed_lines(shown: str) -> tuple[str, str]:
    """What a mutant removes and adds, of mutmut's words: lines stripped, joined by spaces.

    >>> changed_lines("--- a\\n+++ b\\n@@ -1 +1 @@\\n def f():\\n-    return 1\\n+    return 2")
    ('return 1', 'return 2')
    """
    lines = [line for line in shown.splitlines() if not line.startswith(("---", "+++"))]
    removed, added = (
        " ".join(line[1:].strip() for line in lines if line.startswith(sign)) for sign in "-+"
    )
    return removed, added


def _mutmut(folder: Path, *arguments: str) -> str:
    children = ("--max-children", "2") if arguments[0] == "run" else ()
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-m", "mutmut", *arguments, *children],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env=environment | {"OMP_NUM_THREADS": "1"},
    )
    return done.stdout


def main() -> int:
    settings = tomllib.loads(TABLE.read_text("utf-8"))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("modules", nargs="*", metavar="MODULE")
    parser.add_argument("--sample", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    unknown = set(options.modules) - set(settings["modules"])
    if unknown:
        parser.error(f"{', '.join(sorted(unknown))}: not in {TABLE.name}")
    results = {}
    for module in options.modules or settings["modules"]:
        tests = settings["modules"][module]
        found = try_module(
            module,
            tests,
            deselect=settings["deselect"],
            equivalent=settings["equivalent"].get(module, []),
            sample=options.sample,
            seed=options.seed,
        )
        results[module] = found
        share = found["killed"] / max(1, found["tried"])
        print(
            f"{module}: {found['killed']} of {found['tried']} noticed, {share:.0%}"
            f" ({found['too_long']} because the tests took too long)",
            flush=True,
        )
        for name, change in found["lived"].items():
            print(f"--- {name}: {change}")
        if options.json:
            options.json.write_text(json.dumps(results, indent=1) + "\n", "utf-8")
    killed = sum(found["killed"] for found in results.values())
    tried = sum(found["tried"] for found in results.values())
    print(f"All: {killed} of {tried}, {killed / max(1, tried):.0%}")
    return 0 if killed >= settings["least_killed"] * tried else 1


if __name__ == "__main__":
    sys.exit(main())
