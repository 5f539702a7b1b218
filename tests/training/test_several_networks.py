"""Backbones side by side and ensembles: trained, resumed, and one answer everywhere."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tellapart as ta
from tellapart.errors import RecipeError
from tellapart.models.inputs import member_of, recipe_of_member
from tellapart.progress import SILENT
from tellapart.recipe_reading import apply_settings, load_recipe, parse_recipe
from tellapart.run import Run
from tellapart.training import by_fit
from tellapart.training.callbacks import Callback
from tellapart.training.unused import unused_settings
from tellapart.training.ways import check_trainable

ImageFolder = Callable[..., Path]

JOINED = """
name: two-sizes
title: One backbone at two sizes
teaches: a test
method: probe
data: {image_size: 64}
model:
  kind: joined
  members: [{backbone: tf_efficientnet_lite0}, {backbone: tf_efficientnet_lite0, image_size: 96}]
probe: {head: discriminant, views: [original, flip]}
"""
ENSEMBLE = """
name: three
title: Two probes and a small network
teaches: a test
method: ensemble
data: {image_size: 64}
ensemble:
  members:
    - {name: discriminant, probe: {head: discriminant, views: [original, flip]}}
    - {name: larger, data: {image_size: 96, fit: crop}}
    - name: scratch
      method: fit
      data: {image_size: 32}
      model: {kind: scratch, network: small_cnn}
      training: {epochs: 3, batch_size: 16, learning_rate: 0.02, precision: float32}
