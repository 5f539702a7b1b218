"""The best candidates together: judged by images that did not weigh them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tellapart.evaluation.predictions import Predictions
from tellapart.recipe_reading import apply_settings
from tellapart.search import ensembles, loop, plan
from tellapart.search.choose import losses_of
from tellapart.search.record import read_record
from tellapart.search.space import Candidate
from tellapart.verbs.train import train


def saying(of_truth: NDArray[np.float64]) -> Any:
    """An outcome that gives the true one of two classes these probabilities."""
    labels = np.arange(len(of_truth)) % 2
    probabilities = np.empty((len(of_truth), 2))
    probabilities[np.arange(len(labels)), labels] = of_truth
    probabilities[np.arange(len(labels)), 1 - labels] = 1 - of_truth
    paths = tuple(f"{number}.jpg" for number in range(len(labels)))
    said = Predictions("validation", ("a", "b"), paths, labels, probabilities)
    return SimpleNamespace(validation=said, losses=losses_of(said))


def test_of_two_that_err_on_different_images_the_mean_is_better_than_either() -> None:
    random = np.random.default_rng(0)
    # Each is quite wrong about a quarter of the images, another quarter each.
    first = np.where(np.arange(400) % 8 < 2, 0.2, 0.9) + random.uniform(-0.05, 0.05, 400)
    second = np.where(np.arange(400) % 8 > 5, 0.2, 0.9) + random.uniform(-0.05, 0.05, 400)
    members = [saying(first), saying(second)]
    together = losses_of(ensembles._held_out(members))
    assert together.mean() < min(member.losses.mean() for member in members)
    # With weights near a half, (0.2 + 0.9) / 2 is right about nearly every image.
    assert (together < np.log(2)).mean() > 0.95


def test_an_ensemble_is_not_flattered_by_the_images_that_weigh_it() -> None:
    """Of classifiers that know nothing, the best mixture looks better than it is."""
    flattered, honest = [], []
    for seed in range(30):
        random = np.random.default_rng(seed)
        members = [saying(random.uniform(0.2, 0.8, 40)) for _ in range(5)]
        weights = ensembles._weights(members)
        mean = np.tensordot(weights, [m.validation.probabilities for m in members], axes=1)
        labels = members[0].validation.labels
        flattered.append(-np.log(mean[np.arange(40), labels]).mean())
        honest.append(losses_of(ensembles._held_out(members)).mean())
    assert np.mean(honest) > np.mean(flattered) + 0.005


@pytest.fixture
def shades(tmp_path: Path) -> Path:
    """Noise, dark and light, that differ by too little to be told apart without mistakes."""
    random = np.random.default_rng(1)
    for name, shift in (("dark", 0), ("light", 5)):
        folder = tmp_path / "shades" / name
        folder.mkdir(parents=True)
        for number in range(100):
            middle = 100 + shift + random.normal(0, 8)
            pixels = random.normal(middle, 30, (48, 48, 3)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{number:02}.png")
    return tmp_path / "shades"


def test_a_run_can_be_several_together_and_its_recipe_repeats_it(
    shades: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def one(facts: Any, best: Candidate) -> Any:
        if best.family == "first":
            settings = ["probe.shrinkages=[0.9]", "probe.head=discriminant", "name=auto-other"]
            yield Candidate(
                "other", "another head", "probe", apply_settings(best.recipe, settings), best.size,
                0.9, "it is quick",
            )  # fmt: skip

    monkeypatch.setattr(plan, "probe_candidates", one)
    monkeypatch.setattr(plan, "tuning_candidates", lambda *_: [])
    monkeypatch.setattr(loop, "chosen", lambda losses, _: 2 if len(losses) > 2 else 0)
    monkeypatch.setattr(
        ensembles, "select_greedily", lambda given, *_: np.full(len(given), 1 / len(given))
    )
    settings = ["data.image_size=64", "data.validation=0.3"]
    run = train(shades, run=tmp_path / "run", time="1h", settings=settings)
    record = read_record(run.path)
    assert record is not None
    assert [trial.family for trial in record.trials] == ["first", "probe", "ensemble"]
    assert record.best.number == 3 and run.recipe.method == "ensemble"
    alone = [
        train(shades, recipe=run.path / trial.recipe, run=tmp_path / trial.name)
        for trial in record.trials[:2]
    ]
    mean = np.mean([one.predictions("test").probabilities for one in alone], axis=0)
    found = run.predictions("test").probabilities
    # A temperature stands between them: it moves no answer across a half.
    clear = np.abs(mean[:, 0] - 0.5) > 1e-3
    assert (found.argmax(axis=1) == mean.argmax(axis=1))[clear].all() and clear.sum() > 10
    again = train(shades, recipe=run.path / record.best.recipe, run=tmp_path / "again")
    assert again.metrics["test"]["accuracy"] == run.metrics["test"]["accuracy"]
    assert "together" in run.report.read_text("utf-8")
