"""Runs are compared on the same images, by what they said of each, and never of others."""

from __future__ import annotations

import csv
import json
import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from trained import quick_run

from tellapart.errors import RunError
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
    accuracies = [row.metrics.accuracy.value for row in compared.result.rows]
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
    assert {run.name for run in find_runs([runs])} == {"short", "long"}
    assert {run.name for run in find_runs([str(runs / "*o*")])} == {"short", "long"}
    assert [run.name for run in find_runs([runs / "long", runs, runs / "long"])] == [
        "long", "short",
    ]


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
    part, digest, path = lines[-1].split(",")
    assert part == "test"
    lines[-1] = f"{part},{digest[::-1]},{path}"
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
        "photos-cifar-baseline-sgd", "pictures-cifar-baseline-sgd",
    ]
