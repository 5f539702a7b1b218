"""What can be tried: each candidate is a recipe in full, a line about it, and what it promises.

``promise`` is the share of the validation mistakes that a candidate was seen to put right on the
data sets of the recipes (``tellapart recipes NAME`` gives their numbers), a guess for new images.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from tellapart.errors import TellapartError
from tellapart.extras import pytorch_is_here
from tellapart.models.catalogue import backbone_info
from tellapart.models.known import KNOWN, PACKAGES
from tellapart.models.weights import cached_names, locate_weights
from tellapart.recipe import BackboneModel, JoinedModel, Recipe
from tellapart.search.costs import Costs
from tellapart.search.record import Family
from tellapart.search.study import Study

#: Sizes are multiples of this.
_STEP = 32
#: Pictures up to this side are small: networks need them enlarged, and tuning gains most.
_SMALL = 64
#: Looks at small pictures (images times epochs) from which a network knows them by heart:
#: parts of each are then replaced by another's (``tellapart recipes cifar-finetune-long``).
_LEARNT_BY_HEART = 250_000
#: Sizes of a training, as a share of the first answer's; and of small pictures, in pixels.
_SHARES, _SMALL_SIZES = (1.0, 0.8, 0.65), (160, 128, 96, 64)
#: Enlarging small pictures further hardly helps (88.2, 89.0, 89.6 % of CIFAR-10 at 96, 128, 160).
_LARGE_ENOUGH = 128
#: Backbones of the hub cache that are tried, at most.
_MOST_CACHED = 3
#: Modules of EfficientNet-Lite that move in a partial training: the last two stages.
_LAST_STAGES = ("blocks.5", "blocks.6", "conv_head", "bn2")

_BACKBONE_TITLES = {
    "tf_efficientnet_lite0": "EfficientNet-Lite0",
    "tf_efficientnet_lite1": "EfficientNet-Lite1",
    "tf_efficientnet_lite2": "EfficientNet-Lite2",
}


@dataclass(frozen=True)
class Candidate:
    """Something to try."""

    name: str
    description: str
    family: Family
    recipe: Recipe
    #: Height and width of its pictures.
    size: int
    #: Share of the mistakes that it may put right: of a probe those of the best so far, of a
    #: training those that a probe on the same backbone makes.
    promise: float
    #: Why it is worth a try, as the end of a sentence.
    because: str

    @property
    def depends_on_facts(self) -> bool:
        """Whether it mirrors or turns pictures, which not all pictures bear."""
        return self.family in ("partial", "full") or "flip" in self.recipe.probe.views


@dataclass(frozen=True)
class Facts:
    """What the space depends on."""

    #: The first answer's recipe, and the size of its pictures.
    recipe: Recipe
    size: int
    #: Typical shorter side of the pictures, in pixels.
    picture: int
    #: Whether a mirrored picture is still one of its class, and one turned by a quarter.
    mirrors: bool = True
    turns: bool = False
    #: Whether the first answer is right about nearly all: tuning then may only move a little.
    suits: bool = False
    #: Whether there are few images to train on, and whether classes are of very unequal size.
    few: bool = False
    unequal: bool = False


def first_candidate(recipe: Recipe, size: int) -> Candidate:
    """The first answer, as a recipe that repeats it."""
    model = recipe.model
    title = title_of(model.backbone) if isinstance(model, BackboneModel) else "features"
    text = f"probe on {title}, {size} pixels"
    named = _changed(recipe, "auto-first", text, data={"image_size": size}, method="probe")
    return Candidate("first", text, "first", named, size, 1.0, "it is the quickest")


def title_of(backbone: str) -> str:
    """The name of a backbone as people write it."""
    return _BACKBONE_TITLES.get(backbone, backbone)


def backbones_here(first: str) -> list[str]:
    """Packaged backbones that are installed, without the first answer's; the largest first."""
    return [
        name for name in sorted(PACKAGES, reverse=True)
        if name != first and locate_weights(name).where == "package"
    ]  # fmt: skip


def cached_backbones(first: str) -> list[str]:
    """Other backbones whose weights earlier downloads left here; nothing is asked of the hub.

    None where PyTorch, which they need, is not installed.
    """
    if not pytorch_is_here():
        return []
    found = []
    for name in dict.fromkeys([*KNOWN, *cached_names()]):
        try:
            where = locate_weights(name).where
        except TellapartError:  # a folder in the cache that is no network of timm
            continue
        if where == "cache" and name != first:
            found.append(name)
    return found[:_MOST_CACHED]


