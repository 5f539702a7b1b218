"""Recipe: one experiment, declared as data and checked before any image is read.

Here is the form of a recipe, every key with its values; ``recipe_reading`` reads, changes
and writes them.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[float, Field(gt=0.0)]
Count = Annotated[int, Field(ge=1)]
#: A share of the images (0 < x < 1) or, from 1 up, a number of images.
Share = Annotated[float, Field(ge=0.0)]

#: What every generator of random numbers takes, scikit-learn's being the narrowest.
LARGEST_SEED = 2**32 - 1


class Section(BaseModel):
    """Base of every part of a recipe: frozen, and unknown keys are mistakes."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


# --- data -----------------------------------------------------------------------------


class DataSettings(Section):
    """Which images make which part, and the size at which the network sees them."""

    #: Height and width in pixels; None: the backbone's own size.
    image_size: Annotated[int, Field(ge=8, le=2048)] | None = None
    #: How a picture that is not square is made to fit.
    fit: Literal["squash", "crop", "pad"] = "squash"
    #: None: the backbone's own.
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos"] | None = None
    validation: Share = 0.15
    test: Share = 0.15
    #: Folds of cross-validation, in which every image is held out once; None: parts as above.
    cross_validate: Annotated[int, Field(ge=2)] | None = None
    #: Keep images that an earlier part has in the headline, to compare with a published number.
    keep_leaks: bool = False
    #: Folders that together are a part, relative to the data folder; empty: found by name.
    train_folders: tuple[str, ...] = ()
    validation_folders: tuple[str, ...] = ()
    test_folders: tuple[str, ...] = ()
    #: Class order; empty: alphabetical.
    classes: tuple[str, ...] = ()


# --- augmentation (random, on 0..255 images, in training only) --------------------------


class Flip(Section):
    """Mirror left-right and/or top-bottom, each with probability one half."""

    transform: Literal["flip"]
    horizontal: bool = True
    vertical: bool = False


class QuarterTurns(Section):
    """Turn by 0, 90, 180 or 270 degrees, equally likely."""

    transform: Literal["quarter_turns"]


class Rotation(Section):
    """Rotate by an angle drawn from -degrees .. +degrees."""

    transform: Literal["rotation"]
    degrees: Annotated[float, Field(ge=0, le=180)]
    fill: Literal["reflect", "nearest", "constant"] = "reflect"


class Zoom(Section):
    """Scale the picture by a factor drawn from 1-fraction .. 1+fraction, aspect kept.

    As in Keras' RandomZoom: a drawn value above 1 zooms out, one below zooms in.
    """

    transform: Literal["zoom"]
    fraction: Annotated[float, Field(ge=0, lt=1)]
    fill: Literal["reflect", "nearest", "constant"] = "reflect"


class Translation(Section):
    """Shift by up to these fractions of height and width, either way."""

    transform: Literal["translation"]
    height: Fraction = 0.0
    width: Fraction = 0.0
    fill: Literal["reflect", "nearest", "constant"] = "reflect"


class Shear(Section):
    """Shear horizontally by an angle drawn from -degrees .. +degrees."""

    transform: Literal["shear"]
    degrees: Annotated[float, Field(ge=0, lt=90)]
    fill: Literal["reflect", "nearest", "constant"] = "reflect"


class Contrast(Section):
    """Scale about each channel's mean by 1-fraction .. 1+fraction, clipped to 0..255."""

    transform: Literal["contrast"]
    fraction: Fraction


class Brightness(Section):
    """Add a value drawn from -fraction*255 .. +fraction*255, clipped to 0..255."""

    transform: Literal["brightness"]
    fraction: Fraction


class GaussianNoise(Section):
    """Add normal noise after normalisation; the deviation is in units of 0..1 pixels."""

    transform: Literal["gaussian_noise"]
    standard_deviation: Annotated[float, Field(ge=0, le=1)]


class RandomCrop(Section):
    """Pad by this many pixels (reflected) on each side, then crop the old size at random."""

    transform: Literal["random_crop"]
    padding: Annotated[int, Field(ge=0)]


class RandomResizedCrop(Section):
    """Crop a part of this share of the area and enlarge it to the whole picture."""

    transform: Literal["random_resized_crop"]
    minimum_area: Annotated[float, Field(gt=0, le=1)] = 0.35
    #: Largest ratio of width to height, and of height to width, of the cropped part.
    maximum_aspect: Annotated[float, Field(ge=1)] = 4 / 3


class Cutout(Section):
    """Blank one square of this side (a fraction of the picture's) at a random place."""

    transform: Literal["cutout"]
    fraction: Fraction


