"""A run's page can be made again from its folder, and its network used elsewhere."""

from __future__ import annotations

import re
import shutil
import sys
import webbrowser
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))

from trained import quick_run

from tellapart.errors import DataError, RunError
from tellapart.run import Run, open_run
from tellapart.verbs.write_report import write_report


@pytest.fixture(scope="module")
def photos(image_folder: Callable[..., Path]) -> Path:
    return image_folder(per_class=30)


@pytest.fixture(scope="module")
def trained(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return quick_run(photos, tmp_path_factory.mktemp("runs") / "run", epochs=1)


@pytest.fixture
def run(trained: Run, tmp_path: Path) -> Run:
    return open_run(Path(shutil.copytree(trained.path, tmp_path / "run")))


def test_the_page_is_the_same_again(run: Run, trained: Run) -> None:
    before = run.report.read_text("utf-8").replace(str(trained.path), str(run.path))
    run.report.unlink()
    found = write_report(run)
    assert found.page == run.report and found.opened is None
    after = run.report.read_text("utf-8")
    times = re.compile(r"\d[\d.]*\u2009(?:s|ms|min)|width=\"[\d.]+\"")
    assert times.sub("", after) == times.sub("", before)
    assert run.metrics == trained.metrics


@pytest.mark.parametrize("shows", [True, False])
def test_open_asks_the_browser(run: Run, shows: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(webbrowser, "open", lambda url: asked.append(url) or shows)
    found = write_report(run, open=True)
    assert asked == [run.report.as_uri()]
    assert ("open the page yourself" in "\n".join(found.lines())) is not shows


def test_images_that_are_gone_or_others_are_said(
    image_folder: Callable[..., Path], tmp_path: Path
) -> None:
    folder = image_folder(per_class=30)
    made = quick_run(folder, tmp_path / "run", epochs=1)
    before = made.report.read_bytes()
    moved = folder.rename(folder.with_name("elsewhere"))
    with pytest.raises(DataError, match=r"are not at .* any more"):
        write_report(made)
    moved.rename(folder)
    picture = sorted(folder.rglob("*.jpg"))[0]
    picture.write_bytes(sorted(folder.rglob("*.jpg"))[1].read_bytes())
    with pytest.raises(DataError, match="not those that"):
        write_report(made)
    assert made.report.read_bytes() == before


def test_no_run_is_said(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="There is no run folder"):
        write_report(tmp_path / "nothing")


def test_the_module_says_what_the_run_says_and_can_be_trained(run: Run) -> None:
    """Probabilities by hand from the module's logits are those in predictions/test.csv."""
    network = run.torch_module()
    stored = run.predictions("test")
    source = run.source
    pixels = source.pixels(source.read(), run.classifier().preprocessing)
    rows = [pixels.table.paths.index(path) for path in stored.paths]
    images = torch.from_numpy(np.asarray(pixels.pixels[rows])).permute(0, 3, 1, 2).float()
    with torch.no_grad():
        logits = network(images) / run.info.temperature
    probabilities = torch.softmax(logits, dim=1).numpy()
    np.testing.assert_allclose(probabilities, stored.probabilities, atol=2e-3)
    assert not network.training
    network.train()
    loss = torch.nn.functional.cross_entropy(network(images), torch.from_numpy(stored.labels))
    loss.backward()
    assert all(weight.grad is not None for weight in network.parameters())
