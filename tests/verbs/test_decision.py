"""A decision that is in force: chosen on validation, kept in the run, obeyed by every verb."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parent))

from trained import quick_run

import tellapart as ta
from tellapart.cli import app
from tellapart.errors import DataError, RecipeError, RunError
from tellapart.evaluation.choosing import choose_decision
from tellapart.evaluation.decision import Decision
from tellapart.recipe_reading import (
    apply_settings,
    load_recipe,
    parse_recipe,
    recipe_to_yaml,
    with_decision,
)
from tellapart.run import Run

PARTS = {"train": 12, "validation": 8, "test": 8}


@pytest.fixture(scope="module")
def folder(image_folder: Callable[..., Path]) -> Path:
    return image_folder(classes=("blue", "green", "red"), parts=PARTS)


@pytest.fixture(scope="module")
def run(folder: Path) -> Run:
    """Missing a green one is so dear that nearly everything is called green."""
    return quick_run(folder, folder.parent / "run", epochs=1, positive="green", cost_miss=1e9)


@pytest.fixture(scope="module")
def plain(folder: Path) -> Run:
    return quick_run(folder, folder.parent / "plain", epochs=1)


def only_green(matrix: list[list[int]]) -> int:
    """How many images are called green; no other may be called otherwise."""
    assert all(row[0] == row[2] == 0 for row in matrix)
    return sum(row[1] for row in matrix)


def share_of_green(metrics: dict[str, Any]) -> float:
    return metrics["per_class"]["green"]["support"] / metrics["images"]


def test_it_is_chosen_on_validation_and_stored(run: Run, plain: Run) -> None:
    stored = json.loads((run.path / "run.json").read_text())["decision"]
    assert run.decision == Decision.from_dict(stored)
    assert (run.decision.positive, run.decision.cost_miss, run.decision.images) == (
        "green", 1e9, 24,
    )  # fmt: skip
    assert run.decision == choose_decision(plain.predictions("validation"), "green", cost_miss=1e9)
    assert run.recipe.decision.positive == "green" and run.recipe.decision.cost_miss == 1e9
    # The network, its probabilities and the temperature are those of a run without it.
    assert run.info.model_digest == plain.info.model_digest and plain.decision is None
    for part in ("validation", "test"):
        same = run.predictions(part).probabilities == plain.predictions(part).probabilities
        assert same.all()


def test_labels_of_the_test_part_choose_nothing(run: Run, folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "photos")
    test = tmp_path / "photos" / "test"
    (test / "blue").rename(test / "x")
    (test / "green").rename(test / "blue")
    (test / "x").rename(test / "green")
    other = quick_run(
        tmp_path / "photos", tmp_path / "run", epochs=1, positive="green", cost_miss=1e9
    )
    assert other.decision == run.decision


def test_stored_answers_metrics_and_page_are_by_it(run: Run) -> None:
    with run.predictions_file("test").open(newline="") as file:
        answers = {row["prediction"] for row in csv.DictReader(file)}
    assert answers == {"green"}
    assert set(run.predictions("test").predicted.tolist()) == {1}
    metrics = run.metrics["test"]
    assert only_green(metrics["confusion_matrix"]) == metrics["images"] > 6
    assert metrics["accuracy"]["value"] == pytest.approx(share_of_green(metrics))
    page = run.report.read_text("utf-8")
    assert page.count("in use: a miss costs 1e+09 times a false alarm") >= 1
    assert "a probability of" in page and "in force" in page
    assert any(line.startswith("decision    'green' from") for line in run.lines())
    assert run.to_json()["decision"]["positive"] == "green"
    assert "Decision: &#x27;green&#x27; from a" in run._repr_html_()


def test_every_verb_obeys_it(run: Run, plain: Run, folder: Path, tmp_path: Path) -> None:
    image = folder / "test" / "blue"
    answers = ta.predict(run, image)
    assert {answer.prediction for answer in answers} == {"green"}
    before = ta.predict(plain, image)
    assert [a.probabilities for a in answers] == [a.probabilities for a in before]
    # The answer stands first, then the others, the likeliest first.
    for line, answer in zip(answers.lines(), answers, strict=True):
        names = re.findall(r"(blue|green|red) [\d.]+ %", line)
        rest = sorted({"blue", "red"}, key=lambda name: -answer.probabilities[name])
        assert names == ["green", *rest]
    rows = list(csv.DictReader(io.StringIO("\n".join(answers.in_format("csv")))))
    assert {row["prediction"] for row in rows} == {"green"}
    assert {row["decision"] for row in rows} == {run.decision.rule}
    told = [json.loads(line) for line in answers.in_format("json")]
    rule = {"positive": "green", "threshold": run.decision.threshold}
    assert told == answers.to_json() and {json.dumps(t["decision"]) for t in told} == {
        json.dumps(rule)
    }
    assert "decision" not in before.to_json()[0]

    stored, new = ta.evaluate(run), ta.evaluate(run, folder / "test")
    for found in (stored.metrics["test"], new.metrics[new.part]):
        assert only_green(found.confusion_matrix) == found.images > 6
    assert new.to_json()["decision"] == run.decision.to_dict()
    assert any(line.startswith("decision    'green'") for line in new.lines())
    assert "in use: a miss costs" in new.report.read_text("utf-8")

    explained = ta.explain(run, next(image.iterdir()))
    (content,) = explained.to_json()["images"]
    assert content["prediction"] == content["explained"] == "green"
    assert next(iter(explained.lines())).startswith("green ")

    compared = ta.compare([run, plain], out=tmp_path / "page")
    of_run = next(r for r in compared.result.rows if r.name == "run")
    assert only_green(of_run.metrics.confusion_matrix) == of_run.metrics.images
    assert any("run: 'green' from" in n and "plain: the likeliest" in n for n in compared.notes)


def test_the_command_says_it(run: Run, folder: Path) -> None:
    image = str(next((folder / "test" / "blue").iterdir()))
    done = CliRunner().invoke(app, ["predict", str(run.path), image, "--json"])
    assert json.loads(done.stdout)["decision"]["positive"] == "green"
    assert "The decision in force: 'green' from" in done.stderr


def test_resuming_keeps_class_and_cost_and_chooses_anew(run: Run, tmp_path: Path) -> None:
    shutil.copytree(run.path, tmp_path / "run")
    longer = ta.resume(tmp_path / "run", extend=1)
    assert (longer.decision.positive, longer.decision.cost_miss) == ("green", 1e9)
    validation = longer.predictions("validation")
    assert longer.decision == choose_decision(validation, "green", cost_miss=1e9)
    assert longer.decision.threshold != run.decision.threshold


@pytest.mark.parametrize(("given", "message"), [
    ({"positive": "gren"}, "no class 'gren'. Did you mean 'green'"),
    ({"positive": "green", "cost_miss": 0.0}, "cost_miss=0.0: input should be greater than 0"),
    ({"positive": "green", "cost_miss": -1.0}, "greater than 0"),
    ({"positive": "green", "cost_miss": float("nan")}, "finite number"),
    ({"positive": "green", "cost_miss": float("inf")}, "finite number"),
    ({"cost_miss": 5.0}, "name the class by --positive CLASS"),
])  # fmt: skip
def test_mistakes_are_told_before_any_image_is_decoded(
    folder: Path, tmp_path: Path, given: dict[str, object], message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("tellapart.data.source.Source.pixels", None)
    with pytest.raises(RecipeError, match=re.escape(message)):
        quick_run(folder, tmp_path / "run", **given)
    assert not (tmp_path / "run").exists()


def test_validation_must_have_images_to_choose_on(
    image_folder: Callable[..., Path], tmp_path: Path
) -> None:
    photos = image_folder()
    with pytest.raises(DataError, match="'red' is chosen on validation images, and these must be"):
        quick_run(photos, tmp_path / "run", positive="red", validation=0.0)
    one_sided = image_folder(parts=PARTS)
    shutil.rmtree(one_sided / "validation" / "red")
    with pytest.raises(DataError, match="some of that class and some of others"):
        quick_run(one_sided, tmp_path / "run", positive="blue")


def test_a_class_alone_is_missed_at_the_cost_of_a_false_alarm(
    image_folder: Callable[..., Path], tmp_path: Path
) -> None:
    photos = image_folder(classes=("no", "yes"))  # which YAML would read as false and true
    run = quick_run(photos, tmp_path / "run", epochs=1, positive="no")
    assert (run.decision.positive, run.decision.cost_miss) == ("no", 1.0)
    assert ta.open_run(run.path).recipe.decision.positive == "no"
    assert "a miss costs as much as a false alarm" in run.decision.rule


@pytest.mark.parametrize("name", ["no", "1", "1e3", "null", "a: b", "'x'", "ü\n", "猫"])
def test_a_name_is_taken_as_it_stands(name: str) -> None:
    recipe = with_decision(load_recipe("probe"), name, 2.0)
    assert (recipe.decision.positive, recipe.decision.cost_miss) == (name, 2.0)
    assert parse_recipe(recipe_to_yaml(recipe), "again") == recipe
    assert with_decision(recipe, None, 3.0).decision.positive == name
    assert with_decision(recipe, None, None) is recipe


@pytest.mark.parametrize(("text", "name"), [
    ("green", "green"), ("'1e3'", "1e3"), ('"no"', "no"), ("'1'", "1"),
])  # fmt: skip
def test_a_recipe_can_ask_for_it(text: str, name: str) -> None:
    settings = [f"decision.positive={text}", "decision.cost_miss=3"]
    recipe = apply_settings(load_recipe("probe"), settings)
    assert (recipe.decision.positive, recipe.decision.cost_miss) == (name, 3.0)
    with pytest.raises(RecipeError, match="'cost_miss' goes with 'positive'"):
        apply_settings(load_recipe("probe"), ["decision.cost_miss=3"])


@pytest.mark.parametrize(("change", "message"), [
    ({"positive": "violet"}, "about 'violet', which is none of its classes"),
    ({"threshold": -1}, "lacks or has wrong a threshold of -1.0"),
    ({"threshold": None}, "its key 'decision' lacks or has wrong"),
    ({"cost_miss": 0}, "a cost of 0.0"),
])  # fmt: skip
def test_a_damaged_decision_is_a_sentence(
    run: Run, tmp_path: Path, change: dict[str, object], message: str
) -> None:
    shutil.copytree(run.path, tmp_path / "run")
    copy = ta.open_run(tmp_path / "run")
    changed = copy.update(decision={**copy.info.decision, **change})
    for use in (changed.predictor, lambda: changed.predictions("test")):
        with pytest.raises(RunError, match=message):
            use()


def test_a_run_of_an_older_version_says_the_likeliest(plain: Run, tmp_path: Path) -> None:
    shutil.copytree(plain.path, tmp_path / "run")
    content = json.loads((tmp_path / "run" / "run.json").read_text())
    del content["decision"], content["digest"]
    (tmp_path / "run" / "run.json").write_text(json.dumps(content))
    old = ta.open_run(tmp_path / "run")
    assert old.decision is None
    predictions = old.predictions("test")
    assert np.array_equal(predictions.predicted, predictions.probabilities.argmax(axis=1))
