"""What the site has beside docs/: references made from the code when it is built.

``recipe.py`` gives the reference of recipes, the command line's parser that of commands, and the
table of public names that of Python. Pages that the navigation does not name come last in it.
"""

from __future__ import annotations

import ast
import re
import sys
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic_core import PydanticUndefined

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))


# --- recipes ------------------------------------------------------------------------------


def comments_of(source: str) -> dict[str, dict[str, str]]:
    """Of each class of a module the ``#:`` comments above its fields, joined to sentences."""
    lines = source.splitlines()
    found: dict[str, dict[str, str]] = {}
    for node in ast.parse(source).body:
        if not isinstance(node, ast.ClassDef):
            continue
        fields = found.setdefault(node.name, {})
        for item in node.body:
            if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
                above, at = [], item.lineno - 2
                while at >= 0 and lines[at].strip().startswith("#:"):
                    above.insert(0, lines[at].strip()[2:].strip())
                    at -= 1
                fields[item.target.id] = " ".join(above)
    return found


def type_text(annotation: Any, metadata: tuple[Any, ...] = ()) -> str:
    """A type as a reader of YAML understands it, with its limits."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return type_text(arguments[0], tuple(arguments[1:]))
    if origin is typing.Literal:
        return ", ".join(f"`{value}`" for value in arguments)
    if origin in (types.UnionType, typing.Union):
        texts = [type_text(each) for each in arguments if each is not type(None)]
        texts += ["`null`"] if type(None) in arguments else []
        return " or ".join(dict.fromkeys(texts))
    if origin is tuple:
        return f"list of {type_text(arguments[0])}"
    if origin is dict:
        return "mapping"
    names = {float: "number", int: "whole number", bool: "`true` or `false`", str: "text"}
    if annotation in names:
        return names[annotation] + limits_text(metadata)
    return f"[{annotation.__name__}](#{annotation.__name__.lower()})"


def limits_text(metadata: tuple[Any, ...]) -> str:
    """Limits of a number: ``, above 0, at most 1``."""
    words = {"gt": "above", "ge": "from", "lt": "below", "le": "at most"}
    found = []
    for each in metadata:
        for inner in getattr(each, "metadata", None) or [each]:
            for name, word in words.items():
                value = getattr(inner, name, None)
                if value is not None:
                    found.append(f"{word} {value:g}" if isinstance(value, float) else
                                 f"{word} {value}")  # fmt: skip
    return "".join(f", {text}" for text in dict.fromkeys(found))


def default_text(field: Any) -> str:
    """A default as YAML has it."""
    from tellapart.recipe import Section

    if field.default is PydanticUndefined:
        return "must be given"
    value = field.default
    if isinstance(value, Section):
        return "its own defaults"
    if value is None:
        return "`null`"
    if value is True or value is False:
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple):
        return f"`[{', '.join(map(str, value))}]`"
    return f"`{value}`" if value not in ("", {}) else "empty"


def recipe_page() -> str:
    """Every key of a recipe: type, default, sentence."""
    from tellapart import recipe as module
    from tellapart.recipe_reading import load_recipe, recipe_names

    comments = comments_of(Path(module.__file__).read_text("utf-8"))
    sections = [
        value for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, module.Section)
        and value is not module.Section
    ]  # fmt: skip
    sections.sort(key=lambda each: each is not module.Recipe)
    text = [
        "# Recipes", "",
        "A recipe is one experiment as a YAML file, or as `--recipe NAME`. Any key can be laid "
        "over it by `--set KEY=VALUE`, dotted as in `--set training.epochs=5`. This page is made "
        "from `recipe.py`, against which every recipe is checked before any image is read.", "",
    ]  # fmt: skip
    for section in sections:
        text += [f"## {section.__name__}", "", (section.__doc__ or "").strip(), "",
                 "| key | takes | default | |", "| --- | --- | --- | --- |"]  # fmt: skip
        for name, field in section.model_fields.items():
            annotation = type_text(field.annotation, tuple(field.metadata))
            cells = (f"`{name}`", annotation, default_text(field),
                     comments.get(section.__name__, {}).get(name, ""))  # fmt: skip
            text.append("| " + " | ".join(_cell(cell) for cell in cells) + " |")
        text.append("")
    text += ["## The recipes that come along", "", "| name | what it teaches |", "| --- | --- |"]
    for name in recipe_names():
        text.append(f"| `{name}` | {_cell(load_recipe(name).teaches)} |")
    return "\n".join(text) + "\n"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


# --- commands -----------------------------------------------------------------------------


def commands_page() -> str:
    """Every command with its arguments and options, as its parser has them."""
    import typer

    from tellapart.cli import app

    group: Any = typer.main.get_command(app)
    text = ["# Commands and options", "",
            "What `tellapart COMMAND --help` says, made from the parser itself. What is printed, "
            "exit codes, and options that exclude each other are told in "
            "[The command line](../command-line.md).", ""]  # fmt: skip
    for name, command in sorted(group.commands.items()):
        text += [f"## tellapart {name}", "", (command.help or "").strip(), "",
                 "| | | default |", "| --- | --- | --- |"]  # fmt: skip
        text += list(_parameters(command))
        text.append("")
    return "\n".join(text)


def _parameters(command: Any) -> Iterator[str]:
    for parameter in command.params:
        if parameter.name == "help":
            continue
        if parameter.param_type_name == "argument":
            label = f"`{(parameter.metavar or parameter.name).strip('[]').upper()}`"
        else:
            words = ", ".join(f"`{each}`" for each in parameter.opts)
            plain = parameter.is_flag or not parameter.metavar
            label = words if plain else f"{words} {_cell(parameter.metavar)}"
        value = parameter.default
        empty = value in (None, "", [], ()) or callable(value) or value is False
        default = "" if empty or parameter.required else f"`{value}`"
        yield f"| {label} | {_cell(parameter.help or '')} | {default} |"


# --- Python -------------------------------------------------------------------------------


def python_page() -> str:
    """The public names, by mkdocstrings."""
    from tellapart import _PUBLIC
    from tellapart.estimator import ImageClassifier
    from tellapart.run import Run

    text = ["# Python", "",
            "What `import tellapart as ta` gives. Every verb takes a run or the path of its "
            "folder, and gives a result with `lines()`, `to_json()`, `exit_code` and a face in "
            "notebooks.", ""]  # fmt: skip
    for name, module in sorted(_PUBLIC.items(), key=lambda pair: pair[0].lower()):
        text += [f"::: {module}.{name}", "    options:", f'      heading: "ta.{name}"']
        text += [_members(ImageClassifier)] if name == "ImageClassifier" else []
        text.append("")
    text += ["::: tellapart.run.Run", "    options:", '      heading: "Run"', _members(Run), ""]
    return "\n".join(text)


def _members(cls: type) -> str:
    """The public ones that say what they are for, as an option of mkdocstrings."""
    names = [name for name, value in vars(cls).items()
             if not name.startswith("_") and getattr(value, "__doc__", None)
             and not isinstance(value, str | int | Path)]  # fmt: skip
    return f"      members: [{', '.join(names)}]"


# --- examples and measurements ------------------------------------------------------------


def example_names() -> list[str]:
    """The notebooks of examples/, in the order of the navigation."""
    return sorted(file.stem for file in (ROOT / "examples").glob("*.ipynb"))


def example_page(name: str) -> tuple[str, dict[str, bytes]]:
    """A notebook with its outputs as a page, and its pictures by their names beside it."""
    import nbformat
    from nbconvert import MarkdownExporter

    notebook = nbformat.read(ROOT / "examples" / f"{name}.ipynb", as_version=4)
    resources = {"unique_key": name, "output_files_dir": f"{name}_files"}
    body, found = MarkdownExporter().from_notebook_node(notebook, resources)
    head, _, rest = body.partition("\n\n")
    body = f"{head}\n\n*A notebook: `examples/{name}.ipynb`, with its outputs.*\n\n{rest}"
    body = re.sub(r"\]\(([\w-]+)\.ipynb\)", r"](\1.md)", body)
    return body.replace("](../docs/", "](../"), found["outputs"]


def measured_page() -> str:
    """What was measured of the recipes, each with the command that gives it."""
    from tellapart.recipe_reading import load_recipe, recipe_names

    text = [
        "# Measured", "",
        "What recipes reached, on which images, in which time, on which machine; with the command "
        "that gives it. Numbers in brackets are a 95 % interval, or worst and best of several "
        "seeds. This page is made from the recipes.", "",
    ]  # fmt: skip
    for name in recipe_names():
        recipe = load_recipe(name)
        if not recipe.measured:
            continue
        text += [f"## {name}", "", recipe.title + ".", "",
                 "| images | test accuracy | seconds | machine | command |",
                 "| --- | --- | --- | --- | --- |"]  # fmt: skip
        for row in recipe.measured:
            limits = f" ({row.low:.1%} to {row.high:.1%})" if row.low and row.high else ""
            repeats = f", {row.repeats} runs" if row.repeats > 1 else ""
            cells = (row.data, f"{row.test_accuracy:.1%}{limits}{repeats}", f"{row.seconds:,.0f}",
                     row.machine, f"`{row.command}`")  # fmt: skip
            text.append("| " + " | ".join(_cell(cell) for cell in cells) + " |")
        text.append("")
    return "\n".join(text) + "\n"


# --- hooks --------------------------------------------------------------------------------

#: What the theme asks another host for, and where it lies here.
THEIRS, SHIM = "https://unpkg.com/iframe-worker/shim", "assets/iframe-worker.js"
STYLE = """\
.md-typeset table:not([class]) td:first-child code { white-space: nowrap; }
.md-typeset table:not([class]) th { min-width: 4rem; }
"""
PAGES = {
    "reference/recipes.md": recipe_page,
    "reference/commands.md": commands_page,
    "reference/python.md": python_page,
    "reference/measured.md": measured_page,
}


def on_config(config: Any) -> Any:
    """Pages that the navigation does not name come last in it."""
    named = set(_named(config.nav))
    docs = Path(config.docs_dir)
    there = {file.relative_to(docs).as_posix() for file in docs.rglob("*.md")}
    if rest := sorted(there - named):
        config.nav.append({"More": rest})
    return config


def _named(nav: Any) -> Iterator[str]:
    if isinstance(nav, str):
        yield nav
    elif isinstance(nav, dict):
        for value in nav.values():
            yield from _named(value)
    else:
        for each in nav or ():
            yield from _named(each)


def on_files(files: Any, *, config: Any) -> Any:
    """Add the pages that are made from the code."""
    from mkdocs.structure.files import File

    for name, make in PAGES.items():
        files.append(File.generated(config, name, content=make()))
    for name in example_names():
        page, pictures = example_page(name)
        files.append(File.generated(config, f"examples/{name}.md", content=page))
        for picture, content in pictures.items():
            files.append(File.generated(config, f"examples/{picture}", content=content))
    files.append(File.generated(config, "assets/site.css", content=STYLE))
    files.append(File.generated(config, SHIM, abs_src_path=str(ROOT / "tools/iframe-worker.js")))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Links to notebooks, right in the repository, lead to their pages."""
    return re.sub(r"\]\((?:\.\./)+examples/([\w-]+)\.ipynb\)", r"](examples/\1.md)", markdown)


def on_post_page(output: str, *, page: Any, config: Any) -> str:
    """Nothing is loaded from another host: the theme's one script from elsewhere lies here."""
    from mkdocs.utils import get_relative_url

    return output.replace(THEIRS, get_relative_url(SHIM, page.url))


def on_post_template(output: str, *, template_name: str, config: Any) -> str:
    """The same of the page that stands for those that are not there."""
    return output.replace(THEIRS, SHIM)
