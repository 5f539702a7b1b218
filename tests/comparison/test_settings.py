"""The settings in which runs differ, of made runs."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from tellapart.comparison.settings import NOT_THERE, DifferingSetting, differing_settings
from tellapart.recipe import Recipe
from tellapart.recipe_reading import load_recipe
from tellapart.run import Run


def run(recipe: str = "auto", settings: dict[str, Any] | None = None, **beside: Any) -> Run:
    """A run of which only what is read here is there."""
    content = load_recipe(recipe).model_dump(mode="json")
    for key, value in (settings or {}).items():
        *above, last = key.split(".")
        section = content
        for name in above:
            section = section[name]
        section[last] = value
    info = SimpleNamespace(
        preprocessing={"width": 96, "height": 64},
        prediction=beside.get("prediction", SimpleNamespace(engine="OpenVINO", precision="bf16")),
        parent=beside.get("parent"),
        data=SimpleNamespace(counts=beside.get("counts", {"train": {"a": 1200, "b": 34}})),
        machine=SimpleNamespace(device_name=beside.get("device", "EPYC")),
        tellapart=beside.get("version", "0.1.0"),
    )
    source = SimpleNamespace(folder=beside.get("folder", "photos"), exclude=beside.get("exclude"))
    return cast(
        Run, SimpleNamespace(recipe=Recipe.model_validate(content), info=info, source=source)
    )


def rows(**runs: Run) -> dict[str, dict[str, str]]:
    return {row.key: dict(row.values) for row in differing_settings(runs)}


def test_equal_runs_differ_in_nothing() -> None:
    assert differing_settings({"a": run(), "b": run()}) == ()
    assert differing_settings({"a": run(recipe="finetune"), "b": run(recipe="finetune")}) == ()


def test_a_setting_is_told_under_the_key_that_set_takes() -> None:
    found = differing_settings({"a": run(), "b": run(settings={"seed": 3})})
    assert found == (DifferingSetting("seed", {"a": "0", "b": "3"}),)
    nested = rows(a=run(), b=run(settings={"data.validation": 0.3}))
    assert nested == {"data.validation": {"a": "0.15", "b": "0.3"}}


def test_titles_and_words_are_no_settings() -> None:
    words = {"title": "Another", "teaches": "x", "differs": "y"}
    assert rows(a=run(), b=run(settings=words)) == {}


def test_a_training_of_another_kind_does_not_tell_its_usual_settings() -> None:
    found = rows(a=run(), b=run(recipe="finetune"))
    assert found["method"] == {"a": "auto", "b": "fit"}
    assert not any(key.startswith("probe.") for key in found)
    told = [key for key in found if key.startswith("training.")]
    assert all(found[key]["a"] == NOT_THERE for key in told)
    # What is as it usually is in every training is no news.
    assert "training.class_weight" not in found


def test_only_the_settings_that_had_a_part_are_told() -> None:
    """Those of a probe where gradient descent trained, and the other way round, had none."""
    probe = {"probe.cross_validate_below": 7}
    training = {"training.epochs": 77, "fine_tuning": {"epochs": 5}}
    ensemble = {"ensemble.members": [{"name": "one"}]}
    for recipe, idle in (("auto", training), ("probe", training), ("finetune", probe)):
        found = rows(a=run(recipe), b=run(recipe, settings=idle | ensemble))
        assert found == {}, recipe
    (setting,) = rows(a=run("probe"), b=run("probe", settings=probe)).items()
    assert setting[0] == "probe.cross_validate_below" and setting[1]["b"] == "7"


def test_of_an_ensemble_its_members_are_told_and_nothing_of_one_network() -> None:
    idle = {
        "training.epochs": 77, "fine_tuning": {"epochs": 5}, "probe.cross_validate_below": 7,
        "augmentation": [{"transform": "flip"}], "test_time": "flip", "model.backbone": "resnet18",
    }  # fmt: skip
    ensemble = {"method": "ensemble", "ensemble.members": [{"name": "one"}, {"name": "two"}]}
    assert rows(a=run(settings=ensemble), b=run(settings=ensemble | idle)) == {}


def test_a_second_stage_tells_what_is_not_as_usual() -> None:
    first = run("finetune", settings={"fine_tuning": None})
    second = run("finetune", settings={"fine_tuning": {"epochs": 5, "learning_rate": 1e-4}})
    found = rows(a=first, b=second)
    assert found["fine_tuning.epochs"]["b"] == "5"
    assert "fine_tuning.class_weight" not in found
    assert rows(a=second, b=run("finetune", settings={
        "fine_tuning": {"epochs": 6, "learning_rate": 1e-4},
    })) == {"fine_tuning.epochs": {"a": "5", "b": "6"}}  # fmt: skip


def test_lists_and_steps_of_the_augmentation_are_one_value() -> None:
    found = rows(a=run(), b=run(settings={"augmentation": [
        {"transform": "flip"}, {"transform": "rotation", "degrees": 10},
    ]}))  # fmt: skip
    assert found["augmentation"]["a"] == "none"
    assert found["augmentation"]["b"].startswith("flip")
    assert "rotation, degrees 10" in found["augmentation"]["b"]
    assert (
        "; rotation" in found["augmentation"]["b"]
        and "transform" not in (found["augmentation"]["b"])
    )


@pytest.mark.parametrize(("beside", "key", "values"), [
    ({"parent": "runs/first"}, "started from", ("pretrained or random weights", "runs/first")),
    ({"folder": "others"}, "images in", ("photos", "others")),
    ({"exclude": "out.csv"}, "images left out by", (NOT_THERE, "out.csv")),
    ({"counts": {"train": {"a": 5, "b": 6}, "test": {"a": 1}}}, "images a part",
     ("train 1,234", "train 11, test 1")),
    ({"prediction": None}, "predicted by", ("OpenVINO bf16", "not known")),
    ({"device": "H100"}, "trained on", ("EPYC", "H100")),
    ({"version": "0.2.0"}, "version of tellapart", ("0.1.0", "0.2.0")),
])  # fmt: skip
def test_what_is_no_setting_of_the_recipe(
    beside: dict[str, Any], key: str, values: tuple[str, str]
) -> None:
    assert rows(a=run(), b=run(**beside)) == {key: {"a": values[0], "b": values[1]}}


def test_what_is_no_setting_comes_last() -> None:
    other = run(settings={"seed": 3}, folder="others")
    other.info.preprocessing = {"width": 128, "height": 64}
    found = list(rows(a=run(), b=other))
    assert found == ["seed", "images in", "pixels seen"]
    assert rows(a=run(), b=other)["pixels seen"] == {"a": "96 x 64", "b": "128 x 64"}


def test_a_setting_that_one_run_lacks_still_comes_before_the_images() -> None:
    """Keys of the second run are met after the folder of the first."""
    found = list(rows(a=run(), b=run("finetune", folder="others")))
    assert found[-1] == "images in" and "training.epochs" in found