AugmentationStep = Annotated[
    Flip
    | QuarterTurns
    | Rotation
    | Zoom
    | Translation
    | Shear
    | Contrast
    | Brightness
    | GaussianNoise
    | RandomCrop
    | RandomResizedCrop
    | Cutout,
    Field(discriminator="transform"),
]


# --- networks ---------------------------------------------------------------------------


class HeadLayer(Section):
    """One layer between the backbone's feature map and the output layer."""

    layer: Literal["global_pool", "flatten", "dense", "dropout", "batch_norm"]
    units: Count | None = None
    activation: Literal["relu", "linear"] = "relu"
    rate: Annotated[float, Field(ge=0, lt=1)] | None = None
    #: Weight of the sum of squared kernel weights that Keras adds to the loss.
    l2: Annotated[float, Field(ge=0)] = 0.0

    @model_validator(mode="after")
    def _complete(self) -> HeadLayer:
        if self.layer == "dense" and self.units is None:
            raise ValueError("a dense layer needs 'units'")
        if self.layer == "dropout" and self.rate is None:
            raise ValueError("a dropout layer needs 'rate'")
        return self


class ScratchModel(Section):
    """A small network trained from random weights."""

    kind: Literal["scratch"] = "scratch"
    #: A name in ``tellapart.models.scratch.NETWORKS``.
    network: str
    options: dict[str, float | int | bool | str] = {}
    #: softmax: one output a class; sigmoid: one output, two classes only.
    output: Literal["softmax", "sigmoid"] = "softmax"


class BackboneModel(Section):
    """A pretrained network under a new head."""

    kind: Literal["backbone"] = "backbone"
    #: A timm name.
    backbone: str = "tf_efficientnet_lite0"
    #: "auto" searches package, hub cache and hub; "none" is random; otherwise a file.
    weights: str = "auto"
    #: pooled: one vector an image; map: the spatial map before pooling.
    features: Literal["pooled", "map"] = "pooled"
    head: tuple[HeadLayer, ...] = ()
    #: L2 on the kernel of the output layer.
    output_l2: Annotated[float, Field(ge=0)] = 0.0
    output: Literal["softmax", "sigmoid"] = "softmax"


#: What one network is made of.
NetworkModel = ScratchModel | BackboneModel


class JoinedMember(Section):
    """One of several backbones side by side."""

    #: A timm name.
    backbone: str
    #: As for a single backbone.
    weights: str = "auto"
    #: Height and width at which it sees the pictures; None: data.image_size, else its own.
    image_size: Annotated[int, Field(ge=8, le=2048)] | None = None

    @property
    def model(self) -> BackboneModel:
        """The backbone alone."""
        return BackboneModel(backbone=self.backbone, weights=self.weights)


class JoinedModel(Section):
    """Several pretrained backbones side by side: one probe on the features of all."""

    kind: Literal["joined"] = "joined"
    members: Annotated[tuple[JoinedMember, ...], Field(min_length=2)]


Model = Annotated[ScratchModel | BackboneModel | JoinedModel, Field(discriminator="kind")]


# --- training ---------------------------------------------------------------------------


class ReduceOnPlateau(Section):
    """Multiply the learning rate by ``factor`` after ``patience`` epochs without progress."""

    factor: Annotated[float, Field(gt=0, lt=1)] = 0.1
    patience: Count = 3
    #: Keras' min_delta: an improvement must be larger than this, in units of the loss.
    minimum_change: Annotated[float, Field(ge=0)] = 1e-4
    minimum_learning_rate: Annotated[float, Field(ge=0)] = 0.0


class EarlyStopping(Section):
    """Stop after ``patience`` epochs without a better validation loss."""

    patience: Count = 6
    minimum_change: Annotated[float, Field(ge=0)] = 0.0


class Trainable(Section):
    """What of the backbone moves; the head always does."""

    backbone: Literal["none", "all", "last_layers", "modules"] = "all"
    #: For last_layers: how many layers with weights, counted from the output.
    last_layers: Count | None = None
    #: For modules: timm module paths, each with everything below it.
    modules: tuple[str, ...] = ()
    #: frozen: BatchNorm of the backbone keeps its statistics and stays in inference mode.
    batch_norm: Literal["frozen", "train"] = "frozen"

    @model_validator(mode="after")
    def _complete(self) -> Trainable:
        if (self.backbone == "last_layers") != (self.last_layers is not None):
            raise ValueError("'last_layers' goes with backbone: last_layers")
        if (self.backbone == "modules") != bool(self.modules):
            raise ValueError("'modules' goes with backbone: modules")
        return self


