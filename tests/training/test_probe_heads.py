"""Heads on features against scikit-learn, brute force and themselves as modules."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

import tellapart as ta
from tellapart.errors import DataError, RunError
from tellapart.evaluation.calibration import choose_temperature
from tellapart.models.feature_heads import (
    HiddenLayerHead,
    NeighboursHead,
    read_head,
    read_neighbours,
    unit,
)
from tellapart.models.head import Neighbours, build_head
from tellapart.progress import SILENT
from tellapart.recipe import BackboneModel, ProbeSettings
from tellapart.training.discriminant import discriminants
from tellapart.training.hidden_network import fit_hidden_network
from tellapart.training.nearest import MOST_REFERENCES, fit_neighbours
from tellapart.training.probe_heads import HEADS, fit_head
from tellapart.training.selection import ProbeData, calibrated_losses, simplest_near_best

ImageFolder = Callable[..., Path]

Floats = NDArray[np.float32]
Labels = NDArray[np.int64]


def clouds(
    count: int, num_classes: int = 3, width: int = 12, seed: int = 0
) -> tuple[Floats, Labels]:
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(num_classes, width))
    labels = np.minimum(np.arange(count) % (num_classes + 1), num_classes - 1)  # not all as common
    noise = 1.2 * random.normal(size=(count, width)) * np.linspace(0.3, 2, width)
    features = centres[labels] + noise
    return (4 + 3 * features).astype(np.float32), labels.astype(np.int64)


def rings(count: int, seed: int) -> tuple[Floats, Labels]:
    """Two classes that no line parts: near the middle, and around it."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    points = random.normal(size=(count, 2))
    points *= ((0.5 + 1.5 * labels) / np.linalg.norm(points, axis=1))[:, None]
    return (points + 0.1 * random.normal(size=points.shape)).astype(np.float32), labels


def data(
    make: tuple[Floats, Labels], held_out: tuple[Floats, Labels], num_classes: int
) -> ProbeData:
    return ProbeData(make[0][None], make[1], held_out[0][None], held_out[1], num_classes)


def softmax(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)


def test_recipes_name_the_heads_of_the_table() -> None:
    assert get_args(ProbeSettings.model_fields["head"].annotation) == tuple(HEADS)
    assert all(row.name == name for name, row in HEADS.items())
    assert all(key in ProbeSettings.model_fields for row in HEADS.values() for key in row.settings)


# --- discriminant analysis -------------------------------------------------------------------


@pytest.mark.parametrize("shrinkage", [0.05, 0.5, 1.0])
@pytest.mark.parametrize(("count", "balanced"), [(90, False), (90, True), (20, False)])
def test_discriminants_are_scikit_learns(count: int, shrinkage: float, balanced: bool) -> None:
    width = 12 if count > 20 else 40  # also fewer images than features
    x, y = clouds(count, width=width)
    fresh, _ = clouds(50, width=width, seed=1)
    (head,) = discriminants(x[None], y, [shrinkage], num_classes=3, balanced=balanced)
    scaler = StandardScaler().fit(x.astype(np.float64))
    priors = np.full(3, 1 / 3) if balanced else None
    reference = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage, priors=priors)
    reference.fit(scaler.transform(x), y)
    expected = reference.predict_proba(scaler.transform(fresh))
    np.testing.assert_allclose(softmax(head.logits(fresh)), expected, atol=2e-4)


def test_the_shrinkage_is_the_largest_that_is_not_clearly_worse() -> None:
    given = data(clouds(120), clouds(150, seed=3), 3)
    fitted = fit_head(given, ProbeSettings(head="discriminant"))
    tried = sorted(ProbeSettings().shrinkages, reverse=True)
    heads = discriminants(given.train, given.labels, tried, num_classes=3)
    losses = calibrated_losses([h.logits(given.validation[0]) for h in heads],
                               given.validation_labels)  # fmt: skip
    assert fitted.facts["shrinkage"] == tried[simplest_near_best(losses)]
    assert fitted.facts["shrinkage_chosen_by"] == "validation"
    few = data(clouds(120), clouds(9, seed=3), 3)
    found = fit_head(few, ProbeSettings(head="discriminant"))
    assert found.facts["shrinkage_chosen_by"] == "cross-validation"


