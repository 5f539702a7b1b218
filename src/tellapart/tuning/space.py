"""What is tuned: the settings of a recipe that are worth varying, each with its range.

:data:`SPACE` is the table by method; a file of the user's own can stand in its place
(:func:`read_space`). A value is put into a recipe by :func:`with_values`, so that every
trial is a recipe that can be trained again.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tellapart.errors import RecipeError
from tellapart.recipe import BackboneModel, Recipe, ScratchModel
from tellapart.recipe_reading import (
    MAXIMUM_BYTES,
    apply_settings,
    plain_data,
    setting_keys,
    validate_recipe,
)
from tellapart.wording import did_you_mean, listed, shown

#: A value of a tuned setting, as JSON has it.
Value = float | int | str | bool | None | list[Any]


@dataclass(frozen=True)
class Numbers:
    """A setting that takes numbers from ``low`` to ``high``, both included."""

    key: str
    low: float
    high: float
    #: Drawn evenly by magnitude: as many between 0.001 and 0.01 as between 0.01 and 0.1.
    log: bool = False
    whole: bool = False
    #: Distance of two whole values.
    step: int = 1

    def to_json(self) -> dict[str, Any]:
        return {"low": self.low, "high": self.high, "log": self.log, "whole": self.whole,
                "step": self.step}  # fmt: skip


@dataclass(frozen=True)
class Choices:
    """A setting that takes one of a few values, each written as JSON."""

    key: str
    choices: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return {"choices": [json.loads(choice) for choice in self.choices]}


Tuned = Numbers | Choices


@dataclass(frozen=True)
class Row:
    """One setting of the table: for which methods, and what is tried with a given recipe."""

    key: str
    methods: tuple[str, ...]
    #: None: this recipe has nothing of the kind.
    tuned: Callable[[Recipe], Tuned | None]
    #: What is varied, in a few words.
    summary: str


# --- how a range is found -----------------------------------------------------------------


def _number(recipe: Recipe, key: str) -> float:
    value: Any = recipe
    for part in key.split("."):
        value = getattr(value, part)
    return float(value)


def _around(
    key: str,
    low: float,
    high: float,
    *,
    whole: bool = False,
    where: Callable[[Recipe], bool] = lambda recipe: True,
) -> Callable[[Recipe], Tuned | None]:
    """From ``low`` to ``high`` times the recipe's own value, evenly by magnitude."""

    def tuned(recipe: Recipe) -> Tuned | None:
        if not where(recipe):
            return None
        own = _number(recipe, key)
        if whole:
            return Numbers(key, max(1, round(low * own)), max(2, round(high * own)), True, True)
        return Numbers(key, low * own, high * own, log=True)

    return tuned


def _within(
    key: str,
    low: float,
    high: float,
    *,
    log: bool = False,
    whole: bool = False,
    step: int = 1,
    where: Callable[[Recipe], bool] = lambda recipe: True,
) -> Callable[[Recipe], Tuned | None]:
    """From ``low`` to ``high``, whatever the recipe says."""
    found = Numbers(key, low, high, log, whole, step)
    return lambda recipe: found if where(recipe) else None


def _one_of(
    key: str, *choices: Value, where: Callable[[Recipe], bool] = lambda recipe: True
) -> Callable[[Recipe], Tuned | None]:
    found = Choices(key, tuple(json.dumps(choice) for choice in choices))
    return lambda recipe: found if where(recipe) else None


def _moves_backbone(recipe: Recipe) -> bool:
    return isinstance(recipe.model, BackboneModel) and recipe.training.trainable.backbone != "none"


def _has_second_stage(recipe: Recipe) -> bool:
    return recipe.fine_tuning is not None


def _is_logistic(recipe: Recipe) -> bool:
    return recipe.probe.head == "logistic"


def _takes_any_size(recipe: Recipe) -> bool:
    return isinstance(recipe.model, BackboneModel) and recipe.model.features == "pooled"