class ProgressiveResizing(Section):
    """Training images are smaller in the first epochs, which then cost less."""

    #: Height in pixels in the first epoch; data.image_size or more: nothing is made smaller.
    image_size: Annotated[int, Field(ge=8, le=2048)]
    #: Share of the epochs in which the size grows; the others have all of data.image_size.
    share: Fraction = 0.6


class TrainingStage(Section):
    """One stretch of training by gradient descent."""

    epochs: Count = 30
    batch_size: Count = 64
    optimizer: Literal["sgd", "rmsprop", "adam", "adamw"] = "adam"
    learning_rate: Positive = 1e-3
    #: For the backbone's own weights, as a multiple of learning_rate.
    backbone_learning_rate_factor: Annotated[float, Field(ge=0)] = 1.0
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0
    nesterov: bool = False
    #: Added to the denominator of rmsprop and adam; None: Keras' 1e-7.
    epsilon: Positive | None = None
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    schedule: Literal["constant", "cosine", "one_cycle"] = "constant"
    #: Share of all steps in which the learning rate rises (cosine and one_cycle).
    warmup: Fraction = 0.0
    reduce_on_plateau: ReduceOnPlateau | None = None
    early_stopping: EarlyStopping | None = None
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    #: Beta-distribution parameter; 0 switches it off.
    mixup: Annotated[float, Field(ge=0)] = 0.0
    cutmix: Annotated[float, Field(ge=0)] = 0.0
    progressive_resizing: ProgressiveResizing | None = None
    #: Decay of the weight average a step; None switches it off.
    ema_decay: Annotated[float, Field(gt=0, lt=1)] | None = None
    #: balanced: each image's loss weighs as much as its class is rare.
    class_weight: Literal["none", "balanced"] = "none"
    #: shuffled: each image once an epoch; balanced: each class equally often, and as many images.
    sampler: Literal["shuffled", "balanced"] = "shuffled"
    #: Largest norm of the gradient; None switches it off.
    gradient_clip: Positive | None = None
    precision: Literal["auto", "float32", "bf16"] = "auto"
    trainable: Trainable = Trainable()
    #: Learning rate of each earlier stage of the backbone, as a multiple of the next one's.
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    #: Unfreeze one more stage of the backbone, from the output down, every so many epochs.
    gradual_unfreezing: Annotated[int, Field(ge=0)] = 0
    #: A frozen backbone is run once, over this many augmented views an image (0: no cache).
    cached_views: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _balanced_once(self) -> TrainingStage:
        _require_balanced_once(self.class_weight, self.sampler)
        return self


def _require_balanced_once(class_weight: str, sampler: str) -> None:
    if class_weight == sampler == "balanced":
        raise ValueError(
            "'class_weight' and 'sampler' both balanced would count rare classes twice; set one"
        )


