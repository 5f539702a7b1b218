"""Answers: what a classifier says of image files, a row a file, whatever became of it."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from io import StringIO
from pathlib import Path
from typing import Any

from tellapart.errors import DataError
from tellapart.evaluation.columns import class_columns, word_for
from tellapart.evaluation.decision import Decision
from tellapart.evaluation.policy import Policy
from tellapart.result import Rows
from tellapart.wording import percent, shortened, shown

#: The prediction for an image unlike the training ones, where that was asked for, unless a class
#: is called so (see :attr:`Answers.unknown_word`).
UNKNOWN = "unknown"
#: The prediction for an image whose answer would not be confident enough, as above.
UNCERTAIN = "uncertain"
_FLAGS = {None: "", True: "true", False: "false"}
FORMATS = ("table", "csv", "json")
#: Characters of a line for the terminal, and the fewest of a path that are worth showing.
_WIDTH, _LEAST_PATH = 100, 24
#: Pictures that a notebook shows.
_PICTURES = 24


@dataclass(frozen=True)
class Answer:
    """What a run says of one image; ``error`` says why it could not be read."""

    path: str
    prediction: str
    probabilities: dict[str, float]
    error: str = ""
    #: Unlike the training images; None where nobody asked.
    unknown: bool | None = None
    #: Not confident enough to be answered; None where every image is.
    uncertain: bool | None = None
    #: Classes that hold the true one as often as promised, the likeliest first; None: not asked.
    set: tuple[str, ...] | None = None

    def to_json(self) -> dict[str, Any]:
        if self.error:
            return {"path": self.path, "error": self.error}
        return {
            "path": self.path,
            "prediction": self.prediction,
            "probabilities": self.probabilities,
            **({} if self.unknown is None else {"unknown": self.unknown}),
            **({} if self.uncertain is None else {"uncertain": self.uncertain}),
            **({} if self.set is None else {"set": list(self.set)}),
        }


@dataclass(frozen=True, repr=False)
class Answers(Rows[Answer]):
    """One answer a file, in the order given, folders sorted by path."""

    #: Class names in the order of the probabilities.
    classes: tuple[str, ...]
    #: By which the predictions were chosen.
    policy: Policy = field(default_factory=Policy)

    @property
    def decision(self) -> Decision | None:
        """How a class was chosen; None: the likeliest."""
        return self.policy.decision

    @property
    def unknown_word(self) -> str:
        """The prediction for images unlike the training ones: "unknown" where no class is."""
        return word_for(UNKNOWN, self.classes)

    def lines(self) -> Iterator[str]:
        """A table for people: the path, shortened where it is long, the answer and its
        probability, then the likeliest other classes."""
        width = min(max((len(shown(a.path)) for a in self.rows), default=0), _WIDTH)
        said = [_likeliest(answer) for answer in self.rows]
        longest = max(map(len, said), default=0)
        width = max(min(width, _WIDTH - 2 - longest), _LEAST_PATH)
        for answer, text in zip(self.rows, said, strict=True):
            yield f"{shortened(shown(answer.path), width):<{width}}  {text}"

    def to_json(self) -> list[dict[str, Any]]:
        """All answers; the command prints them one a line. Where a decision is in force each says
        from which probability on which class is said."""
        return [self._form.to_json(answer) for answer in self.rows]

    @property
    def _form(self) -> RowForm:
        return RowForm(self.classes, self.policy)

    def in_format(self, name: str) -> Iterator[str]:
        """Lines of a table, of CSV, or of JSON, an answer a line.

        Raises:
            DataError: ``name`` is none of :data:`FORMATS`.
        """
        if name == "table":
            yield from self.lines()
        elif name == "csv":
            yield csv_line(self._form.columns)
            for answer in self.rows:
                yield csv_line(self._form.cells(answer))
        elif name == "json":
            for content in self.to_json():
                yield json.dumps(content, ensure_ascii=False)
        else:
            check_format(name)

    def _repr_html_(self) -> str:
        from tellapart.notebook import card, pictures

        failed = sum(bool(answer.error) for answer in self.rows)
        headline = f"{len(self.rows):,} images" + (f", {failed:,} not read" if failed else "")
        drawn = [
            (thumbnail, _likeliest(answer, most=1), answer.path)
            for answer in self.rows[:_PICTURES]
            if not answer.error and (thumbnail := _thumbnail(Path(answer.path)))
        ]  # fmt: skip
        rows = [(answer.path, answer.error) for answer in self.rows if answer.error]
        return card(
            "Predictions", headline=headline,
            sentences=[f"Decision: {rule}." for rule in self.policy.rules],
            table=[("not read", "why"), *rows[:_PICTURES]] if rows else (),
        ) + pictures(drawn)  # fmt: skip


def check_format(name: str) -> None:
    """Before any work.

    Raises:
        DataError: it is none of :data:`FORMATS`.
    """
    if name not in FORMATS:
        raise DataError(f"--format takes {', '.join(FORMATS)}; received '{name}'.")


def _likeliest(answer: Answer, most: int = 3) -> str:
    """What was answered, with its probability; behind it the likeliest of the others."""
    if answer.error:
        return f"cannot be read: {shown(answer.error)}"
    none = answer.unknown or answer.uncertain
    said = "" if none else answer.prediction
    ranked = sorted(answer.probabilities.items(), key=lambda item: (item[0] != said, -item[1]))
    ranked = ranked[:most]
    text = "  ".join(f"{shown(name)} {percent(p)}" for name, p in ranked)
    if answer.set is not None:
        text += f"  {{{', '.join(map(shown, answer.set))}}}"
    return f"{answer.prediction} (nearest: {text})" if none else text


@dataclass(frozen=True)
class RowForm:
    """What a row about an image says, in a table or as JSON; the same for all images.

    Attributes:
        classes: in the order of the probabilities.
        policy: in force.
        with_unknown: whether each row says if its image is unlike the training ones.
        model: names what gave the answers; "": rows do not say.
    """

    classes: tuple[str, ...]
    policy: Policy = field(default_factory=Policy)
    with_unknown: bool = False
    model: str = ""

    @property
    def _behind(self) -> list[tuple[str, str]]:
        """Columns behind those of the classes, and of which kind each is."""
        return [
            *([("unknown", "flag")] if self.with_unknown else []),
            *([("uncertain", "flag")] if self.policy.abstention is not None else []),
            *([("set", "names")] if self.policy.sets is not None else []),
            ("error", "text"),
            *([("decision", "text")] if self.policy.rules else []),
            *([("model", "text")] if self.model else []),
        ]

    @cached_property
    def kinds(self) -> tuple[tuple[str, str], ...]:
        """Every column: its name, and whether it holds a text, a number, a flag or names."""
        before = [("path", "text"), ("prediction", "text")]
        fixed = [name for name, _ in (*before, *self._behind)]
        of_classes = [(name, "number") for name in class_columns(self.classes, fixed)]
        return (*before, *of_classes, *self._behind)

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns of a table."""
        return tuple(name for name, _ in self.kinds)

    @cached_property
    def constant_cells(self) -> list[str]:
        """The last cells of every row."""
        rule = [self.policy.rule] if self.policy.rules else []
        return [*rule, *([self.model] if self.model else [])]

    def cells(self, answer: Answer) -> list[str]:
        """A row of a table, as texts."""
        values = [f"{answer.probabilities[c]:.6f}" if not answer.error else ""
                  for c in self.classes]  # fmt: skip
        flags = [
            *([_FLAGS[answer.unknown]] if self.with_unknown else []),
            *([_FLAGS[answer.uncertain]] if self.policy.abstention is not None else []),
            *([json.dumps(answer.set, ensure_ascii=False) if answer.set else ""]
              if self.policy.sets is not None else []),
        ]  # fmt: skip
        return [answer.path, answer.prediction, *values, *flags, answer.error,
                *self.constant_cells]  # fmt: skip

    def to_json(self, answer: Answer) -> dict[str, Any]:
        """The same as an object; where a decision is in force it says from which probability on
        which class is said."""
        content = answer.to_json()
        if "error" not in content and self._rule is not None:
            content["decision"] = self._rule
        return {**content, **({"model": self.model} if self.model else {})}

    @property
    def _rule(self) -> dict[str, Any] | None:
        decision, abstention, sets = self.policy.decision, self.policy.abstention, self.policy.sets
        rule: dict[str, Any] = {}
        if decision is not None:
            rule |= {"positive": decision.positive, "threshold": decision.threshold}
        if abstention is not None:
            rule |= {"uncertain_up_to": abstention.above,
                     "at_most_wrong": abstention.at_most_wrong}  # fmt: skip
        if sets is not None:
            rule |= {"set_from": sets.least, "coverage": sets.coverage}
        return rule or None

    def difference(self, content: Mapping[str, Any]) -> str:
        """What of an object of :meth:`to_json` is not of this form; "" if nothing."""
        if content.get("model", "") != self.model:
            return f"is by {content.get('model', 'an unnamed one')}"
        if "error" in content:
            return ""
        if list(content.get("probabilities", ())) != list(self.classes):
            return "has other classes"
        if content.get("decision") != self._rule:
            return "is by another decision"
        return "" if ("unknown" in content) == self.with_unknown else "differs about unknown images"

    def table_columns(self, contents: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
        """Objects of :meth:`to_json` as the columns of a table, None where there is no value."""
        rule = self.policy.rule
        columns: dict[str, list[Any]] = {
            # A name that is no Unicode is written as in a CSV.
            "path": [c["path"].encode("utf-8", "backslashreplace").decode() for c in contents],
            "prediction": [c.get("prediction", "") for c in contents],
            "unknown": [c.get("unknown") for c in contents],
            "uncertain": [c.get("uncertain") for c in contents],
            "set": [c.get("set") for c in contents],
            "error": [c.get("error", "") for c in contents],
            "decision": [rule] * len(contents),
            "model": [self.model] * len(contents),
        }
        of_classes = self.columns[2 : 2 + len(self.classes)]
        for name, column in zip(self.classes, of_classes, strict=True):
            columns[column] = [c.get("probabilities", {}).get(name) for c in contents]
        return columns


def csv_line(cells: Iterable[object]) -> str:
    """One row without its line end; whatever a name holds, a reader of CSV gets it back."""
    text = StringIO()
    csv.writer(text, lineterminator="\r\n").writerow(cells)  # so that \r in a name is quoted
    return text.getvalue().removesuffix("\r\n")


def _thumbnail(file: Path) -> bytes:
    from tellapart.pixels.decode import UnreadableImage
    from tellapart.pixels.thumbnails import make_thumbnail

    try:
        return make_thumbnail(file, size=160)
    except UnreadableImage:  # moved since; its answer stands all the same
        return b""
