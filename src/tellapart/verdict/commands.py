"""The commands of actions: built from how the run was made, quoted for a shell."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Sequence

from tellapart.verdict.evidence import Origin


def train_again(origin: Origin, *more: str, recipe: str | None = None, start: str = "") -> str:
    """``tellapart train`` on the same images, divided in the same way.

    Args:
        more: further words; they come last, so that they win over earlier ones.
        recipe: another one than the run's own.
        start: path of the run whose weights training begins from; "": as the recipe says.
    """
    used = recipe if recipe is not None else origin.recipe
    words = [] if used == "auto" else ["--recipe", used]
    words += ["--from", _path(start)] if start else []
    dividing = _without(origin.dividing, {f"data.{word[2:]}" for word in more if word[:2] == "--"})
    return _command("train", _path(origin.folder), *words, *origin.reading, *dividing, *more)


def _without(words: Sequence[str], keys: Collection[str]) -> list[str]:
    """The words without ``--set KEY=VALUE`` of keys that an option says anew."""
    kept: list[str] = []
    for word in words:
        if kept and kept[-1] == "--set" and word.partition("=")[0] in keys:
            kept.pop()
        else:
            kept.append(word)
    return kept


def go_on(origin: Origin, *more: str) -> str:
    """``tellapart train --resume`` of the run."""
    return _command("train", "--resume", _path(origin.run), *more)


def inspect_images(origin: Origin) -> str:
    """``tellapart inspect --audit`` of the images, read as the run read them."""
    return _command("inspect", _path(origin.folder), *origin.reading, "--audit")


def _command(*words: str) -> str:
    return shlex.join(["tellapart", *words])


def _path(path: str) -> str:
    """A path that is not taken for an option."""
    return f"./{path}" if path.startswith("-") else path