class ProbeSettings(Section):
    """A classifier on frozen features, its settings chosen on the validation part."""

    #: A name in ``tellapart.training.probe_heads.HEADS``.
    head: Literal["logistic", "discriminant", "network", "neighbours"] = "logistic"
    #: For logistic: inverse regularisation strengths to choose from.
    strengths: tuple[Positive, ...] = (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
    #: For discriminant: how far the covariance is moved towards a ball, to choose from.
    shrinkages: Annotated[tuple[Fraction, ...], Field(min_length=1)] = (
        0.01, 0.03, 0.1, 0.2, 0.4, 0.7, 0.9
    )  # fmt: skip
    #: For network: widths of its hidden layer to choose from.
    units: Annotated[tuple[Count, ...], Field(min_length=1)] = (32, 128, 512)
    #: For neighbours: how many vote, to choose from.
    neighbours: Annotated[tuple[Count, ...], Field(min_length=1)] = (1, 3, 5, 9, 17, 33)
    class_weight: Literal["none", "balanced"] = "none"
    #: For network, as in training: which images an epoch shows.
    sampler: Literal["shuffled", "balanced"] = "shuffled"
    #: Below this many validation images the settings are chosen by cross-validation.
    cross_validate_below: Annotated[int, Field(ge=0)] = 100
    #: Features of these views of each image are used as well (train) and averaged (test).
    views: tuple[Literal["original", "flip"], ...] = ("original",)
    #: Of the frozen backbone: what is quickest and agrees with float32; or 8 bits, on the CPU.
    precision: Literal["auto", "int8"] = "auto"

    @model_validator(mode="after")
    def _balanced_once(self) -> ProbeSettings:
        _require_balanced_once(self.class_weight, self.sampler)
        return self


# --- several classifiers that answer together ---------------------------------------------


class MemberPictures(Section):
    """How one member of an ensemble sees the pictures; None: as the recipe around it says."""

    image_size: Annotated[int, Field(ge=8, le=2048)] | None = None
    fit: Literal["squash", "crop", "pad"] | None = None
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos"] | None = None


class EnsembleMember(Section):
    """One classifier of an ensemble: what a recipe says of it, in the same words."""

    name: str
    method: Literal["probe", "fit"] = "probe"
    #: None: that of the recipe around it.
    seed: Annotated[int, Field(ge=0, le=LARGEST_SEED)] | None = None
    data: MemberPictures = MemberPictures()
    augmentation: tuple[AugmentationStep, ...] = ()
    model: Model = BackboneModel()
    training: TrainingStage = TrainingStage()
    fine_tuning: TrainingStage | None = None
    probe: ProbeSettings = ProbeSettings()
    test_time: Literal["none", "flip", "flip_and_shifts", "flips_and_turns"] = "none"


class EnsembleSettings(Section):
    """Classifiers whose probabilities are averaged, by weights that validation chooses."""

    members: tuple[EnsembleMember, ...] = ()
    #: One for each member; empty: chosen greedily on the validation part.
    weights: tuple[Annotated[float, Field(ge=0)], ...] = ()

    @model_validator(mode="after")
    def _complete(self) -> EnsembleSettings:
        if self.weights and (len(self.weights) != len(self.members) or sum(self.weights) <= 0):
            raise ValueError("'weights' needs one for each member, of which one is above 0")
        names = [member.name for member in self.members]
        if len(set(names)) != len(names):
            raise ValueError("two members have one name")
        return self


# --- the decision -------------------------------------------------------------------------


class DecisionSettings(Section):
    """The class that is looked for; without one, the likeliest class is said."""

    #: Name of one of the classes; it is told apart from all others together.
    positive: str | None = None
    #: What missing it costs, where a false alarm costs 1; None: 1 as well.
    cost_miss: Positive | None = None

    @model_validator(mode="after")
    def _complete(self) -> DecisionSettings:
        if self.cost_miss is not None and self.positive is None:
            raise ValueError("'cost_miss' goes with 'positive', the class that may be missed")
        return self


# --- what is known about a recipe ---------------------------------------------------------


class Reported(Section):
    """What the source of the experiment printed."""

    test_accuracy: Fraction | None = None
    validation_accuracy: Fraction | None = None
    test_loss: float | None = None
    total_parameters: int | None = None
    trainable_parameters: int | None = None
    text: str = ""


class Measured(Section):
    """What this project measured, and how to repeat it."""

    data: str
    command: str
    test_accuracy: Fraction
    #: 95 % interval, or smallest and largest of the repeats.
    low: Fraction
    high: Fraction
    repeats: Count = 1
    seconds: Positive
    machine: str
    text: str = ""


class Recipe(Section):
    """One experiment: data, augmentation, network, training, and what is known of it."""

    name: str
    #: Where the experiment comes from: a document's number ("001"), or "tellapart".
    document: str = "tellapart"
    title: str
    teaches: str
    #: What is done otherwise than in the document, and why.
    differs: str = ""
    reported: Reported | None = None
    measured: tuple[Measured, ...] = ()

    method: Literal["auto", "probe", "fit", "ensemble"] = "fit"
    seed: Annotated[int, Field(ge=0, le=LARGEST_SEED)] = 0
    #: Number of classes of the document's data; training takes it from the folder.
    num_classes: Annotated[int, Field(ge=2)] = 2
    data: DataSettings = DataSettings()
    augmentation: tuple[AugmentationStep, ...] = ()
    model: Model = BackboneModel()
    training: TrainingStage = TrainingStage()
    #: A second stage that starts from the best weights of the first.
    fine_tuning: TrainingStage | None = None
    probe: ProbeSettings = ProbeSettings()
    ensemble: EnsembleSettings = EnsembleSettings()
    decision: DecisionSettings = DecisionSettings()
    #: Views averaged in prediction.
    test_time: Literal["none", "flip", "flip_and_shifts", "flips_and_turns"] = "none"
    #: For method auto: seconds that training and search may take; None: the first answer only.
    time_limit_seconds: Positive | None = None

    @property
    def stages(self) -> tuple[TrainingStage, ...]:
        """The stages of a training in epochs, in the order in which they run."""
        return (self.training, *([self.fine_tuning] if self.fine_tuning else []))

    @property
    def networks(self) -> tuple[NetworkModel, ...]:
        """Every network that takes part in the answers."""
        models = [self.model]
        if self.method == "ensemble":
            models = [member.model for member in self.ensemble.members]
        found: list[NetworkModel] = []
        for model in models:
            if isinstance(model, JoinedModel):
                found += [member.model for member in model.members]
            else:
                found.append(model)
        return tuple(found)
