"""JointClassifier: several classifiers that answer together, each with its own preprocessing.

Two rules join them. ``sum``: the logits of all add up, as those of one linear layer on the
features of several backbones do. ``mean``: probabilities are averaged by weights, an ensemble.

It is stored as a :class:`~tellapart.prediction.classifier.Classifier` is, in one safetensors
file: its tensors are those of the members, ``0.`` and so on before their names, and its header
lists the members. A backbone that several members stand on is there once.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tellapart.data.pixels import PixelCache, prepared_otherwise
from tellapart.engines.engine import Engine
from tellapart.evaluation.calibration import log_probabilities
from tellapart.models.tensors import State, joint_digest, tensor_digests
from tellapart.pixels.decode import PictureGiven
from tellapart.pixels.preprocessing import Preprocessing
from tellapart.pixels.sets import PixelSets, decode_sets
from tellapart.prediction.answering import Answering, to_probabilities
from tellapart.prediction.classifier import (
    Classifier,
    Description,
    StoredTensors,
    check_classes,
    check_temperature,
)
from tellapart.progress import SILENT, Progress

Rule = Literal["sum", "mean"]
_BACKBONE = "backbone."


@dataclass(frozen=True)
class JointDescription:
    """What the file of a joint classifier says beside its weights."""

    classes: tuple[str, ...]
    rule: Rule
    #: One that is itself several networks side by side may be a member of an ensemble.
    members: tuple[Description | JointDescription, ...]
    #: How much each member counts, in sum 1; for the rule "sum" this is only said, not used: the
    #: share of each in how far the logits of train images vary.
    weights: tuple[float, ...]
    #: For each member, the one whose tensors hold its backbone: itself, or one before it.
    backbones: tuple[int, ...]
    #: Logits are divided by this before the softmax; for "mean" they are log probabilities.
    temperature: float = 1.0

    def to_json(self) -> str:
        content = asdict(self) | {
            "members": [json.loads(member.to_json()) for member in self.members]
        }
        return json.dumps(content)

    @classmethod
    def from_json(cls, text: str) -> JointDescription:
        """The description that :meth:`to_json` wrote.

        Raises:
            KeyError, TypeError, ValueError: the text is none.
            TellapartError: a setting of a member's network is wrong.
        """
        content: dict[str, Any] = json.loads(text)
        members = tuple(_member_from(member) for member in content.pop("members"))
        classes = check_classes(content.pop("classes"))
        weights, backbones = (tuple(content.pop(key)) for key in ("weights", "backbones"))
        described = cls(
            classes=classes, members=members, weights=weights, backbones=backbones, **content
        )
        described._check()
        return described

    def _check(self) -> None:
        check_temperature(self.temperature)
        number = len(self.members)
        if number < 2 or self.rule not in ("sum", "mean"):
            raise ValueError(f"{number} members, joined by {self.rule!r}")
        if any(member.classes != self.classes for member in self.members):
            raise ValueError("members of other classes")
        if (
            len(self.weights) != number
            or not all(isinstance(weight, int | float) and weight >= 0 for weight in self.weights)
            or abs(sum(self.weights) - 1) > 1e-6
        ):
            raise ValueError(f"the weights are {self.weights}")
        if len(self.backbones) != number or any(
            not isinstance(place, int) or not 0 <= place <= own or self.backbones[place] != place
            for own, place in enumerate(self.backbones)
        ):
            raise ValueError(f"the backbones are those of members {self.backbones}")

    @property
    def single_output(self) -> bool:
        """Joint logits have a column a class, whatever the members' have."""
        return False

    @property
    def outputs(self) -> int:
        """Columns of the joint logits."""
        return len(self.classes)

    @property
    def heaviest(self) -> int:
        """The member that counts most, the first of several."""
        return int(np.argmax(self.weights))

    @property
    def preprocessing(self) -> Preprocessing:
        """That of the member that counts most."""
        return self.members[self.heaviest].preprocessing

    @cached_property
    def preprocessings(self) -> tuple[Preprocessing, ...]:
        """One for each way in which an image is prepared, whichever members share it."""
        ways: dict[str, Preprocessing] = {}
        for member in self.members:
            for preprocessing in member.preprocessings:
                ways.setdefault(preprocessing.resize_rule(), preprocessing)
        return tuple(ways.values())

    @cached_property
    def ways_of_members(self) -> tuple[tuple[int, ...], ...]:
        """For each member, which of :attr:`preprocessings` it looks at."""
        return tuple(
            tuple(self.way_of(preprocessing) for preprocessing in member.preprocessings)
            for member in self.members
        )

    def way_of(self, preprocessing: Preprocessing) -> int:
        """Which of :attr:`preprocessings` gives the same pixels."""
        rules = [way.resize_rule() for way in self.preprocessings]
        return rules.index(preprocessing.resize_rule())