def test_few_images_of_many_features_do_not_make_it_surer_than_a_temperature_can_mend() -> None:
    x, y = clouds(30, width=400)
    held, truth = clouds(120, width=400, seed=1)
    truth = np.where(np.arange(120) < 12, (truth + 1) % 3, truth)  # every tenth is mislabelled
    settings = ProbeSettings(head="discriminant", shrinkages=(0.01,))
    head = fit_head(data((x, y), (held, truth), 3), settings).head
    (raw,) = discriminants(x[None], y, [0.01], num_classes=3)
    np.testing.assert_array_equal(head.logits(held).argmax(1), raw.logits(held).argmax(1))
    assert choose_temperature(head.logits(held), truth) < 10 * (1 - 1e-6)
    assert choose_temperature(raw.logits(held), truth) > 10 * (1 - 1e-6)


# --- neighbours -------------------------------------------------------------------------------


def test_the_nearest_image_answers_as_in_scikit_learn() -> None:
    x, y = clouds(60)
    fresh, _ = clouds(40, seed=1)
    mean = x.mean(axis=0)
    votes = np.eye(3, dtype=np.float32)[y]
    head = NeighboursHead(unit(x - mean), votes, mean, 1)
    reference = KNeighborsClassifier(1, metric="cosine").fit(x - mean, y)
    np.testing.assert_array_equal(head.logits(fresh).argmax(1), reference.predict(fresh - mean))
    head = NeighboursHead(unit(x - mean), votes, mean, 7)
    near = unit(fresh - mean) @ unit(x - mean).T  # by hand, an image at a time
    for row, logits in zip(near, head.logits(fresh), strict=True):
        order = np.argsort(-row)[:7]
        cast = np.exp((row[order] - row.max()) / 0.1)
        sums = np.array([cast[y[order] == label].sum() for label in range(3)]) + 1 / 3
        np.testing.assert_allclose(softmax(logits[None])[0], sums / sums.sum(), rtol=1e-4)


def test_without_validation_each_image_is_judged_by_the_others() -> None:
    x, y = clouds(30)
    alone = data((x, y), (x[:0], y[:0]), 3)
    fitted = fit_neighbours(alone, ProbeSettings(neighbours=(1,)))
    assert fitted.facts["neighbours_chosen_by"] == "leaving one image out"
    # Its own nearest is the image itself: were it not left out, no loss would be above that.
    head = fitted.head
    itself = calibrated_losses([head.logits(x)], y).mean()
    assert fitted.facts["neighbours_log_losses"]["1"] > 1.5 * itself


def test_too_many_images_to_keep_is_said() -> None:
    x = np.zeros((1, MOST_REFERENCES + 1, 2), np.float32)
    y = np.arange(MOST_REFERENCES + 1) % 2
    with pytest.raises(DataError, match="5,001 images in 1 view are more than the 5,000"):
        fit_neighbours(ProbeData(x, y, x[:, :0], y[:0], 2), ProbeSettings())


# --- the network ------------------------------------------------------------------------------


@pytest.mark.parametrize("held_out", [200, 10])
def test_the_network_learns_what_no_line_parts(held_out: int) -> None:
    given = data(rings(150, 0), rings(held_out, 1), 2)
    settings = ProbeSettings(head="network", units=(32,))
    fitted = fit_head(given, settings)
    x, y = rings(300, 2)
    assert (fitted.head.logits(x).argmax(1) == y).mean() > 0.95
    line = fit_head(given, ProbeSettings()).head
    assert (line.logits(x).argmax(1) == y).mean() < 0.7
    assert fitted.facts["units_chosen_by"] == (
        "validation" if held_out == 200 else "cross-validation"
    )
    again = fit_hidden_network(given, settings)
    np.testing.assert_array_equal(again.head.logits(x), fitted.head.logits(x))