#: What is tuned unless ``--space`` says otherwise.
SPACE: tuple[Row, ...] = (
    Row("probe_strength", ("probe",),
        _within("probe_strength", 1e-4, 10.0, log=True, where=_is_logistic),
        "how far the logistic regression may lean on its features"),
    Row("probe.views", ("probe",),
        _one_of("probe.views", ["original"], ["original", "flip"]),
        "whether each image is also seen mirrored"),
    Row("probe.class_weight", ("probe",),
        _one_of("probe.class_weight", "none", "balanced", where=_is_logistic),
        "whether rare classes weigh as much as frequent ones"),
    Row("data.image_size", ("probe",),
        _within("data.image_size", 128, 288, whole=True, step=32, where=_takes_any_size),
        "the size at which the network sees the pictures"),
    Row("training.learning_rate", ("fit",), _around("training.learning_rate", 0.1, 10.0),
        "the size of a step"),
    Row("training.backbone_learning_rate_factor", ("fit",),
        _within("training.backbone_learning_rate_factor", 0.01, 1.0, log=True,
                where=_moves_backbone),
        "how much slower the pretrained weights move than the head"),
    Row("training.weight_decay", ("fit",), _within("training.weight_decay", 1e-6, 0.1, log=True),
        "the pull of all weights towards zero"),
    Row("training.label_smoothing", ("fit",), _within("training.label_smoothing", 0.0, 0.2),
        "how sure the network may be of a label"),
    Row("training.epochs", ("fit",), _around("training.epochs", 0.5, 2.0, whole=True),
        "how long it trains"),
    Row("fine_tuning.learning_rate", ("fit",),
        _around("fine_tuning.learning_rate", 0.1, 10.0, where=_has_second_stage),
        "the size of a step in the second stage"),
    Row("fine_tuning.epochs", ("fit",),
        _around("fine_tuning.epochs", 0.5, 2.0, whole=True, where=_has_second_stage),
        "how long the second stage trains"),
    Row("dropout", ("fit",), _within("dropout", 0.0, 0.7, where=lambda r: bool(_dropouts(r))),
        "the share of a layer's outputs that each step does without"),
    Row("augmentation_strength", ("fit",),
        _within("augmentation_strength", 0.0, 2.0,
                where=lambda r: any(s.transform in STRENGTHS for s in r.augmentation)),
        "how far pictures are changed, as a multiple of what the recipe does"),
)  # fmt: skip


def space_for(recipe: Recipe) -> tuple[Tuned, ...]:
    """What is tuned of a recipe by default.

    Raises:
        RecipeError: its method is not one whose settings the table has.
    """
    found = tuple(
        tuned for row in SPACE if recipe.method in row.methods and (tuned := row.tuned(recipe))
    )
    if not found:
        raise RecipeError(
            f"The recipe {recipe.name} has method '{recipe.method}', which settles its settings "
            "itself; name a recipe of method probe or fit, such as --recipe probe or "
            "--recipe finetune."
        )
    return found


# --- settings that stand for several keys -------------------------------------------------

#: Of each random transform the values that say how far it goes, and their largest sensible one.
STRENGTHS: Mapping[str, tuple[tuple[str, float], ...]] = MappingProxyType(
    {
        "rotation": (("degrees", 180.0),),
        "zoom": (("fraction", 0.95),),
        "translation": (("height", 1.0), ("width", 1.0)),
        "shear": (("degrees", 89.0),),
        "contrast": (("fraction", 1.0),),
        "brightness": (("fraction", 1.0),),
        "gaussian_noise": (("standard_deviation", 1.0),),
        "cutout": (("fraction", 1.0),),
    }
)


def _scale_augmentation(data: dict[str, Any], value: Value) -> None:
    for step in data["augmentation"]:
        for name, most in STRENGTHS.get(step["transform"], ()):
            step[name] = min(most, step[name] * float(value))  # type: ignore[arg-type]


def _dropouts(recipe: Recipe) -> list[str]:
    """The places of dropout in a network: layers of the head, or options of one from scratch."""
    if isinstance(recipe.model, ScratchModel):
        from tellapart.models.scratch import scratch_network

        options = scratch_network(recipe.model.network).options
        return [name for name in options if "dropout" in name]
    head = recipe.model.head if isinstance(recipe.model, BackboneModel) else ()
    return [layer.layer for layer in head if layer.layer == "dropout"]


def _set_dropout(data: dict[str, Any], value: Value) -> None:
    if data["model"]["kind"] == "scratch":
        names = _dropouts(validate_recipe(data, "the recipe"))
        data["model"]["options"] |= dict.fromkeys(names, value)
        return
    for layer in data["model"]["head"]:
        if layer["layer"] == "dropout":
            layer["rate"] = value


def _set_strength(data: dict[str, Any], value: Value) -> None:
    data["probe"]["strengths"] = [value]


#: Words that are no key of a recipe: what each changes in one that is plain data.
SPECIAL: Mapping[str, Callable[[dict[str, Any], Value], None]] = MappingProxyType(
    {
        "augmentation_strength": _scale_augmentation,
        "dropout": _set_dropout,
        "probe_strength": _set_strength,
    }
)


