"""tellapart drift: three outcomes, the odd pictures, a page, and every kind of bad input."""

from __future__ import annotations

import csv
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))

from trained import quick_run

from tellapart.errors import DataError, RunError
from tellapart.result import DONE, DRIFTED, TOO_FEW
from tellapart.run import Run, open_run
from tellapart.verbs.drift import Drift, drift

PARTS = {"train": 24, "validation": 50, "test": 40}


@pytest.fixture(scope="module")
def images(image_folder) -> Path:
    return image_folder(parts=PARTS)


@pytest.fixture(scope="module")
def run(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """From scratch: only validation images are as new ones are."""
    return quick_run(images, tmp_path_factory.mktemp("runs") / "run", epochs=6)


def stripes(folder: Path, number: int) -> Path:
    """Stripes of strong colours: nothing like a disc or a square on grey."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    for name in range(number):
        columns = random.choice([0, 255], (1, 40, 3)).repeat(32, axis=0).astype(np.uint8)
        Image.fromarray(columns).save(folder / f"stripes {name}.png")
    return folder


@pytest.fixture(scope="module")
def on_test(run: Run, images: Path) -> Drift:
    return drift(run, images / "test")


@pytest.fixture(scope="module")
def on_mixture(run: Run, images: Path, tmp_path_factory: pytest.TempPathFactory) -> Drift:
    folder = tmp_path_factory.mktemp("new") / "mixture"
    shutil.copytree(images / "test", folder)
    stripes(folder, 30)
    (folder / "broken.jpg").write_bytes(b"no picture")
    return drift(run, folder)


def test_images_of_the_same_kind_are_alike(run: Run, on_test: Drift) -> None:
    assert on_test.outcome == "alike" and on_test.exit_code == DONE
    assert on_test.compared.images == 80 and on_test.compared.validation == 100
    assert on_test.compared.known == 100  # a network from scratch has seen its training images
    assert on_test.report == run.path / "drift" / "test" / "report.html"
    page = on_test.report.read_text("utf-8")
    assert "Do they look like the training images?" in page and "<strong>Yes</strong>" in page
    assert list(on_test.lines())[-1] == f"report  {on_test.report}"


def test_foreign_images_are_drift_and_they_are_named(on_mixture: Drift) -> None:
    assert on_mixture.outcome == "drifted" and on_mixture.exit_code == DRIFTED
    odd = [Path(answer.path).name.startswith("stripes") for answer in on_mixture.culprits[:15]]
    assert sum(odd) >= 12  # 30 of the 110 images are
    ((path, reason),) = on_mixture.problems
    assert path.endswith("broken.jpg") and "not a picture" in reason
    lines = list(on_mixture.lines())
    assert lines[0] == "These 110 images look other than those of training."
    assert any("broken.jpg" in line for line in lines)
    page = on_mixture.report.read_text("utf-8")
    assert "<strong>No</strong>" in page and "Files that were not read" in page
    with (on_mixture.report.parent / "images.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 110 and rows[0]["path"] == on_mixture.culprits[0].path
    oddness = [float(row["oddness"]) for row in rows]
    assert oddness == sorted(oddness, reverse=True)
    stored = json.loads((on_mixture.report.parent / "drift.json").read_text())
    told = json.loads(json.dumps(on_mixture.to_json()))
    assert told.pop("report") == str(on_mixture.report) and stored == told
    assert stored["outcome"] == "drifted" and stored["p"] <= 0.05
    assert stored["culprits"][0] == rows[0]["path"]


def test_one_image_is_too_few(run: Run, images: Path) -> None:
    found = drift(run, next((images / "test").rglob("*.jpg")))
    assert found.outcome == "too few" and found.exit_code == TOO_FEW
    assert next(iter(found.lines())) == "This one image is too few to tell."
    assert "Too few to tell" in found.report.read_text("utf-8")


def test_what_the_run_was_made_with_is_left_out(run: Run, images: Path, tmp_path: Path) -> None:
    shutil.copytree(images / "test", tmp_path / "new")
    for number, file in enumerate(sorted((images / "train").rglob("*.jpg"))[:3]):
        shutil.copy(file, tmp_path / "new" / f"seen {number}.jpg")
    shutil.copy(next((images / "test").rglob("*.jpg")), tmp_path / "new" / "twice.jpg")
    found = drift(run, tmp_path / "new", out=tmp_path / "page.html")
    assert found.compared.images == 80
    assert found.notes == (
        "3 images that the run was trained on or chosen with are left out.",
        "1 byte-for-byte duplicate of another image counts once.",
    )
    assert found.report == tmp_path / "page.html"
    assert {path.name for path in tmp_path.iterdir()} == {
        "new", "page.html", "page.json", "page.csv"
    }  # fmt: skip
    with pytest.raises(DataError, match=r"all its images are ones that the run was trained on"):
        drift(run, images / "train")


def test_of_very_many_images_a_choice_is_looked_at(
    run: Run, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tellapart.verbs.drift.MOST_IMAGES", 15)
    found = drift(run, images / "test", out=tmp_path)
    assert found.compared.images == 15
    assert found.notes == ("Of 80 images 15 were looked at, a random choice.",)


def test_nothing_to_compare_is_said_and_leaves_nothing(run: Run, tmp_path: Path) -> None:
    before = sorted(run.path.rglob("*"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"empty"):
        drift(run, tmp_path / "empty")
    with pytest.raises(DataError, match=r"nowhere"):
        drift(run, tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"Nothing was given"):
        drift(run, [])
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "a.jpg").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"none of its images can be read, the first because .*a"):
        drift(run, tmp_path / "broken")
    with pytest.raises(RunError, match=r"There is no run folder"):
        drift(tmp_path / "no run", tmp_path)
    assert sorted(run.path.rglob("*")) == before


def without_known(run: Run, place: Path) -> Run:
    """The run as an older version left it."""
    shutil.copytree(run.path, place)
    (place / "known.safetensors").unlink()
    old = open_run(place)
    files = {name: at for name, at in old.info.files.items() if name != "known.safetensors"}
    return old.update(files=files)


def test_an_older_run_is_compared_by_its_images(
    run: Run, images: Path, on_test: Drift, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = without_known(run, tmp_path / "old")
    found = drift(old, images / "test")
    assert found.compared.known == on_test.compared.known
    assert found.compared.tests.looks == pytest.approx(on_test.compared.tests.looks, abs=0.02)
    moved = tmp_path / "moved"
    monkeypatch.setattr("tellapart.run.Run.source", property(lambda _: gone(moved)))
    with pytest.raises(RunError, match=r"older version .* cannot be read any more .*; train again"):
        drift(old, images / "test")


def gone(folder: Path) -> object:
    from tellapart.data.source import Source

    return Source(folder=folder)


def test_a_run_that_kept_nothing_says_so(run: Run, images: Path, tmp_path: Path) -> None:
    shutil.copytree(run.path, tmp_path / "bare")
    bare = open_run(tmp_path / "bare")
    bare.unknown_file.unlink()
    files = {n: f for n, f in bare.info.files.items() if n != bare.unknown_file.name}
    bare = bare.update(files=files)
    with pytest.raises(RunError, match=r"fewer than 19 validation images do; train with more"):
        drift(bare, images / "test")
    damaged = tmp_path / "damaged"
    shutil.copytree(run.path, damaged)
    (damaged / "known.safetensors").write_bytes(b"damaged")
    with pytest.raises(RunError, match=r"known.safetensors was changed"):
        drift(damaged, images / "test")
