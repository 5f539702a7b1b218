"""The guides by task: their commands are ones, and run; what they say of other libraries parses."""

from __future__ import annotations

import ast
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pages import commands_of, exit_code
from tellapart import cli

DOCS = Path(__file__).parents[1] / "docs"
#: The pages that have no test of their own.
PAGES = ("coming-from", "explaining", "faq", "few-images", "groups", "in-ci",
         "many-or-unequal-classes", "wrong-labels")  # fmt: skip


def page(name: str) -> str:
    return (DOCS / f"{name}.md").read_text("utf-8")


@pytest.mark.parametrize("name", PAGES)
def test_the_commands_of_a_guide_are_ones(name: str) -> None:
    import typer

    commands = typer.main.get_command(cli.app).commands  # type: ignore[attr-defined]
    found = commands_of(page(name))
    assert found
    for command in found:
        verb, *words = command.words
        with commands[verb].make_context(verb, words):  # options and their types are right
            pass


@pytest.mark.parametrize("name", PAGES)
def test_code_of_a_guide_parses(name: str) -> None:
    for _, code in re.findall(r"```(py|python)\n(.*?)```", page(name), flags=re.DOTALL):
        ast.parse(code)


def test_side_by_side_has_all_four() -> None:
    text = page("coming-from")
    for library in ("Keras:", "fastai:", "PyTorch:", "Ultralytics:"):
        assert f"\n{library}\n" in text
    assert text.count("```py\n") == 3


@pytest.mark.slow
@pytest.mark.parametrize("name", PAGES)
def test_a_guide_can_be_followed(
    name: str, image_folder: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = image_folder(classes=("cat", "dog"), per_class=72)
    for image in sorted(source.rglob("*.jpg")):  # in folders by day, with names as of bursts
        number = int(image.stem)
        folder = tmp_path / "photos" / image.parent.name / f"day-{number // 4}"
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(image, folder / f"burst{number // 2:02d}-{number % 2}.jpg")
        if number == 1:
            shutil.copy(image, tmp_path / "photos" / image.parent.name / "0001.jpg")
    new = image_folder(classes=("cat", "dog"), per_class=3, seed=7)
    shutil.copytree(new, tmp_path / "new")
    monkeypatch.chdir(tmp_path)
    for kind, text in re.findall(r"```(bash|python)\n(.*?)```", page(name), flags=re.DOTALL):
        if kind == "python":
            exec(compile(text, name, "exec"), {})
            continue
        for command in commands_of(f"```bash\n{text}```"):
            assert exit_code(command.words) == command.code, command.text
    assert list((tmp_path / "runs").rglob("report.html"))


def test_every_page_of_the_guides_table_is_there() -> None:
    text = page("guides")
    links = re.findall(r"\]\(([\w/-]+\.md)", text)
    assert len(links) > 20
    for link in links:
        assert (DOCS / link).is_file() or link.startswith("reference/"), link
    for quoted in re.findall(r"`tellapart ([^`]+)`", text):
        assert shlex.split(quoted)
