"""Recipes: those that come with tellapart, and how mistakes in them are told."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
import yaml

from tellapart.errors import RecipeError
from tellapart.models.freezing import freeze
from tellapart.models.inputs import preprocessing_for
from tellapart.models.network import build_network, count_parameters
from tellapart.recipe import BackboneModel, Recipe, ScratchModel
from tellapart.recipe_reading import (
    apply_settings,
    load_recipe,
    parse_recipe,
    recipe_names,
    recipe_to_yaml,
    setting_keys,
)

OURS = {
    "auto", "cifar-finetune", "cifar-finetune-hour", "cifar-finetune-long", "finetune",
    "frozen-augmented", "partial",
    "probe", "scratch-fast", "solar-cells", "solar-cells-finetune",
}  # fmt: skip

BY_DOCUMENT = {
    "000": {"cifar-vgg16-frozen-augmented", "cifar-vgg16-finetune-block5"},
    "001": {"cifar-baseline-sgd", "cifar-batchnorm-rmsprop"},
    "002": {
        "dogs-cats-vanilla",
        "dogs-cats-augmented",
        "dogs-cats-vgg16-features",
        "dogs-cats-vgg16-finetune",
    },
    "003": {"cars-baseline", "cars-augmented", "cars-vgg16-features"},
    "004": {
        "animals-simple",
        "animals-mid",
        "animals-resnet",
        "animals-inception",
        "animals-resnet-augmented",
        *(
            f"animals-{backbone}-{way}"
            for backbone in ("resnet50v2", "mobilenetv2", "xception")
            for way in ("transfer", "finetune", "partial")
        ),
    },
}

#: Total and trainable parameters that the documents print, or that follow from the
#: layers they give, and those of the network built here where they differ.
COUNTS = {
    "cifar-vgg16-frozen-augmented": (18_914_634, 4_199_946),
    "cifar-vgg16-finetune-block5": (18_914_634, 11_279_370),
    "cifar-baseline-sgd": (156_074, 156_074),
    "cifar-batchnorm-rmsprop": (815_914, 815_018),
    "dogs-cats-vanilla": (991_041, 991_041),
    "dogs-cats-augmented": (991_041, 991_041),
    "dogs-cats-vgg16-features": (17_992_001, 3_277_313),
    "dogs-cats-vgg16-finetune": (17_992_001, 10_356_737),
    "cars-baseline": (53_953, 53_953),
    "cars-augmented": (53_953, 53_953),
    "cars-vgg16-features": (15_239_489, 524_801),
    "animals-simple": (726_277, 726_277),
    "animals-mid": (1_614_885, 1_614_885),
    "animals-resnet": (11_705_333, 11_697_525),
    "animals-inception": (14_633_877, 14_632_725),
    "animals-resnet-augmented": (11_705_333, 11_697_525),
    # ResNet-50 v2 has 19,008 convolution biases in Keras that timm's has not.
    "animals-resnet50v2-transfer": (56_338_805 - 19_008, 32_774_005),
    "animals-mobilenetv2-transfer": (22_743_989, 20_486_005),
    "animals-xception-transfer": (39_299_485, 18_438_005),
    # Frozen BatchNorm: its scales and shifts stay too, as many as its means and variances.
    "animals-resnet50v2-finetune": (56_338_805 - 19_008, 56_293_365 - 19_008 - 45_440),
    "animals-mobilenetv2-finetune": (22_743_989, 22_709_877 - 34_112),
    "animals-xception-finetune": (39_299_485, 39_244_957 - 54_528),
    # What the document's text means, with BatchNorm frozen; 2,048 biases fewer in ResNet.
    "animals-resnet50v2-partial": (56_338_805 - 19_008, 36_183_925 - 2_048),
    "animals-mobilenetv2-partial": (22_743_989, 21_211_445),
    "animals-xception-partial": (39_299_485, 23_925_109),
}


def test_every_experiment_of_the_documents_has_its_recipe() -> None:
    found: dict[str, set[str]] = {}
    for name in recipe_names():
        found.setdefault(load_recipe(name).document, set()).add(name)
    assert found == {**BY_DOCUMENT, "tellapart": OURS}
    assert len(recipe_names()) == 36


@pytest.mark.parametrize("name", recipe_names())
def test_a_recipe_says_what_it_is_and_survives_writing(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    assert recipe.title
    assert recipe.teaches
    assert parse_recipe(recipe_to_yaml(recipe), "again") == recipe
    if recipe.document != "tellapart":
        assert recipe.differs
        assert recipe.reported is not None
        assert recipe.data.image_size is not None


def _stages(recipe: Recipe) -> list[tuple[str, object]]:
    stages = [("training", recipe.training), ("fine_tuning", recipe.fine_tuning)]
    return [(key, stage) for key, stage in stages if stage is not None]


@pytest.mark.parametrize("name", COUNTS)
def test_the_network_has_the_parameters_of_the_document(name: str) -> None:
    recipe = load_recipe(name)
    preprocessing = preprocessing_for(recipe.model, recipe.data)
    with torch.device("meta"):  # shapes without numbers: quick for 56 million weights
        network = build_network(
            recipe.model, recipe.num_classes, preprocessing, random_weights=True
        )
    if isinstance(recipe.model, BackboneModel):
        freeze(network, (recipe.fine_tuning or recipe.training).trainable)
    assert count_parameters(network) == COUNTS[name]


@pytest.mark.parametrize("name", COUNTS)
def test_the_recipe_reports_the_counts_of_its_document(name: str) -> None:
    """Equal to those built, but where the text of the recipe says why not."""
    recipe = load_recipe(name)
    assert recipe.reported is not None
    total, trainable = COUNTS[name]
    if "resnet50v2" in name:
        assert recipe.reported.total_parameters == total + 19_008
        assert "19,008" in recipe.differs
    else:
        assert recipe.reported.total_parameters == total
    if name.endswith("-partial"):
        assert "inverted" in recipe.differs
    elif name.endswith("-finetune") and name.startswith("animals"):
        assert "BatchNorm stays in inference mode" in recipe.differs
    else:
        assert recipe.reported.trainable_parameters == trainable


def test_no_pretrained_recipe_moves_batch_norm() -> None:
    for name in recipe_names():
        recipe = load_recipe(name)
        if isinstance(recipe.model, BackboneModel):
            for _, stage in _stages(recipe):
                assert stage.trainable.batch_norm == "frozen", name  # type: ignore[attr-defined]


def test_fine_tuning_starts_from_a_head_trained_on_a_frozen_backbone() -> None:
    for name in recipe_names():
        recipe = load_recipe(name)
        if recipe.fine_tuning is not None:
            assert recipe.training.trainable.backbone == "none", name
            assert recipe.fine_tuning.trainable.backbone != "none", name
            assert recipe.fine_tuning.learning_rate < recipe.training.learning_rate, name


def test_every_long_stage_of_fine_tuning_stops_early() -> None:
    """One notebook went on for 29 epochs after its best one."""
    found = [load_recipe(name) for name in recipe_names()]
    found = [recipe for recipe in found if recipe.fine_tuning is not None]
    assert len(found) >= 7
    for recipe in found:
        for stage in recipe.stages:
            stopping = stage.early_stopping
            assert stage.epochs <= 6 or stopping is not None, recipe.name
            assert stopping is None or stopping.patience <= stage.epochs / 3, recipe.name


def test_hidden_dense_layers_are_not_linear() -> None:
    for name in recipe_names():
        model = load_recipe(name).model
        if isinstance(model, BackboneModel):
            dense = [row for row in model.head if row.layer == "dense"]
            assert {row.activation for row in dense} <= {"relu"}, name


def test_validation_and_test_are_never_the_same_images() -> None:
    for name in recipe_names():
        data = load_recipe(name).data
        assert not set(data.validation_folders) & set(data.test_folders), name
        assert not set(data.train_folders) & set(data.test_folders), name


def test_rotations_are_the_degrees_of_the_documents() -> None:
    """RandomRotation(f) turns by up to f * 360 degrees; rotation_range is in degrees."""
    turns = {
        name: step.degrees
        for name in recipe_names()
        for step in load_recipe(name).augmentation
        if step.transform == "rotation"
    }
    assert turns["cifar-vgg16-frozen-augmented"] == 0.05 * 360
    assert turns["dogs-cats-augmented"] == turns["animals-resnet-augmented"] == 0.1 * 360
    assert turns["cars-augmented"] == 20


def test_cifar_folders_and_car_classes_are_those_of_the_documents() -> None:
    data = load_recipe("cifar-baseline-sgd").data
    assert data.train_folders == ("train1", "train3", "train4", "train5")
    assert data.validation_folders == ("train2",)
    assert data.test_folders == ("test",)
    assert load_recipe("cars-baseline").data.classes == ("other", "car")


# --- mistakes --------------------------------------------------------------------------------

MINIMAL = {"name": "mine", "title": "Mine", "teaches": "Nothing."}


def problems(**changes: object) -> tuple[str, ...]:
    with pytest.raises(RecipeError) as caught:
        parse_recipe(yaml.safe_dump({**MINIMAL, **changes}), "mine.yaml")
    assert str(caught.value).startswith("mine.yaml: ")
    assert all(problem in str(caught.value) for problem in caught.value.problems)
    return caught.value.problems


def test_an_unknown_key_is_told_with_the_nearest_right_one() -> None:
    assert problems(training={"epoch": 5}) == (
        "Unknown key 'training.epoch'. Did you mean 'training.epochs'?",
    )
    assert problems(modle={}) == ("Unknown key 'modle'. Did you mean 'model'?",)


def test_an_unknown_key_in_a_model_or_an_augmentation_is_told_too() -> None:
    (model,) = problems(model={"kind": "backbone", "bakbone": "vgg16"})
    assert model == "Unknown key 'model.bakbone'. Did you mean 'model.backbone'?"
    (step,) = problems(augmentation=[{"transform": "rotation", "degrees": 9, "fil": "reflect"}])
    assert "'augmentation.0" in step
    assert step.endswith("fil'. Did you mean 'fill'?")


def test_a_value_of_the_wrong_type_is_told_with_what_was_received() -> None:
    (problem,) = problems(training={"epochs": "many"})
    assert problem.startswith("training.epochs='many': ")
    assert "integer" in problem


def test_a_value_out_of_range_is_told_with_the_range() -> None:
    (problem,) = problems(training={"learning_rate": -1})
    assert problem == "training.learning_rate=-1: input should be greater than 0."


def test_a_choice_is_told_with_the_allowed_values() -> None:
    (problem,) = problems(training={"optimizer": "lion"})
    assert problem.startswith("training.optimizer='lion': ")
    for allowed in ("sgd", "rmsprop", "adam", "adamw"):
        assert f"'{allowed}'" in problem


def test_all_mistakes_are_told_at_once() -> None:
    found = problems(training={"epochs": 0, "batchsize": 3}, seed=-1, method="guess")
    assert len(found) == 4
    assert any("training.epochs=0" in problem for problem in found)
    assert any("Did you mean 'training.batch_size'?" in problem for problem in found)
    assert any("seed=-1" in problem for problem in found)
    assert any("method='guess'" in problem for problem in found)


def test_a_missing_key_is_told() -> None:
    with pytest.raises(RecipeError, match="The key 'teaches' is missing"):
        parse_recipe("{name: a, title: b}", "a.yaml")


@pytest.mark.parametrize(
    ("head", "message"),
    [
        ({"layer": "dense"}, "a dense layer needs 'units'"),
        ({"layer": "dropout"}, "a dropout layer needs 'rate'"),
    ],
)
def test_an_incomplete_layer_is_told(head: dict[str, object], message: str) -> None:
    (problem,) = problems(model={"kind": "backbone", "head": [head]})
    assert problem.startswith("model.head.0=")
    assert message in problem


def test_last_layers_and_modules_go_with_their_choice() -> None:
    (problem,) = problems(training={"trainable": {"backbone": "all", "last_layers": 3}})
    assert "'last_layers' goes with backbone: last_layers" in problem
    (problem,) = problems(training={"trainable": {"backbone": "modules"}})
    assert "'modules' goes with backbone: modules" in problem


def test_text_that_is_no_recipe_is_told() -> None:
    with pytest.raises(RecipeError, match=r"mine\.yaml is not valid YAML"):
        parse_recipe("a: [", "mine.yaml")
    with pytest.raises(RecipeError, match="must be a YAML mapping"):
        parse_recipe("- 1", "mine.yaml")


def test_an_unknown_recipe_is_told_with_the_nearest_one() -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe("cifar-baseline")
    assert str(caught.value) == (
        "There is no recipe 'cifar-baseline'. Did you mean 'cifar-baseline-sgd'? "
        f"'tellapart recipes' lists all {len(recipe_names())}."
    )


def test_a_recipe_is_read_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump(MINIMAL), "utf-8")
    assert load_recipe(file).name == "mine"
    with pytest.raises(RecipeError, match="cannot be read"):
        load_recipe(tmp_path / "other.yaml")


# --- settings from the command line ---------------------------------------------------------


def test_settings_are_overlaid_and_read_as_yaml() -> None:
    recipe = apply_settings(
        load_recipe("cifar-baseline-sgd"),
        [
            "training.epochs=5",
            "training.learning_rate=1e-3",
            "training.early_stopping=null",
            "training.nesterov=true",
            "data.train_folders=[a, b]",
        ],
    )
    assert recipe.training.epochs == 5
    assert recipe.training.learning_rate == 0.001
    assert recipe.training.early_stopping is None
    assert recipe.training.nesterov is True
    assert recipe.data.train_folders == ("a", "b")
    assert recipe.training.momentum == 0.9


def test_settings_reach_an_optional_section() -> None:
    recipe = apply_settings(load_recipe("probe"), ["fine_tuning.epochs=2"])
    assert recipe.fine_tuning is not None
    assert recipe.fine_tuning.epochs == 2


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        ("epochs=5", "'training.epochs' or 'fine_tuning.epochs'"),
        ("epoch=5", "'training.epochs' or 'fine_tuning.epochs'"),
        ("backbone.weights=none", "'model.weights' or 'ensemble.weights'"),
        ("training.seed=1", "'seed'"),
        ("early_stopping.patience=3", "'training.early_stopping.patience'"),
    ],
)
def test_what_was_meant_is_named_so_that_it_can_be_given_as_it_stands(
    wrong: str, meant: str
) -> None:
    with pytest.raises(RecipeError, match=f"Did you mean {meant}[?]"):
        apply_settings(load_recipe("finetune"), [wrong])


def test_no_key_with_a_letter_missing_leads_to_a_second_mistake() -> None:
    keys = set(setting_keys())
    assert {"seed", "training.epochs", "model.weights", "fine_tuning.trainable.backbone"} <= keys
    for key in sorted(keys):
        wrong = key[:-1]
        if wrong in keys:
            continue
        with pytest.raises(RecipeError) as caught:
            apply_settings(load_recipe("finetune"), [f"{wrong}=1"])
        hints = re.findall(r"Did you mean ([^?]+)[?]", str(caught.value))
        for hint in hints:
            named = re.findall(r"'([^']+)'", hint)
            assert set(named) <= keys | {key.partition(".")[0]}, (wrong, named)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("training.epochs", "--set takes key=value; received 'training.epochs'."),
        ("=3", "--set takes key=value; received '=3'."),
        (
            "trainin.epochs=3",
            "--set trainin.epochs=3: unknown key 'trainin'. Did you mean 'training.epochs'?",
        ),
        ("seed.x=3", "--set seed.x=3: 'seed' has no keys below it."),
        ("training.epochs=[", "--set training.epochs=[: '[' is not a YAML value."),
        (
            "training.epoch=3",
            "--set: Unknown key 'training.epoch'. Did you mean 'training.epochs'?",
        ),
    ],
)
def test_a_wrong_setting_is_told(setting: str, message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        apply_settings(load_recipe("cifar-baseline-sgd"), [setting])
    assert str(caught.value) == message


def test_a_recipe_cannot_be_changed_after_it_was_checked() -> None:
    recipe = load_recipe("auto")
    with pytest.raises(ValueError, match="frozen"):
        recipe.seed = 3  # type: ignore[misc]


def test_scratch_recipes_name_networks_that_exist() -> None:
    from tellapart.models.scratch import NETWORKS

    for name in recipe_names():
        model = load_recipe(name).model
        if isinstance(model, ScratchModel):
            assert model.network in NETWORKS, name
            assert set(model.options) <= set(NETWORKS[model.network].options), name


@pytest.mark.parametrize(
    ("addition", "said"),
    [
        ("a: &a [x, x]\nb: [*a, *a]\n", "has an alias"),
        ("deep: " + "[" * 60 + "]" * 60 + "\n", "more than 40 levels deep"),
        ("deep: " + "[" * 20_000, "levels deep"),
        ("long: " + "x" * 300_000 + "\n", "256 KB"),
        ("odd: !!timestamp x\n", "not valid YAML"),
        ("odd: !!int text\n", "not valid YAML"),
        ("odd: 2026-99-99\n", "not valid YAML"),
        ("odd: !!python/object/apply:os.system [id]\n", "not valid YAML"),
    ],
)
def test_yaml_that_is_no_plain_data_is_refused_in_a_short_sentence(
    tmp_path: Path, addition: str, said: str
) -> None:
    (tmp_path / "x.yaml").write_text(recipe_to_yaml(load_recipe("probe")) + addition)
    with pytest.raises(RecipeError, match=said) as caught:
        load_recipe(tmp_path / "x.yaml")
    assert len(str(caught.value)) < 1000
    value = addition.partition(": ")[2].strip()
    if "alias" not in said:
        with pytest.raises(RecipeError) as caught:
            apply_settings(load_recipe("probe"), [f"training.epochs={value}"])
        assert len(str(caught.value)) < 1000


def test_thousands_of_unknown_keys_are_counted_not_listed() -> None:
    text = "".join(f"key{number}: 1\n" for number in range(5000))
    with pytest.raises(RecipeError, match=r"There are 4,98\d more mistakes") as caught:
        parse_recipe(recipe_to_yaml(load_recipe("probe")) + text, "x")
    assert len(str(caught.value)) < 20_000
