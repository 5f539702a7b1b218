"""The site: builds without a warning, loads nothing from elsewhere, and says what the code says."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import tellapart
from tellapart import cli
from tellapart.recipe_reading import recipe_names, setting_keys

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tools"))

import docs_hooks as hooks  # noqa: E402

#: What makes a browser ask for something, in contrast to a link.
LOADED = re.compile(r"<(?:script|link|img|iframe)\b[^>]*(?:src|href)=\"(https?:)?//[^\"]*\"")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("mkdocs")
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def test_no_page_loads_anything_from_another_host(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 20
    assert not [page.name for page in pages if LOADED.search(page.read_text("utf-8"))]
    styles = "".join(file.read_text("utf-8") for file in site.rglob("*.css"))
    assert not re.search(r"url\(['\"]?(https?:)?//", styles)
    assert (site / "assets" / "iframe-worker.js").is_file()
    assert (site / "search" / "search_index.js").is_file()  # found from the file system, too


def test_every_page_is_there(site: Path) -> None:
    for page in (ROOT / "docs").rglob("*.md"):
        assert (site / page.relative_to(ROOT / "docs").with_suffix(".html")).is_file(), page


def test_the_reference_of_recipes_has_every_key() -> None:
    page = hooks.recipe_page()
    for key in setting_keys():
        assert f"| `{key.rpartition('.')[2]}` |" in page, key
    for name in recipe_names():
        assert f"| `{name}` |" in page
    assert "| `learning_rate` | number, above 0 | `0.001` |" in page
    assert "| `epochs` | whole number, from 1 | `30` |" in page
    assert "| `seed` | whole number, from 0, at most 4294967295 | `0` |" in page
    assert "Decay of the weight average a step; None switches it off." in page


def test_the_reference_of_commands_has_every_option() -> None:
    import typer

    page = hooks.commands_page()
    for name, command in typer.main.get_command(cli.app).commands.items():  # type: ignore[attr-defined]
        section = page.partition(f"## tellapart {name}\n")[2].partition("\n## ")[0]
        for parameter in command.params:
            for option in parameter.opts if parameter.param_type_name == "option" else ():
                assert f"`{option}`" in section or option == "--help", (name, option)


def test_the_reference_of_python_has_every_public_name(site: Path) -> None:
    page = (site / "reference" / "python.html").read_text("utf-8")
    for name in tellapart.__all__:
        assert f"ta.{name}" in page, name


def test_the_notebooks_are_pages_with_their_outputs(site: Path) -> None:
    names = hooks.example_names()
    assert len(names) == 7
    for name in names:
        page = (site / "examples" / f"{name}.html").read_text("utf-8")
        assert f"examples/{name}.ipynb" in page
        assert "base64" in page or f"{name}_files/" in page  # a figure
        for picture in re.findall(rf'src="({name}_files/[^"]+)"', page):
            assert (site / "examples" / picture).stat().st_size > 1000
        assert '.ipynb"' not in page  # links lead to pages


def test_what_was_measured_of_recipes_is_a_page() -> None:
    page = hooks.measured_page()
    assert "| 98.8% (98.2% to 99.2%) | 24 |" in page.partition("## probe\n")[2].partition("## ")[0]
    assert page.count("\n## ") > 8


@pytest.mark.slow
def test_search_answers_from_the_file_system(site: Path, tmp_path: Path) -> None:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("needs Chromium")
    page = f"{(site / 'index.html').as_uri()}?q=conformal"  # a word of docs/decisions.md
    done = subprocess.run(
        [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
         f"--user-data-dir={tmp_path}", "--virtual-time-budget=20000", "--dump-dom", page],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert re.search(r"md-search-result__meta\">\s*\d+ matching document", done.stdout)
    assert 'href="decisions.html' in done.stdout


@pytest.mark.slow
def test_the_tour_can_be_gone(
    image_folder: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(image_folder(classes=("cat", "dog"), per_class=20), tmp_path / "photos")
    monkeypatch.chdir(tmp_path)
    tour = (ROOT / "docs" / "index.md").read_text("utf-8")
    blocks = re.findall(r"```(bash|python)\n(.*?)```", tour, flags=re.DOTALL)
    assert len(blocks) == 6
    for kind, text in blocks:
        if kind == "python":
            exec(compile(text, "tour", "exec"), {})
            continue
        for line in text.splitlines():
            assert not cli.app(shlex.split(line)[1:], standalone_mode=False), line
    assert (tmp_path / "comparison.html").is_file()
    assert (tmp_path / "looked" / "report.html").is_file()


def test_the_commands_of_the_guides_are_ones() -> None:
    import typer

    commands = typer.main.get_command(cli.app).commands  # type: ignore[attr-defined]
    guides = (ROOT / "docs" / "guides.md").read_text("utf-8")
    named = re.findall(r"`tellapart ([^`]+)`", guides)
    assert len(named) > 12
    for text in named:
        words = shlex.split(text)
        with commands[words[0]].make_context(words[0], words[1:]):  # options and types are right
            pass