def probe_candidates(facts: Facts, best: Candidate) -> Iterator[Candidate]:
    """Probes beside the first, and variants of the best where that is a probe."""
    first = _backbone(facts.recipe)
    if facts.picture >= 1.15 * facts.size:
        size = _rounded(min(facts.picture, 1.4 * facts.size))
        if size > facts.size:
            yield _probe(facts, first, size, 0.08, "the pictures have more pixels than it saw")
    elif _size_of(facts, first) >= 1.4 * facts.size:
        yield _probe(
            facts, first, _size_of(facts, first), 0.2,
            "the first answer saw smaller pictures, to come soon",
        )  # fmt: skip
    for name in backbones_here(first)[:1]:
        yield _probe(facts, name, _size_of(facts, name), 0.12, "a larger network sees more")
        yield _side_by_side(facts, (first, facts.size), (name, _size_of(facts, name)))
    for name in cached_backbones(first):
        yield _probe(facts, name, _size_of(facts, name), 0.12, "its weights are in the hub cache")
    if best.recipe.method == "probe":
        yield from _variants(facts, best)


def _variants(facts: Facts, best: Candidate) -> Iterator[Candidate]:
    """The same features under another head, or of more views."""
    base = best.recipe
    is_joined = isinstance(base.model, JoinedModel)
    if facts.mirrors and "flip" not in base.probe.views:
        yield _variant(
            best, "mirrored", "with mirrored views", {"views": ("original", "flip")}, 0.06,
            "an average over two views is steadier than one",
        )  # fmt: skip
    if base.probe.head == "logistic":
        yield _variant(
            best,
            "discriminant",
            "discriminant analysis",
            {"head": "discriminant"},
            0.08 if is_joined else 0.03,
            "it costs next to nothing on features that are there",
        )
    if facts.few and base.probe.head == "logistic" and not is_joined:
        yield _variant(
            best,
            "neighbours",
            "nearest training images",
            {"head": "neighbours"},
            0.1,
            "with few images those that look alike say most",
        )
    if facts.unequal and base.probe.class_weight == "none":
        yield _variant(
            best,
            "balanced",
            "rare classes weighing more",
            {"class_weight": "balanced"},
            0.05,
            "classes are of very unequal size",
        )
    if base.probe.head == "logistic" and not is_joined and pytorch_is_here():
        yield _variant(
            best, "network", "a hidden layer", {"head": "network"}, 0.05,
            "classes may not be parted by a plane",
        )  # fmt: skip


