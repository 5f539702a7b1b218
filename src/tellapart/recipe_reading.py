"""Recipes from files and names, with settings laid over them, and back to YAML.

A recipe is a YAML file in ``recipes/`` (found by listing the folder) or any file of the
same form. ``load_recipe`` reads one by name or path, ``apply_settings`` overlays
``key=value`` strings, and both report every mistake at once: the value received, the
values allowed, and the nearest right key.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from tellapart.errors import RecipeError
from tellapart.recipe import Recipe, Section
from tellapart.wording import did_you_mean, listed, nearest, quoted, shortened, shown

#: A recipe has a few kilobytes and a few levels; more is a mistake, or meant to do harm.
MAXIMUM_BYTES = 256 << 10
MAXIMUM_DEPTH = 40
#: Mistakes that a message tells, and characters of each and of a value in it.
_MOST_PROBLEMS, _LONGEST_PROBLEM, _LONGEST_VALUE = 20, 600, 100


def recipe_names() -> tuple[str, ...]:
    """Names of the recipes that come with tellapart, in alphabetical order."""
    folder = files("tellapart") / "recipes"
    return tuple(sorted(p.name[:-5] for p in folder.iterdir() if p.name.endswith(".yaml")))


def load_recipe(name_or_path: str | Path) -> Recipe:
    """Read a recipe by its name or from a YAML file.

    Raises:
        RecipeError: there is no such recipe, or it has mistakes (all are listed).
    """
    names = recipe_names()
    if str(name_or_path) in names:
        text = (files("tellapart") / "recipes" / f"{name_or_path}.yaml").read_text("utf-8")
        return parse_recipe(text, source=str(name_or_path))
    path = Path(name_or_path)
    if path.suffix in {".yaml", ".yml"} or path.is_file():
        try:
            with path.open("rb") as file:
                content = file.read(MAXIMUM_BYTES + 1)
            if len(content) > MAXIMUM_BYTES:
                raise RecipeError(
                    f"The recipe {path} is larger than {MAXIMUM_BYTES >> 10} KB, which no recipe "
                    "is; give the right file."
                )
            return parse_recipe(content.decode("utf-8"), source=str(path))
        except (OSError, UnicodeDecodeError) as error:
            raise RecipeError(f"The recipe {path} cannot be read: {error}.") from error
    hint = did_you_mean(str(name_or_path), names)
    raise RecipeError(
        f"There is no recipe '{name_or_path}'.{hint} 'tellapart recipes' lists all {len(names)}."
    )


def parse_recipe(text: str, source: str) -> Recipe:
    """Make a Recipe of YAML text; ``source`` names it in messages."""
    try:
        content = plain_data(text)
    except ValueError as error:
        raise RecipeError(f"The recipe {source} is not valid YAML: {error}") from error
    if not isinstance(content, dict):
        raise RecipeError(f"The recipe {source} must be a YAML mapping of keys to values.")
    return validate_recipe(content, source)


def plain_data(text: str) -> Any:
    """Read YAML without aliases, whose copies multiply, and of bounded size and depth.

    Raises:
        ValueError: it is no such YAML; the message says why, in one line.
    """
    if len(text) > MAXIMUM_BYTES:
        raise ValueError(f"it is longer than {MAXIMUM_BYTES >> 10} KB.")
    depth = 0
    try:
        for event in yaml.parse(text, yaml.SafeLoader):
            if isinstance(event, yaml.AliasEvent):
                raise ValueError(f"it has an alias (*{event.anchor}), which recipes cannot have.")
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            if depth > MAXIMUM_DEPTH:
                raise ValueError(f"it is more than {MAXIMUM_DEPTH} levels deep.")
        return yaml.safe_load(text)
    except RecursionError as error:
        raise ValueError("it is too deep.") from error
    except yaml.YAMLError as error:
        raise ValueError(f"{_short(_yaml_problem(error))}.") from error
    # A scalar with the mark of a kind that it is not (``!!timestamp x``) raises what it likes.
    except (TypeError, AttributeError, LookupError, OverflowError) as error:
        raise ValueError(_short(str(error) or type(error).__name__)) from error


def _short(text: str, most: int = _LONGEST_PROBLEM) -> str:
    """A text on one line, cut where it is long."""
    return shortened(shown(" ".join(text[: 10 * most].split())), most)


def validate_recipe(content: Mapping[str, Any], source: str) -> Recipe:
    """Check plain data against the form of a recipe, reporting all mistakes at once."""
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        found = error.errors(include_url=False)
        problems = tuple(_short(_sentence(dict(each))) for each in found[:_MOST_PROBLEMS])
        if len(found) > _MOST_PROBLEMS:
            problems += (f"There are {len(found) - _MOST_PROBLEMS:,} more mistakes.",)
        raise RecipeError(f"{source}: " + " ".join(problems), problems) from None


def recipe_to_yaml(recipe: Recipe) -> str:
    """The recipe in full, as YAML that ``load_recipe`` reads back to an equal recipe."""
    data = recipe.model_dump(mode="json")
    text = yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=100)
    return str(text)


def apply_settings(recipe: Recipe, settings: Iterable[str]) -> Recipe:
    """Overlay ``key=value`` strings, keys dotted as in ``training.epochs=5``.

    Values are read as YAML: numbers, true/false, null, lists.

    Raises:
        RecipeError: a setting has no '=', or the result is not a valid recipe.
    """
    data = recipe.model_dump(mode="json")
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals or not key:
            raise RecipeError(f"--set takes key=value; received '{_short(setting)}'.")
        try:
            parsed = plain_data(value)
        except ValueError:
            raise RecipeError(
                f"--set {_short(setting, _LONGEST_VALUE)}: '{_short(value, _LONGEST_VALUE)}' is "
                "not a YAML value."
            ) from None
        if isinstance(parsed, str) and parsed == value.strip():  # in quotes it stays text
            parsed = _as_number(parsed)
        _put(data, key.split("."), parsed, _short(setting, _LONGEST_VALUE))
    return validate_recipe(data, "--set")


def with_decision(recipe: Recipe, positive: str | None, cost_miss: float | None) -> Recipe:
    """The recipe with another class to look for, and what missing it costs; None: the recipe's.

    A name is taken as it stands, also one that YAML would read as a number or as true or false.

    Raises:
        RecipeError: a cost that is none, or one without a class.
    """
    given = {"positive": positive, "cost_miss": cost_miss}
    changed = {key: value for key, value in given.items() if value is not None}
    if not changed:
        return recipe
    data = recipe.model_dump(mode="json")
    data["decision"] |= changed
    if data["decision"]["positive"] is None:
        raise RecipeError(
            "--cost-miss says what missing one class costs; name the class by --positive CLASS."
        )
    return validate_recipe(data, "--positive and --cost-miss")


def _as_number(text: str) -> str | float:
    """YAML reads 1e-3 as text; people mean the number."""
    try:
        return float(text)
    except ValueError:
        return text


def _put(data: dict[str, Any], keys: list[str], value: Any, setting: str) -> None:
    for key in keys[:-1]:
        if key not in data:
            path = ".".join(keys)
            hint = did_you_mean(path, setting_keys(), cutoff=0.8) or _nearest(path, data)
            raise RecipeError(f"--set {setting}: unknown key '{key}'.{hint}")
        if data[key] is None:
            data[key] = {}
        if not isinstance(data[key], dict):
            raise RecipeError(f"--set {setting}: '{key}' has no keys below it.")
        data = data[key]
    data[keys[-1]] = value


def _yaml_problem(error: yaml.YAMLError) -> str:
    """What is wrong and where, in one line."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return f"line {mark.line + 1}, column {mark.column + 1}: {error.problem}"
    return " ".join(str(error).split())


