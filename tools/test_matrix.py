"""The tests with other versions of Python, and with the oldest allowed dependencies.

Usage: python tools/test_matrix.py [lowest|3.12|3.13|3.14] ... [-- PYTEST-ARGUMENTS]
(``make test-matrix``)

Each cell is a fresh environment. Interpreters are looked for on the path and among those of pyenv
and uv. Those that are not here, and versions that the registry does not have for an interpreter,
are told and passed over. Without pytest's arguments all tests run that are not slow.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PYTHONS = ("3.11", "3.12", "3.13", "3.14")


def lowest() -> list[str]:
    """Each dependency of the project at the oldest version that it allows, as pip takes it.

    >>> [each for each in lowest() if each.startswith("pyyaml")]
    ['pyyaml==6']
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    pins = []
    for text in [*project["dependencies"], *project["optional-dependencies"]["train"]]:
        requirement, _, marker = text.partition(";")
        match = re.match(r"\s*([\w.-]+)\s*(?:[>=]=)\s*([\w.]+)", requirement)
        if match:
            pins.append(f"{match[1]}=={match[2]}" + (f"; {marker.strip()}" if marker else ""))
    return pins


def interpreter_of(python: str) -> Path | None:
    """A Python of this version that starts, on the path or of pyenv or uv; None: there is none."""
    on_path = shutil.which(f"python{python}")
    found = [Path(on_path)] if on_path else []
    for folder in (".pyenv/versions", ".local/share/uv/python"):
        found += sorted((Path.home() / folder).glob(f"*/bin/python{python}"))
    for file in found:  # pyenv's shims on the path may belong to no version that is in force
        if not subprocess.run([file, "--version"], capture_output=True, check=False).returncode:
            return file
    return None


def cell(python: str, pins: list[str] | None, tests: list[str]) -> str:
    """Run the tests in one environment; returns what came of it."""
    interpreter = interpreter_of(python)
    if interpreter is None:
        return "no such interpreter here"
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        subprocess.run([interpreter, "-m", "venv", place / "venv"], check=True)
        own = place / "venv" / "bin" / "python"
        constraints = place / "constraints.txt"
        if pins is None:
            shutil.copy(ROOT / "constraints.txt", constraints)
        else:
            constraints.write_text("\n".join(pins) + "\n", "utf-8")
        installed = subprocess.run(
            [own, "-m", "pip", "install", "--quiet", "--constraint", constraints,
             "--editable", f"{ROOT}[dev]"], check=False,
        )  # fmt: skip
        if installed.returncode:
            return "these versions cannot be installed together here"
        done = subprocess.run(
            [own, "-m", "pytest", "-q", *(tests or ["-m", "not slow", "-n", "2"])],
            cwd=ROOT,
            check=False,
        )
        return "passed" if done.returncode == 0 else f"failed (exit code {done.returncode})"


def main() -> None:
    """Every cell that was asked for; exit code 1 where one failed."""
    given = sys.argv[1:]
    cut = given.index("--") if "--" in given else len(given)
    wanted, tests = given[:cut] or ["lowest", *PYTHONS[1:]], given[cut + 1 :]
    results = {}
    for name in wanted:
        oldest = name == "lowest"
        results[name] = cell("3.11" if oldest else name, lowest() if oldest else None, tests)
    for name, result in results.items():
        print(f"{name:<8} {result}")
    sys.exit(any(result.startswith("failed") for result in results.values()))


if __name__ == "__main__":
    main()
