"""What happens to an image before a network sees it: the network's own preprocessing.

Needs no PyTorch for backbones, so that a run on cached features starts quickly.
"""

from __future__ import annotations

from tellapart.errors import RecipeError
from tellapart.pixels.preprocessing import Preprocessing
from tellapart.recipe import (
    BackboneModel,
    DataSettings,
    EnsembleMember,
    JoinedModel,
    MemberPictures,
    Model,
    Recipe,
    ScratchModel,
)


def preprocessing_of(recipe: Recipe) -> Preprocessing:
    """That of the recipe's network, or of the first of several.

    Raises:
        RecipeError, WeightsError: as :func:`preprocessing_for`.
    """
    if recipe.method == "ensemble" and recipe.ensemble.members:
        recipe = recipe_of_member(recipe, recipe.ensemble.members[0])
    return preprocessing_for(recipe.model, recipe.data)


def recipe_of_member(recipe: Recipe, member: EnsembleMember) -> Recipe:
    """The recipe by which one member of an ensemble is trained; parts and classes are shared."""
    own = {key: value for key, value in member.data if value is not None}
    return Recipe(
        name=member.name,
        title=f"{member.name} of {recipe.name}",
        teaches="",
        method=member.method,
        seed=recipe.seed if member.seed is None else member.seed,
        num_classes=recipe.num_classes,
        data=recipe.data.model_copy(update=own),
        augmentation=member.augmentation,
        model=member.model,
        training=member.training,
        fine_tuning=member.fine_tuning,
        probe=member.probe,
        test_time=member.test_time,
    )


def member_of(recipe: Recipe, name: str = "") -> EnsembleMember:
    """A recipe of method probe or fit as a member: :func:`recipe_of_member` the other way round.

    What the recipe leaves open (image size, interpolation) the recipe around it says, if it does.

    Args:
        name: what the member is called; "": the recipe's name.

    Raises:
        RecipeError: the recipe is an ensemble itself, or its method is not settled.
    """
    if recipe.method not in ("probe", "fit"):
        raise RecipeError(
            f"A recipe of method '{recipe.method}' cannot be a member of an ensemble; settle its "
            "method, probe or fit, first."
        )
    data = MemberPictures(
        image_size=recipe.data.image_size,
        fit=recipe.data.fit,
        interpolation=recipe.data.interpolation,
    )
    return EnsembleMember(
        name=name or recipe.name,
        method=recipe.method,
        seed=recipe.seed,
        data=data,
        augmentation=recipe.augmentation,
        model=recipe.model,
        training=recipe.training,
        fine_tuning=recipe.fine_tuning,
        probe=recipe.probe,
        test_time=recipe.test_time,
    )


def joined_inputs(
    model: JoinedModel, data: DataSettings
) -> list[tuple[BackboneModel, Preprocessing]]:
    """Each of the backbones side by side, and its own preprocessing.

    Raises:
        RecipeError, WeightsError: as :func:`preprocessing_for`.
    """
    found = []
    for member in model.members:
        size = member.image_size or data.image_size
        own = data.model_copy(update={"image_size": size})
        found.append((member.model, preprocessing_for(member.model, own)))
    return found


def preprocessing_for(model: Model, data: DataSettings) -> Preprocessing:
    """The recipe's size, fit and interpolation, else the network's own.

    Of several backbones side by side it is that of the first. Mean and std are always the
    network's own: those its weights were trained with, or those its definition names.

    Raises:
        RecipeError: there is no such network.
        WeightsError: a weights file does not exist.
    """
    if isinstance(model, JoinedModel):
        return joined_inputs(model, data)[0][1]
    if isinstance(model, ScratchModel):
        from tellapart.models.scratch import scratch_network

        row = scratch_network(model.network)
        size, interpolation, mean, std = row.image_size, "bilinear", row.mean, row.std
    else:
        from tellapart.models.catalogue import backbone_info

        info = backbone_info(model.backbone, model.weights)
        size, interpolation, mean, std = info.size, info.interpolation, info.mean, info.std
    side = data.image_size or size
    return Preprocessing(
        height=side,
        width=side,
        fit=data.fit,
        interpolation=data.interpolation or interpolation,
        mean=mean,
        std=std,
    )
