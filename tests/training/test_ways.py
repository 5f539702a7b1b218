"""What a recipe can name is what the tables hold."""

from __future__ import annotations

import subprocess
import sys
from typing import get_args

import pytest

from tellapart.errors import RecipeError
from tellapart.recipe import Recipe, TrainingStage
from tellapart.recipe_reading import apply_settings, load_recipe
from tellapart.training.optimizers import OPTIMIZERS
from tellapart.training.schedules import SCHEDULES
from tellapart.training.ways import WAYS, check_trainable


@pytest.mark.parametrize(
    ("section", "key", "table"),
    [
        (Recipe, "method", WAYS),
        (TrainingStage, "optimizer", OPTIMIZERS),
        (TrainingStage, "schedule", SCHEDULES),
    ],
)
def test_recipes_name_the_rows_of_the_tables(section, key, table) -> None:
    assert get_args(section.model_fields[key].annotation) == tuple(table)
    assert all(row.name == name for name, row in table.items())


@pytest.mark.parametrize("recipe", ["auto", "probe"])
def test_weights_to_begin_from_need_training_in_epochs(recipe: str) -> None:
    check_trainable(load_recipe(recipe))
    check_trainable(load_recipe("finetune"), from_run=True)
    with pytest.raises(RecipeError, match=rf"method '{recipe}' trains no network; leave --from"):
        check_trainable(load_recipe(recipe), from_run=True)


@pytest.mark.parametrize(
    ("recipe", "setting", "sentence"),
    [
        ("probe", "model.weights=none", "needs a pretrained backbone"),
        ("auto", "probe.views=[flip]", "probe.views needs 'original'"),
        ("finetune", "fine_tuning.nesterov=true", "fine_tuning.nesterov goes with optimizer: sgd"),
        ("finetune", "training={class_weight: balanced, sampler: balanced}", "rare classes twice"),
        ("finetune", "training.momentum=0.5", "training.momentum=0.5 goes with sgd or rmsprop"),
    ],
)
def test_what_cannot_be_trained_is_said_before_any_image_is_read(
    recipe: str, setting: str, sentence: str
) -> None:
    with pytest.raises(RecipeError, match=sentence):
        check_trainable(apply_settings(load_recipe(recipe), [setting]))


def test_the_tables_need_no_heavy_library() -> None:
    code = (
        "import sys, tellapart.training.ways, tellapart.training.unused\n"
        "print({'torch', 'timm', 'sklearn'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