def _member_from(content: Any) -> Description | JointDescription:
    kind = JointDescription if "members" in content else Description
    return kind.from_json(json.dumps(content))


def join(
    members: Sequence[tuple[State, Description | JointDescription]],
    rule: Rule,
    weights: Sequence[float],
) -> tuple[dict[str, NDArray[Any]], JointDescription]:
    """Tensors and description of classifiers that answer together.

    Args:
        members: of each its tensors and its description, temperature included where the rule is
            "mean"; all of the same classes.
        weights: how much each counts; they are scaled to sum 1.
    """
    state: dict[str, NDArray[Any]] = {}
    backbones: list[int] = []
    known: dict[str, int] = {}
    for number, (tensors, _) in enumerate(members):
        own = {name: value for name, value in tensors.items() if name.startswith(_BACKBONE)}
        place = number
        if own:  # else it is several networks, which keep theirs
            place = known.setdefault(joint_digest(tensor_digests(own)), number)
        backbones.append(place)
        state |= {
            f"{number}.{name}": value for name, value in tensors.items()
            if place == number or not name.startswith(_BACKBONE)
        }  # fmt: skip
    total = float(sum(weights))
    description = JointDescription(
        classes=members[0][1].classes,
        rule=rule,
        members=tuple(described for _, described in members),
        weights=tuple(float(weight) / total for weight in weights),
        backbones=tuple(backbones),
    )
    return state, description


class MemberState(Mapping[str, NDArray[Any]]):
    """The tensors of one member by their own names, read from the file when they are needed."""

    def __init__(self, tensors: StoredTensors | State, number: int, backbone: int) -> None:
        self._tensors = tensors
        self._prefix, self._backbone = f"{number}.", f"{backbone}.{_BACKBONE}"

    @cached_property
    def _own(self) -> dict[str, NDArray[Any]]:
        stored = self._tensors
        state = stored.values if isinstance(stored, StoredTensors) else stored
        own = {
            name.removeprefix(self._prefix): value for name, value in state.items()
            if name.startswith(self._prefix) and not name.startswith(self._prefix + _BACKBONE)
        }  # fmt: skip
        shared = {
            name.partition(".")[2]: value for name, value in state.items()
            if name.startswith(self._backbone)
        }  # fmt: skip
        return shared | own

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self._own[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._own)

    def __len__(self) -> int:
        return len(self._own)


