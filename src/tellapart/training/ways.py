"""The ways of training that a recipe can name, as a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from tellapart.errors import RecipeError
from tellapart.recipe import JoinedModel, Recipe
from tellapart.training.outcome import Task, Trained
from tellapart.training.without_pytorch import require_what_it_needs


@dataclass(frozen=True)
class Way:
    """One way of training: ``method`` of a recipe."""

    name: str
    #: One sentence: what it does.
    summary: str
    train: Callable[[Task], Trained]
    #: Raises RecipeError where a recipe cannot be trained so; reads no image.
    check: Callable[[Recipe], None]
    #: Whether it moves the weights of a network epoch by epoch. What does can be stopped and
    #: resumed between two epochs, extended, and begun from the weights of another run.
    trains_in_epochs: bool


def _train_auto(task: Task) -> Trained:
    from tellapart.training.auto import train_auto

    return train_auto(task)


def _train_by_probe(task: Task) -> Trained:
    from tellapart.training.by_probe import train_by_probe

    return train_by_probe(task)


def _train_by_fit(task: Task) -> Trained:
    from tellapart.training.by_fit import train_by_fit

    return train_by_fit(task)


def _train_by_ensemble(task: Task) -> Trained:
    from tellapart.training.by_ensemble import train_by_ensemble

    return train_by_ensemble(task, train_task)


def _check_probe(recipe: Recipe) -> None:
    from tellapart.training.by_probe import check_probe

    check_probe(recipe)


def _check_ensemble(recipe: Recipe) -> None:
    from tellapart.training.by_ensemble import check_ensemble

    check_ensemble(recipe, lambda member: way_of(member).check(member))


def _check_fit(recipe: Recipe) -> None:
    from tellapart.training.optimizers import check_optimizer

    if isinstance(recipe.model, JoinedModel):
        raise RecipeError(
            "Several backbones side by side (model.kind=joined) stay as they are: set method=probe."
        )
    check_optimizer(recipe.training, "training")
    if recipe.fine_tuning is not None:
        check_optimizer(recipe.fine_tuning, "fine_tuning")


#: A new one is a module with its function, a row here, and its name in ``recipe.Recipe``.
WAYS: Mapping[str, Way] = MappingProxyType(
    {
        way.name: way
        for way in (
            Way(
                "auto",
                "The best classifier for little time: a probe on the default backbone.",
                _train_auto, _check_probe, trains_in_epochs=False,
            ),
            Way(
                "probe",
                "Every image through a frozen backbone once, then a head on its features.",
                _train_by_probe, _check_probe, trains_in_epochs=False,
            ),
            Way(
                "fit",
                "Gradient descent in epochs, one stage or two, on all or part of a network.",
                _train_by_fit, _check_fit, trains_in_epochs=True,
            ),
            Way(
                "ensemble",
                "Several classifiers, and of their probabilities the mean that validation prefers.",
                _train_by_ensemble, _check_ensemble, trains_in_epochs=False,
            ),
        )
    }
)  # fmt: skip


def way_of(recipe: Recipe) -> Way:
    """The row of the way that a recipe names."""
    return WAYS[recipe.method]


def check_trainable(recipe: Recipe, *, from_run: bool = False, num_processes: int = 1) -> None:
    """Refuse what cannot be trained, before any image is read.

    Args:
        recipe: with every setting laid over it.
        from_run: whether training is to begin from the weights of another run.
        num_processes: how many processes train together.

    Raises:
        RecipeError: settings do not go together, or nothing would begin from those weights.
        MissingPackageError: it needs PyTorch, which is not installed.
    """
    way = way_of(recipe)
    way.check(recipe)
    require_what_it_needs(recipe)
    if num_processes > 1 and not way.trains_in_epochs:
        raise RecipeError(
            f"Several processes divide an epoch's work, and method '{way.name}' has no epochs; "
            "train it in one process, without --devices."
        )
    if from_run and not way.trains_in_epochs:
        raise RecipeError(
            f"--from gives weights that training in epochs begins from, and method '{way.name}' "
            "trains no network; leave --from out, or choose a recipe of method fit "
            f"({', '.join(row.name for row in WAYS.values() if not row.trains_in_epochs)} are not)."
        )


def train_task(task: Task) -> Trained:
    """Hand a task to the way of training that its recipe names.

    Raises:
        TellapartError: the recipe and the images do not go together, or the result would be
            nonsense.
    """
    return way_of(task.recipe).train(task)
