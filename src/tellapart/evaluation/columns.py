"""Names of columns, and of answers, that no class can be taken for.

A class may be called "error", "path" or "unknown". Tables with a column a class, and answers that
are no class, say something else then, and only then.
"""

from __future__ import annotations

from collections.abc import Sequence

#: Before the name of each class where one of them is also the name of another column.
PREFIX = "probability of "


def class_columns(classes: Sequence[str], fixed: Sequence[str]) -> tuple[str, ...]:
    """The columns of the classes in a table that has these other columns.

    Names that differ in case only are told apart by some readers and not by others, so they are
    taken as the same.

    >>> class_columns(["cat", "dog"], ["path", "error"])
    ('cat', 'dog')
    >>> class_columns(["Error", "fine"], ["path", "error"])
    ('probability of Error', 'probability of fine')
    """
    taken = {name.casefold() for name in fixed}
    clash = any(name.casefold() in taken for name in classes)
    # So that the prefix, where all columns have it, is never part of a name.
    if clash or all(name.startswith(PREFIX) for name in classes):
        return tuple(PREFIX + name for name in classes)
    return tuple(classes)


def classes_of(columns: Sequence[str]) -> tuple[str, ...]:
    """The inverse of :func:`class_columns`."""
    if all(name.startswith(PREFIX) for name in columns):
        return tuple(name.removeprefix(PREFIX) for name in columns)
    return tuple(columns)


def word_for(meaning: str, classes: Sequence[str]) -> str:
    """An answer that is none of the classes: the word itself, or where a class has it, quoted so
    that none has.

    >>> word_for("unknown", ["cat", "dog"]), word_for("unknown", ["cat", "unknown"])
    ('unknown', '(unknown)')
    """
    taken = {name.casefold() for name in classes}
    while meaning.casefold() in taken:
        meaning = f"({meaning})"
    return meaning
