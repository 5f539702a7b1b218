"""What of a recipe needs PyTorch; a probe on a backbone that comes as a package needs none."""

from __future__ import annotations

from collections.abc import Iterator

from tellapart.extras import pytorch_is_here, require_pytorch
from tellapart.models.inputs import recipe_of_member
from tellapart.models.lite import lite_name
from tellapart.models.weights import canonical_name, locate_weights
from tellapart.recipe import BackboneModel, JoinedModel, Recipe


def require_what_it_needs(recipe: Recipe) -> None:
    """Refuse a recipe that cannot be trained here, before any image is read.

    Raises:
        MissingPackageError: it needs PyTorch, which is not installed.
    """
    if pytorch_is_here():
        return
    for what in needs_pytorch(recipe):
        require_pytorch(what)


def needs_pytorch(recipe: Recipe) -> Iterator[str]:
    """Everything in a recipe that needs PyTorch, each as the beginning of a sentence."""
    if recipe.method == "ensemble":
        for member in recipe.ensemble.members:
            yield from needs_pytorch(recipe_of_member(recipe, member))
        return
    if recipe.method == "fit":
        yield f"The recipe {recipe.name} trains a network in epochs: it"
        return
    if recipe.probe.head == "network":
        yield f"The recipe {recipe.name} fits a hidden layer on the features: it"
    model = recipe.model
    members = model.members if isinstance(model, JoinedModel) else ()
    for one in (*(member.model for member in members), model):
        if isinstance(one, BackboneModel) and not _is_packaged(one):
            yield f"The network '{one.backbone}'"


def _is_packaged(model: BackboneModel) -> bool:
    name = canonical_name(model.backbone)
    if lite_name(name) is None:
        return False
    source = locate_weights(name, model.weights)
    return source.package is not None or not source.here