@pytest.mark.parametrize("change", [{"class_weight": "balanced"}, {"sampler": "balanced"}])
def test_a_rare_class_is_found_more_often_when_classes_are_balanced(change: dict[str, str]) -> None:
    x, y = clouds(400, 2, seed=5)
    kept = np.flatnonzero((y == 1) | (np.arange(400) % 24 == 0))
    fresh, truth = clouds(400, 2, seed=6)
    given = data((x[kept], y[kept]), (fresh[:150], truth[:150]), 2)
    recall = []
    for settings in ({}, change):
        fitted = fit_hidden_network(
            given, ProbeSettings.model_validate({"units": [16], **settings})
        )
        found = fitted.head.logits(fresh).argmax(1)
        recall.append((found[truth == 0] == 0).mean())
    assert recall[1] > recall[0]


# --- heads as modules, and in files -----------------------------------------------------------


def test_a_head_of_arrays_and_its_module_say_the_same() -> None:
    random = np.random.default_rng(0)
    x, y = clouds(30)
    drawn = [random.normal(size=s).astype(np.float32) for s in ((5, 12), (5,), (3, 5), (3,))]
    hidden = HiddenLayerHead(*drawn)
    model = hidden.model(BackboneModel())
    module = build_head(model.head, (12,), 3)
    state = {key.removeprefix("head."): torch.from_numpy(value)
             for key, value in hidden.state().items()}  # fmt: skip
    module.load_state_dict(state)
    with torch.inference_mode():
        np.testing.assert_allclose(module(torch.from_numpy(x)), hidden.logits(x), atol=1e-4)
        near = NeighboursHead(unit(x - x.mean(0)), np.eye(3, dtype=np.float32)[y], x.mean(0), 5)
        fresh, _ = clouds(20, seed=1)
        np.testing.assert_allclose(
            Neighbours(near)(torch.from_numpy(fresh)), near.logits(fresh), atol=1e-4
        )
    np.testing.assert_array_equal(read_head(hidden.state(), model.head, 3).logits(x),
                                  hidden.logits(x))  # fmt: skip
    np.testing.assert_array_equal(read_neighbours(near.state(), 3).logits(x), near.logits(x))
    with pytest.raises(ValueError, match=r"head\.output\.votes"):
        read_neighbours(near.state(), 4)
    with pytest.raises(ValueError, match=r"head\.hidden\.0\.weight"):
        read_head({}, model.head, 3)


@pytest.mark.parametrize("head", ["discriminant", "network", "neighbours"])
def test_a_run_answers_alike_everywhere(
    head: str, image_folder: ImageFolder, tmp_path: Path
) -> None:
    photos = image_folder(("blue", "green", "red"), parts={"train": 8, "validation": 5, "test": 3})
    run = ta.train(
        photos,
        recipe="probe",
        run=tmp_path / "run",
        progress=SILENT,
        settings=["data.image_size=64", f"probe.head={head}", "probe.views=[original, flip]"],
    )
    stored = run.predictions("test")
    answers = ta.predict(run, [photos / path for path in stored.paths], progress=SILENT)
    said = [list(answer.probabilities.values()) for answer in answers.rows]
    np.testing.assert_allclose(said, stored.probabilities, atol=1e-6)
    classifier = run.classifier()
    with torch.inference_mode():  # Grad-CAM sees this module
        network = classifier.network()
    assert sum(value.numel() for value in network.head.state_dict().values()) > 0
    explained = ta.explain(run, count=1, progress=SILENT)
    assert explained.images[0].evidence
    if head == "neighbours":
        assert classifier.description.neighbours
        content = (run.path / "model.safetensors").read_bytes()
        (run.path / "model.safetensors").write_bytes(content[:-4] + b"abcd")
        with pytest.raises(RunError, match="not those it was written with"):
            run.classifier().network()


def test_the_vote_of_neighbours_becomes_a_graph() -> None:
    """Exports stand on torch.export, which cannot read a number off a tensor."""
    random = np.random.default_rng(0)
    references = random.normal(size=(20, 8)).astype(np.float32)
    references /= np.linalg.norm(references, axis=1, keepdims=True)
    votes = np.eye(3, dtype=np.float32)[random.integers(0, 3, 20)]
    head = NeighboursHead(references, votes, np.zeros(8, np.float32), 5)
    features = torch.tensor(random.normal(size=(4, 8)).astype(np.float32))
    with torch.no_grad():
        graph = torch.export.export(Neighbours(head).eval(), (features,)).module()
        assert graph(features).numpy() == pytest.approx(head.logits(features.numpy()), abs=1e-5)