"""


@pytest.fixture(scope="module")
def photos(image_folder: ImageFolder) -> Path:
    parts = {"train": 12, "validation": 8, "test": 4}
    return image_folder(("blue", "green", "red"), parts=parts, size=(80, 60))


def train(photos: Path, text: str, run: Path, **options: object) -> Run:
    file = run.parent / f"{run.name}.yaml"
    file.write_text(text, "utf-8")
    return ta.train(photos, recipe=file, run=run, progress=SILENT, **options)


def answers(run: Run, files: list[Path]) -> np.ndarray:
    found = ta.predict(run, files, progress=SILENT)
    return np.array([list(answer.probabilities.values()) for answer in found.rows])


@pytest.mark.parametrize(("name", "text"), [("joined", JOINED), ("ensemble", ENSEMBLE)])
def test_a_run_of_several_networks_answers_alike_everywhere(
    name: str, text: str, photos: Path, tmp_path: Path
) -> None:
    run = train(photos, text, tmp_path / name)
    stored = run.predictions("test")
    said = answers(run, [photos / path for path in stored.paths])
    np.testing.assert_allclose(said, stored.probabilities, atol=1e-5)
    one = answers(run, [photos / stored.paths[3]])
    np.testing.assert_allclose(one[0], said[3], atol=1e-6)
    evaluated = ta.evaluate(run, photos / "test", progress=SILENT)
    again = evaluated.predictions[evaluated.part]
    order = [path.removeprefix("test/") for path in stored.paths]
    rows = [list(again.paths).index(path) for path in order]
    np.testing.assert_allclose(again.probabilities[rows], stored.probabilities, atol=1e-5)
    explained = ta.explain(run, [photos / stored.paths[0]], progress=SILENT)
    np.testing.assert_allclose(explained.images[0].probabilities, said[0], atol=1e-6)
    page = explained.report.read_text("utf-8")
    assert "networks answer together" in page and "the one that counts most" in page
    assert ta.explain(run, count=1, progress=SILENT).images
    members = run.info.facts["members"]
    assert len(members) == (2 if name == "joined" else 3)
    # The file of the recipe that the run keeps trains it again.
    repeated = ta.train(photos, recipe=run.path / "recipe.yaml", run=tmp_path / "again",
                        progress=SILENT)  # fmt: skip
    np.testing.assert_allclose(
        repeated.predictions("test").probabilities, stored.probabilities, atol=1e-5
    )


def test_given_weights_are_taken_and_one_member_may_be_all(photos: Path, tmp_path: Path) -> None:
    weighed = ENSEMBLE.rstrip() + "\n  weights: [1, 3, 0]\n"
    run = train(photos, weighed, tmp_path / "weighed")
    assert run.classifier().description.weights == (0.25, 0.75)
    alone = train(photos, ENSEMBLE.rstrip() + "\n  weights: [0, 1, 0]\n", tmp_path / "alone")
    settings = ["data.image_size=96", "data.fit=crop"]
    single = ta.train(photos, recipe="probe", settings=settings, run=tmp_path / "single",
                      progress=SILENT)  # fmt: skip
    for part in ("validation", "test"):
        np.testing.assert_allclose(
            alone.predictions(part).probabilities, single.predictions(part).probabilities,
            atol=1e-6,
        )  # fmt: skip
    said = answers(alone, [photos / path for path in single.predictions("test").paths])
    np.testing.assert_allclose(said, single.predictions("test").probabilities, atol=1e-5)


def test_an_ensemble_that_was_interrupted_goes_on(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(photos, ENSEMBLE, tmp_path / "whole")
    fit, epochs = by_fit.fit, []

    class Stop(Callback):
        def end_epoch(self, history: object) -> None:
            epochs.append(history)
            raise KeyboardInterrupt

    def interrupted(*given: object, **named: Any) -> object:
        return fit(*given, **{**named, "callbacks": [*named["callbacks"], Stop()]})

    with monkeypatch.context() as patch:
        patch.setattr(by_fit, "fit", interrupted)
        cut = train(photos, ENSEMBLE, tmp_path / "cut")
    assert len(epochs) == 1 and cut.status == "interrupted"
    resumed = ta.resume(cut, progress=SILENT)
    assert resumed.status == "complete"
    np.testing.assert_allclose(
        resumed.predictions("test").probabilities, whole.predictions("test").probabilities,
        atol=1e-5,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "setting", "sentence"),
    [
        (JOINED, "method=fit", "stay as they are: set method=probe"),
        (JOINED, "probe.head=network", "probe.head to logistic or discriminant"),
        (JOINED, "probe.views=[flip]", "probe.views needs 'original'"),
        (
            JOINED, "model={kind: joined, members: [{backbone: a, weights: none}, {backbone: b}]}",
            "needs pretrained backbones",
        ),
        (JOINED, "model={kind: joined, members: [{backbone: a}]}", "at least 2"),
        (ENSEMBLE, "ensemble.members=[{name: one}]", "needs two members"),
        (ENSEMBLE, "ensemble.members=[{name: one}, {name: one}]", "two members have one name"),
        (ENSEMBLE, "ensemble.weights=[1, 1]", "needs one for each member"),
        (
            ENSEMBLE, "ensemble.members=[{name: a}, {name: b, method: fit, model: {kind: joined, "
            "members: [{backbone: a}, {backbone: b}]}}]", "stay as they are: set method=probe",
        ),
        (
            ENSEMBLE, "ensemble.members=[{name: a}, {name: b, probe: {views: [flip]}}]",
            "probe.views needs 'original'",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_trained_is_said_before_any_image_is_read(
    text: str, setting: str, sentence: str
) -> None:
    with pytest.raises(RecipeError, match=sentence):
        check_trainable(apply_settings(parse_recipe(text, "a test"), [setting]))


def test_a_recipe_becomes_a_member_and_comes_back() -> None:
    outer = parse_recipe(ENSEMBLE, "a test")
    for name in ("probe", "finetune", "partial"):
        recipe = load_recipe(name)
        back = recipe_of_member(outer, member_of(recipe))
        for key in ("method", "seed", "model", "augmentation", "training", "fine_tuning", "probe"):
            assert getattr(back, key) == getattr(recipe, key), key
        assert back.data.fit == recipe.data.fit
    with pytest.raises(RecipeError, match="method 'auto' cannot be a member"):
        member_of(load_recipe("auto"))


def test_settings_beside_the_members_are_named() -> None:
    recipe = apply_settings(
        parse_recipe(ENSEMBLE, "a test"),
        ["probe.head=network", "test_time=flip"],
    )
    sentence = "probe, test_time have no effect: the members of an ensemble have settings of their"
    assert any(sentence in line for line in unused_settings(recipe))
    other = apply_settings(load_recipe("probe"), ["ensemble.members=[{name: a}, {name: b}]"])
    assert "ensemble has no effect: only method=ensemble has members." in unused_settings(other)
    own = apply_settings(
        parse_recipe(ENSEMBLE, "a test"),
        ["ensemble.members=[{name: a, training: {epochs: 2}}, {name: b}]"],
    )
    assert "a: training.epochs=2 has no effect: a probe is not trained in epochs." in (
        unused_settings(own)
    )


def test_the_weights_that_it_builds_on_are_named_once(photos: Path, tmp_path: Path) -> None:
    run = train(photos, JOINED, tmp_path / "joined")
    assert [origin.name for origin in run.info.weights] == ["tf_efficientnet_lite0"]
    content = json.loads((run.path / "run.json").read_text("utf-8"))
    assert len(content["facts"]["members"]) == 2