def _size_of(facts: Facts, backbone: str) -> int:
    """What suits a backbone: its own size; for pictures with fewer pixels theirs, rounded up."""
    own = backbone_info(backbone).size
    if facts.picture < 0.75 * own:
        return own
    return min(own, max(facts.size, _STEP * -(-facts.picture // _STEP)))


def _side_by_side(facts: Facts, *members: tuple[str, int]) -> Candidate:
    names = " and ".join(f"{title_of(backbone)} at {size}" for backbone, size in members)
    name = "probe-" + "-".join(f"{_short(backbone)}-{size}" for backbone, size in members)
    text = f"probe on {names} pixels, side by side"
    recipe = _changed(
        facts.recipe, f"auto-{name}", text, method="probe", data={"image_size": facts.size}
    )
    joined = {
        "kind": "joined",
        "members": [{"backbone": backbone, "image_size": size} for backbone, size in members],
    }
    recipe = Recipe.model_validate(recipe.model_dump(mode="json") | {"model": joined})
    because = "two networks see more than one"
    return Candidate(name, text, "probe", recipe, facts.size, 0.2, because)


def _probe(facts: Facts, backbone: str, size: int, promise: float, because: str) -> Candidate:
    name = probe_name(backbone, size)
    text = f"probe on {title_of(backbone)}, {size} pixels"
    recipe = _changed(
        facts.recipe, f"auto-{name}", text, method="probe", data={"image_size": size},
        model={"backbone": backbone},
    )  # fmt: skip
    return Candidate(name, text, "probe", recipe, size, promise, because)


def _variant(
    best: Candidate, word: str, text: str, probe: dict[str, Any], promise: float, because: str
) -> Candidate:
    name = f"{best.name}-{word}"
    whole = f"{best.description}, {text}"
    recipe = _changed(best.recipe, f"auto-{name}", whole, probe=probe)
    return replace(
        best, name=name, description=whole, family="probe", recipe=recipe,
        promise=promise, because=because,
    )  # fmt: skip


def tuning_candidates(
    facts: Facts, study: Study, costs: Costs, seconds: float
) -> Iterator[Candidate]:
    """Trainings whose epochs and size fill these seconds and no more.

    They promise a share of the mistakes that a probe on the same backbone makes. None where
    PyTorch, which they need, is not installed.
    """
    first = _backbone(facts.recipe)
    if first not in _BACKBONE_TITLES or not pytorch_is_here():
        return
    small = facts.picture <= _SMALL
    full = (0.6 if small else 0.3) if study.num_train >= 100 else 0.1
    if facts.suits:
        full = min(full, 0.2)
    larger = [name for name in backbones_here(first)[:1] if name in _BACKBONE_TITLES]
    for backbone in (first, *larger):
        found = _full(facts, study, costs, seconds, backbone, full)
        if found is not None:
            yield found
        partial = _partial(facts, backbone, (0.35 if small else 0.7) * full)
        if not facts.suits and costs.tuning(study, partial.recipe, partial.size) <= seconds:
            yield partial


def most_epochs(images: int, *, suits: bool = False) -> int:
    """Epochs after which more gain little: the more images, the fewer."""
    if suits:
        return 8
    return 30 if images < 500 else 16 if images < 20_000 else 10


def fewest_epochs(images: int, *, suits: bool = False) -> int:
    """Epochs below which a training is not worth its start."""
    if suits:
        return 3
    return 8 if images < 20_000 else 3


def _full(
    facts: Facts, study: Study, costs: Costs, seconds: float, backbone: str, promise: float
) -> Candidate | None:
    """All layers move: the largest pictures and most epochs that fit, or None."""
    sizes = (
        _SMALL_SIZES
        if facts.picture <= _SMALL
        else [_rounded(share * min(facts.size * 1.3, max(facts.picture, 64))) for share in _SHARES]
    )
    most = most_epochs(study.num_train, suits=facts.suits)
    fewest = fewest_epochs(study.num_train, suits=facts.suits)
    largest = _LARGE_ENOUGH if facts.picture <= _SMALL else sizes[0]
    fitting: list[Candidate] = []
    for size in dict.fromkeys(sizes):
        for epochs in range(most, fewest - 1, -1):
            # Smaller pictures lack what tells them apart, and few epochs leave it unlearned.
            kept = min(1.0, size / largest) * math.sqrt(epochs / most)
            candidate = _full_of(facts, study, backbone, size, epochs, promise * kept)
            if costs.tuning(study, candidate.recipe, size) <= seconds:
                fitting.append(candidate)
                break
    return max(fitting, key=lambda one: one.promise, default=None)


def _full_of(
    facts: Facts, study: Study, backbone: str, size: int, epochs: int, promise: float
) -> Candidate:
    name = f"tune-{_short(backbone)}-{size}-{epochs}"
    batch, small = 32 if study.num_train < 5000 else 64, facts.picture <= _SMALL
    stages = (
        _gentle(epochs)
        if facts.suits
        else {"training": _thorough(size, epochs, batch, study.num_train, small=small)}
    )
    moves = _moves(facts)
    if small or not moves:
        moves += [{"transform": "random_crop", "padding": max(1, size // 11)}]
    elif not facts.suits:
        moves += [{"transform": kind, "fraction": 0.1} for kind in ("brightness", "contrast")]
    text = f"{title_of(backbone)} tuned as a whole, {size} pixels, {epochs} epochs"
    recipe = _changed(
        facts.recipe, f"auto-{name}", text, method="fit", data={"image_size": size},
        model={"backbone": backbone}, test_time=_views(facts), augmentation=moves, **stages,
    )  # fmt: skip
    return Candidate(
        name, text, "full", recipe, size, promise,
        "features of photographs may not be what tells these pictures apart",
    )  # fmt: skip


def _thorough(size: int, epochs: int, batch: int, images: int, *, small: bool) -> dict[str, Any]:
    """One stage, with a learning rate by which the features become others."""
    steps = epochs * -(-images // batch)
    training: dict[str, Any] = {
        "epochs": epochs, "batch_size": batch, "optimizer": "adamw", "learning_rate": 5e-4,
        "weight_decay": 0.02, "schedule": "one_cycle", "warmup": 0.2, "label_smoothing": 0.1,
        # The average reaches over about a tenth of the training.
        "ema_decay": round(min(0.999, max(0.9, 1 - 10 / steps)), 4),
        "trainable": {"backbone": "all", "batch_norm": "frozen"},
    }  # fmt: skip
    if small and images * epochs >= _LEARNT_BY_HEART:
        training |= {"mixup": 0.1, "cutmix": 1.0}
    smallest = _growing_from(size, small)
    if smallest < size:
        share = 0.75 if size >= 2 * smallest else 0.6
        training["progressive_resizing"] = {"image_size": smallest, "share": share}
    return training


def _gentle(epochs: int) -> dict[str, dict[str, Any]]:
    """The head first, on features that are there, then all with a small learning rate."""
    return {
        "training": {
            "epochs": 20, "batch_size": 64, "optimizer": "adam", "learning_rate": 0.001,
            "early_stopping": {"patience": 3}, "trainable": {"backbone": "none"},
            "cached_views": 2,
        },
        "fine_tuning": {
            "epochs": epochs, "batch_size": 32, "optimizer": "adamw", "learning_rate": 0.0001,
            "weight_decay": 0.01, "schedule": "cosine", "warmup": 0.1,
            "trainable": {"backbone": "all", "batch_norm": "frozen"},
        },
    }  # fmt: skip


def _growing_from(size: int, small: bool) -> int:
    """Size of the first epochs' pictures: two thirds, but never what a network cannot read.

    Small pictures were enlarged: half of that still shows all that they have.
    """
    if small:
        return max(_SMALL, _STEP * (size // (2 * _STEP)))
    return _STEP * round(0.66 * size / _STEP) if size >= 192 else size


def _partial(facts: Facts, backbone: str, promise: float) -> Candidate:
    name = f"tune-last-{_short(backbone)}-{facts.size}"
    training = {
        "epochs": 8, "batch_size": 32, "optimizer": "adamw", "learning_rate": 0.002,
        "backbone_learning_rate_factor": 0.2, "weight_decay": 0.02, "schedule": "cosine",
        "warmup": 0.1, "ema_decay": 0.99, "cached_views": 4,
        "trainable": {"backbone": "modules", "modules": list(_LAST_STAGES), "batch_norm": "frozen"},
    }  # fmt: skip
    moves = _moves(facts) or [{"transform": "random_crop", "padding": max(1, facts.size // 11)}]
    text = f"{title_of(backbone)}, last two stages tuned, {facts.size} pixels"
    recipe = _changed(
        facts.recipe, f"auto-{name}", text, method="fit", data={"image_size": facts.size},
        model={"backbone": backbone}, training=training, test_time=_views(facts),
        augmentation=moves,
    )  # fmt: skip
    return Candidate(
        name, text, "partial", recipe, facts.size, promise,
        "tuning the last stages is the cheapest way to learn what these pictures need",
    )  # fmt: skip


def _moves(facts: Facts) -> list[dict[str, Any]]:
    """Transforms after which a picture is still one of its class."""
    if facts.turns:
        flip = {"transform": "flip", "horizontal": True, "vertical": True}
        return [flip, {"transform": "quarter_turns"}]
    return [{"transform": "flip", "horizontal": True}] if facts.mirrors else []


def _views(facts: Facts) -> str:
    return "flips_and_turns" if facts.turns else "flip" if facts.mirrors else "none"


def _changed(base: Recipe, name: str, text: str, **sections: Any) -> Recipe:
    """The recipe with keys of sections, or whole values, laid over it."""
    data = base.model_dump(mode="json")
    data |= {
        "name": name, "measured": [], "reported": None, "differs": "", "document": "tellapart",
        "time_limit_seconds": None,
        "title": f"{text[0].upper()}{text[1:]}",
        "teaches": "What the search tried on its images; 'tellapart train --recipe' repeats it.",
    }  # fmt: skip
    for key, value in sections.items():
        data[key] = {**(data[key] or {}), **value} if isinstance(value, dict) else value
    return Recipe.model_validate(data)


def _backbone(recipe: Recipe) -> str:
    return recipe.model.backbone if isinstance(recipe.model, BackboneModel) else ""


def probe_name(backbone: str, size: int) -> str:
    """What a probe beside the first answer is called."""
    return f"probe-{_short(backbone)}-{size}"


def _short(backbone: str) -> str:
    return backbone.removeprefix("tf_efficientnet_").replace(".", "-").replace("/", "-")


def _rounded(size: float) -> int:
    """A multiple of 32, at least 32."""
    return max(_STEP, int(size) // _STEP * _STEP)
