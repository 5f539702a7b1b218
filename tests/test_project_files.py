"""What a project has beside its code: whole, true, and the same as what the code says."""

from __future__ import annotations

import json
import re
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

import tellapart

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tools"))


def test_every_yaml_file_is_one_and_the_workflow_runs_what_ci_runs() -> None:
    files = [*ROOT.glob(".github/**/*.yml"), ROOT / ".pre-commit-config.yaml"]
    files.append(ROOT / "CITATION.cff")
    assert len(files) >= 7
    for file in files:
        assert isinstance(yaml.safe_load(file.read_text("utf-8")), dict), file
    workflow = yaml.safe_load((ROOT / ".github/workflows/check.yml").read_text("utf-8"))
    steps = [step.get("run") for step in workflow["jobs"]["check"]["steps"]]
    assert ".ci/run" in steps and (ROOT / ".ci" / "run").is_file()


def test_the_citation_has_the_version_of_the_package() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert str(citation["version"]) == tellapart.__version__
    assert f"## {tellapart.__version__}" in (ROOT / "CHANGELOG.md").read_text("utf-8")


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", "SECURITY.md", "CODE_OF_CONDUCT.md"])
def test_what_a_page_names_is_there(name: str) -> None:
    text = (ROOT / name).read_text("utf-8")
    for target in re.findall(r"\]\(([^)#]+)(?:#[\w-]+)?\)", text):
        assert target.startswith("https://") or (ROOT / target).is_file(), target
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    named = set(re.findall(r"`make ([\w-]+)`|^make ([\w-]+)", text, re.MULTILINE))
    assert {a or b for a, b in named} <= targets


def test_the_lowest_versions_are_those_of_the_project() -> None:
    import test_matrix as matrix

    pins = matrix.lowest()
    assert "numpy==2.0" in pins and "torch==2.9" in pins
    assert any(pin.startswith("openvino==2025.0; ") for pin in pins)
    assert matrix.cell("2.99", None, []) == "no such interpreter here"


def test_interpreters_of_pyenv_are_found_and_broken_ones_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import test_matrix as matrix

    def python(folder: Path, code: int) -> Path:
        folder.mkdir(parents=True)
        file = folder / "python9.9"
        file.write_text(f"#!/bin/sh\nexit {code}\n")
        file.chmod(0o755)
        return file

    python(tmp_path / "shims", 127)
    right = python(tmp_path / ".pyenv" / "versions" / "9.9.1" / "bin", 0)
    monkeypatch.setenv("PATH", str(tmp_path / "shims"), prepend=":")
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    assert matrix.interpreter_of("9.9") == right
    assert matrix.interpreter_of("9.8") is None


def test_a_wheel_with_tests_in_it_is_refused(tmp_path: Path) -> None:
    import release

    good = ("tellapart/py.typed", "tellapart/recipes/probe.yaml", "tellapart/report/style.css",
            "tellapart/cache.py")  # fmt: skip

    def wheel(*names: str) -> Path:
        file = tmp_path / f"{len(names)}.whl"
        with zipfile.ZipFile(file, "w") as archive:
            for name in names:
                archive.writestr(name, "x")
        return file

    assert release.content(wheel(*good)) == list(good)
    for bad in ("tests/test_a.py", "tellapart/__pycache__/a.pyc", "other/a.py"):
        with pytest.raises(SystemExit, match="should not"):
            release.content(wheel(*good, bad))
    with pytest.raises(SystemExit, match="lacks tellapart"):
        release.content(wheel(*good[1:]))


def test_the_container_copies_what_is_there_and_calls_what_there_is() -> None:
    from typer.main import get_command

    from tellapart.cli import app

    text = re.sub(r"\\\n\s*", "", (ROOT / "Dockerfile").read_text("utf-8"))
    lines = [line.split(" ", 1) for line in text.splitlines() if line and line[0] != "#"]
    copied = [name for word, rest in lines if word == "COPY" for name in rest.split()[:-1]]
    assert copied and all((ROOT / name).exists() for name in copied)
    kept = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    assert {f"!{name}" for name in copied} <= set(kept)
    told = {word: json.loads(rest) for word, rest in lines if word in ("ENTRYPOINT", "CMD")}
    command, verb, *given = told["ENTRYPOINT"] + told["CMD"]
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["scripts"]
    assert command in scripts
    verbs = get_command(app).commands  # type: ignore[attr-defined]
    parsed = verbs[verb].make_context(verb, given)
    assert str(parsed.params["out"]) == "/answers/answers.csv"
    assert [str(path) for path in parsed.params["images"]] == ["/images"]
    assert any(word == "USER" for word, _ in lines)
    page = (ROOT / "docs" / "predicting.md").read_text("utf-8")
    for place in ("/model:ro", "/images:ro", "/answers"):
        assert place in page