def with_values(recipe: Recipe, values: Mapping[str, Value]) -> Recipe:
    """The recipe with tuned values in their places.

    Raises:
        RecipeError: together they make no valid recipe.
    """
    ordinary = [f"{key}={json.dumps(v)}" for key, v in values.items() if key not in SPECIAL]
    changed = apply_settings(recipe, ordinary)
    data = changed.model_dump(mode="json")
    for key, value in values.items():
        if key in SPECIAL:
            SPECIAL[key](data, value)
    return validate_recipe(data, "the tuned recipe")


# --- a space of the user's own ------------------------------------------------------------


def read_space(path: str | Path, recipe: Recipe) -> tuple[Tuned, ...]:
    """The settings of a YAML file: keys of the recipe, or the words of :data:`SPECIAL`.

    Each has ``low`` and ``high`` (and ``log: true``, ``whole: true``, ``step``), or ``choices``.

    Raises:
        RecipeError: it cannot be read, or has mistakes (all are listed); no image was read.
    """
    try:
        with Path(path).open("rb") as file:
            content = plain_data(file.read(MAXIMUM_BYTES + 1).decode("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"--space {shown(path)} cannot be read: {error}.") from error
    except ValueError as error:
        raise RecipeError(f"--space {shown(path)} is not valid YAML: {error}") from error
    if not isinstance(content, dict) or not content:
        raise RecipeError(
            f"--space {shown(path)} must be a YAML mapping of settings to their ranges, such as "
            "'training.learning_rate: {low: 1.0e-4, high: 1.0e-2, log: true}'."
        )
    return checked_space(content, recipe, f"--space {shown(path)}")


def checked_space(content: Mapping[Any, Any], recipe: Recipe, source: str) -> tuple[Tuned, ...]:
    """Settings and ranges from plain data, every mistake of them told at once.

    Raises:
        RecipeError: there are mistakes.
    """
    found, problems = [], []
    for key, given in content.items():
        try:
            tuned = _tuned_of(str(key), given)
            for value in _ends(tuned):
                with_values(recipe, {tuned.key: value})
            found.append(tuned)
        except RecipeError as error:
            problems.append(str(error).removeprefix("--set: "))
    if problems:
        raise RecipeError(f"{source}: " + " ".join(problems), tuple(problems))
    return tuple(found)


_NUMBER_KEYS = ("low", "high", "log", "whole", "step")


def _tuned_of(key: str, given: Any) -> Tuned:
    known = [*setting_keys(), *SPECIAL]
    if key not in known:
        raise RecipeError(
            f"Unknown key '{shown(key)}'.{did_you_mean(key, known, cutoff=0.6)} A space takes the "
            f"keys of recipes, and {listed(sorted(SPECIAL), last='and')}."
        )
    if not isinstance(given, dict) or set(given) - {*_NUMBER_KEYS, "choices"}:
        raise RecipeError(
            f"'{key}' needs {{low: ..., high: ...}} (and log: true, whole: true or step), or "
            "{choices: [...]}."
        )
    if "choices" in given:
        choices = given["choices"]
        if set(given) != {"choices"} or not isinstance(choices, list) or len(choices) < 2:
            raise RecipeError(f"'{key}': choices is a list of two values or more, by itself.")
        try:
            return Choices(key, tuple(json.dumps(choice) for choice in choices))
        except TypeError:
            raise RecipeError(f"'{key}': a choice is a number, a word or a list.") from None
    return _numbers_of(key, given)


def _numbers_of(key: str, given: Mapping[str, Any]) -> Numbers:
    low, high = (_as_float(given.get(name)) for name in ("low", "high"))
    log, whole, step = given.get("log", False), given.get("whole", False), given.get("step", 1)
    if low is None or high is None or not low < high:
        raise RecipeError(f"'{key}': low and high are two numbers, low the smaller one.")
    if not isinstance(log, bool) or not isinstance(whole, bool):
        raise RecipeError(f"'{key}': log and whole are true or false.")
    if log and low <= 0:
        raise RecipeError(f"'{key}': with log, low is above 0.")
    if isinstance(step, bool) or not isinstance(step, int) or step < 1 or (log and step > 1):
        raise RecipeError(f"'{key}': step is a whole number from 1 up, and does not go with log.")
    whole = whole or given.get("step", 1) > 1
    if whole and not (low.is_integer() and high.is_integer()):
        raise RecipeError(f"'{key}': of whole numbers, low and high are whole numbers, too.")
    return Numbers(key, low, high, log, whole, step)


def _as_float(value: Any) -> float | None:
    """A number, also one such as 1e-3, which YAML reads as text."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _ends(tuned: Tuned) -> Sequence[Value]:
    if isinstance(tuned, Choices):
        return [json.loads(choice) for choice in tuned.choices]
    return [int(end) if tuned.whole else end for end in (tuned.low, tuned.high)]
