"""The folder of a tuning: what was asked for, the journal of its trials, and the best recipe."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tellapart.errors import RunError, TellapartError
from tellapart.files import write_json, write_text
from tellapart.recipe import Recipe
from tellapart.recipe_reading import load_recipe, recipe_to_yaml
from tellapart.tuning.space import Choices, Numbers, Tuned, checked_space
from tellapart.wording import shown

#: Raised when the meaning of the folder's files changes.
FORMAT = 1


@dataclass(frozen=True)
class Asked:
    """What a tuning was begun with; it goes on with the same."""

    #: The arguments of ``train`` that say which images, as JSON has them.
    images: Mapping[str, Any]
    objective: str
    sampler: str
    pruner: str
    #: Of the pixels of the recipe as it stands; equal ones mean equal images.
    fingerprint: str
    #: Settings and ranges, as in a file of ``--space``.
    space: Mapping[str, Any] = field(default_factory=dict)
    format: int = FORMAT


@dataclass(frozen=True)
class Place:
    """The folder, and the names of what is in it."""

    path: Path

    @property
    def about_file(self) -> Path:
        return self.path / "tune.json"

    @property
    def recipe_file(self) -> Path:
        """The recipe as it was before tuning."""
        return self.path / "recipe.yaml"

    @property
    def best_file(self) -> Path:
        """The recipe with the best settings so far."""
        return self.path / "best.yaml"

    @property
    def journal(self) -> Path:
        return self.path / "study.journal"

    @property
    def trials_file(self) -> Path:
        return self.path / "trials.csv"

    @property
    def winner(self) -> Path:
        """The run of the best settings."""
        return self.path / "winner"

    @property
    def report(self) -> Path:
        return self.path / "report.html"

    def write(self, asked: Asked, recipe: Recipe) -> None:
        """Write down what was asked for.

        Raises:
            FileError: it cannot be written.
        """
        write_text(self.recipe_file, recipe_to_yaml(recipe))
        write_json(self.about_file, asdict(asked))

    def read(self) -> tuple[Asked, Recipe, tuple[Tuned, ...]]:
        """What was asked for, the recipe, and its space.

        Raises:
            RunError: this is no folder of a tuning, or it is damaged or of a newer version.
        """
        if not self.about_file.is_file():
            raise RunError(
                f"{shown(self.path)} is no folder of a tuning; 'tellapart tune FOLDER --recipe "
                "NAME' makes one."
            )
        try:
            content = json.loads(self.about_file.read_text("utf-8"))
            if content.get("format", 0) > FORMAT:
                raise RunError(
                    f"{shown(self.path)} was made by a newer version of tellapart; use that one."
                )
            asked = Asked(**content)
            recipe = load_recipe(self.recipe_file)
            return asked, recipe, checked_space(asked.space, recipe, str(self.about_file))
        except RunError:
            raise
        except (OSError, ValueError, TypeError, AttributeError, TellapartError) as error:
            raise RunError(
                f"{shown(self.path)} is damaged ({shown(str(error))}); tune anew."
            ) from error


def space_to_json(space: Sequence[Tuned]) -> dict[str, Any]:
    """A space as a file of ``--space`` has it."""
    plain: dict[str, Any] = {}
    for each in space:
        content = each.to_json()
        if isinstance(each, Numbers) and not each.whole:
            del content["step"]
        plain[each.key] = content
    return plain


def range_text(tuned: Tuned) -> str:
    """A range in a few words, such as ``0.0001 to 0.01, by magnitude``."""
    if isinstance(tuned, Choices):
        return " or ".join(_plain(json.loads(choice)) for choice in tuned.choices)
    kind = ", by magnitude" if tuned.log else ""
    step = f", in steps of {tuned.step}" if tuned.whole and tuned.step > 1 else ""
    return f"{_plain(tuned.low)} to {_plain(tuned.high)}{kind}{step}"


def _plain(value: Any) -> str:
    """A value as people write it.

    >>> _plain(0.00012345), _plain(["original", "flip"]), _plain(96.0)
    ('0.000123', 'original + flip', '96')
    """
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, list):
        return " + ".join(map(_plain, value))
    return str(value)


def settings_text(settings: Mapping[str, Any]) -> str:
    """Settings in one line, such as ``training.learning_rate 0.0012, dropout 0.3``."""
    return ", ".join(f"{key} {_plain(value)}" for key, value in settings.items())
