"""Packages that not everybody needs: whether they are here, and the sentence where they are not."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec

from tellapart.errors import MissingPackageError

#: What ``pip install 'tellapart[train]'`` brings, as it is imported.
TRAIN = ("torch", "torchvision", "timm", "accelerate")


def missing_of(modules: Sequence[str]) -> tuple[str, ...]:
    """Those of some modules that are not installed; nothing is imported."""
    return tuple(name for name in modules if not _is_here(name))


def pytorch_is_here() -> bool:
    """Whether all of :data:`TRAIN` is installed; nothing is imported."""
    return not missing_of(TRAIN)


def require_pytorch(what: str) -> None:
    """Refuse what needs PyTorch where it is not installed.

    Args:
        what: the beginning of the sentence, for example "The network 'vgg16'".

    Raises:
        MissingPackageError: it is not; the sentence has the command that installs it.
    """
    if not pytorch_is_here():
        raise MissingPackageError(
            f"{what} needs PyTorch, which is not installed; pip install 'tellapart[train]' "
            "brings it."
        )


def _is_here(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ImportError:  # something in the way of imports says so
        return False
