"""What a candidate will cost, from what this machine was seen to need.

A network's work grows with the pixels that it sees, so one measured rate serves all sizes; that
of another network is scaled by how much it computes a pixel. Every trial corrects the rates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from tellapart.models.inputs import recipe_of_member
from tellapart.models.known import KNOWN
from tellapart.models.weights import canonical_name
from tellapart.pixels.views import TEST_TIME_VIEWS
from tellapart.recipe import BackboneModel, JoinedModel, ProgressiveResizing, Recipe, TrainingStage
from tellapart.search.study import Study

#: Multiplications a pixel, beside EfficientNet-Lite0's (Liu and Tan 2020: 0.407, 0.631 and 0.899
#: billion for one picture of 224, 240 and 260 pixels).
_WORK: Mapping[str, float] = MappingProxyType(
    {"tf_efficientnet_lite0": 1.0, "tf_efficientnet_lite1": 1.35, "tf_efficientnet_lite2": 1.64}
)
#: Seconds an image and million pixels, EfficientNet-Lite0, two cores: until they are measured.
_FEATURES, _TRAINING = 0.08, 0.3
#: Training costs about so many times what OpenVINO needs for the features.
_TRAINING_TO_FEATURES = 4.0
#: Share of the work of a full training that is left where only the last two stages move.
_PARTIAL_SHARE = 0.25
#: What an image costs a training beyond its own pixels, as million pixels: small maps do not fill
#: a processor (128, 96 and 64 pixels took 401, 262 and 172 ms a step of 64 images).
_BEYOND_PIXELS = 0.005
#: Opening a network and converting it, in seconds; and fitting a head on features.
_OPENING, _HEAD = 5.0, 1.5
#: A head on the features of many images: seconds each.
_HEAD_AN_IMAGE = 6e-4


def work_a_pixel(backbone: str) -> float:
    """How much a network computes a pixel, EfficientNet-Lite0 being 1; of others a guess."""
    name = canonical_name(backbone)
    if name in _WORK:
        return _WORK[name]
    known = KNOWN.get(name)
    return max(1.0, (known.parameters / 3.4e6) ** 0.75) if known is not None else 6.0


def networks_of(recipe: Recipe, size: int) -> tuple[tuple[str, int], ...]:
    """Each backbone that sees the pictures, and their size there; none for a scratch network."""
    if isinstance(recipe.model, JoinedModel):
        return tuple((m.backbone, m.image_size or size) for m in recipe.model.members)
    return ((recipe.model.backbone, size),) if isinstance(recipe.model, BackboneModel) else ()


def answer_cost(recipe: Recipe, size: int) -> float:
    """What an answer costs: million pixels that EfficientNet-Lite0 would see for it.

    Args:
        size: of its pictures, where the recipe does not say another one for a backbone.
    """
    of_members = recipe.ensemble.members if recipe.method == "ensemble" else ()
    if of_members:
        members = [recipe_of_member(recipe, member) for member in of_members]
        return sum(answer_cost(member, member.data.image_size or size) for member in members)
    seen = networks_of(recipe, size)
    million = sum(map(_million, seen)) if seen else size * size / 1e6
    return num_views(recipe) * million


def num_views(recipe: Recipe) -> int:
    """Views of an image that an answer is averaged over."""
    if recipe.method == "fit":
        return len(TEST_TIME_VIEWS[recipe.test_time])
    return len(recipe.probe.views)


def full_size_epochs(epochs: int, resizing: ProgressiveResizing | None, size: int) -> float:
    """Epochs on full-size pictures that cost as much as these, whose pictures grow."""
    from tellapart.training.resizing import training_image_size

    heights = [training_image_size(resizing, e, epochs, size) for e in range(1, epochs + 1)]
    return sum(_trained_million(height) for height in heights) / _trained_million(size)


def _trained_million(size: int) -> float:
    """What a step of a training costs an image of a size, as million pixels."""
    return size * size / 1e6 + _BEYOND_PIXELS


@dataclass
class Costs:
    """Rates of this machine; they change as trials are measured."""

    #: Seconds to decode an image.
    decoding: float = 0.002
    #: Seconds an image and million pixels.
    features: float = _FEATURES
    training: float = _TRAINING
    #: Of fitting the first answer's head.
    head: float = _HEAD
    #: Of writing a run with its report, but for predictions.
    publishing: float = 5.0
    #: Whether features and training were measured here.
    measured: set[str] = field(default_factory=set)
    #: Sizes whose pictures are decoded, and (backbone, size, view) whose features are there.
    sizes: set[int] = field(default_factory=set)
    extracted: set[tuple[str, int, str]] = field(default_factory=set)

    def head_on(self, study: Study) -> float:
        """Seconds of a logistic regression on the features of one view."""
        if "head" in self.measured:
            return self.head
        return max(self.head, _HEAD_AN_IMAGE * study.num_train)

    def saw_features(self, seconds: float, images: int, size: int, backbone: str) -> None:
        """The features of so many images took so long."""
        if seconds > 0.5 and images:
            rate = seconds / (images * work_a_pixel(backbone) * size * size / 1e6)
            self.features = rate
            self.measured.add("features")
            if "training" not in self.measured:
                self.training = max(_TRAINING_TO_FEATURES * rate, 0.02)

    def saw_training(self, seconds_an_image: float, size: int, backbone: str) -> None:
        """A training step takes so long for each of its images."""
        self.training = seconds_an_image / (work_a_pixel(backbone) * _trained_million(size))
        self.measured.add("training")

    def saw_head(self, seconds: float, recipe: Recipe) -> None:
        """Fitting a head on features that were there took so long."""
        self.head = max(0.2, seconds / (_HEADS[recipe.probe.head] * len(recipe.probe.views)))
        self.measured.add("head")

    def saw_tuning(self, seconds: float, study: Study, recipe: Recipe, size: int) -> None:
        """A training in epochs on pictures took so long until it was to be scored."""
        if any(stage.cached_views for stage in recipe.stages):
            return  # what extraction took of it, and what steps, is not known
        expected = self.tuning(study, recipe, size) - self.scoring(study, recipe, size)
        self.training *= min(4.0, max(0.25, seconds / expected))

    def decode(self, study: Study, size: int) -> float:
        """Seconds until the pictures of a size are there."""
        return 0.0 if size in self.sizes else self.decoding * len(study.table)

    def probe(self, study: Study, recipe: Recipe, size: int) -> float:
        """Seconds of a probe."""
        fresh = [
            (network, view) for network in networks_of(recipe, size) for view in recipe.probe.views
            if (*network, view) not in self.extracted
        ]  # fmt: skip
        extraction = len(study.table) * self.features * sum(_million(n) for n, _ in fresh)
        sizes = {size for _, size in networks_of(recipe, size)} or {size}
        return (
            sum(self.decode(study, size) for size in sizes) + extraction
            + _OPENING * len({network for network, _ in fresh})
            + self.head_on(study) * _HEADS[recipe.probe.head] * len(recipe.probe.views)
        )  # fmt: skip

    def tuning(self, study: Study, recipe: Recipe, size: int) -> float:
        """Seconds of a training in epochs on the pictures, or on cached features of them."""
        stages = [stage for stage in (recipe.training, recipe.fine_tuning) if stage is not None]
        seen = networks_of(recipe, size)
        work = sum(self._stage(study, stage, size, seen) for stage in stages)
        return self.decode(study, size) + 1.05 * work + self.scoring(study, recipe, size)

    def _stage(
        self, study: Study, stage: TrainingStage, size: int, seen: Sequence[tuple[str, int]]
    ) -> float:
        """Seconds of a stage."""
        n, held = study.num_train, study.num_validation
        million = sum(map(_million, seen))
        step = self.training * sum(work_a_pixel(name) * _trained_million(own) for name, own in seen)
        if stage.cached_views:
            still = stage.trainable.backbone == "none"
            extracted = n * stage.cached_views + len(study.table)
            moved = 0.0 if still else n * stage.epochs * step * _PARTIAL_SHARE
            return extracted * self.features * million + moved
        epochs = full_size_epochs(stage.epochs, stage.progressive_resizing, size)
        return (n * epochs + held * stage.epochs / 3) * step

    def scoring(self, study: Study, recipe: Recipe, size: int) -> float:
        """Seconds to open a trained network and let it answer for validation."""
        return _OPENING + study.num_validation * self.features * answer_cost(recipe, size)

    def of(self, study: Study, recipe: Recipe, size: int) -> float:
        """Seconds of a candidate until its validation score is known."""
        how = self.tuning if recipe.method == "fit" else self.probe
        return how(study, recipe, size)

    def finishing(self, study: Study, recipe: Recipe, size: int) -> float:
        """Seconds to read the test part, write everything and draw the report."""
        if recipe.method == "probe":
            return self.publishing
        test = int((study.table.parts == "test").sum())
        train = min(2500 // num_views(recipe), study.num_train) + 1000 // num_views(recipe)
        return self.publishing + (test + train) * self.features * answer_cost(recipe, size)


#: What fitting a head costs beside a logistic regression.
_HEADS: Mapping[str, float] = MappingProxyType(
    {"logistic": 1.0, "discriminant": 1.0, "network": 4.0, "neighbours": 1.0}
)


def _million(network: tuple[str, int]) -> float:
    """Million pixels of a picture of a size, weighted with the network's work on each."""
    backbone, size = network
    return work_a_pixel(backbone) * size * size / 1e6
