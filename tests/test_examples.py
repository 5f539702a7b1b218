"""examples/: scripts and notebooks are one, outputs are small, and every cell runs."""

from __future__ import annotations

import ast
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
sys.path.insert(0, str(ROOT / "tools"))

import run_examples  # noqa: E402

NAMES = run_examples.names()


def test_all_seven_are_there() -> None:
    assert len(NAMES) == 7
    assert {file.stem for file in EXAMPLES.glob("*.ipynb")} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_the_notebook_is_the_script(name: str) -> None:
    pytest.importorskip("jupytext")
    notebook = json.loads((EXAMPLES / f"{name}.ipynb").read_text("utf-8"))
    script = run_examples.unrun(name)
    cells = [(cell["cell_type"], "".join(cell["source"])) for cell in notebook["cells"]]
    assert cells == [(cell.cell_type, cell.source) for cell in script.cells]
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert 7 <= len(code) <= 14
    assert all(cell["execution_count"] == n for n, cell in enumerate(code, start=1))


@pytest.mark.parametrize("name", NAMES)
def test_its_outputs_are_small_and_of_no_machine(name: str) -> None:
    text = (EXAMPLES / f"{name}.ipynb").read_text("utf-8")
    assert len(text) < run_examples.LARGEST_BYTES
    outputs = [out for cell in json.loads(text)["cells"] for out in cell.get("outputs", ())]
    assert outputs and not [out for out in outputs if out["output_type"] == "error"]
    absolute = r"[\"' >](/(?:home|root|tmp|Users|mnt|opt)/|[A-Z]:\\\\)"
    assert not re.search(absolute, json.dumps(outputs))


@pytest.mark.parametrize("name", NAMES)
def test_it_says_where_the_original_went_wrong(name: str) -> None:
    text = (EXAMPLES / f"{name}.py").read_text("utf-8")
    if name in ("solar-cells", "leaks-and-wrong-labels"):
        return  # they are our own
    assert "original" in text and re.search(r"went wrong|worst one", text)


def run_cells(name: str, cells: slice = slice(None)) -> dict[str, Any]:
    """Run code cells of an example in this process; what they leave behind."""
    notebook = run_examples.unrun(name)
    left: dict[str, Any] = {}
    code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    for source in code[cells]:
        tree = ast.parse(source)
        ending = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, name, "exec"), left)
        if isinstance(ending, ast.Expr):  # what a notebook would show
            value = eval(compile(ast.Expression(ending.value), name, "eval"), left)  # noqa: S307
            show = getattr(value, "_repr_html_", None)
            if show is not None and not hasattr(value, "_repr_png_"):  # pictures show themselves
                assert show().startswith("<div")
    return left


@pytest.fixture
def drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, in which pictures are drawn."""
    pytest.importorskip("jupytext")
    pytest.importorskip("IPython")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TELLAPART_EXAMPLES", raising=False)
    monkeypatch.setenv("TELLAPART_EXAMPLES_SMALL", "1")
    monkeypatch.syspath_prepend(str(EXAMPLES))
    return tmp_path


def test_planted_leaks_are_found(drawn: Path, capsys: pytest.CaptureFixture[str]) -> None:
    left = run_cells("leaks-and-wrong-labels", slice(0, 1))
    photos, copied, wrong = left["photos"], left["copied"], left["wrong"]
    assert len(copied) == 12 and len(wrong) == 6
    assert all((photos / path).is_file() for path in copied | wrong)
    # A wrong label is a picture of the other class by its name.
    assert all(Path(path).name.split("-")[0] != Path(path).parent.name for path in wrong)
    assert "the numbers mean nothing" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_every_cell_runs(name: str, drawn: Path) -> None:
    run_cells(name)
    assert list((drawn / "runs").rglob("report.html"))