#: Keys whose values are lists of sections.
_LISTS = ("augmentation", "members")


def setting_keys(section: type[Section] = Recipe) -> list[str]:
    """Every key that ``--set`` takes, in full, such as ``training.epochs``; none of lists."""
    keys: list[str] = []
    for name, field in section.model_fields.items():
        below = [] if name in _LISTS else _sections_in(field.annotation)
        keys += [f"{name}.{key}" for each in below for key in setting_keys(each)] or [name]
    return list(dict.fromkeys(keys))


def _nearest(path: str, beside: Iterable[str]) -> str:
    """What was meant by an unknown key, written in full so that it can be given as it stands.

    A key of that very name in another section comes first (``training.epochs`` for ``epochs``),
    then one that is spelled alike in the same section, then one in another.
    """
    *section, key = path.split(".")
    beside = sorted(beside)
    if any(part.isdigit() for part in section):  # in a list, whose keys --set cannot reach
        return did_you_mean(key, beside, cutoff=0.6) or f" Keys there: {listed(beside, 99)}."
    here = {name: ".".join([*section, name]) for name in beside}
    everywhere: dict[str, list[str]] = {}
    for full in setting_keys():
        everywhere.setdefault(full.rpartition(".")[2], []).append(full)
    meant = everywhere.get(key) or [here[name] for name in nearest(key, here, cutoff=0.6)]
    meant = meant or [full for n in nearest(key, everywhere, cutoff=0.6) for full in everywhere[n]]
    return f" Did you mean {quoted(meant)}?" if meant else f" Keys there: {listed(beside, 99)}."


_UNION_TAGS = {"scratch", "backbone"}


def _sentence(error: dict[str, Any]) -> str:
    """One pydantic error as a sentence with key, value received and what is allowed."""
    location = [str(part) for part in error["loc"]]
    path = ".".join(
        part
        for i, part in enumerate(location)
        if not (i > 0 and location[i - 1] == "model" and part in _UNION_TAGS)
    )
    if error["type"] == "extra_forbidden":
        return f"Unknown key '{path}'.{_nearest(path, _keys_beside(location))}"
    if error["type"] == "missing":
        return f"The key '{path}' is missing."
    message = str(error["msg"]).removeprefix("Value error, ")
    value = _short(repr(error.get("input")), _LONGEST_VALUE)
    return f"{path}={value}: {message[:1].lower()}{message[1:]}."


def _keys_beside(location: list[str]) -> tuple[str, ...]:
    """Names allowed at the place of an unknown key."""
    section: Any = Recipe
    for part in location[:-1]:
        section = _step_into(section, part)
    return tuple(section.model_fields) if section is not None else ()


def _step_into(section: Any, part: str) -> Any:
    """The Section class below ``section`` that a part of an error's location names."""
    if section is None:
        return None
    if isinstance(section, tuple):  # alternatives of a union: the part is a tag or an index
        for option in section:
            tags = [f.annotation for f in option.model_fields.values()]
            if any(part in getattr(tag, "__args__", ()) for tag in tags):
                return option
        return section
    field = section.model_fields.get(part)
    options = _sections_in(field.annotation) if field is not None else []
    if not options:
        return None
    return options[0] if len(options) == 1 else tuple(options)


def _sections_in(annotation: Any) -> list[type[Section]]:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return [annotation]
    return [s for a in getattr(annotation, "__args__", ()) for s in _sections_in(a)]
