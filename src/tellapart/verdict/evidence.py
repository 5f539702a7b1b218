"""Evidence: everything that the verdict is drawn from, as plain values.

The rules see nothing else, so that each can be tried on made evidence. How a run's folder
becomes evidence is said in :mod:`tellapart.verdict.of_run`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tellapart.evaluation.curve_shape import History
from tellapart.evaluation.learning_curve import LearningCurve
from tellapart.evaluation.metric_table import Metrics
from tellapart.number import Number


@dataclass(frozen=True, kw_only=True)
class Leak:
    """Images of the shown part that were used in training as well.

    Attributes:
        images, of: so many of so many.
        copies, near: of these, equal files and near copies; both 0 where that is not known.
        with_them: the part's metrics with all of its images.
        without_them: those of its clean images; None where there are none.
        counted: the numbers shown are with them (``--keep-leaks``).
    """

    images: int
    of: int
    copies: int = 0
    near: int = 0
    with_them: Metrics | None = None
    without_them: Metrics | None = None
    counted: bool = False

    @property
    def share(self) -> float:
        """Of the part's images."""
        return self.images / self.of

    @property
    def lift(self) -> float:
        """By how much the leaked images raise the accuracy, in 0..1; 0 where not known."""
        if self.with_them is None or self.without_them is None:
            return 0.0
        both = self.with_them.accuracy.value, self.without_them.accuracy.value
        return both[0] - both[1] if both[0] is not None and both[1] is not None else 0.0


@dataclass(frozen=True, kw_only=True)
class Training:
    """How the classifier was trained.

    Attributes:
        pretrained: it began with weights that were learned on other images.
        frozen: the pretrained network was left as it was; only what stands on it learned.
        augmented: the training images were changed at random.
        balanced: rare classes counted more.
        in_epochs: by gradient descent, so that epochs can be added.
        history: a row an epoch, as in ``history.csv``.
        kept_epoch: whose weights were kept.
        ended_by: "" (its last epoch), "early stopping", "time limit", "interrupted".
        interruption: "" or where it stopped, for example "stopped at epoch 2 of 30".
        seconds_an_epoch: measured, of the last stage; None where nothing was.
    """

    pretrained: bool = True
    frozen: bool = True
    augmented: bool = False
    balanced: bool = False
    in_epochs: bool = False
    history: History = ()
    kept_epoch: int | None = None
    ended_by: str = ""
    interruption: str = ""
    seconds_an_epoch: float | None = None


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What commands are built from: how the run was made.

    Attributes:
        run: path of its folder.
        folder: the images.
        reading: words of the command line that say how they are read, for ``train`` and
            ``inspect``.
        dividing: those that say how they are divided and fitted, for ``train`` alone.
        recipe: what ``--recipe`` takes to train in the same way again.
        given_parts: parts that the folder itself has; tellapart did not split these.
        group_by: as given; "" where images were not grouped.
    """

    run: str
    folder: str
    reading: tuple[str, ...] = ()
    dividing: tuple[str, ...] = ()
    recipe: str = "auto"
    given_parts: frozenset[str] = frozenset()
    group_by: str = ""


@dataclass(frozen=True, kw_only=True)
class Frames:
    """Images whose names look like those of a series, and the ``--group-by`` for them."""

    images: int
    of: int
    group_by: str


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """All that is known of a result.

    Attributes:
        shown: the metrics that the verdict is about: the run's test part, its validation
            part where it has no test, or a folder of new images.
        own: the shown images are the run's own.
        train, validation, test: metrics of the run's own parts, clean of leaks; None where
            there are none. ``train`` may be of a sample.
        counts: images of each class, by part.
        leak: of the shown part; None where none was found.
        leaks_sought: near copies across parts were looked for, so that "none" means something.
        validation_leak: how many validation images were used to train, though not left out.
        borderline: pairs of images across parts that are nearly near copies.
        groups: among the shown images, of those that belong together; None: each stands alone.
        frames: names that look like a series, where images were not grouped.
        unlike: share of the shown images that are unlike the training ones; None: not asked.
        curve: what more images would buy; None: not measured.
        temperature: logits were divided by it.
        temperature_gain: by how much it lowered the shown part's log loss, in nats an image,
            with its interval; None where it is 1 or not known.
        uncertain: how many of the shown images of each class are answered "uncertain"; empty where
            every image is answered.
        training, origin: see there.
    """

    shown: Metrics
    own: bool = True
    train: Metrics | None = None
    validation: Metrics | None = None
    test: Metrics | None = None
    counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    leak: Leak | None = None
    leaks_sought: bool = False
    validation_leak: int = 0
    borderline: int = 0
    groups: int | None = None
    frames: Frames | None = None
    unlike: Number | None = None
    curve: LearningCurve | None = None
    temperature: float = 1.0
    temperature_gain: Number | None = None
    uncertain: Mapping[str, int] = field(default_factory=dict)
    training: Training = field(default_factory=Training)
    origin: Origin | None = None

    @property
    def present(self) -> tuple[str, ...]:
        """Classes that have shown images, in order."""
        rows = self.shown.per_class
        return tuple(name for name in self.shown.classes if rows[name].support)

    @property
    def absent(self) -> tuple[str, ...]:
        """Classes without a shown image, in order."""
        rows = self.shown.per_class
        return tuple(name for name in self.shown.classes if not rows[name].support)

    @property
    def chance(self) -> float:
        """Mean recall of the best guess that does not look at the image."""
        return 1.0 / len(self.present) if self.present else 0.0

    @property
    def train_images(self) -> int:
        """How many images it was trained on; 0 where that is not known."""
        return sum(self.counts.get("train", {}).values())

    @property
    def train_is_sample(self) -> bool:
        """The train metrics are of some of the training images only."""
        return self.train is not None and 0 < self.train.images < self.train_images

    @property
    def mistakes(self) -> int:
        """Shown images that are wrong."""
        matrix = self.shown.confusion_matrix
        return self.shown.images - sum(matrix[i][i] for i in range(len(matrix)))
