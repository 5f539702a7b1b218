"""Runs are compared on the same images, by what they said of each, and never of others."""

from __future__ import annotations

import csv
import json
import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1]))

from trained import quick_run

from pages import most_alike, pictures_of_page
from tellapart.comparison.settings import differing_settings
from tellapart.errors import RunError
from tellapart.evaluation import plots
from tellapart.evaluation.metric_table import metrics_to_json
from tellapart.evaluation.metrics import evaluate_predictions
from tellapart.files import write_text
from tellapart.recipe_reading import load_recipe, recipe_to_yaml
from tellapart.run import Run, open_run
from tellapart.run_info import INTERRUPTED, RUNNING
from tellapart.verbs.compare import Comparison, compare, find_runs, names_of

PARTS = {"train": 16, "validation": 10, "test": 12}


@pytest.fixture(scope="module")
def images(image_folder) -> Path:
    return image_folder(parts=PARTS)


@pytest.fixture(scope="module")
def runs(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run of one epoch and one of eight, and a run that was interrupted."""
    folder = tmp_path_factory.mktemp("runs")
    quick_run(images, folder / "short", epochs=1)
    quick_run(images, folder / "long", epochs=8)
    shutil.copytree(folder / "short", folder / "left")
    open_run(folder / "left").update(status=INTERRUPTED)
    return folder


@pytest.fixture(scope="module")
def compared(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    return compare([runs], out=tmp_path_factory.mktemp("out"))


def right_images(run: Path) -> set[str]:
    """Paths of the test images that a run got right, read from its CSV by hand."""
    with (run / "predictions" / "test.csv").open(newline="") as file:
        return {row["path"] for row in csv.DictReader(file) if row["label"] == row["prediction"]}


def test_rows_hold_what_the_runs_say(compared: Comparison, runs: Path) -> None:
    rows = {row.name: row for row in compared.result.rows}
    assert set(rows) == {"short", "long"}
    accuracies = [row.facts["validation_accuracy"].value for row in compared.result.rows]
    assert accuracies == sorted(accuracies, reverse=True)
    for name, row in rows.items():
        run = open_run(runs / name)
        accuracy = row.metrics.accuracy.value
        assert accuracy == pytest.approx(len(right_images(runs / name)) / 24)
        train = run.metrics["train"]["accuracy"]["value"]
        assert row.gap == pytest.approx(train - accuracy)
        assert row.facts["size_bytes"] == (runs / name / "model.safetensors").stat().st_size
        assert row.facts["trainable_parameters"] == run.info.parameters.trainable > 100_000
        assert row.facts["training_seconds"] == run.info.seconds["Train"]
        assert row.facts["milliseconds_per_image"] > 0


def test_images_that_one_run_alone_gets_right(compared: Comparison, runs: Path) -> None:
    short, long = right_images(runs / "short"), right_images(runs / "long")
    assert set(compared.result.only_right["long"]) == long - short
    assert set(compared.result.only_right["short"]) == short - long
    assert long != short, "the test needs runs that differ"


def test_each_picture_stands_above_what_the_runs_said_of_it(
    compared: Comparison, runs: Path, images: Path
) -> None:
    """The picture is the file that is named; the answers are those of its path in each table."""
    files = {str(file.relative_to(images)): file for file in images.rglob("*.*")}
    said = {}
    for name in ("short", "long"):
        with (runs / name / "predictions" / "test.csv").open(newline="") as table:
            said[name] = {row["path"]: row for row in csv.DictReader(table)}
    shown = pictures_of_page(compared.report.read_text("utf-8"))
    assert len(shown) >= 3
    for picture in shown:
        assert most_alike(picture.looks, files) == picture.path
        ((other, told, sure),) = re.findall(r"(short|long): (\w+) ([\d.]+)", picture.caption)
        its = said[other][picture.path]
        assert told == its["prediction"]
        assert float(sure) == pytest.approx(100 * float(its[told]), abs=0.51)
        own = said["long" if other == "short" else "short"][picture.path]
        assert (picture.true, picture.predicted) == (own["label"], own["prediction"])
        assert picture.confidence == float(own[own["prediction"]])


def test_page_csv_and_json_agree(compared: Comparison) -> None:
    folder = compared.report.parent
    with (folder / "report.csv").open(newline="") as file:
        table = {row["name"]: row for row in csv.DictReader(file)}
    content = json.loads((folder / "report.json").read_text("utf-8"))
    page = compared.report.read_text("utf-8")
    assert set(content["runs"]) == set(table) == {"short", "long"}
    for row in content["rows"]:
        accuracy = row["metrics"]["accuracy"]["value"]
        assert float(table[row["name"]]["accuracy"]) == accuracy
    assert "Only long gets these right" in page
    assert "Accuracy against trainable parameters" in page
    assert "Validation loss" in page
    assert "http://" not in page.replace("http://www.w3.org", "")


def test_shows_itself_in_a_notebook_and_a_terminal(compared: Comparison) -> None:
    html = compared._repr_html_()
    assert "data:image/svg+xml" in html
    assert "<th" in html and "short" in html
    text = "\n".join(compared.lines())
    assert "24 test images" in text
    assert str(compared.report) in text


def test_a_run_shows_itself_in_a_notebook(runs: Path, tmp_path: Path) -> None:
    run = open_run(runs / "long")
    html = run._repr_html_()
    accuracy = run.metrics["test"]["accuracy"]
    assert f"{100 * accuracy['value']:.2f} % accuracy on test" in html
    assert f"{100 * accuracy['low']:.2f} % to {100 * accuracy['high']:.2f} %" in html
    assert html.count("<tr>") == 4  # heading, test, validation, train
    assert "data:image/svg+xml" in html
    hostile = json.loads((run.path / "run.json").read_text("utf-8"))
    hostile |= {"classes": ["<img src=x onerror=alert(1)>", "b"], "status": RUNNING}
    del hostile["digest"]
    (tmp_path / "run.json").write_text(json.dumps(hostile))
    assert "<img src=x" not in open_run(tmp_path, complete=False)._repr_html_()


def test_finds_folders_patterns_and_single_runs(runs: Path) -> None:
    assert {run.name for run in find_runs([runs]).runs} == {"short", "long"}
    assert {run.name for run in find_runs([str(runs / "*o*")]).runs} == {"short", "long"}
    assert [run.name for run in find_runs([runs / "long", runs, runs / "long"]).runs] == [
        "long",
        "short",
    ]


def test_what_a_shell_hands_over_beside_the_runs_is_left_out_and_said(
    runs: Path, tmp_path: Path
) -> None:
    """``compare runs/*`` names earlier comparisons, files and unfinished runs, too."""
    earlier = tmp_path / "comparison-2026-01-01-1200"
    earlier.mkdir()
    (earlier / "report.html").write_text("old")
    (tmp_path / "notes.txt").write_text("mine")
    named = [runs / "left", earlier, runs / "long", tmp_path / "notes.txt", runs / "short"]
    found = find_runs(named)
    assert [run.name for run in found.runs] == ["long", "short"]
    compared = compare(named, out=tmp_path / "out")
    said = (
        f"Left out: {runs / 'left'} (not finished); {earlier} and {tmp_path / 'notes.txt'} "
        "(no run)."
    )
    assert said in compared.lines() and said in compared.to_json()["notes"]
    assert "not finished" in compared.report.read_text("utf-8")
    assert find_runs([runs]).left_out == {"not finished": (str(runs / "left"),)}
    with pytest.raises(RunError, match=r"two finished runs \(only .*long.* \(no run\)"):
        compare([earlier, runs / "long"], out=tmp_path / "none")
    with pytest.raises(RunError, match="left holds no finished run; 'tellapart train --resume"):
        compare([runs / "left"], out=tmp_path / "none")


def changed(run: Path, target: Path, **facts: object) -> Path:
    """A copy of a run of which ``run.json`` says something else."""
    shutil.copytree(run, target)
    open_run(target).update(**facts)
    return target


def with_answers(run: Path, target: Path, part: str, wrong: int) -> Path:
    """A copy of a run that answers so many of a part's images wrong and all others right."""
    if not target.exists():
        shutil.copytree(run, target)
    copy = open_run(target)
    told = copy.predictions(part)
    answers = np.where(np.arange(len(told)) < wrong, 1 - told.labels, told.labels)
    sure = np.where(answers[:, None] == np.arange(2), 0.9, 0.1)
    told = replace(told, probabilities=sure)
    told.save(copy.predictions_file(part))
    metrics = {**copy.metrics, **metrics_to_json({part: evaluate_predictions(told)})}
    (target / "metrics.json").write_text(json.dumps(metrics))
    copy.update(files=copy.digests())
    return target


def test_validation_ranks_and_test_is_shown(runs: Path, tmp_path: Path) -> None:
    """Who is better on test by luck does not go first; who is better beyond luck is said so."""
    chosen = with_answers(runs / "long", tmp_path / "chosen", "validation", 1)
    with_answers(chosen, chosen, "test", 3)
    lucky = with_answers(runs / "long", tmp_path / "lucky", "validation", 5)
    with_answers(lucky, lucky, "test", 2)
    compared = compare([lucky, chosen], out=tmp_path / "out")
    assert compared.result.names == ("chosen", "lucky")
    assert compared.to_json()["ranked_by"] == "validation"
    assert compared.to_json()["winner"] is None
    assert compared.result.leading[0] == (
        "No clear winner: chosen and lucky cannot be told apart on the 24 test images "
        "(87.50 % and 91.67 %)."
    )
    page = compared.report.read_text("utf-8")
    assert "headline-value" not in page.partition("<body>")[2]
    assert "No clear winner: chosen and lucky cannot be told apart" in page
    with_answers(chosen, chosen, "test", 20)
    against = compare([lucky, chosen], out=tmp_path / "against")
    assert against.result.names == ("chosen", "lucky")
    assert against.result.leading[0] == (
        "No clear winner: validation puts chosen first (16.67 % on the 24 test images), but lucky "
        "(91.67 %) is more accurate there by more than chance."
    )
    with_answers(chosen, chosen, "test", 0)
    with_answers(lucky, lucky, "test", 12)
    won = compare([lucky, chosen], out=tmp_path / "won")
    assert won.result.standing.winner == won.to_json()["winner"] == "chosen"
    assert "Most accurate: chosen" in won.report.read_text("utf-8")


def test_only_like_times_are_compared(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[list[str]] = []
    draw = plots.accuracy_against_seconds

    def recording(names, *others):  # type: ignore[no-untyped-def]
        drawn.append(list(names))
        return draw(names, *others)

    monkeypatch.setattr(plots, "accuracy_against_seconds", recording)
    cold = changed(runs / "long", tmp_path / "cold", from_cache={"pixels": True})
    other = changed(runs / "short", tmp_path / "other", from_cache={"features": False})
    warm = changed(runs / "short", tmp_path / "warm", from_cache={"features": True})
    old = changed(runs / "short", tmp_path / "old", from_cache=None)
    compared = compare([cold, other, warm, old], out=tmp_path / "out")
    facts = {row.name: row.facts for row in compared.result.rows}
    assert {name: fact["time_was"] for name, fact in facts.items()} == {
        "cold": "cold",
        "other": "cold",
        "warm": "features cached",
        "old": "not known",
    }
    assert {name for name, fact in facts.items() if fact["time_compared"]} == {"cold", "other"}
    note = next(note for note in compared.notes if note.startswith("Times of training"))
    assert "warm (features cached)" in note and "old (not known)" in note
    assert [sorted(names) for names in drawn] == [["cold", "other"]]
    unlike = compare([cold, warm], out=tmp_path / "unlike")
    assert any("Times of training are not compared" in note for note in unlike.notes)
    assert len(drawn) == 1, "two times that are not alike were drawn beside each other"
    elsewhere = replace(open_run(other).info.machine, processor="another", device_name="another")
    open_run(other).update(machine=elsewhere)
    assert not any(
        row.facts["time_compared"] for row in compare([cold, other], out=tmp_path / "m").result.rows
    )


def test_settings_that_differ_are_in_a_table(compared: Comparison, runs: Path) -> None:
    content = compared.to_json()["settings"]
    assert content["training.epochs"] == {"short": "1", "long": "8"}
    assert "training.batch_size" not in content and "title" not in content
    page = compared.report.read_text("utf-8")
    assert "Settings that differ" in page and "training.epochs" in page
    line = next(line for line in compared.lines() if line.startswith("training.epochs"))
    assert sorted(line.split()[1:]) == ["1", "8"]
    same = differing_settings({"a": open_run(runs / "long"), "b": open_run(runs / "long")})
    assert same == ()


def test_settings_that_one_way_of_training_has_are_told_where_they_are_unusual(
    runs: Path, tmp_path: Path
) -> None:
    """A probe has no mixup; that a training has none either is no difference to read of."""
    recipe = load_recipe("probe")
    shutil.copytree(runs / "long", tmp_path / "probe")
    probe = open_run(tmp_path / "probe")
    write_text(probe.path / "recipe.yaml", recipe_to_yaml(recipe))
    probe = probe.update(files={})
    told = {row.key for row in differing_settings({"a": open_run(runs / "long"), "b": probe})}
    assert {"name", "method", "training.epochs"} <= told
    assert not {"training.label_smoothing", "training.mixup"} & told


def test_refuses_less_than_two_runs(runs: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="at least two finished runs"):
        compare([runs / "long", runs / "long"], out=tmp_path)
    with pytest.raises(RunError, match="holds no finished run"):
        compare([runs / "nothing*"], out=tmp_path)
    with pytest.raises(RunError, match="no run folder"):
        compare([runs / "lost", runs / "long"], out=tmp_path)


def test_refuses_other_test_images(runs: Path, image_folder, tmp_path: Path) -> None:
    fewer = image_folder(parts={**PARTS, "test": 7})
    run = quick_run(fewer, tmp_path / "fewer", epochs=1)
    with pytest.raises(RunError, match="different test images: 14 are shared"):
        compare([runs / "long", run.path], out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
    compared = compare([runs / "long", run.path], shared_only=True, out=tmp_path / "out")
    assert compared.result.images == 14
    assert compared.result.left_out == {"long": 10, "fewer": 0}


def test_refuses_other_images_of_the_same_names(runs: Path, tmp_path: Path) -> None:
    """As if a test image had been replaced between two trainings."""
    shutil.copytree(runs / "long", tmp_path / "other")
    file = tmp_path / "other" / "images.csv"
    lines = file.read_text("utf-8").splitlines()
    part, digest, path, *others = lines[-1].split(",")
    assert part == "test"
    lines[-1] = ",".join([part, digest[::-1], path, *others])
    file.write_text("\n".join(lines) + "\n", "utf-8")
    other = open_run(tmp_path / "other")
    other.update(files=other.digests())
    with pytest.raises(RunError, match=f"'{path}' is another image in 'other' than in 'long'"):
        compare([runs / "long", tmp_path / "other"], out=tmp_path / "out")


def test_names_are_short_but_tell_apart(runs: Path, tmp_path: Path) -> None:
    def named(name: str) -> Run:
        target = tmp_path / name
        target.mkdir()
        for file in ("run.json", "recipe.yaml"):
            (target / file).write_bytes((runs / "long" / file).read_bytes())
        return open_run(target)

    first = named("2026-01-01-1200-photos-cifar-baseline-sgd")
    second = named("2026-01-02-1200-pictures-cifar-baseline-sgd")
    mine = named("my own")
    assert names_of([first, mine]) == ["cifar-baseline-sgd", "my own"]
    assert names_of([first, second]) == [
        "photos-cifar-baseline-sgd",
        "pictures-cifar-baseline-sgd",
    ]