@dataclass(frozen=True)
class JointClassifier(Answering[PixelSets]):
    """Several networks that answer together; used as a ``Classifier`` is, on ``PixelSets``."""

    #: Where the weights are read from when they are first needed; None: they are in memory.
    file: Path | None
    description: JointDescription
    device: str = "auto"
    #: Of weights and description, as the file was written.
    digest: str = ""
    weights: State | None = field(default=None, repr=False, compare=False)
    #: Engines that are open; None: its own.
    engines: dict[str, Engine] | None = field(default=None, repr=False, compare=False)

    @property
    def classes(self) -> tuple[str, ...]:
        return self.description.classes

    @property
    def preprocessing(self) -> Preprocessing:
        """That of the member that counts most, which shows what the others saw, too."""
        return self.description.preprocessing

    @cached_property
    def members(self) -> tuple[Classifier | JointClassifier, ...]:
        """The members as classifiers of their own; engines are open once for all of them."""
        described, tensors = self.description, self._tensors
        engines: dict[str, Engine] = {} if self.engines is None else self.engines
        found: list[Classifier | JointClassifier] = []
        for number, member in enumerate(described.members):
            state = MemberState(tensors, number, described.backbones[number])
            given: dict[str, Any] = {"weights": state, "engines": engines}
            if isinstance(member, JointDescription):
                found.append(JointClassifier(self.file, member, self.device, **given))
            else:
                found.append(Classifier(self.file, member, self.device, **given))
        return tuple(found)

    @property
    def heaviest(self) -> Classifier:
        """The network that counts most: what is shown of one is shown of it."""
        member = self.members[self.description.heaviest]
        return member.heaviest if isinstance(member, JointClassifier) else member

    @property
    def engine_name(self) -> str:
        """Engines and precisions that have predicted; "" before that."""
        names = dict.fromkeys(name for m in self.members if (name := m.engine_name))
        return " and ".join(names)

    def state(self) -> dict[str, NDArray[Any]]:
        """All weights, by name, those of members behind their number.

        Raises:
            RunError: they are not those that the file was written with, or not all numbers.
        """
        tensors = self._tensors
        return dict(tensors.values if isinstance(tensors, StoredTensors) else tensors)

    def prepared(self, images: PixelCache, *, progress: Progress = SILENT) -> PixelSets:
        """The images in every way in which members look at them.

        Raises:
            DataError: a file has changed, or cannot be read at one of the sizes.
        """
        ways = self.description.preprocessings
        return PixelSets(
            tuple(prepared_otherwise(images, way, progress=progress).pixels for way in ways)
        )

    @property
    def calibration(self) -> JointDescription:
        return self.description

    def decoded(self, pictures: Sequence[PictureGiven]) -> tuple[PixelSets, list[str]]:
        """Pictures, once for each way in which members look at them."""
        return decode_sets(pictures, self.description.preprocessings)

    def noise(self, images: int) -> PixelSets:
        """So many images of noise."""
        random = np.random.default_rng(0)
        sizes = [(images, way.height, way.width, 3) for way in self.description.preprocessings]
        return PixelSets(tuple(random.integers(0, 256, size, dtype=np.uint8) for size in sizes))

    def rows_of(self, pixels: PixelSets, rows: slice | NDArray[np.int64]) -> PixelSets:
        """Some of the images."""
        return pixels[rows]

    def block_of_logits(self, block: PixelSets) -> NDArray[np.float32]:
        """Logits (N, num_classes): sums of the members', or logarithms of mean probabilities."""
        return self.logits_seen(block, {})

    def logits_seen(
        self, block: PixelSets, seen: dict[Any, NDArray[np.float32]]
    ) -> NDArray[np.float32]:
        """:meth:`block_of_logits`; ``seen`` as for a ``Classifier``."""
        of_members = []
        for member, ways in zip(self.members, self.description.ways_of_members, strict=True):
            arrays = tuple(block.arrays[way] for way in ways)
            if isinstance(member, JointClassifier):
                of_members.append(member.logits_seen(PixelSets(arrays), seen))
            else:
                of_members.append(member.logits_seen(arrays[0], seen))
        return joined_logits(of_members, self.description)

    def features(self, pixels: PixelSets, *, progress: Progress = SILENT) -> NDArray[np.float32]:
        """Vectors (N, D): those of the network that counts most."""
        shown = self.heaviest
        way = self.description.way_of(shown.preprocessing)
        return shown.features(pixels.arrays[way], progress=progress)

    @cached_property
    def _tensors(self) -> StoredTensors | State:
        if self.weights is not None:
            return self.weights
        if self.file is None:
            raise ValueError("a classifier needs a file or weights")
        return StoredTensors(self.file, self.digest)


def joined_logits(
    of_members: Sequence[NDArray[np.float32]], description: JointDescription
) -> NDArray[np.float32]:
    """Joint logits (N, C) of the members' (each (N, C), or (N, 1) for a sigmoid)."""
    if description.rule == "sum":
        total: NDArray[np.float32] = np.sum(of_members, axis=0, dtype=np.float32)
        return total
    probabilities = [
        to_probabilities(logits, member)
        for logits, member in zip(of_members, description.members, strict=True)
    ]
    # One by one: a product of matrices would be rounded otherwise for other numbers of images.
    mean = np.zeros_like(probabilities[0])
    for weight, row in zip(description.weights, probabilities, strict=True):
        mean += weight * row
    return log_probabilities(mean).astype(np.float32)
